"""Field sections from header blocks (RFC 7541).

Static and dynamic table are one list, in which the octet of an indexed field is its own subscript: the newest entry
stands last, and number 61 of the static table first. A field is judged when it comes as a literal, and never again when
it is only referred to.
"""

from __future__ import annotations

from collections.abc import Callable
from sys import maxsize
from typing import Any, Final

from ...fields import Field
from . import huffman
from .tables import STATIC

TABLE_SIZE: Final = 4096
"""Octets of the dynamic table, as every peer takes it that is not told otherwise (RFC 9113 section 6.5.2)."""
OVERHEAD: Final = 32
"""What an entry counts beside its name and value (RFC 7541 section 4.1)."""
CONTINUED: Final = 4
"""Octets behind the first that an integer may have: 2^28 is more than anything here."""
RESIZES: Final = 2
"""Changes of the table's size in one block: down to the least, and up to the last (RFC 7541 section 4.2)."""
EXCESS: Final = 5
"""How many times the fields that are wanted a block may have. All have to be read, for the table's sake: every two
octets may be another entry, which takes two microseconds."""
FIRST: Final = len(STATIC)
_TOP: Final = 0x80 + FIRST
"""The octet of the last static field; subtracted from, it makes subscripts of numbers."""

_NEW, _SIZE, _LITERAL = 0x40, 0x20, 0x0F


class CompressionError(Exception):
    """A header block cannot be decoded, and no further one on that connection (RFC 9113 section 4.3)."""


class TooManyFields(Exception):
    """A header block has so many fields that nobody will read it to its end, and so no further one."""


class Malformed(bytes):
    """The empty name of a field that may not be in a message, but has its place in the table.

    Attributes:
        said: the name that it came with.
    """

    said: bytes


def malformed(name: bytes) -> Malformed:
    """Marks a field that came with ``name``."""
    mark = Malformed()
    mark.said = name
    return mark


