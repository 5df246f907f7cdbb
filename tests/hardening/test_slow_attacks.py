"""Five hundred slow attackers of each kind, on virtual time: none holds a slot beyond its deadline, to the second.

And all the while an honest peer is answered at once. ``nox -s hardening -- slow`` does the same over TCP, with a clock
on the wall.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest
import trio
from siege_tools import Toll
from story_tools import GET, House, Peer, SlowStream, open_house
from trio.testing import wait_all_tasks_blocked

import roadrunner_trio as rr

ATTACKERS = 500
TIMEOUTS = rr.Timeouts()
RATE = rr.Limits().min_bytes_per_second
BIG = bytes(200_000)
POST = b"POST / HTTP/1.1\r\nHost: h\r\n"

Attack = Callable[[Peer], Awaitable[None]]


async def handler(request: rr.Request) -> rr.Response:
    await request.read()
    return rr.Response(BIG if request.path == "/big" else b"hi")


def drip(first: bytes, piece: bytes, every: float) -> Attack:
    """Says ``first``, and then ``piece`` again and again."""

    async def attack(peer: Peer) -> None:
        await peer.stream.send_all(first)
        while True:
            await trio.sleep(every)
            await peer.stream.send_all(piece)

    return attack


def once(first: bytes) -> Attack:
    """Says it, and waits."""

    async def attack(peer: Peer) -> None:
        await peer.stream.send_all(first)

    return attack


HEAD = GET[:-2] + b"X: "
LATE = 1 / RATE
"""The rate is judged after a second, when the next octets come."""

KINDS: dict[str, tuple[Attack, float, float]] = {
    "nothing": (once(b""), TIMEOUTS.request, 0),
    "empty lines": (drip(b"\r\n", b"", 1), TIMEOUTS.request, 0),
    "half a head": (once(HEAD), TIMEOUTS.request, 408),
    "CVE-2007-6750 a head, an octet a second": (drip(HEAD, b"x", 1), 6, 0),
    "a head that keeps the rate": (drip(HEAD, b"x" * 101, 1), TIMEOUTS.request, 408),
    "a body that does not come": (once(POST + b"Content-Length: 9\r\n\r\n"), TIMEOUTS.body, 408),
    "a body, an octet in ten seconds": (drip(POST + b"Content-Length: 99\r\n\r\n", b"x", 10), 10, 408),
    "chunks that keep the rate": (
        drip(POST + b"Transfer-Encoding: chunked\r\n\r\n", b"258\r\n" + b"x" * 600 + b"\r\n", 5),
        TIMEOUTS.body,
        408,
    ),
    "an expectation that is met": (
        once(POST + b"Expect: 100-continue\r\nContent-Length: 9\r\n\r\n"),
        TIMEOUTS.body,
        408,
    ),
    "a request, and then nothing": (once(GET), TIMEOUTS.keep_alive, 200),
}
"""What each does, when it has to be gone, and the status it hears last (0: none)."""


async def honest(house: House, waits: list[float]) -> None:
    """Asks every second, each time on a new connection."""
    while True:
        peer = house.peer()
        began = trio.current_time()
        await peer.stream.send_all(GET)
        while not peer.heard:
            await peer._news.park()
        waits.append(trio.current_time() - began)
        await peer.close()
        await trio.sleep(1)


async def play(attack: Attack, peer: Peer) -> None:
    with suppress(trio.BrokenResourceError, trio.ClosedResourceError):  # turned away
        await attack(peer)


@pytest.mark.parametrize("name", KINDS)
async def test_slow_attackers_hold_nothing_beyond_their_deadline(name, tolls, autojump_clock):
    attack, bound, status = KINDS[name]
    waits: list[float] = []
    async with open_house(handler) as house:
        await wait_all_tasks_blocked()
        peers = [house.peer() for _ in range(ATTACKERS)]
        async with trio.open_nursery() as nursery:
            for peer in peers:
                nursery.start_soon(play, attack, peer)
            nursery.start_soon(honest, house, waits)
            # Cut in silence, or answered and lingered on: then for two seconds more, unless the peer goes first.
            most = bound + TIMEOUTS.linger + LATE
            with trio.move_on_after(most + 5):
                for peer in peers:
                    await peer.end()
            nursery.cancel_scope.cancel()
        ends = [math.inf if peer.ended_at is None else peer.ended_at for peer in peers]
        last = [peer.heard.rpartition(b"HTTP/1.1 ")[2][:3] for peer in peers]
        for peer in peers:
            await peer.stream.aclose()
        with trio.fail_after(TIMEOUTS.linger):
            await house.empty()
    assert max(ends) <= most, max(ends)
    assert set(last) == {b"%d" % status if status else b""}
    assert max(waits) == 0, "an honest peer is answered in the very moment"
    assert len(waits) >= bound
    hangs = sum(map(math.isinf, ends))
    tolls.take("slow attackers", Toll(inputs=ATTACKERS, refused=ATTACKERS - hangs, hangs=hangs))


@pytest.mark.parametrize("grant", [0, 1, 1000])
async def test_slow_readers_hold_nothing_beyond_the_write_timeout(grant, tolls, autojump_clock):
    """They read nothing, or something every second that is less than 64 KiB in thirty."""
    async with open_house(handler) as house:
        crowd = [house.slow_peer(1000) for _ in range(ATTACKERS)]
        for peer, _ in crowd:
            await peer.stream.send_all(GET.replace(b" / ", b" /big "))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trickle, [stream for _, stream in crowd], grant)
            with trio.fail_after(TIMEOUTS.write + TIMEOUTS.linger):
                await house.empty()
            nursery.cancel_scope.cancel()
        assert trio.current_time() == TIMEOUTS.write
        assert all(event.outcome == "timeout" for name, event in house.watch.events if name == "exception")
    tolls.take("slow attackers", Toll(inputs=ATTACKERS, refused=ATTACKERS))


async def trickle(streams: list[SlowStream], octets: int) -> None:
    while octets:
        await trio.sleep(1)
        for stream in streams:
            stream.grant(octets)
    await trio.sleep_forever()
