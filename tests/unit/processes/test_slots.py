"""The table by which a supervisor decides: case by case, and then whatever happens in whatever order."""

from __future__ import annotations

import math

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from roadrunner_trio.processes.slots import (
    ABORTING,
    BACK_OFF,
    FORGOTTEN,
    HURRY,
    JITTER,
    LAST,
    MOST,
    SILENCE,
    Table,
)
from roadrunner_trio.processes.states import (
    Drain,
    Examine,
    Finish,
    Policy,
    Rolled,
    Say,
    Signal,
    Spawn,
    State,
    Up,
    Worker,
)


def table(count: int = 2, policy: Policy | None = None) -> Table:
    """A table whose processes have begun."""
    made = Table(policy or Policy(grace=10), lambda: 0.5)
    made.start(count, 0.0)
    return made


def up(count: int = 2, policy: Policy | None = None) -> Table:
    """One whose processes serve."""
    made = table(count, policy)
    for worker in list(made.workers.values()):
        made.ready(worker, 1.0)
    taken(made)
    return made


def taken(made: Table) -> list[object]:
    """What is to be done, without what is only said."""
    actions, made.actions = made.actions, []
    return [action for action in actions if not isinstance(action, Say)]


def spawned(made: Table) -> list[Worker]:
    return [action.worker for action in taken(made) if isinstance(action, Spawn)]


def only(made: Table) -> Worker:
    (worker,) = spawned(made)
    return worker


def test_every_slot_is_filled_and_all_are_up_once_all_serve() -> None:
    made = table(3)
    workers = spawned(made)
    assert [(worker.number, worker.slot) for worker in workers] == [(1, 0), (2, 1), (3, 2)]
    for worker in workers[:2]:
        made.ready(worker, 1)
    assert taken(made) == []
    made.ready(workers[2], 2)
    assert taken(made) == [Up()]
    assert made.calm


def test_one_that_fails_at_the_first_start_ends_all_with_3() -> None:
    made = table()
    one, other = spawned(made)
    made.exited(one, 5, 3, "has ended with status 3")
    assert taken(made) == [Drain(other, 10, last=True)]
    made.exited(other, 6, -15, "was killed by SIGTERM")
    assert taken(made) == [Finish(3)]


def test_one_that_dies_is_replaced_at_once_and_then_later_and_later() -> None:
    made, now, pauses = up(), 10.0, []
    worker = made.slots[0].current
    for _ in range(len(BACK_OFF) + 2):
        assert worker is not None
        made.exited(worker, now, -11, "was killed by SIGSEGV")
        assert made.due in (made.slots[0].retry_at, math.inf) or spawned(made)
        pauses.append(made.slots[0].retry_at - now)
        now = max(now, made.slots[0].retry_at)
        made.tick(now)
        worker = made.slots[0].current
        assert worker is not None
        made.ready(worker, now)
    assert pauses == [*BACK_OFF, BACK_OFF[-1], BACK_OFF[-1]]
    made.exited(worker, now + FORGOTTEN, -11, "was killed by SIGSEGV")
    assert made.slots[0].retry_at == now + FORGOTTEN + BACK_OFF[0]


def test_a_roll_is_one_by_one_and_nobody_goes_before_the_next_one_serves() -> None:
    made = up()
    old = [slot.current for slot in made.slots]
    made.roll(10)
    first = only(made)
    assert (first.slot, first.generation) == (0, 2)
    made.ready(first, 12)
    assert taken(made)[0] == Drain(old[0], 10)
    second = made.slots[1].successor
    assert second is not None
    assert second.slot == 1
    made.ready(second, 14)
    assert taken(made) == [Drain(old[1], 10), Rolled(2)]
    assert [slot.current for slot in made.slots] == [first, second]


def test_a_roll_that_fails_leaves_those_that_were_there() -> None:
    made = up()
    old = [slot.current for slot in made.slots]
    made.roll(10)
    made.exited(only(made), 11, 3, "has ended with status 3")
    assert taken(made) == [Rolled(2, "worker 3 has ended with status 3")]
    assert [slot.current for slot in made.slots] == old
    assert made.calm
    assert made.generation == 1
    made.roll(20)
    assert only(made).generation == 3


