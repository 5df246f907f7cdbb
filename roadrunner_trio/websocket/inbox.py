"""Messages that wait for their handler, or a handler that waits for a message: never both.

Who waits is handed what comes, so that it need not stand in a queue for the length of a task switch. What stands in the
queue is counted, and so is the message under way: the session's share of what the listener may hold in memory.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import trio

from ..answering.buffers import Buffered, Share
from ..protocol.ws.assembly import cost
from ..protocol.ws.frames import Piece

Item: TypeAlias = str | bytes | Piece


class Waiting:
    """A task that waits, and what it is woken with: None when that is the end."""

    __slots__ = ("_among", "item", "task")

    task: trio.lowlevel.Task

    def __init__(self, among: list[Waiting]) -> None:
        self.item: Item | None = None
        self._among = among

    def give_up(self, _: object) -> trio.lowlevel.Abort:
        """The wait was cancelled."""
        self._among.remove(self)
        return trio.lowlevel.Abort.SUCCEEDED

    def unwrap(self) -> Item | None:
        """As an outcome is asked by the task that waited."""
        return self.item


class Inbox:
    """A queue, and who waits at its end.

    Attributes:
        items: first come, first served.
        octets: that they take in memory.
        waiting: likewise.
        spare: one that may be used again.
    """

    __slots__ = ("_share", "items", "octets", "spare", "waiting")

    def __init__(self, buffered: Buffered) -> None:
        self.items: list[Item] = []
        self.octets = 0
        self.waiting: list[Waiting] = []
        self.spare: Waiting | None = None
        self._share = Share(buffered)

    def put(self, item: Item, under_way: int = 0) -> bool:
        """Takes ``item`` in, or hands it over; False, and it is dropped, when the listener holds too much already.

        Args:
            under_way: octets of a message that is not whole yet.
        """
        if self.waiting:
            waiting: Any = self.waiting.pop(0)
            waiting.item = item
            trio.lowlevel.reschedule(waiting.task, waiting)
            return True
        octets = self.octets + _cost(item)
        if not self._share.hold(octets + under_way):
            return False
        self.items.append(item)
        self.octets = octets
        return True

    def take(self, under_way: int) -> Item:
        """The first item."""
        item = self.items.pop(0)
        self.octets -= _cost(item)
        self._share.hold(self.octets + under_way)
        return item

    def count(self, under_way: int) -> bool:
        """Counts what is under way; False when the listener holds too much already."""
        return self._share.hold(self.octets + under_way)

    def wake(self) -> None:
        """Nothing more comes: whoever waits goes on."""
        waiting: Any
        for waiting in self.waiting:
            trio.lowlevel.reschedule(waiting.task, waiting)
        self.waiting.clear()

    def clear(self, under_way: int = 0) -> None:
        """Drops what nobody has taken."""
        self.items.clear()
        self.octets = 0
        self._share.hold(under_way)


def _cost(item: Item) -> int:
    return cost(item.data if isinstance(item, Piece) else item)
