"""Draws the pictures of the tutorial from real runs of its steps; a test says when one is stale. Then::

    python docs/_ext/tutorial_pictures.py

Every run is on a virtual clock, so the same code gives the same picture. A tree is what Trio itself knows of its tasks:
boxes of tasks contain the nurseries that they have open, and those the tasks that they wait for.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

import trio
import trio.testing

from roadrunner_trio.tutorial import chapters
from roadrunner_trio.tutorial.judge import judge, load
from roadrunner_trio.tutorial.stage import Line, Stage, open_stage

ROOT = Path(__file__).parents[2]
STEPS = ROOT / "examples" / "tutorial"
PICTURES = ROOT / "docs" / "tutorial" / "pictures"
STYLE = """<style>
  svg { --paper: #ffffff; --ink: #1f2933; --faint: #66727e; --task: #e3f1f2; --edge: #0b6e75; --nursery: #7a57b5;
    --bad: #b3261e; }
  @media (prefers-color-scheme: dark) {
    svg { --paper: #14181c; --ink: #e6eaee; --faint: #98a4b0; --task: #16343a; --edge: #4fc3c9; --nursery: #b79ae6;
      --bad: #ff8a80; }
  }
  .paper { fill: var(--paper); }
  text { fill: var(--ink); font: 12px system-ui, sans-serif; }
  .faint { fill: var(--faint); font-size: 11px; }
  .more { fill: none; }
  .task { fill: var(--task); stroke: var(--edge); }
  .nursery { fill: none; stroke: var(--nursery); stroke-dasharray: 4 3; }
  .of-nursery { fill: var(--nursery); font-size: 11px; }
  .line { stroke: var(--faint); stroke-width: 1; }
  .life { stroke: var(--edge); stroke-width: 3; }
  .mark { fill: var(--edge); }
  .bad { fill: var(--bad); }
</style>
"""
PAD, LINE, GLYPH = 8, 15, 7


# Trees


@dataclass
class Node:
    """A task or a nursery in the tree, with what it contains."""

    kind: str
    name: str
    note: str = ""
    children: list[Node] = field(default_factory=list)

    def size(self) -> tuple[float, float]:
        """Width and height of its box."""
        own = max(len(self.name), len(self.note)) * GLYPH + 2 * PAD
        top = PAD + LINE * (2 if self.note else 1)
        if not self.children:
            return own, top + PAD / 2
        sizes = [child.size() for child in self.children]
        width = sum(w for w, _ in sizes) + PAD * (len(sizes) + 1)
        return max(own, width), top + max(h for _, h in sizes) + PAD * 1.5

    def draw(self, x: float, y: float, height: float | None = None) -> Iterator[str]:
        """Its box at a place, and those of its children within."""
        width, least = self.size()
        label = "of-nursery" if self.kind == "nursery" else "name"
        yield f'<rect class="{self.kind}" x="{x:g}" y="{y:g}" width="{width:g}" height="{height or least:g}" rx="4"/>'
        yield f'<text class="{label}" x="{x + PAD:g}" y="{y + LINE:g}">{escape(self.name)}</text>'
        if self.note:
            yield f'<text class="faint" x="{x + PAD:g}" y="{y + 2 * LINE:g}">{escape(self.note)}</text>'
        at, top = x + PAD, y + PAD + LINE * (2 if self.note else 1)
        for child in self.children:
            yield from child.draw(at, top)
            at += child.size()[0] + PAD


def frames(task: trio.lowlevel.Task) -> list[inspect.FrameInfo]:
    """A task's stack, outermost first, as far as it is made of coroutines."""
    found, awaited = [], task.coro
    while awaited is not None:
        frame = getattr(awaited, "cr_frame", None) or getattr(awaited, "ag_frame", None)
        if frame is not None:
            found.append(frame)
        awaited = getattr(awaited, "cr_await", None) or getattr(awaited, "ag_await", None)
    return found


def tree_of(task: trio.lowlevel.Task) -> Node:
    """What Trio knows of a task."""
    stack = frames(task)
    ours = [frame for frame in stack if Path(frame.f_code.co_filename).parent == STEPS]
    names = {id(value): name for frame in stack for name, value in frame.f_locals.items() if name != "self"}
    name = task.name.rpartition(".")[2]
    if ours and name.startswith(("_run_handler", "run")):  # Trio's, and the judge's
        name = ours[0].f_code.co_name
    node = Node("task", name)
    if ours and not task.child_nurseries and ours[-1].f_code.co_name != name:
        node.note = f"waits in {ours[-1].f_code.co_name}"
    for nursery in task.child_nurseries:
        inside = sorted((tree_of(child) for child in nursery.child_tasks), key=lambda each: (each.name, each.note))
        called = names.get(id(nursery), "nursery")
        node.children.append(Node("nursery", called, children=_folded(inside)))
    return node


def _folded(nodes: list[Node], most: int = 3) -> list[Node]:
    """No more than a few of what is all the same."""
    kept: list[Node] = []
    for node in nodes:
        same = [each for each in kept if each == node]
        if len(same) < most:
            kept.append(node)
        elif kept[-1].kind != "more":
            kept.append(Node("more", "…"))
    return kept


def tree(step: str, scene: Callable[[Stage], Awaitable[None]]) -> str:
    """The tree of a step's server in the middle of a scene."""
    found: list[Node] = []

    async def run() -> None:
        async with open_stage(load(STEPS / f"{step}.py")) as stage:
            await scene(stage)
            await trio.testing.wait_all_tasks_blocked()
            assert stage.task is not None
            found.append(tree_of(stage.task))

    trio.run(run, clock=trio.testing.MockClock(autojump_threshold=0))
    (node,) = found
    width, height = node.size()
    return svg(f"The tasks of {step}.py", "".join(node.draw(PAD, PAD)), width + 2 * PAD, height + 2 * PAD)


# Time lines

BAD = ("closes", "left by", "nothing yet", "0 answers", "cancels")
"""Words of what should not have happened, in an attack that was not withstood."""


def time_line(step: str, attack: chapters.Attack) -> str:
    """Who said what when, in an attack on a step."""
    verdict = judge(load(STEPS / f"{step}.py"), attack)
    record, bad = verdict.record, BAD if verdict.missed else ()
    lanes = list(dict.fromkeys(line.who for line in record))
    end = max(line.time for line in record) or 1
    left, right, top = 96, 540, 14
    rows, y = [], float(top)
    for lane in lanes:
        mine = [line for line in record if line.who == lane]
        rows += _lane(lane, mine, y, bad, lambda time: left + (right - left) * time / end)
        y += 34 + 14 * max(len(group) - 1 for group in _groups(mine).values())
    rows.append(f'<line class="line" x1="{left}" y1="{y:g}" x2="{right}" y2="{y:g}"/>')
    for time in dict.fromkeys([0.0, *(line.time for line in record if line.mark != ">"), end]):
        x = left + (right - left) * time / end
        rows.append(f'<text class="faint" x="{x:g}" y="{y + 14:g}" text-anchor="middle">{time:g} s</text>')
    return svg(f"{chapters.title(attack)}: {step}.py", "\n".join(rows), 760, y + 24)


def _groups(lines: list[Line]) -> dict[float, list[Line]]:
    """The lines of one moment together; of many alike, the first and the last few."""
    if len(lines) > 8:
        lines = [lines[0], *lines[-2:]] if lines[0].mark == ">" else lines
    groups: dict[float, list[Line]] = {}
    for line in lines:
        groups.setdefault(line.time, []).append(line)
    return groups


def _lane(lane: str, lines: list[Line], y: float, bad: tuple[str, ...], at: Callable[[float], float]) -> Iterator[str]:
    yield f'<text x="8" y="{y + 12:g}">{escape(lane)}</text>'
    if lane != "server":
        first, last = at(lines[0].time), at(lines[-1].time)
        yield f'<line class="life" x1="{first:g}" y1="{y + 8:g}" x2="{max(last, first + 2):g}" y2="{y + 8:g}"/>'
    for line in lines:
        kind = "bad" if any(word in line.text for word in bad) else "mark"
        yield f'<circle class="{kind}" cx="{at(line.time):g}" cy="{y + 8:g}" r="3.5"/>'
    for time, group in _groups(lines).items():
        for row, line in enumerate(group):
            said = escape({"<": "← ", ">": "→ "}.get(line.mark, "") + line.text)
            yield f'<text class="faint" x="{at(time) + 2:g}" y="{y + 24 + 13 * row:g}">{said}</text>'


def svg(title: str, body: str, width: float, height: float) -> str:
    """A whole picture."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 {width:g} {height:g}" '
        f'width="{width:g}" height="{height:g}">\n<title>{escape(title)}</title>\n{STYLE}'
        f'<rect class="paper" width="{width:g}" height="{height:g}"/>\n{body}\n</svg>\n'
    )


# The scenes


async def three(stage: Stage) -> None:
    """Three peers: silent, half-way through a head, and one that has had its answer."""
    stage.peer()
    await stage.peer().say(b"GET / HT")
    answered = stage.peer()
    await answered.ask("GET", "/")
    await answered.hear()


async def crowded(stage: Stage) -> None:
    """As many as there is room for, and one more that does not read."""
    for _ in range(100):
        stage.peer()
    await trio.sleep(1)
    stage.peer_that_does_not_read("")


async def talking(stage: Stage) -> None:
    """One peer in a WebSocket, one that is idle."""
    stage.peer()
    key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
    peer = stage.peer()
    await peer.ask("GET", "/ws", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", key)
    await peer.hear(body=False)


def pictures() -> dict[str, str]:
    """All of them, by file name."""
    return {
        "tree-01.svg": tree("step_01", three),
        "tree-06.svg": tree("step_06", crowded),
        "tree-08.svg": tree("step_08", talking),
        "tree-09.svg": tree("step_09", talking),
        "drip-wrong.svg": time_line("step_03_wrong", chapters.drip),
        "drip-right.svg": time_line("step_03", chapters.drip),
        "crash-wrong.svg": time_line("step_04", chapters.crash),
        "crash-right.svg": time_line("step_05", chapters.crash),
        "drain-wrong.svg": time_line("step_06", chapters.drain),
        "drain-right.svg": time_line("step_07", chapters.drain),
    }


def first_page() -> str:
    """A drain of the real server, for the first page."""
    return time_line("step_10", chapters.drain)


FIRST_PAGE = ROOT / "docs" / "drain.svg"

if __name__ == "__main__":
    for name, text in pictures().items():
        (PICTURES / name).write_text(text, "utf-8")
    FIRST_PAGE.write_text(first_page(), "utf-8")
