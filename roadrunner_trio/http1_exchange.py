"""How one HTTP/1 connection reads bodies and writes responses: the exchange that its connection is.

A connection serves one request after another, so it is its own exchange and per request only a head and a
:class:`~roadrunner_trio.Request` are built. What :mod:`.connection` tells as a story is spelled out here; there the
phases, here the octets.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final, cast

import trio

from .context import ServerContext
from .drain import Drain
from .errors import HTTPError, ProtocolError
from .exchange import Plan
from .fields import Field
from .files import READ_SIZE, SLICE, OpenFile
from .http1 import encode
from .http1.encode import BodyFraming
from .http1.engine import CLOSED, END, Framing, Http1Engine, RequestHead
from .observe import DrainAcknowledged, ResponseSendFailed
from .phases import Phase, PhaseScope
from .proxy_header import ProxyHeader
from .request import Request
from .streams import Address, PrefixedStream, RateMeter
from .tls import TLSInfo
from .wire import RECEIVE_SIZE, BodyTimeout, PeerGone, SocketWire

READ_AHEAD: Final = 65536
WRITE_SIZE: Final = 65536
"""Octets that the write timeout is for: a slow but honest peer may take long for all of a large response."""

HEADS: Final = {
    "stream": "stream_response_head",
    "loop": "loop_response_head",
    "file": "sendfile_response_head",
}
"""What observers are told has failed when the head of a response was not taken (behaviour 7.1)."""


class Http1Exchange:
    """The current request of a connection and its response.

    Attributes:
        status: of the final response once its head is out; 0 before.
        ended: the response is complete.
        keep: the connection may serve another request.
        spoiled: the request's body cannot be read to its end, whatever the application makes of that.
        sent: octets of content written.
        extra: see :class:`Exchange`; gone when the final head is out.
    """

    drain: Drain
    request: Request
    head: RequestHead
    plan: Plan
    extra: Sequence[Field] = ()

    def __init__(self, stream: trio.abc.Stream, engine: Http1Engine, context: ServerContext, peer: Address) -> None:
        self.stream = stream
        self.wire = stream if isinstance(stream, SocketWire) else None
        self.engine = engine
        self.context = context
        self.peer = peer
        self.tls = cast("trio.SSLStream[trio.abc.Stream]", stream) if isinstance(stream, trio.SSLStream) else None
        self.scheme = "http" if self.tls is None else "https"
        self.transport: tuple[TLSInfo | None, ProxyHeader | None] | None = None
        self.drain = context.drain
        self.phase = PhaseScope(context.clock)
        self.meter = RateMeter(context.limits.min_bytes_per_second)
        self.served = 0
        self.gone = False
        self.broken = False
        self._reading = False
        self._received = 0
        self._readers = trio.lowlevel.ParkingLot()
        self.reset()

    def reset(self) -> None:
        """Before each request: nothing is known of its response yet."""
        self.status = 0
        self.ended = False
        self.keep = False
        self.spoiled = False
        self.sent = 0
        self.kind = "none"
        self.body_done = False
        self.continue_owed = False
        self.taken_over = False
        self.framing = BodyFraming.NONE
        self._left: int | None = None

    @property
    def started(self) -> bool:
        """Whether the final response's head is on the wire."""
        return self.status != 0

    # -- reading ---------------------------------------------------------------------------------

    async def fill(self) -> int:
        """Reads once from the peer into the engine and says how many octets came: the only place that reads.

        Two tasks may want to: one that takes the body, one that waits for the peer to go. The first reads for both,
        and both count what came, else the peer would look slow to the second.
        """
        if self._reading:
            before = self._received
            await self._readers.park()
            return self._received - before
        self._reading = True
        try:
            data = await self.stream.receive_some(RECEIVE_SIZE)
        except trio.BrokenResourceError as exc:
            self.gone = True
            raise PeerGone("the connection was reset") from exc
        finally:
            self._reading = False
            if self._readers:
                self._readers.unpark_all()
        self.engine.receive(bytes(data))
        self._received += len(data)
        return len(data)

    def expect_body(self, plan: Plan) -> None:
        """Prepares for the body of the current head as planned.

        Raises:
            ProtocolError: 413, when it is declared larger than planned.
        """
        self.plan = plan
        if self.head.framing is Framing.NONE:
            self.body_done = True
            return
        self.engine.limit_body(plan.max_body)
        self.continue_owed = self.head.expects_continue and not self.engine.buffered  # N17
        self.meter.reset()

    async def receive_body(self) -> bytes:
        """The next piece of the body; ``b""`` at its end."""
        while not self.body_done:
            try:
                piece = self.engine.next_body()
            except ProtocolError:
                self.spoiled = True
                raise
            if isinstance(piece, bytes):
                self._readers.unpark_all()  # there is room again to read ahead
                return piece
            if piece is END:
                self.body_done = True
                self.request.trailers = self.engine.trailers()  # N68
            elif piece is CLOSED:
                self.gone = True
                raise PeerGone("the peer went away inside a request body")  # N67
            else:
                await self._await_body()
        return b""

    async def _await_body(self) -> None:
        if self.continue_owed:
            self.continue_owed = False
            await self.send_interim(100)
        before = trio.current_time()
        if self.phase.phase in (Phase.READ_BODY, Phase.FINISH):
            octets = await self.fill()
        else:
            octets = await self._fill_for_handler(before)
        if not self.meter.add(octets, trio.current_time() - before) and not self.engine.ended:
            self.gone = True
            raise PeerGone("the peer sends its body more slowly than the minimum rate")  # E11

    async def _fill_for_handler(self, now: float) -> int:
        """Inside user code a wait has a scope of its own: the connection's deadline is not moved from there."""
        octets = 0
        with trio.move_on_at(now + self.context.timeouts.body - self.meter.waited) as scope:
            octets = await self.fill()
        if scope.cancelled_caught:
            self.spoiled = True
            raise BodyTimeout("the peer took too long to send its body")
        return octets

    async def skip_body(self) -> bool:
        """Reads and forgets the rest of the body; False when it cannot be had, and the connection not be reused."""
        if self.continue_owed:
            return False  # nobody knows whether the peer will send it (RFC 9110 section 10.1.1)
        try:
            while await self.receive_body():
                pass
        except (ProtocolError, PeerGone):
            return False
        return True

    async def disconnected(self) -> None:
        """Returns when the peer has gone: a reset, or the end of what it sends."""
        while not (self.gone or self.engine.ended):
            if self.engine.buffered >= READ_AHEAD:
                await self._readers.park()
            else:
                try:
                    await self.fill()
                except PeerGone:
                    return

    def acknowledge_drain(self) -> None:
        """Counts and tells that the handler knows of the drain."""
        self.context.counters.acknowledged += 1
        observers = self.context.observers
        if observers.drain_acknowledged:
            deadline = self.drain.deadline if self.drain.draining else None
            event = DrainAcknowledged(self.request, deadline, time.time())
            observers.tell(observers.drain_acknowledged, event)

    # -- writing ---------------------------------------------------------------------------------

    async def send_interim(self, status: int, fields: Sequence[Field] = ()) -> None:
        """An interim response (RFC 9110 section 15.2); nothing to an HTTP/1.0 peer, or after the final head."""
        if not 100 <= status <= 199 or status == 101:
            raise ValueError(f"an interim response is 100 or 102 to 199, not {status}")
        if self.head.version >= (1, 1) and not self.started:
            await self.send(encode.head(encode.status_line(status), fields))

    async def respond(self, status: int, fields: Sequence[Field], body: bytes, *, reason: bytes | None = None) -> None:
        """A whole response in one write."""
        self.kind = "buffered"
        wishes = encode.sift(tuple(fields))
        if self._bodiless(status):
            declared = wishes.length if not body else len(body)
            data = self._head(status, reason, wishes, BodyFraming.NONE, None if status == 204 else declared)
        else:
            data = self._head(status, reason, wishes, BodyFraming.LENGTH, len(body)) + body
            self.sent = len(body)
        try:
            if (sent := self._send_now(data)) < len(data):
                await self._send_rest(memoryview(data)[sent:])
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
            await self.send(self._head(status, reason, wishes, framing, length))
        except PeerGone as exc:
            self._tell_send_failed(HEADS.get(self.kind, "response_head"), exc)
            raise
        return framing is not BodyFraming.NONE

    async def send_body(self, data: bytes) -> None:
        """A piece of the body; a checkpoint, so a fast peer and a fast producer do not starve their neighbours."""
        await trio.lowlevel.checkpoint()
        if data:
            self._account(len(data))
            await self.send(encode.chunk(data) if self.framing is BodyFraming.CHUNKED else data)
            self.sent += len(data)

    async def send_file(self, file: OpenFile, offset: int, length: int) -> None:
        """A range of a file: from the kernel on a plain socket, read in threads elsewhere."""
        try:
            if self.wire is None or self.framing is BodyFraming.CHUNKED:
                await self._send_file_read(file, offset, length)
            else:
                self._account(length)
                for at in range(offset, offset + length, SLICE):
                    await self._send_slice(self.wire, file, at, min(SLICE, offset + length - at))
        except PeerGone as exc:
            self._tell_send_failed("sendfile_body", exc)
            raise

    async def _send_slice(self, wire: SocketWire, file: OpenFile, at: int, count: int) -> None:
        if not file.is_cached(at, count):
            await file.read(at, count)  # sendfile would block the loop on a cold page
        with self._writing(), trio.move_on_after(self.context.timeouts.write) as scope:
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
        self.ended = True

    async def take_over(
        self, status: int | None, fields: Sequence[Field] = (), *, replay_head: bool = False
    ) -> trio.abc.Stream:
        """Writes a head, if any, and gives up the rest of the wire: HANDED_OFF has no deadline but the drain's."""
        if not self.body_done:
            raise RuntimeError("read the request's body before handing its stream over")
        if status == 101 and self.head.version < (1, 1):
            raise HTTPError(400, "An HTTP/1.0 connection cannot be upgraded.\n")  # RFC 9110 section 15.2
        self.keep = False
        if status is not None:
            try:
                await self.send(encode.head(encode.status_line(status), (*fields, *self.extra)))
            except PeerGone as exc:
                self._tell_send_failed("handoff_response", exc)
                raise
        self.status = status or 101
        self.taken_over = True
        self.phase.enter(Phase.HANDED_OFF, float("inf"))
        early = self.engine.release()
        return PrefixedStream(self.head.raw + early if replay_head else early, self.stream)

    async def send(self, data: bytes) -> None:
        """Sends all of ``data``: at once when the socket takes it, else bounded by the write timeout (N31)."""
        if (sent := self._send_now(data)) < len(data):
            await self._send_rest(memoryview(data)[sent:])

    def _send_now(self, data: bytes) -> int:
        if self.broken:
            raise PeerGone("an earlier write was not finished")
        if self.wire is None:
            return 0
        try:
            return self.wire.send_now(data)
        except trio.BrokenResourceError as exc:
            raise self._lost("the peer went away") from exc

    async def _send_rest(self, data: memoryview) -> None:
        with self._writing():
            for at in range(0, len(data), WRITE_SIZE):
                with trio.move_on_after(self.context.timeouts.write) as scope:
                    try:
                        await self.stream.send_all(data[at : at + WRITE_SIZE])
                    except trio.BrokenResourceError as exc:
                        raise self._lost("the peer went away") from exc
                if scope.cancelled_caught:
                    raise self._lost("the peer does not take its response in time")
            self.broken = False

    def _writing(self) -> _Writing:
        return _Writing(self)

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
        return self.head.method == b"HEAD" or status in (204, 304)

    def _head(
        self,
        status: int,
        reason: bytes | None,
        wishes: encode.Wishes,
        framing: BodyFraming,
        length: int | None,
    ) -> bytes:
        """The final head. Here, and only here, it is decided whether the connection goes on, and said so (N12, N20)."""
        if self.started:
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

    def __init__(self, exchange: Http1Exchange) -> None:
        self.exchange = exchange
        self.before = exchange.phase.phase

    def __enter__(self) -> None:
        self.exchange.phase.phase = Phase.RESPOND
        self.exchange.broken = True

    def __exit__(self, *exc_info: object) -> None:
        self.exchange.phase.phase = self.before
