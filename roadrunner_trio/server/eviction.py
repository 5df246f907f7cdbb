"""Who makes room when there is none: of those that keep the server waiting, the one that has done so for longest.

Some wait for nothing: an *idle* connection has had its answers and may ask again. Others owe something. They have said
nothing since they came, or are in the middle of a handshake, a head or a body that comes more slowly than any honest
peer's. Whoever has a request in its handler, or is being answered, is left alone, and so is everybody for a second: a
peer that has just connected, or just been answered, may have its next request on the way.

Nothing is counted or sorted before there is no room. Then those that wait are sorted once and used up one newcomer
after another; and when nobody can make room, nobody is looked at again before somebody could.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

import trio

from ..transport.phases import Phase
from .dormitory import Guest, Parked

LEAST: Final = 1.0
"""Seconds for which a connection has kept the server waiting at least, before it has to make room."""
SLOW: Final = 1024
"""Octets a second: a head, or a body, that comes faster is left alone."""


def waits_since(conn: Guest, *, idle: bool) -> float:
    """Trio's time since which the server waits for the peer of a connection; ``math.inf`` when it does not.

    Args:
        idle: also for a next request, after others.
    """
    if isinstance(conn, Parked):
        return conn.since if idle or not conn.served else math.inf
    timeouts = conn.context.timeouts
    match conn.phase.phase:
        case Phase.IDLE if idle or not conn.served:
            patience = timeouts.keep_alive if conn.served else timeouts.request
        case Phase.HANDSHAKE:
            patience = timeouts.handshake
        case Phase.READ_REQUEST:
            patience = timeouts.request
        case Phase.READ_BODY:
            patience = timeouts.body
        case _:
            return math.inf
    if conn.gone or conn.phase.over or conn.drain.draining:
        return math.inf
    return conn.born if patience == math.inf else conn.phase.ends - patience


def end(conn: Guest, seconds: float) -> bool:
    """Ends a connection for which the server has waited ``seconds``; False if that would hit the wrong one.

    An idle one is closed in silence. A head or a body that is due is answered as if its time had run out, with 408.
    """
    if isinstance(conn, Parked) or conn.phase.phase is Phase.IDLE:
        return conn.make_room()
    octets = 0 if conn.phase.phase is Phase.HANDSHAKE else conn.heard()
    if octets >= SLOW * seconds or (conn.wire is not None and conn.wire.pending()):
        return False
    conn.gone = True  # its place is wanted now: nothing is lingered for
    conn.phase.fire()
    return True


class _Entry:
    """Who waits, or None where it has gone, and since when."""

    __slots__ = ("conn", "since")

    def __init__(self, since: float, conn: Guest) -> None:
        self.since = since
        self.conn: Guest | None = conn


class Evictions:
    """Finds connections that make room.

    Args:
        members: gives the connections that there are.
        idle: whether idle ones may have to go, or only those that owe something.
    """

    __slots__ = ("_idle", "_members", "_not_before", "_queue", "_waiting")

    def __init__(self, members: Callable[[], Iterable[Guest]], *, idle: bool) -> None:
        self._members = members
        self._idle = idle
        self._queue: deque[_Entry] = deque()  # in the order in which they began to wait
        self._waiting: dict[Guest, _Entry] = {}
        self._not_before = -math.inf

    def make_room(self) -> bool:
        """Ends the connection that has kept the server waiting for longest; False when none has for long enough."""
        now = trio.current_time()
        while self._queue or self._look(now):
            since, conn = self._queue[0].since, self._queue[0].conn
            if conn is not None:
                if since > now - LEAST:
                    return False  # who is not in here began to wait later still
                del self._waiting[conn]
            self._queue.popleft()
            if conn is not None and waits_since(conn, idle=self._idle) == since and end(conn, now - since):
                return True
        return False

    def forget(self, conn: Guest) -> None:
        """A connection has closed."""
        if (entry := self._waiting.pop(conn, None)) is not None:
            entry.conn = None

    def replace(self, conn: Guest, successor: Guest) -> None:
        """Another goes on waiting in the place of one that has waited."""
        if (entry := self._waiting.pop(conn, None)) is not None:
            entry.conn = successor
            self._waiting[successor] = entry

    def _look(self, now: float) -> bool:
        if now < self._not_before:
            return False
        self._not_before = now + LEAST
        found = [(since, conn) for conn in self._members() if (since := waits_since(conn, idle=self._idle)) != math.inf]
        found.sort(key=lambda each: each[0])
        self._queue.extend(_Entry(since, conn) for since, conn in found)
        self._waiting = {conn: entry for entry in self._queue if (conn := entry.conn) is not None}
        return bool(found)
