"""Observers: who wants to know what happens. Logging is one of them.

An observer implements only the hooks it wants. Hooks are synchronous and must be quick; one that raises is switched
off with one log line and never disturbs a request. With no observers an event costs one ``if``.

Every accept has exactly one close, and every request start exactly one of stop and exception.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from .request import Request
from .streams import Address, shown

Outcome: TypeAlias = Literal["complete", "error", "gone", "timeout", "cancelled"]

log = logging.getLogger("roadrunner_trio")
access_log = logging.getLogger("roadrunner_trio.access")


@dataclass(frozen=True, slots=True)
class ConnectionEvent:
    """A connection was accepted."""

    listener: str
    peer: Address


@dataclass(frozen=True, slots=True)
class ConnectionClosed:
    """A connection is over.

    Attributes:
        duration: seconds since it was accepted.
        requests: how many it served.
    """

    listener: str
    peer: Address
    duration: float
    requests: int


@dataclass(frozen=True, slots=True)
class ConnectionRejected:
    """A connection was turned away before it became one: at the cap (N69)."""

    listener: str
    reason: str


@dataclass(frozen=True, slots=True)
class RequestRejected:
    """A request never reached the application: malformed, or above a limit.

    Attributes:
        reason: the reason of the :class:`~roadrunner_trio.ProtocolError`.
        status: what the peer was answered.
    """

    listener: str
    peer: Address
    reason: str
    status: int


@dataclass(frozen=True, slots=True)
class RequestEnded:
    """A request is over.

    Attributes:
        status: of the response; None when none was begun.
        kind: ``"buffered"``, ``"stream"``, ``"loop"``, ``"file"``, ``"handoff"``; ``"none"`` without a response.
        sent: octets of content written.
        duration: seconds since the application was called.
        outcome: ``"complete"``, ``"error"`` (the application raised), ``"gone"`` (the peer left or was too slow),
            ``"timeout"`` or ``"cancelled"`` (the server went down).
        error: what was raised, for an error.
    """

    request: Request
    status: int | None
    kind: str
    sent: int
    duration: float
    outcome: Outcome
    error: BaseException | None = None


class Observer:
    """Base of observers: every hook does nothing."""

    def listener_accept(self, event: ConnectionEvent) -> None:
        """A connection was accepted."""

    def listener_conn_close(self, event: ConnectionClosed) -> None:
        """A connection is over; the pair of :meth:`listener_accept`."""

    def listener_conn_rejected(self, event: ConnectionRejected) -> None:
        """A connection was turned away at the cap."""

    def request_start(self, request: Request) -> None:
        """The application is about to be called."""

    def request_stop(self, event: RequestEnded) -> None:
        """A request was answered."""

    def request_exception(self, event: RequestEnded) -> None:
        """A request ended otherwise: the application raised, the peer left, time ran out."""

    def request_rejected(self, event: RequestRejected) -> None:
        """A request was refused before the application saw it."""

    def drain_acknowledged(self, request: Request) -> None:
        """A handler acknowledged the drain."""


class Observers:
    """Passes events on, in order, to whoever is left. False when there is nobody: callers skip the event."""

    def __init__(self, observers: Sequence[Observer] = ()) -> None:
        self._observers = list(observers)

    def __bool__(self) -> bool:
        return bool(self._observers)

    def tell(self, hook: str, event: object) -> None:
        """Calls ``hook`` of every observer with ``event``; one that raises is switched off."""
        for observer in tuple(self._observers):
            try:
                getattr(observer, hook)(event)
            except Exception:
                self._observers.remove(observer)
                log.exception("observer %r raised in %s and is switched off", observer, hook)


class AccessLog(Observer):
    """One line a request, through the logger ``roadrunner_trio.access`` at INFO.

    ``peer "METHOD target" status octets milliseconds request-id``; the status is 499 when the peer left first.
    """

    def request_stop(self, event: RequestEnded) -> None:
        """Logs a request that was answered."""
        self._write(event, event.status)

    def request_exception(self, event: RequestEnded) -> None:
        """Logs a request that was not, or not to its end."""
        self._write(event, 499 if event.outcome == "gone" else event.status)

    def _write(self, event: RequestEnded, status: int | None) -> None:
        request = event.request
        access_log.info(
            '%s "%s %s" %s %d %.1fms %s',
            shown(request.peer),
            request.method,
            request.target.decode("latin-1"),
            "-" if status is None else status,
            event.sent,
            event.duration * 1000,
            request.request_id,
        )
