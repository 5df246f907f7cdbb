"""Field lists (RFC 9110 section 5): plain pairs of bytes, names in lower case, order and repeats kept.

Requests carry them as ``tuple[tuple[bytes, bytes], ...]``. Responses may be given pairs or a mapping, of str or
bytes; :func:`encoded` turns either into the one form and refuses what would split a message.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Final, TypeAlias, cast

Field: TypeAlias = tuple[bytes, bytes]
Fields: TypeAlias = tuple[Field, ...]
"""What a message carries: pairs of lower-case name and value."""

FieldsLike: TypeAlias = Mapping[str, str] | Mapping[bytes, bytes] | Iterable[tuple[str | bytes, str | bytes]]
"""What an application may give: pairs or a mapping, str (latin-1) or bytes."""

TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
"""RFC 9110 section 5.6.2."""

FORBIDDEN_TRAILERS: Final = frozenset(
    {
        # framing and the connection
        b"connection",
        b"content-length",
        b"keep-alive",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        # routing, control and conditions
        b"cache-control",
        b"expect",
        b"forwarded",
        b"host",
        b"if-match",
        b"if-modified-since",
        b"if-none-match",
        b"if-range",
        b"if-unmodified-since",
        b"max-forwards",
        b"pragma",
        b"range",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-proto",
        # who is asking
        b"authorization",
        b"cookie",
        b"proxy-authorization",
        # what the content is
        b"content-encoding",
        b"content-range",
        b"content-type",
        # what a peer keeps
        b"set-cookie",
    }
)
"""Fields that no trailer section carries, from a peer or to one: they were needed before the body (RFC 9110 section
6.5.1)."""

is_token = re.compile(TOKEN).fullmatch
"""Truth when octets are a token, and nothing else."""

TEXT: Final = bytes([0x09, *range(0x20, 0x7F), *range(0x80, 0x100)])
"""The octets that a value may hold."""

_forbidden = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]").search


def lookup(fields: Iterable[Field], name: bytes) -> bytes | None:
    """The first value of ``name`` (lower case), or None."""
    for field, value in fields:
        if field == name:
            return value
    return None


def tokens(fields: Iterable[Field], name: bytes) -> frozenset[bytes]:
    """The members of a comma-separated token list over all its lines (N11), in lower case (RFC 9110 section 5.6.1)."""
    members = (member.strip(b" \t").lower() for field, value in fields if field == name for member in value.split(b","))
    return frozenset(member for member in members if member)


class Name(bytes):
    """A field name in lower case that knows how the application wrote it.

    It is equal to the plain name, and is taken for it everywhere; only who writes heads may ask (:func:`written`).
    """

    as_given: bytes


def written(name: bytes) -> bytes:
    """A field name in the letters in which the application gave it."""
    return name.as_given if isinstance(name, Name) else name


class Encoded(list[Field]):
    """Fields that have been through :func:`encoded`, which then has only to copy them."""

    __slots__ = ()


class Own(Encoded):
    """Encoded fields that were made for one response, which keeps them as they are."""

    __slots__ = ()


def encoded(given: FieldsLike) -> list[Field]:
    """The response fields an application gave, as pairs of bytes with lower-case names.

    Raises:
        ValueError: a name is no token, or a value holds a control byte (CR, LF and NUL would split the message:
            RFC 9110 section 5.5) or a character outside latin-1.
        TypeError: a name or value is neither str nor bytes.
    """
    if isinstance(given, Encoded):
        return Encoded(given)  # a copy: a middleware may change what a response has
    if not given:
        return Encoded()
    # A list is asked about first: asking about an abstract class takes ten times as long.
    if not isinstance(given, list) and isinstance(given, Mapping):
        given = cast("Mapping[Any, Any]", given).items()
    return Encoded([(field_name(name), field_value(name, value)) for name, value in given])


def field_name(given: Any) -> bytes:
    """A field name in lower case, a :class:`Name` where it was not given so.

    Raises:
        ValueError: it is no token (RFC 9110 section 5.6.2).
        TypeError: it is neither str nor bytes.
    """
    return given if type(given) is Name else _field_name(given)


@lru_cache(maxsize=256)
def _field_name(given: Any) -> bytes:
    octets = _octets(given)
    if not is_token(octets):
        raise ValueError(f"response field name {given!r} is not a token; CR, LF or NUL in it would split the message")
    lower = octets.lower()
    if lower == octets:
        return lower
    name = Name(lower)
    name.as_given = bytes(octets)
    return name


def field_value(name: Any, given: Any) -> bytes:
    """A field value without the blanks around it, which do not belong to it (RFC 9110 section 5.5).

    Args:
        name: whose value it is, for the complaint.

    Raises:
        ValueError: a control byte other than HTAB, or a character outside latin-1.
        TypeError: it is neither str nor bytes.
    """
    octets = given if type(given) is bytes else _octets(given)
    if _forbidden(octets):
        raise ValueError(
            f"response field {name!r} has a control character in its value; CR, LF or NUL would split the message"
        )
    return octets.strip(b" \t")


def _octets(text: Any) -> bytes:
    if isinstance(text, bytes):
        return text
    if isinstance(text, str):
        return text.encode("latin-1")
    raise TypeError(f"a field name or value must be str or bytes, not {type(text).__name__}")
