"""One stream as an exchange: its request, its body, and (in its base) its response.

A task of the pool has one, and uses it for one stream after another. What the engine tells of the stream in hand comes
in as :class:`~roadrunner_trio.protocol.http2.stream.Owner`: from inside of the engine, so it only takes a note and
wakes whoever waits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import trio

from ...answering.buffers import Share
from ...errors import HTTPError, ProtocolError
from ...fields import Field
from ...messages.exchange import Plan
from ...messages.request import Request
from ...protocol.heads import Framing
from ...protocol.http2.engine import Http2Engine, Stream
from ...protocol.http2.frames import CANCEL, INTERNAL_ERROR
from ...protocol.wishes import undelimited
from ...transport.gone import BodyTimeout, PeerGone
from ...transport.phases import Phase
from ...transport.poller import WOKEN
from ...transport.streams import GRACE, Address, RateMeter, own_end
from ...transport.wire import SocketWire
from ..carrier import Carrier
from ..http1_exchange import GULPS, NO_PLAN
from ..http1_sender import OVER, UNREAD
from ..presence import Grace, in_handler, look_away, miss
from ..report import tell_acknowledged
from .alarm import Alarm
from .sender import StreamSender
from .tunnel import Tunnel
from .writer import Writer

SHARE: Final = 4
"""A body of which more than such a part of the connection's window is unread may keep the others waiting."""
PEER_RESET: Final = "peer_reset"
SWITCHING: Final = frozenset({b"connection", b"upgrade", b"sec-websocket-accept"})
"""Fields of a 101 that a 200 to an extended CONNECT has no use for (RFC 8441 section 5)."""


