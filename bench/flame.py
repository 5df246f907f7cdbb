"""A flame graph as SVG: who called whom, as wide as it took long; light or dark as the reader has it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Final

WIDTH: Final = 1200
ROW: Final = 18
TOP: Final = 48
CHARACTER: Final = 6.6
"""How wide a character is taken to be, in pixels."""
LEAST: Final = 0.4
"""Boxes narrower than this, in pixels, are left out, with all that stands on them."""
FAMILIES: Final = {"roadrunner_trio": "ours", "trio": "trio", "outcome": "trio", "bench": "handler", "json": "handler"}
"""Top-level packages that have a colour of their own."""

STYLE: Final = """\
  .flame { --paper: #ffffff; --ink: #1f2933; --ours: #7fc4c8; --trio: #c9b6e4; --handler: #f2cc8f; --rest: #d5dbe1; }
  @media (prefers-color-scheme: dark) {
    .flame { --paper: #14181c; --ink: #e6eaee; --ours: #0b5a60; --trio: #54417a; --handler: #7a5a1e; --rest: #39434d; }
  }
  .flame .paper { fill: var(--paper); }
  .flame text { fill: var(--ink); font: 11px ui-monospace, monospace; }
  .flame .title { font: 600 15px system-ui, sans-serif; }
  .flame rect { stroke: var(--paper); stroke-width: 0.5px; }
  .flame .ours { fill: var(--ours); }
  .flame .trio { fill: var(--trio); }
  .flame .handler { fill: var(--handler); }
  .flame .rest { fill: var(--rest); }"""


@dataclass(slots=True)
class Node:
    """A function where it was called from; ``count`` of samples has it, or what it called."""

    count: int = 0
    children: dict[str, Node] = field(default_factory=dict[str, "Node"])

    def depth(self) -> int:
        """How many calls deep it goes below this one."""
        return max((1 + child.depth() for child in self.children.values()), default=0)


def merged(stacks: Mapping[tuple[str, ...], int]) -> Node:
    """Stacks, outermost call first, with how often each was seen, as one tree."""
    root = Node()
    for stack, count in stacks.items():
        node = root
        node.count += count
        for name in stack:
            node = node.children.setdefault(name, Node())
            node.count += count
    return root


def flame(stacks: Mapping[tuple[str, ...], int], title: str, packages: Mapping[str, str]) -> str:
    """The whole picture.

    Args:
        packages: by the name of a function, the top-level package it is in; it has the colour of :data:`FAMILIES`.
    """
    root = merged(stacks)
    height = TOP + ROW * root.depth() + ROW
    boxes = [line for name, child, x in _placed(root, 0.0) for line in _box(name, child, x, 0, root.count, packages)]
    return "\n".join([*_head(height, title, root.count), *boxes, "</svg>", ""])


def _head(height: int, title: str, samples: int) -> Sequence[str]:
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="flame" role="img" viewBox="0 0 {WIDTH} {height}" '
        f'width="{WIDTH}" height="{height}">',
        f"<title>{escape(title)}</title>",
        f"<style>\n{STYLE}\n</style>",
        f'<rect class="paper" width="{WIDTH}" height="{height}"/>',
        f'<text class="title" x="8" y="20">{escape(title)}</text>',
        f'<text x="8" y="38">{samples} samples; a box is as wide as its share; point at it for the figure</text>',
    ]


def _placed(node: Node, x: float) -> Iterator[tuple[str, Node, float]]:
    """The children by name, each with where it begins, in samples."""
    for name, child in sorted(node.children.items()):
        yield name, child, x
        x += child.count


def _box(name: str, node: Node, x: float, depth: int, total: int, packages: Mapping[str, str]) -> Iterator[str]:
    scale = WIDTH / total
    width = node.count * scale
    if width < LEAST:
        return
    left, top = x * scale, TOP + ROW * depth
    kind = FAMILIES.get(packages.get(name, ""), "rest")
    shown = name if len(name) * CHARACTER < width - 4 else name[: max(0, int((width - 10) / CHARACTER))] + "…"
    text = f'<text x="{left + 3:.1f}" y="{top + 13}">{escape(shown)}</text>' if width > 4 * CHARACTER else ""
    yield (
        f"<g><title>{escape(name)}: {node.count / total:.1%}</title>"
        f'<rect class="{kind}" x="{left:.1f}" y="{top}" width="{width:.1f}" height="{ROW - 1}"/>{text}</g>'
    )
    for inner, child, start in _placed(node, x):
        yield from _box(inner, child, start, depth + 1, total, packages)
