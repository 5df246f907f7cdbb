"""A WebSocket session in trio-websocket's words: messages, whole or in pieces, pings, and the close."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator
from typing import Any, Final, cast

import trio
from trio_websocket import CloseReason, ConnectionClosed

from ..messages.request import Request
from ..protocol.ws import frames
from ..protocol.ws.deflate import DEFLATED, Deflater
from ..protocol.ws.frames import Piece
from ..transport.gone import PeerGone
from .core import Session

LARGE: Final = 65536
"""Octets, or characters, from which on a message is made and sent step by step, with others in between."""


class WebSocket(trio.abc.AsyncResource):
    """A session: what ``accept`` gives, and what :func:`~roadrunner_trio.websocket` is about.

    ``async for message in websocket`` ends when the peer closes with 1000, 1001 or no code; ``async with websocket``
    closes it at the end. Several tasks may use it at once: messages are not torn; but who takes one in pieces is alone
    with it. One that uses it when it is over, or its handler has returned, gets :exc:`ConnectionClosed`.

    Attributes:
        request: the request that it began with.
        subprotocol: what was agreed, or None.
    """

    __slots__ = ("_queue", "_session", "request", "subprotocol")

    def __init__(
        self, request: Request, subprotocol: str | None, session: Session, deflater: Deflater | None = None
    ) -> None:
        self.request = request
        self.subprotocol = subprotocol
        self._session = session
        self._queue = None if deflater is None else _Queue(deflater)

    @property
    def closed(self) -> CloseReason | None:
        """Why the session is over or about to be; None while it is open."""
        return self._session.closed

    # -- receiving ---------------------------------------------------------------------------------

    async def get_message(self) -> str | bytes:
        """The next message: str for text, bytes for binary.

        Messages that came before the end are given first.

        Raises:
            ConnectionClosed: the session is over; its ``reason`` has the code and the reason.
        """
        session = self._session
        item: Any = session.queue_up()
        if item is not None:  # here, and not one frame further down: most of its life an idle session waits here
            item = await trio.lowlevel.wait_task_rescheduled(item)
        if item is None:
            item = await session.next_item()
        session.fresh = True
        return await session.joined(item) if type(item) is Piece else item

    def get_pieces(self) -> AsyncIterator[str | bytes]:
        """The next message in pieces as they arrive, for ``async for``: all str or all bytes.

        It may be of any size and any number of fragments, whatever ``max_message`` says; when the application does not
        take it, the peer waits. What is left of it when the iteration is given up is passed over. One that is given up
        before its first piece has taken nothing.

        Raises:
            ConnectionClosed: as :meth:`get_message`; from the iteration, inside a message too.
        """
        return _Pieces(self._session)

    def __aiter__(self) -> WebSocket:
        return self

    async def __anext__(self) -> str | bytes:
        try:
            session = self._session
            item: Any = session.queue_up()
            if item is not None:
                item = await trio.lowlevel.wait_task_rescheduled(item)
            if item is None:
                item = await session.next_item()
            session.fresh = True
            return await session.joined(item) if type(item) is Piece else item
        except ConnectionClosed as exc:
            if exc.reason is not None and exc.reason.code in (frames.NORMAL, frames.GOING_AWAY, frames.NO_STATUS):
                raise StopAsyncIteration from None
            raise

    # -- sending -----------------------------------------------------------------------------------

    async def send_message(self, message: str | bytes | AsyncIterable[str] | AsyncIterable[bytes]) -> None:
        """Sends a message: str as text, bytes as binary, an async iterable of either in as many fragments.

        Returns when the peer's window has taken it; it has the server's ``Timeouts.write`` for each 64 KiB. A
        cancellation in the middle of a message ends the session.

        Raises:
            ConnectionClosed: the session is over, or about to be.
            ValueError: the message is something else.
        """
        session = self._session
        if session.closed is not None:
            raise await session.farewell()
        if session.fresh:
            session.fresh = False  # it has let others run, waiting for what this answers
        else:
            await trio.lowlevel.checkpoint()
        if type(message) is str and len(message) <= LARGE:
            opcode, payload = frames.TEXT, message.encode()
        elif type(message) is bytes and len(message) <= LARGE:
            opcode, payload = frames.BINARY, message
        else:
            return await self._send_other(message)
        queue = self._queue
        if (queue is not None and queue.is_due) or session.closed is not None:
            return await self._send_in_turn(opcode, payload)
        try:
            rest = session.link.offer(frames.encode(opcode, payload))
            if rest is not None and not await session.link.send(rest):
                raise await session.farewell()
        except PeerGone:
            raise await session.farewell() from None
        return None

    async def _send_other(self, message: Any) -> None:
        if isinstance(message, str):
            return await self._send_in_turn(frames.TEXT, message)
        if isinstance(message, bytes | bytearray | memoryview):
            return await self._send_in_turn(frames.BINARY, bytes(cast("bytes", message)))
        if hasattr(message, "__aiter__"):
            return await self._send_pieces(message)
        raise ValueError(f"a message is str, bytes or an async iterable of either, not {type(message).__name__}")

    def _queued(self) -> _Queue:
        if self._queue is None:
            self._queue = _Queue()
        return self._queue

    async def _send_in_turn(self, opcode: int, message: Any) -> None:
        async with self._queued() as deflater:
            if self._session.closed is not None:
                raise await self._session.farewell()
            payload: bytes = message if type(message) is bytes else await _encoded(message)
            bits = frames.FIN
            if deflater is None or len(payload) < deflater.threshold:
                return await self._send_frame(opcode, payload, bits)
            try:
                payload = await _deflated(deflater, payload, last=True)
                await self._send_frame(opcode, payload, bits | frames.RSV1)
            except BaseException:  # it may not even have begun, and the session go on
                deflater.forget()
                raise

    async def _send_pieces(self, pieces: AsyncIterable[Any]) -> None:
        async with self._queued() as deflater:
            sent: type[str] | type[bytes] | None = None
            bits = frames.RSV1 if deflater is not None else 0
            try:
                async for piece in pieces:
                    kind = str if isinstance(piece, str) else bytes
                    if sent is None:
                        opcode, sent = (frames.TEXT if kind is str else frames.BINARY), kind
                    elif kind is sent:
                        opcode, bits = frames.CONTINUATION, 0
                    else:
                        raise ValueError("the pieces of one message are all str or all bytes")
                    await self._send_frame(opcode, await _octets_of(piece, deflater, last=False), bits)
            except BaseException:
                if sent is not None:  # there is a message on the wire that will not be completed
                    self._session.close(frames.INTERNAL_ERROR, "a message was not completed")
                raise
            opcode, bits = (frames.BINARY, bits) if sent is None else (frames.CONTINUATION, 0)
            await self._send_frame(opcode, await _octets_of(b"", deflater, last=True), bits | frames.FIN)

    async def _send_frame(self, opcode: int, payload: bytes, bits: int) -> None:
        session = self._session
        if session.closed is not None:
            raise await session.farewell()
        try:
            if len(payload) > LARGE:
                sent = await session.link.send(frames.header(opcode, len(payload), first_bits=bits), payload)
            else:
                rest = session.link.offer(frames.encode(opcode, payload, first_bits=bits))
                sent = rest is None or await session.link.send(rest)
        except PeerGone:
            raise await session.farewell() from None
        if not sent:
            raise await session.farewell()

    # -- pings, and the end ------------------------------------------------------------------------

    async def ping(self, payload: bytes | None = None) -> None:
        """Sends a ping and waits for its pong, or that of a later one.

        The server pings by itself, see ``ping_interval``; this one measures, or hurries.

        Raises:
            ConnectionClosed: the session is over, or ends meanwhile.
            ValueError: one with this payload is under way, or it is longer than 125 octets.
        """
        session = self._session
        if session.closed is not None:
            raise await session.farewell()
        _check_control(payload or b"")
        payload, answered = session.expect_pong(payload)
        try:
            session.link.push(frames.encode(frames.PING, payload))
            await answered.wait()
        finally:
            session.pings.forget(payload)
        if session.over:
            raise await session.farewell()

    async def pong(self, payload: bytes | None = None) -> None:
        """Sends a pong that nobody asked for, as a sign of life (RFC 6455 section 5.5.3).

        Raises:
            ConnectionClosed, ValueError: as :meth:`ping`.
        """
        session = self._session
        if session.closed is not None:
            raise await session.farewell()
        _check_control(payload or b"")
        session.link.push(frames.encode(frames.PONG, payload or b""), answer=True)
        await trio.lowlevel.checkpoint()

    def close(self, code: int = 1000, reason: str | None = None) -> None:
        """Closes the session, and waits for nobody: the close frame goes out as soon as it can.

        Messages that have come and were not taken are dropped. Closing it again does nothing.

        Args, Raises:
            as :meth:`aclose`.
        """
        if code not in frames.SENDABLE:
            raise ValueError(f"{code} is no close code that may be sent (RFC 6455 section 7.4)")
        frames.encode_close(code, reason or "")  # what cannot be said changes nothing
        self._session.close_now(code, reason)

    async def aclose(self, code: int = 1000, reason: str | None = None) -> None:
        """As :meth:`close`, and waits for the peer's close frame, at most ``close_timeout``.

        Args:
            code: 1000 to 1003, 1007 to 1014, 3000 to 4999 (RFC 6455 section 7.4).
            reason: text for the peer; what is beyond 123 octets of UTF-8 is cut off.

        Raises:
            ValueError: the code may not be sent, or the reason is no text that UTF-8 has.
            TypeError: the reason is no text.
        """
        self.close(code, reason)
        await self._session.ended()


class _Queue:
    """Messages that go out one after another: they are not torn, and are compressed in the order in which they go.

    Most sessions have no such thing: they send what goes out at once.
    """

    __slots__ = ("_deflater", "_lock")

    def __init__(self, deflater: Deflater | None = None) -> None:
        self._deflater = deflater
        self._lock = trio.Lock()

    @property
    def is_due(self) -> bool:
        """Whether all have to stand in it."""
        return self._deflater is not None or self._lock.locked()

    async def __aenter__(self) -> Deflater | None:
        await self._lock.acquire()
        return self._deflater

    async def __aexit__(self, *exc_info: object) -> None:
        self._lock.release()


class _Pieces(AsyncIterator["str | bytes"]):
    """The pieces of one message. Not a generator: it may be left half-way and owes no clean-up."""

    __slots__ = ("_over", "_session", "_started")

    def __init__(self, session: Session) -> None:
        self._session = session
        self._started = self._over = False

    async def __anext__(self) -> str | bytes:
        if self._over:
            raise StopAsyncIteration
        piece = await self._session.next_piece(first=not self._started)
        self._over = piece.last
        if piece.last and self._started and not piece.data:
            raise StopAsyncIteration
        self._started = True
        return piece.data


def _check_control(payload: bytes) -> None:
    if len(payload) > frames.MAX_CONTROL:
        raise ValueError(f"a ping or pong has at most {frames.MAX_CONTROL} octets, not {len(payload)}")


async def _encoded(message: str | bytes) -> bytes:
    """A text as UTF-8, others having turns in between where that is long."""
    if isinstance(message, bytes):
        return message
    if len(message) <= LARGE:
        return message.encode()
    parts: list[bytes] = []
    for at in range(0, len(message), LARGE):
        parts.append(message[at : at + LARGE].encode())
        await trio.lowlevel.checkpoint()
    return b"".join(parts)


async def _octets_of(piece: str | bytes, deflater: Deflater | None, *, last: bool) -> bytes:
    octets = await _encoded(piece if isinstance(piece, str) else bytes(piece))
    return octets if deflater is None else await _deflated(deflater, octets, last=last)


async def _deflated(deflater: Deflater, payload: bytes, *, last: bool) -> bytes:
    """The same for compression."""
    if len(payload) <= DEFLATED:
        return deflater.deflate(payload, last=last)
    parts: list[bytes] = []
    for part in deflater.steps(payload, last=last):
        if parts:
            await trio.lowlevel.checkpoint()
        parts.append(part)
    return b"".join(parts)
