"""The contracts everything plugs into: an exchange is one request and its one response, an app answers exchanges."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Generator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Protocol, TypeAlias

import trio

from ..errors import ProtocolError
from ..fields import Field
from ..settings import Timeouts
from ..transport.clock import Clock
from ..transport.drain import Drain
from ..transport.files import OpenFile
from ..transport.streams import Address
from ..transport.wire import SocketWire
from .request import Request

BodyMode = Literal["buffered", "streaming"]
Check: TypeAlias = Callable[[Request], Awaitable[object]]
"""``async def check(request)``: a response, or None to let the request pass."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What an app wants done with a request before it is called.

    Attributes:
        body: ``"buffered"`` reads the whole body first; ``"streaming"`` leaves it to the handler.
        max_body: octets; None lifts the cap, and only a streaming body may have none (N18).
        timeout: seconds from the call to the end of the response; then 503, or a cut.
        disconnect_grace: seconds until the call is cancelled when the peer has ended; at once when it has reset the
            connection. ``math.inf``: neither, whoever leaves.
        early: asked one after another before anything of the body is read or asked for; the first response that one of
            them gives is the answer.
        refuse: answers a request whose body the server refused before the application was called, in place of the
            plain answer of the error's status.
    """

    body: BodyMode = "buffered"
    max_body: int | None = None
    timeout: float = math.inf
    disconnect_grace: float = math.inf
    early: tuple[Check, ...] = ()
    refuse: Callable[[Exchange, ProtocolError], Awaitable[None]] | None = None


class Exchange(Protocol):
    """One request and its response. HTTP/1 implements it now; every later protocol will.

    It is the app's until the app has returned, and no longer: it may be used for a next request, even of another peer,
    so a task that is left behind with it must not use it any more. What handlers have, a request and ``send``, ends by
    itself.

    The writing calls raise :class:`~roadrunner_trio.PeerGone` when the peer is gone or does not take what is written
    within the write timeout, and ValueError before a byte is out for what would split the message.
    """

    kind: str
    """What the response is, for observers: ``"buffered"``, ``"stream"``, ``"loop"``, ``"file"``, ``"handoff"``."""
    extra: Sequence[Field]
    """Fields that the server adds to the final response, unless the application has set them."""
    memo: Any
    """What an application keeps with the connection, from request to request; None at first."""

    @property
    def request(self) -> Request:
        """The request."""
        ...

    @property
    def drain(self) -> Drain:
        """The server's drain."""
        ...

    @property
    def clock(self) -> Clock:
        """The deadlines of the server."""
        ...

    @property
    def timeouts(self) -> Timeouts:
        """How long its peers may take."""
        ...

    @property
    def wire(self) -> SocketWire | None:
        """The socket that carries it, when nobody else is on it; under ``request.tls`` it carries records."""
        ...

    @property
    def local(self) -> Address:
        """Our end: host and port, or the path of a Unix socket; the listener's name where it is no socket of ours."""
        ...

    @property
    def started(self) -> bool:
        """Whether the final response's head is on the wire."""
        ...

    @property
    def body_done(self) -> bool:
        """Whether the request body has been read to its end; with the last piece where its length was declared."""
        ...

    @property
    def gone_now(self) -> bool:
        """Whether the peer is known to have gone, or to have ended what it sends; never waits."""
        ...

    async def receive_body(self) -> bytes:
        """The next piece of the request body; ``b""`` at its end."""
        ...

    async def disconnected(self) -> None:
        """Returns when the peer has gone, or :meth:`release_waiters` is called."""
        ...

    def release_waiters(self) -> None:
        """Ends every :meth:`disconnected`, and a :meth:`receive_body` of a complete response with RuntimeError.

        An app that may go on working when its response is complete calls it then: the connection does not wait for it.
        """
        ...

    async def send_interim(self, status: int, fields: Sequence[Field] = ()) -> None:
        """An interim response, 100 to 199 but not 101 (RFC 9110 section 15.2); nothing to an HTTP/1.0 peer."""
        ...

    async def respond(self, status: int, fields: Sequence[Field], body: bytes, *, reason: bytes | None = None) -> None:
        """A whole response in one write: the hot path."""
        ...

    async def start_response(self, status: int, fields: Sequence[Field], *, reason: bytes | None = None) -> bool:
        """The head of a response; False when no body will be written (HEAD, 204, 205, 304)."""
        ...

    async def send_body(self, data: bytes) -> None:
        """A piece of the body; empty data does nothing."""
        ...

    async def send_file(self, file: OpenFile, offset: int, length: int) -> None:
        """A range of a file as a piece of the body."""
        ...

    async def end_response(self, trailers: Sequence[Field] = ()) -> None:
        """The end of the body."""
        ...

    async def take_over(
        self, status: int | None, fields: Sequence[Field] = (), *, replay_head: bool = False
    ) -> trio.abc.Stream:
        """Writes a head, if any, and gives up the rest of the wire."""
        ...


class Lasting:
    """What is left to be done of an answer, and may take hours: as little as can be is to be held meanwhile.

    Whoever is given one enters it, awaits :meth:`body`, and leaves it; or awaits it as a whole, which is a frame more.
    """

    __slots__ = ()

    def body(self) -> Awaitable[object]:
        """What takes so long."""
        raise NotImplementedError

    async def __aenter__(self) -> None:
        """The body is about to be awaited."""

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        """It is over; what it has raised is dealt with, or goes on."""
        return False

    async def _whole(self) -> None:
        async with self:
            await self.body()

    def __await__(self) -> Generator[Any, Any, None]:
        return self._whole().__await__()


class App(Protocol):
    """Answers exchanges. ``native(handler)`` makes one from a handler.

    One that needs something to be started and ended has ``lifetime(failed)`` besides: an async context manager, which
    a listener enters once it is bound and before it accepts, and leaves after its last connection, also when it is
    cancelled. It calls ``failed`` should what it has started end by itself: then the listener drains.
    """

    def plan(self, request: Request) -> Plan:
        """What is to be done with the request's body, and how long the call may take; synchronous."""
        ...

    async def __call__(self, exchange: Exchange) -> None:
        """Answers one exchange."""
        ...


class TwoSteps:
    """An app that may leave what lasts of an answer to its caller, who has fewer frames under it."""

    __slots__ = ()

    async def answer(self, exchange: Exchange) -> Lasting | None:
        """As a call, to its end, or all but what lasts."""
        raise NotImplementedError

    async def __call__(self, exchange: Exchange) -> None:
        """As any app's."""
        if (rest := await self.answer(exchange)) is not None:
            await rest


def answer_of(app: App) -> Callable[[Exchange], Awaitable[object]]:
    """What is called in place of ``app``, and may come to something :class:`Lasting`."""
    called: Any = type(app).__call__
    return app.answer if isinstance(app, TwoSteps) and called is TwoSteps.__call__ else app
