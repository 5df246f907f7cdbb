"""Idle connections without a task: what is left of them is served, counted, told of and ended like any other."""

from __future__ import annotations

import socket

import pytest
import trio
from dormitory_tools import note_fates, parked, tasks
from presence_tools import meet, needs_poller, reset
from story_tools import GET, answer, hello, last_word, loud, open_house
from trio.testing import wait_all_tasks_blocked

import roadrunner_trio as rr
from roadrunner_trio.server import spares
from roadrunner_trio.server.carrier import Fate
from roadrunner_trio.server.spares import KEPT
from roadrunner_trio.transport.phases import Phase

pytestmark = needs_poller

KINDS = pytest.mark.parametrize("kind", ["tcp", "unix"])
AGAIN = pytest.mark.parametrize("time", range(8))
"""Of what happens in one tick: Trio takes the tasks of a tick in an order of chance."""


async def rest(house, kind="tcp", says=GET):
    """A peer whose connection has just been parked."""
    peer = meet(house, kind)
    await peer.say(says)
    peer.take()
    await trio.sleep(5)
    await wait_all_tasks_blocked()
    assert (parked(house), tasks(house)) == (1, [])
    slot = house.listener._members()[-1]
    assert (slot.phase, slot.task, slot.streams, slot.since) == (Phase.IDLE, None, 0, trio.current_time() - 5)
    return peer


@KINDS
async def test_after_its_time_an_idle_connection_has_no_task_and_is_there_as_before(kind, autojump_clock, caplog):
    async with open_house(tcp=True) as house:
        peer = meet(house, kind)
        await peer.say(GET)
        await trio.sleep(4.999)
        [before] = house.listener.connections()
        assert (parked(house), len(tasks(house))) == (0, 1)
        await trio.sleep(0.001)
        await wait_all_tasks_blocked()
        assert (parked(house), tasks(house)) == (1, [])
        [after] = house.listener.connections()
        assert after.task is None
        assert (before.peer, before.protocol, before.requests) == (after.peer, after.protocol, after.requests)
        assert (after.phase, after.age, after.deadline, after.doing) == ("idle", 5, 70, "")
        info = house.listener.info()
        assert (info.active, info.accepted, info.requests) == (1, 1, 1)
        assert (house.listener.phases(), house.listener.in_hand) == ({"idle": 1}, 0)
        assert house.watch.names() == ["accept", "start", "stop"]
        assert peer.ended_at is None
    assert loud(caplog) == []


@pytest.fixture
def fates(monkeypatch):
    """What has become of connections whose tasks have ended."""
    return note_fates(monkeypatch)


@pytest.fixture
def none_kept(monkeypatch):
    """No task rests: each wake begins one."""
    monkeypatch.setattr(spares, "KEPT", 0)


async def wake_and_rest(house, peer):
    """Three more requests, between which the connection is parked, and a last one."""
    for count in range(2, 5):
        await trio.sleep(20)
        await peer.say(GET)
        assert peer.take() == answer(b"hi")
        assert (parked(house), len(tasks(house))) == (0, 1)
        [info] = house.listener.connections()
        assert (info.requests, info.deadline, info.age) == (count, 75, trio.current_time())
        await trio.sleep(5)
        await wait_all_tasks_blocked()
        assert (parked(house), tasks(house)) == (1, [])
    await peer.say(GET.replace(b"Host: h", b"Host: h\r\nConnection: close"))
    await peer.end()


@KINDS
async def test_what_comes_wakes_it_into_a_task_that_rests(kind, autojump_clock, fates):
    async with open_house(tcp=True) as house:
        await wake_and_rest(house, await rest(house, kind))
        assert fates == []
        assert await house.listener.drain() == rr.Drained(0, 0, 0)
    assert fates == [Fate.PARKED]
    assert house.watch.names() == ["accept", *["start", "stop"] * 5, "close"]
    assert house.watch.only("close").requests == 5


@KINDS
async def test_or_into_a_new_one(kind, autojump_clock, fates, none_kept):
    async with open_house(tcp=True) as house:
        await wake_and_rest(house, await rest(house, kind))
        assert fates == [Fate.PARKED] * 4 + [Fate.CLOSED]
    assert house.watch.names() == ["accept", *["start", "stop"] * 5, "close"]


