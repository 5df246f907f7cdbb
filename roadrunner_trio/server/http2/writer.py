"""What goes out on a connection of HTTP/2: frames gather, and leave in one send a turn.

Whoever has appended frames says so (:meth:`Writer.soon`), and when the turn of Trio's loop is over the poller has all
of them written at once: ten handlers, one system call. Where no poller watches, a task writes.

Content is different, for it has no bound. What the peer's windows, the socket or more urgent streams do not let through
waits in here, and its producer with it; it goes out a frame at a time, the most urgent first (RFC 9218), as there is
room. So no frame costs a switch of tasks, and nobody has more than his share.
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from heapq import heappop, heappush, heapreplace
from typing import Final

import trio

from ...journal import log
from ...protocol.http2.engine import Http2Engine, Stream
from ...transport.gone import PeerGone, PeerTooSlow
from ...transport.patience import SPARED
from ...transport.poller import WOKEN, Poller
from ...transport.streams import SendMeter, shown
from ..carrier import CROWD, WRITE_SIZE, Carrier
from .alarm import Alarm

FRAME: Final = 16384
"""Octets of content in a frame: what every peer takes (RFC 9113 section 4.2)."""
MOST: Final = 65536
"""Octets that are not sent yet, above which content waits."""
FAIR: Final = 3
"""The urgency of who asks for none: these take turns, even if they are of no use in pieces (RFC 9218 section 10)."""
BEHIND: Final = 1 << 31
"""No stream has such a number."""


class Content:
    """What a stream has to send, as far as that waits.

    Args:
        stream: whose it is.
        write: seconds for which its window may be shut.
        least: octets a second that the peer takes at least, once it lets anything through.

    Attributes:
        task: who waits for it, while somebody does.
        too_slow: the stream's window was shut for too long.
        hopeless: a window is shut, and the peer, who has ended what it sends, cannot open it.
    """

    __slots__ = (
        "_alarm",
        "_began",
        "_meter",
        "_sent",
        "_write",
        "_writer",
        "at",
        "data",
        "end",
        "hopeless",
        "stream",
        "task",
        "too_slow",
    )

    def __init__(self, writer: Writer, stream: Stream, write: float, least: int) -> None:
        self._writer = writer
        self._alarm = Alarm(writer.conn.context.clock, self._expire)
        self._write = write
        self._meter = SendMeter(least, write)
        self._began = 0.0
        self._sent = 0
        self.stream = stream
        self.data = memoryview(b"")
        self.at = 0
        self.end = False
        self.task: trio.lowlevel.Task | None = None
        self.too_slow = self.hopeless = False

    async def wait(self) -> None:
        """Until all of it is out, or the stream is lost, or its time is up."""
        self.task = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(self._abort)

    def _abort(self, _: object) -> trio.lowlevel.Abort:
        self.drop()
        return trio.lowlevel.Abort.SUCCEEDED

    def drop(self) -> None:
        """It is no more to be sent."""
        self.task = None
        self.data = memoryview(b"")
        self._alarm.unset()
        self._writer.stalled.pop(self, None)

    def wake(self) -> None:
        """Whoever waits for it looks again."""
        if (task := self.task) is not None:
            self.drop()
            trio.lowlevel.reschedule(task, WOKEN)

    def stall(self) -> None:
        """Its window, or the connection's, is shut: from now on the peer is waited for, if it can still open it."""
        if self._writer.engine.over:
            return self.give_up()
        self._began = trio.current_time()
        self._alarm.set(self._began + min(self._write, self._meter.allowance(self._sent + self.at, 0)))
        return None

    def give_up(self) -> None:
        """Nobody will open the window any more."""
        self.hopeless = True
        self.wake()
        self.drop()

    def check(self) -> None:
        """Raises :class:`PeerGone` when it was the peer who did not take it."""
        if self.too_slow:
            raise PeerTooSlow("the peer does not take its response in time")
        if self.hopeless:
            raise PeerGone("the peer has left, and lets nothing more through")

    def resume(self) -> None:
        """It is open again."""
        self._alarm.unset()
        self._meter.took(0, trio.current_time() - self._began)

    def _expire(self) -> None:
        self.too_slow = True
        self.wake()

    def discard(self) -> None:
        """The stream is over."""
        self._alarm.discard()


