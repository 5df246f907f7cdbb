"""How HTTP/1 writes a response: the half of an exchange that faces out.

A response is decided upon in one place, :meth:`Http1Sender._head`; how its octets leave is the carrier's affair. The
other half, which reads, is in :mod:`.http1_exchange`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import trio

from ..answering.buffers import Share
from ..errors import HTTPError
from ..fields import Field
from ..messages.request import Request
from ..protocol.heads import Framing, RequestHead
from ..protocol.http1 import encode
from ..protocol.http1.encode import BodyFraming
from ..protocol.wishes import bodiless, content, declared
from ..transport.drain import Drain
from ..transport.files import READ_SIZE, SLICE, OpenFile
from ..transport.gone import PeerGone
from ..transport.streams import Address, own_end
from ..transport.wire import SocketWire
from .carrier import WRITE_SIZE, Carrier
from .on_carrier import OnCarrier
from .report import tell_send_failed

NO_HEAD: Final = RequestHead(b"", b"", b"", (1, 1), (), b"", Framing.NONE, 0, False, False, b"")
NO_REQUEST: Final = Request(NO_HEAD, None, Drain(), "nobody", "http", "none")
"""What is in hand between two requests: one that is over."""
TURN: Final = 16
"""Pieces that a body may send before its neighbours have their turn. A turn costs 3 µs; so does a piece of 1 kB."""

OVER: Final = "this request's exchange is over"
UNREAD: Final = (
    "an early middleware judges a request by its head, and cannot read its body; nor can on_error one that is refused"
)

HEADS: Final = {
    "stream": "stream_response_head",
    "loop": "loop_response_head",
    "file": "sendfile_response_head",
}
"""What observers are told has failed when the head of a response was not taken (behaviour 7.1)."""


class Http1Sender(OnCarrier):
    """The response to the request in hand.

    Attributes:
        conn: what carries it.
        phase: the connection's.
        status: of the final response once its head is out; 0 before.
        ended: the response is complete.
        keep: the connection may serve another request; decided with the head of a response, and no sooner of use.
        spoiled: the request's body cannot be read to its end, whatever the application makes of that.
        continue_owed: the peer waits for a 100 before it sends its body.
        body_done: the request's body has been read to its end.
        headed: when the head of the last response went out that was begun by :meth:`start_response`.
        taken_over: the stream belongs to somebody else.
        sent: octets of content written.
        share: what the request's body counts for among what all connections hold.
        extra: see :class:`Exchange`; gone when the final head is out.
        memo: see :class:`Exchange`.
    """

    __slots__ = (
        "_left",
        "_local",
        "_pieces",
        "body_done",
        "conn",
        "continue_owed",
        "ended",
        "extra",
        "framing",
        "head",
        "headed",
        "keep",
        "kind",
        "memo",
        "phase",
        "request",
        "sent",
        "share",
        "spoiled",
        "status",
        "taken_over",
        "told",
    )

    extra: Sequence[Field]

    def __init__(self, conn: Carrier) -> None:
        self.conn = conn
        self.phase = conn.phase
        self.extra = ()
        self.memo: Any = None
        self._local: Address | None = None
        self.framing = BodyFraming.NONE
        self.headed = 0.0
        self.share = Share(conn.context.buffered)
        self._left: int | None = None
        self._pieces = 0
        # What ends a connection, and so is never taken back; `keep` is decided with each head.
        self.keep = False
        self.spoiled = False
        self.continue_owed = False
        self.taken_over = False
        self.reset()

    def reset(self) -> None:
        """Before each request: nothing is known of it or its response, and what is left of the last one is let go."""
        self.request = NO_REQUEST
        self.head = NO_HEAD
        if self.share.held:
            self.share.release()
        self.body_done = False
        self.status = 0
        self.ended = self.told = False
        self.sent = 0
        self.kind = "none"

    def forget(self) -> None:
        """What comes next is another peer's, on another connection."""
        self.memo = self._local = None
        self.extra = ()

    @property
    def local(self) -> Address:
        """Our end: host and port, or the path of a Unix socket; the listener's name where it is no socket of ours."""
        if self._local is None:
            wire, name = self.conn.wire, self.context.name
            self._local = name if wire is None else own_end(wire, name)
        return self._local

    def give_back(self) -> None:
        """Lets go of the request's body, which counts no more."""
        self.request.drop_body()
        self.share.release()

    @property
    def truncated(self) -> bool:
        """Whether a response was cut, and only a reset can tell the peer (N25): its end is the connection's, or
        we could not go on, as when the disk fails."""
        cut = self.framing is BodyFraming.CLOSE or (self.conn.broken and not self.conn.gone)
        return cut and self.started and not self.ended

    async def send_interim(self, status: int, fields: Sequence[Field] = ()) -> None:
        """An interim response (RFC 9110 section 15.2); nothing to an HTTP/1.0 peer, or after the final head."""
        if not 100 <= status <= 199 or status == 101:
            raise ValueError(f"an interim response is 100 or 102 to 199, not {status}")
        if self.request is NO_REQUEST:
            raise RuntimeError(OVER)
        if self.head.version >= (1, 1) and not self.started:
            await self.conn.send(encode.head(encode.status_line(status), fields))

    async def respond(self, status: int, fields: Sequence[Field], body: bytes, *, reason: bytes | None = None) -> None:
        """A whole response in one write; a large body after its head, without a copy for each slow reader.

        Raises:
            ValueError, TypeError: it cannot be said, or the body is no octets; nothing is out, and a 500 can be said.
        """
        self.kind, rest, conn = "buffered", b"", self.conn
        wishes = conn.context.sift(tuple(fields))
        if type(body) is not bytes:
            body = content(body)
        if bodiless(status, self.head.method):
            length = declared(status, len(body) if body else wishes.length)
            data = self._head(status, reason, wishes, BodyFraming.NONE, length)
        else:
            length = len(body)
            # Repaired, a body that was cut short elsewhere would look whole.
            if wishes.length is not None and wishes.length != length:
                raise ValueError(f"the response has {length} octets, and declares {wishes.length}")
            data = self._head(status, reason, wishes, BodyFraming.LENGTH, length)
            self.sent = length
            if length <= WRITE_SIZE:
                data += body
            else:
                rest = body
        try:
            if (unsent := conn.send_now(data) if rest else conn.send_with_others(data)) is not None:
                await conn.send_rest(unsent, self.sent)
            if rest:
                await conn.send_large(memoryview(rest), self.sent)
        except PeerGone as exc:
            tell_send_failed(self, "buffered_response", exc)
            raise
        self.ended = True

    async def start_response(self, status: int, fields: Sequence[Field], *, reason: bytes | None = None) -> bool:
        """The head of a response whose content follows; False when none will be written."""
        wishes = self.conn.context.sift(tuple(fields))
        if bodiless(status, self.head.method):
            framing, length = BodyFraming.NONE, declared(status, wishes.length)
        elif wishes.length is not None:
            framing, length = BodyFraming.LENGTH, wishes.length
        elif self.head.version >= (1, 1):
            framing, length = BodyFraming.CHUNKED, None
        else:
            framing, length = BodyFraming.CLOSE, None
        try:
            await self.conn.send_soon(self._head(status, reason, wishes, framing, length), 0)
            self.headed = self.phase.now()
        except PeerGone as exc:
            tell_send_failed(self, HEADS.get(self.kind, "response_head"), exc)
            raise
        return framing is not BodyFraming.NONE

    async def send_body(self, data: bytes) -> None:
        """A piece of the body. Always a point of cancellation; every :data:`TURN` pieces, and at each of
        :data:`WRITE_SIZE` or more, a full checkpoint: a fast producer with a fast peer must not starve its neighbours.
        """
        request = self.request
        self._pieces += 1
        if self._pieces < TURN and len(data) < WRITE_SIZE:
            await trio.lowlevel.checkpoint_if_cancelled()
        else:
            self._pieces = 0
            await trio.lowlevel.checkpoint()
        if self.request is not request:
            raise RuntimeError("this response is over")  # a task that was left behind: the connection has gone on
        if data:
            octets = len(data)
            self._account(octets)
            if self.framing is BodyFraming.CHUNKED:
                data = encode.chunk(data)
            await self.conn.send_soon(data, self.sent)
            if self.request is request:
                self.sent += octets

    async def send_file(self, file: OpenFile, offset: int, length: int) -> None:
        """A range of a file: from the kernel on a plain socket, read in threads elsewhere."""
        conn = self.conn
        try:
            if conn.wire is None or conn.layer is not None or self.framing is BodyFraming.CHUNKED:
                await self._send_file_read(file, offset, length)
            else:
                self._account(length)
                await conn.send(b"")  # the head, if it is held
                await self._send_slices(conn.wire, file, offset, length)
        except PeerGone as exc:
            tell_send_failed(self, "sendfile_body", exc)
            raise

    async def _send_slices(self, wire: SocketWire, file: OpenFile, offset: int, length: int) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()
        taken = 0
        if not self.sent:  # most files are one slice, and the kernel takes it: a wait for that costs 30 µs
            self.sent = taken = file.send_cached(wire.socket, offset, min(SLICE, length))
        for at in range(offset + taken, offset + length, SLICE):
            count = min(SLICE, offset + length - at)
            taken = await self.conn.send_slice(wire, file, at, count, self.sent)
            self.sent += taken
            if taken < count:
                raise EOFError("the file became shorter while it was sent")

    async def _send_file_read(self, file: OpenFile, offset: int, length: int) -> None:
        for at in range(offset, offset + length, READ_SIZE):
            count = min(READ_SIZE, offset + length - at)
            data = await file.read(at, count)
            if len(data) < count:
                raise EOFError("the file became shorter while it was sent")
            await self.send_body(data)

    async def end_response(self, trailers: Sequence[Field] = ()) -> None:
        """The end of the body; with chunked framing its last chunk and trailers, elsewhere trailers are dropped.

        Raises:
            RuntimeError: no response has begun, or it has ended: another end would be where the next begins.
        """
        if not self.started or self.ended:
            raise RuntimeError("a response is ended once, when it has begun")
        if self._left:
            raise ValueError(f"the response ended {self._left} octets short of its content-length")
        conn = self.conn
        if self.framing is BodyFraming.CHUNKED:
            await conn.send(encode.last_chunk(trailers), self.sent)
        elif conn.wire is not None and conn.wire.held:
            await conn.send(b"", self.sent)
        self.ended = True

    async def say(self, status: int) -> None:
        """An error response that ends the connection, if none has begun and nobody else writes; a peer that is gone is
        no matter."""
        if not self.started:
            try:
                await self.conn.send(encode.error_response(status, self.extra))
            except (PeerGone, trio.BusyResourceError):
                return
            self.status, self.ended, self.kind = status, True, "none"

    def _head(
        self,
        status: int,
        reason: bytes | None,
        wishes: encode.Wishes,
        framing: BodyFraming,
        length: int | None,
    ) -> bytes:
        """The final head. Here, and only here, it is decided whether the connection goes on, and said so (N12, N20)."""
        if self.status:
            raise RuntimeError("the response has begun already")
        head, conn = self.head, self.conn
        if head.method == b"CONNECT" and 200 <= status <= 299:
            raise HTTPError(501)  # 2xx would promise a tunnel that only a Handoff digs (RFC 9110 section 9.3.6)
        keep = (
            head.keep_alive
            and not wishes.close
            and framing is not BodyFraming.CLOSE
            and conn.served < conn.context.limits.max_requests
            and not conn.drain.draining
            and not self.continue_owed
            and not self.spoiled
        )
        if self.extra:
            wishes, self.extra = encode.and_extra(wishes, self.extra), ()
        connection = b"" if keep else b"close"
        if keep and head.version == (1, 0):
            connection = b"keep-alive"
        if not keep and self.request is NO_REQUEST:
            raise RuntimeError(OVER)  # an app that was left behind
        # Refuses what is no final status (N24), so nothing is decided before.
        out = encode.final_head(encode.status_line(status, reason), wishes, framing, length, connection)
        self.keep, self.status, self.framing = keep, status, framing
        self._left = length if framing is BodyFraming.LENGTH else None
        return out

    def _account(self, octets: int) -> None:
        if not self.started or self.ended or self.framing is BodyFraming.NONE:
            raise RuntimeError("a body can only be sent between the start of a response and its end")
        if self._left is not None:
            if octets > self._left:
                raise ValueError(f"the response is {octets - self._left} octets longer than its content-length")
            self._left -= octets
