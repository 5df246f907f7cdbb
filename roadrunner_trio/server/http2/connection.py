"""The story of a connection that speaks HTTP/2: one task that reads, and one for each stream in hand.

    read: octets, streams that are ready, and what they are answered in one send; again, as long as the peer likes
    and for each stream, in a task of the pool:
    read a request, read its body, dispatch it, finish

The task of the connection becomes the reader. It asks the engine for the next ready stream until there is none, and
gives each to a task that rests, or to a new one; then it reads on. In that task the request is planned, let in, read
and dispatched by the functions of :mod:`..connection`, for a stream is an exchange like any other. What they write
gathers, and goes out when the turn is over (:mod:`.writer`).

A task of the pool has one cancel scope, entered once in its life. RST_STREAM, a deadline or a peer that left cancel
it; then the task ends, and the next stream gets a new one. The place of a stream is free when its handler has ended,
not when its peer has lost interest: so nothing multiplies that a peer takes back.

A breach of the protocol ends the connection with a GOAWAY. A drain says GOAWAY twice, so that no request is lost that
crosses the first, and streams finish. Whatever happens, nothing but a cancellation leaves this task.
"""

from __future__ import annotations

import math
import time
from contextlib import suppress
from typing import ClassVar, Final

import trio

from ...answering.faults import leaves, part_ways
from ...errors import ProtocolError
from ...journal import log
from ...protocol.http2.engine import NEED_DATA, ConnectionFailed, Http2Engine, Stream
from ...protocol.http2.frames import NO_ERROR, REFUSED_STREAM
from ...telemetry.observe import ConnectionBroken
from ...transport.phases import Phase
from ...transport.streams import RateMeter, linger, shown
from ...transport.tls_stream import close_notify
from ...transport.wire import RECEIVE_SIZE, PeerGone, PeerTooSlow
from ..carrier import LAST_WORD, LINGER_OCTETS, QUIET, Carrier
from ..connection import OWED, admit, dispatch, prepare
from ..http1_exchange import BULK_SIZE
from ..report import tell_aborted, tell_rejected
from .alarm import Alarm
from .exchange import StreamExchange
from .sender import NO_STREAM
from .writer import MOST, Writer

KEPT: Final = 32
"""Tasks that rest at most, for as long as streams come."""
DISMISSED: Final = 1.0
"""Seconds without a stream after which all tasks but one are dismissed: each holds 2.5 kB."""
TURN: Final = 32
"""Streams that are begun before the neighbours have a turn."""
FLOODED: Final = 2 * MOST
"""Octets that are not sent, above which nothing is read: whoever reads no answers asks no more."""
FAREWELL: Final = 1.0
"""Seconds between the two GOAWAYs, unless the peer's system has answered sooner (RFC 9113 section 6.8)."""

LAST: Final = {Phase.READ_BODY: 503, Phase.DISPATCH: 503}
"""What a request is told that the drain's deadline has cut."""


