"""Figures against the number of connections, as SVG written by hand: light or dark as the reader has it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from itertools import pairwise
from typing import Final, TypeAlias

Points: TypeAlias = Sequence[tuple[float, float]]

LEFT: Final = 64
RIGHT: Final = 150
TOP: Final = 60
WIDTH: Final = 760
HEIGHT: Final = 300
BOTTOM: Final = 44
STEPS: Final = 4

STYLE: Final = """\
  .lines { --paper: #ffffff; --ink: #1f2933; --soft: #5b6770; --line: #c9d1d8;
    --a: #0b6e75; --b: #8a4b08; --c: #6b4fa0; }
  @media (prefers-color-scheme: dark) {
    .lines { --paper: #14181c; --ink: #e6eaee; --soft: #a3aeb8; --line: #39434d;
      --a: #4fc3c9; --b: #f0a75c; --c: #b9a3ea; }
  }
  .lines .paper { fill: var(--paper); }
  .lines text { fill: var(--ink); font: 12px system-ui, sans-serif; }
  .lines .title { font-size: 15px; font-weight: 600; }
  .lines .soft { fill: var(--soft); }
  .lines line { stroke: var(--line); }
  .lines polyline { fill: none; stroke-width: 2; }
  .lines .a { stroke: var(--a); } .lines .b { stroke: var(--b); stroke-dasharray: 6 3; }
  .lines .c { stroke: var(--c); stroke-dasharray: 2 3; }"""


def picture(heading: str, about: str, unit: str, found: Mapping[str, Points]) -> str:
    """The whole picture; both axes begin at 0.

    Args:
        about: one line on where and how it was measured.
        unit: of the figures.
        found: by server, three at most, figures by number of connections.
    """
    most_x = max(x for points in found.values() for x, _ in points)
    most_y = nice(max(y for points in found.values() for _, y in points))

    def place(x: float, y: float) -> tuple[float, float]:
        across, up = (WIDTH - LEFT - RIGHT) * x / most_x, (HEIGHT - TOP - BOTTOM) * y / most_y
        return round(LEFT + across, 1), round(HEIGHT - BOTTOM - up, 1)

    drawn: list[str] = []
    for step in range(STEPS + 1):
        value = most_y * step / STEPS
        _, y = place(0, value)
        drawn.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:g}" y2="{y:g}"/>')
        drawn.append(_text(LEFT - 8, y + 4, f"{value:g}", "soft", "end"))
    for number in sorted({x for points in found.values() for x, _ in points}):
        x, _ = place(number, 0)
        drawn.append(_text(x, HEIGHT - BOTTOM + 18, f"{number:,.0f}", "soft", "middle"))
    labels = _apart([place(*points[-1])[1] for points in found.values()])
    for (server, points), kind, label in zip(found.items(), "abc", labels, strict=False):
        line = " ".join(f"{x:g},{y:g}" for x, y in (place(*point) for point in points))
        drawn.append(f'<polyline class="{kind}" points="{line}"/>')
        drawn.append(_text(WIDTH - RIGHT + 8, label + 4, server))
    heads = [_text(12, 24, heading, "title"), _text(12, 42, about, "soft")]
    foot = _text(LEFT, HEIGHT - 6, f"{unit}, by connections that are there", "soft")
    return "\n".join([*_head(heading, _spoken(unit, found)), *heads, *drawn, foot, "</svg>", ""])


def nice(value: float) -> float:
    """The next of 1, 2, 4, 5 or 8 times a power of ten; 1 of what is nothing, or less."""
    power = 1.0
    if value <= 0:
        return power
    while power < value:
        power *= 10
    while power > 10 * value:
        power /= 10
    return next(each * power / 10 for each in (1, 2, 4, 5, 8, 10) if each * power / 10 >= value)


def _apart(heights: Sequence[float], least: float = 15) -> list[float]:
    """The heights of labels, moved so far that none stands on another."""
    order = sorted(range(len(heights)), key=lambda at: heights[at])
    moved = list(heights)
    for above, below in pairwise(order):
        moved[below] = max(moved[below], moved[above] + least)
    return moved


def _spoken(unit: str, found: Mapping[str, Points]) -> str:
    return " ".join(
        f"{server}, {unit}: {', '.join(f'{y:g} with {x:,.0f}' for x, y in points)}." for server, points in found.items()
    )


def _head(heading: str, description: str) -> list[str]:
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="lines" role="img" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'width="{WIDTH}" height="{HEIGHT}" aria-label="{escape(heading)}">',
        f"<title>{escape(heading)}</title>",
        f"<desc>{escape(description)}</desc>",
        f"<style>\n{STYLE}\n</style>",
        f'<rect class="paper" width="{WIDTH}" height="{HEIGHT}"/>',
    ]


def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> str:
    classes = f' class="{kind}"' if kind else ""
    return f'<text{classes} x="{x:g}" y="{y:g}" text-anchor="{anchor}">{escape(text)}</text>'
