"""Where the lines of a log go that is the server's own to set up: into a descriptor, by a thread, and nobody waits.

A pipe that nobody reads, a terminal that was stopped, a disk that hangs: to write is to wait, and who writes is the
loop that serves everybody. So a handler here only makes the line and puts it into a queue. A thread writes what has
gathered, several lines in one call. When the queue is full, lines are dropped and counted, and the count stands in the
log in their place as soon as it moves again.
"""

from __future__ import annotations

import codecs
import logging
import os
import select
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from queue import Empty, SimpleQueue
from typing import Any, Final, Literal, TextIO, TypeAlias
from weakref import WeakSet

import trio

from ..journal import NAME
from ..printable import one_line
from .log_format import Colours, LogFormatter

MOST: Final = 4 * 1024 * 1024
"""Characters that wait to be written. A line more is dropped."""
PAUSE: Final = 0.01
"""Seconds between two writes, in which lines gather. The first after a silence goes at once."""
AT_ONCE: Final = 4096
"""Octets of whole lines in one write, so that they stay whole where several processes share a pipe (PIPE_BUF)."""
REPLACE: Final = "backslashreplace"
"""What becomes of characters that the encoding does not have."""
Item: TypeAlias = str | int | threading.Event
"""What waits: a line; how many were dropped here; and who wants to know that all before it is written."""
Notation: TypeAlias = Literal["text", "json", "logfmt"]
LOSS: Final = "%d lines of the log were lost here"
LAST_WORDS: Final = 1.0
"""Seconds that :meth:`LogOutput.flush` waits, at most: the end of the process must not hang on its log."""


class LogOutput(logging.Handler):
    """Writes records to a descriptor, in order, and never waits for it.

    Its thread begins with the first line and lasts as long as the process; a process that is forked has one of its own.

    Args:
        fd: the descriptor; it stays its owner's.
        encoding: of the text. What it does not have is escaped.
        most: characters that may wait.

    Raises:
        LookupError: there is no such encoding.
    """

    def __init__(self, fd: int, *, encoding: str = "utf-8", most: int = MOST) -> None:
        super().__init__()
        self._fd = fd
        self._encoding = codecs.lookup(encoding).name
        self._end = "\n".encode(encoding)[-1]
        self._most = most
        self.begin()
        _outputs.add(self)

    def begin(self) -> None:
        """Begins with nothing, as after a fork: what waits is the parent's, and its thread is not here."""
        self._queue: SimpleQueue[Item] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._put = self._dropped = 0
        """Characters of lines that went into the queue; lines since that did not. Counted with the handler's lock."""
        self._out = self._unwritten = 0
        """Characters of lines that left it for good; lines that could not be written. Counted by the thread."""
        self._broken = False
        """Whether half a line is what was written last: a disk was full in the middle of it."""

    # -- who logs, with the handler's lock -------------------------------------------------------
    # The lock and the queue can be entered again by a signal handler that logs while this does.

    def emit(self, record: logging.LogRecord) -> None:
        """Puts a line into the queue, or drops it."""
        try:
            line = self.format(record) + "\n"
        except Exception:
            self.handleError(record)
        else:
            self._add(line)

    def handleError(self, record: logging.LogRecord) -> None:
        """Says which record makes no line in the log itself: standard error may be what nobody reads."""
        if logging.raiseExceptions:
            self._add(self._own("a record of %s:%d makes no line: %r", record.pathname, record.lineno, sys.exception()))

    def _add(self, line: str) -> None:
        if self._put - self._out >= self._most:
            self._dropped += 1
            return
        self._settle()
        self._put += len(line)
        self._queue.put(line)
        if self._thread is None:
            self._start()

    def _settle(self) -> None:
        """What was dropped is told where it would have stood."""
        if self._dropped:
            self._queue.put(self._dropped)
            self._dropped = 0

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._run, name=f"log to descriptor {self._fd}", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:  # the system has no more threads now; the next line asks again
            self._thread = None

    def _own(self, message: str, *args: object) -> str:
        """A line of our own, in the notation of the others, if that can be had: the formatter may be anybody's."""
        try:
            return self.format(logging.LogRecord(__name__, logging.ERROR, __file__, 0, message, args, None)) + "\n"
        except Exception:
            return one_line(message % args) + "\n"

    def flush(self) -> None:
        """Waits until all that was logged before has been written, for a second at most."""
        written = threading.Event()
        self.acquire()
        try:
            if self._thread is None and self._queue.empty():
                return
            self._settle()
            self._queue.put(written)
            if self._thread is None:
                self._start()
        finally:
            self.release()
        written.wait(LAST_WORDS)

    # -- the thread ------------------------------------------------------------------------------

    def _run(self) -> None:
        item: Item | None = self._queue.get()
        while True:
            batch, item = self._gather(item)
            if batch:
                self._write(batch)
            if item is None:
                self._tell_dropped()
                time.sleep(PAUSE)
                item = self._queue.get()

    def _gather(self, item: Item | None) -> tuple[list[str | int], Item | None]:
        """What fits into one write, beginning with ``item``, and what comes next."""
        batch: list[str | int] = []
        room = AT_ONCE
        while item is not None:
            if not isinstance(item, threading.Event):
                room -= len(item.encode(self._encoding, REPLACE)) if isinstance(item, str) else 0
                if batch and room < 0:
                    break
                batch.append(item)
            elif batch:
                break
            else:
                item.set()
            item = self._next()
        return batch, item

    def _next(self) -> Item | None:
        try:
            return self._queue.get_nowait()
        except Empty:
            return None

    def _tell_dropped(self) -> None:
        """Nobody logs any more, and what was dropped last has still to be told."""
        if self._dropped and self.lock and self.lock.acquire(blocking=False):  # at the end, who flushes may hold it
            self._settle()
            self.lock.release()

    def _write(self, batch: list[str | int]) -> None:
        if self._unwritten:
            batch.insert(0, self._unwritten)
        text = "".join([self._own(LOSS, item) if isinstance(item, int) else item for item in batch])
        data = memoryview(("\n" * self._broken + text).encode(self._encoding, REPLACE))
        try:
            while data:
                written = self._some(data)
                self._broken = data[written - 1] != self._end if written else self._broken
                data = data[written:]
            self._unwritten = 0
        except (OSError, ValueError):  # a disk that is full, a pipe without a reader, a descriptor that was closed
            self._unwritten = sum([item if isinstance(item, int) else 1 for item in batch])
        self._out += sum([len(item) for item in batch if isinstance(item, str)])

    def _some(self, data: memoryview) -> int:
        try:
            return os.write(self._fd, data)
        except BlockingIOError:  # somebody who shares the descriptor made it so; this thread may wait
            select.select([], [self._fd], [])
            return 0


