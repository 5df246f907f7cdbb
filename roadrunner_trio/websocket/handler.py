"""``websocket(handler)``: a handler of requests made of a handler of WebSockets (RFC 6455, RFC 7692).

What it returns is decided while it is written: the application accepts, and the rest of the wire is a session, or it
rejects, and the connection goes on. So it can be routed, mounted and wrapped like any other handler.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Any, Final

import trio
from trio_websocket import ConnectionClosed, Endpoint

from ..answering.callables import WEBSOCKET_HANDLER, check, guarded
from ..answering.faults import leaves, part_ways
from ..answering.respond import respond
from ..errors import HTTPError
from ..fields import Field, FieldsLike, encoded, is_token
from ..journal import log
from ..messages.exchange import Exchange
from ..messages.request import Request
from ..messages.response import AnyResponse, Response, Upgrade
from ..protocol.ws import frames
from ..protocol.ws.decoder import Caps, Decoder
from ..protocol.ws.deflate import Agreement, Compression, agree
from ..protocol.ws.handshake import RESERVED, Handshake, allows, check_origins, judge
from ..transport.streams import PrefixedStream, tidy
from ..units import Duration, Size, count, octets, seconds
from .core import Settings
from .link import Link
from .session import WebSocket

DEFAULT_CAP: Final = 10 * 1024 * 1024


class websocket:
    """A handler that serves WebSockets.

    ``await handler(request)`` is called with a :class:`WebSocketRequest` when a handshake is valid; otherwise the peer
    is told 400, 403, 405 or 426. It accepts and uses the session, or rejects. When it returns, the session is closed
    with 1000; when it raises, with 1011, and the exception is logged like that of any handler. A ``ConnectionClosed``
    that it lets through is no error. A handler written for ``trio_websocket.serve_websocket`` runs unchanged.

    Args:
        handler: ``async def handler(request: WebSocketRequest)``.
        origins: from which pages browsers may connect, such as ``["self", "https://example.org"]``; others are told
            403. ``"self"`` is the host of the request. None: from any page. A peer without Origin is not a browser.
        subprotocols: in the order of our preference; the first that the peer offers too is agreed, unless ``accept``
            says otherwise.
        compression: permessage-deflate for peers that offer it; True is ``Compression()``.
        max_message: octets of a message, inflated; a larger one ends the session with 1009. A size may be text such as
            ``"64K"``, and a time ``"20s"``.
        max_frame: octets of a frame, judged by its header; None is ``max_message``.
        max_fragments: fragments of a message; 1009 likewise.
        max_queue: messages that wait for the handler; when it is full, TCP makes the peer wait.
        ping_interval: seconds between the server's pings; None sends none.
        ping_timeout: seconds in which something has to come after a ping, or the session ends with 1011; None waits.
        close_timeout: seconds for the peer's part of a close, and for a handler to notice that the session is over:
            one that is still running then, and has not met ``ConnectionClosed``, is cancelled.
        close_on_drain: close with 1001 as soon as the server drains. Otherwise that is left to the handler, until the
            drain's deadline; ``request.drain`` tells it.

    Raises:
        ValueError: an argument is out of range.
        TypeError: the handler is no async function of one request, or an argument is of another type.
    """

    __slots__ = ("_settings", "handler")

    def __init__(
        self,
        handler: Callable[[Any], Awaitable[object]],
        *,
        origins: Iterable[str] | None = None,
        subprotocols: Sequence[str] = (),
        compression: Compression | bool = False,
        max_message: Size = DEFAULT_CAP,
        max_frame: Size | None = None,
        max_fragments: int = 131_072,
        max_queue: int = 16,
        ping_interval: Duration | None = 20.0,
        ping_timeout: Duration | None = 20.0,
        close_timeout: Duration = 10.0,
        close_on_drain: bool = True,
    ) -> None:
        check(handler, WEBSOCKET_HANDLER)
        self.handler = guarded(handler, WEBSOCKET_HANDLER)
        _check_switches(compression, close_on_drain)
        self._settings = Settings(
            origins=None if origins is None else check_origins(origins),
            subprotocols=_subprotocols(subprotocols),
            compression=Compression() if compression is True else compression or None,
            caps=Caps(
                octets("max_message", max_message),
                octets("max_frame", max_message if max_frame is None else max_frame),
                count("max_fragments", max_fragments),
            ),
            max_queue=count("max_queue", max_queue),
            ping_interval=math.inf if ping_interval is None else seconds("ping_interval", ping_interval),
            ping_timeout=math.inf if ping_timeout is None else seconds("ping_timeout", ping_timeout),
            close_timeout=seconds("close_timeout", close_timeout),
            close_on_drain=close_on_drain,
        )

    async def __call__(self, request: Request) -> AnyResponse:
        """The response to a handshake, which will be decided while it is written.

        Raises:
            HTTPError: 400, 403, 405 or 426: it is none, or not from a page that may connect.
        """
        handshake = judge(request.head)
        if await request.read():
            raise HTTPError(400, "A WebSocket does not begin with content.\n")
        origins = self._settings.origins
        if origins is not None and not allows(origins, request.header("origin"), request.host):
            raise HTTPError(403, "Pages of this origin may not connect.\n")

        return Upgrade(partial(self._decide, handshake))

    async def _decide(self, handshake: Handshake, exchange: Exchange, fields: list[Field]) -> None:
        """Runs the handler, and the session to its end; then raises what the handler has raised."""
        offer = WebSocketRequest(exchange, self._settings, handshake, fields)
        try:
            if exchange.wire is not None and exchange.wire.polled and exchange.request.tls is None:
                await _run(offer, self.handler)
            else:
                async with trio.open_nursery() as offer.nursery:
                    await _run(offer, self.handler)
                    if offer.session is not None:
                        await offer.session.settle(exchange.timeouts.linger)
                    offer.nursery.cancel_scope.cancel(reason="the WebSocket session is over")
            if offer.session is not None:
                await offer.session.part(exchange.timeouts.linger)
        except BaseException:
            if offer.error is not None:  # whatever cut the farewell short must not hide it
                log.error("the WebSocket handler of %s failed", offer.request, exc_info=offer.error)
            raise
        if offer.error is not None:
            raise offer.error
        if not offer.decided:
            raise RuntimeError("the WebSocket handler has neither accepted nor rejected")


def _check_switches(compression: object, close_on_drain: object) -> None:
    if not isinstance(compression, bool | Compression):
        raise TypeError(f"compression is True, False or Compression(...), not {compression!r}")
    if not isinstance(close_on_drain, bool):
        raise TypeError(f"close_on_drain is True or False, not {close_on_drain!r}")


def _subprotocols(names: Sequence[str]) -> tuple[str, ...]:
    if isinstance(names, str) or not all(is_token(name.encode()) for name in names):
        raise ValueError(f"subprotocols is a list of tokens, not {names!r}")
    return tuple(names)


class WebSocketRequest:
    """A handshake that can be accepted or rejected: what a WebSocket handler is called with.

    Attributes:
        request: the :class:`Request` it came in, with all that routers and middlewares have put there.
        proposed_subprotocols: what the peer offers, in its order of preference.
        exchange: what the handshake came by, for an app that answers it with a response of its own making: it calls
            :meth:`decide` before it writes.
    """

    __slots__ = (
        "_decided",
        "_fields",
        "_handshake",
        "_settings",
        "error",
        "exchange",
        "nursery",
        "request",
        "scope",
        "session",
    )

    def __init__(self, exchange: Exchange, settings: Settings, handshake: Handshake, fields: list[Field]) -> None:
        self.request = exchange.request
        self.session: WebSocket | None = None
        self.error: Exception | None = None
        self.nursery: trio.Nursery | None = None
        self.scope = trio.CancelScope()
        self.exchange = exchange
        self._settings = settings
        self._handshake = handshake
        self._fields = fields
        self._decided = False

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """The request's fields: pairs of lower-case name and value."""
        return list(self.request.fields)

    @property
    def path(self) -> str:
        """The request's path, with its query."""
        return self.request.head.path.decode("ascii")

    @property
    def proposed_subprotocols(self) -> tuple[str, ...]:
        """What the peer offers, in its order of preference."""
        return self._handshake.subprotocols

    @property
    def remote(self) -> Endpoint | str:
        """The peer's end: address, port, and whether it is encrypted; or what else is known of it."""
        peer = self.request.peer
        return peer if isinstance(peer, str) else Endpoint(*peer, self.request.scheme == "https")

    @property
    def local(self) -> Endpoint | str:
        """Our end, likewise; the listener's name where the peer is not on a socket of ours."""
        wire = self.exchange.wire
        try:
            name = self.request.listener_name if wire is None else tidy(wire.socket.getsockname())
        except OSError:  # it has been closed
            name = self.request.listener_name
        return name if isinstance(name, str) else Endpoint(*name, self.request.scheme == "https")

    async def accept(
        self,
        *,
        subprotocol: str | None = None,
        extra_headers: FieldsLike | None = None,
    ) -> WebSocket:
        """Accepts: writes the 101 and gives the session.

        Args:
            subprotocol: one of those proposed; by default the first of ours that is.
            extra_headers: further fields of the 101, pairs or a mapping.

        Raises:
            ValueError: the subprotocol was not proposed, or a field is the server's own.
            RuntimeError: it has been decided already.
            PeerGone: the peer has gone away.
        """
        proposed = self._handshake.subprotocols
        if subprotocol is None:
            subprotocol = next((ours for ours in self._settings.subprotocols if ours in proposed), None)
        elif subprotocol not in proposed:
            raise ValueError(f"the peer did not propose the subprotocol {subprotocol!r}")
        extra = encoded(extra_headers or ())
        if not RESERVED.isdisjoint(name for name, _ in extra):
            raise ValueError(f"fields of the handshake are the server's: {', '.join(sorted(map(repr, RESERVED)))}")
        self.decide()
        ours = self._settings.compression
        agreement = None if ours is None else agree(self._handshake.offers, ours)
        own = self._handshake.fields(subprotocol, None if agreement is None else agreement.answer)
        added = [field for field in self._fields if field[0] not in RESERVED]
        self.exchange.kind = "websocket"
        stream = await self.exchange.take_over(101, (*own, *added, *extra))
        return self._begin(stream, subprotocol, agreement)

    def _begin(self, stream: trio.abc.Stream, subprotocol: str | None, agreement: Agreement | None) -> WebSocket:
        exchange, settings = self.exchange, self._settings
        early = b""
        if isinstance(stream, PrefixedStream):
            early, stream = stream.detach()
        self.session = session = WebSocket(
            self.request,
            subprotocol,
            settings,
            Decoder(settings.caps, None if agreement is None else agreement.inflater()),
            None if agreement is None else agreement.deflater(),
            exchange.clock,
            exchange.drain,
            self._abandoned,
        )
        link = Link(stream, None if self.nursery is not None else exchange.wire, exchange.timeouts.write, session)
        session.begin(link, self.nursery, early)
        return session

    def _abandoned(self) -> None:
        self.scope.cancel(reason="the WebSocket session is over, and its handler did not notice")

    async def reject(
        self,
        response: int | AnyResponse,
        *,
        extra_headers: FieldsLike | None = None,
        body: bytes | None = None,
    ) -> None:
        """Rejects: answers the request, after which the connection goes on.

        Args:
            response: a status, 300 to 599, or any response in full.
            extra_headers: fields to a status, pairs or a mapping.
            body: content to a status.

        Raises:
            ValueError: a status that rejects nothing.
            RuntimeError: it has been decided already.
        """
        if isinstance(response, int):
            if not 300 <= response <= 599:
                raise ValueError(f"a WebSocket is rejected with a status from 300 to 599, not {response}")
            response = Response(body or b"", status=response, fields=extra_headers or ())
        elif extra_headers or body:
            raise ValueError("a response has its own fields and its own body")
        self.decide()
        response.fields.extend(self._fields)
        await respond(self.exchange, response, self.reject)

    @property
    def decided(self) -> bool:
        """Whether it has been accepted or rejected."""
        return self._decided

    def decide(self) -> list[Field]:
        """Whoever calls it answers the handshake. Gives the fields that those around the handler have set.

        Raises:
            RuntimeError: it has been decided already.
        """
        if self._decided:
            raise RuntimeError("this WebSocket has been accepted or rejected already")
        self._decided = True
        return self._fields


async def _run(offer: WebSocketRequest, handler: Callable[[Any], Awaitable[object]]) -> None:
    """The handler, and the session's close in its name."""
    concluded = False
    try:
        try:
            with offer.scope:
                await handler(offer)
        except Exception as exc:
            found = list(leaves(exc))
            if part_ways(exc)[1] is not None:
                raise
            if not all(isinstance(leaf, ConnectionClosed) for leaf in found):
                offer.error = exc
        if offer.session is not None:
            await offer.session.aclose(frames.NORMAL if offer.error is None else frames.INTERNAL_ERROR)
        concluded = True
    finally:
        if offer.session is not None and not concluded:
            offer.session.abandon()
