"""What the log is told of peers that were turned away or given up, in moderation; and what nobody may catch."""

from __future__ import annotations

import logging
from typing import Final

import trio

from ..answering.faults import is_operators, part_ways
from ..journal import Journal
from ..telemetry.logs import ERROR, Damper

LINES: Final = 10
"""Lines of a kind,"""
SECONDS: Final = 10.0
"""in so many seconds."""


class Told:
    """Tells of peers that were turned away or given up: some lines of each kind, and how many more there were."""

    __slots__ = ("_dampers", "_journal")

    def __init__(self) -> None:
        self._journal = Journal(logging.getLogger(ERROR))
        self._dampers: dict[str, Damper] = {}

    def tell(self, kind: str, message: str, *args: object) -> None:
        """Logs it at INFO, if there is room for another line of its kind, such as ``"refused origins"``."""
        damper = self._dampers.setdefault(kind, Damper(LINES, SECONDS))
        if self._journal.logger.isEnabledFor(logging.INFO) and damper.admits(trio.current_time()):
            if left_out := damper.take():
                message, args = message + "; %d %s before it were left out", (*args, left_out, kind)
            self._journal.info(message, *args)


def passes(exc: BaseException) -> bool:
    """Whether ``exc`` is nobody's to catch: the operator's, or the cancellation of this very task."""
    try:
        return part_ways(exc)[1] is not None
    except RuntimeError:  # Trio is gone, and Python puts an end to what is left of its tasks
        return True


def errors_beside(exc: BaseException) -> BaseException | None:
    """What there is of ``exc`` besides a cancellation of this task that has done what it was for."""
    try:
        error, onward = part_ways(exc)
    except RuntimeError:  # as above
        return exc
    return exc if onward is not None and is_operators(onward) else error
