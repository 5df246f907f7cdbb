"""A scope with its deadline on the clock: exact, asked once, and nobody's time while the loop stands still."""

from __future__ import annotations

import gc
import math
import weakref

import pytest
import trio
import trio.testing

from roadrunner_trio.transport.clock import Clock
from roadrunner_trio.transport.patience import Patience


@pytest.fixture
async def clock(nursery):
    clock = Clock()
    nursery.start_soon(clock.run)
    await trio.testing.wait_all_tasks_blocked()
    return clock


async def ended_at(patience):
    """When it ends what waits in it for ever."""
    with trio.move_on_after(1000), patience:
        await trio.sleep_forever()
    return trio.current_time()


async def test_its_time_is_exact(autojump_clock, clock):
    patience = Patience(clock, 7, None)
    assert await ended_at(patience) == 7
    assert patience.expired
    assert len(clock) == 0


async def test_what_is_done_in_time_is_no_expiry_and_leaves_nothing_behind(autojump_clock, clock):
    with Patience(clock, 7, None) as patience:
        await trio.sleep(6)
    await trio.sleep(100)
    assert not patience.expired
    assert patience.armed == math.inf


async def test_without_a_deadline_it_is_no_matter_of_the_clocks(autojump_clock, clock):
    patience = Patience(clock, math.inf, lambda: pytest.fail("nobody asks"))
    assert await ended_at(patience) == 1000
    assert not patience.expired
    assert len(clock) == 0


async def test_a_deadline_in_the_past(autojump_clock, clock):
    assert await ended_at(Patience(clock, -5, None)) == 0


async def test_a_peer_that_has_done_its_part_has_a_second_more_and_only_one(autojump_clock, clock):
    asked = []

    def done():
        asked.append(trio.current_time())
        return True

    patience = Patience(clock, 7, done)
    assert await ended_at(patience) == 8
    assert asked == [7]
    assert patience.expired


async def test_a_peer_that_has_not_has_none(autojump_clock, clock):
    assert await ended_at(Patience(clock, 7, lambda: False)) == 7


async def test_time_in_which_the_loop_does_not_turn_counts_for_nobody(autojump_clock, clock):
    with Patience(clock, 7, None) as patience:
        autojump_clock.jump(10)
        await trio.sleep_forever()
    assert trio.current_time() == 13
    assert patience.expired


async def test_a_cancellation_from_elsewhere_is_no_expiry(autojump_clock, clock):
    patience = Patience(clock, 7, None)
    with trio.move_on_after(3), patience:
        await trio.sleep_forever()
    assert not patience.expired
    with Patience(clock, 7, None) as patience:
        patience.scope.cancel(reason="dismissed")
        await trio.sleep_forever()
    assert not patience.expired


async def test_an_exception_passes(autojump_clock, clock):
    with pytest.raises(KeyError), Patience(clock, 7, None):
        raise KeyError


async def test_an_error_in_the_clean_up_is_not_taken_for_the_end_of_its_time(autojump_clock, clock):
    patience = Patience(clock, 7, None)

    async def wait():
        with patience:
            try:
                await trio.sleep_forever()
            finally:
                raise ValueError

    with pytest.raises(ValueError):
        await wait()
    assert not patience.expired


async def test_done_in_the_very_tick_is_done(autojump_clock, clock):
    for _ in range(10):
        start = trio.current_time()
        with Patience(clock, start + 7, None) as patience, trio.CancelScope(shield=True):
            await trio.sleep(7)
        assert not patience.expired


async def test_what_cancels_it_is_held_by_nobody(autojump_clock, clock):
    class Thing:
        pass

    async def wait():
        thing = Thing()
        seen.append(weakref.ref(thing))
        with Patience(clock, trio.current_time() + 7, lambda: thing is None):
            await trio.sleep_forever()

    seen = []
    gc.collect()
    gc.disable()
    try:
        await wait()
        await trio.sleep(1)
        assert seen[0]() is None
    finally:
        gc.enable()
