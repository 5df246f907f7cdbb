"""What a test asks of a house about its parked connections."""

from __future__ import annotations

import pytest
from story_tools import House

from roadrunner_trio.server import listener
from roadrunner_trio.server.carrier import Fate
from roadrunner_trio.server.connection import Connection

OTHERS = ("accept", "dormitory", "at rest")


def parked(house: House) -> int:
    """How many there are."""
    return house.listener._dormitory.count


def tasks(house: House) -> list[str]:
    """The names of the tasks that serve connections."""
    nursery = house.listener._connections
    return [task.name for task in nursery.child_tasks if not any(word in task.name for word in OTHERS)]


def note_fates(monkeypatch: pytest.MonkeyPatch) -> list[Fate]:
    """What has become of connections whose tasks have ended, from now on."""
    found: list[Fate] = []
    serve = listener.serve_connection

    async def noted(conn: Connection) -> None:
        found.append(await serve(conn))

    monkeypatch.setattr(listener, "serve_connection", noted)
    return found
