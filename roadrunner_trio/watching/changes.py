"""What a reader has to be told so that it knows what we know: everything at first, then what is new."""

from __future__ import annotations

from typing import Any

from .recent import Row
from .sample import Sample


def everything(sample: Sample) -> dict[str, Any]:
    """A sample, whole."""
    return {
        "t": round(sample.time, 2),
        "listeners": sample.listeners,
        "tasks": list(sample.tasks.values()),
        "connections": list(sample.connections.values()),
        "hidden": sample.hidden,
    }


def changes(old: Sample, new: Sample) -> dict[str, Any]:
    """What has to be done to the old one to have the new one: rows put in place of those of their id, ids taken away.

    Of a server in which nothing happens that is its time alone.
    """
    told: dict[str, Any] = {"t": round(new.time, 2)}
    if new.listeners != old.listeners:
        told["listeners"] = new.listeners
    for name, before, after in (
        ("tasks", old.tasks, new.tasks),
        ("connections", old.connections, new.connections),
    ):
        put, gone = difference(before, after)
        if put:
            told[name] = put
        if gone:
            told[name + "_gone"] = gone
    if new.hidden != old.hidden:
        told["hidden"] = new.hidden
    return told


def difference(before: dict[str, Row], after: dict[str, Row]) -> tuple[list[Row], list[str]]:
    """The rows that are new or changed, and the ids of those that are gone."""
    return [row for key, row in after.items() if before.get(key) != row], [key for key in before if key not in after]
