"""The words that settings take, and what is meant by them: durations, sizes, numbers, addresses."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Final, TypeVar

from .. import units

DEFAULT_HOST: Final = "127.0.0.1"
DEFAULT_PORT: Final = 8000

_count = re.compile(r"[0-9]+", re.ASCII).fullmatch


Value = TypeVar("Value")


def _word(read: Callable[[str], Value], text: str) -> Value:
    try:
        return read(text)
    except ValueError as exc:  # of which argparse would show the type alone
        raise argparse.ArgumentTypeError(str(exc)) from None


def duration(text: str) -> float:
    """As :func:`roadrunner_trio.units.duration`.

    Raises:
        argparse.ArgumentTypeError: ``text`` is none.
    """
    return _word(units.duration, text)


def size(text: str) -> int:
    """As :func:`roadrunner_trio.units.size`.

    Raises:
        argparse.ArgumentTypeError: ``text`` is none.
    """
    return _word(units.size, text)


def optional_size(text: str) -> int | None:
    """As :func:`roadrunner_trio.units.optional_size`.

    Raises:
        argparse.ArgumentTypeError: ``text`` is none.
    """
    return _word(units.optional_size, text)


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
    return None if text.lower() in units.UNBOUNDED else count(text)


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
        if octets and octets % units.OCTETS[unit] == 0:
            return f"{octets // units.OCTETS[unit]}{unit.upper()}"
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
