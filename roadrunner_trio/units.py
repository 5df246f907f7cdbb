"""Times and sizes as people write them: ``5``, ``"5s"``, ``"500ms"``; ``65536``, ``"64K"``, ``"10MB"``.

Whatever takes a time or a size takes both notations and reads them here, so that code, flags, variables and files agree
on what they mean. Where all is text, as in a flag, a bare number is seconds or octets; in code, text needs its unit.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

Duration: TypeAlias = float | str
"""Seconds, or text such as ``"5s"``, ``"500ms"``, ``"2m"``, ``"1h"``, ``"none"``."""

Size: TypeAlias = int | str
"""Octets, or text such as ``"64K"``, ``"10MB"``, ``"1G"``."""

Number = TypeVar("Number", int, float)

SECONDS: Final = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}
OCTETS: Final = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}
UNBOUNDED: Final = frozenset({"none", "inf"})

_duration = re.compile(r"([0-9]+(?:\.[0-9]+)?|\.[0-9]+)(ms|s|m|h|)", re.IGNORECASE | re.ASCII).fullmatch
_size = re.compile(r"([0-9]+)(?:([kmg])(?:i?b)?|b?)", re.IGNORECASE | re.ASCII).fullmatch


def duration(text: str) -> float:
    """Seconds from ``30``, ``1.5s``, ``500ms``, ``5m`` or ``1h``; ``none`` and ``inf`` are :data:`math.inf`.

    Raises:
        ValueError: ``text`` is none of these.
    """
    if text.lower() in UNBOUNDED:
        return math.inf
    match = _duration(text)
    if match is None:
        raise ValueError(f"{text!r} is no duration: write 30, 1.5s, 500ms, 5m, 1h or none")
    number, unit = float(match[1]), match[2].lower()
    if number == math.inf:
        raise ValueError(f"{text[:20]}... seconds is beyond all floats: write none for no bound")
    # 0.001 is not exact in binary; dividing gives the float nearest to what was written, multiplying may not.
    return number / 1000 if unit == "ms" else number * SECONDS[unit]


def size(text: str) -> int:
    """Octets from ``65536``, ``64K``, ``10M`` or ``1G``; K, M and G are powers of 1024.

    Raises:
        ValueError: ``text`` is none of these.
    """
    match = _size(text)
    if match is None:
        raise ValueError(f"{text!r} is no size: write 65536, 64K, 10M or 1G")
    return int(match[1]) * OCTETS[(match[2] or "").lower()]


def optional_size(text: str) -> int | None:
    """As :func:`size`; ``none`` and ``inf`` are None, no bound.

    Raises:
        ValueError: ``text`` is none of these.
    """
    return None if text.lower() in UNBOUNDED else size(text)


# -- what is given in code -----------------------------------------------------------------------


def seconds(name: str, given: Duration, *, zero: bool = False, endless: bool = True) -> float:
    """A time that was given as ``name``, in seconds; a number is given back as it is.

    Args:
        zero: whether it may be 0.
        endless: whether it may be :data:`math.inf`.

    Raises:
        ValueError: it is neither number nor duration, NaN, or out of range; the message begins with the name.
    """
    value: Any = given
    hint = ""
    if isinstance(given, str):
        value = _read(duration, given)
        hint = "" if value else ': write 5, "5s", "500ms" or "2m"'
    if _is_number(value) and (value > 0 or (zero and value == 0)) and (endless or value < math.inf):
        return value  # type: ignore[no-any-return]
    kind = "a" if endless else "a finite"
    wanted = f"{kind} time of at least 0 seconds" if zero else f"{kind} positive number of seconds"
    raise ValueError(f"{name} must be {wanted}, not {given!r}{hint}")


def optional_seconds(name: str, given: Duration | None, *, zero: bool = False, endless: bool = True) -> float | None:
    """As :func:`seconds`; None is None.

    Raises:
        ValueError: as :func:`seconds`.
    """
    return None if given is None else seconds(name, given, zero=zero, endless=endless)


def octets(name: str, given: Size, *, least: int = 1) -> int:
    """A size that was given as ``name``, in octets.

    Raises:
        ValueError: it is neither whole number nor size, or below ``least``; the message begins with the name.
    """
    if not isinstance(given, str):
        return count(name, given, least=least)
    value = _read(size, given)
    if value is None or value < least:
        hint = "" if value else ': write 65536, "64K" or "10M"'
        raise ValueError(f"{name} must be a whole number, at least {least}, not {given!r}{hint}")
    return value


def optional_octets(name: str, given: Size | None, *, least: int = 1) -> int | None:
    """As :func:`octets`; None, ``"none"`` and ``"inf"`` are None, no bound.

    Raises:
        ValueError: as :func:`octets`.
    """
    if given is None or (isinstance(given, str) and given.strip().lower() in UNBOUNDED):
        return None
    return octets(name, given, least=least)


def whole_seconds(name: str, given: int | str) -> int:
    """A time of whole seconds, at least one.

    Raises:
        ValueError: it is none; the message begins with the name.
    """
    if not isinstance(given, str):
        return count(name, given)
    value = _read(duration, given)
    if value is None or not value.is_integer():  # nor is math.inf
        raise ValueError(f"{name} must be a whole number, at least 1, not {given!r}")
    return count(name, int(value))


def count(name: str, given: int, *, least: int = 1) -> int:
    """A number of things that was given as ``name``.

    Raises:
        ValueError: it is no whole number, or below ``least``; the message begins with the name.
    """
    value: Any = given
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{name} must be a whole number, at least {least}, not {given!r}")
    return value


def optional_count(name: str, given: int | None, *, least: int = 1) -> int | None:
    """As :func:`count`; None is None, no bound.

    Raises:
        ValueError: as :func:`count`.
    """
    return None if given is None else count(name, given, least=least)


def _read(notation: Callable[[str], Number], text: str) -> Number | None:
    """What a text with a unit means, or ``"none"``; None when it is no such text."""
    text = text.strip()
    try:
        return notation(text) if text[-1:].isalpha() else None
    except ValueError:
        return None


def _is_number(value: Any) -> bool:
    """Whether arithmetic with times works: no bool, no NaN, and no whole number beyond all floats."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return not math.isnan(value)
    except OverflowError:
        return False


