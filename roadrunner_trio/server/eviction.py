"""Who makes room when a listener is full: the connection that has been idle for longest.

Only one that waits for a request can be asked to, and only when it has waited for a while: a peer that has just
connected, or just been answered, may have its next request on the way. Nothing is counted or sorted before the
listener is full. Then the idle ones are sorted once and used up one newcomer after another; and when nobody can make
room, nobody is looked at again before somebody could.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Final

import trio

from ..transport.phases import Phase
from .connection import Connection

LEAST: Final = 1.0
"""Seconds that a connection has been idle at least, before it has to make room."""


def idle_since(conn: Connection) -> float:
    """Trio's time at which a connection began to wait for a request; ``math.inf`` when it does not."""
    if conn.phase.phase is not Phase.IDLE or conn.gone or conn.drain.draining:
        return math.inf
    patience = conn.context.timeouts.keep_alive if conn.served else conn.context.timeouts.request
    return conn.born if patience == math.inf else conn.phase.deadline - patience


class Evictions:
    """Finds connections that make room.

    Args:
        members: gives the connections that there are.
    """

    def __init__(self, members: Callable[[], Iterable[Connection]]) -> None:
        self._members = members
        self._waiting: list[tuple[float, Connection]] = []
        self._not_before = -math.inf

    def make_room(self) -> bool:
        """Ends the connection that has been idle for longest; False when none has been for long enough."""
        for _ in range(2):
            while self._waiting:
                since, conn = self._waiting.pop()
                if idle_since(conn) == since and conn.make_room():
                    return True
            if not self._look():
                return False
        return False

    def _look(self) -> bool:
        now = trio.current_time()
        if now < self._not_before:
            return False
        idle = [(since, conn) for conn in self._members() if (since := idle_since(conn)) != math.inf]
        self._waiting = [each for each in idle if each[0] <= now - LEAST]
        self._waiting.sort(key=lambda each: -each[0])
        if not self._waiting:
            self._not_before = LEAST + min((since for since, _ in idle), default=now)
        return bool(self._waiting)
