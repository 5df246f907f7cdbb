"""A connection of HTTP/2: what carries it, its streams in hand, the tasks that rest, and its deadlines.

What is done with it is told in :mod:`.connection`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import ClassVar, Final, NamedTuple

import outcome
import trio

from ...journal import log
from ...protocol.http2.engine import NEED_DATA, ConnectionFailed, Http2Engine, Signal, Stream
from ...protocol.http2.frames import REFUSED_STREAM
from ...telemetry.observe import ConnectionBroken
from ...transport.phases import Phase
from ...transport.poller import WOKEN
from ...transport.streams import RateMeter, shown
from ...transport.tls_stream import RecordLayer
from ...transport.wire import RECEIVE_SIZE, SocketWire
from ..carrier import LAST_WORD, Carrier
from ..dormitory import FAREWELL
from ..http1_exchange import BULK_SIZE
from .alarm import Alarm
from .exchange import StreamExchange
from .parked import ParkedHttp2, Resume
from .writer import MOST, Writer

TURN: Final = 32
"""Streams that are begun before the neighbours have a turn."""
TURN_SIZE: Final = 16384
"""Octets that are looked at before they have one: the costliest of heads take 50 µs a kilobyte."""
BULKY: Final = RECEIVE_SIZE // 2
"""Octets in one read, above which more are read at once the next time."""
FLOODED: Final = 2 * MOST
"""Octets that are not sent, above which nothing is read: whoever reads no answers asks no more."""
KEPT: Final = 32
"""Tasks that rest at most, for as long as streams come."""
DISMISSED: Final = 1.0
"""Seconds without a stream after which all tasks are dismissed: each holds 2.5 kB, and a new one costs 10 µs."""


class Http2Connection(Carrier):
    """One connection: what carries it, its engine, and the exchanges it is in.

    Args:
        before: what has carried it until now; its place is taken.
        tale: how its tasks go on.
        engine: what another has left, whose connection this is again; else there is a new one.

    Attributes:
        busy: exchanges that have a stream in hand, in the order in which they were begun.
        resting: exchanges whose tasks wait for a stream.
        most: octets that are read at once: more of a peer that sends much.
        listener: the task that reads, while it waits for octets and for nothing else.
        over: nothing more is read.
    """

    __slots__ = (
        "_dismissal",
        "_farewell",
        "_idle_since",
        "_rested",
        "_whole",
        "busy",
        "engine",
        "finished",
        "listener",
        "meter_in",
        "most",
        "nursery",
        "over",
        "resting",
        "tale",
        "writer",
    )

    protocol: ClassVar[str] = "h2"

    def __init__(self, before: Carrier, tale: Tale, engine: Http2Engine | None = None) -> None:
        self.succeed(before)
        self.tale = tale
        context = self.context
        self.engine = engine or Http2Engine(context.limits, self.phase.now, websocket=context.websockets)
        self.engine.tell_breach, self.engine.window_opened = self.tell_breach, self.window_opened
        self.writer = Writer(self, self.engine)
        self.busy: dict[StreamExchange, None] = {}
        self.resting: list[StreamExchange] = []
        self.nursery: trio.Nursery | None = None
        self.finished = self.over = False
        self._dismissal: Alarm | None = None
        self._farewell: Alarm | None = None
        self._idle_since = self.born
        self._rested: int = -1 if engine is None else before.served  # what was served when it began to be idle
        self.meter_in = RateMeter(context.limits.min_bytes_per_second)
        self._whole = -1
        self.most = RECEIVE_SIZE
        self.listener: trio.lowlevel.Task | None = None
        if self.wire is not None:
            self.wire.reader = self

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
        """Ends an idle connection for another's sake, at once; False when it is not idle after all, or has yet to take
        an answer."""
        if self.busy or self.pending() or self.engine.unread or self.writer.backlog:
            return False
        self.engine.goaway()
        if not self.writer.by_task:
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

    def say_unsaid(self, wire: SocketWire, layer: RecordLayer) -> None:
        """Leaves it to the writer, who knows what has yet to go out before."""
        self.writer.soon()

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

    # -- what comes --------------------------------------------------------------------------------

    def take(self, data: bytes | bytearray) -> None:
        """What has come, for the engine."""
        self.engine.receive(bytes(data))
        if len(data) > BULKY or self.most > RECEIVE_SIZE:
            self.most = BULK_SIZE if len(data) > BULKY else RECEIVE_SIZE

    def begin_ready(self) -> Signal | None:
        """Begins the streams that are ready, as many as a turn has; None when there may be more.

        Raises:
            ConnectionFailed: the peer has broken a rule.
        """
        engine, least = self.engine, -1
        for _ in range(TURN):
            stream = engine.next_ready()
            if isinstance(stream, Stream):
                self.begin(stream)
                if not engine.clear:
                    if least < 0:
                        least = engine.unread - TURN_SIZE
                    elif engine.unread < least:
                        break
                    continue
                stream = NEED_DATA
            if engine.output:
                self.writer.soon()
            return stream
        return None

    @property
    def has_said_end(self) -> bool:
        """Whether the peer has said, in TLS, that it sends no more: no edge will tell, for the wire may stay open."""
        return self.layer is not None and self.layer.ended

    def deafen(self, _: object) -> trio.lowlevel.Abort:
        """Trio's word: the task that reads is cancelled while it listens."""
        self.listener = None
        return trio.lowlevel.Abort.SUCCEEDED

    def read_now(self) -> None:
        """The wire's word that octets have come. A request costs a switch of tasks less if it is begun in here."""
        if (task := self.listener) is None:
            return
        word: outcome.Outcome[None] = WOKEN
        try:
            if self.begin_now():
                return
        except Exception as exc:  # the reader's to meet
            word = outcome.Error(exc)
        if self.listener is task:  # else what has come has ended the connection, and with it the wait
            self.listener = None
            trio.lowlevel.reschedule(task, word)
        del word  # what it holds, holds this frame

    def begin_now(self) -> bool:
        """Reads once; whether all of it has been looked at, and nothing more is due than what comes next."""
        wire, layer = self.wire, self.layer
        if wire is None or (data := wire.receive_now(self.most)) is None:
            return True
        if layer is not None:
            layer.feed(data)
            data = layer.open()
            if not (data or layer.ended):
                if layer.unsaid:
                    self.say_unsaid(wire, layer)
                return not wire.readable
        self.take(data)
        if self.begin_ready() is not NEED_DATA:
            return False
        self.watch()
        due = self.phase.phase is Phase.READ_REQUEST or self.writer.backlog > FLOODED
        return not (wire.readable or due or self.has_said_end)

    # -- the pool ----------------------------------------------------------------------------------

    def employ(self, nursery: trio.Nursery) -> None:
        """Its tasks live in here, and end with it: what ends the connection cancels the nursery."""
        self.nursery, self.phase.scope = nursery, nursery.cancel_scope
        if self.phase.over:
            self.phase.end("it was to end before it had begun")
        if self.drain.draining:  # it has told whoever was here before
            self.told()

    def begin(self, stream: Stream) -> None:
        """Has a stream served, by a task that rests or by a new one."""
        if stream.owner is not None:  # it was asked for once more, with its body
            return stream.owner.body_arrived()
        if not self.busy:
            self.phase.phase, self.phase.deadline = Phase.SERVING, math.inf
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
            self.nursery.start_soon(self.tale.stream, self, exchange, name=name)

    def let_go(self, exchange: StreamExchange, *, rests: bool) -> bool:
        """The stream of an exchange is over; whether its task may rest."""
        busy, resting = self.busy, self.resting
        busy.pop(exchange, None)
        if not busy:
            if self.phase.phase is Phase.SERVING:  # a frame that is due keeps its time
                self.settle()
            if self.over or self.engine.closing:
                self.leave_if_done()
        if not rests or self.over or len(resting) >= KEPT:
            if exchange in resting:
                resting.remove(exchange)
            return False
        resting.append(exchange)
        return True

    def settle(self) -> None:
        """No frame is due any more, or no stream in hand: the connection is idle, or it serves."""
        phase, timeouts = self.phase, self.context.timeouts
        phase.phase, phase.deadline = Phase.SERVING, math.inf
        if self.busy:
            return
        if self._rested == self.served:  # what came was no request, and moves no deadline
            phase.wake(self._idle_since, phase.end_of_rest, timeouts.park_after)
        else:
            self._rested, self._idle_since = self.served, phase.now()
            phase.rest(timeouts.keep_alive if self.served else timeouts.request, timeouts.park_after)
            if self.served and (self._dismissal is None or self._dismissal.armed == math.inf):
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
        while self.resting:
            self.resting.pop().dismiss()

    # -- without a task ----------------------------------------------------------------------------

    def _may_park(self) -> bool:
        """Whether nothing is in hand or under way, and its task but listens."""
        engine = self.engine
        if self.listener is None or self.busy or self.writer.backlog or engine.places or not engine.greeted:
            return False
        waits = engine.partial or engine.draining or engine.peer_leaves
        return not (waits or (self.layer is not None and self.layer.unsaid))

    def park(self) -> bool:
        """The clock's word, that it has been idle for long: whether it gives up its tasks."""
        slot = partial(ParkedHttp2, engine=self.engine, resume=self.tale.resume)
        if not self._may_park() or self.context.park is None or not self.context.park(self, slot):
            return False
        self.engine.rest()
        self._put_away()
        if (task := self.listener) is not None:
            self.listener = None
            trio.lowlevel.reschedule(task, WOKEN)
        return True

    def _put_away(self) -> None:
        """Nobody is told of anything any more."""
        self.phase.close()
        self.engine.tell_breach = self.engine.window_opened = None
        for alarm in (self._dismissal, self._farewell):
            if alarm is not None:
                alarm.discard()
        self.writer.close()

    # -- its end -----------------------------------------------------------------------------------

    def watch(self) -> None:
        """All that has come has been looked at. A frame that has begun has its time, and so has the preface."""
        engine = self.engine
        if engine.draining:
            self.say_farewell()
        if engine.clear or (engine.greeted and not engine.partial):
            if self.phase.phase is Phase.READ_REQUEST:
                self.settle()
            return
        whole = engine.whole if engine.greeted else -1
        if self.phase.phase is not Phase.READ_REQUEST or whole != self._whole:
            self._whole = whole
            self.meter_in.reset()
            self.phase.enter(Phase.READ_REQUEST, self.context.timeouts.request)

    def say_farewell(self) -> None:
        """The first GOAWAY is out: the second follows in a second, or has followed an answer of the peer's system.

        RFC 9113 section 6.8.
        """
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
        counters, observers = self.context.counters, self.context.observers
        counters.goaways += 1
        log.debug("the connection of %s ends with %d: %s", shown(self.peer), failure.code, failure.reason)
        if observers.connection_failed:
            event = ConnectionBroken(self.context.name, self.peer, failure.code, failure.reason, time.time())
            observers.tell(observers.connection_failed, event)
        if self.nursery is not None:
            self.nursery.cancel_scope.cancel(reason=f"the peer has broken a rule of HTTP/2: {failure.reason}")

    async def _say_last(self) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):  # it has left, or takes nothing
            await self.writer.settle()

    async def close(self) -> None:
        """Gives up everything the connection holds; never waits for the peer beyond the last word."""
        cut = not self.finished and self.drain.cut < math.inf
        try:
            if cut:
                self.engine.goaway()
                with trio.move_on_after(LAST_WORD, shield=True):
                    await self.try_to("take the last word", self._say_last)
        finally:
            self._put_away()
            self.drain.leave(self)
            self.context.counters.cut += cut
            self.tell_close()
            self.closed = True
            self.forget()
            if self.wire is not None:
                self.wire.close()
            else:
                await self.try_to("close", trio.aclose_forcefully, self.stream)

    def forget(self) -> None:
        """Its task has nothing more to do with it."""
        del self.writer  # each of the two holds the other


class Tale(NamedTuple):
    """How the tasks of a connection go on.

    Attributes:
        stream: what a task of the pool does.
        resume: a connection of one that was parked, from what carries it and its engine, and what its task does.
    """

    stream: Callable[[Http2Connection, StreamExchange], Awaitable[None]]
    resume: Resume
