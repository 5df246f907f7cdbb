"""Ids for requests: random, and drawn from the system many at a time."""

from __future__ import annotations

import os
from typing import Final

_OCTETS: Final = 8
_BATCH: Final = 64

_drawn: list[str] = []


def new_id() -> str:
    """16 hexadecimal digits from the system's generator, which is asked once for 64 of them: 5 µs a question."""
    try:
        return _drawn.pop()
    except IndexError:  # not asked about beforehand: a thread of a handler may take the last one
        digits = os.urandom(_OCTETS * _BATCH).hex()
        first, *others = (digits[at : at + 2 * _OCTETS] for at in range(0, len(digits), 2 * _OCTETS))
        _drawn.extend(others)
        return first


if hasattr(os, "register_at_fork"):  # two processes must not give out the same ones
    os.register_at_fork(after_in_child=_drawn.clear)
