"""What can be seen of a Trio run and its listeners at a moment, as rows that JSON can carry.

A row has an id that stays its own for as long as the thing lives. Times are absolute, on Trio's clock, so a row of
somebody who waits does not change while he waits. The tasks of connections are no rows of the tree, but a list of their
own, of which a large one is shown in part: who has least time left comes first.
"""

from __future__ import annotations

import dataclasses
import heapq
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias
from weakref import WeakKeyDictionary

import trio

from ..printable import visible
from ..server.dormitory import Guest, Parked
from ..server.listener import Listener, insides
from ..server.listener_info import described
from ..transport.dump import children_of, is_trios_own, stack_of, waits_at
from ..transport.streams import shown as address
from .recent import Recent, Row, brief

MOST_CONNECTIONS: Final = 200
"""Connections that are shown of each listener."""
MOST_TASKS: Final = 1000
"""Tasks that are shown of the tree."""
MOST_BELOW: Final = 50
"""Tasks, or requests in hand, that are shown of what is looked at."""

Homes: TypeAlias = dict[trio.lowlevel.Task | None, tuple[str, int]]
"""The task of a listener, with its name and how many connections it has, the parked ones too."""
NOBODY: Final = ("", 0)


@dataclass(slots=True)
class Sample:
    """What there was to see.

    Attributes:
        time: of the sample, on Trio's clock.
        listeners: their names, states and numbers.
        tasks: by id; each has the id of the nursery or task that it is in.
        connections: by id.
        hidden: how many tasks of the tree are not shown.
    """

    time: float
    listeners: list[Row] = field(default_factory=list[Row])
    tasks: dict[str, Row] = field(default_factory=dict[str, Row])
    connections: dict[str, Row] = field(default_factory=dict[str, Row])
    hidden: int = 0


class Eye:
    """Takes samples; remembers which task has which id, and of connections those that were shown last.

    Args:
        listeners: whose connections are shown.
    """

    def __init__(self, listeners: Sequence[Listener]) -> None:
        self.listeners = listeners
        self._recent = Recent(listeners)
        self._ids: WeakKeyDictionary[trio.lowlevel.Task, str] = WeakKeyDictionary()
        self._next = itertools.count(1)

    def sample(self) -> Sample:
        """What there is to see now; from now on the requests of those that are shown are remembered."""
        seen = Sample(trio.current_time())
        hosts = set[trio.lowlevel.Task]()
        homes: Homes = {}
        urgent: list[tuple[Listener, Guest]] = []
        for listener in self.listeners:
            found = insides(listener)[0]
            hosts.update(conn.task for conn in found if conn.task is not None)
            homes[listener.task] = listener.name, len(found)
            seen.listeners.append(numbers_of(listener))
            urgent += [(listener, conn) for conn in heapq.nsmallest(MOST_CONNECTIONS, found, key=_urgency)]
        known = self._recent.look([conn for _, conn in urgent])
        for (listener, conn), shown in zip(urgent, known, strict=True):
            seen.connections[shown.id] = _connection(shown.id, listener, conn, seen.time)
        self._walk(seen, hosts, homes)
        return seen

    def close(self) -> None:
        """Nobody looks any more."""
        self._recent.close()

    # -- one thing, looked at --------------------------------------------------------------------

    def closer(self, wanted: str) -> Row | None:
        """What that id is about, what it waits for, and what is below it; None when it is over."""
        if (conn := self._recent.find(wanted)) is not None:
            return self._closer_at(conn, wanted)
        for task, found in self._ids.items():
            if found == wanted:
                return _with_stack({"id": wanted, "name": brief(task.name)}, task)
        return None

    def _closer_at(self, conn: Guest, own: str) -> Row:
        row = {
            "id": own,
            "name": brief(address(conn.peer)),
            "protocol": conn.protocol,
            "requests": conn.served,
            "streams": _streams(conn),
            "recent": self._recent.of(conn),
            "websockets": self._recent.sockets_of(conn),
            "t": round(trio.current_time(), 2),
        }
        return _with_stack(row, conn.task)

    # -- all of it, from afar --------------------------------------------------------------------

    def _id(self, task: trio.lowlevel.Task) -> str:
        found = self._ids.get(task)
        if found is None:
            found = self._ids[task] = str(next(self._next))
        return found

    def _walk(self, seen: Sample, hosts: set[trio.lowlevel.Task], homes: Homes) -> None:
        """The tree without connections and without Trio's own; a loop, for a tree may be deeper than Python's stack."""
        root = trio.lowlevel.current_root_task()
        waiting = [(task, "") for task in reversed(children_of(root))] if root is not None else []
        while waiting:
            task, parent = waiting.pop()
            if task in hosts or (not parent and is_trios_own(task)):
                continue
            if len(seen.tasks) >= MOST_TASKS:
                seen.hidden += 1
                continue
            own = self._id(task)
            seen.tasks[own] = {
                "id": own,
                "parent": parent,
                "kind": "task",
                "name": brief(task.name),
                "where": visible(waits_at(task)),
            }
            for row, inside in self._nurseries(task, own, hosts, homes):
                seen.tasks[row["id"]] = row
                waiting += [(child, row["id"]) for child in reversed(inside)]

    def _nurseries(
        self, task: trio.lowlevel.Task, own: str, hosts: set[trio.lowlevel.Task], homes: Homes
    ) -> Iterator[tuple[Row, list[trio.lowlevel.Task]]]:
        for number, nursery in enumerate(task.child_nurseries):
            inside = sorted((each for each in nursery.child_tasks if each not in hosts), key=lambda each: each.name)
            deadline = nursery.cancel_scope.deadline
            innermost = number and number == len(task.child_nurseries) - 1  # of a listener: that of its connections
            listener, connections = homes.get(task, NOBODY) if innermost else NOBODY
            yield (
                {
                    "id": f"{own}.{number}",
                    "parent": own,
                    "kind": "nursery",
                    "deadline": None if deadline == math.inf else round(deadline, 2),
                    "listener": listener,
                    "connections": connections,
                },
                inside,
            )


