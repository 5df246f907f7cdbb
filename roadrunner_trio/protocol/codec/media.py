"""Media types with their parameters (RFC 9110 section 8.3.1), and the parameters of other fields (section 5.6.6)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final, NamedTuple

MOST_PARAMETERS: Final = 32

_token = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_type = re.compile(rb"[ \t]*+(" + _token + rb"/" + _token + rb")[ \t]*+").match
_parameter = re.compile(
    rb";[ \t]*+(?:(" + _token + rb")=(?:(" + _token + rb')|"((?:[^"\\]|\\.)*+)"))?+[ \t]*+', re.DOTALL
).match
_escaped = re.compile(rb"\\(.)", re.DOTALL).sub


class MediaType(NamedTuple):
    """A media type.

    Attributes:
        name: in lower case, ``"multipart/form-data"``.
        parameters: names in lower case, values without quotes.
    """

    name: str
    parameters: Mapping[str, str]


@lru_cache(maxsize=128)
def parse_media_type(value: bytes) -> MediaType | None:
    """A media type; None for what is none, or says a parameter twice: two readers could take different ones."""
    match = _type(value)
    if match is None:
        return None
    found = parse_parameters(value, match.end())
    return None if found is None else MediaType(match[1].decode("ascii").lower(), MappingProxyType(found))


def parse_parameters(value: bytes, at: int = 0) -> dict[str, str] | None:
    """``;name=value`` as often as it comes, from ``at`` to the end; None where it is something else."""
    found: dict[str, str] = {}
    while at < len(value):
        match = _parameter(value, at)
        if match is None or len(found) == MOST_PARAMETERS:
            return None
        at = match.end()
        if match[1] is None:
            continue  # an empty one
        name = match[1].decode("ascii").lower()
        if name in found:
            return None
        text = match[2] if match[2] is not None else _escaped(rb"\1", match[3])
        found[name] = text.decode("latin-1")
    return found
