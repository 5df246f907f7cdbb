"""One line of a log from names and values, in three notations; nothing a peer sent breaks a line or colours a terminal.

*Text* is what :mod:`roadrunner_trio.printable` leaves of it. *JSON* is one object on one line, in ASCII. *logfmt* is
``name=value`` with blanks between; a value of anything but plain visible ASCII is a JSON string.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterable
from json.encoder import encode_basestring_ascii
from typing import Final, TypeAlias

Value: TypeAlias = str | int | float | None
"""What a line can tell; None is null in JSON and left out in logfmt."""

_plain = re.compile(r"[!#-<>-\[\]-~]+").fullmatch
"""Visible ASCII without quote, equals sign and backslash."""


class ThisProcess:
    """Which of several processes this is; every line says so, if it has a name.

    Attributes:
        name: such as ``"3"`` or ``"supervisor"``; ``""`` of one that is alone.
        json: what stands behind other pairs, in JSON,
        logfmt: and in logfmt.
    """

    name = json = logfmt = ""

    def call(self, name: str) -> None:
        """Gives it a name; ``""`` takes it away."""
        self.name = name
        self.json = f',"worker":{json_text(name)}' if name else ""
        self.logfmt = f" worker={logfmt_text(name)}" if name else ""


THIS: Final = ThisProcess()

_utc = _local = (-1, "")
"""The last second, and how it is written: one value, for threads that log at once."""


def json_text(text: str) -> str:
    """``text`` as a JSON string (RFC 8259 section 7), in printable ASCII."""
    quoted = encode_basestring_ascii(text)
    return quoted.replace("\x7f", "\\u007f") if "\x7f" in quoted else quoted


def logfmt_text(text: str) -> str:
    """``text`` as a value of logfmt: bare where that is clear, else a JSON string."""
    return text if _plain(text) else json_text(text)


def json_line(pairs: Iterable[tuple[str, Value]]) -> str:
    """An object; what is no finite number is null, and what is no value of JSON is text."""
    return "{" + ",".join([f"{json_text(name)}:{_json_value(value)}" for name, value in pairs]) + "}"


def _json_value(value: object) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return "null"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return _number(value) or json_text(str(value))


def _number(value: object) -> str:
    """A number as both notations have it, whatever class of numbers it is of; nothing for anything else."""
    if isinstance(value, int) and not isinstance(value, bool):
        return int.__repr__(value)
    return float.__repr__(value) if isinstance(value, float) else ""


def logfmt_line(pairs: Iterable[tuple[str, Value]]) -> str:
    """Pairs; those without a value are left out. Names are the program's own and taken as they are."""
    told = [(name, value) for name, value in pairs if value is not None]
    return " ".join([f"{name}={_number(value) or logfmt_text(str(value))}" for name, value in told])


def timestamp(now: float) -> str:
    """Seconds since the epoch as RFC 3339 has it, in UTC, to the millisecond: ``2026-01-31T23:59:59.123Z``.

    Raises:
        ValueError, OverflowError: no calendar has that second.
    """
    global _utc
    second = math.floor(now)
    known, text = _utc
    if second != known:
        text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        _utc = second, text
    return f"{text}.{int((now - second) * 1000):03d}Z"


def local_time(now: float) -> str:
    """Seconds since the epoch as logs of text have it, by the machine's own time: ``2026-01-31 23:59:59,123``.

    Raises:
        ValueError, OverflowError: no calendar has that second.
    """
    global _local
    second = math.floor(now)
    known, text = _local
    if second != known:
        text = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(second))
        _local = second, text
    return f"{text},{int((now - second) * 1000):03d}"


NOTATIONS: Final = {"json": json_line, "logfmt": logfmt_line}
