"""Messages that wait for their handler, or a handler that waits for a message: never both.

Who waits is handed what comes, so that it need not stand in a queue for the length of a task switch. What stands in the
queue is counted, and so is the message under way: the session's share of what the listener may hold in memory.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import trio

from ..answering.buffers import Buffered, Share
from ..protocol.ws.assembly import cost
from ..protocol.ws.frames import Piece

Item: TypeAlias = str | bytes | Piece
NOTHING: Final[tuple[()]] = ()
"""What most inboxes hold, and need no list for."""


class Waiting:
    """A task that waits behind another, and what it is woken with: None when that is the end."""

    __slots__ = ("_among", "item", "task")

    def __init__(self, task: trio.lowlevel.Task, among: list[Waiting]) -> None:
        self.task = task
        self.item: Item | None = None
        self._among = among

    def __call__(self, _: object) -> trio.lowlevel.Abort:
        """The wait was cancelled."""
        self._among.remove(self)
        return trio.lowlevel.Abort.SUCCEEDED

    def unwrap(self) -> Item | None:
        """As an outcome is asked by the task that waited."""
        return self.item


class Inbox(Share):
    """A queue, who waits at its end, and its share of what all together may hold.

    There is one task that waits, as a rule, for hours: for that it takes nothing but this object, which is the abort
    function of the wait and its outcome. Others have a :class:`Waiting` each.

    Attributes:
        items: first come, first served.
        octets: that they take in memory.
        task: who waits first.
        handed: what it is woken with, until it goes on.
        others: who waits behind it, or behind what is handed to it, likewise.
    """

    __slots__ = ("handed", "items", "octets", "others", "task")

    def __init__(self, all_: Buffered) -> None:
        super().__init__(all_)
        self.items: list[Item] | tuple[()] = NOTHING
        self.octets = 0
        self.task: trio.lowlevel.Task | None = None
        self.handed: Item | None = None
        self.others: list[Waiting] | None = None

    # -- who waits ---------------------------------------------------------------------------------

    @property
    def awaited(self) -> bool:
        """Whether somebody waits."""
        return self.task is not None or bool(self.others)

    def queue_up(self) -> Inbox | Waiting:
        """The task that calls it waits from now on: with what this gives as the abort function, and at once."""
        task = trio.lowlevel.current_task()
        if self.task is None and self.handed is None and not self.others:
            self.task = task
            return self
        if self.others is None:
            self.others = []
        waiting = Waiting(task, self.others)
        self.others.append(waiting)
        return waiting

    def __call__(self, _: object) -> trio.lowlevel.Abort:
        """The first wait was cancelled."""
        self.task = None
        return trio.lowlevel.Abort.SUCCEEDED

    def unwrap(self) -> Item | None:
        """As an outcome is asked by the task that waited first."""
        item, self.handed = self.handed, None
        return item

    def wake(self) -> None:
        """Nothing more comes: whoever waits goes on."""
        outcome: Any = self
        if self.task is not None:
            trio.lowlevel.reschedule(self.task, outcome)
            self.task = None
        for outcome in self.others or ():
            trio.lowlevel.reschedule(outcome.task, outcome)
        self.others = None

    # -- what waits --------------------------------------------------------------------------------

    def put(self, item: Item, under_way: int = 0) -> bool:
        """Takes ``item`` in, or hands it over; False, and it is dropped, when the listener holds too much already.

        Args:
            under_way: octets of a message that is not whole yet.
        """
        if self.awaited:
            self._hand(item)
            return True
        octets = self.octets + _cost(item)
        if not self.hold(octets + under_way):
            return False
        if isinstance(self.items, list):
            self.items.append(item)
        else:
            self.items = [item]
        self.octets = octets
        return True

    def _hand(self, item: Item) -> None:
        outcome: Any = self
        if self.task is not None:
            self.handed = item
            task, self.task = self.task, None
        else:
            outcome = (self.others or []).pop(0)
            outcome.item, task = item, outcome.task
        trio.lowlevel.reschedule(task, outcome)

    def take(self, under_way: int) -> Item:
        """The first item.

        Raises:
            IndexError: there is none.
        """
        if not isinstance(self.items, list):
            raise IndexError("there is no item")
        item = self.items.pop(0)
        if not self.items:
            self.items = NOTHING
        self.octets -= _cost(item)
        self.hold(self.octets + under_way)
        return item

    def count(self, under_way: int) -> bool:
        """Counts what is under way; False when the listener holds too much already."""
        return self.hold(self.octets + under_way)

    def clear(self, under_way: int = 0) -> None:
        """Drops what nobody has taken."""
        self.items = NOTHING
        self.octets = 0
        self.hold(under_way)


def _cost(item: Item) -> int:
    return cost(item.data if isinstance(item, Piece) else item)
