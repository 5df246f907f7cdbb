"""Phases: absolute deadlines, one scope, and why it ended."""

from __future__ import annotations

import math

import pytest
import trio
import trio.testing

from roadrunner_trio.transport.clock import Clock
from roadrunner_trio.transport.phases import Phase, PhaseScope


@pytest.fixture
async def clock(nursery):
    clock = Clock()
    nursery.start_soon(clock.run)
    await trio.testing.wait_all_tasks_blocked()
    return clock


async def ended_at(phase):
    """When the scope of ``phase`` cancels what runs in it, in virtual time, which begins at 0."""
    with trio.move_on_after(1000), phase.scope:
        await trio.sleep_forever()
    return trio.current_time()


async def test_a_connection_begins_with_its_handshake_and_no_deadline():
    phase = PhaseScope(Clock())
    assert phase.phase is Phase.HANDSHAKE
    assert phase.deadline == math.inf
    assert not phase.expired


async def test_a_phase_ends_exactly_when_its_time_has_come(autojump_clock, clock):
    phase = PhaseScope(clock)
    phase.enter(Phase.READ_REQUEST, 30)
    assert phase.phase is Phase.READ_REQUEST
    assert phase.deadline == 30
    assert await ended_at(phase) == 30
    assert phase.expired
    assert phase.scope.cancelled_caught


async def test_the_next_phase_has_a_time_of_its_own(autojump_clock, clock):
    phase = PhaseScope(clock)
    phase.enter(Phase.READ_REQUEST, 30)
    await trio.sleep(10)
    phase.enter(Phase.READ_BODY, 300)
    assert await ended_at(phase) == 310
    assert phase.phase is Phase.READ_BODY


async def test_a_shorter_phase_after_a_longer_one(autojump_clock, clock):
    phase = PhaseScope(clock)
    phase.enter(Phase.READ_BODY, 300)
    await trio.sleep(10)
    phase.enter(Phase.FINISH, 2)
    assert await ended_at(phase) == 12


async def test_a_phase_without_a_bound_lasts(autojump_clock, clock):
    phase = PhaseScope(clock)
    phase.enter(Phase.READ_REQUEST, 30)
    phase.enter(Phase.DISPATCH, math.inf)
    assert await ended_at(phase) == 1000
    assert not phase.expired


async def test_a_deadline_can_be_brought_forward_but_never_back(autojump_clock, clock):
    phase = PhaseScope(clock)
    phase.enter(Phase.IDLE, 60)
    phase.shorten(100)
    assert phase.deadline == 60
    phase.shorten(5)
    phase.shorten(7)
    assert phase.deadline == 5
    assert await ended_at(phase) == 5
    assert phase.expired


async def test_shortening_what_was_postponed_asks_no_more_of_the_clock_than_it_must(autojump_clock, clock):
    phase = PhaseScope(clock)
    phase.enter(Phase.IDLE, 10)
    phase.enter(Phase.IDLE, 60)
    phase.shorten(30)  # the clock looks at 10 anyway
    assert len(clock) == 1
    assert await ended_at(phase) == 30


async def test_an_end_by_a_drain_is_no_expiry(autojump_clock, clock):
    phase = PhaseScope(clock)
    phase.enter(Phase.IDLE, 60)
    phase.end("the server is draining")
    assert await ended_at(phase) == 0
    assert not phase.expired


async def test_a_cancellation_says_why(autojump_clock, clock):
    timed, told = PhaseScope(clock), PhaseScope(clock)
    timed.enter(Phase.IDLE, 5)
    told.end("the server is draining")
    for phase, reason in [(timed, "time is up for a connection that is idle"), (told, "the server is draining")]:
        with phase.scope, pytest.raises(trio.Cancelled) as caught:
            await trio.sleep_forever()
        assert caught.value.reason == reason


async def test_a_closed_one_has_no_deadline(autojump_clock, clock):
    phase = PhaseScope(clock)
    phase.enter(Phase.IDLE, 60)
    phase.close()
    assert await ended_at(phase) == 1000
    assert not phase.expired


# The peer is asked before it is called late


class Source:
    """Octets that have arrived at certain times, and that nobody has taken yet."""

    def __init__(self, *times):
        self.times = times
        self.asked = []

    def pending(self):
        now = trio.current_time()
        self.asked.append(now)
        return any(time <= now for time in self.times)


WAITING = [Phase.HANDSHAKE, Phase.IDLE, Phase.READ_REQUEST, Phase.READ_BODY, Phase.FINISH]


@pytest.mark.parametrize("what", WAITING)
async def test_what_has_arrived_when_time_is_up_has_a_second_to_become_something(what, autojump_clock, clock):
    phase = PhaseScope(clock, Source(29))
    phase.enter(what, 30)
    with trio.move_on_after(100) as scope, phase.scope:
        await trio.sleep(30.5)
        phase.enter(Phase.DISPATCH, math.inf)
        await trio.sleep_forever()
    assert scope.cancelled_caught
    assert not phase.expired


@pytest.mark.parametrize("what", WAITING)
async def test_whose_octets_never_come_to_an_end_is_spared_once(what, autojump_clock, clock):
    source = Source(29)
    phase = PhaseScope(clock, source)
    phase.enter(what, 30)
    assert await ended_at(phase) == 31
    assert phase.expired
    assert source.asked == [30], "a drip could go on for ever"


async def test_every_phase_may_be_spared(autojump_clock, clock):
    phase = PhaseScope(clock, Source(0))
    phase.enter(Phase.READ_REQUEST, 30)
    await trio.sleep(30.5)
    assert not phase.over
    phase.enter(Phase.READ_BODY, 10)
    assert await ended_at(phase) == 41.5


async def test_nothing_has_arrived_nothing_is_spared(autojump_clock, clock):
    source = Source(31)
    phase = PhaseScope(clock, source)
    phase.enter(Phase.IDLE, 30)
    assert await ended_at(phase) == 30
    assert source.asked == [30]


@pytest.mark.parametrize("what", sorted(set(Phase) - set(WAITING), key=lambda phase: phase.value))
async def test_where_it_is_not_the_peers_turn_nobody_asks(what, autojump_clock, clock):
    source = Source(0)
    phase = PhaseScope(clock, source)
    phase.enter(what, 30)
    assert await ended_at(phase) == 30
    assert source.asked == []


def test_every_phase_reads_as_words():
    assert {phase.value for phase in Phase} >= {"handshake", "idle", "in the handler", "handed off"}
    assert all(phase.value and phase.value[0].islower() for phase in Phase)
