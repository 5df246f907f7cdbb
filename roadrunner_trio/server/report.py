"""What is told and counted of requests: their beginning is the story's affair, their ends are here.

Every request head, and every attempt at one, comes to exactly one end: a stop or an exception when the application was
called, else a rejection, a throttling or an abortion. What went well is told only where somebody listens; what went
wrong is rare enough to be counted always.
"""

from __future__ import annotations

import sys
import time
from typing import Protocol, cast

import trio

from ..answering.admission import Refusal
from ..answering.context import ServerContext
from ..answering.faults import PEERS
from ..errors import HTTPError, ProtocolError
from ..messages.request import Request
from ..telemetry.log_context import current_request
from ..telemetry.observe import (
    DrainAcknowledged,
    Observers,
    Outcome,
    Part,
    RequestAborted,
    RequestEnded,
    RequestRejected,
    RequestThrottled,
    ResponseSendFailed,
)
from ..transport.drain import Drain
from ..transport.gone import BodyTimeout, PeerGone, PeerTooSlow
from ..transport.phases import Phase, PhaseScope
from ..transport.streams import Address


class Answering(Protocol):
    """Of an exchange, what a response that was not taken is told with."""

    request: Request

    @property
    def context(self) -> ServerContext:
        """Whose observers and counters are meant."""
        ...


class Reported(Answering, Protocol):
    """An exchange of any protocol, as it is told of.

    Attributes:
        told: a request has come to a bad end, which is told once.
        headed: when the head of its response was written, if not together with all the rest; else of an earlier one.
    """

    phase: PhaseScope
    status: int
    kind: str
    sent: int
    ended: bool
    body_done: bool
    taken_over: bool
    told: bool
    headed: float

    @property
    def drain(self) -> Drain:
        """The drain that it falls under."""
        ...

    @property
    def peer(self) -> Address:
        """Whose request it is."""
        ...

    @property
    def gone(self) -> bool:
        """Whether the peer has left."""
        ...

    @property
    def received(self) -> int:
        """Octets of the request's content that have been read."""
        ...


def tell_end(
    observers: Observers, exchange: Reported, request: Request, duration: float, error: BaseException | None
) -> None:
    """The end of a request that was dispatched."""
    if (measure := observers.measure) is not None:
        measure(exchange, request, duration)
    complete = exchange.ended and (error is None or isinstance(error, HTTPError))
    if complete and not observers.request_stop:
        return
    status, kind, received, sent = exchange.status, exchange.kind, exchange.received, exchange.sent
    if complete:
        event = RequestEnded(request, status, kind, received, sent, duration, "complete", None, error)
        observers.tell(observers.request_stop, event)
        return
    exchange.told = True
    outcome = _outcome(exchange, error)
    _count(exchange, outcome)
    if observers.request_exception:
        owed, part = _owed(exchange, outcome, error), _part(exchange, error)
        event = RequestEnded(request, owed, kind, received, sent, duration, outcome, part, error)
        observers.tell(observers.request_exception, event)


def tell_rejected(exchange: Reported, error: ProtocolError) -> None:
    """What the peer did wrong, in a request that was dispatched or one that was still being read."""
    started, exchange.told = exchange.told, True
    request = exchange.request if started else _in_hand(exchange)
    context, observers = exchange.context, exchange.context.observers
    context.counters.refused += not started
    if observers.request_rejected:
        part, now = _part_read(request), time.time()
        event = RequestRejected(context.name, exchange.peer, error.reason, error.status, part, request, started, now)
        observers.tell(observers.request_rejected, event)


def tell_throttled(exchange: Reported, refusal: Refusal) -> None:
    """The end of a request that was not let in."""
    context, observers = exchange.context, exchange.context.observers
    if refusal.status == 429:
        context.counters.rate_limited += 1
    else:
        context.counters.throttled += 1
    if observers.request_throttled:
        event = RequestThrottled(exchange.request, refusal.reason, refusal.status, time.time())
        observers.tell(observers.request_throttled, event)


def tell_aborted(exchange: Reported, reason: str, status: int | None) -> None:
    """The end of a request that was still being read; nothing when there is none, or it was told already."""
    request = _in_hand(exchange)
    if exchange.told or (request is None and exchange.phase.phase is not Phase.READ_REQUEST):
        return
    exchange.told = True
    context, observers = exchange.context, exchange.context.observers
    context.counters.aborted += 1
    if observers.request_aborted:
        part, now = _part_read(request), time.time()
        event = RequestAborted(context.name, exchange.peer, reason, status, part, request, now)
        observers.tell(observers.request_aborted, event)


def tell_send_failed(exchange: Answering, phase: str, error: PeerGone) -> None:
    """A response, or the part of it that ``phase`` names, was not taken (behaviour 7.1)."""
    exchange.context.counters.send_failed += 1
    observers = exchange.context.observers
    if observers.response_send_failed:
        event = ResponseSendFailed(exchange.request, phase, str(error), time.time())
        observers.tell(observers.response_send_failed, event)


def tell_acknowledged(exchange: Reported) -> None:
    """The handler has taken the drain's word."""
    exchange.context.counters.acknowledged += 1
    observers = exchange.context.observers
    if observers.drain_acknowledged:
        deadline = exchange.drain.deadline if exchange.drain.draining else None
        observers.tell(observers.drain_acknowledged, DrainAcknowledged(exchange.request, deadline, time.time()))


def _in_hand(exchange: Reported) -> Request | None:
    """The request whose head has been read and that has not been dispatched."""
    return None if exchange.request.over else exchange.request


def _part_read(request: Request | None) -> Part:
    if request is not None:
        return "body"
    current_request.set(None)  # what is logged of a head that is none must not bear the last request's id
    return "head"


def _outcome(exchange: Reported, error: BaseException | None) -> Outcome:
    match error:
        case None:
            return "timeout" if exchange.phase.expired else "gone" if exchange.gone else "cancelled"
        case BodyTimeout():
            return "timeout"
        case ProtocolError():
            return "rejected"
        case PeerTooSlow():
            return "timeout"
        case PeerGone():
            return "gone"
        case trio.BrokenResourceError() if exchange.gone or exchange.taken_over:
            return "gone"
        case HTTPError() if not isinstance(worse := sys.exception(), HTTPError | None):  # why it was not written
            return _outcome(exchange, None if isinstance(worse, trio.Cancelled) else worse)
        case _:
            return "error"


def _owed(exchange: Reported, outcome: Outcome, error: BaseException | None) -> int | None:
    """The status that the peer has got, or will get when its request is at an end."""
    if exchange.status or outcome == "gone":
        return exchange.status or None
    if outcome == "rejected":
        return cast("ProtocolError", error).status
    if outcome == "timeout":
        return 503 if error is None else 408
    if outcome == "error":
        return 500
    return 503 if exchange.drain.cut <= trio.current_time() else None


def _part(exchange: Reported, error: BaseException | None) -> Part:
    if exchange.taken_over:
        return "handoff"
    if exchange.status and not (exchange.ended and exchange.kind == "none"):  # that is the server's own last word
        return "response"
    return "body" if isinstance(error, PEERS) and not exchange.body_done else "handler"


def _count(exchange: Reported, outcome: Outcome) -> None:
    counters = exchange.context.counters
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
