"""A WebSocket as ASGI has it, on the sessions of :mod:`roadrunner_trio.websocket`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

import trio
from trio_websocket import ConnectionClosed

from ..journal import log
from ..messages.response import Response
from ..protocol.ws import frames
from ..protocol.ws.deflate import Compression
from ..settings import DEFAULT_MESSAGE
from ..transport.gone import PeerGone
from ..units import Duration, Size
from ..websocket.offer import WebSocketRequest
from ..websocket.session import WebSocket
from .asgi_http import DONE, Cycle
from .asgi_messages import Disconnected, Message, head_of, is_peers_doing, octets_of, unexpected


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSocketOptions:
    """How the WebSockets of an application are; see :func:`~roadrunner_trio.websocket`, where each is told."""

    origins: Iterable[str] | None = None
    compression: Compression | bool = False
    max_message: Size = DEFAULT_MESSAGE
    max_frame: Size | None = None
    max_fragments: int = 131_072
    max_queue: int = 16
    ping_interval: Duration | None = 20.0
    ping_timeout: Duration | None = 20.0
    close_timeout: Duration = 10.0


class State(IntEnum):
    """How far a session is."""

    UNDECIDED = 0
    OPEN = 1
    DENYING = 2
    """The application answers the handshake with a response."""
    ENDED = 3


SAID: Final = {
    State.UNDECIDED: "before websocket.accept",
    State.OPEN: "once the WebSocket is open",
    State.DENYING: "once it is being refused",
    State.ENDED: "once it is closed",
}
UNDECIDED, OPEN, DENYING, ENDED = State
REFUSED: Final = 403
DISCONNECT: Final = "websocket.disconnect"
DENIAL: Final = frozenset({"websocket.http.response.start", "websocket.http.response.body"})


class Conversation:
    """A handshake, and the session that it may become.

    Args:
        offer: the handshake.

    Attributes:
        told: the application knows that the session is over.
    """

    __slots__ = ("_denial", "_end", "_greeted", "_offer", "_opening", "_session", "state", "told")

    def __init__(self, offer: WebSocketRequest) -> None:
        self.state: State = UNDECIDED
        self.told = False
        self._offer = offer
        self._greeted = False
        self._session: WebSocket | None = None
        self._opening: trio.Event | None = None
        self._denial: Cycle | None = None
        self._end: tuple[int, str | None] | None = None

    # -- receive ---------------------------------------------------------------------------------------

    async def receive(self) -> Message:
        """The next event: connect, messages, then the same disconnect whenever it is asked for."""
        if not self._greeted:
            self._greeted = True
            return {"type": "websocket.connect"}
        exchange = self._offer.exchange
        while self.state is UNDECIDED and not exchange.gone_now:
            await exchange.disconnected()
            if self._opening is not None:  # another task accepts: who waits now goes on with messages
                await self._opening.wait()
        if self._session is None:
            return self._disconnect(frames.ABNORMAL, None)
        try:
            message = await self._session.get_message()
        except ConnectionClosed as exc:
            if exc.reason is None:
                return self._disconnect(frames.ABNORMAL, None)
            return self._disconnect(exc.reason.code, exc.reason.reason)
        return {"type": "websocket.receive", "text" if type(message) is str else "bytes": message}

    def _disconnect(self, code: int, reason: str | None) -> Message:
        self.told = True
        self._end = self._end or (code, reason)
        return {"type": DISCONNECT, "code": self._end[0], "reason": self._end[1] or ""}

    # -- send ------------------------------------------------------------------------------------------

    async def send(self, message: Message) -> None:
        """Takes a message.

        Raises:
            OSError: the session is over, or the peer gone before it began.
            RuntimeError: it does not come now.
            KeyError, TypeError, ValueError: it is not as it should be; nothing of it is out.
        """
        kind: str = message["type"]
        try:
            if kind == "websocket.send" and self._session is not None:
                await self._session.send_message(_content(message))
            elif kind == "websocket.close" and self._session is not None:
                self._close(self._session, message)
            elif self._session is not None or self.state is ENDED:
                self._refuse_message(kind)
            elif self.state is DENYING:
                await self._deny(kind, message)
            else:
                await self._decide(kind, message)
        except (ConnectionClosed, PeerGone) as exc:
            raise self._gone() from exc

    def _gone(self) -> Disconnected:
        self.told = True
        return Disconnected("the WebSocket is closed")

    def _refuse_message(self, kind: str) -> None:
        if kind in ("websocket.send", "websocket.close"):
            raise self._gone()
        raise unexpected(kind, SAID[self.state])

    def _close(self, session: WebSocket, message: Message) -> None:
        if session.closed is not None:
            raise self._gone()
        code: int = message.get("code", frames.NORMAL)
        session.close(code, message.get("reason") or None)
        self._end = (code, message.get("reason"))
        self.state = ENDED

    async def _decide(self, kind: str, message: Message) -> None:
        offer = self._offer
        if kind == "websocket.accept":
            await self._accept(message)
        elif kind == "websocket.close":
            await self._forgo()
            self.state = ENDED
            await offer.reject(Response(b"", status=REFUSED))
        elif kind == "websocket.http.response.start":
            denial = Cycle(offer.exchange, "none")
            await denial.send_denial(message)
            denial.add_fields(offer.decide())
            self._denial = denial
            self.state = DENYING
            offer.exchange.release_waiters()
        else:
            raise unexpected(kind, SAID[self.state])

    async def _forgo(self) -> None:
        """Nobody waits any more for what the handshake comes to."""
        if self._offer.exchange.gone_now:
            raise self._gone()
        self._offer.exchange.release_waiters()

    async def _accept(self, message: Message) -> None:
        headers = head_of(message.get("headers", ())).fields
        if any(name == b"sec-websocket-protocol" for name, _ in headers):
            raise ValueError("the subprotocol is said by 'subprotocol', not by a header")
        if self._offer.exchange.gone_now:
            raise self._gone()
        self._opening = trio.Event()
        self._offer.exchange.release_waiters()
        try:
            self._session = await self._offer.accept(subprotocol=message.get("subprotocol"), extra_headers=headers)
            self.state = OPEN
        finally:
            self._opening.set()

    async def _deny(self, kind: str, message: Message) -> None:
        if self._denial is None or kind not in DENIAL:
            raise unexpected(kind, SAID[self.state])
        await self._denial.send_denial(message)
        if self._denial.state is DONE:
            self.state = ENDED

    # -- the end ---------------------------------------------------------------------------------------

    def excuses(self, exc: Exception) -> bool:
        """Whether an exception of the application only says that the session is over, which it has been told."""
        if not (self.told and is_peers_doing(exc)):
            return False
        log.debug("the WebSocket of %r ended with its peer", self._offer.request, exc_info=exc)
        return True

    async def conclude(self) -> None:
        """The application has ended. Raises whose fault it is that the handshake has no answer, if it has none."""
        if self._session is not None or self.state is ENDED:
            return None
        if self._denial is not None:
            return await self._denial.conclude()
        if self.told or self._offer.exchange.gone_now:
            raise Disconnected("the peer went away before its WebSocket was accepted")
        raise RuntimeError("the application ended without websocket.accept or websocket.close")


def _content(message: Message) -> str | bytes:
    text: Any = message.get("text")
    octets: Any = message.get("bytes")
    if (text is None) == (octets is None):
        raise ValueError("websocket.send has either text or bytes")
    if text is None:
        return octets_of(octets, "'bytes' of a message")
    if not isinstance(text, str):
        raise TypeError(f"'text' of a message is str, not {type(text).__name__}")
    return text
