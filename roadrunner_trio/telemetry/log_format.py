"""One line for any record, whoever wrote it: a formatter for handlers."""

from __future__ import annotations

import logging
from typing import Final, Literal

from ..printable import cut, one_line, visible
from ..tracebacks import traceback_lines, traceback_text
from .log_context import CONTEXT, context_of, current_request
from .log_lines import NOTATIONS, THIS, Value, local_time, timestamp

TEXT: Final = "text"
COLOURS: Final = ((logging.ERROR, "31;1"), (logging.WARNING, "33"), (logging.INFO, "32"), (0, "2"))
"""Of each level and those above it, as terminals are told (ECMA-48 section 8.3.117)."""


class LogFormatter(logging.Formatter):
    """Any record as one line of text, JSON or logfmt: time, level, message, and a traceback.

    Of several processes each says in every line which it is. Nothing that stands in a message, or in that of an
    exception, can begin a line or be hidden in one. A traceback in
    *text* has its own lines, below; in the others it is a value, and so are the logger and the request that the record
    is about: that of :class:`~roadrunner_trio.LogContext`, if that has seen the record, else the current one. Lines of
    an :class:`AccessLog` in the same notation pass as they are. What is longer than 20,000 characters loses its middle.

    Args:
        notation: ``"text"``, ``"json"`` or ``"logfmt"``.

    Raises:
        ValueError: another notation.
    """

    def __init__(self, notation: Literal["text", "json", "logfmt"]) -> None:
        super().__init__()
        if notation != TEXT and notation not in NOTATIONS:
            raise ValueError(f"log lines are text, json or logfmt, not {notation!r}")
        self._notation = notation

    def format(self, record: logging.LogRecord) -> str:
        """The line, or in text several."""
        if self._notation == TEXT:
            return _text(record)
        if getattr(record, "notation", None) == self._notation:
            return record.getMessage()
        return NOTATIONS[self._notation](_pairs(record))


class Colours(LogFormatter):
    """Text for a terminal, in which the level of a line can be told from afar."""

    def __init__(self) -> None:
        super().__init__("text")

    def format(self, record: logging.LogRecord) -> str:
        """The same, its level in its colour."""
        colour = next((code for level, code in COLOURS if record.levelno >= level), "")
        level = record.levelname
        return super().format(record).replace(f" {level} ", f" \x1b[{colour}m{level}\x1b[0m ", 1)


def _text(record: logging.LogRecord) -> str:
    worker = f"[{THIS.name}] " if THIS.name else ""
    line = f"{local_time(record.created)} {record.levelname} {worker}{one_line(record.getMessage())}"
    if not (record.exc_info or record.exc_text or record.stack_info):
        return line
    lines = [line]
    if (error := _error(record)) is not None:
        lines += traceback_lines(error)
    elif record.exc_text:
        lines += map(visible, record.exc_text.split("\n"))
    if record.stack_info:
        lines += map(visible, record.stack_info.split("\n"))
    return "\n".join(lines)


def _pairs(record: logging.LogRecord) -> list[tuple[str, Value]]:
    pairs: list[tuple[str, Value]] = [
        ("time", timestamp(record.created)),
        ("level", record.levelname.lower()),
        ("logger", record.name),
        ("message", cut(record.getMessage())),
        *([("worker", THIS.name)] if THIS.name else []),
    ]
    request = current_request.get()
    if request is not None or hasattr(record, CONTEXT[0]):
        current = dict(zip(CONTEXT, context_of(request), strict=True)) if request else {}
        pairs += [(name, getattr(record, name, current.get(name))) for name in CONTEXT]
    if (error := _error(record)) is not None:
        pairs.append(("exception", traceback_text(error, cut)))
    elif record.exc_text:
        pairs.append(("exception", record.exc_text))
    if record.stack_info:
        pairs.append(("stack", record.stack_info))
    return pairs


def _error(record: logging.LogRecord) -> BaseException | None:
    return record.exc_info[1] if record.exc_info else None
