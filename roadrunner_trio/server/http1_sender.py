"""How one HTTP/1 connection writes responses: the half of its exchange that faces out.

A response is decided upon in one place, :meth:`Http1Sender._head`; a write is tried at once, and only what the kernel
does not take waits, bounded by the write timeout. The other half, which reads, is in :mod:`.http1_exchange`.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Final

import trio

from ..answering.context import ServerContext
from ..errors import HTTPError
from ..fields import Field
from ..messages.request import Request
from ..protocol.heads import RequestHead
from ..protocol.http1 import encode
from ..protocol.http1.encode import BodyFraming
from ..telemetry.observe import ResponseSendFailed
from ..transport.drain import Drain
from ..transport.files import READ_SIZE, SLICE, OpenFile
from ..transport.phases import Phase, PhaseScope
from ..transport.streams import SendMeter
from ..transport.tls_stream import RecordLayer
from ..transport.wire import PeerGone, SocketWire

WRITE_SIZE: Final = 65536
"""Octets that the write timeout is for: a slow but honest peer may take long for all of a large response."""
HELD_MOST: Final = 16384
"""Octets that are held until a turn is over. What is larger is sent at once, and waits for a peer that is slow."""
TURN: Final = 16
"""Pieces that a body may send before its neighbours have their turn. A turn costs 3 µs; so does a piece of 1 kB."""

HEADS: Final = {
    "stream": "stream_response_head",
    "loop": "loop_response_head",
    "file": "sendfile_response_head",
}
"""What observers are told has failed when the head of a response was not taken (behaviour 7.1)."""


class Http1Sender:
    """The response to the current request of a connection.

    Attributes:
        status: of the final response once its head is out; 0 before.
        ended: the response is complete.
        keep: the connection may serve another request.
        spoiled: the request's body cannot be read to its end, whatever the application makes of that.
        continue_owed: the peer waits for a 100 before it sends its body.
        served: requests on this connection, the current one included.
        gone: nothing more comes from the peer, or can be said to it.
        body_done: the request's body has been read to its end.
        taken_over: the stream belongs to somebody else.
        broken: a write was not finished, so that nothing may follow.
        sent: octets of content written.
        extra: see :class:`Exchange`; gone when the final head is out.
        wire: the socket, where the connection stands on one.
        layer: encrypts what is written to the wire; None where nothing does, or the stream does it.
    """

    __slots__ = (
        "_left",
        "_meter",
        "_pieces",
        "body_done",
        "broken",
        "context",
        "continue_owed",
        "drain",
        "ended",
        "extra",
        "framing",
        "gone",
        "head",
        "keep",
        "kind",
        "layer",
        "phase",
        "request",
        "sent",
        "served",
        "spoiled",
        "status",
        "stream",
        "taken_over",
        "wire",
    )

    stream: trio.abc.Stream
    wire: SocketWire | None
    drain: Drain
    request: Request
    head: RequestHead
    extra: Sequence[Field]

    def __init__(self, stream: trio.abc.Stream, context: ServerContext) -> None:
        self.stream = stream
        self.wire = stream if isinstance(stream, SocketWire) else None
        self.layer: RecordLayer | None = None
        self.context = context
        self.drain = context.drain
        self.extra = ()
        self.phase = PhaseScope(context.clock)
        self.served = 0
        self._meter: SendMeter | None = None
        self.gone = False
        self.broken = False

    def reset(self) -> None:
        """Before each request: nothing has been read of its body, and nothing is known of its response yet."""
        self.body_done = False
        self.taken_over = False
        self.status = 0
        self.ended = False
        self.keep = False
        self.spoiled = False
        self.continue_owed = False
        self.sent = 0
        self.kind = "none"
        self.framing = BodyFraming.NONE
        self._left: int | None = None
        self._pieces = 0

    @property
    def started(self) -> bool:
        """Whether the final response's head is on the wire."""
        return self.status != 0

    async def send_interim(self, status: int, fields: Sequence[Field] = ()) -> None:
        """An interim response (RFC 9110 section 15.2); nothing to an HTTP/1.0 peer, or after the final head."""
        if not 100 <= status <= 199 or status == 101:
            raise ValueError(f"an interim response is 100 or 102 to 199, not {status}")
        if self.head.version >= (1, 1) and not self.started:
            await self.send(encode.head(encode.status_line(status), fields))

    async def respond(self, status: int, fields: Sequence[Field], body: bytes, *, reason: bytes | None = None) -> None:
        """A whole response in one write; a large body after its head, without a copy for each slow reader."""
        self.kind, rest = "buffered", b""
        wishes = encode.sift(tuple(fields))
        if self._bodiless(status):
            declared = wishes.length if not body else len(body)
            data = self._head(status, reason, wishes, BodyFraming.NONE, None if status == 204 else declared)
        else:
            length = self.sent = len(body)
            data = self._head(status, reason, wishes, BodyFraming.LENGTH, length)
            if length <= WRITE_SIZE:
                data += body
            else:
                rest = body
        try:
            if (unsent := self._send_now(data)) is not None:
                await self._send_rest(unsent)
            if rest:
                await self._send_large(memoryview(rest))
        except PeerGone as exc:
            self._tell_send_failed("buffered_response", exc)
            raise
        self.ended = True

    async def start_response(self, status: int, fields: Sequence[Field], *, reason: bytes | None = None) -> bool:
        """The head of a response whose content follows; False when none will be written."""
        wishes = encode.sift(tuple(fields))
        if self._bodiless(status):
            framing, length = BodyFraming.NONE, None if status == 204 else wishes.length
        elif wishes.length is not None:
            framing, length = BodyFraming.LENGTH, wishes.length
        elif self.head.version >= (1, 1):
            framing, length = BodyFraming.CHUNKED, None
        else:
            framing, length = BodyFraming.CLOSE, None
        try:
            await self._send_soon(self._head(status, reason, wishes, framing, length))
        except PeerGone as exc:
            self._tell_send_failed(HEADS.get(self.kind, "response_head"), exc)
            raise
        return framing is not BodyFraming.NONE

    async def send_body(self, data: bytes) -> None:
        """A piece of the body. Always a point of cancellation; every :data:`TURN` pieces, and at each of
        :data:`WRITE_SIZE` or more, a full checkpoint: a fast producer with a fast peer must not starve its neighbours.
        """
        self._pieces += 1
        if self._pieces < TURN and len(data) < WRITE_SIZE:
            await trio.lowlevel.checkpoint_if_cancelled()
        else:
            self._pieces = 0
            await trio.lowlevel.checkpoint()
        if data:
            octets = len(data)
            self._account(octets)
            if self.framing is BodyFraming.CHUNKED:
                data = encode.chunk(data)
            await self._send_soon(data)
            self.sent += octets

    async def send_file(self, file: OpenFile, offset: int, length: int) -> None:
        """A range of a file: from the kernel on a plain socket, read in threads elsewhere."""
        try:
            if self.wire is None or self.layer is not None or self.framing is BodyFraming.CHUNKED:
                await self._send_file_read(file, offset, length)
            else:
                self._account(length)
                await self.send(b"")  # the head, if it is held
                for at in range(offset, offset + length, SLICE):
                    await self._send_slice(self.wire, file, at, min(SLICE, offset + length - at))
        except PeerGone as exc:
            self._tell_send_failed("sendfile_body", exc)
            raise

    async def _send_slice(self, wire: SocketWire, file: OpenFile, at: int, count: int) -> None:
        if not file.is_cached(at, count):
            await file.read(at, count)  # sendfile would block the loop on a cold page
        with self._writing(), self._patience(count) as scope:
            try:
                sent = await wire.send_file(file.fd, at, count)
            except trio.BrokenResourceError as exc:
                raise self._lost("the peer went away inside a file") from exc
            self.sent += sent
            if sent < count:
                raise EOFError("the file became shorter while it was sent")
            self.broken = False
        if scope.cancelled_caught:
            raise self._lost("the peer does not take the file in time")

    async def _send_file_read(self, file: OpenFile, offset: int, length: int) -> None:
        for at in range(offset, offset + length, READ_SIZE):
            count = min(READ_SIZE, offset + length - at)
            data = await file.read(at, count)
            if len(data) < count:
                raise EOFError("the file became shorter while it was sent")
            await self.send_body(data)

    async def end_response(self, trailers: Sequence[Field] = ()) -> None:
        """The end of the body; with chunked framing its last chunk and trailers, elsewhere trailers are dropped."""
        if self._left:
            raise ValueError(f"the response ended {self._left} octets short of its content-length")
        if self.framing is BodyFraming.CHUNKED:
            await self.send(encode.last_chunk(trailers))
        elif self.wire is not None and self.wire.held:
            await self.send(b"")
        self.ended = True

    async def _send_soon(self, data: bytes) -> None:
        """Sends ``data``, where a poller ends turns with what else is sent in this one: a system call takes 5 µs."""
        wire = self.wire
        if wire is None or not wire.polled or len(data) + len(wire.held or b"") > HELD_MOST:
            await self.send(data)
        elif self.broken:
            raise PeerGone("an earlier write was not finished")
        else:
            try:
                wire.hold(data if self.layer is None else self.layer.seal(data))
            except trio.BrokenResourceError as exc:
                raise self._lost("the peer went away") from exc

    async def send(self, data: bytes | bytearray) -> None:
        """Sends all of ``data``: at once when the socket takes it, else bounded by the write timeout (N31)."""
        if (unsent := self._send_now(data)) is not None:
            await self._send_rest(unsent)

    async def _send_large(self, data: memoryview) -> None:
        """In slices, with a checkpoint between them: the kernel may take megabytes at once, while everybody waits."""
        for at in range(0, len(data), SLICE):
            if (unsent := self._send_now(data[at : at + SLICE])) is not None:
                await self._send_rest(unsent)
            await trio.lowlevel.checkpoint()

    def _send_now(self, data: bytes | bytearray | memoryview) -> memoryview | None:
        """What the kernel has not taken, as it has to go out: encrypted, with what was held before; None is nothing."""
        if self.broken:
            raise PeerGone("an earlier write was not finished")
        wire = self.wire
        if wire is None:
            return memoryview(data)
        try:
            if self.layer is not None:
                data = self.layer.seal(data)
            if wire.held is not None:
                data = wire.release(data)
            sent = wire.send_now(data)
        except trio.BrokenResourceError as exc:
            raise self._lost("the peer went away") from exc
        return None if sent == len(data) else memoryview(data)[sent:]

    async def _send_rest(self, data: memoryview) -> None:
        stream = self.stream if self.wire is None else self.wire
        with self._writing():
            for at in range(0, len(data), WRITE_SIZE):
                part = data[at : at + WRITE_SIZE]
                with self._patience(len(part)) as scope:
                    try:
                        await stream.send_all(part)
                    except trio.BrokenResourceError as exc:
                        raise self._lost("the peer went away") from exc
                if scope.cancelled_caught:
                    raise self._lost("the peer does not take its response in time")
            self.broken = False

    def _writing(self) -> _Writing:
        return _Writing(self)

    @contextmanager
    def _patience(self, octets: int) -> Generator[trio.CancelScope]:
        """Around a wait for the peer to take ``octets``: the write timeout, and the least rate over all such waits."""
        if self._meter is None:
            self._meter = SendMeter(self.context.limits.min_send_rate, self.context.timeouts.write)
        began = trio.current_time()
        seconds = min(self.context.timeouts.write, self._meter.allowance(self.sent, octets))
        with trio.move_on_at(began + seconds) as scope:
            yield scope
            self._meter.took(octets, trio.current_time() - began)

    def _lost(self, why: str) -> PeerGone:
        self.gone = self.broken = True
        return PeerGone(why)

    def _tell_send_failed(self, phase: str, error: PeerGone) -> None:
        self.context.counters.send_failed += 1
        observers = self.context.observers
        if observers.response_send_failed:
            event = ResponseSendFailed(self.request, phase, str(error), time.time())
            observers.tell(observers.response_send_failed, event)

    def _bodiless(self, status: int) -> bool:
        return status in (204, 304) or self.head.method == b"HEAD"

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
        head = self.head
        if head.method == b"CONNECT" and 200 <= status <= 299:
            raise HTTPError(501)  # 2xx would promise a tunnel that only a Handoff digs (RFC 9110 section 9.3.6)
        keep = (
            head.keep_alive
            and not wishes.close
            and framing is not BodyFraming.CLOSE
            and self.served < self.context.limits.max_requests
            and not self.drain.draining
            and not self.continue_owed
            and not self.spoiled
        )
        if self.extra:
            wishes, self.extra = encode.and_extra(wishes, self.extra), ()
        connection = b"" if keep else b"close"
        if keep and head.version == (1, 0):
            connection = b"keep-alive"
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


class _Writing:
    """Around a write that waits: the phase says so, and a write that does not finish leaves the wire unusable."""

    __slots__ = ("before", "exchange")

    def __init__(self, exchange: Http1Sender) -> None:
        self.exchange = exchange
        self.before = exchange.phase.phase

    def __enter__(self) -> None:
        self.exchange.phase.phase = Phase.RESPOND
        self.exchange.broken = True

    def __exit__(self, *exc_info: object) -> None:
        self.exchange.phase.phase = self.before
