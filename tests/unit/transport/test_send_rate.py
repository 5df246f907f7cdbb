"""The least rate at which a peer has to take its response."""

from __future__ import annotations

import math

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from story_tools import GET, loud, open_house
from trio.testing import wait_all_tasks_blocked

import roadrunner_trio as rr
from roadrunner_trio.transport.streams import SEND_GRACE, SendMeter


async def pieces(request: rr.Request) -> rr.StreamResponse:
    async def produce(send: rr.Send) -> None:
        for _ in range(1000):
            await send(b"x" * 100)

    return rr.StreamResponse(produce)


async def test_small_pieces_taken_one_before_each_timeout_are_cut_all_the_same(autojump_clock, caplog):
    """Each wait is shorter than the write timeout; together they are a peer that holds a handler for hours."""
    limits = rr.Limits(min_send_rate=10)
    async with open_house(pieces, timeouts=rr.Timeouts(write=20), limits=limits) as house:
        peer, stream = house.slow_peer(0)
        await peer.say(GET)
        while house.active:
            await trio.sleep(15)
            stream.grant(106)  # a chunk: 7 octets a second
            await wait_all_tasks_blocked()
            assert trio.current_time() < 200
    assert house.watch.only("exception").outcome == "timeout"
    assert loud(caplog) == []


@pytest.mark.parametrize("rate", [0, 7])
async def test_who_keeps_up_with_the_rate_is_served_for_as_long_as_it_takes(rate, autojump_clock):
    limits = rr.Limits(min_send_rate=rate)
    async with open_house(pieces, timeouts=rr.Timeouts(write=20), limits=limits) as house:
        peer, stream = house.slow_peer(0)
        await peer.say(GET)
        for _ in range(100):
            await trio.sleep(15)
            stream.grant(106)
        assert house.active == 1
        stream.grant(10**9)
        await wait_all_tasks_blocked()
        assert peer.heard.endswith(b"0\r\n\r\n")


async def test_who_was_fast_may_not_be_slow_for_long(autojump_clock):
    """A megabyte at once is no credit for hours."""

    async def two(request: rr.Request) -> rr.StreamResponse:
        async def produce(send: rr.Send) -> None:
            await send(bytes(1_000_000))
            for _ in range(100):
                await send(b"x" * 10)

        return rr.StreamResponse(produce)

    async with open_house(two, timeouts=rr.Timeouts(write=20), limits=rr.Limits(min_send_rate=10)) as house:
        peer, stream = house.slow_peer(1_000_200)
        await peer.say(GET)
        stream.room = 0
        while house.active:
            await trio.sleep(10)
            stream.grant(16)
            await wait_all_tasks_blocked()
            assert trio.current_time() < 100


@pytest.mark.parametrize("write", [5, math.inf])
async def test_one_wait_is_bounded_by_the_write_timeout_or_by_the_rate(write, autojump_clock):
    async def handler(request: rr.Request) -> rr.Response:
        return rr.Response(bytes(1000))

    limits = rr.Limits(min_send_rate=100)
    async with open_house(handler, timeouts=rr.Timeouts(write=write), limits=limits) as house:
        peer, _ = house.slow_peer(0)
        await peer.say(GET)
        end = await house.empty()
        head = len(b"HTTP/1.1 200 OK\r\ndate: Thu, 01 Jan 1970 00:00:00 GMT\r\ncontent-length: 1000\r\n\r\n")
        assert end == (5 if write == 5 else pytest.approx(SEND_GRACE + (1000 + head) / 100))


@given(
    st.lists(st.tuples(st.integers(0, 10**6), st.floats(0, 100)), max_size=30), st.integers(1, 10**5), st.floats(1, 60)
)
def test_the_balance_is_never_above_the_grace(takes, least, grace):
    meter, sent = SendMeter(least, grace), 0
    for octets, seconds in takes:
        assert meter.allowance(sent, octets) <= min(grace, SEND_GRACE) + octets / least + 1e-6
        meter.took(octets, seconds)
        sent += octets
        assert meter.balance <= min(grace, SEND_GRACE)


def test_the_next_response_of_a_connection_begins_with_what_was_sent_of_it():
    meter = SendMeter(10, 30)
    meter.balance = 0.0
    assert meter.allowance(100, 10) == 10 + 1
    meter.balance = 0.0
    assert meter.allowance(40, 10) == 4 + 1, "another response, of which 40 octets have gone"
    assert SendMeter(0, 30).allowance(5, 5) == math.inf
