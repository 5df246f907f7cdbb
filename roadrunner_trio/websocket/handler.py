"""``websocket(handler)``: a handler of requests made of a handler of WebSockets (RFC 6455, RFC 7692).

What it returns is decided while it is written: the application accepts, and the rest of the wire is a session, or it
rejects, and the connection goes on. So it can be routed, mounted and wrapped like any other handler.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterable, Sequence
from types import TracebackType
from typing import Any, Final

import trio
from trio_websocket import ConnectionClosed

from ..answering.callables import WEBSOCKET_HANDLER, check, guarded, named
from ..answering.context import ServerContext
from ..answering.faults import STRAYS, leaves
from ..errors import HTTPError
from ..fields import Field, is_token
from ..journal import log
from ..messages.around import innermost
from ..messages.exchange import Exchange, Lasting
from ..messages.request import Request
from ..messages.response import AnyResponse, Upgrade
from ..printable import printable
from ..protocol.ws import frames
from ..protocol.ws.decoder import Caps
from ..protocol.ws.deflate import Compression
from ..protocol.ws.handshake import Handshake, judge
from ..protocol.ws.origin import allows, check_origins
from ..settings import DEFAULT_MESSAGE
from ..transport.drain import Drain
from ..transport.gone import PeerGone, PeerTooSlow
from ..transport.streams import shown
from ..units import Duration, Size, count, octets, seconds
from .keepalive import UNANSWERED
from .link import TOO_SLOW
from .observed import tell_refused
from .offer import Offer, WebSocketRequest
from .terms import Settings
from .told import Told, errors_beside, passes

SLOW: Final = (TOO_SLOW, UNANSWERED)
"""Why a peer is given up that may still be there: then it is not told as having left."""


class _Decision:
    """What an upgrade is decided by. It lasts as long as the session: a partial function would take thrice as much."""

    __slots__ = ("handshake", "upgrader")

    def __init__(self, upgrader: websocket, handshake: Handshake) -> None:
        self.upgrader = upgrader
        self.handshake = handshake

    def __call__(self, exchange: Exchange, fields: list[Field]) -> Awaitable[object]:
        return Held(self.upgrader, exchange, self.handshake, fields)


class websocket:
    """A handler that serves WebSockets.

    ``await handler(request)`` is called with a :class:`WebSocketRequest` when a handshake is valid; otherwise the peer
    is told 400, 403, 405 or 426. It accepts and uses the session, or rejects. When it returns, the session is closed
    with 1000; when it raises, with 1011, and the exception is logged like that of any handler. A ``ConnectionClosed``
    that it lets through is no error. A handler written for ``trio_websocket.serve_websocket`` runs unchanged.

    Args:
        handler: ``async def handler(request: WebSocketRequest)``.
        origins: from which pages browsers may connect, such as ``["self", "https://example.org"]``; others are told
            403, and the log is told. ``"self"`` is the host of the request. None: from any page. A peer without Origin
            is not a browser.
        subprotocols: in the order of our preference; the first that the peer offers too is agreed, unless ``accept``
            says otherwise.
        compression: permessage-deflate for peers that offer it; True is ``Compression()``.
        max_message: octets of a message, inflated; a larger one ends the session with 1009. Also the octets that a text
            takes in memory, of which 1 MiB is always allowed: where one of its characters is beyond U+FFFF, such as an
            emoji, each takes four. A size may be text such as ``"64K"``, and a time ``"20s"``.
        max_frame: octets of a frame, judged by its header; None is ``max_message``.
        max_fragments: fragments of a message; 1009 likewise.
        max_queue: messages that wait for the handler; when it is full, TCP makes the peer wait. All sessions of a
            listener together hold as much as ``Limits.max_buffered``; one that would hold more ends with 1013.
        ping_interval: seconds between the server's pings; None sends none.
        ping_timeout: seconds in which something has to come after a ping has reached the peer, or the session ends with
            1011; None waits. A peer that is still taking what was sent before the ping is waited for.
        close_timeout: seconds for the peer's part of a close, and for a handler to notice that the session is over:
            one that is still running then, and has not met ``ConnectionClosed``, is cancelled.
        close_on_drain: close with 1001 as soon as the server drains. Otherwise that is left to the handler, until the
            drain's deadline; ``request.drain`` tells it.

    Raises:
        ValueError: an argument is out of range.
        TypeError: the handler is no async function of one request, or an argument is of another type.
    """

    serves_websockets = True

    __slots__ = ("_settings", "_told", "handler")

    def __init__(
        self,
        handler: Callable[[Any], Awaitable[object]],
        *,
        origins: Iterable[str] | None = None,
        subprotocols: Sequence[str] = (),
        compression: Compression | bool = False,
        max_message: Size = DEFAULT_MESSAGE,
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
        self._told = Told()
        _check_switches(compression, close_on_drain)
        caps = Caps(
            octets("max_message", max_message),
            octets("max_frame", max_message if max_frame is None else max_frame),
            count("max_fragments", max_fragments),
        )
        self._settings = Settings(
            origins=None if origins is None else check_origins(origins),
            subprotocols=_subprotocols(subprotocols),
            compression=Compression() if compression is True else compression or None,
            caps=caps,
            plain=caps.plain,
            max_queue=count("max_queue", max_queue),
            ping_interval=math.inf if ping_interval is None else seconds("ping_interval", ping_interval),
            ping_timeout=math.inf if ping_timeout is None else seconds("ping_timeout", ping_timeout),
            close_timeout=seconds("close_timeout", close_timeout),
            close_on_drain=close_on_drain,
        )

    def __repr__(self) -> str:
        return f"<websocket of {named(self.handler)}>"

    async def __call__(self, request: Request) -> AnyResponse:
        """The response to a handshake, which will be decided while it is written.

        Raises:
            HTTPError: 400, 403, 405 or 426: it is none, or not from a page that may connect.
        """
        try:
            handshake = judge(request.head)
            if await request.read():
                raise HTTPError(400, "A WebSocket does not begin with content.\n")
        except HTTPError as error:
            _tell(request, error.status, "handshake")
            raise
        allowed, origins = self._settings.origins, request.headers("origin")
        if allowed is not None and not allows(allowed, origins, request.host):
            who = map(printable, (shown(request.peer), ", ".join(origins), request.host))
            _tell(request, 403, "origin")
            self._told.tell("refused origins", "refused a WebSocket of %s: its page is of %s, our host is %s", *who)
            raise HTTPError(403, "Pages of this origin may not connect.\n")
        return Upgrade(_Decision(self, handshake))


class Held(Offer, Lasting):
    """An offer from the call of its handler to the end of its session. No coroutine: that would be twice as large.

    Args:
        upgrader: whose it is.
    """

    __slots__ = ("_upgrader",)

    def __init__(self, upgrader: websocket, exchange: Exchange, handshake: Handshake, fields: list[Field]) -> None:
        super().__init__(exchange, upgrader._settings, handshake, fields)  # pyright: ignore[reportPrivateUsage]  # its own
        self._upgrader = upgrader

    def body(self) -> Awaitable[object]:
        """The handler's run."""
        return self._upgrader.handler(WebSocketRequest(self)) if self.by_edges else self._run_with_tasks()

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        """Ends the session; then raises what the handler has raised."""
        cut_short = value is not None and (self.tasks is not None or not _noted(value, self))
        del value, traceback  # they hold the frame that holds this one
        try:
            if not cut_short:
                cut_short = True
                await self._farewell()
                cut_short = False
        finally:
            if cut_short and self.failure is not None:  # whatever it was must not hide that
                log.error("the WebSocket handler of %s failed", self.request, exc_info=self.take_failure())
            self.end()
            _tell_refused(self, cut_short=cut_short)
        if cut_short:
            return False
        if self.failure is not None:
            raise self.take_failure()
        _account(self)
        return True

    async def _run_with_tasks(self) -> None:
        """The same where no edges read and write for the session."""
        async with trio.open_nursery() as nursery:
            try:
                with trio.CancelScope() as scope:
                    self.tasks = nursery, scope
                    await self._upgrader.handler(WebSocketRequest(self))
            except BaseException as exc:
                if not _noted(exc, self):
                    raise
            await _end(self)
            if self.session is not None:
                await self.session.settle(self.exchange.timeouts.linger)
            nursery.cancel_scope.cancel(reason="the WebSocket session is over")

    async def _farewell(self) -> None:
        if self.tasks is None:
            await _end(self)
        if (session := self.session) is None:
            return
        self.tell_closed(session)
        exchange = self.exchange
        if session.given_up is not None:
            peer, told = printable(shown(self.request.peer)), self._upgrader._told  # pyright: ignore[reportPrivateUsage]
            kind = "WebSockets that were given up"
            told.tell(kind, "gave up the WebSocket of %s: %s", peer, session.given_up)
        if self.cut:  # that was for the handler, and the peer is to be left as any other
            with _InTime(exchange.drain):
                await session.part(exchange.timeouts.linger)
        else:
            await session.part(exchange.timeouts.linger)


