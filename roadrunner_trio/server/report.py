"""What a connection tells its observers and counts: the beginning and the end of itself, and of its requests.

Every request head, and every attempt at one, comes to exactly one end: a stop or an exception when the application was
called, else a rejection, a throttling or an abortion. What went well is told only where somebody listens; what went
wrong is rare enough to be counted always.
"""

from __future__ import annotations

import sys
import time
from typing import cast

import trio

from ..answering.admission import Refusal
from ..answering.context import ServerContext
from ..answering.faults import PEERS
from ..errors import HTTPError, ProtocolError
from ..messages.request import Request
from ..protocol.http1.engine import Http1Engine
from ..telemetry.log_context import current_request
from ..telemetry.observe import (
    ConnectionAccepted,
    ConnectionEnded,
    Outcome,
    Part,
    RequestAborted,
    RequestEnded,
    RequestRejected,
    RequestThrottled,
)
from ..transport.phases import Phase
from ..transport.streams import Address
from ..transport.wire import BodyTimeout, PeerGone
from .presence import Attended


class Reporting(Attended):
    """An exchange that tells.

    Attributes:
        born: when the connection was accepted, in Trio's time.
    """

    __slots__ = ("_accept_told", "_broken_told", "born")

    def __init__(self, stream: trio.abc.Stream, engine: Http1Engine, context: ServerContext, peer: Address) -> None:
        super().__init__(stream, engine, context, peer)
        self.born = trio.current_time()
        self._accept_told = False
        self._broken_told = False
        """Whether a request has come to a bad end: the connection's last, and told once."""

    def tell_accept(self) -> None:
        """The beginning of the connection, once its peer is known."""
        self._accept_told = True
        observers = self.context.observers
        if observers.listener_accept:
            event = ConnectionAccepted(self.context.name, self.peer, time.time())
            observers.tell(observers.listener_accept, event)

    def tell_close(self) -> None:
        """The end of the connection, if its beginning was told."""
        observers = self.context.observers
        if self._accept_told and observers.listener_conn_close:
            age = trio.current_time() - self.born
            event = ConnectionEnded(self.context.name, self.peer, age, self.served)
            observers.tell(observers.listener_conn_close, event)

    def tell_end(self, request: Request, duration: float, error: BaseException | None) -> None:
        """The end of a request that was dispatched."""
        observers = self.context.observers
        received = self.engine.body_taken
        if self.ended and (error is None or isinstance(error, HTTPError)):
            event = RequestEnded(
                request, self.status, self.kind, received, self.sent, duration, "complete", None, error
            )
            observers.tell(observers.request_stop, event)
            return
        self._broken_told = True
        outcome = self._outcome(error)
        self._count(outcome)
        if observers.request_exception:
            status, phase = self._owed(outcome, error), self._part(error)
            event = RequestEnded(request, status, self.kind, received, self.sent, duration, outcome, phase, error)
            observers.tell(observers.request_exception, event)

    def tell_rejected(self, error: ProtocolError) -> None:
        """What the peer did wrong, in a request that was dispatched or one that was still being read."""
        started, self._broken_told = self._broken_told, True
        request = self.request if started else self._in_hand()
        self.context.counters.refused += not started
        observers = self.context.observers
        if observers.request_rejected:
            name, phase = self.context.name, self._part_read(request)
            event = RequestRejected(name, self.peer, error.reason, error.status, phase, request, started, time.time())
            observers.tell(observers.request_rejected, event)

    def tell_throttled(self, request: Request, refusal: Refusal) -> None:
        """The end of a request that was not let in."""
        if refusal.status == 429:
            self.context.counters.rate_limited += 1
        else:
            self.context.counters.throttled += 1
        observers = self.context.observers
        if observers.request_throttled:
            event = RequestThrottled(request, refusal.reason, refusal.status, time.time())
            observers.tell(observers.request_throttled, event)

    def tell_aborted(self, reason: str, status: int | None) -> None:
        """The end of a request that was still being read; nothing when there is none, or it was told already."""
        request = self._in_hand()
        if self._broken_told or (request is None and self.phase.phase is not Phase.READ_REQUEST):
            return
        self._broken_told = True
        self.context.counters.aborted += 1
        observers = self.context.observers
        if observers.request_aborted:
            name, phase = self.context.name, self._part_read(request)
            event = RequestAborted(name, self.peer, reason, status, phase, request, time.time())
            observers.tell(observers.request_aborted, event)

    def _in_hand(self) -> Request | None:
        """The request whose head has been read and that has not been dispatched."""
        return self.request if self.served and not self.request.over else None

    def _part_read(self, request: Request | None) -> Part:
        if request is not None:
            return "body"
        current_request.set(None)  # what is logged of a head that is none must not bear the last request's id
        return "head"

    def _outcome(self, error: BaseException | None) -> Outcome:
        match error:
            case None:
                return "timeout" if self.phase.expired else "gone" if self.gone else "cancelled"
            case BodyTimeout():
                return "timeout"
            case ProtocolError():
                return "rejected"
            case PeerGone():
                return "gone"
            case trio.BrokenResourceError() if self.gone or self.taken_over:
                return "gone"
            case HTTPError() if not isinstance(worse := sys.exception(), HTTPError | None):  # why it was not written
                return self._outcome(None if isinstance(worse, trio.Cancelled) else worse)
            case _:
                return "error"

    def _owed(self, outcome: Outcome, error: BaseException | None) -> int | None:
        """The status that the peer has got, or will get when its request is at an end."""
        if self.status or outcome == "gone":
            return self.status or None
        if outcome == "rejected":
            return cast("ProtocolError", error).status
        if outcome == "timeout":
            return 503 if error is None else 408
        if outcome == "error":
            return 500
        return 503 if self.drain.cut <= trio.current_time() else None

    def _part(self, error: BaseException | None) -> Part:
        if self.taken_over:
            return "handoff"
        if self.started and not (self.ended and self.kind == "none"):  # that is the server's own last word
            return "response"
        return "body" if isinstance(error, PEERS) and not self.body_done else "handler"

    def _count(self, outcome: Outcome) -> None:
        counters = self.context.counters
        match outcome:
            case "error":
                counters.failed += 1
            case "gone":
                counters.gone += 1
            case "timeout":
                counters.timed_out += 1
            case "cancelled":
                counters.cancelled += 1
            case _:
                counters.refused += 1
