"""The parts of a request as SVG: one bar a part, coloured by whose it is; light or dark as the reader has it."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Final

WIDTH: Final = 760
LEFT: Final = 340
RIGHT: Final = 60
BAR: Final = 16
GAP: Final = 6
TOP: Final = 62
WHOSE: Final = {"the kernel": "kernel", "the handler": "handler", "Trio": "trio", "the rest": "rest"}
"""Whose a part is, by how its name begins; ours otherwise."""
LEGEND: Final = {"kernel": "the kernel", "trio": "Trio", "ours": "this server", "handler": "the application"}

STYLE: Final = """\
  .parts { --paper: #ffffff; --ink: #1f2933; --kernel: #7d8a96; --trio: #7a57b5; --ours: #0b6e75; --handler: #b26a00;
    --rest: #c9d1d8; }
  @media (prefers-color-scheme: dark) {
    .parts { --paper: #14181c; --ink: #e6eaee; --kernel: #66727e; --trio: #b79ae6; --ours: #4fc3c9; --handler: #f0b45a;
      --rest: #39434d; }
  }
  .parts .paper { fill: var(--paper); }
  .parts text { fill: var(--ink); font: 12px system-ui, sans-serif; }
  .parts .title { font-size: 15px; font-weight: 600; }
  .parts .kernel { fill: var(--kernel); }
  .parts .trio { fill: var(--trio); }
  .parts .ours { fill: var(--ours); }
  .parts .handler { fill: var(--handler); }
  .parts .rest { fill: var(--rest); }"""


def parts_chart(parts: Mapping[str, float], heading: str) -> str:
    """The whole picture.

    Args:
        parts: microseconds by name, in the order in which they are drawn.
    """
    height = TOP + len(parts) * (BAR + GAP) + GAP
    most = max(parts.values())
    spoken = "; ".join(f"{name}: {us:.1f} µs" for name, us in parts.items())
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="parts" role="img" viewBox="0 0 {WIDTH} {height}" '
        f'width="{WIDTH}" height="{height}" aria-labelledby="parts-title parts-text">',
        f'<title id="parts-title">{escape(heading)}</title>',
        f'<desc id="parts-text">{escape(spoken)}.</desc>',
        f"<style>\n{STYLE}\n</style>",
        f'<rect class="paper" width="{WIDTH}" height="{height}"/>',
        f'<text class="title" x="12" y="24">{escape(heading)}</text>',
    ]
    for at, (kind, name) in enumerate(LEGEND.items()):
        lines.append(f'<rect class="{kind}" x="{12 + at * 130}" y="36" width="10" height="10"/>')
        lines.append(f'<text x="{28 + at * 130}" y="45">{name}</text>')
    for at, (name, us) in enumerate(parts.items()):
        y = TOP + at * (BAR + GAP)
        width = round(us / most * (WIDTH - LEFT - RIGHT), 1)
        lines.append(f'<text x="{LEFT - 8}" y="{y + BAR - 4}" text-anchor="end">{escape(name)}</text>')
        lines.append(f'<rect class="part {whose(name)}" x="{LEFT}" y="{y}" width="{width:g}" height="{BAR}"/>')
        lines.append(f'<text x="{LEFT + width + 6:g}" y="{y + BAR - 4}">{us:.1f}</text>')
    return "\n".join([*lines, "</svg>", ""])


def whose(part: str) -> str:
    """The colour of a part."""
    return next((kind for start, kind in WHOSE.items() if part.startswith(start)), "ours")