def numbers_of(listener: Listener) -> Row:
    """What a listener says of itself."""
    deadline = listener.drain_deadline
    phases = listener.phases()
    present = sum(phases.values())
    if parked := sum(isinstance(conn, Parked) for conn in insides(listener)[0]):
        phases = {**phases, "idle": phases["idle"] - parked, "parked": parked}
    return {
        "name": listener.name,
        "status": listener.status,
        "addresses": [address(each) for each in listener.addresses],
        "drain": None if deadline == math.inf else round(deadline, 2),
        "present": present,
        "shown": min(present, MOST_CONNECTIONS),
        "phases": {name: count for name, count in phases.items() if count},
        **dataclasses.asdict(listener.info()),
    }


def _urgency(conn: Guest) -> tuple[float, float]:
    return conn.deadline if isinstance(conn, Parked) else conn.phase.ends, conn.born


def _connection(own: str, listener: Listener, conn: Guest, now: float) -> Row:
    info = described(conn, now)
    return {
        "id": own,
        "listener": listener.name,
        "peer": visible(address(info.peer)),
        "phase": "parked" if isinstance(conn, Parked) else info.phase,
        "since": round(now - info.age, 2),
        "deadline": None if info.deadline == math.inf else round(now + info.deadline, 2),
        "requests": info.requests,
        "doing": brief(info.doing or _first_stream(conn)),
    }


def _first_stream(conn: Guest) -> str:
    """Of a connection of HTTP/2, what the stream that was begun first is about, and how many there are besides."""
    busy: Any = getattr(conn, "busy", ())
    for each in busy:
        more = f" and {len(busy) - 1} more" if len(busy) > 1 else ""
        return f"{each.request.method} {each.request.path}{more}"
    return ""


def _streams(conn: Guest) -> list[Row]:
    """The requests of HTTP/2 that a connection has in hand, in the order in which they were begun."""
    busy: Any = getattr(conn, "busy", ())
    return [
        {
            "doing": brief(f"{each.request.method} {each.request.path}"),
            "phase": each.phase.phase.value,
            "deadline": None if each.phase.deadline == math.inf else round(each.phase.deadline, 2),
            "stack": _stack(each.task),
        }
        for each in itertools.islice(busy, MOST_BELOW)
    ]


def _with_stack(row: Row, task: trio.lowlevel.Task | None) -> Row:
    tasks = [] if task is None else [child for nursery in task.child_nurseries for child in nursery.child_tasks]
    below = [f"{brief(child.name)} @ {visible(waits_at(child))}" for child in tasks[:MOST_BELOW]]
    return {**row, "stack": _stack(task), "below": below, "more": len(tasks) - len(below)}


def _stack(task: trio.lowlevel.Task | None) -> list[str]:
    return [] if task is None else visible(stack_of(task)).split(" > ")
