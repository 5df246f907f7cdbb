"""Memory that a supervisor and its workers share: a row of 64-bit numbers for each process.

A row has one writer, its process, and any number of readers. A number is written whole, so there are no locks, and a
process that is killed leaves no half of anything. The first page is a directory: how many connections each process has,
side by side, for that is what every process looks at before it accepts another one.

What else a row holds is not known here: its owner gives the width, and puts there what it likes to count.
"""

from __future__ import annotations

import enum
import math
import mmap
import os
import tempfile
import time
from typing import Final

ROWS: Final = 256
"""Processes at once, the leaving ones included. A row that nobody has takes no memory."""
CELL: Final = 8
PAGE: Final = 4096
ABSENT: Final = -1
"""In the directory: this process does not accept."""
HIGH: Final = 0
"""In the directory: the first row that was never given away. Connections of row n stand at n + 1."""
RETIRED: Final = 0
"""The row in which the numbers of the dead are kept, by whoever counts: they must not run backwards."""

TOLERANCE: Final = 2
"""Connections that a process may have more than the one that has the least."""
STEP: Final = 0.002
MOST: Final = 0.01
"""Seconds that it waits for each of them, and at most. Where nothing else runs, a neighbour needs less than one of
these to wake; on a machine that is busy it may need several."""
PATIENT: Final = 3
"""Waits in vain after which it waits no more, until one of those is seen again that it has waited for: who is at
something that takes long must not keep the door shut."""


class Cell(enum.IntEnum):
    """What the supervisor itself reads in a row; the owner's numbers come after these."""

    PID = 0
    BEAT = 1
    """``time.monotonic_ns()`` at which its loop last turned."""
    CONNECTIONS = 2
    REQUESTS = 3
    RESIDENT = 4
    """Octets of memory."""
    OWNERS = 8