# -- what a type checker sees --------------------------------------------------------------------

if TYPE_CHECKING:
    # Fields of frozen dataclasses are given in either notation and are numbers from then on. To a type checker they are
    # descriptors, whose `__set__` is what the constructor takes; at run time they are plain fields, as fast as any.

    class Seconds:
        """A field that is given a :data:`Duration`."""

        def __get__(self, instance: object, owner: Any = None) -> float: ...
        def __set__(self, instance: object, value: Duration) -> None: ...

    class OptionalSeconds:
        """A field that is given a :data:`Duration`, or None."""

        def __get__(self, instance: object, owner: Any = None) -> float | None: ...
        def __set__(self, instance: object, value: Duration | None) -> None: ...

    class WholeSeconds:
        """A field that is given a :data:`Duration` of whole seconds."""

        def __get__(self, instance: object, owner: Any = None) -> int: ...
        def __set__(self, instance: object, value: int | str) -> None: ...

    class Octets:
        """A field that is given a :data:`Size`."""

        def __get__(self, instance: object, owner: Any = None) -> int: ...
        def __set__(self, instance: object, value: Size) -> None: ...

    class OptionalOctets:
        """A field that is given a :data:`Size`, or None."""

        def __get__(self, instance: object, owner: Any = None) -> int | None: ...
        def __set__(self, instance: object, value: Size | None) -> None: ...

else:
    Seconds = OptionalSeconds = float
    WholeSeconds = Octets = OptionalOctets = int
