"""How event streams end, by a drain or because the peer leaves: on a virtual clock, every time exact."""

from __future__ import annotations

import math
import re
from collections.abc import AsyncIterator

import pytest
import trio
from event_stream_tools import chunks, drained, ends_cleanly, numbers, silence, streaming, ticks
from sse_tools import Dispatched, Interpreter
from story_tools import GET, SlowStream, open_house, post
from trio.testing import MockClock, wait_all_tasks_blocked

from roadrunner_trio import EventSender, EventStream, Request

KINDS = ["memory", "wire", "tcp"]


# -- the drain -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
async def test_a_drain_ends_the_stream_with_retry(kind: str, autojump_clock: MockClock) -> None:
    async with open_house(streaming(ticks), tcp=True) as house:
        peer = house.meet(kind)
        await peer.say(GET)
        await trio.sleep(2.5)
        start = trio.current_time()
        outcome = await house.listener.drain(grace=10)
        content, retry = await drained(peer)
        assert trio.current_time() - start <= 2  # that the peer closes is waited for, over TCP
        assert [event.data for event in Interpreter().feed(content)] == ["1", "2", "3"]
        assert 1 <= retry <= 3
        assert (outcome.finished, outcome.cut) == (1, 0)
        assert house.listener.info().acknowledged == 1


async def test_retries_are_spread(autojump_clock: MockClock) -> None:
    async with open_house(streaming(silence, drain_retry=10)) as house:
        peers = [house.peer() for _ in range(30)]
        for peer in peers:
            await peer.say(GET)
        await house.listener.drain(grace=10)
        retries = [(await drained(peer))[1] for peer in peers]
    assert all(5 <= retry <= 15 for retry in retries)
    assert len(set(retries)) > 10


async def test_a_drain_without_retry(autojump_clock: MockClock) -> None:
    async with open_house(streaming(silence, drain_retry=None)) as house:
        peer = house.peer()
        await peer.say(GET)
        await house.listener.drain(grace=10)
        await peer.end()
        assert chunks(peer.heard) == b""
        assert ends_cleanly(peer.heard)


async def test_an_iterable_is_closed_by_a_drain(autojump_clock: MockClock) -> None:
    closed: list[float] = []

    async def source() -> AsyncIterator[str]:
        try:
            while True:
                yield "x"
                await trio.sleep(1)
        finally:
            closed.append(trio.current_time())

    async with open_house(streaming(source, call=True)) as house:
        peer = house.peer()
        await peer.say(GET)
        await trio.sleep(0.5)
        start = trio.current_time()
        await house.listener.drain(grace=10)
        await drained(peer)
    assert closed == [start]


async def test_a_channel_is_closed_with_its_stream() -> None:
    put, get = trio.open_memory_channel[str](1)
    put.send_nowait("x")

    async def handler(request: Request) -> EventStream:
        return EventStream(request, get)

    async with open_house(handler) as house:
        peer = house.peer()
        await peer.say(GET)
        assert chunks(peer.heard) == b"data: x\n\n"
        await peer.close()
        with pytest.raises(trio.BrokenResourceError):
            await put.send("y")
    put.close()


async def test_a_source_that_is_told_says_goodbye(autojump_clock: MockClock) -> None:
    async def source(sender: EventSender) -> None:
        await sender.request.drain.started.wait()
        await trio.sleep(2)
        await sender.send("until soon", event="bye")

    async with open_house(streaming(source, drain_grace=5)) as house:
        peer = house.peer()
        await peer.say(GET)
        start = trio.current_time()
        await house.listener.drain(grace=10)
        content, _ = await drained(peer)
        assert content.startswith(b"event: bye\ndata: until soon\n\nretry: ")
        assert peer.times[-1] - start == 2


async def test_a_source_that_does_not_leave_is_ended_after_its_grace(autojump_clock: MockClock) -> None:
    async with open_house(streaming(ticks, drain_grace=2.5, heartbeat=0.4)) as house:
        peer = house.peer()
        await peer.say(GET)
        start = trio.current_time()
        await house.listener.drain(grace=10)
        content, _ = await drained(peer)
        assert peer.times[-1] - start == 2.5
    assert [event.data for event in Interpreter().feed(content)] == ["1", "2", "3"]
    assert content.count(b":\n\n") == 5  # two in each second, and one


@pytest.mark.parametrize(("grace", "end"), [(10, 9.5), (1, 0.75), (0, 0)])
async def test_no_grace_goes_beyond_the_deadline(grace: float, end: float, autojump_clock: MockClock) -> None:
    async with open_house(streaming(ticks, drain_grace=math.inf)) as house:
        peer = house.peer()
        await peer.say(GET)
        start = trio.current_time()
        outcome = await house.listener.drain(grace=grace)
        if grace:
            await drained(peer)
            assert (outcome.finished, outcome.cut) == (1, 0)
        assert peer.times[-1] - start == end


