"""The judge: loads a reader's file, runs attacks against it, each in a loop and on a virtual clock of its own."""

from __future__ import annotations

import importlib.util
import signal
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Final

import trio
import trio.testing

from ..answering.faults import leaves
from .chapters import CHAPTERS, Attack, title
from .stage import Line, Missed, Unfit, fits, open_stage

LONGEST: Final = 10
"""Real seconds that an attack may take, for a server that polls or spins."""
SHOWN: Final = 12
"""Lines of the record that are shown of an attack that was missed; of a longer one, the first and the last."""


class Spun(BaseException):
    """An attack has taken too long in real time. Not an Exception: the server that spins may well catch those."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of an attack.

    Attributes:
        title: of the attack.
        missed: what the server should have done and has not; None when all was well.
        record: what happened.
    """

    title: str
    missed: str | None
    record: list[Line]


def load(path: Path) -> Any:
    """A reader's file as a module of its own.

    Raises:
        Unfit: there is no such file, or it cannot be judged.
        Exception: whatever the file raises when it is imported.
    """
    spec = importlib.util.spec_from_file_location(f"tutorial_{path.stem}", path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise Unfit(f"there is no Python file {str(path)!r}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    fits(module)
    return module


def judge(server: Any, attack: Attack) -> Verdict:
    """Runs one attack."""
    record: list[Line] = []
    missed: list[str] = []

    async def run() -> None:
        async with open_stage(server) as stage:
            try:
                await attack(stage)
            except* Missed as group:  # an attack may well have a nursery
                missed.extend(str(leaf) for leaf in leaves(group))
            finally:
                record.extend(stage.record)

    try:
        with _alarm():
            trio.run(run, clock=trio.testing.MockClock(autojump_threshold=0))
    except* Spun:
        missed.append(f"the whole takes no more than {LONGEST} s of real time: does it poll?")
    return Verdict(title(attack), missed[0] if missed else None, record)


def check(server: Any, chapter: int) -> Iterator[Verdict]:
    """All attacks of a chapter; of the last one, those of all."""
    chapters = CHAPTERS if chapter == max(CHAPTERS) else (chapter,)
    for each in chapters:
        for attack in CHAPTERS[each][1]:
            yield judge(server, attack)


def report(verdict: Verdict) -> Iterator[str]:
    """The lines of a verdict: the record is for who has missed something."""
    if verdict.missed is None:
        yield f"  ok    {verdict.title}"
        return
    yield f"  MISS  {verdict.title}"
    record = [f"        {line}" for line in verdict.record]
    if len(record) > SHOWN:
        record[SHOWN // 2 : -SHOWN // 2] = ["           ..."]
    yield from record
    yield f"        what should have been: {verdict.missed}"


@contextmanager
def _alarm() -> Generator[None, None, None]:
    def spun(number: int, frame: FrameType | None) -> None:
        raise Spun

    before = signal.signal(signal.SIGALRM, spun)
    signal.setitimer(signal.ITIMER_REAL, LONGEST)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
