"""Ranges of octets (RFC 9110 section 14): which parts a request asks for, and how several go out as one content."""

from __future__ import annotations

import re
from typing import Final, NamedTuple, TypeAlias

MOST_RANGES: Final = 8
"""Ranges that a request may ask for; more is answered with the whole. Players ask for one, some readers for two."""
_MOST_DIGITS: Final = 18

_spec = re.compile(rb"(\d+)-(\d*)|(-)(\d+)").fullmatch


class Span(NamedTuple):
    """Octets of a representation.

    Attributes:
        first: the place of the first.
        length: how many, at least one.
    """

    first: int
    length: int

    @property
    def end(self) -> int:
        """The place behind the last."""
        return self.first + self.length

    def content_range(self, size: int) -> bytes:
        """The value of Content-Range (section 14.4)."""
        return b"bytes %d-%d/%d" % (self.first, self.end - 1, size)


def unsatisfied(size: int) -> bytes:
    """The value of Content-Range beside 416 (section 15.5.17)."""
    return b"bytes */%d" % size


def parse_ranges(value: bytes, size: int, most: int = MOST_RANGES) -> list[Span] | None:
    """The parts of a representation that Range asks for, in the order in which it asks.

    Parts that overlap or touch become one, so they are never more octets together than there are (CVE-2011-3192).

    Args:
        value: of the field.
        size: octets of the representation.
        most: ranges that are answered.

    Returns:
        At least one part; none at all, for 416, when no range lies within the representation; or None when the field is
        to be ignored, and the whole sent: it has another unit, is malformed, asks for too many parts, or for the end of
        what has no octets.
    """
    asked = _asked(value)
    if not asked or len(asked) > most:
        return None
    if not size and any(first is None and last for first, last in asked):
        return None
    found = [_span(first, last, size) for first, last in asked]
    return _joined([span for span in found if span is not None])


_Asked: TypeAlias = list[tuple[int | None, int | None]]


def _asked(value: bytes) -> _Asked | None:
    """The first and the last octet of each range as given; None for what is malformed, or counts in another unit."""
    unit, _, text = value.partition(b"=")
    if unit.lower() != b"bytes":
        return None
    asked: _Asked = []
    for member in text.split(b","):
        if not (member := member.strip(b" \t")):
            continue  # section 5.6.1.2
        match = _spec(member)
        if match is None:
            return None
        first, last = (None, match[4]) if match[3] else (_number(match[1]), match[2])
        end = _number(last) if last else None
        if first is not None and end is not None and end < first:
            return None  # section 14.1.1: invalid, and so is the whole
        asked.append((first, end))
    return asked


def _number(digits: bytes) -> int:
    """Of endless digits, as many as matter: no file is so large."""
    digits = digits.lstrip(b"0") or b"0"
    return int(digits) if len(digits) <= _MOST_DIGITS else 10**_MOST_DIGITS


def _span(first: int | None, last: int | None, size: int) -> Span | None:
    if first is None:  # the last so many
        length = min(last or 0, size)
        return Span(size - length, length) if length else None
    if first >= size:
        return None
    end = size if last is None else min(last + 1, size)
    return Span(first, end - first)


def _joined(spans: list[Span]) -> list[Span]:
    """Those that overlap or touch as one, where the first of them stands."""
    merged: list[Span] = []
    for first, length in sorted(spans):
        if merged and first <= merged[-1].end:
            begin = merged[-1].first
            merged[-1] = Span(begin, max(merged[-1].end, first + length) - begin)
        else:
            merged.append(Span(first, length))
    return sorted(merged, key=lambda part: _place(part, spans))


def _place(part: Span, spans: list[Span]) -> int:
    return next(at for at, span in enumerate(spans) if part.first <= span.first < part.end)


class Multipart:
    """Several parts as one content, ``multipart/byteranges`` (section 14.6).

    Attributes:
        media_type: the value of Content-Type.
        length: octets of the content.
        end: what follows the last part.

    Args:
        spans: the parts, in order.
        size: octets of the representation.
        media_type: of the representation.
        boundary: what lies between the parts, and in none of them: letters and digits.
    """

    def __init__(self, spans: list[Span], size: int, media_type: bytes, boundary: bytes) -> None:
        self.media_type = b"multipart/byteranges; boundary=" + boundary
        self.end = b"\r\n--" + boundary + b"--\r\n"
        self._parts = [(self._head(at, span, size, media_type, boundary), span) for at, span in enumerate(spans)]
        self.length = sum(len(head) + span.length for head, span in self._parts) + len(self.end)

    def _head(self, at: int, span: Span, size: int, media_type: bytes, boundary: bytes) -> bytes:
        return b"%b--%b\r\ncontent-type: %b\r\ncontent-range: %b\r\n\r\n" % (
            b"\r\n" if at else b"",
            boundary,
            media_type,
            span.content_range(size),
        )

    @property
    def parts(self) -> list[tuple[bytes, Span]]:
        """What goes before each part, and the part."""
        return self._parts