class Board:
    """The whole of it.

    Args:
        descriptor: of the memory, which is as long as it has to be.
        rows: processes.
        width: numbers of each that are its owner's.

    Attributes:
        directory: octets before the first row.
        stride: octets of a row.
        cells: all numbers.
    """

    def __init__(self, descriptor: int, rows: int, width: int) -> None:
        self.descriptor = descriptor
        self.rows = rows
        self.width = width
        self.directory = -(-(rows + 1) * CELL // PAGE) * PAGE
        self.stride = -(-(Cell.OWNERS + width) * CELL // PAGE) * PAGE
        self._map = mmap.mmap(descriptor, self.directory + rows * self.stride)
        self.cells = memoryview(self._map).cast("q")
        self._given: set[int] = {RETIRED}

    @classmethod
    def create(cls, rows: int = ROWS, width: int = 0) -> Board:
        """A new one, all zeros."""
        if hasattr(os, "memfd_create"):
            descriptor = os.memfd_create("roadrunner-board")
        else:
            descriptor, path = tempfile.mkstemp(prefix="roadrunner-board")
            os.unlink(path)
        directory = -(-(rows + 1) * CELL // PAGE) * PAGE
        os.ftruncate(descriptor, directory + rows * (-(-(Cell.OWNERS + width) * CELL // PAGE) * PAGE))
        return cls(descriptor, rows, width)

    def row(self, number: int) -> Row:
        """One row, for its process or for who reads it."""
        return Row(self, number)

    def give(self) -> Row | None:
        """A row of zeros for a new process; None when there are as many as can be."""
        free = next((number for number in range(self.rows) if number not in self._given), None)
        if free is None:
            return None
        self.claim(free)
        row = self.row(free)
        row.clear()
        return row

    def claim(self, number: int) -> None:
        """Notes that a row is some process's."""
        self._given.add(number)
        self.cells[HIGH] = max(self.cells[HIGH], number + 1)

    def take_back(self, row: Row) -> None:
        """Its process is gone."""
        row.clear()
        self._given.discard(row.number)

    def close(self) -> None:
        """Closes the memory for this process. Rows must not be used any more."""
        self.cells.release()
        self._map.close()
        os.close(self.descriptor)


class Row:
    """The numbers of one process."""

    def __init__(self, board: Board, number: int) -> None:
        self.number = number
        self._board = board
        self._at = (board.directory + number * board.stride) // CELL

    def __getitem__(self, cell: Cell) -> int:
        return self._board.cells[self._at + cell]

    def __setitem__(self, cell: Cell, value: int) -> None:
        self._board.cells[self._at + cell] = value

    @property
    def numbers(self) -> memoryview:
        """Those that are the owner's, as a view of format ``"q"``; to be released before the board is closed."""
        start = self._at + Cell.OWNERS
        return self._board.cells[start : start + self._board.width]

    def beat(self) -> None:
        """The loop turns."""
        self[Cell.BEAT] = time.monotonic_ns()

    @property
    def age(self) -> float:
        """Seconds since it did; 0 while there has been nothing yet."""
        beat = self[Cell.BEAT]
        return max(0, time.monotonic_ns() - beat) / 1e9 if beat else 0.0

    @property
    def present(self) -> int:
        """Connections of the process, for its neighbours; :data:`ABSENT` when it does not accept."""
        return self._board.cells[self.number + 1]

    @present.setter
    def present(self, connections: int) -> None:
        self._board.cells[self.number + 1] = connections

    def least(self) -> int:
        """The connections of the process that accepts and has the least; :data:`ABSENT` when there is none."""
        cells = self._board.cells
        there = [count for count in cells[RETIRED + 2 : cells[HIGH] + 1].tolist() if count >= 0]
        return min(there, default=ABSENT)

    def clear(self) -> None:
        """All zeros, and not among those that accept."""
        self.present = ABSENT
        cells, end = self._board.cells, self._at + self._board.stride // CELL
        cells[self._at : end] = memoryview(bytes((end - self._at) * CELL)).cast("q")


class Company:
    """Who else accepts on the same sockets: what a process waits for them, so that each has its share.

    The kernel wakes all who wait for a connection and gives it to the first that comes, which is the one that has just
    been at work. So who has more connections than others looks away for a moment.

    Attributes:
        least: the connections of the neighbour that had the least, when this was last asked.
    """

    def __init__(self, row: Row) -> None:
        self._row = row
        self.least = ABSENT
        self._total = 0
        self._present = False

    def seat(self) -> Seat:
        """For one listener of this process."""
        return Seat(self)

    def open(self) -> None:
        """This process accepts from now on."""
        self._present = True
        self._row.present = self._total

    def close(self) -> None:
        """It does no more."""
        self._present = False
        self._row.present = ABSENT

    def count(self, more: int) -> None:
        """There are so many connections more, or fewer."""
        self._total += more
        if self._present:
            self._row.present = self._total

    @property
    def excess(self) -> int:
        """How many there are beyond those of the least."""
        if not self._present:
            return 0
        self.least = self._row.least()
        return self._total - self.least


class Seat:
    """One listener's part of the company; see :class:`~roadrunner_trio.server.accepting.Neighbours`."""

    def __init__(self, company: Company) -> None:
        self._company = company
        self._counted = 0
        self._in_vain = 0
        self._seen = ABSENT
        self._since = -math.inf
        self._accepted = self._gone = self._left = 0

    def patience(self, present: int, accepted: int) -> float:
        """Seconds to wait before another connection is accepted, so many being there of all that were accepted.

        Those that are about to leave are no burden: who serves a connection for each request has a free hand as soon as
        anybody. How many that are is taken from how many have left lately.
        """
        self.note(present)
        excess = self._company.excess - self._leaving(accepted, accepted - present)
        if excess < TOLERANCE or self._company.least != self._seen:
            self._seen, self._in_vain = self._company.least, 0
        if excess < TOLERANCE or self._in_vain >= PATIENT:
            return 0.0
        return min(STEP * excess, MOST)

    def note(self, present: int) -> None:
        """So many are there."""
        self._company.count(present - self._counted)
        self._counted = present

    def _leaving(self, accepted: int, gone: int) -> int:
        """How many of those who are there will have left when the longest wait is over, if it goes on as it did lately.

        Where many leave and nobody comes, it is a peer that gives up its connections, and no storm.
        """
        now = time.monotonic()
        if (past := now - self._since) >= MOST:
            self._left = min(accepted - self._accepted, gone - self._gone) if past < 2 * MOST else 0
            self._since, self._accepted, self._gone = now, accepted, gone
        return self._left

    def insistence(self) -> int:
        """Connections to accept after it has waited: one, and what is left wakes the others once more."""
        self._in_vain += 1
        return 1
