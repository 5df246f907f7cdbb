"""What a peer would rather have: weights, content codings and media types (RFC 9110 section 12)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final

from ...fields import Field

FULL: Final = 1000
"""The weight of what has none said: they are counted in thousandths."""
MOST_MEMBERS: Final = 64
"""Members of a list of preferences that are looked at; nobody has so many."""

LONGEST_REMEMBERED: Final = 512
"""Octets of a list that is remembered; browsers' have 150."""

_weight = re.compile(rb"(?i:q)=(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)").fullmatch


def joined(fields: Iterable[Field], name: bytes) -> bytes | None:
    """All lines of a list as one, or None when there is none."""
    lines = [value for field, value in fields if field == name]
    return b", ".join(lines) if lines else None


def preferences(value: bytes) -> dict[bytes, int]:
    """The members of a list of preferences in lower case, with their weights; of a member that comes twice the first.

    Parameters other than the weight belong to the member. A weight that cannot be read is none, and so is 0: not to be
    given what one may have refused is the smaller mistake.
    """
    return _remembered(value) if len(value) <= LONGEST_REMEMBERED else _read_preferences(value)


def _read_preferences(value: bytes) -> dict[bytes, int]:
    found: dict[bytes, int] = {}
    for member in value.lower().split(b",", MOST_MEMBERS)[:MOST_MEMBERS]:
        parts = [part.strip(b" \t") for part in member.split(b";")]
        if not parts[0]:
            continue
        weight = FULL
        while len(parts) > 1 and parts[-1].startswith(b"q="):
            match = _weight(parts.pop())
            weight = 0 if match is None else round(float(match[1]) * FULL)
        found.setdefault(b";".join(parts), weight)
    return found


_remembered: Final = lru_cache(maxsize=256)(_read_preferences)


def choose_coding(accepted: bytes | None, offered: Sequence[bytes]) -> bytes | None:
    """The coding that content is sent in (section 12.5.3); None is none, ``identity``.

    Of those with the highest weight it is the first that is offered; ``identity`` loses against an equal. If nothing
    that is offered may be sent, and ``identity`` neither, it is sent all the same: a 406 helps nobody.

    Args:
        accepted: Accept-Encoding, or None: then nobody has said that they can read one.
        offered: names in lower case, best first.
    """
    if accepted is None or not offered:
        return None
    weights = preferences(accepted)
    other = weights.get(b"*", 0)
    best, best_weight = None, 0
    for coding in offered:
        weight = weights.get(coding, weights.get(b"x-gzip", other) if coding == b"gzip" else other)
        if weight > best_weight:
            best, best_weight = coding, weight
    return best if best_weight >= weights.get(b"identity", 0) else None


def accepts(accepted: bytes | None, offered: Sequence[str]) -> str | None:
    """The media type that a peer would rather have (section 12.5.1); None when it wants none of them.

    The most specific range that names a type gives its weight. Of equals the first is taken.

    Args:
        accepted: Accept; None takes everything.
        offered: media types without parameters, best first.
    """
    if accepted is None:
        return offered[0] if offered else None
    weights = preferences(accepted)
    best, best_weight = None, 0
    for offer in offered:
        weight = _weight_of(offer.lower().encode("latin-1"), weights)
        if weight > best_weight:
            best, best_weight = offer, weight
    return best


def _weight_of(media_type: bytes, weights: dict[bytes, int]) -> int:
    for wanted in (media_type, media_type.partition(b"/")[0] + b"/*", b"*/*"):
        # A parameter that we know nothing of does not make it another type for us: "text/html;level=1" is text/html.
        found = [weight for name, weight in weights.items() if name.partition(b";")[0] == wanted]
        if found:
            return max(found)
    return 0


def with_vary(fields: Iterable[Field], name: bytes) -> list[Field]:
    """Fields in which Vary names ``name`` (section 12.5.5), once, and none of what it named is lost."""
    given = list(fields)
    named = {each.strip(b" \t").lower() for field, value in given if field == b"vary" for each in value.split(b",")}
    if b"*" in named or name in named:
        return given
    at = next((at for at, (field, _) in enumerate(given) if field == b"vary"), None)
    if at is None:
        return [*given, (b"vary", name)]
    given[at] = (b"vary", given[at][1] + b", " + name)
    return given
