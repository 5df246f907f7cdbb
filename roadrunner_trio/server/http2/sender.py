"""How HTTP/2 writes a response: the half of an exchange that faces out.

The other half, which reads, is in :mod:`.exchange`; when its frames leave is the :mod:`.writer`'s affair.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

import trio

from ...errors import HTTPError
from ...fields import Field
from ...messages.request import Request
from ...protocol.http2.blocks import Wishes, and_extra
from ...protocol.http2.engine import Http2Engine, Stream
from ...protocol.http2.frames import CANCEL
from ...protocol.wishes import bodiless, content, declared
from ...transport.files import READ_SIZE, OpenFile
from ...transport.gone import PeerGone
from ...transport.phases import Phase, PhaseScope
from ..carrier import WRITE_SIZE, Carrier
from ..http1_sender import HEADS, NO_HEAD, NO_REQUEST, TURN
from ..on_carrier import OnCarrier
from ..report import tell_send_failed
from .writer import FRAME, MOST, Content, Writer

NO_STREAM: Final = Stream(0, NO_HEAD)
"""What is in hand between two streams: one that is lost."""
NO_STREAM.lost = True


class StreamSender(OnCarrier):
    """The response to the request in hand.

    Attributes:
        conn: what carries it.
        engine: of the connection.
        writer: of the connection.
        phase: where the request is, with a deadline and a scope of its own.
        stream: the request's.
        status: of the final response once its head is out; 0 before.
        ended: the response is complete.
        body_done: the request's body has been read to its end.
        taken_over: the stream belongs to somebody else.
        sent: octets of content written.
        headed: when the head of the last response went out that was begun by :meth:`start_response`.
        extra: see :class:`Exchange`; gone when the final head is out.
        memo: see :class:`Exchange`.
        keep: whatever becomes of a stream, its connection goes on.
        waited: something has had to be waited for, in one of its streams: only then there can be a wait to end.
    """

    __slots__ = (
        "_content",
        "_has_body",
        "_left",
        "_pieces",
        "body_done",
        "conn",
        "ended",
        "engine",
        "extra",
        "head",
        "headed",
        "keep",
        "kind",
        "memo",
        "phase",
        "request",
        "sent",
        "status",
        "stream",
        "taken_over",
        "told",
        "waited",
        "writer",
    )

    extra: Sequence[Field]

    def __init__(self, conn: Carrier, engine: Http2Engine, writer: Writer) -> None:
        self.conn = conn
        self.engine = engine
        self.writer = writer
        self.phase = PhaseScope(conn.context.clock)
        self.memo: Any = None
        self.headed = 0.0
        self._pieces = 0
        self.keep = True
        self.waited = False
        self.reset()

    def reset(self) -> None:
        """Nothing is in hand."""
        self.stream: Stream = NO_STREAM
        self.request: Request = NO_REQUEST
        self.head = NO_HEAD
        self.extra = ()
        self.kind = "none"
        self.status = self.sent = 0
        self.ended = self.body_done = self.taken_over = self.told = self._has_body = False
        self._left: int | None = None
        self._content: Content | None = None

    async def send_interim(self, status: int, fields: Sequence[Field] = ()) -> None:
        """An interim response (RFC 9110 section 15.2); nothing after the final head. It waits while nobody takes any.

        Raises:
            PeerGone: the peer is gone, or has not taken what was sent before in time.
        """
        if not 100 <= status <= 199 or status == 101:
            raise ValueError(f"an interim response is 100 or 102 to 199, not {status}")
        request = self.request
        if self.writer.backlog > MOST:
            await self.writer.room()
        if self.request is request and not self.status:
            if self.stream.lost or self.conn.broken:
                raise PeerGone("the peer has taken its request back")
            self.engine.send_interim(self.stream, status, fields)
            self.writer.soon()

    async def respond(self, status: int, fields: Sequence[Field], body: bytes, *, reason: bytes | None = None) -> None:
        """A whole response; a reason phrase is nothing that HTTP/2 could say.

        Raises:
            ValueError, TypeError: it cannot be said, or the body is no octets; nothing is out, and a 500 can be said.
        """
        self.kind = "buffered"
        wishes = self.conn.context.sift_http2(tuple(fields))
        if type(body) is not bytes:
            body = content(body)
        length: int | None = len(body)
        if bodiless(status, self.head.method):
            length, body = declared(status, length or wishes.length), b""
        elif wishes.length is not None and wishes.length != length:
            raise ValueError(f"the response has {length} octets, and declares {wishes.length}")
        wishes = self._checked(status, wishes)
        stream, engine, size, at = self.stream, self.engine, len(body), 0
        if stream.lost or self.conn.broken:
            raise self._failed("buffered_response", PeerGone("the peer has taken its request back"))
        if size <= FRAME and len(engine.output) < MOST and not self.writer.unsent:
            at = engine.respond(stream, status, wishes, length, body)
        else:
            engine.send_head(stream, status, wishes, length, not body)
        self.status, self.sent = status, size
        if at < size:
            await self._send_rest(memoryview(body)[at:])
        self.ended = True
        self.writer.at_once()

    async def _send_rest(self, body: memoryview) -> None:
        try:
            await self._send(body, end=True)
        except PeerGone as exc:
            raise self._failed("buffered_response", exc) from None

    async def start_response(self, status: int, fields: Sequence[Field], *, reason: bytes | None = None) -> bool:
        """The head of a response whose content follows; False when none will be written."""
        wishes = self.conn.context.sift_http2(tuple(fields))
        empty = bodiless(status, self.head.method)
        length = declared(status, wishes.length) if empty else wishes.length
        wishes = self._checked(status, wishes)
        if self.stream.lost or self.conn.broken:
            raise self._failed(HEADS.get(self.kind, "response_head"), PeerGone("the peer has taken its request back"))
        self.engine.send_head(self.stream, status, wishes, length, empty)
        self.status, self._has_body, self.headed = status, not empty, self.phase.now()
        self._left = None if empty else length
        self.writer.soon()
        return not empty

    async def send_body(self, data: bytes) -> None:
        """A piece of the body. Always a point of cancellation, and now and then a full checkpoint, as with HTTP/1."""
        request = self.request
        self._pieces += 1
        if self._pieces < TURN and len(data) < WRITE_SIZE:
            await trio.lowlevel.checkpoint_if_cancelled()
        else:
            self._pieces = 0
            await trio.lowlevel.checkpoint()
        if self.request is not request:
            raise RuntimeError("this response is over")  # a task that was left behind
        if data:
            self._account(len(data))
            await self._send(data)
            if self.request is request:
                self.sent += len(data)

    async def send_file(self, file: OpenFile, offset: int, length: int) -> None:
        """A range of a file, read in threads where it is not in memory: its octets have to be framed."""
        try:
            for at in range(offset, offset + length, READ_SIZE):
                count = min(READ_SIZE, offset + length - at)
                data = await file.read(at, count)
                if len(data) < count:
                    raise EOFError("the file became shorter while it was sent")
                await self.send_body(data)
        except PeerGone as exc:
            raise self._failed("sendfile_body", exc) from None

    async def end_response(self, trailers: Sequence[Field] = ()) -> None:
        """The end of the body, with trailers if there are any."""
        if self._left:
            raise ValueError(f"the response ended {self._left} octets short of its content-length")
        if self._content is not None and self._content.data:
            raise trio.BusyResourceError("another task is sending this response")
        if self._has_body:
            self.engine.send_trailers(self.stream, trailers)
            self.writer.soon()
        self.ended = True

    async def say(self, status: int) -> None:
        """An error response, if none has begun."""
        self.say_now(status)

    def say_now(self, status: int) -> None:
        """The same, of those who are about to end: nothing of it waits."""
        if self.status:
            return
        wishes = self.conn.context.sift_http2(())
        with suppress(TypeError, ValueError):  # it may be these that had to be answered with an error
            wishes = and_extra(wishes, self.extra)
        self.engine.respond(self.stream, status, wishes, 0, b"")
        self.writer.soon()
        self.status, self.ended, self.kind = status, True, "none"

    async def send_content(self, data: bytes | memoryview) -> None:
        """Sends octets of a tunnel, when the windows let them through."""
        await self._send(data)
        self.sent += len(data)

    def cut_content(self) -> None:
        """Resets a tunnel in which a task sends; that learns of it."""
        self.engine.reset(self.stream, CANCEL)
        self.writer.soon()
        if self._content is not None:
            self._content.wake()

    def _checked(self, status: int, wishes: Wishes) -> Wishes:
        """What is said with ``status``, and may be said now."""
        if self.status:
            raise RuntimeError("the response has begun already")
        if not 200 <= status <= 599:
            raise ValueError(f"a response needs a final status from 200 to 599, not {status}")  # N24
        if self.stream.tunnel and status <= 299:
            raise HTTPError(501)  # 2xx would promise a tunnel that only a Handoff digs (RFC 9110 section 9.3.6)
        if self.extra:
            wishes, self.extra = and_extra(wishes, self.extra), ()
        return wishes

    def _account(self, octets: int) -> None:
        if not self.status or self.ended or not self._has_body:
            raise RuntimeError("a body can only be sent between the start of a response and its end")
        if self._left is not None:
            if octets > self._left:
                raise ValueError(f"the response is {octets - self._left} octets longer than its content-length")
            self._left -= octets

    def _failed(self, part: str, error: PeerGone) -> PeerGone:
        tell_send_failed(self, part, error)
        return error

    async def _send(self, data: bytes | memoryview, *, end: bool = False) -> None:
        """Content, when the windows, the socket and the others let it through.

        Raises:
            PeerGone: the peer has taken its request back, or is gone, or its window is shut for too long.
            trio.BusyResourceError: another task is sending.
        """
        stream, engine, writer = self.stream, self.engine, self.writer
        if stream.lost or self.conn.broken:
            raise PeerGone("the peer has taken its request back")
        waiting = self._content
        if writer.is_clear and (waiting is None or not waiting.data):
            sent = engine.send_data(stream, data, end, FRAME)
            writer.soon()
            if sent == len(data):
                return
            data = memoryview(data)[sent:]
        if waiting is None:
            context = self.conn.context
            waiting = self._content = Content(writer, stream, context.timeouts.write, context.limits.min_send_rate)
            self.waited = True
        if not writer.push(waiting, data, end=end):
            before, self.phase.phase = self.phase.phase, Phase.RESPOND
            try:
                await waiting.wait()
            finally:
                self.phase.phase = before
        waiting.check()
        if stream.lost or self.conn.broken:
            raise PeerGone("the peer has taken its request back")
