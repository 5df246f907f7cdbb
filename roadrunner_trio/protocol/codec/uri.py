"""Percent-encoding (RFC 3986 section 2.1) and query strings as HTML forms write them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, Literal, TypeAlias
from urllib.parse import quote, quote_from_bytes, quote_plus, unquote_to_bytes

QueryPair: TypeAlias = tuple[str, str | Literal[True]]
"""A key and its value; True for a key without ``=``."""

_RESERVED: Final = ":/?#[]@!$&'()*+,;="
"""What separates the parts of a URI (RFC 3986 section 2.2)."""

_control = re.compile(r"[\x00-\x1f\x7f-\x9f]").search
_lone_percent = re.compile(r"%(?![0-9A-Fa-f]{2})").sub
_broken = re.compile(rb"%(?![0-9A-Fa-f]{2})").search


def percent_decode(text: str | bytes) -> bytes:
    """Replaces every ``%HH`` by its octet; a str counts as UTF-8.

    Raises:
        ValueError: a ``%`` is not followed by two hexadecimal digits, or ``text`` holds a lone surrogate.
    """
    raw = text.encode() if isinstance(text, str) else text
    if _broken(raw):
        raise ValueError("a % without two hexadecimal digits")
    return unquote_to_bytes(raw)


def percent_encode(data: bytes) -> str:
    """``data`` with every octet but letters, digits and ``-._~`` as ``%HH``, in upper case."""
    return quote_from_bytes(data, safe="")


def to_uri(address: str) -> str:
    """An address as people write it (an IRI), as a URI (RFC 3987 section 3.1).

    What no URI may hold is percent-encoded, as UTF-8 where it is not ASCII: blanks, quotes, angle brackets, and the
    backslash that browsers take for a slash. What separates its parts, and every ``%HH``, is left alone; a ``%`` with
    something else behind it becomes ``%25``. A host is encoded like the rest (RFC 3986 section 3.2.2), which clients
    understand.

    Raises:
        ValueError: a control character in it, which nobody means, or a lone surrogate.
    """
    if found := _control(address):
        raise ValueError(f"an address has no control character: {address!r} has {found[0]!r}")
    return quote(_lone_percent("%25", address), safe=_RESERVED + "%")


def parse_query(query: str) -> list[QueryPair]:
    """The pairs of a query, in order.

    ``+`` is a space, then ``%HH`` is UTF-8; text that is neither is kept as it is. Only the first ``=`` of a
    pair splits it, a key without one has the value True, and empty pairs are left out.
    """
    return [_pair(pair) for pair in query.split("&") if pair]


def encode_query(pairs: Iterable[QueryPair]) -> str:
    """The query that :func:`parse_query` reads as ``pairs``; a key with the value True has no ``=``.

    Raises:
        UnicodeEncodeError: a lone surrogate.
    """
    return "&".join(_plus(key) if value is True else f"{_plus(key)}={_plus(value)}" for key, value in pairs)


def _pair(pair: str) -> QueryPair:
    key, equals, value = pair.partition("=")
    return _text(key), _text(value) if equals else True


def _text(part: str) -> str:
    spaced = part.replace("+", " ")
    try:
        return percent_decode(spaced).decode()
    except ValueError:
        return spaced


def _plus(text: str) -> str:
    return quote_plus(text, safe="")
