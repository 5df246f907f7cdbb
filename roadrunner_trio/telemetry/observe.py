"""Observers: who wants to know what happens. Logging is one of them (:mod:`.logs`).

An observer implements only the hooks it wants; which ones those are is found out once, when the listener is made. Hooks
are synchronous and must be quick. One that raises is switched off, with one log line, and never disturbs a request.
Where nobody listens an event costs one ``if``: it is not even built.

Pairs are unconditional. Every :class:`ConnectionAccepted` has one :class:`ConnectionEnded`. Every
:class:`RequestStarted` has one :class:`RequestEnded`, by ``request_stop`` when the response is complete and by
``request_exception`` when it is not. A request that never starts has one :class:`RequestRejected`,
:class:`RequestThrottled` or :class:`RequestAborted` instead. Every :class:`WebSocketOpened` has one
:class:`WebSocketClosed`, between the start and the end of its request; a handshake that is not accepted has one
:class:`WebSocketRefused`. What a :class:`Handoff` makes of a connection is its own affair.

What is promised: within a major version no hook and no attribute of an event is removed or renamed, and none changes
its unit. Hooks, attributes, and the words that an outcome, phase, reason or kind can be may be added: take events apart
by name, never by position. Durations are seconds, ``system_time`` is seconds since the epoch by the wall clock, a
``deadline`` is Trio's time.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal, NamedTuple, Protocol, TypeAlias, TypeVar

from ..journal import log
from ..messages.request import Request
from ..transport.phases import PhaseScope
from ..transport.streams import Address
from .connection_events import ConnectionAccepted as ConnectionAccepted
from .connection_events import ConnectionBroken as ConnectionBroken
from .connection_events import ConnectionEnded as ConnectionEnded
from .connection_events import ConnectionRejected as ConnectionRejected
from .connection_events import ListenerClosed as ListenerClosed
from .connection_events import ListenerDraining as ListenerDraining
from .connection_events import ListenerRetiring as ListenerRetiring
from .of_request import OfRequest as OfRequest
from .websocket_events import WebSocketClosed as WebSocketClosed
from .websocket_events import WebSocketMessage as WebSocketMessage
from .websocket_events import WebSocketOpened as WebSocketOpened
from .websocket_events import WebSocketRefused as WebSocketRefused

Outcome: TypeAlias = Literal["complete", "error", "gone", "rejected", "timeout", "cancelled"]
Part: TypeAlias = Literal["head", "body", "handler", "response", "handoff"]


# -- requests ------------------------------------------------------------------------------------


class _Started(NamedTuple):
    request: Request
    system_time: float


class RequestStarted(_Started, OfRequest):
    """The application is about to be called.

    Attributes:
        request: the request.
        system_time: when.
    """

    __slots__ = ()


class _Ended(NamedTuple):
    request: Request
    status: int | None
    kind: str
    received: int
    sent: int
    duration: float
    outcome: Outcome
    phase: Part | None = None
    error: BaseException | None = None


class RequestEnded(_Ended, OfRequest):
    """A request is over, one way or another.

    Attributes:
        request: the request.
        status: of the response, or what the server owes when it ends the request itself (408, 413, 503); None when the
            peer is answered nothing.
        kind: ``"buffered"``, ``"stream"``, ``"loop"``, ``"file"`` or ``"handoff"``; ``"none"`` without a response.
        received: octets of content that the application, or the server for it, had read by then.
        sent: octets of content written.
        duration: seconds since the application was called.
        outcome: ``"complete"``, ``"error"`` (the application raised), ``"gone"`` (the peer left), ``"rejected"`` (the
            application met a body that is malformed or too large), ``"timeout"`` (the application took too long, or the
            peer to send its body or to take its response) or ``"cancelled"`` (the server went down).
        phase: None for a complete response, else where it broke: ``"body"`` (the application was reading it),
            ``"handler"`` (nothing was written yet), ``"response"`` or ``"handoff"``.
        error: what was raised, unless it was a cancellation, as by a peer that left.
    """

    __slots__ = ()


class RequestRejected(NamedTuple):
    """A request broke the protocol or a limit.

    Attributes:
        listener: the name of the listener.
        peer: host and port, or the path of a Unix socket.
        reason: that of the :class:`~roadrunner_trio.ProtocolError`.
        status: what the peer is answered, unless a response has begun.
        phase: ``"head"`` or ``"body"``, whichever was being read.
        request: the request, when its head had been read; else None.
        started: whether the application was reading the body; then the end of the request has been told already.
        system_time: when.
    """

    listener: str
    peer: Address
    reason: str
    status: int
    phase: Part
    request: Request | None
    started: bool
    system_time: float


class RequestAborted(NamedTuple):
    """A request broke off before the application was called, though it broke no rule.

    Attributes:
        listener: the name of the listener.
        peer: host and port, or the path of a Unix socket.
        reason: ``"peer_gone"`` (it left: N67), ``"timeout"`` (its time was up, or its head slower than the minimum
            rate), ``"cancelled"`` (the server went down) or ``"error"`` (the application's plan, or the server,
            failed).
        status: what the peer is answered; None when it is answered nothing.
        phase: ``"head"`` or ``"body"``, whichever was being read.
        request: the request, when its head had been read; else None.
        system_time: when.
    """

    listener: str
    peer: Address
    reason: str
    status: int | None
    phase: Part
    request: Request | None
    system_time: float


class _Throttled(NamedTuple):
    request: Request
    reason: str
    status: int
    system_time: float


class RequestThrottled(_Throttled, OfRequest):
    """A request was answered without the application, to spare the server or a peer's neighbours.

    Attributes:
        request: the request.
        reason: ``"max_concurrent_requests"`` or ``"rate_limit"``.
        status: what the peer is answered, 503 or 429.
        system_time: when.
    """

    __slots__ = ()


class _SendFailed(NamedTuple):
    request: Request
    phase: str
    reason: str
    system_time: float


class ResponseSendFailed(_SendFailed, OfRequest):
    """The first write of a response, or of a file's content, did not reach the peer. Later writes do not say so.

    Attributes:
        request: the request.
        phase: ``"buffered_response"``, ``"stream_response_head"``, ``"loop_response_head"``,
            ``"sendfile_response_head"``, ``"sendfile_body"``, ``"handoff_response"`` or, where an application writes
            its response itself, ``"response_head"``.
        reason: why, in words.
        system_time: when.
    """

    __slots__ = ()


class _Acknowledged(NamedTuple):
    request: Request
    deadline: float | None
    system_time: float


class DrainAcknowledged(_Acknowledged, OfRequest):
    """A handler said that it knows of the drain.

    Attributes:
        request: the request.
        deadline: by when it has to be over; None when there is no drain.
        system_time: when.
    """

    __slots__ = ()


# -- who listens ---------------------------------------------------------------------------------


class Observer:
    """Base of observers. Override the hooks you want; the others cost nothing."""

    def listener_accept(self, event: ConnectionAccepted) -> None:
        """A connection was accepted."""

    def listener_conn_close(self, event: ConnectionEnded) -> None:
        """A connection is over; the pair of :meth:`Observer.listener_accept`."""

    def listener_conn_rejected(self, event: ConnectionRejected) -> None:
        """A connection was turned away at the cap."""

    def connection_failed(self, event: ConnectionBroken) -> None:
        """A connection of HTTP/2 ends for a rule that its peer has broken."""

    def listener_retire(self, event: ListenerRetiring) -> None:
        """A listener will drain soon; see :meth:`Listener.retire`."""

    def listener_drain(self, event: ListenerDraining) -> None:
        """The listener has begun to drain."""

    def listener_close(self, event: ListenerClosed) -> None:
        """The listener has closed."""

    def request_start(self, event: RequestStarted) -> None:
        """The application is about to be called."""

    def request_stop(self, event: RequestEnded) -> None:
        """A request was answered; the pair of :meth:`Observer.request_start`."""

    def request_exception(self, event: RequestEnded) -> None:
        """A request ended otherwise: the application raised, the peer left, time ran out; also a pair."""

    def request_rejected(self, event: RequestRejected) -> None:
        """A request broke the protocol or a limit."""

    def request_aborted(self, event: RequestAborted) -> None:
        """A request broke off before the application was called."""

    def request_throttled(self, event: RequestThrottled) -> None:
        """A request was turned away to keep the server well."""

    def response_send_failed(self, event: ResponseSendFailed) -> None:
        """A response did not reach its peer."""

    def drain_acknowledged(self, event: DrainAcknowledged) -> None:
        """A handler acknowledged the drain."""

    def websocket_open(self, event: WebSocketOpened) -> None:
        """A WebSocket was accepted."""

    def websocket_receive(self, event: WebSocketMessage) -> None:
        """A handler has taken a message of its peer."""

    def websocket_send(self, event: WebSocketMessage) -> None:
        """A handler has sent a message."""

    def websocket_close(self, event: WebSocketClosed) -> None:
        """A WebSocket is over; the pair of :meth:`Observer.websocket_open`."""

    def websocket_refused(self, event: WebSocketRefused) -> None:
        """A handshake came to nothing."""


class Measurable(Protocol):
    """An exchange, as it is measured.

    Attributes:
        status: of the response; 0 when there was none.
        kind: as in :class:`RequestEnded`.
        sent: octets of its content.
        headed: when the head of the response was written, by the phase's clock; if not together with all the rest.
    """

    status: int
    kind: str
    sent: int
    headed: float
    phase: PhaseScope

    @property
    def received(self) -> int:
        """Octets of the request's content that have been read."""
        ...