class Decoder:
    """The decoder of one connection, with its table.

    Args:
        judge: makes a field of a name and a value, with a :class:`Malformed` name if it is none.
        static: the static table, judged, its last field first. It is every connection's, and is copied before one puts
            something into it: many never do.

    Attributes:
        changes: how often the table has changed; a block that leaves it as it was may be remembered.
        remembered: of such blocks, whatever the caller made of them; forgotten when the table changes.
        largest: octets of the largest field that can be referred to, or more.
    """

    __slots__ = ("_bound", "_judge", "_most", "_octets", "_static", "_table", "changes", "largest", "remembered")

    def __init__(self, judge: Callable[[bytes, bytes], Field], static: list[Field]) -> None:
        self._judge = judge
        self._table = self._static = static
        self._bound = _TOP
        """The greatest octet that is the number of a field; numbers from 127 on take more than an octet."""
        self._octets = 0
        self._most = TABLE_SIZE
        self.largest = OVERHEAD
        self.changes = 0
        self.remembered: dict[bytes, Any] = {}

    def rest(self) -> None:
        """Lets go of what can be had again: what is remembered, and the copy of the static table."""
        self.remembered = {}
        if self._table is not self._static:
            self._table = self._table[FIRST:]

    def resume(self) -> None:
        """Goes on after a :meth:`rest`."""
        if self._table is not self._static:
            self._table = [*self._static, *self._table]

    def decode(self, block: bytes, most: int = maxsize) -> list[Field]:
        """The fields of a block, malformed ones among them, in order.

        Args:
            most: fields that are wanted; of those behind them nothing is kept but what they do to the table.

        Raises:
            CompressionError: it is no header block.
            TooManyFields: it has more than :data:`EXCESS` times ``most``.
        """
        fields: list[Field] = []
        add, table = fields.append, self._table
        end = len(block)
        at = self._resize(block) if end and block[0] & 0xE0 == _SIZE else 0
        stop = end if end <= most else most  # no field is less than an octet: until there none needs to be counted
        try:
            while True:
                while at < stop:
                    octet = block[at]
                    if 0x80 < octet <= self._bound:
                        add(table[_TOP - octet])
                        at += 1
                    elif octet >= 0x80:
                        index, at = integer(block, at, 0x7F)
                        add(self._entry(index))
                    else:
                        field, at = self._literal(block, at, octet)
                        add(field)
                        table = self._table
                if at == end:
                    return fields
                if len(fields) == most:
                    self._pass_over(block, at, (EXCESS - 1) * most)
                    return fields
                stop = min(end, at + most - len(fields))
        except (IndexError, ValueError) as error:
            raise CompressionError(str(error)) from None

    def _pass_over(self, block: bytes, at: int, most: int) -> None:
        """The rest of a block, which nobody wants: its numbers have to be right, and its entries are for the table."""
        end = len(block)
        for _ in range(most):
            if at == end:
                return
            octet = block[at]
            if 0x80 < octet <= self._bound:
                at += 1
            elif octet >= 0x80:
                index, at = integer(block, at, 0x7F)
                self._entry(index)
            else:
                _, at = self._literal(block, at, octet)
        if at < end:
            raise TooManyFields

    def _literal(self, block: bytes, at: int, octet: int) -> tuple[Field, int]:
        if octet < _SIZE:
            mask = _LITERAL
        elif octet < _NEW:
            raise CompressionError("the table changes its size inside of a block")
        else:
            mask = _NEW - 1
        index = octet & mask
        if index < mask:
            at += 1
        else:
            index, at = integer(block, at, mask)
        if index:
            name = self._entry(index)[0]
            if not name and isinstance(name, Malformed):
                name = name.said
        else:
            name, at = string(block, at)
        value, at = string(block, at)
        field = self._judge(name, value)
        if octet >= _NEW:
            self._insert(field, len(name) + len(value) + OVERHEAD)
        return field, at

    def _entry(self, index: int) -> Field:
        if not 0 < index < len(self._table) + 1:
            raise CompressionError("there is no field of that number")
        return self._table[FIRST - index]

    def _insert(self, field: Field, size: int) -> None:
        self._changed()
        self._evict(self._most - size)
        if size <= self._most:
            if self._table is self._static:
                self._table = [*self._static]
            self._table.append(field)
            self._octets += size
            self._bound = min(self._bound + 1, 0xFE)
            if size > self.largest:
                self.largest = size

    def _evict(self, most: int) -> None:
        """Drops the oldest until no more than ``most`` octets are left."""
        table, count = self._table, 0
        while self._octets > most and FIRST + count < len(table):
            name, value = table[FIRST + count]
            self._octets -= len(name.said if isinstance(name, Malformed) else name) + len(value) + OVERHEAD
            count += 1
        if count:
            del table[FIRST : FIRST + count]
            self._bound = min(0x80 + len(table), 0xFE)

    def _changed(self) -> None:
        self.changes += 1
        if self.remembered:
            self.remembered.clear()

    def _resize(self, block: bytes) -> int:
        """What a block may begin with: new sizes of the table. Returns where the fields begin."""
        at = times = 0
        while at < len(block) and block[at] & 0xE0 == _SIZE:
            try:
                size, at = integer(block, at, 0x1F)
            except (IndexError, ValueError) as error:
                raise CompressionError(str(error)) from None
            times += 1
            if size > TABLE_SIZE or times > RESIZES:
                raise CompressionError("the table is to be larger than it may be, or is changed too often")
            self._most = size
            self._evict(size)
            self._changed()
        return at


def integer(block: bytes, at: int, mask: int) -> tuple[int, int]:
    """An integer whose first octet has the bits of ``mask`` for it, and where it ends (RFC 7541 section 5.1).

    Raises:
        IndexError: it is cut short.
        ValueError: it has more than four octets behind the first.
    """
    value = block[at] & mask
    at += 1
    if value < mask:
        return value, at
    for shift in range(0, 7 * CONTINUED, 7):
        octet = block[at]
        at += 1
        value += (octet & 0x7F) << shift
        if octet < 0x80:
            return value, at
    raise ValueError("an integer is too long")


def string(block: bytes, at: int) -> tuple[bytes, int]:
    """A string, and where it ends (RFC 7541 section 5.2).

    Raises:
        IndexError: it is cut short.
        ValueError: its length or its Huffman code is wrong.
    """
    first = block[at]
    length = first & 0x7F
    if length < 0x7F:
        at += 1
    else:
        length, at = integer(block, at, 0x7F)
    end = at + length
    if end > len(block):
        raise IndexError("a string is cut short")
    return (huffman.decode(block[at:end]) if first >= 0x80 else block[at:end]), end