async def test_a_drain_does_not_cut_an_event_in_two(autojump_clock: MockClock) -> None:
    async def source(sender: EventSender) -> None:
        while True:
            await sender.send("x" * 1000)

    async with open_house(streaming(source)) as house:
        peer, stream = house.slow_peer(700)
        await peer.say(GET)
        house.nursery.start_soon(house.listener.drain, 10)
        await trio.sleep(5)
        assert peer.ended_at is None
        stream.grant(100_000)
        content, _ = await drained(peer)
        assert re.fullmatch(rb"(data: x{1000}\n\n)+retry: \d+\n\n", content)


async def test_a_peer_that_takes_nothing_is_cut_at_the_deadline(autojump_clock: MockClock) -> None:
    async def source(sender: EventSender) -> None:
        await sender.send("x" * 1000)

    async with open_house(streaming(source)) as house:
        peer, _ = house.slow_peer(700)
        await peer.say(GET)
        start = trio.current_time()
        outcome = await house.listener.drain(grace=10)
        assert trio.current_time() - start == 10
        assert (outcome.finished, outcome.cut) == (0, 1)


async def test_a_stream_that_begins_in_a_drain_ends_at_once(autojump_clock: MockClock) -> None:
    async def handler(request: Request) -> EventStream:
        await trio.sleep(1)
        return EventStream(request, silence)

    async with open_house(handler) as house:
        peer = house.peer()
        await peer.say(GET)
        house.nursery.start_soon(house.listener.drain, 10)
        await drained(peer)
        assert b"\r\nconnection: close\r\n" in peer.heard
        assert trio.current_time() == 1


async def test_a_notice_ends_streams_and_their_peers_may_come_again(autojump_clock: MockClock) -> None:
    async with open_house(streaming(ticks)) as house:
        peer = house.peer()
        await peer.say(GET)
        house.listener.notify(5)
        await drained(peer)
        peer = house.peer()
        await peer.say(GET)
        await trio.sleep(1.5)
        assert Interpreter().feed(chunks(peer.heard)) == [Dispatched("message", n, n) for n in ("1", "2")]


# -- peers that leave ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
async def test_a_source_is_cancelled_at_once_when_its_peer_closes(kind: str, autojump_clock: MockClock) -> None:
    ended: list[float] = []

    async def source(sender: EventSender) -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.append(trio.current_time())

    async with open_house(streaming(source, heartbeat=None), tcp=True) as house:
        peer = house.meet(kind)
        await peer.say(GET)
        await peer.until(b"\r\n\r\n")
        start = trio.current_time()
        await peer.close()
        while not ended:
            await wait_all_tasks_blocked(0.001)
        assert ended[0] - start < 0.1
        await house.empty()
        assert house.watch.only("exception").outcome == "gone"


async def test_a_peer_that_half_closes_is_asked_and_served_on(autojump_clock: MockClock) -> None:
    async with open_house(streaming(ticks)) as house:
        peer = house.peer()
        await peer.say(GET)
        await peer.finish()
        assert chunks(peer.heard).endswith(b":\n\n")
        await trio.sleep(20.5)
        assert len(Interpreter().feed(chunks(peer.heard))) == 21


async def test_a_reset_in_memory_is_seen_at_the_next_event(autojump_clock: MockClock) -> None:
    async with open_house(streaming(ticks)) as house:
        peer, stream = house.slow_peer(100_000)
        await peer.say(GET)
        await trio.sleep(0.5)
        assert isinstance(stream, SlowStream)
        stream.reset()
        await house.empty()
        assert house.watch.only("exception").outcome == "gone"


async def test_a_source_that_fails_when_it_is_ended_is_heard(caplog: pytest.LogCaptureFixture) -> None:
    async def source(sender: EventSender) -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise KeyError("cleaning up")

    async with open_house(streaming(source)) as house:
        peer = house.peer()
        await peer.say(GET)
        await peer.close()
        await house.empty()
    assert any("KeyError" in str(record.exc_info) for record in caplog.records)


async def test_the_connection_of_a_stream_that_ended_serves_on() -> None:
    async with open_house(streaming(numbers, call=True)) as house:
        peer = house.peer()
        await peer.say(GET + post(b"content-length: 0"))
        assert peer.heard.count(b"data: one") == peer.heard.count(b"\r\n0\r\n\r\n") == 2


@pytest.mark.parametrize("kind", ["head", "gone"])
async def test_a_channel_that_nobody_reads_from_is_closed(kind: str) -> None:
    put, get = trio.open_memory_channel[str](1)

    async def handler(request: Request) -> EventStream:
        if kind == "gone":
            await request.disconnected()
        return EventStream(request, get)

    async with open_house(handler) as house:
        peer = house.peer()
        await peer.say(GET.replace(b"GET", b"HEAD") if kind == "head" else GET)
        await peer.close()
        await house.empty()
        with pytest.raises(trio.BrokenResourceError):
            put.send_nowait("x")
    put.close()
