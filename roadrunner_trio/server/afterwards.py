"""A connection goes on while an application still works after its response: a background task, a clean-up, a log.

The application runs in the task of its connection, which therefore cannot read on. So another task does, when a next
request has come: a successor, with all that carries the connection and what is known of it. Who returns together with
its response, as nearly all do, pays nothing for that.

What is left behind is a connection without a wire, in its handler until the application has returned. It is one of the
listener's like all others: it has a place, so that there cannot be more of them than connections; it is listed, a drain
waits for it, and the drain's deadline cuts it. Nothing can be read or written by it: its request is over in all but name.
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
    """Whether a next request is there, and nothing keeps it but an application that has answered and not returned."""
    exchange = conn.exchange
    if not (exchange.ended and exchange.keep and exchange.body_done) or exchange.request.over:
        return False
    if exchange.waits or exchange.spoiled or conn.gone or conn.broken or conn.drain.draining:
        return False
    if conn.phase.phase is not Phase.DISPATCH or conn.phase.over:
        return False
    return conn.wire is not None and conn.arrived()


def succeed(before: Connection) -> Connection:
    """Another connection in the place of one that :func:`may_go_on`, yet to be served; its exchange is a new one."""
    wire = before.wire
    if wire is None:
        raise RuntimeError("only a connection on a socket has a successor")
    conn = Connection(wire, before.context, before.peer)  # which is its attendant from here on
    for name in MOVED:
        setattr(conn, name, getattr(before, name))
    conn.exchange.take_over_from(before.exchange)
    before.wire = before.plain = before.layer = before.tls = None
    before.broken = before.moved = True
    before.phase.deadline = math.inf
    return conn
