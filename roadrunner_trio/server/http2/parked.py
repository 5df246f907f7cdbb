"""Idle connections of HTTP/2 without a task: a slot as any, which keeps the engine too.

For what the peer has said stays said: the table of its field lines, its settings, its windows. The rest goes, the
reader, its nursery and its writer, and is made anew with the next request.

An end is told twice where it might cross a request (RFC 9113 section 6.8). A drain's first GOAWAY takes nothing back,
and who asks meanwhile is served; so it goes out at once, and a second later what has not been woken ends. One that has
been idle for as long as it may has no such second: its peer is told which request was the last, and may read that
before the connection is gone.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, ClassVar, TypeAlias

import trio

from ...protocol.http2.engine import Http2Engine
from ...transport.wire import EPOLLIN, SocketWire
from ..carrier import Carrier
from ..dormitory import FAREWELL, LEFT, Dormitory, Parked

Resume: TypeAlias = Callable[[Carrier, Http2Engine], tuple[Carrier, Callable[[Any], Awaitable[object]]]]


class ParkedHttp2(Parked):
    """The slot of a connection of HTTP/2.

    Attributes:
        engine: all that is known of the two ends.
        resume: makes the connection that takes its place, and says what its task does.
        ended: the last GOAWAY and an end are out, and the peer has some time to read them.
    """

    __slots__ = ("ended", "engine", "resume")

    protocol: ClassVar[str] = "h2"

    def __init__(self, home: Dormitory, conn: Carrier, fd: int, engine: Http2Engine, resume: Resume) -> None:
        super().__init__(home, conn, fd)
        self.engine = engine
        self.resume = resume
        self.ended = False

    def edge(self, events: int) -> None:
        """The poller's word. What comes behind the last GOAWAY is the peer's to ask for elsewhere."""
        if self.ended:
            if events & LEFT:
                self.end()
        else:
            super().edge(events)

    def told(self) -> None:
        """The drain's word, passed on; a request that has come, or comes within a second, is served."""
        if self.is_over:
            return
        if self.ended:
            self.home.see_off(self)
            return
        if self.unread:
            self.wake(EPOLLIN)
            return
        self.engine.drain(ask=False)  # an answer would wake it
        if self._say(self._sealed()):
            self.home.see_off(self)
        else:
            self.end()

    def make_room(self) -> bool:
        """Ends it for another's sake, at once; False when a request has reached it."""
        if self.ended:
            self.end()
            return True
        return super().make_room()

    def expire(self) -> None:
        """Its time is up, unless a drain has given it a second. A request that has come is read, as in time."""
        if self.ended:
            self.end()
        elif self.unread:
            self.wake(EPOLLIN)
        elif not self.engine.draining:
            self._part()

    def succeeded(self, sock: socket.socket) -> Carrier:
        """The connection that has its place from now on, and a task."""
        home = self.home
        before = Carrier(SocketWire(sock, home.poller, known=True, tcp=self.tcp), home.context, self.peer)
        before.drain = self.drain
        self.hand_over(before)
        self.engine.resume()
        conn, story = self.resume(before, self.engine)
        del self.engine
        home.start(conn, story)
        return conn

    def end(self) -> None:
        """Closes it, as any slot; the heap may keep that, and with it no engine."""
        super().end()
        del self.engine

    def last_word(self) -> bytes:
        """The last GOAWAY, unless it is out."""
        if self.ended:
            return b""
        self.engine.goaway()
        return self._sealed() + super().last_word()

    def _part(self) -> None:
        """Says the last word, and waits a moment: a close at once could take it from a peer that is just sending."""
        word, self.ended = self.last_word(), True
        if not self._say(word, end=True):
            return self.end()
        self.deadline = trio.current_time() + FAREWELL
        return self.home.expect(self)

    def _sealed(self) -> bytes:
        """What the engine has to say, as it has to go out."""
        layer, said = self.layer, bytes(self.engine.take_output())
        return said if layer is None else layer.seal(said)

    def _say(self, words: bytes, *, end: bool = False) -> bool:
        """Sends something, and an end if there is to be one; False if the socket does not take all of it at once."""
        with self.borrowed() as sock, suppress(OSError):
            whole = sock.send(words) == len(words)
            if end:
                sock.shutdown(socket.SHUT_WR)
            return whole
        return False
