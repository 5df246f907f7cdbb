"""One edge-triggered epoll for all the sockets of a listener, watched by Trio.

Trio's own ``wait_readable`` tells its epoll about a socket anew for every wait: two system calls a request. Here a
socket is registered once, for its life; the kernel reports an *edge* when something new arrives, and the poller wakes
the one task that waits for it. Trio watches a single descriptor, the epoll's own, and one task empties it.

An edge comes once. So it is kept by the :class:`Watched` it is for until a read finds nothing more: one that comes
while nobody waits, or whose waiter was cancelled, is not lost.

It also reports what a reader would never see while nobody reads: that the peer has gone.
"""

from __future__ import annotations

import select
import socket
from typing import Final, Protocol

import trio

AVAILABLE: Final = hasattr(select, "epoll")
"""Linux. Elsewhere sockets wait by Trio's own means."""


class Watched(Protocol):
    """Who is told of the edges of a socket."""

    def edge(self, events: int) -> None:
        """``events`` is a mask of ``select.EPOLL*``. Synchronous; must not raise."""
        ...


class Poller:
    """Wakes whoever waits for a socket, while :meth:`run` runs."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._watched: dict[int, Watched] = {}

    def watch(self, sock: socket.socket, watched: Watched) -> None:
        """Registers a socket until :meth:`forget`; what has arrived already is reported as its first edge.

        Raises:
            OSError: the system has no room for another watch.
        """
        fd = sock.fileno()
        self._epoll.register(fd, select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET)
        self._watched[fd] = watched

    def forget(self, sock: socket.socket) -> None:
        """Unregisters a socket. Call it before the socket is closed: its number may be used again at once."""
        fd = sock.fileno()
        if self._watched.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    async def run(self) -> None:
        """Passes edges on, for ever."""
        epoll, watched = self._epoll, self._watched
        while True:
            await trio.lowlevel.wait_readable(epoll.fileno())
            for fd, events in epoll.poll(0):
                if (waiting := watched.get(fd)) is not None:
                    waiting.edge(events)

    def close(self) -> None:
        """Closes the epoll, once every socket is forgotten."""
        self._epoll.close()
