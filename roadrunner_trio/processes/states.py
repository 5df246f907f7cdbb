"""What there is to say of workers: the states that a process is in, the slot that it has, and what is to be done.

All of it is plain data. :mod:`.slots` decides with it, and the supervisor does what was decided.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from typing import Literal, TypeAlias


class State(enum.Enum):
    """Of a process."""

    STARTING = "starting"
    READY = "ready"
    SICK = "silent"
    DRAINING = "draining"
    ENDING = "ending"


@dataclass(eq=False, slots=True)
class Worker:
    """A process.

    Attributes:
        number: no two have the same.
        slot: its place.
        generation: the roll that it came with.
        since: when its state began.
        deadline: when that has lasted too long.
        served_at: when it began to serve, if it did.
        worn: it has served for long enough, and is to be replaced.
        killed: nothing more can be done to it.
    """

    number: int
    slot: int
    generation: int
    state: State = State.STARTING
    since: float = 0.0
    deadline: float = math.inf
    served_at: float | None = None
    worn: bool = False
    killed: bool = False

    @property
    def serves(self) -> bool:
        """Whether it accepts connections, as far as one knows."""
        return self.state in (State.READY, State.SICK)


@dataclass(slots=True)
class Slot:
    """A place.

    Attributes:
        current: whose it is.
        successor: who is starting to take its place.
        failures: how often in a row it was lost.
        retry_at: when it may be filled again.
    """

    current: Worker | None = None
    successor: Worker | None = None
    failures: int = 0
    retry_at: float = -math.inf


@dataclass(frozen=True, slots=True)
class Spawn:
    """Start this process."""

    worker: Worker


@dataclass(frozen=True, slots=True)
class Drain:
    """Tell it to finish, within ``grace`` seconds, after ``delay``; ``last`` when nobody serves in its place."""

    worker: Worker
    grace: float
    delay: float = 0.0
    last: bool = False


@dataclass(frozen=True, slots=True)
class Signal:
    """End it: politely once more, with its stack, or at once."""

    worker: Worker
    how: Literal["again", "abort", "kill"]


@dataclass(frozen=True, slots=True)
class Examine:
    """Its loop does not turn: find out where it is."""

    worker: Worker
    silent_for: float


@dataclass(frozen=True, slots=True)
class Say:
    """A line for the log."""

    level: Literal["info", "warning", "error"]
    text: str


@dataclass(frozen=True, slots=True)
class Rolled:
    """A roll has ended; ``failed`` says why it did before its time."""

    generation: int
    failed: str = ""


@dataclass(frozen=True, slots=True)
class Up:
    """All slots serve, for the first time."""


@dataclass(frozen=True, slots=True)
class Finish:
    """All are gone: leave with this status."""

    status: int


Action: TypeAlias = Spawn | Drain | Signal | Examine | Say | Rolled | Up | Finish


@dataclass(frozen=True, slots=True)
class Policy:
    """What an operator may decide.

    Attributes:
        start_limit: seconds from the start of a process until it serves.
        silence_limit: seconds for which its loop may not turn until it is killed; ``math.inf`` never kills it.
        grace: seconds to finish in.
        delay: seconds before that, when the whole server ends.
        give_up: seconds without a single process that serves, after which all ends; ``math.inf`` goes on trying.
        patient: a process that cannot start is waited for, until there is a reason to think that it can: a roll.
    """

    start_limit: float = 120.0
    silence_limit: float = math.inf
    grace: float = 10.0
    delay: float = 0.0
    give_up: float = 60.0
    patient: bool = False
