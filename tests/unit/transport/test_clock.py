"""The clock, on virtual time: exact, lazy, and no larger than it has to be."""

from __future__ import annotations

import math
import weakref

import pytest
import trio
import trio.lowlevel
import trio.testing
from failing_tools import NAMES, WRONG

from roadrunner_trio.transport.clock import Clock


class Alarm:
    """A timer that notes when it fires. Virtual time begins at 0."""

    def __init__(self, name="", log=None):
        self.name = name
        self.log = [] if log is None else log
        self.deadline = math.inf
        self.armed = math.inf

    def set(self, clock, seconds):
        """Moves the deadline; speaks to the clock only when the rules say so."""
        self.deadline = trio.current_time() + seconds
        if self.deadline < self.armed:
            clock.arm(self)

    def fire(self):
        self.log.append((self.name, trio.current_time()))


@pytest.fixture
async def clock(nursery):
    clock = Clock()
    nursery.start_soon(clock.run)
    await trio.testing.wait_all_tasks_blocked()
    return clock


async def test_a_timer_fires_once_at_its_time(autojump_clock, clock):
    alarm = Alarm("a")
    alarm.set(clock, 30)
    await trio.sleep(29.999)
    assert alarm.log == []
    await trio.sleep(100)
    assert alarm.log == [("a", 30)]
    assert len(clock) == 0


async def test_timers_fire_in_the_order_of_their_deadlines(autojump_clock, clock):
    log = []
    for name, seconds in [("c", 3), ("a", 1), ("b", 2), ("b2", 2)]:
        Alarm(name, log).set(clock, seconds)
    await trio.sleep(10)
    assert log == [("a", 1), ("b", 2), ("b2", 2), ("c", 3)]


async def test_a_timer_postponed_fires_at_its_new_time(autojump_clock, clock):
    alarm = Alarm("a")
    alarm.set(clock, 10)
    for _ in range(5):
        await trio.sleep(4)
        alarm.set(clock, 10)
    assert len(clock) == 1
    await trio.sleep(100)
    assert alarm.log == [("a", 30)]


async def test_a_timer_brought_forward_fires_at_its_new_time_and_only_then(autojump_clock, clock):
    alarm = Alarm("a")
    alarm.set(clock, 60)
    await trio.sleep(1)
    alarm.set(clock, 2)
    await trio.sleep(100)
    assert alarm.log == [("a", 3)]
    assert len(clock) == 0


async def test_brought_forward_and_postponed_again(autojump_clock, clock):
    alarm = Alarm("a")
    alarm.set(clock, 5)
    alarm.set(clock, 3)
    alarm.set(clock, 5)
    await trio.sleep(100)
    assert alarm.log == [("a", 5)]


async def test_a_timer_disarmed_does_not_fire(autojump_clock, clock):
    alarm, other = Alarm("a"), Alarm("b")
    alarm.set(clock, 5)
    other.set(clock, 6)
    clock.disarm(alarm)
    clock.disarm(alarm)
    await trio.sleep(100)
    assert (alarm.log, other.log) == ([], [("b", 6)])


async def test_a_timer_never_armed_may_be_disarmed(autojump_clock, clock):
    clock.disarm(Alarm())
    assert len(clock) == 0


async def test_a_timer_disarmed_can_be_armed_again(autojump_clock, clock):
    alarm = Alarm("a")
    alarm.set(clock, 5)
    clock.disarm(alarm)
    alarm.set(clock, 5)
    await trio.sleep(100)
    assert alarm.log == [("a", 5)]


async def test_a_timer_postponed_for_ever_is_forgotten(autojump_clock, clock):
    alarm = Alarm("a")
    alarm.set(clock, 5)
    alarm.set(clock, math.inf)
    await trio.sleep(100)
    assert alarm.log == []
    assert len(clock) == 0
    alarm.set(clock, 1)
    await trio.sleep(100)
    assert alarm.log == [("a", 101)]


async def test_a_deadline_in_the_past_fires_at_once(autojump_clock, clock):
    alarm = Alarm("a")
    alarm.set(clock, -1)
    await trio.testing.wait_all_tasks_blocked()
    assert alarm.log == [("a", 0)]


