"""A WebSocket session in trio-websocket's words: messages, whole or in pieces, pings, and the close."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable
from typing import Any, cast

import trio
from trio_websocket import ConnectionClosed

from ..messages.request import Request
from ..protocol.ws import frames
from ..protocol.ws.decoder import Decoder
from ..protocol.ws.deflate import Deflater
from ..protocol.ws.frames import Piece, Violation
from ..transport.clock import Clock
from ..transport.drain import Drain
from ..transport.wire import PeerGone
from .core import Session, Settings


class WebSocket(Session, trio.abc.AsyncResource):
    """A session: what ``accept`` gives, and what :func:`~roadrunner_trio.websocket` is about.

    ``async for message in websocket`` ends when the peer closes with 1000, 1001 or no code; ``async with websocket``
    closes it at the end. Several tasks may use it at once: messages are not torn.

    Attributes:
        request: the request that it began with.
        subprotocol: what was agreed, or None.
    """

    __slots__ = ("_deflater", "_midway", "_talking", "request", "subprotocol")

    def __init__(
        self,
        request: Request,
        subprotocol: str | None,
        settings: Settings,
        decoder: Decoder,
        deflater: Deflater | None,
        clock: Clock,
        drain: Drain,
        abandoned: Callable[[], None],
    ) -> None:
        super().__init__(settings, decoder, clock, drain, abandoned)
        self.request = request
        self.subprotocol = subprotocol
        self._deflater = deflater
        self._midway = False
        self._talking: trio.Lock | None = None

    async def get_message(self) -> str | bytes:
        """The next message: str for text, bytes for binary.

        Messages that came before the end are given first.

        Raises:
            ConnectionClosed: the session is over; its ``reason`` has the code and the reason.
        """
        item = await self.next_item()
        if type(item) is Piece:
            return await self._joined(item)
        return cast("str | bytes", item)

    async def _joined(self, piece: Piece) -> str | bytes:
        """The message of a piece that nobody wanted as such; the rest of one that was begun is passed over."""
        skip, pieces = self._midway, [piece.data]
        while not piece.last:
            piece = cast("Piece", await self.next_item())
            pieces.append(piece.data)
            if skip:
                pieces.clear()
            elif sum(map(len, pieces)) > self._settings.caps.message:
                self._fail(Violation(frames.TOO_BIG, "a message that is too large"))
                raise await self._farewell()
        self._midway = False
        return await self.get_message() if skip else _join(pieces)

    def get_pieces(self) -> AsyncIterator[str | bytes]:
        """The next message in pieces as they arrive, for ``async for``: all str or all bytes.

        It may be of any size and any number of fragments, whatever ``max_message`` says; when the application does not
        take it, the peer waits. What is left of it when the iteration is given up is passed over.

        Raises:
            ConnectionClosed: as :meth:`get_message`; from the iteration, inside a message too.
        """
        return _Pieces(self)

    async def next_piece(self, *, first: bool) -> Piece:
        """The next piece of a message; what :meth:`get_pieces` iterates over."""
        if first and self._midway:
            while self._midway:
                self._midway = not cast("Piece", await self.next_item()).last
        if first and not self._queue and (begun := self._decoder.give_pieces()) is not None:
            self._midway = True
            await trio.lowlevel.checkpoint()
            return begun
        item = await self.next_item()
        piece = item if type(item) is Piece else Piece(cast("str | bytes", item), last=True)
        self._midway = not piece.last
        return piece

    def __aiter__(self) -> WebSocket:
        return self

    async def __anext__(self) -> str | bytes:
        try:
            item = await self.next_item()
            return await self._joined(item) if type(item) is Piece else cast("str | bytes", item)
        except ConnectionClosed as exc:
            if exc.reason is not None and exc.reason.code in (frames.NORMAL, frames.GOING_AWAY, frames.NO_STATUS):
                raise StopAsyncIteration from None
            raise

    async def send_message(self, message: str | bytes | AsyncIterable[str] | AsyncIterable[bytes]) -> None:
        """Sends a message: str as text, bytes as binary, an async iterable of either in as many fragments.

        Returns when the peer's window has taken it; it has the server's ``Timeouts.write`` for each 64 KiB. A
        cancellation in the middle of a message ends the session.

        Raises:
            ConnectionClosed: the session is over, or about to be.
            ValueError: the message is something else.
        """
        if self._closed is not None:
            raise await self._farewell()
        if self._fresh:
            self._fresh = False  # it has let others run, waiting for what this answers
        else:
            await trio.lowlevel.checkpoint()
        if type(message) is str:
            opcode, payload = frames.TEXT, message.encode()
        elif type(message) is bytes:
            opcode, payload = frames.BINARY, message
        else:
            return await self._send_other(message)
        if self._talking is not None or self._deflater is not None or self._closed is not None:
            return await self._send_in_turn(opcode, payload)
        frame = frames.encode(opcode, payload)
        try:
            rest = self._link.offer(frame)
            if rest is not None:
                await self._link.send(rest)
        except PeerGone:
            raise await self._farewell() from None
        return None

    async def _send_other(self, message: Any) -> None:
        if isinstance(message, str):
            return await self._send_in_turn(frames.TEXT, message.encode())
        if isinstance(message, bytes | bytearray | memoryview):
            return await self._send_in_turn(frames.BINARY, bytes(cast("bytes", message)))
        if hasattr(message, "__aiter__"):
            return await self._send_pieces(message)
        raise ValueError(f"a message is str, bytes or an async iterable of either, not {type(message).__name__}")

    def _turn(self) -> trio.Lock:
        if self._talking is None:
            self._talking = trio.Lock()
        return self._talking

    async def _send_in_turn(self, opcode: int, payload: bytes) -> None:
        async with self._turn():
            if self._closed is not None:
                raise await self._farewell()
            bits, deflater = frames.FIN, self._deflater
            if deflater is not None and len(payload) >= deflater.threshold:
                bits, payload = bits | frames.RSV1, deflater.deflate(payload)
            await self._send_frame(opcode, payload, bits)

    async def _send_pieces(self, pieces: AsyncIterable[Any]) -> None:
        async with self._turn():
            sent: type[str] | type[bytes] | None = None
            bits = frames.RSV1 if self._deflater is not None else 0
            try:
                async for piece in pieces:
                    kind = str if isinstance(piece, str) else bytes
                    if sent is None:
                        opcode, sent = (frames.TEXT if kind is str else frames.BINARY), kind
                    elif kind is sent:
                        opcode, bits = frames.CONTINUATION, 0
                    else:
                        raise ValueError("the pieces of one message are all str or all bytes")
                    await self._send_frame(opcode, self._octets_of(piece, last=False), bits)
            except BaseException:
                if sent is not None:  # there is a message on the wire that will not be completed
                    self._close(frames.INTERNAL_ERROR, "a message was not completed")
                raise
            opcode, bits = (frames.BINARY, bits) if sent is None else (frames.CONTINUATION, 0)
            await self._send_frame(opcode, self._octets_of(b"", last=True), bits | frames.FIN)

    def _octets_of(self, piece: str | bytes, *, last: bool) -> bytes:
        octets = piece.encode() if isinstance(piece, str) else bytes(piece)
        return octets if self._deflater is None else self._deflater.deflate(octets, last=last)

    async def _send_frame(self, opcode: int, payload: bytes, bits: int) -> None:
        if self._closed is not None:
            raise await self._farewell()
        try:
            if (rest := self._link.offer(frames.encode(opcode, payload, first_bits=bits))) is not None:
                await self._link.send(rest)
        except PeerGone:
            raise await self._farewell() from None

    async def ping(self, payload: bytes | None = None) -> None:
        """Sends a ping and waits for its pong, or that of a later one.

        The server pings by itself, see ``ping_interval``; this one measures, or hurries.

        Raises:
            ConnectionClosed: the session is over, or ends meanwhile.
            ValueError: one with this payload is under way, or it is longer than 125 octets.
        """
        if self._closed is not None:
            raise await self._farewell()
        if self._pings is None:
            self._pings = {}
        if payload is None:
            payload = next(free for n in range(2**32) if (free := n.to_bytes(4, "big")) not in self._pings)
        if payload in self._pings:
            raise ValueError(f"a ping with the payload {payload!r} is under way")
        self._check_control(payload)
        answered = self._pings[payload] = trio.Event()
        try:
            self._link.push(frames.encode(frames.PING, payload))
            await answered.wait()
        finally:
            self._pings.pop(payload, None)
        if self._over and self._closed is not None:
            raise await self._farewell()

    async def pong(self, payload: bytes | None = None) -> None:
        """Sends a pong that nobody asked for, as a sign of life (RFC 6455 section 5.5.3).

        Raises:
            ConnectionClosed, ValueError: as :meth:`ping`.
        """
        if self._closed is not None:
            raise await self._farewell()
        self._check_control(payload or b"")
        self._link.push(frames.encode(frames.PONG, payload or b""), answer=True)
        await trio.lowlevel.checkpoint()

    @staticmethod
    def _check_control(payload: bytes) -> None:
        if len(payload) > frames.MAX_CONTROL:
            raise ValueError(f"a ping or pong has at most {frames.MAX_CONTROL} octets, not {len(payload)}")

    def close(self, code: int = 1000, reason: str | None = None) -> None:
        """Closes the session, and waits for nobody: the close frame goes out as soon as it can.

        Messages that have come and were not taken are dropped. Closing it again does nothing.

        Args, Raises:
            as :meth:`aclose`.
        """
        if code not in frames.SENDABLE:
            raise ValueError(f"{code} is no close code that may be sent (RFC 6455 section 7.4)")
        self._told = True
        self._queue.clear()
        self._octets = 0
        if self._ending is not None:
            self._depart()
        else:
            self._close(code, reason)

    async def aclose(self, code: int = 1000, reason: str | None = None) -> None:
        """As :meth:`close`, and waits for the peer's close frame, at most ``close_timeout``.

        Args:
            code: 1000 to 1003, 1007 to 1014, 3000 to 4999 (RFC 6455 section 7.4).
            reason: text for the peer; what is beyond 123 octets of UTF-8 is cut off.

        Raises:
            ValueError: the code may not be sent.
        """
        self.close(code, reason)
        if not self._over:
            if self._waiting_end is None:
                self._waiting_end = trio.lowlevel.ParkingLot()
            await self._waiting_end.park()
        else:
            await trio.lowlevel.checkpoint()


class _Pieces(AsyncIterator["str | bytes"]):
    """The pieces of one message. Not a generator: it may be left half-way and owes no clean-up."""

    __slots__ = ("_over", "_started", "_websocket")

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket
        self._started = self._over = False

    async def __anext__(self) -> str | bytes:
        if self._over:
            raise StopAsyncIteration
        piece = await self._websocket.next_piece(first=not self._started)
        self._over = piece.last
        if piece.last and self._started and not piece.data:
            raise StopAsyncIteration
        self._started = True
        return piece.data


def _join(pieces: list[str | bytes]) -> str | bytes:
    if isinstance(pieces[0], str):
        return "".join(cast("list[str]", pieces))
    return b"".join(cast("list[bytes]", pieces))
