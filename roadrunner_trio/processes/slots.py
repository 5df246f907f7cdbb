"""Which processes should be there: the table by which a supervisor decides, without input or output.

A slot is the place of one worker. Its ``current`` serves, or is about to; in a roll a ``successor`` starts beside it,
and only when that is ready is the current one told to finish. What happens is told to the table by its methods, each
with the time; what is to be done about it stands in :attr:`Table.actions`, in order; and at :attr:`Table.due` it wants
to be asked again.

    STARTING ── ready ──> READY <── beats again ── SICK
       │                    │  └── silent ──────────┘│
       │                    └── drain ──> DRAINING <──┘      any of them ── time is up ──> ENDING
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, Literal

from .states import Action, Drain, Examine, Finish, Policy, Rolled, Say, Signal, Slot, Spawn, State, Up, Worker

BACK_OFF: Final = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
"""Seconds until a slot whose process has died is filled again: the first time, the second, and so on."""
JITTER: Final = 0.2
"""The part by which such times vary, so that workers that fail together do not come back together."""
FORGOTTEN: Final = 60.0
"""Seconds for which a process has to have served for its slot to be as good as new."""
SILENCE: Final = 10.0
"""Seconds in which the loop of a worker has not turned, after which that is told."""
LAST: Final = 4.0
"""Seconds past the end of its grace for which a process may take to leave by itself, and name what is stuck."""
ABORTING: Final = 1.0
"""Seconds between SIGABRT, which tells where it was, and SIGKILL."""
HURRY: Final = 2.0
"""Seconds after a second signal."""
MOST: Final = 128
"""Slots."""

BAD_START: Final = 3


@dataclass(slots=True)
class Table:
    """All slots, and what is under way.

    Args:
        policy: the operator's.
        random: numbers from 0 to 1.
    """

    policy: Policy
    random: Callable[[], float]
    slots: list[Slot] = field(default_factory=list[Slot])
    workers: dict[int, Worker] = field(default_factory=dict[int, Worker])
    actions: list[Action] = field(default_factory=list[Action])
    generation: int = 1
    up: bool = False
    stopping: bool = False
    rolling: bool = False
    finished: bool = False
    status: int = 0
    token: int | None = None
    """The slot that is being renewed: one at a time."""
    pending: list[int] = field(default_factory=list[int])
    """Those that come after it."""
    last_number: int = 0
    last_generation: int = 1
    before: int = 1
    """The generation to go back to, should a roll fail."""
    lost_at: float = math.inf
    """Since when nobody serves."""
    ends_at: float = math.inf
    """When the end begins that has been announced,"""
    announced: list[Worker] = field(default_factory=list[Worker])
    """to these."""

    # -- what happens ----------------------------------------------------------------------------

    def start(self, count: int, now: float) -> None:
        """Fills so many slots."""
        self.slots += [Slot() for _ in range(count)]
        self._settle(now)

    def adopt(self, workers: list[Worker], now: float) -> None:
        """Takes over processes that a predecessor has started, each in its slot; slots are there already."""
        for worker in workers:
            self.workers[worker.number] = worker
            if worker.state not in (State.DRAINING, State.ENDING) and worker.slot < len(self.slots):
                self.slots[worker.slot].current = worker
        self.up = True
        self._settle(now)

    def ready(self, worker: Worker, now: float) -> None:
        """A process serves."""
        if worker.state is not State.STARTING:
            return
        self._enter(worker, State.READY, now)
        worker.served_at = now
        slot = self._slot_of(worker)
        if slot is not None and slot.successor is worker:
            old, slot.current, slot.successor = slot.current, worker, None
            if old is not None:
                self._drain(old, now)
        elif slot is None or slot.current is not worker:
            self._drain(worker, now)  # its slot is there no more
        self._settle(now)

    def leaving(self, worker: Worker, now: float) -> None:
        """A process finishes, and nobody here has told it to."""
        if worker.serves:
            self._enter(worker, State.DRAINING, now, self.policy.delay + self.policy.grace + LAST)
            if not self.stopping:
                self._lose(worker, now)
        self._settle(now)

    def exited(self, worker: Worker, now: float, status: int, why: str) -> None:
        """A process is gone; ``why`` tells how, in words."""
        if self.workers.pop(worker.number, None) is None:
            return
        asked = worker.state in (State.DRAINING, State.ENDING)
        failed = status != 0 and not (asked and worker.served_at is None)  # else it has ended as it was told to
        if asked and self.stopping and failed:
            self.status = self.status or 1
        if why and (failed or not asked):
            self._say("error", f"worker {worker.number} {why}")
        if not self.stopping and self._holds(worker):
            if worker.served_at is None:
                self._fail(worker, now, why)
            else:
                self._lose(worker, now)
        self._settle(now)

    def heartbeat(self, worker: Worker, now: float, age: float) -> None:
        """The loop of a process has last turned ``age`` seconds ago."""
        limit = self.policy.silence_limit
        if not worker.serves:
            return
        if age >= limit:
            self._say("error", f"worker {worker.number} has been silent for {age:.0f} s, and is killed")
            self._signal(worker, "abort", now, ABORTING)
        elif worker.state is State.READY and age >= min(SILENCE, limit / 2):
            self._enter(worker, State.SICK, now)
            self.actions.append(Examine(worker, age))
        elif worker.state is State.SICK and age < min(SILENCE, limit / 2):
            self._say("info", f"worker {worker.number} answers again")
            self._enter(worker, State.READY, now)
        self._settle(now)

    def recycle(self, worker: Worker, now: float, why: str) -> None:
        """A process has served for long enough."""
        slot = self._slot_of(worker)
        if slot is None or slot.current is not worker or worker.worn or self.stopping or now < slot.retry_at:
            return
        worker.worn = True
        self._say("info", f"worker {worker.number} is replaced: {why}")
        self._queue(worker.slot)
        self._settle(now)

    def roll(self, now: float) -> None:
        """Renews all processes, one after the other."""
        if self.stopping:
            return
        if not self.rolling:
            self.before = self.generation
        self.last_generation += 1
        self.generation = self.last_generation
        self.rolling = True
        for slot in self.slots:
            if slot.successor is not None:
                self._signal(slot.successor, "kill", now, HURRY)
                slot.successor = None
        self.token = None
        self.pending = list(range(len(self.slots)))
        self._settle(now)

    def resize(self, count: int, now: float) -> None:
        """So many slots, and no others."""
        count = max(1, min(count, MOST))
        if self.stopping or count == len(self.slots):
            return
        self._say("info", f"{count} workers instead of {len(self.slots)}")
        gone, self.slots = self.slots[count:], self.slots[:count] + [Slot() for _ in range(count - len(self.slots))]
        for slot in gone:
            for worker in (slot.current, slot.successor):
                if worker is not None:
                    self._drain(worker, now)
        self.pending = [number for number in self.pending if number < count]
        if self.token is not None and self.token >= count:
            self.token = None
        self._settle(now)

    def stop(self, now: float, status: int = 0) -> None:
        """Ends all of them, after a delay; again: without it, and then at once."""
        if self.waiting(now):
            self.ends_at = now
            for worker in self.announced:
                if worker.state is State.DRAINING:
                    self.actions.append(Signal(worker, "again"))
                    self._enter(worker, State.DRAINING, now, self.policy.grace + LAST)
            return
        self.status = status or self.status
        if self.stopping:
            for worker in self.workers.values():
                self._signal(worker, "again", now, HURRY)
        else:
            self.stopping, self.rolling, self.token, self.pending = True, False, None, []
            self.ends_at = now + self.policy.delay
            self.announced = [worker for worker in self.workers.values() if worker.serves]
            for worker in list(self.workers.values()):
                if worker.state in (State.STARTING, State.READY, State.SICK):
                    self._drain(worker, now, self.policy.delay if worker.serves else 0.0, last=True)
        self._settle(now)

    def tick(self, now: float) -> None:
        """Time has passed."""
        for worker in list(self.workers.values()):
            if now >= worker.deadline:
                self._overdue(worker, now)
        if not self.stopping and now >= self._hopeless_at:
            self._say("error", f"nobody has served for {self.policy.give_up:g} s: giving up")
            self.stop(now, 1)
        self._settle(now)

    def waiting(self, now: float) -> bool:
        """Whether the end has been announced, and has not begun."""
        return self.stopping and now < self.ends_at

    @property
    def due(self) -> float:
        """When :meth:`tick` wants to be called."""
        times = [worker.deadline for worker in self.workers.values()]
        if not self.stopping:
            times += [slot.retry_at for slot in self.slots if slot.current is None]
            times.append(self._hopeless_at)
        return min(times, default=math.inf)

    @property
    def _hopeless_at(self) -> float:
        """When whoever supervises the supervisor should know."""
        return self.lost_at + self.policy.give_up if self.up and not self.policy.patient else math.inf

    @property
    def serving(self) -> list[Worker]:
        """Those who accept connections."""
        return [worker for worker in self.workers.values() if worker.serves]

    @property
    def calm(self) -> bool:
        """Whether nobody starts, and nothing is to be renewed."""
        starting = any(worker.state is State.STARTING for worker in self.workers.values())
        return self.token is None and not self.pending and not starting

    # -- what is done about it -------------------------------------------------------------------

    def _settle(self, now: float) -> None:
        """Fills what is empty, goes on with what is under way, and notices when all is done."""
        if self.stopping:
            if not self.workers and not self.finished:
                self.finished = True
                self.actions.append(Finish(self.status))
            return
        self._advance(now)
        for number, slot in enumerate(self.slots):
            if slot.current is None and now >= slot.retry_at:
                slot.current = self._spawn(number, now)
        if any(worker.serves for worker in self.workers.values()):
            self.lost_at = math.inf
        elif self.lost_at == math.inf:
            self.lost_at = now
        if not self.up and self.slots and all(slot.current and slot.current.serves for slot in self.slots):
            self.up = True
            self.actions.append(Up())

    def _advance(self, now: float) -> None:
        """The roll: the slot that has the token is done, or the next one gets it."""
        while True:
            if self.token is not None:
                slot = self.slots[self.token]
                if slot.successor is not None or slot.current is None or not self._is_new(slot.current):
                    return
                if slot.current.state is State.STARTING:
                    return
                self.token = None
            if not self.pending:
                break
            self.token = self.pending.pop(0)
            self._renew(self.slots[self.token], self.token, now)
        if self.rolling:
            self.rolling = False
            self.actions.append(Rolled(self.generation))

    def _is_new(self, worker: Worker) -> bool:
        return not worker.worn and (worker.generation == self.generation or not self.rolling)

    def _renew(self, slot: Slot, number: int, now: float) -> None:
        current = slot.current
        if current is not None and self._is_new(current):
            return
        if current is not None and current.state is State.STARTING:
            self._signal(current, "kill", now, HURRY)  # nobody is served by it, and it is of yesterday
            current = slot.current = None
        if current is None:
            slot.current = self._spawn(number, now)
        else:
            slot.successor = self._spawn(number, now)

    def _spawn(self, slot: int, now: float) -> Worker:
        self.last_number += 1
        worker = Worker(self.last_number, slot, self.generation)
        self._enter(worker, State.STARTING, now, self.policy.start_limit)
        self.workers[worker.number] = worker
        self.actions.append(Spawn(worker))
        return worker

    def _fail(self, worker: Worker, now: float, why: str) -> None:
        """A process has ended before it served."""
        slot = self.slots[worker.slot]
        if slot.successor is worker:
            slot.successor = None
        else:
            slot.current = None
        if not self.up and not self.policy.patient:
            self.stop(now, BAD_START)
            return
        self._back_off(slot, now)
        if self.policy.patient:
            slot.retry_at = math.inf
        if slot.current is not None:
            slot.current.worn = False
        if self.token == worker.slot:
            self.token = None
            if self.rolling:
                self.rolling, self.pending, self.generation = False, [], self.before
                self.actions.append(Rolled(worker.generation, f"worker {worker.number} {why}"))

    def _lose(self, worker: Worker, now: float) -> None:
        """A process that served does so no more."""
        slot = self.slots[worker.slot]
        if slot.current is worker:
            slot.current, slot.successor = slot.successor, None
        if worker.served_at is not None and now - worker.served_at >= FORGOTTEN:
            slot.failures = 0
        self._back_off(slot, now)

    def _back_off(self, slot: Slot, now: float) -> None:
        step = BACK_OFF[min(slot.failures, len(BACK_OFF) - 1)]
        slot.failures += 1
        slot.retry_at = now + step * (1 + JITTER * (2 * self.random() - 1))

    def _drain(self, worker: Worker, now: float, delay: float = 0.0, *, last: bool = False) -> None:
        grace = self.policy.grace
        self.actions.append(Drain(worker, grace, delay, last))
        self._enter(worker, State.DRAINING, now, delay + grace + LAST)

    def _overdue(self, worker: Worker, now: float) -> None:
        if worker.killed:
            self.exited(worker, now, 1, "cannot be killed, and is left behind")
            return
        if worker.state is State.STARTING:
            text = f"worker {worker.number} does not serve {self.policy.start_limit:g} s after its start, and is killed"
            self._say("error", text)
        elif worker.state is State.DRAINING:
            self._say("error", f"worker {worker.number} does not end, and is killed")
            # Its loop has not turned, or it would have ended itself and said what was stuck: so it says where it is.
            self._signal(worker, "abort", now, ABORTING)
            return
        self._signal(worker, "kill", now, HURRY)

    def _signal(self, worker: Worker, how: Literal["again", "abort", "kill"], now: float, limit: float) -> None:
        self.actions.append(Signal(worker, how))
        self._enter(worker, State.ENDING, now, limit)
        worker.killed = how == "kill"

    def _enter(self, worker: Worker, state: State, now: float, limit: float = math.inf) -> None:
        worker.state, worker.since, worker.deadline = state, now, now + limit

    def _queue(self, slot: int) -> None:
        if slot not in self.pending and slot != self.token:
            self.pending.append(slot)

    def _slot_of(self, worker: Worker) -> Slot | None:
        return self.slots[worker.slot] if worker.slot < len(self.slots) else None

    def _holds(self, worker: Worker) -> bool:
        slot = self._slot_of(worker)
        return slot is not None and worker in self._workers_of(slot)

    @staticmethod
    def _workers_of(slot: Slot) -> Iterator[Worker]:
        return (worker for worker in (slot.current, slot.successor) if worker is not None)

    def _say(self, level: Literal["info", "warning", "error"], text: str) -> None:
        self.actions.append(Say(level, text))