async def test_a_timer_may_arm_another_when_it_fires(autojump_clock, clock):
    class First(Alarm):
        def fire(self):
            super().fire()
            second.set(clock, 5)

    log = []
    second = Alarm("second", log)
    First("first", log).set(clock, 5)
    await trio.sleep(100)
    assert log == [("first", 5), ("second", 10)]


async def test_what_was_armed_before_the_clock_runs_is_not_lost(autojump_clock, nursery):
    clock, alarm = Clock(), Alarm("a")
    alarm.set(clock, 5)
    nursery.start_soon(clock.run)
    await trio.sleep(4)
    assert alarm.log == []
    await trio.sleep(2)
    assert len(alarm.log) == 1


@pytest.mark.parametrize("wrong", WRONG, ids=NAMES)
async def test_a_timer_that_raises_is_logged_and_costs_nobody_else_anything(autojump_clock, clock, wrong, caplog):
    class Wrong(Alarm):
        def fire(self):
            super().fire()
            raise wrong

    log = []
    first, second = Wrong("wrong", log), Alarm("second", log)
    for alarm in (first, second, Alarm("third", log)):
        alarm.set(clock, 5)
    await trio.sleep(6)
    assert [name for name, _ in log] == ["wrong", "second", "third"]
    first.set(clock, 5)
    second.set(clock, 6)
    await trio.sleep(7)
    assert log[3:] == [("wrong", 11), ("second", 12)]
    assert len(clock) == 0
    assert caplog.messages == ["the timer Wrong failed"] * 2
    assert all(record.exc_info[1] is wrong for record in caplog.records)


async def test_ctrl_c_in_a_timer_ends_the_clock(autojump_clock):
    class Interrupted(Alarm):
        def fire(self):
            raise KeyboardInterrupt

    clock = Clock()
    Interrupted().set(clock, 5)
    with pytest.raises(KeyboardInterrupt):
        await clock.run()


# A loop that does not turn


async def test_a_deadline_that_came_up_while_the_loop_stood_still_is_put_off_by_as_much(autojump_clock, clock):
    alarm = Alarm("a")
    alarm.set(clock, 10)
    await trio.sleep(9)
    autojump_clock.jump(4)
    await trio.lowlevel.checkpoint()
    assert alarm.log == [], "3 s late, and so due at 16"
    await trio.sleep(100)
    assert alarm.log == [("a", 16)]


@pytest.mark.parametrize(("late", "fires_at"), [(0.1, 10.1), (0.11, 10.22)])
async def test_a_busy_loop_is_not_one_that_stands_still(late, fires_at, autojump_clock, clock):
    alarm = Alarm("a")
    alarm.set(clock, 10)
    autojump_clock.jump(10 + late)
    await trio.sleep(100)
    assert alarm.log == [("a", pytest.approx(fires_at))]


async def test_it_is_put_off_once_and_not_for_ever(autojump_clock, clock):
    alarm = Alarm("a")
    alarm.set(clock, 10)
    for _ in range(2):
        autojump_clock.jump(15)
        for _ in range(3):  # Trio notices, the clock wakes, and looks
            await trio.lowlevel.checkpoint()
    assert alarm.log == [("a", 30)], "put off to 20 at 15"


async def test_a_new_deadline_is_a_new_one(autojump_clock, clock):
    alarm = Alarm("a")
    alarm.set(clock, 10)
    autojump_clock.jump(15)
    await trio.lowlevel.checkpoint()
    alarm.set(clock, 10)
    autojump_clock.jump(14)
    await trio.sleep(100)
    assert alarm.log == [("a", 33)], "due at 25, looked at at 29"


async def test_an_older_entry_of_a_timer_does_not_make_its_deadline_late(autojump_clock, clock):
    alarm = Alarm("a")
    alarm.set(clock, 10)
    alarm.set(clock, 20)
    autojump_clock.jump(15)
    await trio.sleep(100)
    assert alarm.log == [("a", 20)]


async def test_a_deadline_in_the_past_is_not_for_want_of_a_turn(autojump_clock, clock):
    alarm = Alarm("a")
    await trio.sleep(50)
    alarm.set(clock, -20)
    await trio.sleep(100)
    assert alarm.log == [("a", 50)]