class LogFile(LogOutput):
    """The same into a file, to the end of which it writes; the file is made if need be.

    Args:
        path: of the file.

    Raises:
        OSError: it cannot be opened.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        super().__init__(_open(path))

    async def renew(self) -> None:
        """Opens the file anew: whoever has put the old one away wants a new one in its place.

        Raises:
            OSError: it cannot be opened; lines go where they went before.
        """
        await trio.to_thread.run_sync(self._reopen, abandon_on_cancel=True)

    def _reopen(self) -> None:
        new = _open(self._path)
        self._broken = False
        try:
            os.dup2(new, self._fd, inheritable=False)  # in one step, whatever the thread that writes is at
        finally:
            os.close(new)


def _open(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOCTTY, 0o644)


_outputs: Final[WeakSet[LogOutput]] = WeakSet()


def _after_fork() -> None:
    for output in _outputs:
        output.begin()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def log_output(notation: Notation, stream: TextIO | None = None) -> logging.Handler:
    """A handler for all that a process logs, to standard error if nothing else is said.

    A stream that is no descriptor's, as one in memory, is written to as by :class:`logging.StreamHandler`.

    Raises:
        ValueError: another notation.
    """
    target: Any = stream or sys.stderr  # None where a process has no standard error
    output: logging.Handler
    try:
        output = LogOutput(target.fileno(), encoding=target.encoding)
    except (AttributeError, OSError):
        output = logging.StreamHandler(target)
    output.setFormatter(LogFormatter(notation))
    return output


_spoken: Notation = "text"


def speak(notation: Notation) -> None:
    """From now on the process says in this notation what it has to say itself."""
    global _spoken
    _spoken = notation


def speaks_text() -> bool:
    """Whether that is text, for people."""
    return _spoken == "text"


def spoken(level: int, message: str, report: str = "") -> str:
    """What the process says to whoever reads its standard streams: text as it is, or else a line as a record has it.

    Args:
        report: a traceback, many lines, or ``""``.
    """
    if _spoken == "text":
        return f"{report}{message}\n"
    record = logging.LogRecord(NAME, level, __file__, 0, "%s", (message,), None)
    record.exc_text = report.rstrip("\n") or None
    return LogFormatter(_spoken).format(record) + "\n"


def start_logging(notation: Notation, level: str) -> None:
    """Logs to standard error from now on, unless the application has set up logging of its own."""
    logging.basicConfig(handlers=[log_output(notation)], level=level)


def colour_terminal() -> None:
    """What goes to a terminal has colours from now on, unless that is not wanted (no-color.org)."""
    if os.environ.get("NO_COLOR") or not os.isatty(2):
        return
    for handler in logging.root.handlers:
        if isinstance(handler, LogOutput) and isinstance(handler.formatter, LogFormatter):
            handler.setFormatter(Colours())


def log_apart(name: str, path: str, notation: Notation) -> None:
    """What a logger is told goes into a file of its own, ``"-"`` being standard output, and nowhere else.

    Raises:
        OSError: the file cannot be opened.
    """
    output = log_output(notation, sys.stdout) if path == "-" else LogFile(path)
    output.setFormatter(LogFormatter(notation))
    logger = logging.getLogger(name)
    logger.handlers[:] = [output]
    logger.propagate = False


def renewals() -> list[Callable[[], Awaitable[None]]]:
    """What opens all files anew."""
    return [output.renew for output in _outputs if isinstance(output, LogFile)]
