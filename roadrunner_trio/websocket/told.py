"""What the log is told of sessions: of peers in moderation, of failures always. Nothing that tells ends anything."""

from __future__ import annotations

import logging
import math
from contextlib import suppress
from typing import Final

import trio

from ..answering.faults import leaves
from ..telemetry.logs import ERROR, Damper

log = logging.getLogger("roadrunner_trio")

LINES: Final = 10
"""Lines of a kind,"""
SECONDS: Final = 10.0
"""in so many seconds."""


class Told:
    """Tells of peers that were turned away or given up: some lines of each kind, and how many more there were."""

    __slots__ = ("_dampers", "_logger")

    def __init__(self) -> None:
        self._logger = logging.getLogger(ERROR)
        self._dampers: dict[str, Damper] = {}

    def tell(self, kind: str, message: str, *args: object) -> None:
        """Logs it at INFO, if there is room for another line of its kind, such as ``"refused origins"``."""
        with suppress(Exception):  # a filter of the application's may raise
            damper = self._dampers.setdefault(kind, Damper(LINES, SECONDS))
            if self._logger.isEnabledFor(logging.INFO) and damper.admits(trio.current_time()):
                if left_out := damper.take():
                    message, args = message + "; %d %s before it were left out", (*args, left_out, kind)
                self._logger.info(message, *args)


def complain(message: str, *args: object, error: BaseException | None = None) -> None:
    """Logs a failure with its traceback: ``error``, or the exception in hand. It raises none of its own."""
    with suppress(Exception):
        log.error(message, *args, exc_info=error or True)


def passes(exc: BaseException) -> bool:
    """Whether ``exc`` is nobody's to catch: the operator's, or the cancellation of this very task.

    A ``trio.Cancelled`` of another task, kept and raised here, is an error of whoever raises it. It must not be taken
    for ours: what it would unwind was not cancelled, and so would end in silence.
    """
    found = list(leaves(exc))
    if any(isinstance(leaf, KeyboardInterrupt) for leaf in found):
        return True
    if not any(isinstance(leaf, trio.Cancelled | GeneratorExit) for leaf in found):
        return False
    try:
        return trio.current_effective_deadline() == -math.inf
    except RuntimeError:  # Trio is gone, and Python puts an end to what is left of its tasks
        return True
