"""Costly work, a little of one connection's in each turn of Trio's loop.

A peer may send what costs far more to read than to send: compressed data, frames of nothing. Whoever reads it does so
for some milliseconds, and leaves the rest to :meth:`Turns.later`. Others wait there too, and one of them goes on in a
turn. So those that are costly wait for one another, and their neighbours for one step of one of them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import trio


class Turns:
    """Steps that wait, first come, first served; one listener has one."""

    __slots__ = ("_asked", "_steps")

    def __init__(self) -> None:
        self._steps: deque[Callable[[], None]] = deque()
        self._asked = False

    def later(self, step: Callable[[], None]) -> None:
        """Has ``step`` called in a turn to come. It is called by Trio's own task, and so must not raise."""
        self._steps.append(step)
        if not self._asked:
            self._ask()

    def _ask(self) -> None:
        try:
            trio.lowlevel.current_trio_token().run_sync_soon(self._go_on)
        except trio.RunFinishedError:  # what waited when the run ended is called all the same, and may want another
            self._steps.clear()
        else:
            self._asked = True

    def _go_on(self) -> None:
        self._asked = False
        step = self._steps.popleft()
        if self._steps:
            self._ask()
        step()
