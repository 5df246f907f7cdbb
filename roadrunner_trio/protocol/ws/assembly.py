"""A message that grows piece by piece, and what it takes in memory.

Python keeps a text in one, two or four octets a character, whatever its widest needs: one emoji makes four octets of
each letter. So a text is counted as what it is going to be, not as what came. And pieces may be of an octet each,
which as objects would take fifty: small ones are joined as they come.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from sys import getsizeof
from typing import Any, Final

SMALL: Final = 4096
"""Characters or octets of a piece that is worth joining with its neighbours."""
FEW: Final = 256
"""Small pieces that may be apart."""

_HEAD: Final = getsizeof(bytes([0xE9] * 3).decode("latin-1")) - 4
"""Octets of a text's object that are not its characters, where some are not ASCII; one more character ends it."""


def width(text: str) -> int:
    """Octets that each character of ``text`` takes: 1, 2 or 4; at once, however long it is."""
    if text.isascii():
        return 1
    if len(text) == 1:  # shared with others, who may have had it encoded, which is kept with it
        return 1 if text < "\u0100" else 2 if text < "\U00010000" else 4
    return (getsizeof(text) - _HEAD) // (len(text) + 1)


def cost(content: str | bytes) -> int:
    """Octets that ``content`` takes in memory, but for some fifty that every object has."""
    return len(content) * width(content) if isinstance(content, str) else len(content)


class Assembly:
    """Pieces, all str or all bytes, that will be one.

    Attributes:
        size: characters or octets.
    """

    __slots__ = ("_few", "_join", "_pieces", "_width", "size")

    def __init__(self, kind: type[str] | type[bytes]) -> None:
        self._join: Callable[[Iterable[Any]], Any] = kind().join
        self._pieces: list[Any] = []
        self._few: list[Any] = []
        self._width = 1
        self.size = 0

    def add(self, piece: str | bytes) -> None:
        """Behind what there is."""
        if isinstance(piece, str):
            self._width = max(self._width, width(piece))
        self.size += len(piece)
        if len(piece) < SMALL:
            self._few.append(piece)
            if len(self._few) < FEW:
                return
            self._settle()
        else:
            self._settle()
            self._pieces.append(piece)

    def _settle(self) -> None:
        if self._few:
            self._pieces.append(self._join(self._few))
            self._few.clear()

    @property
    def held(self) -> int:
        """Octets that the whole will take in memory."""
        return self.size * self._width

    def whole(self) -> Any:
        """All of it, in one."""
        self._settle()
        return self._join(self._pieces)
