"""A handshake that is to be decided: what a WebSocket handler is called with, and what stands behind it."""

from __future__ import annotations

from copy import copy
from typing import Final

import trio
from trio_websocket import Endpoint

from ..answering.context import ServerContext
from ..answering.respond import respond
from ..fields import Field, FieldsLike, encoded
from ..journal import log
from ..messages.around import innermost
from ..messages.exchange import Exchange
from ..messages.request import Request
from ..messages.response import AnyResponse, Response
from ..protocol.wishes import checked
from ..protocol.ws.deflate import Agreement, agree
from ..protocol.ws.handshake import RESERVED, Handshake, judge
from ..transport.streams import PrefixedStream, tidy
from .core import Session
from .link import Link
from .observed import ObservedWebSocket, Watch, watch
from .session import WebSocket
from .terms import Settings

UNNOTICED: Final = "the WebSocket session is over, and its handler did not notice"


class Offer:
    """The state of a handshake, of which the handler sees a :class:`WebSocketRequest`.

    Attributes:
        fields: for the answer, until a session has come of it.
        request: that it came in.
        tasks: a nursery for the tasks of the session's link, and a scope around the handler; None where edges do their
            work, and the scope of the connection is enough.
        cut: the scope of the connection was cancelled, for the handler had not noticed the end of its session.
        failure: what the handler has raised, until it is told.
        session: what has come of it, if it was accepted,
        watch: and what is told of that; None where nobody cares.
        decided: it has been accepted or rejected.
        over: the handler has returned, and whoever still has its request can decide nothing.
    """

    __slots__ = (
        "_handshake",
        "cut",
        "decided",
        "exchange",
        "failure",
        "fields",
        "over",
        "request",
        "session",
        "settings",
        "tasks",
        "watch",
    )

    def __init__(self, exchange: Exchange, settings: Settings, handshake: Handshake, fields: list[Field]) -> None:
        self.exchange = exchange
        self.settings = settings
        self.request = exchange.request
        self._handshake: Handshake | None = handshake
        self.fields = fields
        self.failure: BaseException | None = None
        self.cut = False
        self.tasks: tuple[trio.Nursery, trio.CancelScope] | None = None
        self.session: Session | None = None
        self.watch: Watch | None = None
        self.decided = False
        self.over = False

    @property
    def handshake(self) -> Handshake:
        """What the peer asks for; judged once more, where a session has come of it."""
        return self._handshake or judge(self.request.head)

    @property
    def by_edges(self) -> bool:
        """Whether edges read and write for the session, so that there need not be tasks of its own."""
        wire = self.exchange.wire
        return wire is not None and wire.polled and self.exchange.request.tls is None

    def decide(self) -> None:
        """It is decided now.

        Raises:
            RuntimeError: it was before, or its time is over.
        """
        self.check()
        if self.decided:
            raise RuntimeError("this WebSocket has been accepted or rejected already")
        self.decided = True

    def check(self) -> None:
        """Raises RuntimeError when its time is over."""
        if self.over:
            raise RuntimeError("the handler of this WebSocket has returned")

    def begin(self, stream: trio.abc.Stream, subprotocol: str | None, agreement: Agreement | None) -> WebSocket:
        """The session on ``stream``; the 101 is out."""
        exchange, settings = self.exchange, self.settings
        house = innermost(exchange)
        context: ServerContext = house.context
        early = b""
        if isinstance(stream, PrefixedStream):
            early, stream = stream.detach()
        inflater = None if agreement is None else agreement.inflater()
        session = self.session = Session(settings, inflater, context, house.conn, self)
        nursery = None if self.tasks is None else self.tasks[0]
        wire = exchange.wire if nursery is None else None
        link = Link(stream, wire, exchange.timeouts.write, session, context.turns)
        deflater = None if agreement is None else agreement.deflater()
        seen = self.watch = watch(context.observers, exchange.request)
        if seen is not None:
            seen.opened(subprotocol, compressed=agreement is not None)
        exchange.request.drop_head()
        session.begin(link, nursery, early, house.phase)
        self._handshake = None  # the session lasts for hours
        del self.fields
        if seen is not None:
            return ObservedWebSocket(seen, exchange.request, subprotocol, session, deflater)
        return WebSocket(exchange.request, subprotocol, session, deflater)

    def abandoned(self) -> None:
        """The session's word, that it is over, and the handler did not notice."""
        if self.tasks is not None:
            self.tasks[1].cancel(reason=UNNOTICED)
        elif not self.over:
            self.cut = True
            innermost(self.exchange).phase.end(UNNOTICED)

    def take_failure(self) -> BaseException:
        """What the handler has raised, and nobody holds it: it holds frames that hold this.

        Raises:
            RuntimeError: it has raised nothing.
        """
        failure, self.failure = [self.failure], None
        return failure.pop() or RuntimeError("the handler has raised nothing")

    def end(self) -> None:
        """The handler has returned, one way or another."""
        self.over = True
        if self.session is not None:
            self.session.abandon()
            self.tell_closed(self.session)
            if (closed := self.session.closed) is not None:
                who = self.session.by
                log.debug("the WebSocket of %r was closed by %s: %d", self.exchange.request, who, closed.code)

    def tell_closed(self, session: Session) -> None:
        """It is closed; that is told once, now or at the latest when the handler has returned."""
        if self.watch is not None:
            self.watch.closed(session)
            self.watch = None


