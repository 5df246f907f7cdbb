"""HTTP-dates as they are written (RFC 9110 section 5.6.7), and that of the Date field, rendered once a second."""

from __future__ import annotations

import time
from typing import Final

DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

_second = -1
_rendered = b""
_line = b""


def imf_fixdate(seconds: int) -> bytes:
    """A time, in whole seconds since 1970, such as ``b"Sun, 06 Nov 1994 08:49:37 GMT"``.

    Not by :mod:`email.utils`, which is more to import than most of what a server needs.
    """
    year, month, day, hour, minute, second, weekday, _, _ = time.gmtime(seconds)
    clock = f"{hour:02d}:{minute:02d}:{second:02d}"
    return f"{DAYS[weekday]}, {day:02d} {MONTHS[month - 1]} {year:04d} {clock} GMT".encode("ascii")


def http_date() -> bytes:
    """Now as an IMF-fixdate, such as ``b"Sun, 06 Nov 1994 08:49:37 GMT"``; formatted at most once a second."""
    date_line()
    return _rendered


def date_line() -> bytes:
    """The whole field line, with its CRLF."""
    global _second, _rendered, _line
    now = int(time.time())
    if now != _second:
        _rendered = imf_fixdate(now)
        _line = b"date: %b\r\n" % _rendered
        _second = now
    return _line
