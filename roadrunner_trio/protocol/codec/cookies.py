"""The Cookie field of a request (RFC 6265 section 5.4), read as servers have to read it: forgivingly."""

from __future__ import annotations


def parse_cookies(value: str) -> list[tuple[str, str]]:
    """The cookies of one Cookie field value, as pairs of name and value in their order.

    Only the first ``=`` splits. SP and HTAB around a name or value do not belong to it; quotes do. What has
    no ``=`` or no name is left out; a name that comes twice is given twice. Never raises.
    """
    pairs = (pair.partition("=") for pair in value.split(";"))
    return [(name.strip(" \t"), text.strip(" \t")) for name, equals, text in pairs if equals and name.strip(" \t")]