class Http2Connection(Carrier):
    """One connection: what carries it, its engine, and the exchanges it is in.

    Args:
        before: what has carried it until now; its place is taken.

    Attributes:
        busy: exchanges that have a stream in hand, in the order in which they were begun.
        resting: exchanges whose tasks wait for a stream.
        over: nothing more is read.
        failure: the breach that has ended it.
    """

    __slots__ = (
        "_dismissal",
        "_farewell",
        "_idle_since",
        "_whole",
        "busy",
        "engine",
        "failure",
        "finished",
        "meter_in",
        "nursery",
        "over",
        "resting",
        "writer",
    )

    protocol: ClassVar[str] = "h2"

    def __init__(self, before: Carrier) -> None:
        self.succeed(before)
        context = self.context
        self.engine = Http2Engine(
            context.limits,
            self.phase.now,
            websocket=True,
            tell_breach=self.tell_breach,
            window_opened=self.window_opened,
        )
        self.writer = Writer(self, self.engine)
        self.busy: dict[StreamExchange, None] = {}
        self.resting: list[StreamExchange] = []
        self.nursery: trio.Nursery | None = None
        self.finished = self.over = False
        self.failure: ConnectionFailed | None = None
        self._dismissal: Alarm | None = None
        self._farewell: Alarm | None = None
        self._idle_since = self.born
        self.meter_in = RateMeter(context.limits.min_bytes_per_second)
        self._whole = -1

    # -- what a listener asks of it ----------------------------------------------------------------

    @property
    def doing(self) -> str:
        """What it does, in words."""
        if self.phase.phase is not Phase.SERVING:
            return super().doing
        return f"serving {len(self.busy)} stream{'s' if len(self.busy) > 1 else ''}"

    @property
    def streams(self) -> int:
        """Requests that it has in hand."""
        return len(self.busy)

    def told(self) -> None:
        """The drain's word: the peer is to open no more streams; those there are will finish."""
        self.engine.drain()
        self.writer.soon()
        self.say_farewell()

    def make_room(self) -> bool:
        """Ends an idle connection for another's sake, at once; False when a request has reached it after all."""
        if self.busy or self.pending():
            return False
        self.engine.goaway()
        self.writer.flush()
        self.gone = True  # there is nothing to linger for
        self.phase.end("another connection needs its place")
        return True

    def idle_for(self) -> float:
        """Seconds for which it has had nothing in hand."""
        return self.phase.now() - self._idle_since

    def heard(self) -> int:
        """Octets that have come of a frame that is due."""
        return self.meter_in.octets

    def peer_left(self) -> None:
        """The poller's word: for every stream its grace begins, or it ends at once."""
        for exchange in list(self.busy):
            exchange.left()

    # -- what the engine tells ---------------------------------------------------------------------

    def window_opened(self) -> None:
        """The connection's window, or those of all streams, let something through again."""
        self.writer.window_opened()

    def tell_breach(self, stream: int, code: int, reason: str) -> None:
        """The engine has reset a stream, or refused one."""
        counters = self.context.counters
        if code == REFUSED_STREAM:
            counters.streams_refused += 1
        else:
            counters.streams_reset += 1
        log.debug("stream %d of %s is reset with %d: %s", stream, shown(self.peer), code, reason)

    # -- the pool ----------------------------------------------------------------------------------

    def begin(self, stream: Stream) -> None:
        """Has a stream served, by a task that rests or by a new one."""
        if stream.owner is not None:  # it was asked for once more, with its body
            return stream.owner.body_arrived()
        if not self.busy:
            self.phase.enter(Phase.SERVING, math.inf)
        self.served += 1
        if self.resting:
            exchange = self.resting.pop()
        else:
            exchange = StreamExchange(self, self.engine, self.writer)
            self._hire(exchange)
        self.busy[exchange] = None
        return exchange.take(stream)

    def _hire(self, exchange: StreamExchange) -> None:
        if self.nursery is not None:
            name = f"{self.context.name}: {shown(self.peer)}, a stream"
            self.nursery.start_soon(serve_streams, self, exchange, name=name)

    def let_go(self, exchange: StreamExchange, *, rests: bool) -> bool:
        """The stream of an exchange is over; whether its task may rest."""
        self.busy.pop(exchange, None)
        if not self.busy:
            self.settle()
            self.leave_if_done()
        if not rests or self.over or len(self.resting) >= KEPT:
            return False
        self.resting.append(exchange)
        return True

    def settle(self) -> None:
        """No frame is due any more, or no stream in hand: the connection is idle, or it serves."""
        if self.phase.phase in (Phase.SERVING, Phase.READ_REQUEST):
            timeouts = self.context.timeouts
            if self.busy:
                self.phase.enter(Phase.SERVING, math.inf)
            else:
                self.phase.enter(Phase.IDLE, timeouts.keep_alive if self.served else timeouts.request)
                self._idle_since = self.phase.now()
                if len(self.resting) > 1 and (self._dismissal is None or self._dismissal.armed == math.inf):
                    self._dismissal = self._dismissal or Alarm(self.context.clock, self._dismiss)
                    self._dismissal.set(self._idle_since + DISMISSED)

    def _dismiss(self) -> None:
        """The alarm's word: it may have been idle for a while."""
        if self.busy or self._dismissal is None:
            return
        due = self._idle_since + DISMISSED
        if due > self.phase.now():
            self._dismissal.set(due)
            return
        while len(self.resting) > 1:
            self.resting.pop().dismiss()

    # -- its end -----------------------------------------------------------------------------------

    def watch(self) -> None:
        """All that has come has been looked at. A frame that has begun has its time, and so has the preface."""
        engine = self.engine
        if engine.closing or engine.draining:
            self.say_farewell()
        if engine.partial or not engine.greeted:
            whole = getattr(engine, "whole", 0) if engine.greeted else -1
            if self.phase.phase is not Phase.READ_REQUEST or whole != self._whole:
                self._whole = whole
                self.meter_in.reset()
                self.phase.enter(Phase.READ_REQUEST, self.context.timeouts.request)
        elif self.phase.phase is Phase.READ_REQUEST:
            self.settle()

    def say_farewell(self) -> None:
        """The first GOAWAY is out: the second follows in a second, or has followed an answer of the peer's system."""
        if self.engine.closing:
            self.leave_if_done()
        elif self._farewell is None:
            self._farewell = Alarm(self.context.clock, self._go_away)
            self._farewell.set(trio.current_time() + FAREWELL)

    def _go_away(self) -> None:
        self.engine.goaway()
        self.writer.soon()
        self.leave_if_done()

    def leave_if_done(self) -> None:
        """Ends it, if nothing is in hand and nothing more will come."""
        if (self.over or self.engine.closing) and not self.busy and self.nursery is not None:
            self.nursery.cancel_scope.cancel(reason="every stream of the connection is done")

    def fail(self, failure: ConnectionFailed) -> None:
        """The peer has broken a rule, for which all ends; GOAWAY has been said."""
        self.failure = failure
        counters, observers = self.context.counters, self.context.observers
        counters.goaways += 1
        log.debug("the connection of %s ends with %d: %s", shown(self.peer), failure.code, failure.reason)
        if observers.connection_failed:
            event = ConnectionBroken(self.context.name, self.peer, failure.code, failure.reason, time.time())
            observers.tell(observers.connection_failed, event)
        if self.nursery is not None:
            self.nursery.cancel_scope.cancel(reason=f"the peer has broken a rule of HTTP/2: {failure.reason}")

    async def close(self) -> None:
        """Gives up everything the connection holds; never waits for the peer beyond the last word."""
        cut = not self.finished and self.drain.cut < math.inf
        try:
            if cut:
                self.engine.goaway()
                with trio.move_on_after(LAST_WORD, shield=True):
                    await self.try_to("take the last word", self.writer.settle)
        finally:
            self.phase.close()
            for alarm in (self._dismissal, self._farewell):
                if alarm is not None:
                    alarm.discard()
            self.writer.close()
            self.drain.leave(self)
            self.context.counters.cut += cut
            self.tell_close()
            self.closed = True
            if self.wire is not None:
                self.wire.close()
            else:
                await self.try_to("close", trio.aclose_forcefully, self.stream)