async def test_so_many_tasks_are_kept_and_end_with_a_drain(autojump_clock, fates):
    async with open_house(tcp=True) as house:
        peers = [house.tcp_peer() for _ in range(KEPT + 10)]
        for peer in peers:
            await peer.say(GET)
        await trio.sleep(6)
        assert (parked(house), len(fates)) == (KEPT + 10, 10)
        for peer in peers:
            peer.slip(GET)
        await wait_all_tasks_blocked()
        assert {peer.heard.count(b"200 OK") for peer in peers} == {2}
        assert len(tasks(house)) == KEPT + 10
        await trio.sleep(6)
        assert (parked(house), len(fates)) == (KEPT + 10, 20)
        assert await house.listener.drain() == rr.Drained(finished=KEPT + 10, cut=0, stuck=0)
        assert trio.current_time() == 12
    assert len(fates) == KEPT + 20


async def test_nothing_of_one_peer_is_told_to_the_next_in_its_task(autojump_clock):
    """Who asks, where, by which scheme and behind which proxy; what the application has kept for its connection."""
    seen = []

    class App:
        def plan(self, request):
            return rr.Plan()

        async def __call__(self, exchange):
            request = exchange.request
            seen.append((request.peer, exchange.local, exchange.memo, request.scheme, request.proxy))
            exchange.memo = request.peer
            await exchange.respond(200, (), b"hi")

    async with open_house(App(), tcp=True) as house:
        first, second = house.tcp_peer(), meet(house, "unix")
        await first.say(GET + b"\r\n")  # an empty line, of which each may send one
        await trio.sleep(6)
        await second.say(GET)
        await trio.sleep(6)
        assert parked(house) == 2
        for peer in (second, first, second):
            await peer.say(b"\r\n" + GET)
            assert peer.heard.endswith(b"hi")
            await trio.sleep(6)
        assert len({local for _, local, *_ in seen}) == 2
        assert [(peer, local) for peer, local, *_ in seen[1:]] == [seen[at][:2] for at in (1, 1, 0, 1)]
        assert [memo for *_, memo, _, _ in seen[:2]] == [None, None]
        assert {memo for *_, memo, _, _ in seen[2:]} == {None}
        names = [task.name for task in house.listener._connections.child_tasks]
        assert sum("at rest" in name for name in names) == 2


@KINDS
async def test_its_time_is_up_at_the_same_moment(kind, autojump_clock):
    async with open_house(tcp=True) as house:
        peer = await rest(house, kind)
        await trio.sleep(10)
        await peer.say(GET)
        assert await peer.end() == answer(b"hi")
        assert peer.ended_at == 15 + 75
        assert house.active == 0
    assert house.watch.only("close").duration == 90


async def test_one_that_never_said_anything_may_rest_too(autojump_clock):
    async with open_house(tcp=True) as house:
        peer = await rest(house, says=b"")
        [info] = house.listener.connections()
        assert (info.requests, info.deadline) == (0, 25)
        await trio.sleep(5)
        await peer.say(GET)
        assert peer.take() == answer(b"hi")
        silent = house.tcp_peer()
        await silent.end()
        assert silent.ended_at == 10 + 30
        assert house.watch.names() == ["accept", "start", "stop", "accept", "close"]


@pytest.mark.parametrize("park_after", [None, "none", 75, 100])
async def test_it_can_be_left_awake(park_after, autojump_clock):
    async with open_house(tcp=True, timeouts=rr.Timeouts(park_after=park_after)) as house:
        peer = house.tcp_peer()
        await peer.say(GET)
        await trio.sleep(74)
        assert len(tasks(house)) == 1
        await peer.end()
        assert peer.ended_at == 75


@pytest.mark.parametrize("kind", ["memory", "wire"])
async def test_what_nobody_watches_stays_awake(kind, autojump_clock):
    async with open_house() as house:
        peer = house.meet(kind)
        await peer.say(GET)
        await trio.sleep(70)
        assert (parked(house), len(tasks(house))) == (0, 1)
        await peer.end()
        assert peer.ended_at == 75


# The peer that leaves


@KINDS
@pytest.mark.parametrize("how", ["finish", "close"])
async def test_a_peer_that_leaves_is_gone_at_once_and_without_a_task(kind, how, autojump_clock, monkeypatch):
    async with open_house(tcp=True) as house:
        peer = await rest(house, kind)
        monkeypatch.setattr(house.listener._dormitory, "start", None)
        await getattr(peer, how)()
        await house.empty()
        assert (parked(house), trio.current_time()) == (0, 5)


async def test_so_is_one_that_resets(autojump_clock, monkeypatch, caplog):
    async with open_house(tcp=True) as house:
        peer = await rest(house)
        monkeypatch.setattr(house.listener._dormitory, "start", None)
        await reset(peer)
        assert (await house.empty(), parked(house)) == (5, 0)
        assert house.listener.info().aborted == 0
    assert loud(caplog) == []


