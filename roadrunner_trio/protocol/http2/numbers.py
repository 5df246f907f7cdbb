"""Which streams there have been, from their numbers alone (RFC 9113 section 5.1.1).

A stream that is over leaves nothing behind. Only of some is a note taken for a while: those that were reset, for the
other side may not have known yet, and numbers that were never used, for a stream with one of them would be a step back.
"""

from __future__ import annotations

import enum
from typing import Final

SKIPPED: Final = 16
"""Ranges of unused numbers that are remembered; of older ones it is not known that they were none."""
RESET: Final = 256
"""Streams that were reset of which it is remembered: more than twice as many as can be open."""


class Past(enum.Enum):
    """What a stream is that is not open."""

    IDLE = "it has not begun"
    CLOSED = "it has ended"
    RESET_BY_US = "we have reset it, of which the peer may not know"
    RESET_BY_PEER = "the peer has reset it"
    SKIPPED = "its number was passed over"


class Numbers:
    """The numbers of one connection's streams.

    Attributes:
        highest: of those that the peer has begun.
    """

    __slots__ = ("_reset", "_skipped", "highest")

    def __init__(self) -> None:
        self.highest = 0
        self._skipped: list[tuple[int, int]] | None = None
        self._reset: dict[int, Past] | None = None

    def open(self, number: int) -> None:
        """A stream begins, with a number above all before."""
        if number > self.highest + 2 and number > 1:
            self._skipped = [*(self._skipped or ())[-SKIPPED + 1 :], (self.highest + 1, number - 1)]
        self.highest = number

    def reset(self, number: int, past: Past) -> None:
        """A stream was reset."""
        notes = self._reset = self._reset or {}
        notes[number] = past
        if len(notes) > RESET:
            del notes[next(iter(notes))]

    def past(self, number: int) -> Past:
        """What has become of a stream that is not open. Those of even numbers would be ours, who begin none."""
        if number > self.highest or not number & 1:
            return Past.IDLE
        if self._reset is not None and number in self._reset:
            return self._reset[number]
        if any(low <= number <= high for low, high in self._skipped or ()):
            return Past.SKIPPED
        return Past.CLOSED
