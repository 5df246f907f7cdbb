"""Any schedule of entering, shortening and disarming fires exactly what came due, at exactly its time."""

from __future__ import annotations

import math

import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from roadrunner_trio.transport.clock import Clock
from roadrunner_trio.transport.phases import Phase, PhaseScope

SECONDS = st.integers(0, 30).map(lambda n: n + 0.5)
"""Deadlines lie on half seconds and steps on whole ones, so that no step falls on a deadline."""
STEP = st.tuples(
    st.integers(0, 8),  # seconds after the step before
    st.integers(0, 3),  # whose timer
    st.one_of(
        st.tuples(st.just("enter"), SECONDS | st.just(math.inf)),
        st.tuples(st.just("shorten"), SECONDS),
        st.tuples(st.just("disarm"), st.none()),
    ),
)
END = 1000.0


class Recorded(PhaseScope):
    """A connection's timer that notes when it fires."""

    def __init__(self, clock, name, log):
        super().__init__(clock)
        self.name, self.log = name, log

    def fire(self):
        super().fire()
        self.log.append((trio.current_time(), self.name))


def expected(steps):
    """The rules in plain words: one list of deadlines, looked through at every step."""
    now, fired = 0.0, []
    deadlines, armed = [math.inf] * 4, [False] * 4
    for gap, who, (verb, seconds) in [*steps, (END, 0, ("disarm", None))]:
        now += gap
        for name in range(4):
            if armed[name] and deadlines[name] <= now:
                armed[name] = False
                fired.append((deadlines[name], name))
        if verb == "disarm":
            armed[who] = False
        elif verb == "enter" or now + seconds < deadlines[who]:
            deadlines[who], armed[who] = now + seconds, True
    return sorted(fired)


async def observed(steps):
    clock, log, begin = Clock(), [], trio.current_time()
    timers = [Recorded(clock, name, log) for name in range(4)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(clock.run)
        await trio.testing.wait_all_tasks_blocked()
        for gap, who, (verb, seconds) in steps:
            await trio.sleep(gap)
            if verb == "enter":
                timers[who].enter(Phase.READ_REQUEST, seconds)
            elif verb == "shorten":
                timers[who].shorten(trio.current_time() + seconds)
            else:
                timers[who].close()
            assert len(clock) <= 2 * len(timers) + 66
        await trio.sleep(END)
        assert len(clock) == 0
        nursery.cancel_scope.cancel(reason="the schedule is over")
    return sorted((when - begin, name) for when, name in log)


@given(st.lists(STEP, max_size=40))
@settings(deadline=None)
def test_exactly_the_timers_whose_deadline_came_fire_exactly_then(steps):
    clock = trio.testing.MockClock(autojump_threshold=0)
    assert trio.run(observed, steps, clock=clock) == expected(steps)
