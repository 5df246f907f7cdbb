"""A bar chart of CPU per request, as SVG written by hand: light or dark as the reader has it, with a text for who
cannot see it."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final, NamedTuple

from .measure import ratio
from .report import REFERENCE, middle, reference, title
from .run import Outcome

LEFT: Final = 210
WIDTH: Final = 760
RIGHT: Final = 60
BAR: Final = 14
GAP: Final = 4
SPACE: Final = 16
TOP: Final = 66
MOST: Final = 2.0
"""Where the axis ends: a bar that is longer is cut, and shows it."""

STYLE: Final = """\
  .bench { --paper: #ffffff; --ink: #1f2933; --soft: #5b6770; --line: #c9d1d8; --ours: #0b6e75; --peer: #7d8a96; }
  @media (prefers-color-scheme: dark) {
    .bench { --paper: #14181c; --ink: #e6eaee; --soft: #a3aeb8; --line: #39434d; --ours: #4fc3c9; --peer: #66727e; }
  }
  .bench .paper { fill: var(--paper); }
  .bench text { fill: var(--ink); font: 12px system-ui, sans-serif; paint-order: stroke; stroke: var(--paper);
    stroke-width: 3px; }
  .bench .title { font-size: 15px; font-weight: 600; }
  .bench .soft { fill: var(--soft); }
  .bench .scenario { font-weight: 600; }
  .bench .ours { fill: var(--ours); }
  .bench .peer { fill: var(--peer); }
  .bench line { stroke: var(--line); }
  .bench .one { stroke: var(--ink); stroke-dasharray: 3 3; }"""


class Bar(NamedTuple):
    """One bar: whose, and how many times the CPU of :func:`~bench.report.reference`."""

    server: str
    times: float


def groups(outcomes: Sequence[Outcome]) -> list[tuple[str, list[Bar]]]:
    """By scenario, the bars of all that can be compared."""
    found: list[tuple[str, list[Bar]]] = []
    for outcome in outcomes:
        base = reference(outcome.results)
        bars = [
            Bar(each.server, times)
            for each in outcome.results
            if base is not None and (times := ratio(middle(each, "cpu"), middle(base, "cpu"))) is not None
        ]
        if bars:
            found.append((outcome.scenario, bars))
    return found


def chart(outcomes: Sequence[Outcome], about: str) -> str:
    """The whole picture.

    Args:
        about: one line on where and how it was measured.
    """
    drawn: list[str] = []
    y = TOP + SPACE
    for scenario, bars in groups(outcomes):
        drawn.append(_text(12, y + BAR - 3, scenario, "scenario"))
        for bar in bars:
            drawn += _bar(bar, y)
            y += BAR + GAP
        y += SPACE
    bases = [base for outcome in outcomes if (base := reference(outcome.results)) is not None]
    whose = title(bases[0].server) if bases else REFERENCE
    heading = f"Server CPU per request, in multiples of that of {whose}; shorter is better"
    frame = [_text(12, 24, heading, "title"), _text(12, 42, about, "soft"), *_axis(y)]
    return "\n".join([*_head(y + 12, heading, _spoken(outcomes)), *frame, *drawn, "</svg>", ""])


def _head(height: int, heading: str, description: str) -> list[str]:
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="bench" role="img" viewBox="0 0 {WIDTH} {height}" '
        f'width="{WIDTH}" height="{height}" aria-labelledby="bench-title bench-text">',
        f'<title id="bench-title">{escape(heading)}</title>',
        f'<desc id="bench-text">{escape(description)}</desc>',
        f"<style>\n{STYLE}\n</style>",
        f'<rect class="paper" width="{WIDTH}" height="{height}"/>',
    ]


def _spoken(outcomes: Sequence[Outcome]) -> str:
    """The figures in words."""
    return " ".join(
        f"{scenario}: {', '.join(f'{title(bar.server)} {bar.times:.2f}' for bar in bars)}."
        for scenario, bars in groups(outcomes)
    )


def _axis(bottom: int) -> list[str]:
    drawn: list[str] = []
    for step in range(5):
        x = LEFT + _length(step * MOST / 4)
        kind = ' class="one"' if step * MOST / 4 == 1 else ""
        drawn.append(f'<line{kind} x1="{x:g}" y1="{TOP}" x2="{x:g}" y2="{bottom - SPACE / 2:g}"/>')
        drawn.append(_text(x, TOP - 6, f"{step * MOST / 4:g}×", "soft", "middle"))
    return drawn


def _bar(bar: Bar, y: int) -> list[str]:
    kind = "ours" if bar.server.startswith("ours") else "peer"
    length = _length(min(bar.times, MOST))
    end, middle_ = LEFT + length, y + BAR / 2
    tip = f"L{end + 6:g} {middle_:g} " if bar.times > MOST else ""
    shape = f"M{LEFT} {y}H{end:g}{tip}L{end:g} {y + BAR}H{LEFT}Z"
    return [
        _text(LEFT - 8, y + BAR - 3, title(bar.server), "soft", "end"),
        f'<path class="{kind}" d="{shape}"/>',
        _text(end + 10, y + BAR - 3, f"{bar.times:.2f}×"),
    ]


def _length(times: float) -> float:
    return round(times / MOST * (WIDTH - LEFT - RIGHT), 1)


def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> str:
    classes = f' class="{kind}"' if kind else ""
    return f'<text{classes} x="{x:g}" y="{y:g}" text-anchor="{anchor}">{escape(text)}</text>'
