"""The words that settings take, and what is meant by them: durations, sizes, numbers, addresses."""

from __future__ import annotations

import argparse
import math
import re
from decimal import Decimal
from typing import Final

SECONDS: Final = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}
OCTETS: Final = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}
UNBOUNDED: Final = frozenset({"none", "inf"})
DEFAULT_HOST: Final = "127.0.0.1"
DEFAULT_PORT: Final = 8000

_duration = re.compile(r"([0-9]+(?:\.[0-9]+)?|\.[0-9]+)(ms|s|m|h|)", re.IGNORECASE | re.ASCII).fullmatch
_size = re.compile(r"([0-9]+)(?:([kmg])(?:i?b)?|b?)", re.IGNORECASE | re.ASCII).fullmatch
_count = re.compile(r"[0-9]+", re.ASCII).fullmatch


def duration(text: str) -> float:
    """Seconds from ``30``, ``1.5s``, ``500ms``, ``5m`` or ``1h``; ``none`` and ``inf`` are :data:`math.inf`.

    Raises:
        argparse.ArgumentTypeError: ``text`` is none of these.
    """
    if text.lower() in UNBOUNDED:
        return math.inf
    match = _duration(text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration: write 30, 1.5s, 500ms, 5m, 1h or none")
    number, unit = float(match[1]), match[2].lower()
    # 0.001 is not exact in binary; dividing gives the float nearest to what was written, multiplying may not.
    return number / 1000 if unit == "ms" else number * SECONDS[unit]


def size(text: str) -> int:
    """Octets from ``65536``, ``64K``, ``10M`` or ``1G``; K, M and G are powers of 1024.

    Raises:
        argparse.ArgumentTypeError: ``text`` is none of these.
    """
    match = _size(text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no size: write 65536, 64K, 10M or 1G")
    return int(match[1]) * OCTETS[(match[2] or "").lower()]


def optional_size(text: str) -> int | None:
    """As :func:`size`; ``none`` and ``inf`` are None, no bound.

    Raises:
        argparse.ArgumentTypeError: ``text`` is none of these.
    """
    return None if text.lower() in UNBOUNDED else size(text)


def count(text: str) -> int:
    """A whole number.

    Raises:
        argparse.ArgumentTypeError: ``text`` is none.
    """
    if _count(text) is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number")
    return int(text)


def optional_count(text: str) -> int | None:
    """As :func:`count`; ``none`` and ``inf`` are None, no bound.

    Raises:
        argparse.ArgumentTypeError: ``text`` is none of these.
    """
    return None if text.lower() in UNBOUNDED else count(text)


def show_count(number: int | None) -> str:
    """What :func:`optional_count` reads back as ``number``."""
    return "none" if number is None else str(number)


def show_duration(seconds: float) -> str:
    """What :func:`duration` reads back as ``seconds``: ``none``, ``1.5s``, ``300s``."""
    if seconds == math.inf:
        return "none"
    return format(Decimal(repr(float(seconds))), "f").removesuffix(".0") + "s"  # every digit, and never an exponent


def show_size(octets: int | None) -> str:
    """What :func:`optional_size` reads back as ``octets``, in the largest unit that fits: ``10M``, ``1000``."""
    if octets is None:
        return "none"
    for unit in ("g", "m", "k"):
        if octets and octets % OCTETS[unit] == 0:
            return f"{octets // OCTETS[unit]}{unit.upper()}"
    return str(octets)


def addresses(binds: list[str] | None, host: str | None, port: int | None) -> tuple[str, ...]:
    """The addresses to listen on, from ``--bind`` or from ``--host`` and ``--port``.

    Raises:
        ValueError: both ways were used at once.
    """
    if binds and (host is not None or port is not None):
        raise ValueError("--bind says host and port already: leave out --host and --port, or give only those")
    if binds:
        return tuple(binds)
    name = DEFAULT_HOST if host is None else host
    if ":" in name and not name.startswith("["):
        name = f"[{name}]"  # an IPv6 literal (RFC 3986 section 3.2.2)
    return (f"{name}:{DEFAULT_PORT if port is None else port}",)
