"""Cookies: read as servers have to read them, forgivingly (RFC 6265 section 5.4), and written as they should be."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Final, Literal, TypeAlias, cast

from ...fields import is_token
from .dates import format_date

SameSite: TypeAlias = Literal["Strict", "Lax", "None"]

MOST_OCTETS: Final = 4096
"""Of name and value; browsers drop what is larger (RFC 6265bis section 5.6)."""
MOST_OF_AN_ATTRIBUTE: Final = 1024

_value = re.compile(r"[!#-+\--:<-\[\]-~]*").fullmatch
_attribute = re.compile(r"[ -:<-~]*").fullmatch
_domain = re.compile(r"\.?[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?").fullmatch


def read_cookies(lines: Iterable[bytes]) -> list[tuple[str, str]]:
    """The cookies of all Cookie fields of a request, as :func:`parse_cookies`.

    A name or value that is UTF-8, as browsers send it, is read so, and else as latin-1; each by itself.
    """
    pairs = parse_cookies(b"; ".join(lines).decode("latin-1"))
    return [(_utf_8(name), _utf_8(text)) for name, text in pairs]


def _utf_8(text: str) -> str:
    if text.isascii():
        return text
    try:
        return text.encode("latin-1").decode()
    except UnicodeDecodeError:
        return text


def parse_cookies(value: str) -> list[tuple[str, str]]:
    """The cookies of one Cookie field value, as pairs of name and value in their order.

    Only the first ``=`` splits. SP and HTAB around a name or value do not belong to it; quotes do. What has
    no ``=`` or no name is left out; a name that comes twice is given twice. Never raises.
    """
    pairs = (pair.partition("=") for pair in value.split(";"))
    return [(name.strip(" \t"), text.strip(" \t")) for name, equals, text in pairs if equals and name.strip(" \t")]


def write_cookie(
    name: str,
    value: str,
    *,
    max_age: float | timedelta | None = None,
    expires: datetime | None = None,
    path: str | None = "/",
    domain: str | None = None,
    secure: bool = True,
    httponly: bool = True,
    samesite: SameSite | None = "Lax",
    partitioned: bool = False,
) -> bytes:
    """A value of Set-Cookie (RFC 6265bis section 4.1).

    Raises:
        ValueError: a part could be read as something else, or browsers would drop it all; the message says why.
        TypeError: name or value is no text.
    """
    _check_pair(name, value)
    _check_prefix(name, path, domain, secure=secure)
    if not secure and (partitioned or samesite == "None"):
        raise ValueError(f"cookie {name!r}: browsers drop Partitioned and SameSite=None without secure=True")
    said = [f"{name}={value}"]
    if max_age is not None:
        said.append(f"Max-Age={_seconds(name, max_age)}")
    if expires is not None:
        if expires.tzinfo is None:
            raise ValueError(f"cookie {name!r}: expires has no time zone; write datetime(..., tzinfo=UTC)")
        said.append("Expires=" + format_date(int(expires.timestamp())).decode("ascii"))
    if domain is not None:
        said.append("Domain=" + _checked(name, "domain", domain, _domain(domain)))
    if path is not None:
        said.append("Path=" + _checked(name, "path", path, path.startswith("/") and _attribute(path)))
    said += ["Secure"] * secure + ["HttpOnly"] * httponly
    if samesite is not None:
        said.append("SameSite=" + _checked(name, "samesite", samesite, samesite in ("Strict", "Lax", "None")))
    said += ["Partitioned"] * partitioned
    return "; ".join(said).encode("ascii")


LONG_AGO: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""When a cookie expires that is to be deleted."""


def same_cookie(one: bytes, other: bytes) -> bool:
    """Whether the later of two values of Set-Cookie stands for the same cookie: name, domain and path are equal."""
    return _identity(one) == _identity(other)


def _identity(value: bytes) -> tuple[bytes, frozenset[bytes]]:
    pair, *attributes = value.split(b"; ")
    place = frozenset(each for each in attributes if each.startswith((b"Domain=", b"Path=")))
    return pair.partition(b"=")[0], place


def _check_pair(name: str, value: str) -> None:
    for what, given in (("name", name), ("value", value)):
        if not isinstance(cast("object", given), str):
            raise TypeError(f"the {what} of a cookie is text, not {given!r}")
    if not name.isascii() or not is_token(name.encode("ascii")):
        raise ValueError(f"{name!r} is no name of a cookie: letters, digits and -._~!#$%&'*+^`| and nothing else")
    if _value(value) is None:
        raise ValueError(
            f"cookie {name!r}: a value has no blanks, quotes, commas, semicolons, backslashes, and is ASCII; "
            "write urllib.parse.quote(value)"
        )
    if len(name) + len(value) > MOST_OCTETS:
        raise ValueError(
            f"cookie {name!r} has more than {MOST_OCTETS} octets, and browsers drop it; keep it on the server"
        )


def _check_prefix(name: str, path: str | None, domain: str | None, *, secure: bool) -> None:
    prefix = name.lower()
    if prefix.startswith(("__host-", "__secure-")) and not secure:
        raise ValueError(f"cookie {name!r}: browsers drop such a name without secure=True")
    if prefix.startswith("__host-") and (path != "/" or domain is not None):
        raise ValueError(f"cookie {name!r}: browsers drop such a name with a domain, or a path that is not '/'")


def _seconds(name: str, given: float | timedelta) -> int:
    age = given.total_seconds() if isinstance(given, timedelta) else given
    if isinstance(age, float) and not math.isfinite(age):
        raise ValueError(f"cookie {name!r}: {given!r} is no max_age; browsers keep none for longer than 400 days")
    return int(age)


def _checked(name: str, what: str, given: str, right: object) -> str:
    if not right or len(given) > MOST_OF_AN_ATTRIBUTE:
        raise ValueError(f"cookie {name!r}: {given!r} is no {what}")
    return given
