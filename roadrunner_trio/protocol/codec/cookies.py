"""The Cookie field of a request (RFC 6265 section 5.4), read as servers have to read it: forgivingly."""

from __future__ import annotations

from collections.abc import Iterable


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