async def serve_http2(before: Carrier, early: bytes) -> None:
    """Serves what has turned out to speak HTTP/2, and closes it. Raises nothing but a cancellation of its own, and
    KeyboardInterrupt.

    Args:
        before: what has carried the connection until now.
        early: what has come of HTTP/2.
    """
    conn = Http2Connection(before)
    try:
        try:
            await live(conn, early)
            await part(conn)
            conn.finished = True
        except BaseException as exc:
            error, onward = part_ways(exc)
            if error is not None:
                log.error("the connection of %s failed", shown(conn.peer), exc_info=error)
            if onward is not None and (error is None or is_operators(onward)):
                raise
    finally:
        await conn.close()


def is_operators(exc: BaseException) -> bool:
    """Whether a KeyboardInterrupt is in what has to go on."""
    return any(isinstance(leaf, KeyboardInterrupt) for leaf in leaves(exc))


async def live(conn: Http2Connection, early: bytes) -> None:
    """The life of a connection, in its one cancel scope and its one nursery."""
    with conn.phase.scope:
        async with trio.open_nursery() as conn.nursery:
            if conn.writer.by_task:
                conn.nursery.start_soon(conn.writer.run, name=f"{conn.context.name}: {shown(conn.peer)}, writer")
            try:
                await read(conn, early)
            except ConnectionFailed as failure:
                conn.fail(failure)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                conn.gone = True
            conn.over = True
            conn.hung_up = True
            conn.peer_left()
            conn.leave_if_done()
    conn.nursery = None


async def read(conn: Http2Connection, early: bytes) -> None:
    """The reader: octets in, streams to those who serve them, until the peer has ended or a rule is broken."""
    engine, writer, data = conn.engine, conn.writer, early
    conn.phase.enter(Phase.READ_REQUEST, conn.context.timeouts.request)
    writer.soon()  # our SETTINGS
    while True:
        if data:
            engine.receive(data)
        if not await take_on(conn):
            return
        conn.watch()
        if writer.backlog > FLOODED:
            await writer.room()
        came = await receive(conn, len(data or b""))
        if came is not None and not came:
            engine.receive(b"")
        data = bytes(came or b"")


async def take_on(conn: Http2Connection) -> bool:
    """Begins the streams that are ready; False when there will be no more."""
    engine, turn = conn.engine, TURN
    try:
        while isinstance(stream := engine.next_ready(), Stream):
            conn.begin(stream)
            turn -= 1
            if not turn:
                turn = TURN
                await trio.lowlevel.checkpoint()
    finally:
        if engine.output:
            conn.writer.soon()
    return stream is NEED_DATA


