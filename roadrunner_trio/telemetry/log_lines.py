"""One line of a log from names and values, in three notations; nothing a peer sent breaks a line or colours a terminal.

*Text* escapes what is not printable as Python does (``\\x1b``), and ``"`` and ``\\``. *JSON* is one object on one line,
in ASCII. *logfmt* is ``name=value`` with blanks between; a value of anything but plain visible ASCII is a JSON string.
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

_second = -1
_rendered = ""


def printable(text: str) -> str:
    """``text`` with everything escaped that is not printable, and the quotes and backslashes."""
    if text.isprintable() and '"' not in text and "\\" not in text:
        return text
    return "".join(map(_escaped, text))


def _escaped(char: str) -> str:
    if char in '"\\':
        return "\\" + char
    if char.isprintable():
        return char
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def json_text(text: str) -> str:
    """``text`` as a JSON string (RFC 8259 section 7), in printable ASCII."""
    quoted = encode_basestring_ascii(text)
    return quoted.replace("\x7f", "\\u007f") if "\x7f" in quoted else quoted


def logfmt_text(text: str) -> str:
    """``text`` as a value of logfmt: bare where that is clear, else a JSON string."""
    return text if _plain(text) else json_text(text)


def json_line(pairs: Iterable[tuple[str, Value]]) -> str:
    """An object; what is no finite number is null."""
    return "{" + ",".join([f"{json_text(name)}:{_json_value(value)}" for name, value in pairs]) + "}"


def _json_value(value: Value) -> str:
    if isinstance(value, str):
        return json_text(value)
    if value is None or not math.isfinite(value):
        return "null"
    return repr(value)


def logfmt_line(pairs: Iterable[tuple[str, Value]]) -> str:
    """Pairs; those without a value are left out. Names are the program's own and taken as they are."""
    return " ".join(
        [f"{name}={logfmt_text(value if isinstance(value, str) else repr(value))}"
         for name, value in pairs if value is not None]
    )  # fmt: skip


def timestamp(now: float) -> str:
    """Seconds since the epoch as RFC 3339 has it, in UTC, to the millisecond: ``2026-01-31T23:59:59.123Z``.

    Raises:
        ValueError, OverflowError: no calendar has that second.
    """
    global _second, _rendered
    second = math.floor(now)
    if second != _second:
        _rendered = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        _second = second
    return f"{_rendered}.{int((now - second) * 1000):03d}Z"


NOTATIONS: Final = {"json": json_line, "logfmt": logfmt_line}
