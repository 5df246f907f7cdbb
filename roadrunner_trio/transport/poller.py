"""One edge-triggered epoll for all the sockets of a listener, watched by Trio.

Trio's own ``wait_readable`` tells its epoll about a socket anew for every wait: two system calls a request. Here a
socket is registered once, for its life; the kernel reports an *edge* when something new arrives, and the poller wakes
the one task that waits for it. Trio watches a single descriptor, the epoll's own, and one task empties it.

An edge comes once. So it is kept by the :class:`Watched` it is for until a read finds nothing more: one that comes
while nobody waits, or whose waiter was cancelled, is not lost.

It also reports what a reader would never see while nobody reads: that the peer has gone.

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

    def edge(self, events: int) -> None:
        """``events`` is a mask of ``select.EPOLL*``. Synchronous."""
        ...


class Poller:
    """Wakes whoever waits for a socket, while :meth:`run` runs.

    Attributes:
        crowd: how many sockets had something to say when they were last asked.
    """

    def __init__(self) -> None:
        self.crowd = 0
        self._epoll = select.epoll()
        self._watched: dict[int, Watched] = {}
        self._holding: list[Holding] = []
        self._flusher: trio.lowlevel.Task | None = None  # while it waits
        self._failed: dict[int, object] = {}
        self._unread = array("i", [0])

    def watch(self, sock: socket.socket, watched: Watched) -> None:
        """Registers a socket until :meth:`forget`; what has arrived already is reported as its first edge.

        Raises:
            OSError: the system has no room for another watch.
        """
        fd = sock.fileno()
        self._epoll.register(fd, EDGES)
        self._watched[fd] = watched

    def hand_over(self, fd: int, watched: Watched) -> None:
        """Has another told of what is watched already, from the next edge on."""
        self._failed.pop(id(self._watched[fd]), None)
        self._watched[fd] = watched

    def forget(self, sock: socket.socket) -> None:
        """Unregisters a socket. Call it before the socket is closed: its number may be used again at once."""
        fd = sock.fileno()
        if (watched := self._watched.pop(fd, None)) is not None:
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

    async def run(self) -> None:
        """Passes edges on, and ends turns, for ever."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._flush_turns, name="poller: turns")
            await self._pass_edges()

    async def _flush_turns(self) -> None:
        while True:
            if not self._holding:
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

    def _abort(self, _: object) -> trio.lowlevel.Abort:
        self._flusher = None
        return trio.lowlevel.Abort.SUCCEEDED

    async def _pass_edges(self) -> None:
        epoll, watched = self._epoll, self._watched
        while True:
            await trio.lowlevel.wait_readable(epoll.fileno())
            edges = epoll.poll(0)
            self.crowd = len(edges)
            for fd, events in edges:
                if (waiting := watched.get(fd)) is not None:
                    try:
                        waiting.edge(events)
                    except BaseException as exc:
                        self._blame(waiting, exc)

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
