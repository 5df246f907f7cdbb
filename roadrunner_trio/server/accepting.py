"""The accept loop of one listening socket: how many at once, and when it is another process's turn.

Trio's own accepts one connection a scheduler pass, drops the accept queue when it is cancelled, and could not answer
503 at the cap.

Alone, a process accepts what there is. In company it accepts one at a time, and what is left wakes the others; only
while its last batch has left some waiting, as in a storm of connections that keeps everybody busy, it doubles the next.
So of a few connections none waits behind one that keeps this process busy while another is idle.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

import trio

from ..transport.bind import Acceptor
from ..transport.streams import Address, tidy

ALONE: Final = 64
"""Connections accepted at once, before those that have been accepted have a turn, where nobody else accepts."""
TOGETHER: Final = 16
"""At most, where others do."""
BACK_OFF: Final = 0.1
"""Seconds to wait when the process or the machine has no descriptors or buffers left."""
EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
VANISHED: Final = frozenset(
    {errno.ECONNABORTED, errno.EPROTO, errno.EPERM, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN}
)
"""What accept says of a connection that broke while it waited (accept(2)): the next one may be well."""


class Neighbours(Protocol):
    """Other processes that accept on the same sockets."""

    def patience(self, present: int, accepted: int) -> float:
        """Seconds to look away; 0 when it is this process's turn.

        Args:
            present: connections that this process has.
            accepted: those that it has had, all in all.
        """
        ...

    def note(self, present: int) -> None:
        """So many connections are there; told when one has gone, for else only who comes would be counted."""
        ...

    def insistence(self) -> int:
        """Connections to accept after so long, if they are still there."""
        ...


@dataclass(frozen=True, slots=True)
class Host:
    """Whose door it is.

    Attributes:
        admit: somebody has come, from there.
        admitted: so many have, in one step.
        cannot_accept: time has to pass before anybody can be accepted.
        count: connections that are there, and that have been accepted.
    """

    admit: Callable[[socket.socket, Address], None]
    admitted: Callable[[int], None]
    cannot_accept: Callable[[OSError], None]
    count: Callable[[], tuple[int, int]]


class AcceptLoop:
    """Accepts on one socket.

    Args:
        sock: it listens, and does not block.
        host: whose it is.
    """

    def __init__(self, sock: socket.socket, host: Host) -> None:
        self._sock = sock
        self._host = host
        self._accept = Acceptor(sock)

    async def run(self, others: Neighbours | None) -> None:
        """Accepts, in turns with ``others``, until it is cancelled, for ever."""
        most = 1
        while True:
            await trio.lowlevel.wait_readable(self._sock)
            if others is None:
                done = self.take(ALONE)
            elif wait := others.patience(*self._host.count()):
                await trio.sleep(wait)
                done = self.take(others.insistence())
            else:
                done = self.take(most, others)
                most = min(2 * most, TOGETHER) if self._accept.waits() else 1
            if not done:
                await trio.sleep(BACK_OFF)

    def take(self, most: int, others: Neighbours | None = None) -> bool:
        """Accepts up to ``most`` that wait, as long as it is not the turn of ``others``.

        False when accepting fails for a reason that needs time to pass.
        """
        came = 0
        for _ in range(most):
            try:
                found = self._accept()
            except OSError as exc:
                if exc.errno in VANISHED:
                    continue
                if self._sock.fileno() == -1:
                    return False  # a drain has emptied and closed it in the tick in which somebody came
                self._host.cannot_accept(exc)
                return False
            if found is None:
                break
            self._host.admit(found[0], tidy(found[1]))
            came += 1
            if others is not None and others.patience(*self._host.count()):
                break
        self._host.admitted(came)
        return True
