"""Tasks that have nothing to serve, kept for the next connection: to make one with its scope and its task takes longer
than to answer a request.

A task whose connection has ended in order, or has been parked, waits where it always waits, for octets, and has its
connection object and its exchange with it. Who is accepted next, or wakes, goes on in there; and all that was known of
the last peer is forgotten. While it rests it is nobody's: it has no place, no drain and no deadline, and is not listed.
"""

from __future__ import annotations

import math
import socket
from typing import Final

from ..answering.context import ServerContext
from ..transport.drain import Drain
from ..transport.poller import Poller
from ..transport.streams import Address, shown
from ..transport.wire import EPOLLIN, SocketWire
from .connection import Connection

KEPT: Final = 64
"""Tasks that rest at most."""


class Spares:
    """Those of one listener.

    Args:
        context: what its connections share.
        poller: who tells of what comes.
    """

    def __init__(self, context: ServerContext, poller: Poller) -> None:
        self._context = context
        self._poller = poller
        self._resting: list[Connection] = []
        self._at_rest = f"{context.name}: at rest"
        self._open = True
        # Else there is a handshake before its first request, or another protocol, which a task of its own tells.
        bare = context.tls is None and context.proxy_protocol is None
        self._begins = bare and Connection.protocol in context.protocols

    async def rest(self, conn: Connection) -> bool:
        """Ends a connection that :func:`has_ended`, and whether its task goes on without it; else it ends as any."""
        if not (self._begins and self._wanted and has_ended(conn)) or conn.plain is None:
            return False
        conn.phase.deadline = math.inf  # the handler's: what the peer has yet to take has the time of a write
        conn.exchange.give_back()
        await conn.send_last()
        if conn.plain.held or not (self._wanted and has_ended(conn)):
            return False
        if self._poller.leader is conn.task:
            self._poller.relieve()  # who leads waits for the poller, and not at its wire
        conn.drain.leave(conn)
        conn.tell_close()
        return self._retire(conn, conn.plain)

    @property
    def _wanted(self) -> bool:
        return self._open and len(self._resting) < KEPT

    def _retire(self, conn: Connection, wire: SocketWire) -> bool:
        wire.retire()
        conn.closed = conn.parked = True
        conn.phase.suspend()
        return self.keep(conn)

    def keep(self, conn: Connection) -> bool:
        """A connection has given up its socket. Whether its task rests; else it ends."""
        if not self._wanted or conn.task is None or conn.plain is None:
            _dismiss(conn)
            return False
        conn.task.name = self._at_rest
        conn.drain = self._context.drain  # the last one's may have begun
        conn.exchange.forget()
        self._resting.append(conn)
        return True

    def resumed(self, sock: socket.socket, peer: Address, drain: Drain, *, tcp: bool) -> Connection | None:
        """A connection that rests and goes on with another socket, of which the poller knows, if there is one."""
        while self._resting:
            conn = self._resting.pop()
            if conn.task is not None and conn.wire is not None and conn.adopt(sock, peer, drain, tcp=tcp):
                conn.exchange.engine.next_cycle()
                conn.task.name = f"{self._context.name}: {shown(peer)}"
                return conn
        return None

    def begun(self, sock: socket.socket, peer: Address) -> Connection | None:
        """A new connection on a socket that has been accepted, if a task rests for it; in the drain, and to be started.

        Raises:
            OSError: the system has no room for another watch.
        """
        if not self._begins:
            return None
        context = self._context
        conn = self.resumed(sock, peer, context.drain, tcp=not isinstance(peer, str))
        if conn is None or conn.wire is None:
            return None
        try:
            sock.setblocking(False)
            self._poller.watch(sock, conn.wire)
        except OSError:
            self._retire(conn, conn.wire)
            raise
        conn.drain.join(conn)
        conn.phase.renew(context.timeouts.request, context.timeouts.park_after)
        return conn

    def start(self, conn: Connection) -> None:
        """Has a connection that has begun read at once: who has just come has often asked already."""
        self._context.variables.copy().run(conn.tell_accept)  # what an observer sets is seen by nobody
        if conn.wire is not None:
            conn.wire.edge(EPOLLIN)

    def close(self) -> None:
        """Ends all of them, and those that would come."""
        self._open = False
        while self._resting:
            _dismiss(self._resting.pop())


def _dismiss(conn: Connection) -> None:
    conn.phase.end("nobody needs the task of this connection")
    conn.phase.close()
    conn.exchange.end()
    del conn.exchange  # each of the two holds the other


def has_ended(conn: Connection) -> bool:
    """Whether a connection has come to its end in order: nothing of it is left to be read, written or waited for, and
    the peer reads the end without being waited for."""
    exchange = conn.exchange
    if not (exchange.ended and exchange.body_done) or exchange.keep or exchange.spoiled:
        return False
    if exchange.taken_over or exchange.waits:
        return False
    if conn.gone or conn.broken or conn.phase.over or conn.drain.draining or not exchange.engine.empty:
        return False
    return not conn.wants_linger()