async def test_all_that_were_due_are_put_off_each_by_its_own_lateness(autojump_clock, clock):
    log = []
    for name, seconds in [("a", 1), ("b", 2), ("c", 30)]:
        Alarm(name, log).set(clock, seconds)
    autojump_clock.jump(5)
    await trio.sleep(100)
    assert log == [("b", 8), ("a", 9), ("c", 30)]


# Its size


async def test_timers_that_come_and_go_do_not_fill_the_clock(autojump_clock, clock):
    staying = [Alarm(str(n)) for n in range(10)]
    for n, alarm in enumerate(staying):
        alarm.set(clock, 50 + n)
    for n in range(10_000):
        going = Alarm()
        going.set(clock, 10 + n % 90)
        clock.disarm(going)
        assert len(clock) <= 10 + 65
    await trio.sleep(100)
    assert [alarm.log for alarm in staying] == [[(str(n), 50 + n)] for n in range(10)]


async def test_a_timer_brought_forward_again_and_again_does_not_fill_the_clock(autojump_clock, clock):
    alarm = Alarm("a")
    for n in range(10_000):
        alarm.set(clock, 10_001 - n)
        assert len(clock) <= 66
    await trio.sleep(20_000)
    assert alarm.log == [("a", 2)]


async def test_a_timer_armed_many_times_for_one_moment_does_not_fill_the_clock(autojump_clock, clock):
    alarm, other = Alarm("a"), Alarm("b")
    for _ in range(10_000):
        clock.disarm(alarm)
        alarm.set(clock, 5)
        other.set(clock, 6)
        clock.disarm(other)
        assert len(clock) <= 70
    await trio.sleep(100)
    assert (alarm.log, other.log) == ([("a", 5)], [])


@pytest.mark.parametrize("again", [False, True])
async def test_a_timer_disarmed_is_held_no_more(again, autojump_clock, clock):
    """It may be all that is left of a connection, and of its last request."""
    alarm = Alarm("a")
    alarm.set(clock, 1000)
    if again:
        alarm.set(clock, 500)
    clock.disarm(alarm)
    gone = weakref.ref(alarm)
    del alarm
    assert gone() is None


async def test_a_timer_that_has_fired_is_held_no_more(autojump_clock, clock):
    alarm = Alarm("a")
    alarm.set(clock, 5)
    await trio.sleep(6)
    gone = weakref.ref(alarm)
    del alarm
    assert gone() is None


class Counted(Alarm):
    """A timer that counts how often the clock looks at it."""

    looks = 0

    @property
    def armed(self):
        Counted.looks += 1
        return self._armed

    @armed.setter
    def armed(self, when):
        self._armed = when


@pytest.mark.parametrize("gap", [0, 0.01])
async def test_a_heap_full_of_timers_is_not_walked_for_every_one_that_goes(autojump_clock, clock, gap):
    """Whether those that go are swept in heaps, or one by one as their time comes."""
    for _ in range(1000):
        Counted().set(clock, 1000)
    Counted.looks = 0
    for _ in range(2000):
        going = Counted()
        going.set(clock, 1)
        clock.disarm(going)
        await trio.sleep(gap)
    assert Counted.looks < 10 * 2000


@pytest.mark.parametrize(("before", "after", "fires"), [(5, 7, 7), (5, 3, 3), (5, 5, 5), (None, 7, 7), (5, None, None)])
async def test_one_that_takes_the_place_of_another_fires_at_its_own_time(before, after, fires, autojump_clock, clock):
    first, second = Alarm(), Alarm()
    if before is not None:
        first.set(clock, before)
        first.deadline = math.inf
    second.deadline = math.inf if after is None else after
    clock.replace(first, second)
    assert first.armed == math.inf
    assert first not in clock._filed
    await trio.sleep(20)
    assert (first.log, second.log) == ([], [] if fires is None else [("", fires)])
    assert second.armed == math.inf
    assert not clock._filed


async def test_one_that_takes_the_place_of_another_takes_its_entry(autojump_clock, clock):
    before = [Alarm() for _ in range(100)]
    for each in before:
        each.set(clock, 5)
        each.deadline = math.inf
    after = [Alarm() for _ in range(100)]
    for each, other in zip(before, after, strict=True):
        other.deadline = 9
        clock.replace(each, other)
    assert len(clock) == 100
    clock.disarm(after[0])
    await trio.sleep(20)
    assert [each.log for each in after] == [[], *[[("", 9)]] * 99]
