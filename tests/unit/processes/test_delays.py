"""An end that is announced: the same signal again takes the time away in which it is only that, and no more."""

from __future__ import annotations

from roadrunner_trio.processes.slots import HURRY, LAST, Table
from roadrunner_trio.processes.states import Drain, Finish, Policy, Signal, State

DELAY = 20.0
GRACE = 10.0


def announced() -> Table:
    """Of three workers one drains already and one starts, and the end of all has been announced."""
    made = Table(Policy(grace=GRACE, delay=DELAY), lambda: 0.5)
    made.start(3, 0.0)
    for number in (1, 2, 3):
        made.ready(made.workers[number], 1.0)
    made.roll(2.0)
    made.ready(made.workers[4], 3.0)
    made.actions.clear()
    made.stop(4.0)
    made.actions.clear()
    return made


def test_again_the_end_begins_for_those_that_wait_for_it() -> None:
    made = announced()
    assert [worker.state for worker in made.workers.values()].count(State.DRAINING) == 5
    made.stop(5.0, 128 + 15)
    assert made.actions == [Signal(made.workers[number], "again") for number in (2, 3, 4)]
    assert made.workers[2].deadline == 5.0 + GRACE + LAST
    assert made.workers[1].deadline == 3.0 + GRACE + LAST
    assert made.status == 0


def test_once_more_it_is_at_once() -> None:
    made = announced()
    made.stop(5.0)
    made.actions.clear()
    made.stop(6.0, 128 + 15)
    assert {action.worker.number for action in made.actions if isinstance(action, Signal)} == {1, 2, 3, 4, 5}
    assert made.due == 6.0 + HURRY
    for worker in list(made.workers.values()):
        made.exited(worker, 7.0, 143, "has ended with status 143")
    assert made.actions[-1] == Finish(143)


def test_after_the_delay_again_is_at_once() -> None:
    made = announced()
    made.stop(4.0 + DELAY, 128 + 15)
    assert len([action for action in made.actions if isinstance(action, Signal)]) == 5
    assert not any(isinstance(action, Drain) for action in made.actions)
