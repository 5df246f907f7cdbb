"""Who asked, as proxies tell it: ``Forwarded`` (RFC 7239) and its older relatives, ``X-Forwarded-*``.

Reads what stands there and believes nothing; whom to believe is :mod:`roadrunner_trio.protocol.trust`'s affair.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address
from typing import Final, NamedTuple, TypeAlias

from ...addresses import unmapped
from ...fields import TOKEN

Node: TypeAlias = tuple[str, int] | str
"""Host and port, 0 where none is given; or a word: ``"unknown"``, an obfuscated ``"_name"``."""

UNKNOWN: Final = "unknown"

_T: Final = TOKEN.decode() + "+"  # possessive, as all repeats below: no octet can be read two ways
_pair = re.compile(rf'({_T})=(?:({_T})|"((?:[^"\\]|\\.)*+)")')
_unquote = re.compile(r"\\(.)").sub
_obfuscated = re.compile(r"_[A-Za-z0-9._-]++").fullmatch
_node = re.compile(r"(?:\[([0-9A-Fa-f:.]++)\]|([0-9.]++))(?::([0-9]{1,5}|_[A-Za-z0-9._-]++))?").fullmatch


class Forwarded(NamedTuple):
    """One element: what one proxy says of the request as it received it; None for what it does not say."""

    for_: Node | None = None
    by: Node | None = None
    host: str | None = None
    proto: str | None = None


def parse_forwarded(value: str) -> list[Forwarded]:
    """The elements of one ``Forwarded`` field value, the nearest proxy's last (RFC 7239 section 4).

    Parameters that the RFC does not name are left out. Space around ``;`` is accepted, as proxies write it.

    Raises:
        ValueError: it does not follow the grammar. The elements that could be told apart are no better than the
            others: a quote that a peer left open may swallow what a proxy appended.
    """
    elements: list[Forwarded] = []
    at, pairs = 0, dict[str, str]()
    while True:
        at = _skip(value, at)
        if found := _pair.match(value, at):
            name, token, quoted = found.groups()
            if name.lower() in pairs:
                raise ValueError(f"Forwarded has {name} twice in one element")
            pairs[name.lower()] = token if quoted is None else _unquote(r"\1", quoted)
            at = _skip(value, found.end())
        if at == len(value) or value[at] == ",":
            if pairs:
                elements.append(_element(pairs))
            pairs = {}
        elif value[at] != ";":
            raise ValueError(f"Forwarded has something unexpected at {at}")
        if at == len(value):
            return elements
        at += 1


def _skip(value: str, at: int) -> int:
    while at < len(value) and value[at] in " \t":
        at += 1
    return at


def _element(pairs: dict[str, str]) -> Forwarded:
    for_, by = pairs.get("for"), pairs.get("by")
    return Forwarded(
        None if for_ is None else parse_node(for_),
        None if by is None else parse_node(by),
        pairs.get("host"),
        pairs.get("proto"),
    )


def parse_node(text: str) -> Node:
    """A node identifier (RFC 7239 section 6), without its quotes.

    Raises:
        ValueError: it is none.
    """
    if text.lower() == UNKNOWN:
        return UNKNOWN
    if _obfuscated(text):
        return text
    parts = _node(text)
    if parts is None:
        raise ValueError(f"no node identifier: {text!r}")
    six, four, port = parts.groups()
    host = str(IPv4Address(four)) if six is None else unmapped(str(IPv6Address(six)))
    number = int(port) if port and port[0] != "_" else 0
    if number > 65535:
        raise ValueError(f"no port: {port}")
    return host, number


def parse_x_forwarded_for(values: Iterable[str]) -> list[Node]:
    """The addresses of all ``X-Forwarded-For`` lines, the nearest proxy's last; what is none is ``"unknown"``.

    There is no standard; proxies write IPv6 with and without brackets, and some append a port.
    """
    return [_address(member) for member in members(values)]


def members(values: Iterable[str]) -> list[str]:
    """The members of a comma-separated list over all its lines, the empty ones left out (RFC 9110 section 5.6.1)."""
    found = (member.strip(" \t") for value in values for member in value.split(","))
    return [member for member in found if member]


def _address(text: str) -> Node:
    try:
        node = parse_node(f"[{text}]" if text.count(":") > 1 and not text.startswith("[") else text)
    except ValueError:
        return UNKNOWN
    return node if isinstance(node, tuple) else UNKNOWN
