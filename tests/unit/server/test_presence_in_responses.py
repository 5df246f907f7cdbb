"""A peer that leaves while its response is written, or whose handler wants to know or to finish something."""

from __future__ import annotations

import pytest
import trio
from presence_tools import Work, gone, needs_poller, reset, slow_tcp_peer
from story_tools import GET, Peer, answer, loud, open_house, post

import roadrunner_trio as rr

pytestmark = needs_poller


def streaming(*steps: float, size: int = 5):
    """A handler whose content comes after these times."""

    async def produce(send):
        for step in steps:
            await trio.sleep(step)
            await send(b"x" * size)

    async def handler(request):
        return rr.StreamResponse(produce)

    return handler


@pytest.mark.parametrize(("leave", "seconds"), [(Peer.close, 5), (Peer.finish, 5), (reset, 0)])
async def test_a_silent_stream(leave, seconds, autojump_clock):
    async with open_house(streaming(100), tcp=True) as house:
        peer = house.tcp_peer()
        await peer.say(GET)
        await leave(peer)
        assert await house.empty() == seconds
        event = gone(house)
        assert (event.status, event.phase, event.kind) == (200, "response", "stream")
        if leave is Peer.finish:
            assert b"0\r\n\r\n" not in await peer.end(), "it is cut visibly"


async def test_a_stream_to_who_only_half_closed_goes_on_while_it_is_sent(autojump_clock):
    async with open_house(streaming(*[4] * 10), tcp=True) as house:
        peer = house.tcp_peer()
        await peer.say(GET)
        await peer.finish()
        assert (await peer.end()).endswith(b"5\r\nxxxxx\r\n0\r\n\r\n")
        assert trio.current_time() == 40


async def test_and_not_when_it_falls_silent(autojump_clock):
    async with open_house(streaming(4, 100), tcp=True) as house:
        peer = house.tcp_peer()
        await peer.say(GET)
        await peer.finish()
        assert await house.empty() == 10, "looked at every grace"
        assert gone(house).sent == 5


async def test_a_stream_to_who_closed_meets_the_reset(autojump_clock):
    async with open_house(streaming(1, 100), tcp=True) as house:
        peer = house.tcp_peer()
        await peer.say(GET)
        await peer.close()
        assert await house.empty() == 1
        assert gone(house).sent == 5


async def test_a_large_response_to_who_half_closed_has_the_write_timeout(autojump_clock):
    async with open_house(lambda request: hello_large(request), tcp=True) as house:
        peer = slow_tcp_peer(house)
        await peer.say(GET)
        await peer.finish()
        await trio.sleep(25)
        assert house.phases() == ["writing to a slow peer"]
        house.nursery.start_soon(house._attend, peer)
        assert len(await peer.end()) > LARGE


LARGE = 16_000_000


async def hello_large(request):
    return rr.Response(bytes(LARGE))


async def test_a_write_under_way_meets_the_reset_itself(autojump_clock):
    failed = []

    class Failed(rr.Observer):
        def response_send_failed(self, event):
            failed.append(event.phase)

    async with open_house(hello_large, tcp=True, observers=[Failed()]) as house:
        peer = slow_tcp_peer(house)
        await peer.say(GET)
        assert house.phases() == ["writing to a slow peer"]
        await reset(peer)
        assert house.active == 0
        event = house.watch.only("exception")
        assert (event.outcome, event.phase, type(event.error)) == ("gone", "response", rr.PeerGone)
        assert failed == ["buffered_response"]


async def test_who_outlives_a_failed_write_is_cancelled_after_the_grace(autojump_clock):
    async def produce(send):
        with pytest.raises(rr.PeerGone):
            await send(bytes(LARGE))
        await trio.sleep_forever()

    async def handler(request):
        return rr.StreamResponse(produce)

    async with open_house(handler, tcp=True) as house:
        peer = slow_tcp_peer(house)
        await peer.say(GET)
        await reset(peer)
        assert await house.empty() == 5
        gone(house)


class Room:
    """A loop response, and what it was told when."""

    def __init__(self, busy: float = 0) -> None:
        self.busy = busy
        self.told: list[tuple[str, float]] = []
        self.put: trio.MemorySendChannel[str] | None = None

    async def __call__(self, request):
        self.put, messages = trio.open_memory_channel(10)
        return rr.LoopResponse(messages, self.on_message)

    async def on_message(self, message, send):
        self.told.append((type(message).__name__, trio.current_time()))
        await trio.sleep(self.busy)


