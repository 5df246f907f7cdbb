"""Text of others, fit to be shown on one line: nothing in it ends the line, moves a cursor, or cannot be seen.

Escaped is, as Python would write it (``\\x1b``), what Unicode calls a control, a format character (of direction, of
zero width), a separator other than the blank, a surrogate, or nothing at all; and a few letters and marks that look
like nothing.
"""

from __future__ import annotations

import re
from typing import Final

LONGEST: Final = 20_000
"""Characters that :func:`cut` leaves of a text: a request line as long as may be, and what stands round it. To escape
so many takes some milliseconds at worst."""

HIDDEN: Final = "\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef"
"""Printable by their category, and yet ignored where they are shown (Default_Ignorable_Code_Point, UAX #44)."""

_hidden = re.compile(f"[{HIDDEN}]").search
_odd = re.compile("[^ -~]").sub
_odd_or_quoting = re.compile(r"[^ !#-\[\]-~]").sub


def printable(text: str) -> str:
    """``text`` as it can stand between quotes: with the quotes and the backslashes escaped, too."""
    if is_printable(text) and '"' not in text and "\\" not in text:
        return text
    return _odd_or_quoting(_escaped, text)


def visible(text: str) -> str:
    """``text`` with nothing hidden in it. Quotes and backslashes stay, so it may be shown twice and is the same."""
    return text if is_printable(text) else _odd(_escaped, text)


def is_printable(text: str) -> bool:
    """Whether all of ``text`` can be seen."""
    return text.isprintable() and (text.isascii() or _hidden(text) is None)


def cut(text: str) -> str:
    """``text``, without its middle where that is more than anybody will read."""
    left_out = len(text) - LONGEST
    if left_out <= 0:
        return text
    return f"{text[: LONGEST // 2]}... ({left_out} characters left out) ...{text[-LONGEST // 2 :]}"


def one_line(text: str) -> str:
    """``text`` as it can stand in a log: :func:`visible`, and :func:`cut`."""
    return visible(cut(text))


def _escaped(found: re.Match[str]) -> str:
    char = found[0]
    if char in '"\\':
        return "\\" + char
    if is_printable(char):
        return char
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
