"""What a test asks of a house about its parked connections."""

from __future__ import annotations

from story_tools import House

OTHERS = ("accept", "dormitory", "at rest")


def parked(house: House) -> int:
    """How many there are."""
    return house.listener._dormitory.count


def tasks(house: House) -> list[str]:
    """The names of the tasks that serve connections."""
    nursery = house.listener._connections
    return [task.name for task in nursery.child_tasks if not any(word in task.name for word in OTHERS)]
