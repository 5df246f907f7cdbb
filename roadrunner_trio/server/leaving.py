"""How a process is left by what owns it, although something in it goes on: named, told, flushed, each within bounds.

``os._exit`` asks nobody, so a thread in a system call, a shield, and a handler that swallows its cancellation cannot
refuse it. Everything before it is done by threads that are not waited for for long: logging may write to a pipe that
nobody reads, and hold its locks meanwhile.
"""

from __future__ import annotations

import atexit
import logging
import math
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Final, NoReturn

from ..journal import log
from ..transport.dump import stack_of_thread
from ..transport.stdio import settle, within

TELLING: Final = 0.5
"""Seconds to tell why, and again to flush, before the process is left."""
PATIENCE: Final = 1.0
"""Seconds for threads that are left over when everything else has ended."""
LEAST: Final = 0.25
"""Seconds they have in any case: idle ones need a moment to hear that it is over."""


def leave(status: int, why: str = "", *, level: int = logging.ERROR) -> NoReturn:
    """Ends the process, whatever runs in it. Says why first, if logging takes it; takes a second at most."""
    if why:
        within(TELLING, lambda: log.log(level, "%s", why))
    within(TELLING, _flush)
    os._exit(status)


def _flush() -> None:
    logging.shutdown()
    settle()


def main_stack(frame: FrameType | None = None) -> str:
    """Where the main thread is, or was before it was interrupted at ``frame``."""
    return stack_of_thread(threading.main_thread(), frame)


class _End:
    """What is known of the end of the process: its status, and by when a drain is to be over."""

    def __init__(self) -> None:
        self.status = 0
        self.deadline = math.nan
        self.at_exit = False
        self.watched = False
        self.begun = threading.Event()
        self.joined = threading.Event()

    def watch(self) -> None:
        """In a thread of its own, which ends with the interpreter at the latest."""
        self.begun.wait()
        now = time.monotonic()
        left = self.deadline - now if self.deadline >= 0 else PATIENCE
        if not self.joined.wait(max(LEAST, min(PATIENCE, left))) and (threads := left_over()):
            where = "; ".join(f"{thread.name} @ {stack_of_thread(thread)}" for thread in threads)
            self.leave(f"threads that do not end are left behind: {where}")
        if self.at_exit and left < threading.TIMEOUT_MAX:
            time.sleep(max(0.0, left) + PATIENCE)
            self.leave(f"what is to be done at exit does not end: {main_stack()}")

    def settle(self) -> None:
        """What is left in standard output is written or thrown away; the interpreter would wait, or exit with 120."""
        if not settle():
            self.leave("nobody reads standard output, or standard error: what is left of it is lost")

    def leave(self, why: str) -> NoReturn:
        """With the status, or 1 when an exception has ended the main thread since it was decided."""
        leave(self.status or int(hasattr(sys, "last_value")), why, level=logging.WARNING)


_end = _End()


def see_off(status: int, deadline: float | None = None, *, at_exit: bool = False) -> None:
    """When the interpreter begins to end, gives threads that are left over a second, then leaves without them.

    The interpreter itself would wait for them, and for executors, for ever. The last call counts.

    Args:
        status: that of the process.
        deadline: that of a drain, in ``time.monotonic()``: when it is nearer, they have less.
        at_exit: what is registered with :mod:`atexit` has until a second after that deadline.
    """
    _end.status = status
    if deadline is not None:
        _end.deadline, _end.at_exit = deadline, at_exit
    if not _end.watched:
        _end.watched = True
        threading.Thread(target=_end.watch, name="sees threads off", daemon=True).start()
        atexit.register(_end.settle)
        atexit.register(_end.joined.set)  # the interpreter comes to this when it waits for no thread any more,
        _before_threads(_end.begun.set)  # and to this when it begins to


def _before_threads(do: Callable[[], object]) -> None:
    """Has it called before the interpreter waits for threads and executors; for that there is no public way."""
    register = getattr(threading, "_register_atexit", None)
    with suppress(RuntimeError):  # it has begun
        if register is not None:
            register(do)
            return
    do()


def left_over() -> list[threading.Thread]:
    """The threads that keep the interpreter from ending."""
    main = threading.main_thread()
    return [thread for thread in threading.enumerate() if not thread.daemon and thread is not main]
