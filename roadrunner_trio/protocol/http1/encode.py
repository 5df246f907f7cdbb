"""Writing HTTP/1.1: heads, chunks and trailers as bytes (RFC 9112). Pure functions; what they remember changes nothing.

What may be said, and what of it the server decides itself, is :mod:`roadrunner_trio.protocol.wishes`' affair; here it
gets its form. Every head is composed here, so whatever stands in one has been checked, and before a byte is out.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final, cast

from ...date import date_line
from ...errors import phrase
from ...fields import TEXT, Field, written
from .. import wishes as neutral
from ..wishes import SPECIAL, checked, trailers, undelimited

STATUS_LINES: Final = {
    status: b"HTTP/1.1 %d %b\r\n" % (status, phrase(status).encode("ascii")) for status in range(100, 600)
}
"""A status without a registered phrase keeps the space before its empty one (RFC 9112 section 4)."""

_FINAL: Final = b"HTTP/1.1 2"
"""Before it come the lines of interim responses, and no other."""

_bad_reason = re.compile(rb"[^\t\x20-\x7e\x80-\xff]").search

REMEMBERED: Final = 1024
"""Names of fields that are known; then all are forgotten, and learned anew."""


class BodyFraming(enum.Enum):
    """How a response body is delimited (RFC 9112 section 6.3)."""

    NONE = "none"
    """HEAD, 204, 205, 304: a body is never written, whatever the application gives (N22, N23)."""
    LENGTH = "content-length"
    CHUNKED = "chunked"
    CLOSE = "close"
    """To HTTP/1.0 a body of unknown length ends with the connection (N33)."""


@dataclass(slots=True)
class Wishes:
    """What an application wishes, as in :class:`roadrunner_trio.protocol.wishes.Wishes`, its other fields as lines."""

    lines: bytes
    """Those that are passed on, rendered."""
    dated: bool = False
    """Whether Date is among them."""
    close: bool = False
    length: int | None = None
    options: tuple[bytes, ...] = ()
    """Members of its Connection field that are passed on, such as ``upgrade`` (RFC 9110 section 7.6.1)."""


_begun: Final[dict[bytes, bytes]] = {}
"""What a line begins with, by the name of the field, for names that have been checked and wish nothing."""


@lru_cache(maxsize=128)
def sift(fields: tuple[Field, ...]) -> Wishes:
    """Parts an application's fields into what goes out as it is and what the server decides itself.

    Applications answer with the same few sets of fields over and over, so the last 128 are remembered, rendered. In a
    new set with known names, such as one with the tag of what has just changed, all values are checked at once: a
    third of what they cost one by one.

    Raises:
        ValueError: ``content-length`` is given twice or is not a number, or a field cannot be said
            (:func:`roadrunner_trio.protocol.wishes.checked`).
        TypeError: a field is no pair of bytes.
    """
    try:
        said = [_begun[name] + value.strip(b" \t") for name, value in fields if name != b"content-length"]
        lines = b"\r\n".join(said)
        # Only CR, LF and what is in no line are left without those octets.
        if lines and len(lines.translate(None, TEXT)) == 2 * len(said) - 2:
            if len(said) == len(fields):
                return Wishes(lines + b"\r\n")
            lengths = [value for name, value in fields if name == b"content-length"]
            return Wishes(lines + b"\r\n", length=neutral.one_number(lengths))
    except (KeyError, TypeError, ValueError, AttributeError):
        pass  # not known, or not right: it is looked at more closely
    wishes = neutral.sift(fields)
    for name, _ in wishes.fields:
        if name not in SPECIAL and name not in _begun:
            if len(_begun) == REMEMBERED:
                _begun.clear()
            _begun[name] = name + b": "
    return _rendered(wishes, _lines(wishes.fields))


def sift_as_written(fields: tuple[Field, ...]) -> Wishes:
    """As :func:`sift`, with the names in the letters in which the application gave them.

    Names mean the same in any letters (RFC 9110 section 5.1); some peers read them in one way only.
    """
    return _as_written(fields, tuple([written(name) for name, _ in fields]))


@lru_cache(maxsize=128)
def _as_written(fields: tuple[Field, ...], names: tuple[bytes, ...]) -> Wishes:
    """``names`` only tells apart what is equal: names are, in whatever letters they were given."""
    wishes = neutral.sift(fields)
    return _rendered(wishes, _lines([(written(name), value) for name, value in wishes.fields]))


def undated(sift: Callable[[tuple[Field, ...]], Wishes]) -> Callable[[tuple[Field, ...]], Wishes]:
    """As ``sift``, for a server that does not say when a response was made."""

    @lru_cache(maxsize=128)
    def without(fields: tuple[Field, ...]) -> Wishes:
        return replace(sift(fields), dated=True)

    return without


def _rendered(wishes: neutral.Wishes, lines: bytes) -> Wishes:
    return Wishes(lines, wishes.dated, wishes.close, wishes.length, wishes.options)


def _lines(fields: Iterable[Field]) -> bytes:
    """Fields that have been checked, as lines."""
    return b"".join([b"%b: %b\r\n" % field for field in fields])


def and_extra(wishes: Wishes, extra: Iterable[Field]) -> Wishes:
    """``wishes`` with the server's ``extra`` fields, those apart that the application has set itself.

    Raises:
        ValueError, TypeError: as :func:`sift`; also for a delimiter, which is nobody's to add.
    """
    lines = b"\r\n" + wishes.lines.lower()
    missing = [field for field in undelimited(extra) if b"\r\n%b:" % field[0] not in lines]
    return Wishes(wishes.lines + _lines(missing), wishes.dated, wishes.close, wishes.length, wishes.options)


def status_line(status: int, reason: bytes | None = None) -> bytes:
    """The status line (RFC 9112 section 4).

    Raises:
        ValueError: ``status`` is not 100 to 599, or ``reason`` holds a control byte: h11 would let CRLF through.
        TypeError: ``reason`` is no bytes.
    """
    line = STATUS_LINES.get(status)
    if line is None:
        raise ValueError(f"a response status is a number from 100 to 599, not {status!r}")
    if reason is None:
        return line
    if not isinstance(cast("object", reason), bytes):
        raise TypeError(f"a reason phrase is bytes, not {type(reason).__name__}")
    if _bad_reason(reason):
        raise ValueError(f"the reason phrase {reason!r} has a control character in it")
    return line[:13] + reason + b"\r\n"


def head(line: bytes, fields: Iterable[Field]) -> bytes:
    """A head from its first line and its fields, in order: of an interim response, or before another protocol.

    Raises:
        ValueError: a field cannot be said, or says where content ends that an interim response has not.
        TypeError: a field is no pair of bytes.
    """
    said = undelimited(fields) if line < _FINAL else checked(fields)
    return b"%b%b\r\n" % (line, _lines(said))


def final_head(line: bytes, wishes: Wishes, framing: BodyFraming, length: int | None, connection: bytes) -> bytes:
    """The head of a final response: Date (RFC 9110 section 6.6.1), what the server decides, the application's fields.

    Args:
        line: of :func:`status_line`.
        connection: ``b""``, ``b"close"`` or ``b"keep-alive"``, told with the application's connection options.

    Raises:
        ValueError: the status is not a final one: a peer would wait for another.
    """
    if line < _FINAL:
        raise ValueError(f"a response needs a final status from 200 to 599, not {line[9:12].decode()}")
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
    """A whole response without content that ends the connection (N65); without ``fields`` that cannot be said."""
    try:
        lines = _lines(undelimited(fields))
    except (TypeError, ValueError):
        lines = b""  # it may be these that had to be answered with an error
    return b"%b%bconnection: close\r\n%bcontent-length: 0\r\n\r\n" % (STATUS_LINES[status], date_line(), lines)


def chunk(data: bytes) -> bytes:
    """``data``, not empty, as one chunk (RFC 9112 section 7.1)."""
    return b"%X\r\n%b\r\n" % (len(data), data)


def last_chunk(fields: Iterable[Field] = ()) -> bytes:
    """The end of a chunked body, with trailer fields (RFC 9112 section 7.1.2).

    Raises:
        ValueError, TypeError: as :func:`roadrunner_trio.protocol.wishes.trailers`.
    """
    return b"0\r\n%b\r\n" % _lines(trailers(fields))
