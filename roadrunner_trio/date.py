"""The value of the Date field (RFC 9110 section 6.6.1), rendered once a second."""

from __future__ import annotations

import time
from email.utils import formatdate

_second = -1
_rendered = b""
_line = b""


def http_date() -> bytes:
    """Now as an IMF-fixdate, such as ``b"Sun, 06 Nov 1994 08:49:37 GMT"``; formatted at most once a second."""
    date_line()
    return _rendered


def date_line() -> bytes:
    """The whole field line, with its CRLF."""
    global _second, _rendered, _line
    now = int(time.time())
    if now != _second:
        _rendered = formatdate(now, usegmt=True).encode("ascii")
        _line = b"date: %b\r\n" % _rendered
        _second = now
    return _line
