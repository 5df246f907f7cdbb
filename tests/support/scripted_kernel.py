"""A kernel that answers as it is told to: one socket, one edge-triggered epoll, and every order of events between them.

It knows what Linux does with a stream socket and no more: where a read stops short, what epoll reports, and when it
reports anything. An *edge* is one bit. It is set by whatever happens, cleared when it is reported, and reported with
all that is the case by then.
"""

from __future__ import annotations

import errno
import select
import socket

FD = 7


class Kernel:
    """One end of a connection, as the ``socket.socket`` of a wire.

    Attributes:
        ready: an edge is to come.
        delivered: what reads have given.
        room: octets that it takes before a send finds no more room.
        sent: octets that it has taken.
        meanwhile: what happens in the middle of the next call, after its answer has been decided.
    """

    def __init__(self, family=socket.AF_INET, room=9):
        self.family = family
        self.ready = False
        self.delivered = bytearray()
        self.room = room
        self.sent = bytearray()
        self.meanwhile = []
        self.asked_for_room = False
        self._inbox = bytearray()
        self._stops = []  # where reads stop short, counted from the front of the inbox
        self._marks = []  # those of them that are marks of urgent data
        self._finished = self._reset = self._error = self._closed = False
        self._inline = False
        self._full = False
        self._count = 0

    # -- what happens ------------------------------------------------------------------------------

    def arrive(self, octets):
        """Plain data."""
        self._inbox += self._next(octets)
        self.ready = True

    def arrive_urgent(self, octets):
        """Data with an urgent octet behind it (MSG_OOB), and one octet behind that."""
        self._inbox += self._next(octets)
        self._stops.append(len(self._inbox))
        self._marks = [len(self._inbox)]  # a kernel knows only the last one (tcp(7))
        self._inbox += b"!" + self._next(1)
        self.ready = True

    def arrive_rights(self, octets):
        """A message on a Unix socket that brings a descriptor (SCM_RIGHTS): no read goes on behind it."""
        self._inbox += self._next(octets)
        self._stops.append(len(self._inbox))
        self.ready = True

    def finish(self):
        """The peer sends no more."""
        self._finished = self.ready = True

    def reset(self):
        """The peer has reset the connection. What has come before can still be read."""
        self._reset = self._error = self.ready = True

    def make_room(self, octets):
        """The peer has taken something."""
        self.room += octets
        if self._full and octets:
            self._full = False
            self.ready = True

    def wake_for_nothing(self):
        """An edge without news, as an acknowledgement may make one."""
        self.ready = True

    def _next(self, octets):
        self._count += octets
        return bytes((self._count - n) % 256 for n in range(octets, 0, -1))

    # -- what is the case --------------------------------------------------------------------------

    @property
    def has_news(self):
        """Whether a read would not wait."""
        return bool(self._inbox) or self._finished or self._reset

    def events(self):
        """What epoll reports now."""
        mask = select.EPOLLIN if self.has_news else 0
        mask |= select.EPOLLPRI if self._marks else 0
        mask |= select.EPOLLRDHUP if self._finished or self._reset else 0
        mask |= select.EPOLLHUP | select.EPOLLERR if self._reset else 0
        if self.asked_for_room and (self.room or self._reset):
            mask |= select.EPOLLOUT
        return mask

    def unread(self):
        """FIONREAD, which counts up to a mark that is not read in line."""
        return self._marks[0] if self._marks and not self._inline else len(self._inbox)

    # -- what a socket is asked --------------------------------------------------------------------

    def recv(self, size, flags=0):
        data = self._read(size, take=not flags & socket.MSG_PEEK)
        self._go_on()
        if data is None:
            raise BlockingIOError(errno.EAGAIN, "nothing here")
        return data

    def _read(self, size, take):
        if self._closed:
            raise OSError(errno.EBADF, "closed")
        if self._marks and self._marks[0] == 0 and not self._inline:
            self._cut(1)  # passed over, as somebody might fetch it with MSG_OOB
        if not self._inbox:
            if self._error:
                self._error = False
                raise ConnectionResetError(errno.ECONNRESET, "reset")
            return b"" if self._finished or self._reset else None
        data = bytes(self._inbox[: min([size, *(stop for stop in self._stops if stop)])])
        if take:
            self._cut(len(data))
            self.delivered += data
        return data

    def _cut(self, octets):
        del self._inbox[:octets]
        self._stops = [stop - octets for stop in self._stops if stop >= octets]
        self._marks = [mark - octets for mark in self._marks if mark >= octets]

    def send(self, data):
        if self._closed:
            raise OSError(errno.EBADF, "closed")
        if self._reset:
            raise BrokenPipeError(errno.EPIPE, "reset")
        taken = bytes(data[: self.room])
        self.room -= len(taken)
        self._full = self._full or len(taken) < len(data)
        self.sent += taken
        self._go_on()
        if data and not taken:
            raise BlockingIOError(errno.EAGAIN, "no room")
        return len(taken)

    def _go_on(self):
        happens, self.meanwhile = self.meanwhile, []
        for each in happens:
            each()

    def setsockopt(self, level, name, value):
        assert (level, name, value) == (socket.SOL_SOCKET, socket.SO_OOBINLINE, True)
        self._inline = True

    def setblocking(self, flag):
        assert not flag

    def fileno(self):
        return -1 if self._closed else FD

    def shutdown(self, how):
        pass

    def close(self):
        self._closed = True


class ScriptedPoller:
    """The poller of one :class:`Kernel`, which polls when it is told to."""

    def __init__(self, kernel):
        self.kernel = kernel
        self.holding = []
        self.leader = None

    def doubt(self):
        """Nobody leads here."""

    def watch(self, sock, wire):
        self.wire = wire

    def forget(self, sock):
        self.wire = None

    def ask_for_room(self, sock):
        self.kernel.asked_for_room = self.kernel.ready = True  # epoll_ctl looks at once whether there is some

    def has_unread(self, sock):
        unread = self.kernel.unread()
        self.kernel._go_on()
        return unread > 0

    def flush_soon(self, wire):
        self.holding.append(wire)

    def end_turn(self):
        """As the poller does behind every step of Trio's loop."""
        holding, self.holding = self.holding, []
        for wire in holding:
            wire.flush()

    def poll(self):
        """Reports the edge that is to come, if there is one."""
        if self.kernel.ready:
            self.kernel.ready = False
            if (events := self.kernel.events()) and self.wire is not None:
                self.wire.edge(events)
