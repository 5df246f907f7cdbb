"""What signals mean, step by step, on a clock of the test's own; nothing is signalled, and nobody is left."""

from __future__ import annotations

import math
import signal
from collections.abc import Callable
from typing import NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadrunner_trio.server import watchdog
from roadrunner_trio.server.signals import ENDING
from roadrunner_trio.server.watchdog import AT_ONCE, BUSY, PATIENCE, PROBE, TWICE, Stage, Watchdog

HUP, INT, TERM, USR2 = signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGUSR2


class Left(Exception):
    """The process has been left."""

    def __init__(self, status: int, why: str = "") -> None:
        super().__init__(status, why)
        self.status, self.why = status, why


def leave(status: int, why: str = "") -> NoReturn:
    raise Left(status, why)


class Scene:
    """A watchdog, and a loop that hears what it is told when the scene says so."""

    def __init__(self, grace: float = 10.0, delay: float = 0.0, *, owner: bool = True, gone: bool = True) -> None:
        self.dog = Watchdog(grace, delay, owner=owner, leave=leave, gone=lambda: gone)
        self.posted: list[Callable[[], None]] = []
        self.told: list[tuple[Stage, int]] = []
        self.dog._post, self.dog._told = self.posted.append, lambda stage, number: self.told.append((stage, number))
        self.dog._spread_net = lambda seconds: None  # type: ignore[method-assign]

    def turn(self) -> None:
        """The loop does what was posted to it."""
        while self.posted:
            self.posted.pop(0)()

    def signal(self, number: signal.Signals, now: float, *, turn: bool = True) -> Stage:
        self.dog.heard(number, now)
        if turn:
            self.turn()
        return self.dog.stage


def test_the_first_drains_and_the_second_stops() -> None:
    scene = Scene()
    assert scene.signal(TERM, 100) is Stage.DRAINING
    assert scene.dog.deadline == 110
    assert scene.signal(INT, 105) is Stage.STOPPING
    assert scene.told == [(Stage.DRAINING, TERM), (Stage.STOPPING, INT)]
    assert scene.dog.until == 105 + AT_ONCE


def test_with_a_delay_there_is_one_more() -> None:
    scene = Scene(delay=5)
    assert scene.signal(TERM, 100) is Stage.RETIRING
    assert scene.dog.deadline == 115
    assert scene.signal(TERM, 102) is Stage.DRAINING
    assert scene.dog.deadline == 112
    assert scene.signal(TERM, 103) is Stage.STOPPING


def test_after_the_delay_the_next_stops_although_the_loop_has_not_said_that_it_is_over() -> None:
    scene = Scene(delay=5)
    scene.signal(TERM, 100)
    assert scene.signal(TERM, 105) is Stage.STOPPING


@pytest.mark.parametrize(
    ("first", "again", "after", "stage"),
    [
        (TERM, TERM, 0.0, Stage.DRAINING),
        (INT, INT, TWICE - 0.01, Stage.DRAINING),
        (INT, INT, TWICE + 0.01, Stage.STOPPING),
        (TERM, INT, 0.01, Stage.STOPPING),
        (TERM, HUP, 0.01, Stage.DRAINING),  # systemd's SendSIGHUP
        (HUP, TERM, 0.01, Stage.DRAINING),
        (TERM, HUP, TWICE + 0.01, Stage.STOPPING),
    ],
)
def test_a_signal_that_comes_twice_is_one(
    first: signal.Signals, again: signal.Signals, after: float, stage: Stage
) -> None:
    scene = Scene()
    scene.signal(first, 100)
    assert scene.signal(again, 100 + after) is stage


def test_sighup_is_no_end_while_the_terminal_is_there_or_never_was() -> None:
    scene = Scene(gone=False)
    assert scene.signal(HUP, 100) is Stage.SERVING
    assert scene.told == [(Stage.SERVING, HUP)]
    assert scene.signal(TERM, 100.1) is Stage.DRAINING
    assert scene.signal(HUP, 101) is Stage.DRAINING


def test_the_second_one_twice_is_one_too_and_the_third_leaves() -> None:
    scene = Scene()
    scene.signal(TERM, 100)
    scene.signal(TERM, 101)
    scene.signal(TERM, 101.1)
    with pytest.raises(Left) as left:
        scene.signal(INT, 101.2)
    assert left.value.status == 128 + INT