@KINDS
async def test_one_that_ends_behind_a_request_is_answered(kind, autojump_clock):
    async with open_house(tcp=True) as house:
        peer = await rest(house, kind)
        peer.slip(GET)
        await peer.finish()
        assert await peer.end() == answer(b"hi")
        assert trio.current_time() == 5


# What is not a request


async def test_a_head_that_begins_has_its_time(autojump_clock):
    async with open_house(tcp=True, limits=rr.Limits(min_bytes_per_second=0)) as house:
        peer = await rest(house)
        await trio.sleep(60)
        await peer.say(GET[:5])
        assert house.phases() == ["reading a request"]
        assert await peer.end() == last_word(b"408 Request Timeout")
        assert peer.ended_at == 65 + 30


async def test_an_empty_line_moves_no_deadline_and_it_rests_again(autojump_clock):
    async with open_house(tcp=True) as house:
        peer = await rest(house)
        for _ in range(3):
            await trio.sleep(10)
            await peer.say(b"\r\n")
            assert (parked(house), len(tasks(house))) == (0, 1)
            await trio.sleep(5)
            await wait_all_tasks_blocked()
            assert (parked(house), tasks(house)) == (1, [])
        await peer.end()
        assert peer.ended_at == 75


async def test_half_an_empty_line_keeps_it_awake(autojump_clock):
    async with open_house(tcp=True) as house:
        peer = house.tcp_peer()
        await peer.say(GET + b"\r")
        await trio.sleep(30)
        assert (parked(house), house.phases()) == (0, ["idle"])
        peer.take()
        await peer.say(b"\n" + GET)
        assert peer.take() == answer(b"hi")


async def test_urgent_data_keeps_it_awake_and_wakes_it(autojump_clock):
    async with open_house(tcp=True) as house:
        peer = await rest(house)
        peer.stream.socket.send(b"G", socket.MSG_OOB)
        await wait_all_tasks_blocked()
        assert len(tasks(house)) == 1
        await peer.say(GET[1:])
        assert peer.take() == answer(b"hi")
        await trio.sleep(30)
        assert (parked(house), house.phases()) == (0, ["idle"])


# Drains


@KINDS
async def test_a_drain_ends_it_on_the_spot(kind, autojump_clock):
    async with open_house(tcp=True) as house:
        peer = await rest(house, kind)
        house.listener._start_drain(trio.current_time() + 10)
        assert (house.active, parked(house)) == (0, 0)
        assert house.listener.info().cut == 0
        await peer.end()
        assert trio.current_time() == 5


@KINDS
@pytest.mark.parametrize("word", ["drain", "notify"])
async def test_a_request_in_its_socket_comes_before_a_drain(kind, word, autojump_clock):
    async with open_house(tcp=True) as house:
        peer = await rest(house, kind)
        peer.slip(GET)
        if word == "drain":
            house.listener._start_drain(trio.current_time() + 10)
        else:
            house.listener.notify()
        assert await peer.end() == answer(b"hi", b"connection: close")
        await house.empty()
        assert house.watch.only("close").requests == 2


async def test_a_notice_ends_it_and_those_who_come_later_rest(autojump_clock):
    async with open_house(tcp=True) as house:
        first = await rest(house)
        house.listener.notify()
        await first.end()
        assert (trio.current_time(), house.active) == (5, 0)
        second = await rest(house)
        outcome = await house.listener.drain()
        await second.end()
        assert outcome == rr.Drained(finished=1, cut=0, stuck=0)
        assert trio.current_time() == 10


async def test_a_newborn_has_its_second_though_it_rests(autojump_clock):
    async with open_house(tcp=True, timeouts=rr.Timeouts(park_after=0.25)) as house:
        newborn, silent = house.tcp_peer(), house.tcp_peer()
        await trio.sleep(0.5)
        assert parked(house) == 2
        house.listener._start_drain(10)
        await trio.sleep(0.25)
        await newborn.say(GET)
        assert await newborn.end() == answer(b"hi", b"connection: close")
        await silent.end()
        assert silent.ended_at == 1


async def test_a_cancellation_closes_all(autojump_clock):
    async with open_house(tcp=True) as house:
        peers = [meet(house, kind) for kind in ("tcp", "unix") for _ in range(5)]
        for peer in peers:
            await peer.say(GET)
        await trio.sleep(6)
        assert parked(house) == 10
        [nursery] = [house.listener._connections]
        nursery.cancel_scope.cancel()
        for peer in peers:
            await peer.end()
        assert (trio.current_time(), house.active, parked(house)) == (6, 0, 0)


# Places


