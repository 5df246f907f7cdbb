"""A connection goes on while an application still works after its response: a background task, a clean-up, a log.

The application runs in the task of its connection, which therefore cannot read on. So another task does, when a next
request has come, or the peer is to see the end: a successor, with all that carries the connection and what is known of
it. Who returns together with its response, as nearly all do, pays nothing for that.

What is left behind is a connection without a wire, in its handler until the application has returned. It is one of the
listener's like all others: it has a place, so that there cannot be more of them than connections; it is listed, a drain
waits for it, and the drain's deadline cuts it. It can neither read nor write: its request is over in all but name.
"""

from __future__ import annotations

import math
from typing import Final

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
