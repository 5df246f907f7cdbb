"""The sockets that all processes listen on: opened by the supervisor, or taken over from who had them before it."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import TypeAlias

from ..transport.bind import Bindable, adopted, open_listeners
from ..transport.unix import UnixSocket

Pool: TypeAlias = dict[str, list[socket.socket]]
"""Sockets that are open already, by the address as it was written."""
Door: TypeAlias = tuple[str, int] | tuple[str, int, Sequence[int] | None]
"""The address of a socket, its descriptor, and which file it has made, if it has not lost it."""


class Doors:
    """All of them, by listener and address.

    Args:
        pool: sockets that somebody has left; those that are wanted are taken out of it.
        find: says what is to be opened in place of an address that stands for others.
    """

    def __init__(self, pool: Pool, find: Callable[[Sequence[Bindable]], list[Bindable]] = list) -> None:
        self.pool = pool
        self._find = find
        self._doors: dict[str, Pool] = {}

    async def open(self, listener: str, items: Sequence[Bindable], backlog: int, *, reuse_port: bool) -> None:
        """Opens those of one listener, or takes them over.

        Raises:
            OSError: an address cannot be had; ``filename`` says which.
        """
        own = self._doors.setdefault(listener, {})
        taken = {str(item): self.pool.pop(str(item)) for item in items if str(item) in self.pool}
        own.update(taken)
        for item in items:  # port 0 may be wanted twice
            if str(item) not in taken:
                found = await open_listeners(self._find([item]), backlog, reuse_port=reuse_port)
                own.setdefault(str(item), []).extend(sock for sock in found if isinstance(sock, socket.socket))

    def __iter__(self) -> Iterator[tuple[str, str, socket.socket]]:
        """Listener, address as it was written, and socket, of each."""
        for listener, own in self._doors.items():
            for key, sockets in own.items():
                for sock in sockets:
                    yield listener, key, sock

    def leave_open(self) -> None:
        """Others hold copies, who are to go on with them: to close ours, now, is the end of neither door nor file."""
        for own in [*self._doors.values(), self.pool]:
            for key, sockets in own.items():
                own[key] = [socket.socket(fileno=sock.detach()) for sock in sockets]

    def of(self, listener: str) -> list[socket.socket]:
        """The sockets of one listener."""
        return [sock for sockets in self._doors[listener].values() for sock in sockets]

    def descriptors(self) -> dict[str, list[int]]:
        """By the name of the listener."""
        found: dict[str, list[int]] = {}
        for listener, _, sock in self:
            found.setdefault(listener, []).append(sock.fileno())
        return found

    def by_address(self) -> dict[str, list[int]]:
        """The descriptors, by the address as it was written."""
        found: dict[str, list[int]] = {}
        for _, key, sock in self:
            found.setdefault(key, []).append(sock.fileno())
        return found

    def state(self) -> list[Door]:
        """For a successor: :func:`pool_of` makes a pool of it."""
        return [
            (key, sock.fileno(), sock.file) if isinstance(sock, UnixSocket) else (key, sock.fileno())
            for _, key, sock in self
        ]

    def close(self) -> None:
        """Closes all, and what nobody has wanted, for this process."""
        for sock in [*(sock for _, _, sock in self), *(each for found in self.pool.values() for each in found)]:
            with suppress(OSError):
                sock.close()
        self._doors.clear()
        self.pool.clear()

    def close_unwanted(self) -> None:
        """Closes what is left in the pool: addresses that nobody listens on any more."""
        for sock in [sock for found in self.pool.values() for sock in found]:
            sock.close()
        self.pool.clear()


def pool_of(state: Sequence[Door]) -> Pool:
    """Sockets that a predecessor has left, as objects that own them."""
    pool: Pool = {}
    for key, descriptor, *known in state:
        os.set_inheritable(descriptor, False)
        sock = adopted(key, descriptor)
        if isinstance(sock, UnixSocket) and known and (known[0] is None or tuple(known[0]) != sock.file):
            sock.lose()
        pool.setdefault(key, []).append(sock)
    return pool
