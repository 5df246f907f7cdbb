"""Writing HTTP/1.1: heads, chunks and trailers as bytes (RFC 9112). Pure functions, no state.

The framing of a response is the server's alone: Content-Length is computed (N21), Transfer-Encoding and the
connection's fate are decided here, and whatever an application put into those fields is taken as a wish, never as
bytes for the wire. Everything is checked before a byte is out.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

from ...date import date_line
from ...errors import phrase
from ...fields import FORBIDDEN_TRAILERS, Field, tokens

STATUS_LINES: Final = {
    status: b"HTTP/1.1 %d %b\r\n" % (status, phrase(status).encode("ascii")) for status in range(100, 600)
}
"""A status without a registered phrase keeps the space before its empty one (RFC 9112 section 4)."""

FRAMING_FIELDS: Final = frozenset(
    {b"connection", b"content-length", b"keep-alive", b"proxy-connection", b"transfer-encoding"}
)
_SPECIAL: Final = FRAMING_FIELDS | {b"date"}
_bad_reason = re.compile(rb"[^\t\x20-\x7e\x80-\xff]").search


class BodyFraming(enum.Enum):
    """How a response body is delimited (RFC 9112 section 6.3)."""

    NONE = "none"
    """HEAD, 204, 304: a body is never written, whatever the application gives (N22, N23)."""
    LENGTH = "content-length"
    CHUNKED = "chunked"
    CLOSE = "close"
    """To HTTP/1.0 a body of unknown length ends with the connection (N33)."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What an application said about framing in its fields, apart from the fields that are passed on."""

    lines: bytes
    """Those that are passed on, rendered."""
    dated: bool = False
    """Whether Date is among them."""
    close: bool = False
    length: int | None = None
    options: tuple[bytes, ...] = ()
    """Members of its Connection field that are passed on, such as ``upgrade`` (RFC 9110 section 7.6.1)."""


@lru_cache(maxsize=128)
def sift(fields: tuple[Field, ...]) -> Wishes:
    """Parts an application's fields into what goes out as it is and what the server decides itself.

    Applications answer with the same few sets of fields over and over, so the last 128 are remembered, rendered.

    Raises:
        ValueError: ``content-length`` is given twice or is not a number, or a field holds CR, LF or NUL.
    """
    if _SPECIAL.isdisjoint(name for name, _ in fields):
        return Wishes(field_lines(fields))
    lengths = [value for name, value in fields if name == b"content-length"]
    if len(lengths) > 1 or not all(value.isdigit() for value in lengths):
        raise ValueError(f"response content-length must be one number, not {b', '.join(lengths)!r}")
    options = tokens(fields, b"connection")
    return Wishes(
        field_lines([field for field in fields if field[0] not in FRAMING_FIELDS]),
        dated=any(name == b"date" for name, _ in fields),
        close=b"close" in options,
        length=int(lengths[0]) if lengths else None,
        options=tuple(sorted(options - {b"close", b"keep-alive"})),
    )


def and_extra(wishes: Wishes, extra: Iterable[Field]) -> Wishes:
    """``wishes`` with the server's ``extra`` fields, those apart that the application has set itself."""
    lines = b"\r\n" + wishes.lines
    missing = [(name, value) for name, value in extra if b"\r\n%b:" % name not in lines]
    return replace(wishes, lines=wishes.lines + field_lines(missing))


def status_line(status: int, reason: bytes | None = None) -> bytes:
    """The status line (RFC 9112 section 4).

    Raises:
        ValueError: ``status`` is not 100 to 599, or ``reason`` holds a control byte: h11 would let CRLF through.
    """
    line = STATUS_LINES.get(status)
    if line is None:
        raise ValueError(f"a response status is a number from 100 to 599, not {status!r}")
    if reason is None:
        return line
    if _bad_reason(reason):
        raise ValueError(f"the reason phrase {reason!r} has a control character in it")
    return line[:13] + reason + b"\r\n"


def head(line: bytes, fields: Sequence[Field]) -> bytes:
    """A head from its first line and its fields, in order.

    Raises:
        ValueError: a field holds CR, LF or NUL.
    """
    return b"%b%b\r\n" % (line, field_lines(fields))


def field_lines(fields: Sequence[Field]) -> bytes:
    """Fields as lines.

    Raises:
        ValueError: a field holds CR, LF or NUL. :func:`roadrunner_trio.fields.encoded` has refused them long
            before; this is the last door, for fields that came another way, and costs three C-speed counts.
    """
    out = b"".join([b"%b: %b\r\n" % field for field in fields])
    ends = len(fields)
    if out.count(b"\n") != ends or out.count(b"\r") != ends or b"\0" in out:
        raise ValueError("a response field holds CR, LF or NUL")
    return out


def final_head(line: bytes, wishes: Wishes, framing: BodyFraming, length: int | None, connection: bytes) -> bytes:
    """The head of a final response: Date (RFC 9110 section 6.6.1), what the server decides, the application's fields.

    Args:
        connection: ``b""``, ``b"close"`` or ``b"keep-alive"``, told with the application's connection options.
    """
    date = b"" if wishes.dated else date_line()
    if length is not None and not (connection or wishes.options):
        return b"%b%b%bcontent-length: %d\r\n\r\n" % (line, date, wishes.lines, length)  # nearly all of them
    options = b", ".join([*wishes.options, connection] if connection else wishes.options)
    if framing is BodyFraming.CHUNKED:
        delimiter = b"transfer-encoding: chunked\r\n"
    else:
        delimiter = b"" if length is None else b"content-length: %d\r\n" % length
    told = b"connection: %b\r\n" % options if options else b""
    return b"%b%b%b%b%b\r\n" % (line, date, told, wishes.lines, delimiter)


def error_response(status: int, fields: Iterable[Field] = ()) -> bytes:
    """A whole response without content that ends the connection (N65)."""
    lines = field_lines([(b"connection", b"close"), *fields, (b"content-length", b"0")])
    return b"%b%b%b\r\n" % (STATUS_LINES[status], date_line(), lines)


def chunk(data: bytes) -> bytes:
    """``data``, not empty, as one chunk (RFC 9112 section 7.1)."""
    return b"%X\r\n%b\r\n" % (len(data), data)


def last_chunk(trailers: Sequence[Field] = ()) -> bytes:
    """The end of a chunked body (RFC 9112 section 7.1.2).

    Raises:
        ValueError: a trailer holds CR, LF or NUL, or is a field that may not come so late.
    """
    for name, _ in trailers:
        if name in FORBIDDEN_TRAILERS:
            raise ValueError(f"{name.decode('latin-1')!r} may not be a trailer field")
    return head(b"0\r\n", trailers)
