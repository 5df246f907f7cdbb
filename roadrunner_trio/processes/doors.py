"""The sockets that all processes listen on: opened by the supervisor, or taken over from who had them before it."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import TypeAlias

from ..transport.bind import Bindable, adopted, open_listeners

Pool: TypeAlias = dict[str, list[socket.socket]]
"""Sockets that are open already, by the address as it was written."""


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
        for item in items:
            key = str(item)
            if key in self.pool:
                own[key] = self.pool.pop(key)
            else:
                found = await open_listeners(self._find([item]), backlog, reuse_port=reuse_port)
                own[key] = [sock for sock in found if isinstance(sock, socket.socket)]

    def __iter__(self) -> Iterator[tuple[str, str, socket.socket]]:
        """Listener, address as it was written, and socket, of each."""
        for listener, own in self._doors.items():
            for key, sockets in own.items():
                for sock in sockets:
                    yield listener, key, sock

    def leave_open(self) -> None:
        """Others hold copies, who are to go on with them: to close ours, now, is the end of neither door nor file."""
        for own in self._doors.values():
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

    def state(self) -> list[tuple[str, int]]:
        """For a successor: :func:`pool_of` makes a pool of it."""
        return [(key, sock.fileno()) for _, key, sock in self]

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


def pool_of(state: Sequence[tuple[str, int]]) -> Pool:
    """Sockets that a predecessor has left, as objects that own them."""
    pool: Pool = {}
    for key, descriptor in state:
        os.set_inheritable(descriptor, False)
        pool.setdefault(key, []).append(adopted(key, descriptor))
    return pool
