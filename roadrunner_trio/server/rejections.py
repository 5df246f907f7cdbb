"""Connections for which there is no place: each is told so, and costs next to nothing."""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from typing import Final

import trio

from ..answering.context import ServerContext
from ..protocol.http1.encode import error_response
from ..telemetry.observe import ConnectionRejected
from ..transport.streams import linger
from ..transport.wire import RECEIVE_SIZE, SocketWire

LINGER: Final = 1.0
AT_ONCE: Final = 64
"""How many are read from for so many seconds, so that their answer is not destroyed by a reset."""


class Rejections:
    """Those of one listener."""

    def __init__(self, context: ServerContext) -> None:
        self._context = context
        self._lingering = 0

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
