"""Sec-WebSocket-Extensions (RFC 6455 section 9.1): its grammar, read in one pass."""

from __future__ import annotations

import re
from typing import Final, TypeAlias

from ...fields import TOKEN

Parameter: TypeAlias = tuple[str, str | None]
Offer: TypeAlias = tuple[str, list[Parameter]]
"""An extension's name and its parameters, in order; None is a parameter without a value."""

_word = re.compile(rb"[ \t]*(" + TOKEN + rb")[ \t]*").match
_quoted = re.compile(rb'"((?:[^"\\]|\\.)*)"[ \t]*').match
_is_token = re.compile(TOKEN).fullmatch

COMMA: Final = b","
SEMICOLON: Final = b";"


def parse_offers(value: bytes) -> list[Offer]:
    """The offers of a field value, in the peer's order; empty members of the list do not count.

    Raises:
        ValueError: it is not such a list.
    """
    offers: list[Offer] = []
    at = 0
    while at < len(value):
        if value[at : at + 1] in (COMMA, b" ", b"\t"):
            at += 1
            continue
        name, at = _token(value, at)
        parameters: list[Parameter] = []
        while value[at : at + 1] == SEMICOLON:
            parameter, at = _parameter(value, at + 1)
            parameters.append(parameter)
        if at < len(value) and value[at : at + 1] != COMMA:
            raise ValueError("no comma between two extensions")
        offers.append((name.lower(), parameters))
    return offers


def _parameter(value: bytes, at: int) -> tuple[Parameter, int]:
    name, at = _token(value, at)
    if value[at : at + 1] != b"=":
        return (name.lower(), None), at
    if match := _quoted(value, at + 1):
        text = re.sub(rb"\\(.)", rb"\1", match[1])
        if not _is_token(text):
            raise ValueError("a quoted value that is no token")
        return (name.lower(), text.decode("ascii")), match.end()
    word, at = _token(value, at + 1)
    return (name.lower(), word), at


def _token(value: bytes, at: int) -> tuple[str, int]:
    match = _word(value, at)
    if match is None:
        raise ValueError("no token where one has to be")
    return match[1].decode("ascii"), match.end()
