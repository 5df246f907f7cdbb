"""Header blocks of responses (RFC 7541), without a dynamic table: they mean the same on every connection.

So what an application's fields become can be remembered, as in HTTP/1 (:mod:`..http1.encode`), and a head is put
together of four pieces: the status, Date, what is remembered, and the length.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

from ...date import http_date
from ...fields import Field, Fields
from .. import wishes as neutral
from ..wishes import trailers, undelimited
from . import huffman
from .tables import STATIC

NO_TABLE: Final = b"\x20"
"""Says that the table has no room, for a peer that wants it smaller than it is at first (RFC 7541 section 4.2)."""
SECRETS: Final = frozenset({b"authorization", b"proxy-authorization", b"set-cookie"})
"""Fields that nobody on the way may put into a table: their values could be guessed (RFC 7541 section 7.1)."""
DROPPED: Final = frozenset({b"upgrade"})
"""Of one connection, as what every version leaves out (RFC 9113 section 8.2.2)."""

_INDEXED: Final = {pair: bytes([0x80 | number]) for number, pair in enumerate(STATIC, 1) if pair[1]}
_NUMBERS: Final = {name: number for number, (name, _) in reversed([*enumerate(STATIC, 1)])}
_NEVER: Final = 0x10


@dataclass(slots=True)
class Wishes:
    """What an application wishes, as in :class:`roadrunner_trio.protocol.wishes.Wishes`, its other fields encoded."""

    block: bytes
    """Those that are passed on, encoded."""
    names: frozenset[bytes]
    """Of those."""
    dated: bool = False
    """Whether Date is among them."""
    length: int | None = None
    close: bool = False
    """It asked for ``connection: close``, which HTTP/2 cannot say of one response."""


@lru_cache(maxsize=128)
def sift(fields: Fields) -> Wishes:
    """Parts an application's fields into what goes out and what the server decides itself; the last 128 are remembered.

    Raises:
        ValueError, TypeError: as :func:`roadrunner_trio.protocol.wishes.sift`.
    """
    wishes = neutral.sift(fields)
    passed = [field for field in wishes.fields if field[0] not in DROPPED]
    names = frozenset([name for name, _ in passed])
    return Wishes(encode(passed), names, wishes.dated, wishes.length, wishes.close)


@lru_cache(maxsize=128)
def sift_undated(fields: Fields) -> Wishes:
    """As :func:`sift`, for a server that does not say when a response was made."""
    return replace(sift(fields), dated=True)


def and_extra(wishes: Wishes, extra: Iterable[Field]) -> Wishes:
    """``wishes`` with the server's ``extra`` fields, those apart that the application has set itself.

    Raises:
        ValueError, TypeError: as :func:`roadrunner_trio.protocol.wishes.undelimited`.
    """
    missing = [field for field in _passed(undelimited(extra)) if field[0] not in wishes.names]
    names = wishes.names | {name for name, _ in missing}
    dated = wishes.dated or b"date" in names
    return Wishes(wishes.block + encode(missing), names, dated, wishes.length, wishes.close)


def final_head(status: int, wishes: Wishes, length: int | None) -> bytes:
    """The head of a final response: status, Date (RFC 9110 section 6.6.1), the application's fields, the length.

    Args:
        length: what content-length says; None for no such field.

    Raises:
        ValueError: the status is not a final one, 200 to 599.
    """
    line = _STATUS.get(status)
    if line is None or status < 200:
        raise ValueError(f"a response needs a final status from 200 to 599, not {status!r}")
    delimiter = b"" if length is None else _length(length)
    if wishes.dated:
        return line + wishes.block + delimiter
    return line + _dated(http_date()) + wishes.block + delimiter


def interim_head(status: int, fields: Iterable[Field]) -> bytes:
    """The head of an interim response.

    Raises:
        ValueError: the status is none of an interim response that HTTP/2 has (RFC 9113 section 8.6), or as
            :func:`roadrunner_trio.protocol.wishes.undelimited`.
        TypeError: likewise.
    """
    if not 100 <= status < 200 or status == 101:
        raise ValueError(f"an interim response of HTTP/2 has a status from 100 to 199, and not 101: {status!r}")
    return _STATUS[status] + encode(_passed(undelimited(fields)))


def trailer_section(fields: Iterable[Field]) -> bytes:
    """Fields behind a body.

    Raises:
        ValueError, TypeError: as :func:`roadrunner_trio.protocol.wishes.trailers`.
    """
    return encode(trailers(fields))


def _passed(fields: Iterable[Field]) -> list[Field]:
    """Fields without those of one connection."""
    return [field for field in fields if field[0] not in neutral.FRAMING_FIELDS and field[0] not in DROPPED]


def encode(fields: Iterable[Field]) -> bytes:
    """Fields that have been checked, as a block that leaves no trace in the peer's table."""
    return b"".join([_INDEXED.get(field) or _literal(field) for field in fields])


def _literal(field: Field) -> bytes:
    name, value = field
    first = _NEVER if name in SECRETS else 0
    number = _NUMBERS.get(name)
    if number is None:
        return bytes([first]) + string(name) + string(value)
    return integer(number, 0x0F, first) + string(value)


def integer(value: int, mask: int, first: int) -> bytes:
    """An integer in the bits of ``mask``, the others of its first octet being those of ``first`` (section 5.1)."""
    if value < mask:
        return bytes([first | value])
    octets = bytearray([first | mask])
    value -= mask
    while value >= 0x80:
        octets.append(value & 0x7F | 0x80)
        value >>= 7
    octets.append(value)
    return bytes(octets)


def string(text: bytes) -> bytes:
    """A string, Huffman-coded where that is shorter (section 5.2)."""
    code = huffman.encode(text)
    if len(code) < len(text):
        return integer(len(code), 0x7F, 0x80) + code
    return integer(len(text), 0x7F, 0) + text


_STATUS: Final = {status: encode([(b":status", b"%d" % status)]) for status in range(100, 600)}


@lru_cache(maxsize=1)
def _dated(date: bytes) -> bytes:
    return encode([(b"date", date)])


@lru_cache(maxsize=256)
def _length(length: int) -> bytes:
    return encode([(b"content-length", b"%d" % length)])
