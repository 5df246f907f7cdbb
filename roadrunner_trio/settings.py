"""Timeouts and limits: frozen, and checked when built, so that a bad value fails at start.

Each setting is one dataclass field whose metadata says what it bounds; the command line and the reference page are
made from the same table, so they cannot disagree. Times are seconds, sizes are bytes, and ``math.inf`` (for a
timeout) or ``None`` (for a limit that allows it) lifts the bound.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import Any, Final


def _seconds(default: float, help: str) -> Any:
    return field(default=default, metadata={"unit": "seconds", "help": help})


def _size(default: int | None, help: str, *, least: int = 1) -> Any:
    return field(default=default, metadata={"unit": "bytes", "help": help, "least": least})


def _count(default: int | None, help: str, *, least: int = 1) -> Any:
    return field(default=default, metadata={"unit": "", "help": help, "least": least})


OPTIONAL: Final = frozenset({"disconnect_grace", "max_body", "max_buffered", "max_concurrent_requests"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Seconds allowed to each phase of a connection; ``math.inf`` waits for ever.

    Raises:
        ValueError: a value is not a positive number.
    """

    handshake: float = _seconds(10.0, "a PROXY header and the TLS handshake together, from accept")
    request: float = _seconds(
        30.0, "a request head, from its first byte; also the wait for the first byte of a new connection"
    )
    keep_alive: float = _seconds(60.0, "an idle connection between two requests")
    body: float = _seconds(300.0, "waiting for the bytes of one request body, all waits together")
    handler: float = _seconds(math.inf, "the application, from request to the end of its response; then 503")
    write: float = _seconds(30.0, "the peer taking the next 64 KiB of a response")
    linger: float = _seconds(2.0, "reading what the peer still sends before a close, and unread bodies before reuse")
    disconnect_grace: float | None = _seconds(
        5.0, "a handler whose peer has closed, or ended what it sends, before it is cancelled; none never cancels it"
    )

    def __post_init__(self) -> None:
        for f in fields(self):
            value = getattr(self, f.name)
            if value is None and f.name in OPTIONAL:
                continue
            if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
                raise ValueError(f"Timeouts.{f.name} must be a positive number of seconds, not {value!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one peer, and all peers together, may take.

    Raises:
        ValueError: a value is not a whole number, or is below what makes sense.
    """

    max_connections: int = _count(1000, "connections at once; one more is answered 503 and closed")
    max_concurrent_requests: int | None = _count(
        None, "requests in the application at once; one more is answered 503, and its connection goes on"
    )
    max_requests: int = _count(1000, "requests on one connection; the last is answered with connection: close")
    max_body: int | None = _size(
        10 * 1024 * 1024, "a request body, else 413; none lifts it (streaming handlers only)", least=0
    )
    max_buffered: int | None = _size(
        256 * 1024 * 1024,
        "request bodies and WebSocket messages that wait for the application, of all connections together, else 503, "
        "or 1013; none lifts it",
        least=0,
    )
    max_request_line: int = _size(8192, "the request line, else 414", least=16)
    max_field_line: int = _size(8192, "one field line, else 431", least=16)
    max_field_section: int = _size(10240, "all field lines of a head or trailer section together, else 431", least=16)
    max_fields: int = _count(128, "fields in a head or trailer section, else 431")
    min_bytes_per_second: int = _count(
        100,
        "slowest peer, measured from the first byte after one second's grace; then closed; 0 turns it off",
        least=0,
    )
    min_send_rate: int = _count(
        240,
        "slowest peer that takes a response, measured while it is waited for, the write timeout being its grace; then "
        "cut; 0 turns it off",
        least=0,
    )
    backlog: int = _count(1024, "connections the kernel holds for the accept loop")

    def __post_init__(self) -> None:
        for f in fields(self):
            value = getattr(self, f.name)
            if value is None and f.name in OPTIONAL:
                continue
            least = f.metadata["least"]
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ValueError(f"Limits.{f.name} must be a whole number, at least {least}, not {value!r}")
