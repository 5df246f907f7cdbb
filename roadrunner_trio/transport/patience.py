"""The time that a peer has for its part of one wait: a cancel scope, with its deadline on the listener's clock.

Trio's own deadlines judge by the time at which they are looked at. A peer is judged by what it has done: time in which
the loop did not turn counts for nobody (see :mod:`.clock`), and before its time is up somebody asks whether what is
waited for has come.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from types import TracebackType
from typing import Final

import trio

from .clock import Clock

SPARED: Final = 1.0
"""Seconds in which what had arrived when a peer's time was up has to become something."""


class Patience:
    """A scope that is cancelled when the peer's time is up. No generator: what cancels one, its frames would keep.

    Args:
        clock: where its deadline is.
        deadline: absolute Trio time.
        done: whether the peer has done something that we have not seen yet; asked once, for then it has a second more.

    Attributes:
        expired: whether that has ended it.
        scope: the scope.
    """

    __slots__ = ("_done", "armed", "clock", "deadline", "expired", "scope")

    def __init__(self, clock: Clock, deadline: float, done: Callable[[], bool] | None) -> None:
        self.clock = clock
        self.deadline: float = deadline
        self.armed: float = math.inf
        self.expired = False
        self.scope = trio.CancelScope()
        self._done = done

    def fire(self) -> None:
        """The clock's word."""
        done, self._done = self._done, None
        if done is not None and done():
            self.deadline = self.clock.time() + SPARED
            self.clock.arm(self)
        else:
            self.expired = True
            self.scope.cancel(reason="the peer has had its time")

    def __enter__(self) -> Patience:
        if self.deadline != math.inf:
            self.clock.arm(self)
        self.scope.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        self.clock.disarm(self)
        self._done = None
        self.scope.__exit__(kind, value, traceback)
        self.expired &= self.scope.cancelled_caught
        return self.scope.cancelled_caught
