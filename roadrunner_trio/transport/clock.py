"""The deadlines of all connections of a listener: one heap, one task, one sleeping scope.

A timer stores its deadline as a plain float and may push it back as often as it likes without a word to the clock;
only a deadline *earlier* than the one the clock holds is announced. When an entry comes up, the clock looks whether
it was postponed and files it again. So a busy keep-alive connection, which moves its deadline twice a request,
costs the heap one push in half a minute. Setting ``CancelScope.deadline`` instead was a third of a request's cost.

The clock sleeps in one cancel scope and moves *that* scope's deadline; times are exact, and a virtual clock jumps to
them. It knows nothing of connections.

When it wakes late, the loop has not turned: a handler blocked it, or the process was stopped. That time counts for
nobody. A deadline that came up in it is put off by as much as it is late, once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Any, Final, Protocol

import trio

from ..journal import log

LATE: Final = 0.1
"""Seconds after which a deadline that could not be kept is no longer a matter of a busy loop."""


class Timer(Protocol):
    """What the clock can hold."""

    deadline: float
    """When to fire, in Trio's time; may move later at any moment."""
    armed: float
    """When the clock will look at this timer; the clock's own, ``math.inf`` at first."""

    def fire(self) -> None:
        """Called once when the deadline has come. Must not block. What it raises is logged, and the clock goes on."""
        ...


class _Entry(list[Any]):
    """When to look at a timer, the order among those of one moment, the timer or None, whether it has been put off."""

    __slots__ = ()


class Clock:
    """Fires timers at their deadlines while :meth:`run` runs."""

    def __init__(self) -> None:
        self._heap: list[_Entry] = []
        self._filed: dict[Timer, _Entry] = {}
        self._order = count()
        self._dead = 0
        self._sleep = trio.CancelScope()
        self._time: Callable[[], float] | None = None

    @property
    def time(self) -> Callable[[], float]:
        """Trio's time, without ``trio.current_time``'s two steps to it; one function for all timers, to be kept."""
        if self._time is None:
            self._time = trio.lowlevel.current_clock().current_time
        return self._time

    def __len__(self) -> int:
        return len(self._heap)

    def arm(self, timer: Timer) -> None:
        """Makes sure ``timer`` is looked at by its deadline. Call it when the deadline is earlier than ``armed``."""
        self._bury(timer)
        self._file(timer, excused=timer.deadline <= self.time())  # in the past already: not for want of a turn
        if timer.deadline < self._sleep.deadline:
            self._sleep.deadline = timer.deadline

    def replace(self, before: Timer, after: Timer) -> None:
        """Has ``after``, which is new, in the place of ``before``, which has no deadline any more.

        It is looked at when that would have been: one entry less, where thousands take over from others.
        """
        entry = self._filed.pop(before, None)
        before.armed = math.inf
        if entry is not None:
            entry[2], entry[3] = after, False
            self._filed[after], after.armed = entry, entry[0]
        if after.deadline < after.armed:
            self.arm(after)

    def disarm(self, timer: Timer) -> None:
        """Forgets ``timer``, and holds nothing of it; its entry is swept later."""
        if timer.armed != math.inf:
            timer.armed = math.inf
            self._bury(timer)

    async def run(self) -> None:
        """Sleeps to the next deadline, fires what is due, for ever."""
        while True:
            with trio.CancelScope(deadline=self._heap[0][0] if self._heap else math.inf) as self._sleep:
                await trio.sleep_forever()
            self._fire_due()

    def _fire_due(self) -> None:
        now = trio.current_time()
        while self._heap and self._heap[0][0] <= now:
            armed, _, timer, excused = heappop(self._heap)
            if timer is None:
                self._dead -= 1
                continue
            del self._filed[timer]
            timer.armed = math.inf
            late = now - timer.deadline
            if late > LATE and not (excused and timer.deadline == armed):
                timer.deadline = now + late
                self._file(timer, excused=True)
            elif late >= 0:
                _fire(timer)
            elif timer.deadline != math.inf:
                self._file(timer, excused=False)

    def _file(self, timer: Timer, *, excused: bool) -> None:
        timer.armed = timer.deadline
        entry = self._filed[timer] = _Entry((timer.deadline, next(self._order), timer, excused))
        heappush(self._heap, entry)

    def _bury(self, timer: Timer) -> None:
        """Empties the entry of a timer; a heap that is mostly such entries is rebuilt and cannot grow on them."""
        if (entry := self._filed.pop(timer, None)) is None:
            return
        entry[2] = None
        self._dead += 1
        if self._dead > 64 and self._dead * 2 > len(self._heap):
            self._heap = [each for each in self._heap if each[2] is not None]
            heapify(self._heap)
            self._dead = 0


def _fire(timer: Timer) -> None:
    """This task is everybody's; whoever it calls is somebody's."""
    try:
        timer.fire()
    except KeyboardInterrupt:
        raise
    except BaseException:
        log.exception("the timer %s failed", type(timer).__name__)
