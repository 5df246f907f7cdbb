"""The standard streams, which may be closed, full, or a pipe that nobody reads.

What is written to them here only tells. It ends nothing when it cannot be written, and it holds nobody up for longer
than a moment: it is written by a thread, and the thread is left alone when it does not come back.
"""

from __future__ import annotations

import os
import select
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TextIO, cast

PATIENCE: Final = 1.0
"""Seconds for a write to a stream that somebody reads, on a machine that is busy with other things."""

NAMES: Final = ("stdin", "stdout", "stderr")

_stuck: dict[str, threading.Thread] = {}
"""By the name of the stream, the thread that did not come back from the last write to it."""


def within(seconds: float, do: Callable[[], object]) -> threading.Thread | None:
    """Does something in a thread, and waits for that so long at most; what it raises is nobody's affair.

    Returns:
        The thread that is still at it, or None: it is done, or there can be no thread any more.
    """

    def quietly() -> None:
        with suppress(BaseException):
            do()

    thread = threading.Thread(target=quietly, name="tells", daemon=True)
    try:
        thread.start()
    except RuntimeError:  # no more threads for this process, or its interpreter is going down
        return None
    thread.join(seconds)
    return thread if thread.is_alive() else None


def open_closed() -> None:
    """Opens what is closed of descriptors 0 to 2 on ``/dev/null``: else the next socket would be "standard error".

    Where the interpreter found one closed when it started, it has no ``sys.stderr``; it gets one.
    """
    for descriptor, name in enumerate(NAMES):
        path: int | str = descriptor
        try:
            os.fstat(descriptor)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)  # on the lowest number that is free, which is this one
            os.set_inheritable(opened, True)
        else:
            path = os.devnull  # what has been opened on that number since the start is not ours to write to
        if getattr(sys, name) is None:
            mode = "w" if descriptor else "r"
            stream = open(path, mode, encoding="utf-8", errors="replace", closefd=path is not descriptor)  # noqa: SIM115
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)


def tell(text: str, *, to: str = "stderr") -> bool:
    """Writes to ``sys.stderr``, or ``to="stdout"``; whether it went out. Waits for a second at most; never raises."""
    if to in _stuck and _stuck[to].is_alive():
        return False
    written: list[bool] = []

    def write() -> None:
        stream: TextIO = getattr(sys, to)
        stream.write(text)
        stream.flush()
        written.append(True)

    if (stuck := within(PATIENCE, write)) is not None:
        _stuck[to] = stuck
    return bool(written)


def has_room(name: str) -> bool:
    """Whether a little can be written to ``"stdout"`` or ``"stderr"`` without waiting, at once or within a second.

    To be asked where the program goes on to write to the stream itself: a thread that :func:`tell` has left alone holds
    its lock, and so would hold up the program, and the interpreter when it ends.
    """
    try:
        descriptor = getattr(sys, name).fileno()
    except (AttributeError, OSError, ValueError):
        return True  # it is in memory, or not there
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return bool(poll.poll(1000 * PATIENCE))


def settle() -> bool:
    """Flushes standard output and standard error, so that the interpreter has nothing left to write when it ends.

    It would make an error of that, with an exit status of its own. What cannot be written is thrown away.

    Returns:
        False when it would wait for ever: the process has to be left by ``os._exit``.
    """
    return all([_settled(name) for name in NAMES[1:]])


def _settled(name: str) -> bool:
    stream = cast("TextIO | None", getattr(sys, name))
    if stream is None or getattr(stream, "closed", False):  # an application may have put anything there
        return True
    if name in _stuck and _stuck[name].is_alive():
        return False
    settled: list[bool] = []

    def settling() -> None:
        _flush_or_drop(stream)
        settled.append(True)

    stuck = within(PATIENCE, settling)
    if stuck is None and not settled and has_room(name):  # Python 3.12 starts no thread once its interpreter goes down
        with suppress(Exception):
            settling()
    if stuck is None and not settled:
        setattr(sys, name, None)  # what cannot be flushed now the interpreter could not either, and would say so
    return stuck is None


def _flush_or_drop(stream: TextIO) -> None:
    try:
        stream.flush()
    except (OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
        stream.flush()
