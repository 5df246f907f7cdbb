"""A connection goes on while an application still works after its response: a background task, a clean-up, a log.

The application runs in the task of its connection, which therefore cannot read on. So another task does, when a next
request has come, or the peer is to see the end: a successor, with all that carries the connection and what is known of
it. Who returns together with its response, as nearly all do, pays nothing for that.

An application that only needs some steps more, to end its tasks, is waited for: a few turns of the loop cost less than
another task.

What is left behind is a connection without a wire, in its handler until the application has returned. It is one of the
listener's like all others: it has a place, so that there cannot be more of them than connections; it is listed, a drain
waits for it, and the drain's deadline cuts it. It can neither read nor write: its request is over in all but name.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import trio

from ..transport.phases import Phase
from .connection import Connection

MOVED: Final = (
    "_accept_told",
    "_meter",
    "born",
    "gone",
    "hung_up",
    "layer",
    "plain",
    "scheme",
    "served",
    "stream",
    "tls",
    "transport",
    "was_reset",
)
"""What a connection knows of its wire and its peer, besides what it was made of."""


TURNS: Final = 16
"""Of the loop, for an application to return in after its response: the middlewares of Starlette take half of them."""


class Afterwards:
    """Connections whose next request, or whose end, waits for an application that has answered and not returned.

    Args:
        take_up: what is done about one whose application does not return soon.
    """

    def __init__(self, take_up: Callable[[Connection], None]) -> None:
        self._take_up = take_up
        self._waiting: dict[Connection, int] = {}
        self._news = trio.lowlevel.ParkingLot()

    def look(self, conn: Connection) -> None:
        """Something has come of a connection that nobody waits for, or it is to end."""
        if conn not in self._waiting and may_go_on(conn):
            self._waiting[conn] = TURNS
            self._news.unpark_all()

    async def run(self) -> None:
        """Gives each its turns, for ever."""
        while True:
            if not self._waiting:
                await self._news.park()
            await trio.lowlevel.checkpoint()
            for conn, turns in [*self._waiting.items()]:
                if conn.closed or not may_go_on(conn):
                    del self._waiting[conn]
                elif turns:
                    self._waiting[conn] = turns - 1
                else:
                    del self._waiting[conn]
                    self._take_up(conn)


def may_go_on(conn: Connection) -> bool:
    """Whether there is something to be done that waits for an application which has answered and not returned."""
    exchange = conn.exchange
    if not exchange.ended or exchange.request.over or exchange.taken_over or exchange.waits:
        return False
    if conn.wire is None or conn.gone or conn.broken:
        return False
    if conn.phase.phase is not Phase.DISPATCH or conn.phase.over:
        return False
    if not exchange.keep:
        return not conn.wire.hung_up  # a peer that has left waits for no end
    return exchange.body_done and not exchange.spoiled and not conn.drain.draining and conn.arrived()


def succeed(before: Connection) -> Connection:
    """Another connection in the place of one that :func:`may_go_on`, yet to be served; its exchange is a new one."""
    wire, old = before.wire, before.exchange
    if wire is None:
        raise RuntimeError("only a connection on a socket has a successor")
    conn = Connection(wire, before.context, before.peer)  # which is the wire's attendant from here on
    for name in MOVED:
        setattr(conn, name, getattr(before, name))
    conn.parting = not old.keep
    old.taken = old.received
    conn.exchange.engine, old.engine = old.engine, conn.exchange.engine
    conn.exchange.memo = old.memo
    if old.keep:
        conn.exchange.engine.next_cycle()
    old.engine.receive(b"")  # nothing comes to it any more
    old.keep = False
    before.wire = before.plain = before.layer = before.tls = None
    before.broken = before.moved = True
    before.phase.deadline = math.inf
    return conn