class Writer:
    """Sends what the engine of a connection has to say.

    Args:
        conn: what carries it.
        engine: whose output it is.

    Attributes:
        unsent: octets that the socket has not taken, encrypted where that is due.
        queue: content that may go out when there is room, in the order of urgency, then of arrival.
        stalled: content whose window, or the connection's, is shut.
    """

    __slots__ = (
        "_alarm",
        "_due",
        "_goal",
        "_leaving",
        "_meter",
        "_order",
        "_poller",
        "_pushed",
        "_since",
        "_spared",
        "_taken",
        "_waiting",
        "conn",
        "engine",
        "queue",
        "stalled",
        "unsent",
    )

    def __init__(self, conn: Carrier, engine: Http2Engine) -> None:
        self.conn = conn
        self.engine = engine
        self.unsent = memoryview(b"")
        self.queue: list[tuple[int, int, Content]] = []
        self.stalled: dict[Content, None] = {}
        self._order = BEHIND
        self._due = self._leaving = False
        wire = conn.wire
        self._poller: Poller | None = conn.context.poller if wire is not None and wire.polled else None
        self._pushed: trio.lowlevel.Task | None = None  # the task that writes, while it waits
        self._waiting: trio.lowlevel.ParkingLot | None = None  # for room, before something is made that would go out
        # The time that the peer has for what is unsent:
        self._alarm: Alarm | None = None
        self._meter: SendMeter | None = None
        self._taken = self._goal = 0
        self._since = 0.0
        self._spared = False
        if wire is not None and wire.polled:
            wire.writer = self

    @property
    def by_task(self) -> bool:
        """Whether a task writes, for nobody tells of room."""
        return self._poller is None

    @property
    def is_clear(self) -> bool:
        """Whether content may go out at once: nobody waits, and there is room."""
        return not (self.queue or self.unsent) and len(self.engine.output) < MOST

    @property
    def backlog(self) -> int:
        """Octets that are not with the kernel yet."""
        return len(self.engine.output) + len(self.unsent)

    # -- what is appended --------------------------------------------------------------------------

    def at_once(self) -> None:
        """A whole response has been appended: it leaves now, if nothing else gathers, here or with the neighbours.

        What ends a turn costs a switch of tasks, which ten responses share. Where there is one, that is for nothing.
        """
        poller = self._poller
        if poller is None or poller.crowd > CROWD or self._due or self.queue or self.conn.streams > 1:
            self.soon()
        else:
            self.flush()

    def soon(self) -> None:
        """Something has been appended to the engine's output: it leaves when the turn is over."""
        if not self._due:
            self._due = True
            if self._poller is not None:
                self._poller.flush_soon(self)
            elif (task := self._pushed) is not None:
                self._pushed = None
                trio.lowlevel.reschedule(task, WOKEN)

    def push(self, content: Content, data: bytes | memoryview, *, end: bool) -> bool:
        """Sends content in its turn, as soon as may be; whether all of it has been appended.

        Raises:
            trio.BusyResourceError: another task is sending the same response.
        """
        if content.data:
            raise trio.BusyResourceError("another task is sending this response")
        content.data, content.at, content.end = memoryview(data), 0, end
        self._enqueue(content)
        self._feed()
        self.soon()
        return not content.data

    def _enqueue(self, content: Content) -> None:
        stream, order = content.stream, content.stream.id
        if stream.incremental or stream.urgency == FAIR:
            self._order = order = self._order + 1
        heappush(self.queue, (stream.urgency, order, content))

    def _feed(self) -> None:
        """Appends content, as much as there is room for: a frame of the first in the queue, and again."""
        queue, engine = self.queue, self.engine
        while queue and len(engine.output) + len(self.unsent) < MOST:
            urgency, _, content = queue[0]
            if not content.data:  # it has been given up
                heappop(queue)
                continue
            size, at = len(content.data), content.at
            sent = engine.send_data(content.stream, content.data[at:], content.end, FRAME)
            content.at = at + sent
            if content.at == size:
                heappop(queue)
                content.wake()
                content.drop()
            elif not sent:
                heappop(queue)
                self.stalled[content] = None
                content.stall()
            elif content.stream.incremental or urgency == FAIR:
                self._order += 1
                heapreplace(queue, (urgency, self._order, content))

    def window_opened(self, content: Content | None = None) -> None:
        """A window was shut and is open: that of a stream, whose content it is, or the connection's."""
        for each in [content] if content is not None else list(self.stalled):
            if each in self.stalled:
                del self.stalled[each]
                each.resume()
                self._enqueue(each)
        if self.queue:
            self.soon()

    def give_up(self) -> None:
        """The peer has ended what it sends: it opens no window any more."""
        for each in list(self.stalled):
            each.give_up()

    # -- what goes ---------------------------------------------------------------------------------

    def flush(self) -> None:
        """The poller's word: the turn is over."""
        self._due = False
        conn, layer = self.conn, self.conn.layer
        if self.unsent or conn.broken or conn.closed or self._poller is None:
            return
        queue, engine = self.queue, self.engine
        if queue:
            self._feed()
        if engine.output or (layer is not None and layer.unsaid):
            self._write(engine.take_output())
        if queue and not (self.unsent or conn.broken):
            conn.context.turns.later(self._go_on)

    def _go_on(self) -> None:
        """What is left, in a later turn. In Trio's own task: an exception here would be everybody's."""
        try:
            if not self._due:
                self.flush()
        except Exception:
            log.exception("what is sent to %s failed", shown(self.conn.peer))
            self._lose()

    def _write(self, data: bytes | bytearray) -> None:
        conn, wire = self.conn, self.conn.wire
        if wire is None:
            return None
        try:
            if conn.layer is not None:
                data = conn.layer.seal(data)
            sent = wire.send_now(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError):
            return self._lose()
        if sent < len(data):
            self.unsent = memoryview(data)[sent:]
            self._await_room(trio.current_time())
            wire.want_room()
        elif self._waiting:
            self._waiting.unpark_all()
        return None

    def write_now(self) -> None:
        """The wire's word: the socket takes more again."""
        wire = self.conn.wire
        if wire is None or not self.unsent:
            return None
        try:
            sent = wire.send_now(self.unsent)
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError):
            return self._lose()
        self.unsent = self.unsent[sent:]
        self._took(sent)
        if not self.unsent:
            self.flush()
            self._wake()
        return None

    def _lose(self) -> None:
        """Nothing goes out any more; the reader meets the end by itself, or by the poller's word."""
        self.conn.gone = self.conn.broken = True
        self.unsent = memoryview(b"")
        if self._alarm is not None:
            self._alarm.unset()
        for content in [*self.stalled, *(each for _, _, each in self.queue)]:
            content.wake()
        self.queue.clear()
        self._wake()

    # -- the peer's time ---------------------------------------------------------------------------

    def _await_room(self, now: float) -> None:
        """From now on the peer has the time of a write for the next of what is unsent."""
        context = self.conn.context
        if self._meter is None or self._alarm is None:
            self._meter = SendMeter(context.limits.min_send_rate, context.timeouts.write)
            self._alarm = Alarm(context.clock, self._expire)
        self._goal = min(len(self.unsent), WRITE_SIZE)
        self._since, self._spared = now, False
        allowed = min(context.timeouts.write, self._meter.allowance(self._taken, self._goal))
        self._alarm.set(now + allowed if allowed != math.inf else math.inf)

    def _took(self, octets: int) -> None:
        self._taken += octets
        self._goal -= octets
        if self._meter is None or self._alarm is None or (self._goal > 0 and self.unsent):
            return
        now = trio.current_time()
        self._meter.took(self._goal + octets if self._goal > 0 else WRITE_SIZE, now - self._since)
        if self.unsent:
            self._await_room(now)
        else:
            self._alarm.unset()

    def _expire(self) -> None:
        wire = self.conn.wire
        if not self._spared and wire is not None and wire.has_room() and self._alarm is not None:
            self._spared = True
            self._alarm.set(trio.current_time() + SPARED)
        elif self.unsent:
            for content in [*self.stalled, *(each for _, _, each in self.queue)]:
                content.too_slow = True
            self._lose()
            self.conn.phase.end("the peer does not take what is sent to it in time")

    def close(self) -> None:
        """The connection is over."""
        if self._alarm is not None:
            self._alarm.discard()

    # -- those who wait ----------------------------------------------------------------------------

    async def room(self) -> None:
        """Until what is not sent is so little that more may be made: requests read, or heads written.

        The peer has the time of a write for it, as for all that is unsent; whoever returns looks whether it is gone.
        """
        while self.backlog > MOST and not self.conn.broken:
            self._waiting = self._waiting or trio.lowlevel.ParkingLot()
            await self._waiting.park()

    def _wake(self) -> None:
        if self._waiting is not None:
            self._waiting.unpark_all()

    @asynccontextmanager
    async def at_work(self) -> AsyncGenerator[None, None]:
        """Has a task write in the block, where no poller tells of room; what it has begun then, it brings to an end."""
        if not self.by_task:
            yield
            return
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._run, name=f"{self.conn.context.name}: {shown(self.conn.peer)}, writer")
            yield
            self._leaving = True
            if self.conn.gone:  # nobody is waited for
                nursery.cancel_scope.cancel(reason="nobody takes what is written")
            self.soon()

    async def _run(self) -> None:
        while not (self.conn.broken or self._leaving):
            self._due = False
            self._feed()
            if not self.engine.output:
                self._pushed = trio.lowlevel.current_task()
                await trio.lowlevel.wait_task_rescheduled(self._abort_push)
                continue
            await trio.lowlevel.checkpoint_if_cancelled()  # what has not begun is left to who ends the connection
            data = self.engine.take_output()
            self.unsent = memoryview(data)
            try:
                await self._send(data)
            except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
                self._lose()
                self.conn.phase.end(str(exc))
                return
            self.unsent = memoryview(b"")
            self._wake()

    def _abort_push(self, _: object) -> trio.lowlevel.Abort:
        self._pushed = None
        return trio.lowlevel.Abort.SUCCEEDED

    async def _send(self, data: bytes | bytearray | memoryview) -> None:
        """All of ``data``, while the peer takes it; interrupted, it leaves the stream of no use.

        Raises:
            trio.BrokenResourceError: the peer is gone, or (:class:`PeerTooSlow`) takes too long.
        """
        conn, view, done = self.conn, memoryview(data), False
        try:
            for at in range(0, len(view), WRITE_SIZE):
                part = view[at : at + WRITE_SIZE]
                with conn.taking(self._taken, len(part)) as taking:
                    await conn.stream.send_all(part)
                if taking.expired:
                    raise PeerTooSlow("the peer does not take its response in time")
                self._taken += len(part)
            done = True
        finally:
            conn.broken |= not done

    async def settle(self) -> None:
        """Sends all that is left, as long as the caller has patience. Content that waits is none of it.

        Raises:
            trio.BrokenResourceError: the peer is gone.
        """
        conn, wire, rest = self.conn, self.conn.wire, self.engine.take_output()
        if conn.broken or conn.closed:
            return
        if wire is not None and wire.polled:
            data = bytes(self.unsent) + (rest if conn.layer is None else conn.layer.seal(rest))
            self.unsent = memoryview(b"")
            if data and (sent := wire.send_now(data)) < len(data):
                await wire.send_all(memoryview(data)[sent:])
        elif rest:
            await self._send(rest)