Measure: TypeAlias = Callable[[Measurable, Request, float], None]


class Meter(Observer):
    """An observer that every request would be too dear for by events: it is called instead, with what it needs.

    Attributes:
        messages: how many of WebSockets have been received, and how many sent; None for one that does not count them.
    """

    messages: list[int] | None = None

    def measure(self, exchange: Measurable, request: Request, duration: float) -> None:
        """The application has done with a request, in so many seconds. Must not raise."""
        raise NotImplementedError

    def attach(self, listener: Any) -> None:
        """By each listener that has it among its observers."""
        raise NotImplementedError


HOOKS: Final = tuple(name for name in vars(Observer) if not name.startswith("_"))

Event = TypeVar("Event")
Hook: TypeAlias = tuple[Callable[[Event], None], ...]
"""Those who want an event; empty, and so false, when nobody does."""


class Observers:
    """Passes events on, in order, to whoever listens.

    Each hook is an attribute, a tuple of those who want its event. So a caller writes ``if observers.request_start:``
    before it builds one.

    Attributes:
        measure: that of a :class:`Meter`; None without one.
        ends: whether anybody wants to know of the good end of a request, by an event or by a call.
        messages: where those of WebSockets are counted.

    Raises:
        TypeError: an observer is a class, or has a hook that is an async function.
    """

    listener_accept: Hook[ConnectionAccepted]
    listener_conn_close: Hook[ConnectionEnded]
    listener_conn_rejected: Hook[ConnectionRejected]
    connection_failed: Hook[ConnectionBroken]
    listener_retire: Hook[ListenerRetiring]
    listener_drain: Hook[ListenerDraining]
    listener_close: Hook[ListenerClosed]
    request_start: Hook[RequestStarted]
    request_stop: Hook[RequestEnded]
    request_exception: Hook[RequestEnded]
    request_rejected: Hook[RequestRejected]
    request_aborted: Hook[RequestAborted]
    request_throttled: Hook[RequestThrottled]
    response_send_failed: Hook[ResponseSendFailed]
    drain_acknowledged: Hook[DrainAcknowledged]
    websocket_open: Hook[WebSocketOpened]
    websocket_receive: Hook[WebSocketMessage]
    websocket_send: Hook[WebSocketMessage]
    websocket_close: Hook[WebSocketClosed]
    websocket_refused: Hook[WebSocketRefused]

    __slots__ = ("_observers", "ends", "measure", "messages", *HOOKS)

    def __init__(self, observers: Sequence[Observer] = ()) -> None:
        self._observers = [(observer, _wanted(observer)) for observer in observers]
        self._resolve()

    def _resolve(self) -> None:
        for hook in HOOKS:
            setattr(self, hook, tuple(wanted[hook] for _, wanted in self._observers if hook in wanted))
        meters = [observer for observer, _ in self._observers if isinstance(observer, Meter)]
        self.measure = _all_of([meter.measure for meter in meters])
        self.messages = [meter.messages for meter in meters if meter.messages is not None]
        self.ends = bool(self.request_stop or self.measure)

    def join(self, observer: Observer) -> None:
        """One more, from now on; until it parts nothing is said twice to one that is there already."""
        if all(each is not observer for each, _ in self._observers):
            self._observers.append((observer, _wanted(observer)))
            self._resolve()

    def part(self, observer: Observer) -> None:
        """It is told nothing any more, if it was."""
        self._observers = [each for each in self._observers if each[0] is not observer]
        self._resolve()

    def attach(self, listener: object) -> None:
        """A listener gives itself to those who ask it for its numbers."""
        for observer, _ in self._observers:
            if isinstance(observer, Meter):
                observer.attach(listener)

    def tell(self, hook: Hook[Event], event: Event) -> None:
        """Calls everybody in ``hook``, which is one of our own; one that raises is switched off."""
        for listen in hook:
            try:
                listen(event)
            except KeyboardInterrupt:
                raise
            except BaseException:  # another task's cancellation too, or SystemExit: each would end every connection
                self._switch_off(listen)

    def _switch_off(self, culprit: Callable[[Any], None]) -> None:
        for at, (observer, wanted) in enumerate(self._observers):
            for hook, listen in wanted.items():
                if listen is culprit:
                    del self._observers[at]
                    self._resolve()
                    log.exception("observer %r raised in %s and is switched off", observer, hook)
                    return


def _all_of(measures: Sequence[Measure]) -> Measure | None:
    """One function for all; that of the only one itself, which is called once a request."""
    if len(measures) < 2:
        return measures[0] if measures else None

    def measure(exchange: Measurable, request: Request, duration: float) -> None:
        for each in measures:
            each(exchange, request, duration)

    return measure


def _wanted(observer: Observer) -> dict[str, Callable[[Any], None]]:
    """The hooks that an observer implements."""
    if isinstance(observer, type):
        raise TypeError(f"an observer is an instance, not the class {observer.__qualname__}")
    found: dict[str, Callable[[Any], None]] = {}
    for hook in HOOKS:
        listen = getattr(observer, hook, None)
        if listen is None or getattr(listen, "__func__", None) is getattr(Observer, hook):
            continue
        if inspect.iscoroutinefunction(listen):
            raise TypeError(f"{type(observer).__qualname__}.{hook} is an async function; hooks are synchronous")
        found[hook] = listen
    return found
