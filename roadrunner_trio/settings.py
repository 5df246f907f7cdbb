"""Timeouts and limits: frozen, and checked when built, so that a bad value fails at start.

Each setting is one dataclass field whose metadata says what it bounds; the command line and the reference page are
made from the same table, so they cannot disagree. Times are seconds, sizes are bytes, both also as text (``"5s"``,
``"10M"``), and ``math.inf`` (for a timeout) or ``None`` (for a limit that allows it) lifts the bound.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any, Final

from .units import (
    Octets,
    OptionalOctets,
    OptionalSeconds,
    Seconds,
    count,
    octets,
    optional_count,
    optional_octets,
    optional_seconds,
    seconds,
)


def _seconds(default: float, help: str) -> Any:
    return field(default=default, metadata={"unit": "seconds", "help": help})


def _size(default: int | None, help: str, *, least: int = 1) -> Any:
    return field(default=default, metadata={"unit": "bytes", "help": help, "least": least})


def _count(default: int | None, help: str, *, least: int = 1) -> Any:
    return field(default=default, metadata={"unit": "", "help": help, "least": least})


class Contradiction(ValueError):
    """Two settings that are good by themselves, one of which keeps the other from taking effect."""


DEFAULT_MESSAGE: Final = 10 * 1024 * 1024
"""Octets of a message of a WebSocket."""
DEFAULT_LINE: Final = 16 * 1024
"""Octets of a field line, unless the whole section is to have fewer."""
OPTIONAL: Final = frozenset(
    {
        "disconnect_grace",
        "park_after",
        "max_body",
        "max_buffered",
        "max_concurrent_requests",
        "max_connections_per_peer",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Seconds allowed to each phase of a connection; ``math.inf`` waits for ever.

    Each is a positive number, or text such as ``"5s"``, ``"500ms"``, ``"2m"``, ``"none"``; the attribute is a number.

    Raises:
        ValueError: a value is no such thing.
    """

    handshake: Seconds = _seconds(10.0, "a PROXY header and the TLS handshake together, from accept")
    request: Seconds = _seconds(
        30.0, "a request head, from its first byte; also the wait for the first byte of a new connection"
    )
    keep_alive: Seconds = _seconds(
        75.0,
        "an idle connection between two requests; more than the 60 seconds of most balancers, who should close first",
    )
    park_after: OptionalSeconds = _seconds(
        5.0, "an idle connection, before it gives up its task and most of its memory, until something comes; none never"
    )
    body: Seconds = _seconds(300.0, "waiting for the bytes of one request body, all waits together")
    handler: Seconds = _seconds(math.inf, "the application, from request to the end of its response; then 503")
    write: Seconds = _seconds(30.0, "the peer taking the next 64 KiB of a response")
    linger: Seconds = _seconds(2.0, "reading what the peer still sends before a close, and unread bodies before reuse")
    disconnect_grace: OptionalSeconds = _seconds(
        5.0, "a handler whose peer has closed, or ended what it sends, before it is cancelled; none never cancels it"
    )

    def __post_init__(self) -> None:
        for f in fields(self):
            read = optional_seconds if f.name in OPTIONAL else seconds
            object.__setattr__(self, f.name, read(f"Timeouts.{f.name}", getattr(self, f.name)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one peer, and all peers together, may take.

    Each is a whole number; those in octets may also be text such as ``"64K"`` or ``"10MB"``, powers of 1024.

    Raises:
        ValueError: a value is no such thing, or is below what makes sense, or another keeps it from taking effect.
    """

    max_connections: int = _count(1000, "connections at once; one more is answered 503 and closed")
    max_connections_per_peer: int | None = _count(
        0,
        "connections of one address at once, or of one /64 of IPv6; one more takes the place of another that keeps the "
        "server waiting, or is answered 503 and closed; 0 is a quarter of all, at least 8, and spares the loopback; "
        "none lifts it",
        least=0,
    )
    max_concurrent_requests: int | None = _count(
        None, "requests in the application at once; one more is answered 503, and its connection goes on"
    )
    max_requests: int = _count(1000, "requests on one connection; the last is answered with connection: close")
    max_body: OptionalOctets = _size(
        10 * 1024 * 1024, "a request body, else 413; none lifts it (streaming handlers only)", least=0
    )
    max_buffered: OptionalOctets = _size(
        256 * 1024 * 1024,
        "request bodies and WebSocket messages that wait for the application, of all connections together, else 503, "
        "or 1013; none lifts it",
        least=0,
    )
    max_request_line: Octets = _size(8192, "the request line, else 414", least=16)
    max_field_line: Octets = _size(DEFAULT_LINE, "one field line, else 431; no more than max_field_section", least=16)
    max_field_section: Octets = _size(
        32 * 1024, "all field lines of a head or trailer section together, else 431", least=16
    )
    max_fields: int = _count(
        200, "fields in a head or trailer section, else 431; above five times as many end an HTTP/2 connection"
    )
    min_bytes_per_second: int = _count(
        100,
        "slowest peer, measured from the first byte after five seconds' grace; then a body is answered 408, a head "
        "closed; 0 turns it off",
        least=0,
    )
    min_send_rate: int = _count(
        240,
        "slowest peer that takes a response, measured while it is waited for, the write timeout being its grace; then "
        "cut; 0 turns it off",
        least=0,
    )
    max_requests_http2: int = _count(
        10_000, "requests on one HTTP/2 connection; then it is told to open no more, and ends when it is done"
    )
    max_concurrent_streams: int = _count(
        100,
        "HTTP/2: requests of one connection at once, with those taken back whose handlers run on; one more is refused",
    )
    stream_window: Octets = _size(
        256 * 1024, "HTTP/2: what a peer may send of one body before it is read", least=16 * 1024
    )
    connection_window: Octets = _size(
        1024 * 1024, "HTTP/2: what a peer may send of all bodies of a connection before they are read", least=64 * 1024
    )
    max_resets: int = _count(
        200, "HTTP/2: requests that a peer may take back in a burst; ten a second, and one for each answered, come back"
    )
    max_control_frames: int = _count(
        1000,
        "HTTP/2: frames of a peer that ask for nothing, in a burst; 100 a second, and more for each request, come back",
    )
    backlog: int = _count(1024, "connections the kernel holds for the accept loop")

    def __post_init__(self) -> None:
        for f in fields(self):
            read: Callable[..., int | None]
            if f.metadata["unit"] == "bytes":
                read = optional_octets if f.name in OPTIONAL else octets
            else:
                read = optional_count if f.name in OPTIONAL else count
            value = read(f"Limits.{f.name}", getattr(self, f.name), least=f.metadata["least"])
            object.__setattr__(self, f.name, value)
        self._check_line()

    def _check_line(self) -> None:
        line, section = self.max_field_line, self.max_field_section
        if line > section and line != DEFAULT_LINE:  # which nobody chose, most likely: it gives way
            raise Contradiction(
                f"Limits.max_field_line ({line}) can never be reached beside Limits.max_field_section ({section}), "
                "which is for all lines together: raise that, too, or lower the line"
            )
