"""The server's own log, which cannot fail the one who writes to it.

Filters, handlers, formatters and record factories are the application's, and may raise what they like. The server
writes from tasks whose end would be everybody's: the poller's, the clock's, that of a connection. So what comes out of
:mod:`logging` ends here, a ``GeneratorExit``, a ``SystemExit`` and somebody else's cancellation included; nothing that
is synchronous can be the end of the task in which it is called. Only Ctrl-C passes. A handler that *blocks* is the
operator's affair.
"""

from __future__ import annotations

import logging
import select
import sys
from typing import Any, Final

from .tracebacks import traceback_lines

NAME: Final = "roadrunner_trio"


class Journal:
    """A logger for those who must not fail. The first line that is lost is told on standard error, with the reason.

    Args:
        logger: where to; by default the logger ``roadrunner_trio``.

    Attributes:
        lost: lines that were not written, because something raised.
    """

    __slots__ = ("logger", "lost")

    def __init__(self, logger: logging.Logger | None = None) -> None:
        self.logger = logger or logging.getLogger(NAME)
        self.lost = 0

    def debug(self, message: str, *args: object, exc_info: BaseException | None = None) -> None:
        """As the logger's."""
        self._write(logging.DEBUG, message, args, exc_info)

    def info(self, message: str, *args: object) -> None:
        """As the logger's."""
        self._write(logging.INFO, message, args)

    def warning(self, message: str, *args: object) -> None:
        """As the logger's."""
        self._write(logging.WARNING, message, args)

    def error(self, message: str, *args: object, exc_info: BaseException | None = None) -> None:
        """As the logger's."""
        self._write(logging.ERROR, message, args, exc_info)

    def critical(self, message: str, *args: object, exc_info: BaseException | None = None) -> None:
        """As the logger's."""
        self._write(logging.CRITICAL, message, args, exc_info)

    def exception(self, message: str, *args: object) -> None:
        """As the logger's: an error, with the exception that is being handled."""
        self._write(logging.ERROR, message, args, True)

    def log(self, level: int, message: str, *args: object) -> None:
        """As the logger's."""
        self._write(level, message, args)

    def handle(self, record: logging.LogRecord) -> None:
        """Has a record written that was made by the caller."""
        try:
            self.logger.handle(record)
        except BaseException as exc:
            self.lose(exc)

    def _write(self, level: int, message: str, args: tuple[object, ...], exc_info: Any = None) -> None:
        try:
            if self.logger.isEnabledFor(level):
                self.logger.log(level, message, *args, exc_info=exc_info, stacklevel=3)  # the caller of our caller
        except BaseException as exc:
            self.lose(exc)

    def lose(self, reason: BaseException) -> None:
        """Counts a line that could not be written, for this reason; the first is told on standard error.

        Raises:
            KeyboardInterrupt: that is the reason.
        """
        if isinstance(reason, KeyboardInterrupt):
            raise reason
        self.lost += 1
        if self.lost > 1 or not logging.raiseExceptions:
            return
        try:
            why = "\n".join(traceback_lines(reason))
            if _has_room(sys.stderr):
                sys.stderr.write(
                    f"{why}\nA line for {self.logger.name!r} is lost by this. Of others nothing is said.\n"
                )
        except Exception:
            return  # then nothing is said of this one either


def _has_room(stream: Any) -> bool:
    """Whether a little text can be written now: not into a pipe that is full."""
    try:
        fd = stream.fileno()
    except OSError:
        return True  # it is in memory
    return bool(select.select([], [fd], [], 0)[1])


log: Final = Journal()
"""What every module of the server writes to."""
