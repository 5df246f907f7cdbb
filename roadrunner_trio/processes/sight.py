"""What a supervisor can show of its workers without asking them, and how one is asked for more.

The talk with a worker is for few and short words. Who looks closer gives the worker a socket of his own, by that talk,
and it shows itself there: so a reader that is slow, or a worker that shows much, stands in nobody's way.
"""

from __future__ import annotations

import math
import os
import socket
from typing import Any

import trio

from . import control
from .board import Cell
from .roles import Member
from .supervisor import Supervisor


def whole(supervisor: Supervisor) -> dict[str, Any]:
    """The supervisor itself, and what it is about."""
    table = supervisor.table
    return {
        "pid": os.getpid(),
        "slots": len(table.slots),
        "generation": table.generation,
        "doing": "stopping" if table.stopping else "starting" if not table.up else "rolling" if table.rolling else "",
    }


def staff(supervisor: Supervisor) -> list[dict[str, Any]]:
    """A row for each process that lives, by slot and age."""
    members = [each for each in supervisor.members.values() if each.worker.number in supervisor.table.workers]
    return [_row(each) for each in sorted(members, key=lambda each: (each.worker.slot, each.worker.number))]


def _row(member: Member) -> dict[str, Any]:
    worker, row = member.worker, member.row
    return {
        "id": str(worker.number),
        "slot": worker.slot,
        "generation": worker.generation,
        "state": worker.state.value,
        "since": round(worker.since, 2),
        "deadline": None if worker.deadline == math.inf else round(worker.deadline, 2),
        "served": worker.served_at is not None,
        "pid": 0 if member.child is None else member.child.pid,
        "connections": 0 if row is None else row[Cell.CONNECTIONS],
        "requests": 0 if row is None else row[Cell.REQUESTS],
        "resident": 0 if row is None else row[Cell.RESIDENT],
        "silent": 0 if row is None else int(row.age),
    }


def look(supervisor: Supervisor, number: int, question: dict[str, Any]) -> trio.SocketStream | None:
    """Asks a worker to show itself: what it shows comes on this stream; None when it is not there, or does not listen.

    Raises:
        OSError: there is no socket to be had.
    """
    member = supervisor.members.get(number)
    if member is None or member.worker.served_at is None:
        return None
    near, far = socket.socketpair()
    with far:
        if not control.hand(member.near, far, look=question):
            near.close()
            return None
    near.setblocking(False)
    return trio.SocketStream(trio.socket.from_stdlib_socket(near))
