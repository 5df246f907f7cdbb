"""What can be seen of a Trio run and its listeners at a moment, as rows that JSON can carry.

A row has an id that stays its own for as long as the thing lives. Times are absolute, on Trio's clock, so a row of
somebody who waits does not change while he waits. The tasks of connections are no rows of the tree, but a list of their
own, of which a large one is shown in part: who has least time left comes first.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from weakref import WeakKeyDictionary

import trio

from ..printable import visible
from ..server.listener import Listener
from ..server.listener_info import ConnectionInfo
from ..transport.dump import children_of, is_trios_own, stack_of, waits_at
from ..transport.streams import shown

MOST_CONNECTIONS: Final = 200
"""Connections that are shown of each listener."""
MOST_TASKS: Final = 1000
"""Tasks that are shown of the tree."""

Row = dict[str, Any]


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
    """Takes samples; remembers which task has which id, and holds no task.

    Args:
        listeners: whose connections are shown.
    """

    def __init__(self, listeners: Sequence[Listener]) -> None:
        self.listeners = listeners
        self._ids: WeakKeyDictionary[trio.lowlevel.Task, str] = WeakKeyDictionary()
        self._next = itertools.count(1)

    def sample(self) -> Sample:
        """What there is to see now."""
        seen = Sample(trio.current_time())
        hosts = dict[trio.lowlevel.Task, str]()
        for listener in self.listeners:
            found = listener.connections()
            hosts.update((each.task, listener.name) for each in found if each.task is not None)
            seen.listeners.append(_numbers(listener, len(found)))
            found.sort(key=lambda each: each.deadline)
            for each in found[:MOST_CONNECTIONS]:
                if each.task is not None:
                    row = self._connection(listener, each, seen.time)
                    seen.connections[row["id"]] = row
        self._walk(seen, hosts)
        return seen

    def stack(self, wanted: str) -> Row | None:
        """Where the task of that id is, and what it waits for; None when there is none any more."""
        for task, found in self._ids.items():
            if found == wanted:
                tasks = [child for nursery in task.child_nurseries for child in nursery.child_tasks]
                below = [f"{visible(child.name)} @ {waits_at(child)}" for child in tasks[:20]]
                return {"id": wanted, "name": visible(task.name), "stack": stack_of(task).split(" > "), "below": below}
        return None

    def _id(self, task: trio.lowlevel.Task) -> str:
        found = self._ids.get(task)
        if found is None:
            found = self._ids[task] = str(next(self._next))
        return found

    def _connection(self, listener: Listener, info: ConnectionInfo, now: float) -> Row:
        return {
            "id": "" if info.task is None else self._id(info.task),
            "listener": listener.name,
            "peer": visible(shown(info.peer)),
            "phase": info.phase,
            "since": round(now - info.age, 2),
            "deadline": None if info.deadline == math.inf else round(now + info.deadline, 2),
            "requests": info.requests,
            "doing": f"{info.streams} streams" if info.streams > 1 else visible(info.doing),
        }

    def _walk(self, seen: Sample, hosts: dict[trio.lowlevel.Task, str]) -> None:
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
                "name": visible(task.name),
                "where": visible(waits_at(task)),
            }
            for row, inside in self._nurseries(task, own, hosts):
                seen.tasks[row["id"]] = row
                waiting += [(child, row["id"]) for child in reversed(inside)]

    def _nurseries(
        self, task: trio.lowlevel.Task, own: str, hosts: dict[trio.lowlevel.Task, str]
    ) -> Iterator[tuple[Row, list[trio.lowlevel.Task]]]:
        for number, nursery in enumerate(task.child_nurseries):
            inside = sorted((each for each in nursery.child_tasks if each not in hosts), key=lambda each: each.name)
            deadline = nursery.cancel_scope.deadline
            listener = next((hosts[each] for each in nursery.child_tasks if each in hosts), "")
            yield (
                {
                    "id": f"{own}.{number}",
                    "parent": own,
                    "kind": "nursery",
                    "deadline": None if deadline == math.inf else round(deadline, 2),
                    "listener": listener,
                    "connections": len(nursery.child_tasks) - len(inside),
                },
                inside,
            )


def _numbers(listener: Listener, present: int) -> Row:
    deadline = listener.drain_deadline
    return {
        "name": listener.name,
        "status": listener.status,
        "addresses": [shown(address) for address in listener.addresses],
        "drain": None if deadline == math.inf else round(deadline, 2),
        "present": present,
        "shown": min(present, MOST_CONNECTIONS),
        "phases": dict(listener.phases()),
        **dataclasses.asdict(listener.info()),
    }