@KINDS
async def test_it_makes_room_in_its_turn(kind, autojump_clock):
    async with open_house(hello, tcp=True, evict_idle=True, limits=rr.Limits(max_connections=3)) as house:
        peers = []
        for _ in range(3):
            peers.append(meet(house, kind))
            await peers[-1].say(GET)
            await trio.sleep(2)
        assert (parked(house), house.active) == (1, 3)
        peers[0].take()
        await peers[0].say(GET)
        await trio.sleep(1.5)
        assert parked(house) == 1
        for oldest in (peers[1], peers[2], peers[0]):
            newcomer = meet(house, kind)
            await newcomer.say(GET)
            assert newcomer.take() == answer(b"hi")
            assert oldest.ended_at == trio.current_time()
            await trio.sleep(2)
        assert house.listener.info().evicted == 3


async def test_who_was_found_idle_keeps_its_turn_when_it_is_parked(autojump_clock):
    """The connections that may make room are looked at once and used up; some fall asleep in between."""
    async with open_house(hello, tcp=True, evict_idle=True, limits=rr.Limits(max_connections=3)) as house:
        peers = []
        for _ in range(3):
            peers.append(house.tcp_peer())
            await peers[-1].say(GET)
            await trio.sleep(1)
        newcomers = [house.tcp_peer()]
        await wait_all_tasks_blocked()
        assert peers[0].ended_at == 3
        await trio.sleep(3.5)
        assert parked(house) == 1
        newcomers.append(house.tcp_peer())
        await wait_all_tasks_blocked()
        assert [peer.ended_at for peer in peers] == [3, 6.5, None]


async def test_not_while_a_request_is_in_its_socket(autojump_clock):
    async with open_house(hello, tcp=True, evict_idle=True, limits=rr.Limits(max_connections=1)) as house:
        peer = await rest(house)
        peer.slip(GET)
        assert not house.listener._places._make_room(house.listener._places._all)
        await wait_all_tasks_blocked()
        assert peer.take() == answer(b"hi")


async def test_its_place_is_one_of_its_peers(autojump_clock):
    limits = rr.Limits(max_connections_per_peer=1)
    async with open_house(tcp=True, limits=limits) as house:
        peer = await rest(house)
        house.tcp_peer()
        await wait_all_tasks_blocked()
        assert (house.active, house.listener.info().rejected) == (1, 1)
        await peer.close()
        assert house.active == 0
        again = house.tcp_peer()
        await again.say(GET)
        assert again.take() == answer(b"hi")


# In one tick


@AGAIN
@pytest.mark.parametrize("at", [5, 75])
async def test_a_request_in_the_tick_of_the_clock_is_answered(at, time, autojump_clock):
    """When it is about to be parked, and when its time is up."""
    async with open_house(tcp=True) as house:
        peer = house.tcp_peer()
        await peer.say(GET)
        peer.take()
        await trio.sleep(at)
        peer.slip(GET)
        await wait_all_tasks_blocked()
        if peer.ended_at is None:
            assert await peer.until(b"hi") == answer(b"hi")
        else:
            assert (at, peer.heard.count(b"HTTP/1.1")) == (75, 1), "the clock was first"


@AGAIN
@pytest.mark.parametrize("at", [5, 75])
async def test_a_drain_in_the_tick_of_the_clock_leaves_nothing(at, time, autojump_clock):
    async with open_house(tcp=True) as house:
        peer = house.tcp_peer()
        await peer.say(GET)
        await trio.sleep(at)
        house.listener._start_drain(at + 10)
        await peer.end()
        await house.empty()
        assert (trio.current_time() <= at + 2, parked(house)) == (True, 0)


@AGAIN
async def test_a_wake_a_drain_and_a_cancellation_in_one_tick(time, autojump_clock):
    async with open_house(tcp=True) as house:
        peers = [house.tcp_peer() for _ in range(6)]
        for peer in peers:
            await peer.say(GET)
        await trio.sleep(5)
        for peer in peers[::2]:
            peer.slip(GET)
        house.listener._start_drain(trio.current_time() + 10)
        house.listener._connections.cancel_scope.cancel()
        for peer in peers:
            await peer.end()
        assert (house.active, parked(house)) == (0, 0)


async def test_times_and_wakes_leave_nothing_behind(autojump_clock):
    """Neither in the heap of deadlines nor with the poller; nor in the clock, but one timer."""
    async with open_house(tcp=True) as house:
        peer = house.tcp_peer()
        for _ in range(300):
            await peer.say(GET)
            await trio.sleep(6)
            assert parked(house) == 1
        dormitory, context = house.listener._dormitory, house.listener._context
        assert len(dormitory._due) <= 67
        assert sum(each is not None for each in context.poller._watched) == 1
        assert len(context.clock) <= 130
        await peer.close()
        await trio.sleep(80)
        assert (len(dormitory._due), len(context.clock), dormitory.deadline) == (0, 0, float("inf"))
