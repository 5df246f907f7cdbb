"""One edge-triggered epoll for all the sockets of a listener, watched by Trio.

Trio's own ``wait_readable`` tells its epoll about a socket anew for every wait: two system calls a request. Here a
socket is registered once, for its life; the kernel reports an *edge* when something new arrives, and the poller wakes
the one task that waits for it. Trio watches a single descriptor, the epoll's own, and one task empties it.

An edge comes once. So it is kept by the :class:`Watched` it is for until a read finds nothing more: one that comes
while nobody waits, or whose waiter was cancelled, is not lost.

It also reports what a reader would never see while nobody reads: that the peer has gone.

A peer that is alone would be served in two turns of Trio's loop, the poller's and that of the task that it wakes. So a
task that is woken alone again and again is made the *leader*: it waits for the epoll itself, then reads, and only now
and then asks whose the edge was. The poller's task has the watch again as soon as anybody else has something to say, or
the leader waits for anything else. It is an instrument of Trio's that sees the latter, for a handler may wait anywhere.

The other way round it saves system calls too: what is sent in pieces within one turn of Trio's loop is held, and
written once when the turn is over. A piece that its producer waits after is on its way before anybody else's next
step but one.
"""

from __future__ import annotations

import select
import socket
import sys
from array import array
from typing import Any, Final, Protocol, cast

import trio

from ..journal import log

if sys.platform != "win32":
    import fcntl
    import termios

AVAILABLE: Final = hasattr(select, "epoll")
"""Linux. Elsewhere sockets wait by Trio's own means."""

URGENT: Final = getattr(select, "EPOLLPRI", 0)
EDGES: Final = getattr(select, "EPOLLIN", 0) | getattr(select, "EPOLLRDHUP", 0) | getattr(select, "EPOLLET", 0) | URGENT
ROOM: Final = getattr(select, "EPOLLOUT", 0)
STREAK: Final = 16
"""Edges of one socket, and of nobody else, after which its task leads."""
STREAK_MOST: Final = 4096
TRUST: Final = 8
"""Turns of a leader, of which all but one take it that what has come is its own: others wait for so many at most."""
SHARE: Final = 64
"""Sockets that are written to before everybody else has a turn: at 5 µs each, a third of a millisecond."""


class _Woken:
    """What a wait that was for no value comes to, for ever: Trio makes an ``outcome.Value(None)`` each time, 0.4 µs."""

    def unwrap(self) -> None:
        """As an outcome is asked by the task that waited."""


WOKEN: Final = cast(Any, _Woken())


class Holding(Protocol):
    """Who has held something until the turn is over. What it raises is logged, the first time."""

    def flush(self) -> None:
        """The turn is over: writes what is held. Synchronous."""
        ...


class Watched(Protocol):
    """Who is told of the edges of a socket. What it raises is logged, the first time, and the poller goes on."""

    def edge(self, events: int) -> trio.lowlevel.Task | None:
        """``events`` is a mask of ``select.EPOLL*``. Synchronous.

        Returns:
            The task that it has woken, if that has but to read.
        """
        ...


class Led(Protocol):
    """What a leader waits for."""

    readable: bool


