"""A timer that calls somebody, and costs the clock nothing as long as its time is only ever pushed back."""

from __future__ import annotations

import math
from collections.abc import Callable

from ...transport.clock import Clock


class Alarm:
    """Something to be done at a time that may change.

    Args:
        clock: the listener's.
        ring: what is to be done. Synchronous, in the clock's task.
    """

    __slots__ = ("_clock", "_ring", "armed", "deadline")

    def __init__(self, clock: Clock, ring: Callable[[], None]) -> None:
        self._clock = clock
        self._ring = ring
        self.deadline = self.armed = math.inf

    def fire(self) -> None:
        """The clock's word."""
        self.deadline = math.inf
        self._ring()

    def set(self, deadline: float) -> None:
        """It is to ring at ``deadline``, in Trio's time, and no more at the one before."""
        self.deadline = deadline
        if deadline < self.armed:
            self._clock.arm(self)

    def unset(self) -> None:
        """It is not to ring."""
        self.deadline = math.inf

    def discard(self) -> None:
        """It is over: the clock holds nothing of it, nor it anything of who has made it."""
        if self.armed != math.inf:
            self._clock.disarm(self)
        self.deadline = math.inf
        self._ring = _nothing


def _nothing() -> None:
    """Is done for nobody."""
