"""Who may be told by a wire, in the poller's task: of what has arrived, of room, of a peer that leaves. And who sends.

All that is told is synchronous, and must not raise: the task in which it runs serves everybody.
"""

from __future__ import annotations

from typing import Protocol

import trio


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


class Sender(Protocol):
    """A wire, to one that sends on it."""

    sending: bool

    def check_open(self, *, sending: bool) -> None:
        """Raises ``ClosedResourceError`` when nothing can be done with it, or nothing be sent on it."""
        ...


class Sending:
    """The guard around a send: a checkpoint before, one sender at a time, one error in Trio's words."""

    __slots__ = ("sends", "wire")

    def __init__(self, wire: Sender, sends: bool) -> None:
        self.wire = wire
        self.sends = sends

    async def __aenter__(self) -> None:
        self.wire.sending = True
        try:
            await trio.lowlevel.checkpoint()
            self.wire.check_open(sending=self.sends)  # only now: somebody may have closed it in between
        except BaseException:
            self.wire.sending = False
            raise

    async def __aexit__(self, *exc_info: object) -> None:
        self.wire.sending = False
