"""Floods of HTTP/2 against a running server: who is beside it is answered, and who reads nothing is not fed for ever.

How much an engine bears, frame by frame, is in ``test_http2_floods.py``. Here are sockets, and time.
"""

from __future__ import annotations

import struct
import tracemalloc

import pytest
import trio
import trio.lowlevel
from http2_tools import GET, HELLO, block, request
from story_tools import open_house

import roadrunner_trio as rr
from roadrunner_trio.protocol.http2 import frames

ATTACKERS = 4
ASKED = 15
BOUND = 10.0
"""Seconds of real time in which a neighbour is answered, on a machine that does other things besides."""


async def hello(request: rr.Request) -> rr.Response:
    await trio.lowlevel.checkpoint()
    return rr.Response("hi")


def ping(n: int) -> bytes:
    return frames.frame(frames.PING, 0, 0, b"12345678")


def settings(n: int) -> bytes:
    return frames.settings([(4, 65_535 + n % 2)] * 20)


def rapid_reset(n: int) -> bytes:
    number = 2 * n + 1
    return request(number) + frames.rst_stream(number, 8)


def requests(n: int) -> bytes:
    return request(2 * n + 1)


def continuations(n: int) -> bytes:
    if n == 0:
        return frames.frame(frames.HEADERS, 0, 1, block(GET))
    return frames.frame(frames.CONTINUATION, 0, 1, b"")


def window_updates(n: int) -> bytes:
    return frames.window_update(0, 1)


def unknown(n: int) -> bytes:
    return frames.frame(0xFA, 0, 0, b"")


FLOODS = [ping, settings, rapid_reset, requests, continuations, window_updates, unknown]


async def flood(port: int, made, count: list[int]) -> None:
    """Sends as fast as may be, one connection after another, and reads nothing."""
    while True:
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        async with stream:
            try:
                await stream.send_all(HELLO)
                for at in range(0, 100_000, 200):
                    await stream.send_all(b"".join(made(n) for n in range(at, at + 200)))
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass
        count[0] += 1


@pytest.mark.slow
@pytest.mark.parametrize("made", FLOODS, ids=lambda made: made.__name__)
async def test_a_neighbour_is_answered_during_a_flood(made):
    listener, count = rr.Listener(hello, bind="127.0.0.1:0"), [0]
    async with trio.open_nursery() as nursery:
        await nursery.start(listener.serve)
        for _ in range(ATTACKERS):
            nursery.start_soon(flood, listener.port, made, count)
        for _ in range(ASKED):
            with trio.fail_after(BOUND):
                stream = await trio.open_tcp_stream("127.0.0.1", listener.port)
                async with stream:
                    await stream.send_all(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
                    heard = b""
                    while data := await stream.receive_some():
                        heard += data
                assert heard.endswith(b"hi")
            await trio.sleep(0.02)
        info = listener.info()
        nursery.cancel_scope.cancel()
    assert info.goaways or count[0] or info.requests > 1000, "it was a flood"


async def test_who_reads_nothing_is_not_read_from_and_then_cut(autojump_clock):
    async def large(request):
        return rr.Response(b"x" * 10_000)

    tracemalloc.start()
    try:
        async with open_house(large, limits=rr.Limits(max_control_frames=1_000_000)) as house:
            peer, stream = house.slow_peer(2000)
            await peer.say(HELLO + frames.frame(frames.SETTINGS, 0, 0, struct.pack(">HI", 4, 2**31 - 1)))
            await peer.say(frames.window_update(0, 2**31 - 1 - 65_535))
            house.nursery.start_soon(peer.say, b"".join(request(2 * n + 1) for n in range(100)) + ping(0) * 1_000_000)
            await trio.sleep(25)
            assert house.active == 1
            assert tracemalloc.get_traced_memory()[1] < 60_000_000
            taken = stream.taken
            await trio.sleep(1)
            assert stream.taken == taken < 1_000_000, "its flood waits in its own buffers"
            assert await house.empty() < 40
            assert house.listener.info().active == 0
    finally:
        tracemalloc.stop()


async def test_bodies_that_nobody_takes_wait_with_their_producers(autojump_clock):
    produced = [0]

    async def endless(request):
        async def produce(send):
            while True:
                await send(b"x" * 10_000)
                produced[0] += 10_000

        return rr.StreamResponse(produce)

    async with open_house(endless) as house:
        peer, stream = house.slow_peer(1000)
        await peer.say(HELLO + frames.settings([(4, 2**31 - 1)]) + frames.window_update(0, 2**31 - 1 - 65_535))
        await peer.say(b"".join(request(2 * n + 1) for n in range(50)))
        await trio.sleep(10)
        assert produced[0] < 1_500_000
        stream.grant(1_000_000)
        await trio.sleep(1)
        assert len(peer.heard) > 900_000, "who reads is sent more"
        assert await house.empty() < 90


async def test_one_who_takes_all_does_not_keep_the_others_from_theirs(autojump_clock):
    async def handler(request):
        return rr.Response(b"x" * (4_000_000 if request.path == "/large" else 10))

    async with open_house(handler) as house:
        peer, stream = house.slow_peer(1000)
        await peer.say(HELLO + frames.settings([(4, 2**31 - 1)]) + frames.window_update(0, 2**31 - 1 - 65_535))
        large = [(":method", "GET"), (":scheme", "http"), (":authority", "h"), (":path", "/large")]
        await peer.say(request(1, large))
        await peer.say(request(3))
        stream.grant(400_000)
        await trio.sleep(1)
        numbers = {number for _, _, number, _ in _whole(peer.heard)}
        assert 3 in numbers, "it is not behind all of the large one"


def _whole(heard: bytes):
    at = 0
    while len(heard) - at >= 9:
        what, flags, number = frames.HEADER.unpack_from(heard, at)
        end = at + 9 + (what >> 8)
        if end > len(heard):
            return
        yield what & 0xFF, flags, number, heard[at + 9 : end]
        at = end