class _InTime:
    """Around a farewell of a connection that has been cancelled: it lasts no longer than a drain lets it, whenever that
    begins."""

    def __init__(self, drain: Drain) -> None:
        self._drain = drain
        self._scope = trio.CancelScope(shield=True)

    def told(self) -> None:
        """The drain's word."""
        self._scope.deadline = self._drain.cut

    def __enter__(self) -> None:
        self.told()
        self._drain.watch(self)
        self._scope.__enter__()

    def __exit__(self, *exc_info: Any) -> bool:
        self._drain.unwatch(self)
        return bool(self._scope.__exit__(*exc_info))


def _noted(exc: BaseException, offer: Offer) -> bool:
    """Takes what a handler has raised for a failure, unless it is the session's end; False for what is nobody's."""
    error = errors_beside(exc) if offer.cut else exc
    if error is None:
        return True
    if passes(error):
        return False
    if not all(isinstance(leaf, ConnectionClosed) for leaf in leaves(error)):
        offer.failure = _failure(error)
    return True


def _account(offer: Offer) -> None:
    """Raises what there is to say of an offer whose handler has returned in order."""
    if not offer.decided:
        raise RuntimeError("the WebSocket handler has neither accepted nor rejected")
    if offer.session is not None and offer.session.given_up in SLOW:
        raise PeerTooSlow(offer.session.given_up)


