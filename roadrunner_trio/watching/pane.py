"""One process, as it is told to whoever looks, by whatever way that goes out.

Nothing happens while nobody looks. Samples are taken for those who do, once a second, and they share them.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import trio

from ..server.listener import Listener
from .changes import changes, everything
from .recent import Row
from .sample import Eye, Sample, numbers_of

EVERY: Final = 1.0
"""Seconds from one sample to the next, at least."""
SHARE: Final = 1 / 64
"""Of a core, what samples may take: the more there is to see, the longer it is until the next look."""

Say = Callable[[str, dict[str, Any]], Awaitable[object]]
"""Says the name of an event, and what it tells."""


class Pane:
    """The listeners of this process, and all of its tasks.

    Args:
        listeners: which to show.
    """

    def __init__(self, listeners: Sequence[Listener]) -> None:
        self._eye = Eye(listeners)
        self._last: Sample | None = None
        self._every = EVERY
        self._readers = 0

    async def follow(self, say: Say) -> None:
        """Says all that there is, then what changes, until it is cancelled or nobody listens any more."""
        with self._reading():
            known = self._sample()
            await say("all", everything(known))
            while True:
                await trio.sleep(self._every)
                new = self._sample()
                await say("change", changes(known, new))
                known = new

    async def count(self, say: Say) -> None:
        """Says what the listeners say of themselves, again and again: what is to be known of one process of several."""
        while True:
            began = time.thread_time()
            listeners = [numbers_of(each) for each in self._eye.listeners]
            cost = time.thread_time() - began
            await say("numbers", {"t": round(trio.current_time(), 2), "listeners": listeners})
            await trio.sleep(max(EVERY, cost / SHARE))

    def closer(self, wanted: str) -> Row | None:
        """What the last sample calls so, as it is now; None when it is over."""
        return self._eye.closer(wanted)

    @contextmanager
    def _reading(self) -> Generator[None, None, None]:
        self._readers += 1
        try:
            yield
        finally:
            self._readers -= 1
            if not self._readers:
                self._eye.close()
                self._last = None

    def _sample(self) -> Sample:
        """A new sample, or the one that another reader has just had."""
        now = trio.current_time()
        if self._last is None or now - self._last.time >= self._every / 2:
            began = time.thread_time()
            self._last = self._eye.sample()
            self._every = max(EVERY, (time.thread_time() - began) / SHARE)
        return self._last