def test_what_has_not_ended_a_second_after_the_second_is_left() -> None:
    scene = Scene(owner=False)
    scene.signal(INT, 100)
    assert scene.dog.until == math.inf, "a process that is not ours is not left for a drain's sake"
    scene.signal(TERM, 101)
    with pytest.raises(Left) as left:
        scene.dog.late(scene.dog.until)
    assert left.value.status == 128 + TERM


def test_a_loop_that_has_not_heard_of_the_first_is_left_at_the_second() -> None:
    scene = Scene()
    scene.signal(TERM, 100, turn=False)
    with pytest.raises(Left, match=r"does not turn: .*test_watchdog\.py") as left:
        scene.signal(TERM, 101, turn=False)
    assert left.value.status == 128 + TERM


def test_past_the_deadline_a_loop_that_does_not_turn_is_left() -> None:
    scene = Scene()
    scene.signal(TERM, 100)
    assert scene.dog.until == 110 + PATIENCE - PROBE
    scene.dog.late(scene.dog.until)
    assert scene.dog.until == 110 + PATIENCE
    with pytest.raises(Left, match="does not turn, or does not end: ") as left:
        scene.dog.late(scene.dog.until)
    assert left.value.status == 1


def test_one_that_turns_has_the_first_word_and_is_left_all_the_same() -> None:
    scene = Scene()
    scene.signal(TERM, 100)
    scene.dog.late(scene.dog.until)
    scene.turn()
    scene.dog.late(scene.dog.until)
    assert scene.dog.until == 110 + PATIENCE + PROBE
    with pytest.raises(Left) as left:
        scene.dog.late(scene.dog.until)
    assert left.value.status == 1


def test_one_that_has_much_to_do_has_longer_but_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "step_of_loop", lambda thread: object())
    scene = Scene()
    scene.signal(TERM, 100)
    for look in (0.5, 1.0, 1.5, 2.0, 2.5):
        assert scene.dog.until == 110 + look
        scene.dog.late(scene.dog.until)
    with pytest.raises(Left) as left:
        scene.dog.late(110 + BUSY)
    assert left.value.status == 1


def test_one_that_stays_where_it_was_has_not(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = [object(), object(), None]
    steps[2] = steps[1]
    monkeypatch.setattr(watchdog, "step_of_loop", lambda thread: steps.pop(0))
    scene = Scene()
    scene.signal(TERM, 100)
    scene.dog.late(scene.dog.until)
    scene.dog.late(scene.dog.until)
    assert scene.dog.until == 110 + PATIENCE + PROBE
    with pytest.raises(Left):
        scene.dog.late(scene.dog.until)


def test_without_a_deadline_nobody_is_left() -> None:
    scene = Scene(grace=math.inf)
    scene.signal(TERM, 100)
    assert scene.dog.until == scene.dog.deadline == scene.dog.remaining == math.inf


def test_sigusr2_means_nothing() -> None:
    scene = Scene()
    assert scene.signal(USR2, 100) is Stage.SERVING
    scene.signal(TERM, 100)
    assert scene.signal(USR2, 102) is Stage.DRAINING
    assert scene.told == [(Stage.SERVING, USR2), (Stage.DRAINING, TERM), (Stage.SERVING, USR2)]


times = st.lists(st.tuples(st.sampled_from(ENDING), st.floats(0, 5), st.booleans()), min_size=1, max_size=8)


@given(times, st.sampled_from([0.0, 2.0]), st.booleans())
def test_whatever_comes_the_end_only_comes_nearer(
    signals: list[tuple[signal.Signals, float, bool]], delay: float, owner: bool
) -> None:
    scene, now = Scene(10.0, delay, owner=owner), 1000.0
    for number, pause, turns in signals:
        now += pause
        before, deadline = scene.dog.stage, scene.dog.deadline
        if (left := passes(scene, number, now, turn=turns)) is not None:
            assert before is not Stage.SERVING
            assert left.status in {128 + each for each in ENDING} | ({1} if owner else set())
            return
        stage = scene.dog.stage
        assert before <= stage <= before + 2
        assert scene.dog.deadline <= deadline
        if pause > TWICE + 0.001:
            assert stage > before
        assert (stage < Stage.STOPPING) or scene.dog.until <= now + AT_ONCE
    told = [stage for stage, _ in scene.told]
    assert told == sorted(told)


def passes(scene: Scene, number: signal.Signals, now: float, *, turn: bool) -> Left | None:
    """Time until ``now``, and a signal then; how the process was left, if it was."""
    try:
        while scene.dog.until <= now:
            scene.dog.late(scene.dog.until)
        scene.signal(number, now, turn=turn)
    except Left as left:
        return left
    return None