def test_a_roll_in_a_roll_begins_anew() -> None:
    made = up()
    made.roll(10)
    first = only(made)
    made.roll(11)
    kill, spawn = taken(made)
    assert kill == Signal(first, "kill")
    assert isinstance(spawn, Spawn)
    assert spawn.worker.generation == 3
    made.exited(first, 11.1, -9, "was killed by SIGKILL")
    assert taken(made) == []


def test_who_dies_while_its_successor_starts_is_succeeded_by_it() -> None:
    made = up()
    made.roll(10)
    first = only(made)
    old = made.slots[0].current
    assert old is not None
    made.exited(old, 11, -9, "was killed by SIGKILL")
    assert spawned(made) == []
    assert made.slots[0].current is first
    made.ready(first, 12)
    assert only(made).slot == 1


def test_a_worn_one_is_replaced_and_never_two_at_once() -> None:
    made = up()
    one, other = (slot.current for slot in made.slots)
    assert one is not None
    assert other is not None
    made.recycle(one, 10, "it has answered 1000 requests")
    made.recycle(other, 10, "it has answered 1000 requests")
    made.recycle(one, 10, "it has answered 1000 requests")
    first = only(made)
    made.ready(first, 11)
    drain, second = taken(made)
    assert drain == Drain(one, 10)
    assert isinstance(second, Spawn)
    made.ready(second.worker, 12)
    assert taken(made) == [Drain(other, 10)]


def test_a_worn_one_whose_successor_fails_serves_on_and_is_asked_after_a_while() -> None:
    made = up(1)
    one = made.slots[0].current
    assert one is not None
    made.recycle(one, 10, "it is old")
    made.exited(only(made), 11, 3, "has ended with status 3")
    made.slots[0].failures = 3
    made.recycle(one, 12, "it is old")
    made.exited(only(made), 13, 3, "has ended with status 3")
    made.recycle(one, 13.1, "it is old")
    assert spawned(made) == []
    made.recycle(one, 13 + BACK_OFF[3], "it is old")
    assert len(spawned(made)) == 1


def test_one_that_does_not_start_in_time_is_killed() -> None:
    made = up(policy=Policy(start_limit=60))
    made.roll(10)
    late = only(made)
    made.tick(69.9)
    assert taken(made) == []
    assert made.due == 70
    made.tick(70)
    assert taken(made) == [Signal(late, "kill")]
    made.exited(late, 70.1, -9, "was killed by SIGKILL")
    assert [action for action in taken(made) if isinstance(action, Rolled)] == [
        Rolled(2, "worker 3 was killed by SIGKILL")
    ]


def test_a_silent_one_is_looked_at_and_left_alone_unless_that_is_asked_for() -> None:
    made = up(1)
    one = made.slots[0].current
    assert one is not None
    made.heartbeat(one, 20, SILENCE - 0.1)
    assert taken(made) == []
    made.heartbeat(one, 21, SILENCE)
    made.heartbeat(one, 22, SILENCE + 1)
    assert taken(made) == [Examine(one, SILENCE)]
    assert one.state is State.SICK
    made.heartbeat(one, 2000, 1.0)
    assert one.state is State.READY
    assert made.due == math.inf


def test_a_silent_one_is_aborted_and_killed_when_that_is_asked_for() -> None:
    made = up(1, Policy(silence_limit=30))
    one = made.slots[0].current
    assert one is not None
    made.heartbeat(one, 20, 12)
    made.heartbeat(one, 40, 30)
    assert taken(made) == [Examine(one, 12), Signal(one, "abort")]
    made.tick(40 + ABORTING)
    assert taken(made) == [Signal(one, "kill")]
    made.exited(one, 41.5, -9, "was killed by SIGKILL")
    assert only(made).slot == 0


def test_one_that_leaves_by_itself_is_replaced() -> None:
    made = up()
    one = made.slots[0].current
    assert one is not None
    made.leaving(one, 10)
    assert only(made).slot == 0
    made.exited(one, 11, 0, "has ended with status 0")
    assert taken(made) == []


def test_the_end_has_bounds() -> None:
    made = up(2, Policy(grace=10, delay=3))
    one, other = (slot.current for slot in made.slots)
    assert one is not None
    assert other is not None
    made.stop(10)
    assert taken(made) == [Drain(one, 10, 3, last=True), Drain(other, 10, 3, last=True)]
    made.exited(one, 12, 0, "has ended with status 0")
    assert made.due == 10 + 3 + 10 + LAST
    made.tick(made.due)
    assert taken(made) == [Signal(other, "abort")], "which has it say where it is"
    assert made.due == 10 + 3 + 10 + LAST + ABORTING
    made.tick(made.due)
    assert taken(made) == [Signal(other, "kill")], "it may be stopped"
    made.exited(other, 28, -9, "was killed by SIGKILL")
    assert taken(made) == [Finish(1)]


