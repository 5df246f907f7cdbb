"""What a server costs, read from /proc over its whole process tree, and the few statistics the report needs.

CPU time is the scheduler's own count in nanoseconds (``/proc/PID/task/TID/schedstat``), not the ticks of
``/proc/PID/stat``. Divided by the requests answered it is steady on a machine on which requests a second are not.
"""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

PROC: Final = Path("/proc")

# -- a tree of processes -------------------------------------------------------------------------


def tree(root: int, proc: Path = PROC) -> list[int]:
    """The process ``root`` and all that descend from it."""
    children: dict[int, list[int]] = {}
    for file in proc.glob("[0-9]*/stat"):
        try:
            children.setdefault(parent(file.read_text("latin-1")), []).append(int(file.parent.name))
        except OSError:
            continue  # it has just ended
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found


def parent(stat: str) -> int:
    """The parent's process id in a line of ``/proc/PID/stat``; the command in it may hold spaces and brackets."""
    return int(stat.rpartition(")")[2].split()[1])


def cpu_seconds(root: int, proc: Path = PROC) -> float:
    """CPU time of all live threads of the tree, user and system."""
    nanoseconds = 0
    for pid in tree(root, proc):
        for file in proc.glob(f"{pid}/task/[0-9]*/schedstat"):
            try:
                nanoseconds += int(file.read_text().split()[0])
            except OSError:
                continue
    return nanoseconds / 1e9


def ticks(root: int, proc: Path = PROC) -> tuple[int, int]:
    """CPU time of the tree in user mode and in the kernel, in clock ticks: coarse, but the only split there is here."""
    user = system = 0
    for pid in tree(root, proc):
        try:
            fields = (proc / str(pid) / "stat").read_text("latin-1").rpartition(")")[2].split()
        except OSError:
            continue
        user, system = user + int(fields[11]), system + int(fields[12])
    return user, system


def memory(root: int, line: str, proc: Path = PROC) -> int:
    """The octets that ``VmRSS`` (now) or ``VmHWM`` (at most, so far) gives, over the tree; shared pages count again."""
    octets = 0
    for pid in tree(root, proc):
        try:
            octets += kilobytes((proc / str(pid) / "status").read_text("latin-1"), line) * 1024
        except OSError:
            continue
    return octets


def proportional(pids: Iterable[int], proc: Path = PROC) -> int:
    """Octets that processes hold; of pages that they share with others, their part."""
    return sum(kilobytes((proc / str(pid) / "smaps_rollup").read_text("latin-1"), "Pss") for pid in pids) * 1024


def kilobytes(status: str, line: str) -> int:
    """A line of ``/proc/PID/status``; 0 when there is none, as for a process that has ended and is not yet reaped."""
    match = re.search(rf"^{line}:\s+(\d+) kB$", status, re.MULTILINE)
    return int(match[1]) if match else 0


# -- statistics ----------------------------------------------------------------------------------


def percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest value that at least ``share`` (0 < share <= 1) of the values do not exceed (nearest rank).

    Raises:
        ValueError: no values, or no such share.
    """
    if not ordered or not 0 < share <= 1:
        raise ValueError(f"no percentile {share} of {len(ordered)} values")
    # 0.07 * 100 is a little more than 7 in binary: rounding first keeps the rank that was meant.
    return ordered[math.ceil(round(share * len(ordered), 6)) - 1]


def median(values: Sequence[float]) -> float | None:
    """The median, or None of nothing."""
    return statistics.median(values) if values else None


def ratio(value: float | None, base: float | None) -> float | None:
    """How many times ``base``; None when there is nothing to compare."""
    return value / base if value is not None and base else None