async def _end(offer: Offer) -> None:
    """The session's close in the handler's name."""
    if offer.session is not None:
        offer.session.close_now(frames.NORMAL if offer.failure is None else frames.INTERNAL_ERROR)
        if not offer.cut:  # else it is over
            await offer.session.ended()


def _tell_refused(offer: Offer, *, cut_short: bool) -> None:
    """What was not accepted: by whom, or why nobody decided."""
    if offer.session is not None:
        return
    exchange, failure = innermost(offer.exchange), offer.failure
    answered = exchange.status if exchange.started else 0
    if answered:
        status, reason = answered, "rejected"
    elif isinstance(failure, HTTPError):
        status, reason = failure.status, "rejected"
    elif exchange.gone_now or isinstance(failure, PeerGone):
        status, reason = None, "gone"
    elif failure is not None or not cut_short:
        status, reason = 500, "error"
    else:
        status, reason = None, "cancelled"
    tell_refused(exchange.context.observers, exchange.request, status, reason)


def _tell(request: Request, status: int, reason: str) -> None:
    """What is no handshake is refused before there is anything to decide."""
    source: Any = request.source
    if isinstance(context := getattr(source, "context", None), ServerContext):
        tell_refused(context.observers, request, status, reason)


def _failure(exc: BaseException) -> BaseException:
    """``exc``, or an error in its place, if it would be taken for a cancellation of the connection's task."""
    if not any(isinstance(leaf, STRAYS) for leaf in leaves(exc)):
        return exc
    error = RuntimeError("the WebSocket handler has raised a cancellation that was not its own")
    error.__cause__ = exc
    return error


def _check_switches(compression: object, close_on_drain: object) -> None:
    if not isinstance(compression, bool | Compression):
        raise TypeError(f"compression is True, False or Compression(...), not {compression!r}")
    if not isinstance(close_on_drain, bool):
        raise TypeError(f"close_on_drain is True or False, not {close_on_drain!r}")


def _subprotocols(names: Sequence[str]) -> tuple[str, ...]:
    if isinstance(names, str) or not all(is_token(name.encode()) for name in names):
        raise ValueError(f"subprotocols is a list of tokens, not {names!r}")
    return tuple(names)
