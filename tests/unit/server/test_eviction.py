"""At the cap the connection that has kept the server waiting for longest makes room, if that is wished."""

from __future__ import annotations

import math
from typing import Any

import pytest
import trio
from story_tools import GET, answer, last_word, open_house
from trio.testing import wait_all_tasks_blocked

import roadrunner_trio as rr


async def handler(request: rr.Request) -> rr.Response:
    if request.path == "/stay":
        await trio.sleep_forever()
    return rr.Response("hi")


POST = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10000\r\n\r\n"
STAY = b"GET /stay HTTP/1.1\r\nHost: h\r\n\r\n"


def house_of(size: int, **settings: Any) -> Any:
    return open_house(handler, evict_idle=True, limits=rr.Limits(max_connections=size), **settings)


@pytest.mark.parametrize("kind", ["memory", "wire"])
async def test_the_one_that_has_been_idle_for_longest_makes_room(kind, autojump_clock):
    async with house_of(3) as house:
        peers = []
        for _ in range(3):
            peers.append(house.meet(kind))
            await wait_all_tasks_blocked()
            await trio.sleep(1)
        await peers[0].say(GET)  # the first is now the last
        await trio.sleep(1)
        for oldest in (peers[1], peers[2], peers[0]):
            newcomer = house.meet(kind)
            await newcomer.say(GET)
            assert newcomer.take() == answer(b"hi")
            assert oldest.ended_at == trio.current_time()
            assert house.active == 3
        info = house.listener.info()
        assert (info.evicted, info.rejected, info.accepted) == (3, 0, 6)
    assert b"408" not in peers[1].heard + peers[2].heard, "nothing is said to them"


async def test_who_is_busy_or_young_does_not(autojump_clock):
    async with house_of(3) as house:
        in_handler, young = house.peer(), house.peer()
        await in_handler.say(STAY)
        await trio.sleep(5)
        slow, _ = house.slow_peer(0)
        await slow.say(GET)
        assert house.active == 3
        await young.say(GET)
        young.take()
        await trio.sleep(0.9)
        house.peer()
        await wait_all_tasks_blocked()
        assert house.listener.info().rejected == 1
        assert house.listener.info().evicted == 0
        await trio.sleep(0.1)
        newcomer = house.peer()
        await newcomer.say(GET)
        assert newcomer.take() == answer(b"hi")
        assert young.ended_at == trio.current_time()
        assert in_handler.ended_at is slow.ended_at is None


@pytest.mark.parametrize("kind", ["memory", "wire"])
@pytest.mark.parametrize("data", [GET[:1], POST, POST + b"x" * 1500])
async def test_who_is_stuck_in_a_head_or_a_body_makes_room_too(kind, data, autojump_clock):
    """And is told, as if the time for it had run out."""
    async with house_of(2) as house:
        stuck, idle = house.meet(kind), house.meet(kind)
        await stuck.say(data)
        await trio.sleep(1)
        await idle.say(GET)
        await trio.sleep(0.5)
        for oldest in (stuck, idle):
            await trio.sleep(1)
            newcomer = house.meet(kind)
            await newcomer.say(STAY)
            assert newcomer.ended_at is None
            assert oldest.ended_at == trio.current_time()
        assert stuck.take() == last_word(b"408 Request Timeout")
        info = house.listener.info()
        assert (info.evicted, info.rejected, info.aborted) == (2, 0, 1)


async def test_a_body_that_an_honest_peer_may_send_goes_on(autojump_clock):
    async with house_of(1) as house:
        peer = house.peer()
        await peer.say(POST)
        for _ in range(3):
            await peer.say(b"x" * 1024)
            await trio.sleep(1)
        house.peer()
        await wait_all_tasks_blocked()
        assert house.listener.info().rejected == 1
        await trio.sleep(0.1)
        await house.peer().say(STAY)
        assert peer.ended_at is None, "nobody is looked at again before a second is over"
        await trio.sleep(0.9)
        await house.peer().say(STAY)
        assert peer.ended_at == trio.current_time()


async def test_who_has_a_request_in_the_socket_does_not(autojump_clock):
    async with house_of(2) as house:
        first, second = house.wire_peer(), house.wire_peer()
        await wait_all_tasks_blocked()
        await trio.sleep(2)
        first.slip(GET)
        newcomer = house.wire_peer()
        await newcomer.say(GET)
        assert (first.take(), newcomer.take()) == (answer(b"hi"), answer(b"hi"))
        assert first.ended_at is None
        assert second.ended_at == trio.current_time()


async def test_when_nobody_can_newcomers_are_turned_away_and_nobody_is_looked_at_in_vain(autojump_clock, monkeypatch):
    async with house_of(2) as house:
        looks = []
        evictions = house.listener._places._all
        members = evictions._members
        monkeypatch.setattr(evictions, "_members", lambda: looks.append(trio.current_time()) or members())
        for _ in range(2):
            await house.peer().say(STAY)
        for _ in range(10):
            house.peer()
            await wait_all_tasks_blocked()
        assert looks == [0]
        await trio.sleep(1)
        house.peer()
        await wait_all_tasks_blocked()
        assert looks == [0, 1]
        assert house.listener.info().rejected == 11


async def test_without_deadlines_the_oldest_goes(autojump_clock):
    timeouts = rr.Timeouts(request=math.inf, keep_alive=math.inf)
    async with house_of(2, timeouts=timeouts) as house:
        first = house.peer()
        await trio.sleep(1)
        second = house.peer()
        await trio.sleep(1)
        await house.peer().say(GET)
        assert first.ended_at == 2
        assert second.ended_at is None


async def test_a_drain_finds_nobody_to_evict(autojump_clock):
    async with house_of(1) as house:
        peer = house.peer()
        await trio.sleep(2)
        house.listener.notify()
        assert not house.listener._places._all.make_room()
        await wait_all_tasks_blocked()
        assert peer.ended_at == 2


async def test_by_default_the_newcomer_is_turned_away(autojump_clock):
    async with open_house(handler, limits=rr.Limits(max_connections=1)) as house:
        peer = house.peer()
        await trio.sleep(10)
        house.peer()
        await wait_all_tasks_blocked()
        assert peer.ended_at is None
        assert house.listener.info().rejected == 1
