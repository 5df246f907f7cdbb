"""A request that crosses the word of a drain is answered, if its peer had an answer a moment ago."""

from __future__ import annotations

import math

import pytest
import trio
from story_tools import GET, open_house

import roadrunner_trio as rr
from roadrunner_trio.server.carrier import LATELY

KINDS = pytest.mark.parametrize("kind", ["memory", "wire", "tcp"])
CLOSE = b"connection: close\r\n"


async def answered(house, kind):
    """A peer that has just had an answer."""
    peer = house.meet(kind)
    await peer.say(GET)
    assert CLOSE not in peer.take()
    return peer


@KINDS
@pytest.mark.parametrize("keep_alive", [75, math.inf])
async def test_a_request_that_was_on_its_way_is_answered(kind, keep_alive, autojump_clock):
    async with open_house(tcp=True, timeouts=rr.Timeouts(keep_alive=keep_alive)) as house:
        peer = await answered(house, kind)
        await trio.sleep(LATELY / 5)
        house.listener._start_drain(trio.current_time() + 10)
        await trio.sleep(LATELY / 2)
        await peer.say(GET)
        assert peer.take().startswith(b"HTTP/1.1 200")
        await peer.end()
        assert CLOSE in peer.heard
        assert await house.listener.drain() == rr.Drained(finished=1, cut=0, stuck=0)


@KINDS
async def test_who_says_nothing_has_its_end_in_time(kind, autojump_clock):
    async with open_house(tcp=True) as house:
        peer = await answered(house, kind)
        await trio.sleep(LATELY / 5)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(house.listener.drain)
            await trio.sleep(LATELY / 5)
            await peer.say(b"\r\n")  # an empty line is no request, and moves nothing
            await peer.end()
            assert peer.ended_at == LATELY
            await peer.close()


@KINDS
async def test_who_has_been_idle_for_longer_ends_at_once(kind, autojump_clock):
    async with open_house(tcp=True) as house:
        peer = await answered(house, kind)
        await trio.sleep(LATELY)
        house.listener._start_drain(trio.current_time() + 10)
        await peer.end()
        assert peer.ended_at == LATELY


@KINDS
async def test_a_drain_without_so_much_time_ends_all_at_once(kind, autojump_clock):
    async with open_house(tcp=True) as house:
        peer = await answered(house, kind)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.end)
            outcome = await house.listener.drain(LATELY / 2)
        assert (peer.ended_at, outcome.cut, outcome.stuck) == (0, 0, 0)


async def test_one_that_has_been_woken_has_had_its_time(autojump_clock):
    async with open_house(tcp=True, timeouts=rr.Timeouts(park_after=1)) as house:
        peer = await answered(house, "tcp")
        await trio.sleep(5)
        await peer.say(b"\r\n")
        house.listener._start_drain(trio.current_time() + 10)
        await peer.end()
        assert peer.ended_at == 5
