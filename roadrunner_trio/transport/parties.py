"""Who may be told by a wire, in the poller's task: of what has arrived, of room, of a peer that leaves.

All of it is synchronous, and must not raise: the task in which it runs serves everybody.
"""

from __future__ import annotations

from typing import Protocol


class Attendant(Protocol):
    """Who is told when the peer of a wire leaves."""

    def hang_up(self, events: int) -> None:
        """``events`` is a mask of ``select.EPOLL*``. Synchronous; must not raise."""
        ...


class Reader(Protocol):
    """Who reads a wire without a task that waits for it."""

    def read_now(self) -> None:
        """Something has arrived, or the peer has gone. Synchronous; must not raise."""
        ...


class Writer(Protocol):
    """Who writes to a wire without a task that waits for it."""

    def write_now(self) -> None:
        """The socket may take more again, or the peer has gone. Synchronous; must not raise."""
        ...