def test_one_that_cannot_be_killed_is_left_behind() -> None:
    made = up(1)
    made.stop(10)
    made.tick(24)
    made.tick(24 + ABORTING)
    made.tick(24 + ABORTING + HURRY)
    assert taken(made)[-1] == Finish(1)


def test_a_second_stop_is_at_once() -> None:
    made = up(1)
    one = made.slots[0].current
    made.stop(10)
    made.stop(11, 128 + 15)
    assert taken(made)[-1] == Signal(one, "again")
    assert made.due == 11 + HURRY
    assert one is not None
    made.exited(one, 12, 143, "has ended with status 143")
    assert taken(made) == [Finish(143)]


def test_who_was_told_to_go_before_it_served_is_not_ready_any_more() -> None:
    made = table(1)
    worker = only(made)
    made.stop(1)
    taken(made)
    made.ready(worker, 2)
    assert (worker.state, worker.served_at, taken(made)) == (State.DRAINING, None, [])


def test_more_and_fewer() -> None:
    made = up(1)
    made.resize(2, 10)
    second = only(made)
    made.ready(second, 11)
    made.resize(1, 12)
    assert taken(made) == [Drain(second, 10)]
    made.resize(0, 13)
    assert taken(made) == []
    made.resize(1000, 14)
    assert len(made.slots) == MOST


@pytest.mark.parametrize("seconds", [60.0, 5.0])
def test_it_gives_up_when_nobody_serves_for_long(seconds: float) -> None:
    made = up(1)
    made.policy = Policy(give_up=seconds)
    now = 10.0
    while now < 10 + seconds:
        worker = made.slots[0].current
        if worker is not None:
            made.exited(worker, now, 1, "has ended with status 1")
        now = min(made.due, 10 + seconds)
        made.tick(now)
    worker = made.slots[0].current
    if worker is not None:
        made.exited(worker, now, 1, "has ended with status 1")
    assert taken(made)[-1] == Finish(1)


def test_it_need_not_give_up() -> None:
    made = up(1)
    made.policy = Policy(give_up=math.inf)
    now = 10.0
    for _ in range(100):
        worker = made.slots[0].current
        if worker is not None:
            made.exited(worker, now, 1, "has ended with status 1")
        now = made.due
        made.tick(now)
    assert not made.stopping
    assert now > 1000


def test_a_patient_one_waits_for_a_roll() -> None:
    made = table(1, Policy(patient=True))
    made.exited(only(made), 1, 3, "has ended with status 3")
    assert (taken(made), made.due) == ([], math.inf)
    made.roll(1000)
    made.ready(only(made), 1001)
    assert Up() in taken(made)


@pytest.mark.parametrize("drawn", [0.0, 0.5, 1.0])
def test_pauses_vary(drawn: float) -> None:
    made = up(1)
    made.random = lambda: drawn
    made.slots[0].failures = 3
    worker = made.slots[0].current
    assert worker is not None
    made.exited(worker, 10, 1, "has ended with status 1")
    assert made.slots[0].retry_at == pytest.approx(10 + 2.0 * (1 + JITTER * (2 * drawn - 1)))


