"""An exchange within another one: for who changes a response while it is written, whoever writes it.

A middleware that has to see what goes out, and not only the response that says what will, gives the response a
function that is put around the exchange: ``response.around = ...``. That is also how it reaches into an application
that writes by itself, such as one of ASGI.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

import trio

from ..fields import Field
from ..settings import Timeouts
from ..transport.clock import Clock
from ..transport.drain import Drain
from ..transport.files import OpenFile
from ..transport.streams import Address
from ..transport.wire import SocketWire
from .exchange import Exchange
from .request import Request

Surround: TypeAlias = Callable[[Exchange], Exchange]
"""Puts something around an exchange."""


_SHARED: Final = frozenset({"kind", "extra", "memo"})


def innermost(exchange: Exchange) -> Any:
    """The server's own exchange, within all that stands around it."""
    while isinstance(exchange, Around):
        exchange = exchange.inner
    return exchange


class Around:
    """An exchange that passes everything on; derived ones change what they are about.

    Attributes:
        inner: the exchange that it stands around.
    """

    # These are the inner one's, to be read and to be set.
    kind: str
    extra: Sequence[Field]
    memo: Any

    def __init__(self, inner: Exchange) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        if name in _SHARED:
            return getattr(self.inner, name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __setattr__(self, name: str, value: object) -> None:
        if name in _SHARED:
            setattr(self.inner, name, value)
        else:
            object.__setattr__(self, name, value)

    @property
    def request(self) -> Request:
        """The request."""
        return self.inner.request

    @property
    def drain(self) -> Drain:
        """The server's drain."""
        return self.inner.drain

    @property
    def clock(self) -> Clock:
        """The deadlines of the server."""
        return self.inner.clock

    @property
    def timeouts(self) -> Timeouts:
        """How long its peers may take."""
        return self.inner.timeouts

    @property
    def wire(self) -> SocketWire | None:
        """The socket that carries it, when nobody else is on it."""
        return self.inner.wire

    @property
    def local(self) -> Address:
        """Our end."""
        return self.inner.local

    @property
    def started(self) -> bool:
        """Whether the final response's head is on the wire."""
        return self.inner.started

    @property
    def body_done(self) -> bool:
        """Whether the request body has been read to its end."""
        return self.inner.body_done

    @property
    def gone_now(self) -> bool:
        """Whether the peer is known to have gone."""
        return self.inner.gone_now

    async def receive_body(self) -> bytes:
        """The next piece of the request body."""
        return await self.inner.receive_body()

    async def disconnected(self) -> None:
        """Returns when the peer has gone."""
        await self.inner.disconnected()

    def release_waiters(self) -> None:
        """Ends every wait for the peer."""
        self.inner.release_waiters()

    async def send_interim(self, status: int, fields: Sequence[Field] = ()) -> None:
        """An interim response."""
        await self.inner.send_interim(status, fields)

    async def respond(self, status: int, fields: Sequence[Field], body: bytes, *, reason: bytes | None = None) -> None:
        """A whole response."""
        await self.inner.respond(status, fields, body, reason=reason)

    async def start_response(self, status: int, fields: Sequence[Field], *, reason: bytes | None = None) -> bool:
        """The head of a response; False when no body will be written."""
        return await self.inner.start_response(status, fields, reason=reason)

    async def send_body(self, data: bytes) -> None:
        """A piece of the body."""
        await self.inner.send_body(data)

    async def send_file(self, file: OpenFile, offset: int, length: int) -> None:
        """A range of a file as a piece of the body."""
        await self.inner.send_file(file, offset, length)

    async def end_response(self, trailers: Sequence[Field] = ()) -> None:
        """The end of the body."""
        await self.inner.end_response(trailers)

    async def take_over(
        self, status: int | None, fields: Sequence[Field] = (), *, replay_head: bool = False
    ) -> trio.abc.Stream:
        """Writes a head, if any, and gives up the rest of the wire."""
        return await self.inner.take_over(status, fields, replay_head=replay_head)


def within(inner: Surround | None, outer: Surround) -> Surround:
    """Both, the later middleware's outside on the wire: what the earlier one has made goes through it."""
    if inner is None:
        return outer
    first = inner
    return lambda exchange: first(outer(exchange))
