"""The total of what all connections of a listener hold for the application: bodies read before their handlers run."""

from __future__ import annotations

import pytest
import trio
from story_tools import GET, answer, last_word, open_house, post

import roadrunner_trio as rr

LIMITS = rr.Limits(max_buffered=100)


class Gate:
    """A handler that holds its body until it is let go."""

    def __init__(self):
        self.open = trio.Event()

    async def __call__(self, request):
        if request.method == "POST":
            await self.open.wait()
        return rr.Response(b"%d" % len(await request.read()))


def chunks(*sizes):
    said = b"".join(b"%x\r\n%b\r\n" % (size, b"x" * size) for size in sizes)
    return post(b"Transfer-Encoding: chunked", body=said + b"0\r\n\r\n")


@pytest.mark.parametrize("said", [post(b"Content-Length: 60", body=b"x" * 60), chunks(40, 20)])
async def test_bodies_count_together_until_their_exchanges_are_over(said, autojump_clock):
    gate = Gate()
    async with open_house(gate, limits=LIMITS) as house:
        first, second = house.peer(), house.peer()
        await first.say(said)
        assert house.listener.info().buffered == 60
        await second.say(said)
        assert second.take() == last_word(b"503 Service Unavailable")
        assert house.watch.only("rejected").reason == "max_buffered"
        gate.open.set()
        assert await first.until(b"60") == answer(b"60")
        assert house.listener.info().buffered == 0
        await first.say(said)
        assert first.take() == answer(b"60")
        assert house.listener.info().buffered == 0


async def test_what_is_too_much_is_refused_before_it_is_read(autojump_clock):
    async with open_house(Gate(), limits=LIMITS) as house:
        peer = house.peer()
        await peer.say(post(b"Content-Length: 101", b"Expect: 100-continue"))
        assert peer.take() == last_word(b"503 Service Unavailable")
        assert house.listener.info().buffered == 0


async def test_what_has_no_room_beside_what_is_there_is_refused_before_it_is_read(autojump_clock):
    async with open_house(Gate(), limits=LIMITS) as house:
        first, second = house.peer(), house.peer()
        await first.say(post(b"Content-Length: 60", body=b"x" * 60))
        await second.say(post(b"Content-Length: 41", b"Expect: 100-continue"))
        assert second.take() == last_word(b"503 Service Unavailable")
        assert house.listener.info().buffered == 60


async def test_a_promise_takes_no_room(autojump_clock):
    """A few peers that promise much and send nothing kept everybody's bodies out."""
    gate = Gate()
    gate.open.set()
    async with open_house(gate, limits=LIMITS) as house:
        silent = [house.peer() for _ in range(5)]
        for peer in silent:
            await peer.say(post(b"Content-Length: 100"))
            assert peer.take() == b""
        assert house.listener.info().buffered == 0
        honest = house.peer()
        await honest.say(post(b"Content-Length: 100", body=b"x" * 100))
        assert honest.take() == answer(b"100")


async def test_of_two_that_grow_one_finds_room(autojump_clock):
    """Whoever passes the total first gives up all of theirs, which is room for the other."""
    gate = Gate()
    gate.open.set()
    async with open_house(gate, limits=LIMITS) as house:
        first, second = house.peer(), house.peer()
        for said in (post(b"Content-Length: 80"), b"x" * 40):
            await first.say(said)
            await second.say(said)
        assert house.listener.info().buffered == 80
        await first.say(b"x" * 40)
        assert first.take() == last_word(b"503 Service Unavailable")
        await second.say(b"x" * 40)
        assert second.take() == answer(b"80")
        assert house.listener.info().buffered == 0


async def test_a_body_counts_as_it_comes(autojump_clock):
    async with open_house(Gate(), limits=LIMITS) as house:
        peer = house.peer()
        await peer.say(post(b"Content-Length: 60", body=b"x"))
        for octets in range(1, 60):
            assert house.listener.info().buffered == octets
            await peer.say(b"x")
        assert house.listener.info().buffered == 60
        await peer.close()


async def test_a_body_that_grows_beyond_is_refused_and_given_back(autojump_clock):
    async with open_house(Gate(), limits=LIMITS) as house:
        peer = house.peer()
        await peer.say(chunks(60, 60))
        assert peer.take() == last_word(b"503 Service Unavailable")
        await house.empty()
        assert house.listener.info().buffered == 0


@pytest.mark.parametrize("end", ["reset", "deadline", "crash", "drain"])
async def test_however_a_connection_ends_its_share_is_given_back(end, autojump_clock):
    async def crash(request):
        raise ValueError

    handler = crash if end == "crash" else Gate()
    async with open_house(handler, limits=LIMITS, timeouts=rr.Timeouts(handler=5)) as house:
        peer = house.peer()
        await peer.say(post(b"Content-Length: 60", body=b"x" * (59 if end == "reset" else 60)))
        if end == "reset":
            assert house.listener.info().buffered == 59
            await peer.close()
        elif end == "drain":
            await house.listener.drain(1)
        else:
            await peer.end()
        await house.empty()
        assert house.listener.info().buffered == 0


async def test_a_streaming_handler_holds_nothing_for_the_server(autojump_clock):
    async with open_house(Gate(), body="streaming", limits=LIMITS) as house:
        peer = house.peer()
        await peer.say(post(b"Content-Length: 200", body=b"x" * 200))
        assert house.listener.info().buffered == 0
        assert peer.take() == b""
        await peer.close()


async def test_without_a_limit_there_is_none(autojump_clock):
    gate = Gate()
    gate.open.set()
    async with open_house(gate, limits=rr.Limits(max_buffered=None)) as house:
        peer = house.peer()
        await peer.say(post(b"Content-Length: 200", body=b"x" * 200) + GET)
        assert peer.take() == answer(b"200") + answer(b"0")
