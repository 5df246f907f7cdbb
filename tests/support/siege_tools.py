"""A server under attack: what each attacker heard, what it got in, and what it left behind.

Attackers come many at a time, on one virtual clock. When the last has gone, an honest peer has to be served, and there
may be no slot, task or descriptor more than before.
"""

from __future__ import annotations

import math
import os
import random
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio
from script_tools import errors_logged, responses
from story_tools import GET, House, Peer, open_house
from trio.testing import wait_all_tasks_blocked
from vector_tools import pieces

import roadrunner_trio as rr

TIMEOUTS = rr.Timeouts()
LONGEST = TIMEOUTS.body + TIMEOUTS.keep_alive + 2 * TIMEOUTS.linger
"""Seconds after which every attacker has to be gone, whatever it does, since no handler of ours waits."""
KINDS = ("memory", "wire", "tcp")
DESCRIPTORS = Path("/proc/self/fd")


async def mirror(request: rr.Request) -> rr.Response:
    """Says what it understood of a request."""
    body = await request.read()
    return rr.Response(b"%b %b %b" % (request.head.method, request.target, body[:200]))


@dataclass(frozen=True)
class Fate:
    """What came of one attacker.

    Attributes:
        heard: every octet of the server's.
        statuses: of the final responses among them.
        seconds: until the server had finished sending; infinite for one that hung.
    """

    heard: bytes
    statuses: tuple[int, ...]
    seconds: float

    @property
    def served(self) -> int:
        """Requests that got in."""
        return sum(status == 200 for status in self.statuses)

    @property
    def refused(self) -> bool:
        """Whether its last word was a refusal, or none."""
        return not self.statuses or self.statuses[-1] >= 400


@dataclass
class Toll:
    """The sums of a family of attacks; the last three have to stay 0."""

    inputs: int = 0
    refused: int = 0
    crashes: int = 0
    leaks: int = 0
    hangs: int = 0
    notes: list[str] = field(default_factory=list)

    def __iadd__(self, other: Toll) -> Toll:
        self.inputs += other.inputs
        self.refused += other.refused
        self.crashes += other.crashes
        self.leaks += other.leaks
        self.hangs += other.hangs
        self.notes += other.notes
        return self

    @property
    def clean(self) -> bool:
        """Whether nothing was harmed."""
        return not (self.crashes or self.leaks or self.hangs)


def holdings() -> tuple[int, int]:
    """Tasks and descriptors that exist now."""
    descriptors = len(os.listdir(DESCRIPTORS)) if DESCRIPTORS.exists() else 0
    return trio.lowlevel.current_statistics().tasks_living, descriptors


async def attack(peer: Peer, parts: Iterable[bytes], *, eof: bool) -> Fate:
    """Says ``parts``, perhaps half-closes, and hears the server out."""
    began = trio.current_time()
    try:
        for part in parts:
            await peer.stream.send_all(part)
            await trio.lowlevel.checkpoint()
        if eof:
            await peer.stream.send_eof()
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass  # refused before it had said all
    with trio.move_on_after(LONGEST):
        await peer.end()
    seconds = math.inf if peer.ended_at is None else peer.ended_at - began
    await peer.close()
    upgraded = peer.heard.startswith(b"HTTP/1.1 101")  # and what follows is no HTTP
    statuses = [101] if upgraded else responses(peer.heard, ended=True)[0]
    return Fate(peer.heard, tuple(statuses), seconds)


async def besiege(
    inputs: Sequence[Sequence[bytes]],
    *,
    eof: bool = True,
    kinds: Sequence[str] = KINDS,
    handler: Any = mirror,
    **settings: Any,
) -> tuple[list[Fate], Toll]:
    """Sends each of ``inputs``, already cut, on a connection of its own, all at once; then the toll is taken."""
    fates: list[Fate | None] = [None] * len(inputs)
    toll = Toll(inputs=len(inputs))
    settings.setdefault("limits", rr.Limits(min_bytes_per_second=0))
    with errors_logged() as logged:
        async with open_house(handler, tcp=True, **settings) as house:
            await wait_all_tasks_blocked()
            before = holdings()
            async with trio.open_nursery() as nursery:
                for at, parts in enumerate(inputs):
                    nursery.start_soon(_one, house, kinds[at % len(kinds)], parts, eof, fates, at)
            await _count_leaks(house, before, toll)
    found = [fate for fate in fates if fate is not None]
    toll.refused = sum(fate.refused for fate in found)
    toll.hangs = sum(math.isinf(fate.seconds) for fate in found)
    toll.crashes += len(logged) + len(inputs) - len(found)
    toll.notes += [record.getMessage() for record in logged]
    return found, toll


async def _one(house: House, kind: str, parts: Sequence[bytes], eof: bool, fates: list[Any], at: int) -> None:
    with trio.CancelScope() as scope:
        peer = house.meet(kind)
        fates[at] = await attack(peer, parts, eof=eof)
    assert not scope.cancelled_caught


async def _count_leaks(house: House, before: tuple[int, int], toll: Toll) -> None:
    """Slots, tasks and descriptors; and the neighbour, who must not have noticed."""
    with trio.move_on_after(LONGEST) as waiting:
        await house.empty()
    await wait_all_tasks_blocked()
    after = holdings()
    # A peer over a socket keeps a task of the test's own until the house closes; its descriptor has gone.
    attended = sum(task.name.endswith("_attend") for task in house.nursery.child_tasks)
    toll.leaks += waiting.cancelled_caught or house.active > 0
    if after[0] - attended > before[0] or after[1] > before[1]:
        toll.leaks += 1
        toll.notes.append(f"tasks and descriptors {before} before, {after} after, {attended} of them ours")
    neighbour = house.peer()
    await neighbour.say(GET)
    if not re.match(rb"HTTP/1\.1 [24]", neighbour.heard):
        toll.crashes += 1
        toll.notes.append(f"the neighbour heard {neighbour.heard!r}")
    await neighbour.close()


def cut_three_ways(data: bytes, seed: str) -> list[list[bytes]]:
    """``data`` whole, octet by octet (the first 600), and cut at places that depend on ``seed``."""
    chance = random.Random(seed)
    places = sorted(chance.randrange(len(data)) for _ in range(chance.randint(1, 9))) if data else []
    octets = [data[i : i + 1] for i in range(min(600, len(data)))] + ([data[600:]] if len(data) > 600 else [])
    return [[data] if data else [], octets, pieces(data, places)]
