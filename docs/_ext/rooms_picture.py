"""Draws the rooms of the package and who knows whom, from the imports; a test says when it is stale. Then::

    python docs/_ext/rooms_picture.py

A row is a room, in the order in which they can be read; a dot says that it imports from the room of that column. That
all dots lie on one side of the diagonal is what ``tests/test_floors.py`` holds.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PICTURE = ROOT / "docs" / "explanation" / "rooms.svg"
STEP, LEFT, TOP = 26, 128, 96
STYLE = """<style>
  svg { --paper: #ffffff; --ink: #1f2933; --faint: #d7dde2; --dot: #0b6e75; --own: #7a57b5; }
  @media (prefers-color-scheme: dark) {
    svg { --paper: #14181c; --ink: #e6eaee; --faint: #39434d; --dot: #4fc3c9; --own: #b79ae6; }
  }
  .paper { fill: var(--paper); }
  text { fill: var(--ink); font: 12px system-ui, sans-serif; }
  line { stroke: var(--faint); }
  .dot { fill: var(--dot); }
  .own { fill: none; stroke: var(--own); stroke-width: 2; }
</style>"""


def floors() -> Any:
    """The table of rooms, and what reads the imports."""
    spec = importlib.util.spec_from_file_location("test_floors", ROOT / "tests" / "test_floors.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def known() -> dict[str, set[str]]:
    """The rooms in order, and the rooms from which each imports."""
    table = floors()
    rooms: dict[str, set[str]] = {room: set() for room in table.ROOMS}
    for module in sorted(table.PLACE.keys() & table.MODULES.keys()):
        path = table.MODULES[module]
        source, is_package = path.read_text("utf-8"), path.name == "__init__.py"
        for _, name, ours in table.imports(module, source, is_package=is_package):
            if ours and name in table.PLACE:
                rooms[table.PLACE[module][1]].add(table.PLACE[name][1])
    return rooms


def picture() -> str:
    """The whole picture."""
    rooms = known()
    width, height = LEFT + STEP * len(rooms) + 40, TOP + STEP * len(rooms) + 8
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 {width} {height}" width="{width}" '
            f'height="{height}">',
            "<title>The rooms of the package, and which imports from which</title>",
            STYLE,
            f'<rect class="paper" width="{width}" height="{height}"/>',
            *_rows(rooms),
            "</svg>\n",
        ]
    )


def _rows(rooms: dict[str, set[str]]) -> Iterator[str]:
    at = {room: LEFT + STEP * number for number, room in enumerate(rooms)}
    for number, (room, others) in enumerate(rooms.items()):
        y = TOP + STEP * number
        yield f'<line x1="{LEFT - 8}" y1="{y + 12}" x2="{at[room] + 6}" y2="{y + 12}"/>'
        yield f'<text x="{LEFT - 14}" y="{y + 16}" text-anchor="end">{escape(room)}</text>'
        yield f'<text transform="translate({at[room] + 4} {TOP - 8}) rotate(-45)">{escape(room)}</text>'
        yield f'<circle class="own" cx="{at[room]}" cy="{y + 12}" r="5"/>'
        for other in rooms:
            if other in others and other != room:
                yield f'<circle class="dot" cx="{at[other]}" cy="{y + 12}" r="4"/>'


if __name__ == "__main__":
    PICTURE.write_text(picture(), "utf-8")
