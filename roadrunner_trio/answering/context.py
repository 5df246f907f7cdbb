"""What every connection of a listener shares."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from ..fields import Field, Fields, FieldsLike, encoded
from ..messages.exchange import App, Exchange, answer_of
from ..protocol.http1.encode import Wishes, sift
from ..protocol.http1.scan import Seen
from ..protocol.trust import ProxyHeaders, ProxyProtocol
from ..protocol.wishes import SPECIAL, checked
from ..settings import Limits, Timeouts
from ..telemetry.log_context import enter
from ..telemetry.observe import Observers
from ..transport.clock import Clock
from ..transport.drain import Drain
from ..transport.poller import Poller
from ..transport.streams import Address
from ..transport.turns import Turns
from .admission import Gate
from .buffers import Buffered
from .relayed import believe

if TYPE_CHECKING:
    from ..protocol.http2 import blocks  # whoever speaks HTTP/2 imports it

OnHead: TypeAlias = Callable[[Exchange], None]
"""What is done to a request as soon as its head has been read, before the app's plan; may raise ProtocolError."""


def of_every_response(given: FieldsLike) -> Fields:
    """Fields that every response has, checked.

    Raises:
        TypeError, ValueError: they cannot be said, or say what the server says itself.
    """
    try:
        said = checked(encoded(given))
    except (TypeError, ValueError) as exc:
        raise type(exc)(f"fields of every response: {exc}") from None
    for name, _ in said:
        if name in SPECIAL:
            raise ValueError(f"fields of every response: {name.decode('ascii')} is the server's to say")
    return said


def steps(
    request_ids: OnHead | None, *, log_context: bool, proxy_headers: ProxyHeaders | None = None, fields: Fields = ()
) -> tuple[OnHead, ...]:
    """What a listener's options make of every head, in order: an id is taken from the proxy, not from its peer."""
    added = _adding(fields) if fields else None
    relayed = None if proxy_headers is None else believe(proxy_headers)
    return tuple(step for step in (added, request_ids, relayed, enter if log_context else None) if step is not None)


def _adding(fields: Fields) -> OnHead:
    def add(exchange: Exchange) -> None:
        exchange.extra = fields

    return add


class Places(Protocol):
    """Who has how many connections."""

    def move(self, member: object, peer: Address) -> bool:
        """A connection turns out to be another peer's; False when that has as many as it may have."""
        ...


@dataclass(slots=True)
class Counters:
    """Cumulative since the listener was made. :class:`~roadrunner_trio.ListenerInfo` says what each counts."""

    accepted: int = 0
    rejected: int = 0
    handshakes_failed: int = 0
    requests: int = 0
    refused: int = 0
    aborted: int = 0
    throttled: int = 0
    rate_limited: int = 0
    failed: int = 0
    gone: int = 0
    timed_out: int = 0
    cancelled: int = 0
    send_failed: int = 0
    evicted: int = 0
    acknowledged: int = 0
    cut: int = 0
    accepts_failed: int = 0
    streams_refused: int = 0
    streams_reset: int = 0
    goaways: int = 0


async def nobody_rests(conn: object) -> bool:
    """A connection's task ends with it."""
    return False


@dataclass(slots=True, eq=False, repr=False)
class ServerContext:
    """The app and the rules, made once a listener.

    Attributes:
        drain: joined by connections as they come; replaced when the listener only notifies.
        on_head: what is done to every request before its plan.
        tls: for connections that are not encrypted when they come; None leaves them so.
        proxy_protocol: whose connections begin with a PROXY header.
        answer: the app, or what it has in the place of its call: that may leave something :class:`.Lasting` to a
            caller who has fewer frames under it.
        seen: what the engines of its connections share.
        gate: what keeps requests out of the application, if anything does.
        variables: the context variables of whoever serves; each request begins with a copy of them.
        sift: reads the fields of a response, and remembers how they are said,
        sift_http2: and how in HTTP/2, where that is spoken.
        places: counts connections by their peers; None where nobody does.
        turns: where costly work of one connection waits, so that its neighbours do not.
        buffered: what its connections hold in memory for the application, all together.
        park: has a slot take the place of a connection that is idle, if it may; None where nobody does.
        rest: has the task of a connection that has ended go on without it, for another, if it may.
        go_on: told of a connection whose peer has sent something that nobody waits for; None where nobody is.
        protocols: what is spoken, by the names of ALPN, the preferred one first.
        websockets: whether the app may make WebSockets of requests, which HTTP/2 has to say before it is asked.
        http2: the story of a connection that speaks HTTP/2, told by its carrier and what has come of it; None where
            nobody tells it.
    """

    app: App
    name: str = "main"
    timeouts: Timeouts = field(default_factory=Timeouts)
    limits: Limits = field(default_factory=Limits)
    observers: Observers = field(default_factory=Observers)
    drain: Drain = field(default_factory=Drain)
    on_head: tuple[OnHead, ...] = ()
    tls: ssl.SSLContext | None = None
    proxy_protocol: ProxyProtocol | None = None
    gate: Gate | None = None
    clock: Clock = field(default_factory=Clock)
    poller: Poller | None = None
    places: Places | None = None
    counters: Counters = field(default_factory=Counters)
    sift: Callable[[tuple[Field, ...]], Wishes] = sift
    variables: Context = field(default_factory=copy_context)
    turns: Turns = field(default_factory=Turns)
    park: Callable[..., bool] | None = None
    rest: Callable[[Any], Awaitable[bool]] = nobody_rests
    go_on: Callable[[Any], None] | None = None
    protocols: tuple[str, ...] = ("http/1.1",)
    websockets: bool = False
    http2: Callable[[Any, bytes], Awaitable[bool]] | None = None
    sift_http2: Callable[[tuple[Field, ...]], blocks.Wishes] = field(init=False)
    answer: Callable[[Exchange], Awaitable[object]] = field(init=False)
    seen: Seen = field(init=False)
    buffered: Buffered = field(init=False)

    def __post_init__(self) -> None:
        self.answer = answer_of(self.app)
        self.seen = Seen(self.limits)
        self.buffered = Buffered(self.limits.max_buffered)
