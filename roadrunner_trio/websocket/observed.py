"""Sessions that somebody observes, which count and tell of messages. Others are plain, and pay nothing."""

from __future__ import annotations

import time
from collections.abc import AsyncIterable, AsyncIterator
from typing import Any, Final, cast

import trio

from ..messages.request import Request
from ..telemetry.observe import Hook, Observers
from ..telemetry.websocket_events import (
    MessageKind,
    WebSocketClosed,
    WebSocketMessage,
    WebSocketOpened,
    WebSocketRefused,
)
from .core import Session
from .session import WebSocket

IN: Final = 0
OUT: Final = 1


class Watch:
    """What is told of one session: its beginning, its messages, and once its end.

    Args:
        observers: who is told.
        request: what it began with.

    Attributes:
        counts: messages, in and out.
    """

    __slots__ = ("_began", "_observers", "_over", "_request", "_tallies", "counts")

    def __init__(self, observers: Observers, request: Request) -> None:
        self._observers = observers
        self._request = request
        self._began = trio.current_time()
        self._over = False
        self.counts = [0, 0]
        self._tallies = (self.counts, *observers.messages)

    def opened(self, subprotocol: str | None, *, compressed: bool) -> None:
        """The peer has been told that it is accepted."""
        observers = self._observers
        if observers.websocket_open:
            event = WebSocketOpened(self._request, subprotocol, compressed, time.time(), self.counts)
            observers.tell(observers.websocket_open, event)

    def passed(self, way: int, message: str | bytes, before: int = 0) -> None:
        """A message has come or gone; of one in pieces this is one of them, and the others are ``before`` octets."""
        for tally in self._tallies:
            tally[way] += 1
        observers = self._observers
        hook: Hook[WebSocketMessage] = observers.websocket_send if way else observers.websocket_receive
        if hook:
            kind: MessageKind = "text" if isinstance(message, str) else "binary"
            observers.tell(hook, WebSocketMessage(self._request, kind, before + octets(message), time.time()))

    def closed(self, session: Session) -> None:
        """It is over, which is told once."""
        reason, observers = session.closed, self._observers
        if self._over or reason is None:
            return
        self._over, code, words = True, int(reason.code), reason.reason or ""
        if observers.websocket_close:
            duration, (received, sent) = trio.current_time() - self._began, self.counts
            event = WebSocketClosed(self._request, code, words, session.by, received, sent, duration)
            observers.tell(observers.websocket_close, event)


def octets(message: str | bytes) -> int:
    """Of a message's content; of a text as UTF-8."""
    if isinstance(message, str):
        return len(message) if message.isascii() else len(message.encode("utf-8", "surrogatepass"))
    return memoryview(message).nbytes


def watch(observers: Observers, request: Request) -> Watch | None:
    """A watch of the session that begins now; None where nobody cares."""
    bounds, messages = observers.websocket_open or observers.websocket_close, observers.messages
    wanted = bounds or messages or observers.websocket_receive or observers.websocket_send
    return Watch(observers, request) if wanted else None


def tell_refused(observers: Observers, request: Request, status: int | None, reason: str) -> None:
    """A handshake came to nothing."""
    if observers.websocket_refused:
        event = WebSocketRefused(request, status, reason, time.time())
        observers.tell(observers.websocket_refused, event)


class ObservedWebSocket(WebSocket):
    """A session that tells its watch of every message.

    Args:
        watch: it.
        others: as :class:`.session.WebSocket`.
    """

    __slots__ = ("_watch",)

    def __init__(self, watch: Watch, *others: Any) -> None:
        super().__init__(*others)
        self._watch = watch

    async def get_message(self) -> str | bytes:
        """As of any session."""
        message = await super().get_message()
        self._watch.passed(IN, message)
        return message

    async def __anext__(self) -> str | bytes:
        message = await super().__anext__()
        self._watch.passed(IN, message)
        return message

    def get_pieces(self) -> AsyncIterator[str | bytes]:
        """As of any session."""
        return Counted(super().get_pieces(), self._watch, IN)

    async def send_message(self, message: str | bytes | AsyncIterable[str] | AsyncIterable[bytes]) -> None:
        """As of any session."""
        if isinstance(message, AsyncIterable):
            pieces: Any = Counted(aiter(message), None, OUT)
            await super().send_message(pieces)
            self._watch.passed(OUT, pieces.first, pieces.size)
        else:
            await super().send_message(message)
            self._watch.passed(OUT, message)


class Counted(AsyncIterator["str | bytes"]):
    """Pieces of a message, as they pass.

    Args:
        pieces: they.
        watch: told of the message when it has passed; None leaves that to others.
        way: in or out.

    Attributes:
        first: nothing, of the type of the first.
        size: octets of all that have passed.
    """

    __slots__ = ("_pieces", "_watch", "_way", "first", "size")

    def __init__(self, pieces: AsyncIterator[Any], watch: Watch | None, way: int) -> None:
        self._pieces, self._watch, self._way = pieces, watch, way
        self.first: str | bytes = b""
        self.size = 0

    async def __anext__(self) -> str | bytes:
        try:
            piece: Any = await anext(self._pieces)
        except StopAsyncIteration:
            if self._watch is not None:
                self._watch.passed(self._way, self.first, self.size)
                self._watch = None
            raise
        if isinstance(piece, str):
            self.first = ""
        self.size += octets(piece)
        return cast("str | bytes", piece)