class Poller:
    """Wakes whoever waits for a socket, while :meth:`run` runs.

    Attributes:
        crowd: how many sockets have something to say at about the same time.
        leader: the task that keeps the watch in the place of the poller's own; it has to come to :meth:`lead` before
            it waits for anything.
    """

    def __init__(self) -> None:
        self.crowd = 0
        self.leader: trio.lowlevel.Task | None = None
        self.leading: Led | None = None
        self._epoll = select.epoll()
        self._fd = self._epoll.fileno()
        self._watched: list[Watched | None] = []  # by descriptor: there may be many, and they are small numbers
        self._holding: list[Holding] = []
        self._flusher: trio.lowlevel.Task | None = None  # while it waits
        self._ending: list[trio.lowlevel.Task] = []  # who waits for the end of the turn
        self._failed: dict[int, object] = {}
        self._unread = array("i", [0])
        self._led: trio.lowlevel.Task | None = None  # the poller's own, while another leads
        self._relief: _Relief | None = None  # meanwhile; each of the two holds the other
        self._lone = -1  # the descriptor that was last alone, and how often
        self._streak = 0
        self._due = STREAK
        self._turns = 0  # of the leader

    def watch(self, sock: socket.socket, watched: Watched) -> None:
        """Registers a socket until :meth:`forget`; what has arrived already is reported as its first edge.

        Raises:
            OSError: the system has no room for another watch.
        """
        fd = sock.fileno()
        self._epoll.register(fd, EDGES)
        if fd >= len(self._watched):
            self._watched += [None] * (fd + 1 - len(self._watched))
        self._watched[fd] = watched

    def hand_over(self, sock: socket.socket | int, watched: Watched) -> None:
        """Has another told of what is watched already, a socket or its number, from the next edge on."""
        fd = sock if isinstance(sock, int) else sock.fileno()
        self._failed.pop(id(self._watched[fd]), None)
        self._watched[fd] = watched

    def forget(self, sock: socket.socket) -> None:
        """Unregisters a socket. Call it before the socket is closed: its number may be used again at once."""
        fd = sock.fileno()
        if 0 <= fd < len(self._watched) and (watched := self._watched[fd]) is not None:
            self._watched[fd] = None
            self._failed.pop(id(watched), None)
            self._epoll.unregister(fd)

    def ask_for_room(self, sock: socket.socket) -> None:
        """Has an edge reported, from now on, also when the socket takes more again after it took no more."""
        self._epoll.modify(sock.fileno(), EDGES | ROOM)

    def has_unread(self, sock: socket.socket) -> bool:
        """Whether octets lie in the buffer of ``sock`` (FIONREAD), for a third of what a vain read costs.

        Urgent ones count where they are read in line (SO_OOBINLINE), an end does not.
        """
        return self.holds_unread(sock.fileno())

    def holds_unread(self, fd: int) -> bool:
        """The same of a descriptor."""
        fcntl.ioctl(fd, termios.FIONREAD, self._unread)
        return self._unread[0] > 0

    def flush_soon(self, watched: Holding) -> None:
        """Has ``watched`` flushed once whoever runs now has ended its step."""
        self._holding.append(watched)
        if self._flusher is not None:
            trio.lowlevel.reschedule(self._flusher, WOKEN)
            self._flusher = None

    def came(self, count: int) -> None:
        """So many newcomers have something to say, of which no edge tells. What was known before fades meanwhile."""
        self.crowd = max(count, self.crowd // 2)

    async def end_of_turn(self) -> None:
        """Returns when what is held in this turn has been written, which may be at once; not a checkpoint then.

        For who would write it before, for he has to close: a peer that is woken by each write takes the processor from
        us, or has it woken, which is as dear as all the rest of a connection.
        """
        if not self._holding:
            return
        task = trio.lowlevel.current_task()

        def abort(_: object) -> trio.lowlevel.Abort:
            self._ending.remove(task)
            return trio.lowlevel.Abort.SUCCEEDED

        self._ending.append(task)
        await trio.lowlevel.wait_task_rescheduled(abort)

    async def run(self) -> None:
        """Passes edges on, and ends turns, for ever."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._flush_turns, name="poller: turns")
            await self._pass_edges()

    async def _flush_turns(self) -> None:
        while True:
            if not self._holding:
                holding = watched = None  # whoever has been flushed last may have ended
                self._flusher = trio.lowlevel.current_task()
                await trio.lowlevel.wait_task_rescheduled(self._abort)
            holding, self._holding = self._holding, []
            for count, watched in enumerate(holding, 1):
                try:
                    watched.flush()
                except BaseException as exc:
                    self._blame(watched, exc)
                if count % SHARE == 0:
                    await trio.lowlevel.checkpoint()
            ending, self._ending = self._ending, []
            for task in ending:
                trio.lowlevel.reschedule(task, WOKEN)

    def _abort(self, _: object) -> trio.lowlevel.Abort:
        self._flusher = None
        return trio.lowlevel.Abort.SUCCEEDED

    async def _pass_edges(self) -> None:
        while True:
            await trio.lowlevel.wait_readable(self._fd)
            if self._appoint(self._look()):
                await trio.lowlevel.wait_task_rescheduled(self._abort_led)

    def _look(self) -> trio.lowlevel.Task | None:
        """Passes on what there is; the task that was woken last."""
        edges = self._epoll.poll(0)
        self.crowd = len(edges)
        woken = fd = None
        for fd, events in edges:
            if (waiting := self._watched[fd]) is not None:
                try:
                    woken = waiting.edge(events)
                except BaseException as exc:
                    self._blame(waiting, exc)
        if self.crowd == 1 and fd == self._lone:
            self._streak += 1
        elif edges:
            self._lone, self._streak = edges[0][0], 0
        return woken

    # -- the leader --------------------------------------------------------------------------------

    def _appoint(self, woken: trio.lowlevel.Task | None) -> bool:
        """Whether the task that was woken leads from now on."""
        if self._streak < self._due or woken is None:
            return False
        self._led = trio.lowlevel.current_task()
        self._turns, self.leader, self._relief = 0, woken, _Relief(self)
        trio.lowlevel.add_instrument(self._relief)
        return True

    async def lead(self, watched: Led) -> None:
        """Waits, as the leader, until something may have come for ``watched``.

        Raises:
            trio.ClosedResourceError: :meth:`dismiss`.
        """
        self.leading = watched
        try:
            await trio.lowlevel.wait_readable(self._fd)
        finally:
            self.leading = None
        self._turns += 1
        if self._turns % TRUST:
            self.crowd, watched.readable = 1, True
        else:
            self.doubt()

    def doubt(self) -> None:
        """If the leader says it: there was nothing for it; or it has not asked for long. Passes on what is others'."""
        if self._led is not None and self.leader is trio.lowlevel.current_task():
            self._led.context.run(self._look)  # what others begin is not to see the variables of the leader's handler
            if not self._streak:
                self.relieve()

    def dismiss(self, watched: Led) -> None:
        """Ends the leader's wait, if it is for ``watched``, whose socket is closed."""
        if self.leading is watched:
            trio.lowlevel.notify_closing(self._fd)

    def relieve(self) -> None:
        """Gives the watch back to the poller's task.

        A lead that has not lasted as long as it took to earn it has cost more than it gave. The next is due later.
        """
        self._due = min(2 * self._due, STREAK_MOST) if self._turns < self._due else STREAK
        self._streak, self.leader = 0, None
        if self._relief is not None:
            trio.lowlevel.remove_instrument(self._relief)
            self._relief = None
        if self._led is not None:
            trio.lowlevel.reschedule(self._led, WOKEN)
            self._led = None

    def _abort_led(self, _: object) -> trio.lowlevel.Abort:
        self._led = None
        self.relieve()
        return trio.lowlevel.Abort.SUCCEEDED

    def _blame(self, culprit: object, exc: BaseException) -> None:
        """This task is everybody's; whoever it calls is somebody's, and may be called once an edge: it has one line.

        Raises:
            KeyboardInterrupt: that is the operator's.
        """
        if isinstance(exc, KeyboardInterrupt):
            raise exc
        if id(culprit) not in self._failed:
            self._failed[id(culprit)] = culprit
            log.error("%s failed at what its socket has to say", type(culprit).__name__, exc_info=exc)

    def close(self) -> None:
        """Closes the epoll, once every socket is forgotten."""
        self._epoll.close()


class _Relief(trio.abc.Instrument):
    """Sees to it that somebody keeps the watch: a leader that waits for anything else has given it up."""

    def __init__(self, poller: Poller) -> None:
        self._poller = poller

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """Trio's word."""
        if task is self._poller.leader and self._poller.leading is None:
            self._poller.relieve()
