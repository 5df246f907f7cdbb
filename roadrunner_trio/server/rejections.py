"""Connections for which there is no place: each is told so, and costs next to nothing. And those that cannot be had."""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from typing import Final

import trio

from ..answering.context import ServerContext
from ..answering.faults import STRAYS, leaves, part_ways
from ..journal import log
from ..protocol.http1.encode import error_response
from ..telemetry.logs import Damper
from ..telemetry.observe import ConnectionRejected
from ..transport.streams import linger
from ..transport.wire import RECEIVE_SIZE, SocketWire

LINGER: Final = 1.0
AT_ONCE: Final = 64
"""How many are read from for so many seconds, so that their answer is not destroyed by a reset."""
SHORTAGE: Final = 60.0
"""Seconds for which one line says that this is so."""


class Rejections:
    """Those of one listener."""

    def __init__(self, context: ServerContext) -> None:
        self._context = context
        self._lingering = 0
        self._shortage: Damper | None = None

    def count(self, reason: str) -> None:
        """One more, for this reason."""
        self._context.counters.rejected += 1
        observers = self._context.observers
        if observers.listener_conn_rejected:
            event = ConnectionRejected(self._context.name, reason, time.time())
            observers.tell(observers.listener_conn_rejected, event)

    def turn_away(self, sock: socket.socket, reason: str, nursery: trio.Nursery | None) -> None:
        """503 by one send after one read, neither waiting; a few are read from a little longer (N70)."""
        self.count(reason)
        wire = SocketWire(sock)
        if self._context.tls is not None:  # an answer in clear would be noise, and a handshake more work, not less
            wire.close()
            return
        with suppress(OSError):
            sock.recv(RECEIVE_SIZE)  # what has come already would turn the close into a reset
        try:
            sock.send(error_response(503, [(b"retry-after", b"1")]))
        except OSError:
            wire.close()
            return
        if nursery is not None and self._lingering < AT_ONCE:
            self._lingering += 1
            nursery.start_soon(self._see_off, wire, name=f"{self._context.name}: turned away")
        else:
            wire.close()

    async def _see_off(self, wire: SocketWire) -> None:
        try:
            await linger(wire, LINGER, RECEIVE_SIZE)
        finally:
            self._lingering -= 1
            wire.close()

    def cannot_accept(self, why: OSError) -> None:
        """Counts it; ten lines a second of it would fill the disk of a machine that is short of something already."""
        context = self._context
        context.counters.accepts_failed += 1
        shortage = self._shortage = self._shortage or Damper(1, SHORTAGE)
        if shortage.admits(trio.current_time()):
            before = shortage.take()
            again = f"; {before} more failures since this was last said" if before else ""
            log.error("listener %r cannot accept: %s%s", context.name, why, again)


def stop_if_stray(exc: BaseException, name: str) -> None:
    """Raises an error in place of what would end the nursery of all connections without a word."""
    if (error := part_ways(exc)[0]) is not None and any(isinstance(leaf, STRAYS) for leaf in leaves(error)):
        log.error("listener %r ends: what it accepts from raised somebody else's cancellation", name)
        raise RuntimeError("accept() raised a cancellation, or an end, that was meant for somebody else") from exc