class Anything(RuleBasedStateMachine):
    """Whatever happens, in whatever order."""

    @initialize(count=st.integers(1, 4), patient=st.booleans(), limit=st.sampled_from([math.inf, 30.0]))
    def begin(self, count: int, patient: bool, limit: float) -> None:
        self.now = 0.0
        self.table = Table(Policy(patient=patient, silence_limit=limit), lambda: 0.5)
        self.alive: dict[int, Worker] = {}
        self.finished = 0
        self.deaths = 0
        self.before_roll = 0
        self.table.start(count, self.now)
        self.act()

    def act(self) -> None:
        """Does what is said, and looks whether that can be."""
        actions, self.table.actions = self.table.actions, []
        for action in actions:
            assert not self.finished, "nothing is said after the end"
            if isinstance(action, Spawn):
                assert action.worker.number not in self.alive
                self.alive[action.worker.number] = action.worker
            elif isinstance(action, Drain | Signal):
                assert action.worker.number in self.alive
            elif isinstance(action, Finish):
                assert not self.table.workers
                self.finished += 1

    def some(self, data: st.DataObject, *states: State) -> Worker | None:
        there = [worker for worker in self.alive.values() if worker.state in states]
        return data.draw(st.sampled_from(there)) if there else None

    @rule(seconds=st.floats(0, 100))
    def time(self, seconds: float) -> None:
        due, end = self.table.due, self.now + seconds
        while due <= end and not self.finished:
            self.now = max(self.now, due)
            self.table.tick(self.now)
            self.act()
            assert self.table.due > self.now or self.finished, "it would be asked for ever"
            due = self.table.due
        self.now = end

    @rule(data=st.data())
    def ready(self, data: st.DataObject) -> None:
        if (worker := self.some(data, State.STARTING)) is not None:
            serving = len(self.table.serving)
            self.table.ready(worker, self.now)
            assert len(self.table.serving) >= serving, "nobody goes before somebody has come"
            self.act()

    @rule(data=st.data(), status=st.sampled_from([0, 1, 3, -9]))
    def exit(self, data: st.DataObject, status: int) -> None:
        if (worker := self.some(data, *State)) is not None:
            del self.alive[worker.number]
            self.table.exited(worker, self.now, status, "has ended")
            self.act()

    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        if (worker := self.some(data, State.READY, State.SICK)) is not None:
            self.table.leaving(worker, self.now)
            self.act()

    @rule(data=st.data(), age=st.floats(0, 60))
    def beat(self, data: st.DataObject, age: float) -> None:
        if (worker := self.some(data, State.READY, State.SICK)) is not None:
            self.table.heartbeat(worker, self.now, age)
            self.act()

    @rule(data=st.data())
    def wear(self, data: st.DataObject) -> None:
        if (worker := self.some(data, State.READY)) is not None:
            serving = self.table.serving
            self.table.recycle(worker, self.now, "it is old")
            assert self.table.serving == serving
            self.act()

    @rule()
    def roll(self) -> None:
        serving = self.table.serving
        self.table.roll(self.now)
        assert self.table.serving == serving, "a roll ends nobody who serves"
        self.act()

    @rule(count=st.integers(0, 5))
    def resize(self, count: int) -> None:
        self.table.resize(count, self.now)
        self.act()

    @precondition(lambda self: self.now > 50)
    @rule()
    def stop(self) -> None:
        self.table.stop(self.now)
        self.act()

    @invariant()
    def each_slot_has_its_own(self) -> None:
        if not hasattr(self, "table"):
            return
        held = [worker for slot in self.table.slots for worker in (slot.current, slot.successor) if worker]
        assert len(held) == len(set(map(id, held)))
        for at, slot in enumerate(self.table.slots):
            assert all(worker.slot == at for worker in (slot.current, slot.successor) if worker)
        successors = [slot.successor for slot in self.table.slots if slot.successor]
        assert len(successors) <= 1, "one at a time"
        coming = (State.STARTING, State.ENDING)  # one that did not come in time is killed, and has not ended yet
        assert self.table.stopping or all(worker.state in coming for worker in successors)

    @invariant()
    def nothing_waits_for_ever(self) -> None:
        """Whoever is to end has a deadline, and what is empty will be filled."""
        if not hasattr(self, "table") or self.finished:
            return
        for worker in self.table.workers.values():
            assert worker.serves or worker.deadline < math.inf
        for slot in self.table.slots:
            assert slot.current or self.table.stopping or self.table.policy.patient or slot.retry_at < math.inf
            assert slot.retry_at <= self.now + BACK_OFF[-1] * (1 + JITTER) or self.table.policy.patient

    @invariant()
    def every_number_is_used_once(self) -> None:
        if hasattr(self, "table"):
            assert len(self.table.workers) <= 2 * MOST
            assert set(self.table.workers) <= set(self.alive), "nobody is there who never began"

    def teardown(self) -> None:
        """It can always be ended."""
        if not hasattr(self, "table"):
            return
        self.table.stop(self.now)
        self.act()
        self.time(1000.0)
        assert self.finished == 1


TestAnything = Anything.TestCase
TestAnything.settings = settings(max_examples=200, stateful_step_count=60, deadline=None)