class StreamExchange(StreamSender):
    """The request in hand.

    Attributes:
        task: who serves it, from stream to stream.
        parked: that task waits for a stream.
        plan: what the application wants done with it.
        meter: how fast its peer sends it.
        grace: the time it has left when its peer has gone; made when first needed.
        judged: by its head alone, for the time being: its body is not to be read, or is refused.
        share: what its content counts for among what all connections hold.
    """

    __slots__ = (
        "_alarm",
        "_continue_owed",
        "_full",
        "_gathers",
        "_gulps",
        "_late",
        "_lost",
        "_readers",
        "_released",
        "_unread",
        "_waiting",
        "grace",
        "judged",
        "meter",
        "parked",
        "plan",
        "share",
        "task",
    )

    def __init__(self, conn: Carrier, engine: Http2Engine, writer: Writer) -> None:
        self.share = Share(conn.context.buffered)
        self.grace: Grace | None = None
        self.meter = RateMeter(conn.context.limits.min_bytes_per_second)
        self.task: trio.lowlevel.Task | None = None
        self.parked = False
        self._alarm: Alarm | None = None
        self._unread: Alarm | None = None
        self._gulps = self._released = 0
        self._readers: trio.lowlevel.ParkingLot | None = None
        self._waiting: trio.lowlevel.ParkingLot | None = None
        super().__init__(conn, engine, writer)

    def reset(self) -> None:
        """Nothing is in hand."""
        super().reset()
        self.plan = NO_PLAN
        self.judged = self._continue_owed = self._gathers = self._late = self._full = False
        self._lost = ""

    # -- from stream to stream ---------------------------------------------------------------------

    def take(self, stream: Stream) -> None:
        """This is in hand now; if its task rests, that goes on."""
        self.stream = stream
        stream.owner = self
        if self.parked and self.task is not None:
            self.parked = False
            trio.lowlevel.reschedule(self.task, WOKEN)

    def dismiss(self) -> None:
        """Ends its task, which rests."""
        if self.parked and self.task is not None:
            self.parked = False
            trio.lowlevel.reschedule(self.task, WOKEN)

    def unpark(self, _: object) -> trio.lowlevel.Abort:
        """Trio's word: its task is cancelled while it rests."""
        self.parked = False
        return trio.lowlevel.Abort.SUCCEEDED

    def begin(self, stream: Stream) -> None:
        """The request of the stream in hand, whose head has been judged."""
        conn = self.conn
        if stream.head is not None:
            self.head = stream.head
            self.request = Request(stream.head, self, conn.drain, conn.peer, conn.scheme, conn.context.name)
            if conn.transport is not None:
                self.request.tls, self.request.proxy = conn.transport

    def close(self) -> None:
        """The stream in hand is over, whatever it has come to: its place is free, and nobody waits in its name."""
        stream, engine = self.stream, self.engine
        self.request.detach()
        if stream.complete:
            engine.release(stream)
        else:
            if self.taken_over and not (stream.finished or (self._content and self._content.data)):  # that is no end
                engine.send_data(stream, b"", True)
            engine.release(stream, CANCEL if self._lost or self.phase.expired else INTERNAL_ERROR)
            self.writer.soon()
        if self.share.held:
            self.share.release()
        if self.waited:
            self._end_waits()
        if self.grace is not None:
            look_away(self)
        self.phase.phase, self.phase.deadline = Phase.IDLE, math.inf
        self.reset()

    def _end_waits(self) -> None:
        self._wake_all()
        if self._content is not None:
            self._content.discard()
        for alarm in (self._alarm, self._unread):
            if alarm is not None:
                alarm.unset()

    def end(self) -> None:
        """Its task is over."""
        self.phase.close()
        for alarm in (self._alarm, self._unread):
            if alarm is not None:
                alarm.discard()

    # -- what it has of its connection -------------------------------------------------------------

    @property
    def wire(self) -> SocketWire | None:
        """None: others are on it."""
        return None

    @property
    def local(self) -> Address:
        """Our end: host and port, or the path of a Unix socket; the listener's name where it is no socket of ours."""
        name = self.context.name
        return name if self.conn.wire is None else own_end(self.conn.wire, name)

    @property
    def gone(self) -> bool:
        """Whether nothing more comes from the peer, or can be said to it."""
        return self.stream.lost or self.conn.gone

    @property
    def gone_now(self) -> bool:
        """Whether the peer is known to have gone, or to have taken its request back; nobody waits to find out."""
        return self.stream.lost or self.conn.gone or self.conn.hung_up

    @property
    def was_reset(self) -> bool:
        """Whether the peer has reset the stream, or the connection."""
        return self.stream.lost or self.conn.was_reset

    @property
    def received(self) -> int:
        """Octets of the request's content that have come."""
        return self.stream.received

    # -- what the engine tells ---------------------------------------------------------------------

    def body_arrived(self) -> None:
        """Something of the body has come, or its end, or what is wrong with it."""
        stream = self.stream
        if self._gathers and not (stream.ended or stream.error or stream.lost):
            if self.share.hold(stream.received):
                return
            self._full = True
        elif not self._gathers and SHARE * len(stream.body) >= self.context.limits.connection_window:
            self._watch_unread()
        self.wake_readers()

    def _watch_unread(self) -> None:
        """What nobody reads is a large part of what the peer may send on the whole connection: for so long, no longer.

        Else some that sleep would keep all others from their bodies.
        """
        if self._unread is None:
            self._unread, self.waited = Alarm(self.clock, self._forgo), True
        if self._unread.deadline == math.inf:
            self._unread.set(self.phase.now() + self.timeouts.body)

    def _forgo(self) -> None:
        """The alarm's word: nobody has read it."""
        stream = self.stream
        if SHARE * len(stream.body) >= self.context.limits.connection_window and not stream.lost:
            self.engine.reset(stream, CANCEL)
            self.writer.soon()
            self.stream_lost(CANCEL, "body_unread")

    def window_opened(self) -> None:
        """The stream's window lets something through again."""
        if self._content is not None:
            self.writer.window_opened(self._content)

    def stream_lost(self, code: int, reason: str) -> None:
        """The stream is over before its time."""
        self._lost = reason
        if reason == PEER_RESET:
            self.context.counters.streams_reset += 1
        self.left()

    def left(self) -> None:
        """The peer has left this request, or all of them: who waits for the end learns of it, before anything else."""
        self._wake_all()
        if in_handler(self):
            miss(self)

    def _wake_all(self) -> None:
        self.wake_readers()
        if self._waiting is not None:
            self._waiting.unpark_all()
        if self._content is not None and self.gone:
            self._content.wake()

    # -- the octets that come ----------------------------------------------------------------------

    def expect_body(self, plan: Plan) -> bool:
        """Prepares for the body as planned; whether anything is to be done before the handler runs.

        Raises:
            ProtocolError: 413, when it is declared larger than planned.
        """
        self.plan = plan
        stream, head = self.stream, self.head
        if head.framing is Framing.NONE:  # a tunnel's octets are no content
            self.body_done = True
            self.request.keep_body(b"")
            if stream.tunnel:
                self.engine.limit_body(stream, None)
            return bool(plan.early)
        self.engine.limit_body(stream, plan.max_body)
        self._continue_owed = head.expects_continue and not stream.received  # N17
        self.meter.reset()
        return plan.body == "buffered" or bool(plan.early)

    async def receive_body(self) -> bytes:
        """The next piece of the body; ``b""`` at its end.

        Raises:
            RuntimeError: the exchange has ended in the meantime; or nobody is to read it yet.
        """
        request = self.request
        if self.judged:
            raise RuntimeError(UNREAD)
        while not self.body_done:
            if self._gulps >= GULPS:
                self._gulps = 0
                await trio.lowlevel.checkpoint()  # the neighbours' turn
                if request.over:
                    raise RuntimeError(OVER)
            if piece := self._next_piece():
                return piece
            if not self.body_done:
                await self._await_body(request)
        return b""

    def _next_piece(self) -> bytes:
        stream = self.stream
        piece = self.engine.take_body(stream)
        if piece:
            self.has_read()
            self._gulps += 1
        if stream.ended and not stream.body:
            self._finish_body()
        elif stream.lost and not piece:
            raise self._broken_off()
        return piece

    def has_read(self) -> None:
        """Octets were taken, whose time is over; the peer may send as many."""
        if self._unread is not None:
            self._unread.unset()
        self.writer.soon()

    def _finish_body(self) -> None:
        self.body_done = True
        if self.stream.trailers:
            self.request.trailers = self.stream.trailers  # N68

    def _broken_off(self) -> Exception:
        if self._lost and self._lost != PEER_RESET:
            return ProtocolError(400, self._lost)
        return PeerGone("the peer went away inside a request body")  # N67

    async def _await_body(self, request: Request) -> None:
        if self.meter.slow:
            raise self._too_slow()  # E11
        self._ask_for_body()
        before, came, released = self.phase.now(), self.stream.received, self._released
        if self.phase.phase is not Phase.READ_BODY:
            self._set_alarm(before + self.timeouts.body - self.meter.waited)
        await self._park_reader()
        if request.over or self.request is not request or released != self._released:
            raise RuntimeError(OVER)
        if self._alarm is not None:
            self._alarm.unset()
        self.meter.add(self.stream.received - came, self.phase.now() - before)
        if self._late and self.stream.received == came:
            raise BodyTimeout("the peer took too long to send its body")
        self._gulps = 0

    def _ask_for_body(self) -> None:
        if self._continue_owed:
            self._continue_owed = False
            self.engine.send_interim(self.stream, 100)
        if self.engine.output:
            self.writer.soon()

    async def _park_reader(self) -> None:
        if self.conn.gone or self.engine.over:  # while it is only known to have hung up, there may be more to read
            raise self._broken_off()
        await self.await_content()

    def _set_alarm(self, deadline: float) -> None:
        if self._alarm is None:
            self._alarm, self.waited = Alarm(self.clock, self._ring), True
        self._late = False
        self._alarm.set(deadline)

    def _ring(self) -> None:
        self._late = True
        self.wake_readers()

    def _too_slow(self) -> Exception:
        if self.phase.phase is Phase.READ_BODY:
            return ProtocolError(408, "body_too_slow")
        return BodyTimeout("the peer sends its body more slowly than the minimum rate")

    async def gather_body(self) -> bytes:
        """The whole body, which counts among what all connections hold until the exchange is over.

        Nobody is woken for its pieces: the rate is judged when it is time for that.

        Raises:
            ProtocolError: 503, when together they would hold more than they may; 413; 408, it comes too slowly.
        """
        stream, engine = self.stream, self.engine
        if self.head.content_length > self.share.room:
            raise ProtocolError(503, "max_buffered")
        self._gathers = True
        began, least = self.phase.now(), self.meter.least
        if not engine.gather(stream):
            self._ask_for_body()
        while not stream.ended:
            self._check_gathering(stream)
            if least:
                due = began + max(GRACE, stream.received / least)
                if self.phase.now() >= due:
                    raise self._too_slow()
                self._set_alarm(due)
            await self._park_reader()
        if self._alarm is not None:
            self._alarm.unset()
        body = engine.take_body(stream)
        self._finish_body()
        return bytes(body)

    def _check_gathering(self, stream: Stream) -> None:
        if stream.error is not None:
            raise ProtocolError(stream.error.status, stream.error.reason)
        if stream.lost:
            raise self._broken_off()
        if self._full or not self.share.hold(stream.received):
            raise ProtocolError(503, "max_buffered")

    # -- a tunnel ----------------------------------------------------------------------------------

    async def await_content(self) -> None:
        """Until something has come: octets, an end, a reset."""
        if self._readers is None:
            self._readers, self.waited = trio.lowlevel.ParkingLot(), True
        await self._readers.park()

    def wake_readers(self) -> None:
        """Whoever waits for content looks again."""
        if self._readers is not None:
            self._readers.unpark_all()

    # -- the peer that leaves ----------------------------------------------------------------------

    async def disconnected(self) -> None:
        """Returns when the peer has gone, or has taken its request back; or when waiters are released."""
        request, released = self.request, self._released
        while not self.gone_now and released == self._released:
            if request.over:
                raise RuntimeError(OVER)
            if self._waiting is None:
                self._waiting, self.waited = trio.lowlevel.ParkingLot(), True
            await self._waiting.park()
            if request.over or self.request is not request:
                raise RuntimeError(OVER)

    def release_waiters(self) -> None:
        """The response is complete, or a WebSocket decided upon: nobody waits for the peer any more."""
        self._released += 1
        self._wake_all()
        if self.ended:
            self.phase.deadline = math.inf  # the time of a handler is until its response is complete

    def give_up(self, reason: str) -> None:
        """Cancels the request in hand, to which nothing will be written any more."""
        if not self.phase.scope.cancel_called:
            self.phase.deadline = math.inf  # time that runs out while the handler cleans up is no timeout
            self.phase.end(reason)

    def acknowledge_drain(self) -> None:
        """Counts and tells that the handler knows of the drain."""
        tell_acknowledged(self)

    async def take_over(
        self, status: int | None, fields: Sequence[Field] = (), *, replay_head: bool = False
    ) -> trio.abc.Stream:
        """Answers a CONNECT with 2xx, and gives its stream as one that can be half-closed (RFC 8441, RFC 9113 8.5).

        A 101, which HTTP/2 does not have, is said as 200: whoever makes a WebSocket need not know.

        Raises:
            HTTPError: 501: it is no CONNECT, or its head is to be read again.
        """
        tunnel = bool(self.head.protocol) or self.head.method == b"CONNECT"
        if not tunnel or status is None or replay_head:
            raise HTTPError(501, "HTTP/2 has no upgrade.\n")
        if self.status:
            raise RuntimeError("the response has begun already")
        if status == 101:
            status, fields = 200, [field for field in fields if field[0] not in SWITCHING]
        said = undelimited((*fields, *self.extra))
        if self.gone:
            raise self._failed("handoff_response", PeerGone("the peer has taken its request back"))
        self.engine.send_head(self.stream, status, self.context.sift_http2(said), None, False)
        self.writer.soon()
        self.status, self.taken_over = status, True
        self.extra: Sequence[Field] = ()
        self.phase.enter(Phase.HANDED_OFF, math.inf)
        return Tunnel(self)