@pytest.mark.parametrize("leave", [Peer.close, Peer.finish, reset])
async def test_a_loop_gets_its_last_message_at_once(leave, autojump_clock, caplog):
    room = Room()
    async with open_house(room, tcp=True) as house:
        peer = house.tcp_peer()
        await peer.say(GET)
        await trio.sleep(3)
        await leave(peer)
        assert room.told == [("Disconnected", 3)]
        assert house.active == 0
        assert house.watch.only("exception").outcome == "gone"
        with pytest.raises(trio.BrokenResourceError):
            room.put.send_nowait("to nobody")
    assert loud(caplog) == []


@pytest.mark.parametrize("leave", [Peer.close, Peer.finish, reset])
async def test_a_loop_that_is_busy_has_the_grace_for_it(leave, autojump_clock):
    room = Room(busy=4)
    async with open_house(room, tcp=True) as house:
        peer = house.tcp_peer()
        await peer.say(GET)
        room.put.send_nowait("work")
        await trio.sleep(1)
        await leave(peer)
        assert await house.empty() == 6
        assert room.told == [("str", 0), ("Disconnected", 4)]
        gone(house)


# What handlers can do about it


async def test_a_critical_part_is_finished_and_nothing_is_written(autojump_clock):
    work = Work(3, shield=10)
    async with open_house(work, tcp=True) as house:
        peer = house.tcp_peer()
        await peer.say(GET)
        await trio.sleep(1)
        await reset(peer)
        assert await house.empty() == 3
        assert (work.done, work.cancelled) == ([3], [])
        assert house.watch.only("exception").outcome == "gone"


async def test_who_swallows_the_cancellation_cannot_answer_either(autojump_clock, caplog):
    async def handler(request):
        try:
            await trio.sleep_forever()
        except trio.Cancelled:  # which nobody should do
            raise rr.HTTPError(400) from None

    async with open_house(handler, tcp=True) as house:
        peer = house.tcp_peer()
        await peer.say(GET)
        await peer.finish()
        assert await peer.end() == b""
        assert house.watch.only("exception").outcome == "gone"
    assert loud(caplog) == []


@pytest.mark.parametrize("leave", [Peer.finish, reset])
async def test_who_waits_for_the_end_learns_of_it_before_it_is_cancelled(leave, autojump_clock):
    noted = []

    async def handler(request):
        await request.disconnected()
        noted.append(trio.current_time())
        await trio.sleep_forever()

    async with open_house(handler, tcp=True) as house:
        peer = house.tcp_peer()
        await peer.say(GET)
        await trio.sleep(2)
        await leave(peer)
        assert await house.empty() == (7 if leave is Peer.finish else 2)
        assert noted == [2]


@pytest.mark.parametrize("size", [100_000, 10_000_000])
async def test_an_end_behind_more_than_is_read_ahead_is_noticed(size, autojump_clock):
    noted = []

    async def handler(request):
        await request.disconnected()
        noted.append(request)
        return rr.Response("left")

    body = post(b"Content-Length: %d" % size, body=b"x" * 100_000)
    async with open_house(handler, tcp=True, body="streaming", timeouts=rr.Timeouts(linger=1)) as house:
        peer = house.tcp_peer()
        await peer.say(body)
        assert noted == []
        await peer.finish()
        assert len(noted) == 1
        assert await peer.end() == answer(b"left")


async def test_waiting_for_the_end_takes_nothing_from_the_kernel(autojump_clock):
    async def handler(request):
        with trio.move_on_after(1):
            await request.disconnected()
        return rr.Response(await request.read())

    async with open_house(handler, tcp=True, body="streaming") as house:
        peer = house.tcp_peer()
        await peer.say(post(b"Content-Length: 5"))
        await peer.say(b"12345" + GET[:5])
        [conn] = house.listener._members()
        assert conn.exchange.engine.buffered == 0
        assert await peer.until(b"12345") == answer(b"12345")


async def test_two_may_wait_for_it(autojump_clock):
    noted = []

    async def handler(request):
        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(request.disconnected)
        await request.disconnected()
        noted.append(trio.current_time())
        return rr.Response("left")

    async with open_house(handler, tcp=True) as house:
        peer = house.tcp_peer()
        await peer.say(GET)
        await trio.sleep(1)
        await peer.finish()
        assert await peer.end() == answer(b"left")
        assert noted == [1]