async def receive(conn: Http2Connection, before: int) -> bytes | bytearray | None:
    """What comes next; of a frame that has begun no slower than a peer may be (E7).

    Args:
        before: octets that came the last time: who sends much is read from in larger pieces.

    Raises:
        PeerTooSlow: it is slower.
    """
    most = BULK_SIZE if before > RECEIVE_SIZE // 2 else RECEIVE_SIZE
    if conn.phase.phase is not Phase.READ_REQUEST:
        return await conn.receive(most)
    meter = conn.meter_in
    if meter.slow:
        raise PeerTooSlow("the peer sends a frame more slowly than the minimum rate")
    began = trio.current_time()
    data = await conn.receive(most)
    meter.add(len(data or b""), trio.current_time() - began)
    return data


async def serve_streams(conn: Http2Connection, exchange: StreamExchange) -> None:
    """A task of the pool: one stream after another, each in a context of its own, until one has to be cancelled."""
    exchange.task = task = trio.lowlevel.current_task()
    try:
        with exchange.phase.scope:
            while exchange.stream is not NO_STREAM:
                await serve_stream(exchange)
                if not conn.let_go(exchange, rests=not exchange.phase.over):
                    return
                task.context = conn.context.variables.copy()  # from the next wait on
                await exchange.rest()
    finally:
        exchange.end()
        conn.let_go(exchange, rests=False)


async def serve_stream(exchange: StreamExchange) -> None:
    """One request, from its head to the end of its stream. Raises nothing but a cancellation, and KeyboardInterrupt."""
    context = exchange.context
    try:
        read_request(exchange)
        if (gate := context.gate) is not None and not gate.spares(exchange.request):
            await admit(exchange, gate)
        elif not exchange.expect_body(context.app.plan(exchange.request)) or await prepare(exchange):
            await dispatch(exchange)
    except ProtocolError as error:
        reject(exchange, error)
    except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
        tell_aborted(exchange, "timeout" if isinstance(error, PeerTooSlow) else "peer_gone", None)
    except BaseException as exc:
        fault, onward = part_ways(exc)
        if fault is not None:
            log.error("a stream of %s failed", shown(exchange.peer), exc_info=fault)  # ours, or an app's plan
            tell_aborted(exchange, "error", 500)
            exchange.say_now(500)
        if onward is not None:
            raise
    finally:
        finish(exchange)


def read_request(exchange: StreamExchange) -> None:
    """The request, whose head has been judged.

    Raises:
        ProtocolError: it is not one that is answered otherwise.
        PeerGone: it has been taken back meanwhile.
    """
    stream, context = exchange.stream, exchange.context
    if stream.error is not None:
        exchange.phase.phase = Phase.READ_REQUEST
        raise stream.error
    exchange.begin(stream)
    context.counters.requests += 1
    if stream.lost:
        raise PeerGone("the peer has taken its request back")
    for step in context.on_head:
        step(exchange)


def reject(exchange: StreamExchange, error: ProtocolError) -> None:
    """The one answer to a request that breaks the protocol or a limit, and the end of its stream."""
    tell_rejected(exchange, error)
    exchange.say_now(error.status)


def finish(exchange: StreamExchange) -> None:
    """The end of a stream, whatever it has come to; one that was cut short is told why, if anybody is there."""
    if not (exchange.ended or exchange.taken_over):
        expire(exchange)
    exchange.close()


def expire(exchange: StreamExchange) -> None:
    """What the peer is owed when its request ends by our will, or by the drain's deadline."""
    phase, status = exchange.phase, None
    if phase.expired or exchange.drain.cut <= trio.current_time():
        status = (OWED if phase.expired else LAST).get(phase.phase)
    tell_aborted(exchange, "timeout" if phase.expired else "peer_gone" if exchange.gone else "cancelled", status)
    if status is not None:
        exchange.say_now(status)


async def part(conn: Http2Connection) -> None:
    """The last word, and a close that the peer can read: a reset must not destroy what it has yet to read (N72)."""
    if conn.gone or conn.broken:
        return
    timeouts, quiet = conn.context.timeouts, conn.phase.phase is Phase.IDLE and conn.idle_for() >= QUIET
    conn.engine.goaway(NO_ERROR)
    with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        patience = timeouts.linger if conn.failure is not None else timeouts.write
        with trio.move_on_at(min(trio.current_time() + patience, conn.drain.cut)) as waiting:
            await conn.writer.settle()
        if waiting.cancelled_caught:
            return
        with trio.move_on_at(min(trio.current_time() + timeouts.linger, conn.drain.cut)):
            if conn.tls is not None:
                conn.stream = await close_notify(conn.tls)
            conn.phase.phase = Phase.FINISH
            await linger(conn.stream, timeouts.linger, LINGER_OCTETS, idle=quiet)
