"""The drain: one word, to everybody present, once."""

from __future__ import annotations

import math

import pytest
import trio
import trio.testing
from failing_tools import NAMES, WRONG

from roadrunner_trio.transport.drain import Drain


class Member:
    def __init__(self, drain):
        self.drain = drain
        self.told_at = []
        drain.join(self)

    def told(self):
        self.told_at.append((trio.current_time(), self.drain.draining, self.drain.deadline))


async def test_before_it_begins(autojump_clock):
    drain = Drain()
    assert not drain.draining
    assert drain.deadline == math.inf
    assert drain.remaining == math.inf


async def test_everybody_present_is_told_once_when_all_is_set(autojump_clock):
    drain = Drain()
    members = [Member(drain), Member(drain)]
    await trio.sleep(1)
    drain.start(11)
    drain.start(12)
    assert [member.told_at for member in members] == [[(1, True, 11)], [(1, True, 11)]]


async def test_who_has_left_or_comes_later_is_not_told(autojump_clock):
    drain = Drain()
    gone = Member(drain)
    drain.leave(gone)
    drain.leave(gone)
    drain.start(10)
    late = Member(drain)
    assert (gone.told_at, late.told_at) == ([], [])
    assert list(drain.members) == [late]


async def test_a_member_may_leave_when_it_is_told(autojump_clock):
    class Leaving(Member):
        def told(self):
            super().told()
            self.drain.leave(self)

    drain = Drain()
    members = [Leaving(drain) for _ in range(3)]
    drain.start(10)
    assert all(len(member.told_at) == 1 for member in members)
    assert list(drain.members) == []


async def test_waiting_for_it(autojump_clock, nursery):
    drain = Drain()
    begun = []

    async def wait():
        await drain.started.wait()
        begun.append(trio.current_time())

    nursery.start_soon(wait)
    await trio.sleep(3)
    drain.start(10)
    await trio.testing.wait_all_tasks_blocked()
    assert begun == [3]


async def test_the_deadline_comes_nearer_and_never_moves_back(autojump_clock):
    drain = Drain()
    drain.start(10)
    assert drain.remaining == 10
    drain.start(20)
    assert drain.deadline == 10
    await trio.sleep(2)
    drain.start(5)
    assert (drain.deadline, drain.remaining) == (5, 3)
    await trio.sleep(10)
    assert drain.remaining == 0


async def test_a_notice_cuts_nobody_and_a_drain_after_it_does(autojump_clock):
    drain = Drain()
    member = Member(drain)
    drain.start(10, notice=True)
    assert (drain.draining, drain.deadline, drain.cut) == (True, 10, math.inf)
    drain.start(8)
    assert (drain.deadline, drain.cut) == (8, 8)
    drain.start(20)
    assert (drain.deadline, drain.cut) == (8, 8)
    assert len(member.told_at) == 1


@pytest.mark.parametrize("wrong", WRONG, ids=NAMES)
async def test_a_member_that_raises_is_logged_and_the_others_are_told(autojump_clock, wrong, caplog):
    class Wrong(Member):
        def told(self):
            super().told()
            raise wrong

    drain = Drain()
    members = [Member(drain), Wrong(drain), Wrong(drain), Member(drain)]
    watcher = Wrong(drain)
    drain.leave(watcher)
    drain.watch(watcher)
    drain.start(10)
    assert all(len(member.told_at) == 1 for member in (*members, watcher))
    assert caplog.messages == ["the word of the drain failed with Wrong"] * 3
    assert all(record.exc_info[1] is wrong for record in caplog.records)


async def test_ctrl_c_in_a_member_passes(autojump_clock):
    class Interrupted(Member):
        def told(self):
            raise KeyboardInterrupt

    drain = Drain()
    Interrupted(drain)
    with pytest.raises(KeyboardInterrupt):
        drain.start(10)


async def test_who_watches_for_a_member_is_told_behind_all_members_and_takes_no_row(autojump_clock):
    drain, log = Drain(), []

    class Noting:
        def __init__(self, name):
            self.name = name

        def told(self):
            log.append(self.name)

    members, watchers = [Noting("a"), Noting("b")], [Noting(name) for name in "vwxyz"]
    for member in members:
        drain.join(member)
    for watcher, of in zip(watchers, (members[0], members[0], members[1], None, Noting("nobody")), strict=True):
        drain.watch(watcher, of)
    assert list(drain.members.values()) == [watchers[0], watchers[2]]
    drain.unwatch(watchers[2], members[1])
    drain.unwatch(watchers[2], members[1])
    drain.unwatch(watchers[1], members[0])
    drain.start(5)
    assert log == ["a", "b", "v", "y", "z"]
    drain.leave(members[0])
    drain.unwatch(watchers[0], members[0])
    assert list(drain.members) == [members[1]]


async def test_a_successor_has_the_watcher_of_the_one_before(autojump_clock):
    drain = Drain()
    before, watcher = Member(drain), Member(Drain())
    drain.watch(watcher, before)
    after = Member(Drain())
    drain.replace(before, after)
    assert drain.members == {after: watcher}