class WebSocketRequest:
    """A handshake that can be accepted or rejected: what a WebSocket handler is called with.

    Attributes:
        proposed_subprotocols: what the peer offers, in its order of preference.
    """

    __slots__ = ("_offer",)

    def __init__(self, offer: Offer) -> None:
        self._offer = offer

    @property
    def request(self) -> Request:
        """The :class:`Request` it came in, with all that routers and middlewares have put there."""
        return self._offer.request

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
        return self._offer.handshake.subprotocols

    @property
    def remote(self) -> Endpoint | str:
        """The peer's end: address, port, and whether it is encrypted; or what else is known of it."""
        peer = self.request.peer
        return peer if isinstance(peer, str) else Endpoint(*peer, self.request.scheme == "https")

    @property
    def local(self) -> Endpoint | str:
        """Our end, likewise; the listener's name where the peer is not on a socket of ours."""
        wire = self._offer.exchange.wire
        try:
            name = self.request.listener_name if wire is None else tidy(wire.socket.getsockname())
        except OSError:  # it has been closed
            name = self.request.listener_name
        return name if isinstance(name, str) else Endpoint(*name, self.request.scheme == "https")

    @property
    def decided(self) -> bool:
        """Whether it has been accepted or rejected."""
        return self._offer.decided

    @property
    def exchange(self) -> Exchange:
        """What the handshake came by, for an app that answers it with a response of its own making: it calls
        :meth:`decide` before it writes."""
        return self._offer.exchange

    def decide(self) -> list[Field]:
        """Whoever calls it answers the handshake. Gives the fields that those around the handler have set.

        Raises:
            RuntimeError: it has been decided already, or the handler has returned.
        """
        self._offer.decide()
        return self._offer.fields

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
            RuntimeError: it has been decided already, or the handler has returned.
            PeerGone: the peer has gone away.
        """
        offer = self._offer
        handshake = offer.handshake
        proposed = handshake.subprotocols
        if subprotocol is None:
            subprotocol = next((ours for ours in offer.settings.subprotocols if ours in proposed), None)
        elif subprotocol not in proposed:
            raise ValueError(f"the peer did not propose the subprotocol {subprotocol!r}")
        extra = encoded(extra_headers or ())
        if not RESERVED.isdisjoint(name for name, _ in extra):
            raise ValueError(f"fields of the handshake are the server's: {', '.join(sorted(map(repr, RESERVED)))}")
        offer.decide()
        ours = offer.settings.compression
        agreement = None if ours is None else agree(handshake.offers, ours)
        own = handshake.fields(subprotocol, None if agreement is None else agreement.answer)
        added = [field for field in checked(offer.fields) if field[0] not in RESERVED]
        offer.exchange.kind = "websocket"
        stream = await offer.exchange.take_over(101, (*own, *added, *extra))
        offer.check()  # this may be a task of its own, and the handler gone meanwhile
        return offer.begin(stream, subprotocol, agreement)

    async def reject(
        self,
        response: int | AnyResponse,
        *,
        extra_headers: FieldsLike | None = None,
        body: bytes | None = None,
    ) -> None:
        """Rejects: answers the request, after which the connection goes on.

        Args:
            response: a status, 300 to 599, or any response in full; it is left as it is, and may be used again.
            extra_headers: fields to a status, pairs or a mapping.
            body: content to a status.

        Raises:
            ValueError: a status that rejects nothing.
            RuntimeError: it has been decided already, or the handler has returned.
        """
        if isinstance(response, int):
            if not 300 <= response <= 599:
                raise ValueError(f"a WebSocket is rejected with a status from 300 to 599, not {response}")
            response = Response(body or b"", status=response, fields=extra_headers or ())
        elif extra_headers or body:
            raise ValueError("a response has its own fields and its own body")
        self._offer.decide()
        answer = copy(response)
        answer.fields = [*response.fields, *self._offer.fields]
        await respond(self._offer.exchange, answer, self.reject)
