"""Interim responses wait as all else does that a peer has to take."""

from __future__ import annotations

import socket
import sys

import pytest
import trio
from http2_peer import Http2Peer
from http2_tools import HELLO, request
from story_tools import open_house

import roadrunner_trio as rr
from roadrunner_trio.server.http2.writer import MOST

HINT = [(b"link", b"</" + b"a" * 1000 + b">; rel=preload")]
TIMES = 5000
"""As many are 5 MB, which no socket takes unread."""


class Hints:
    """An app that hints, and does nothing else, until it is done or somebody stops it."""

    def __init__(self, times: int = TIMES) -> None:
        self.times = times
        self.said = 0
        self.largest = 0
        self.end: BaseException | None = None
        self.over = trio.Event()

    def plan(self, request: rr.Request) -> rr.Plan:
        return rr.Plan("streaming", None)

    async def __call__(self, exchange) -> None:
        try:
            while self.said < self.times:
                await exchange.send_interim(103, HINT)
                self.said += 1
                self.largest = max(self.largest, exchange.writer.backlog)
            await exchange.respond(200, (), b"done")
        except BaseException as exc:
            self.end = exc
            self.over.set()
            raise


async def test_they_wait_for_a_slow_peer_and_go_on(autojump_clock):
    app = Hints(300)
    async with open_house(app) as house:
        peer, stream = house.slow_peer(1000)
        client = await Http2Peer(peer).greet()
        number = client.ask()
        await client.flush()
        assert 0 < app.said < 300
        assert app.largest < MOST + 2000
        stream.grant(10_000_000)
        answer = await client.answer(number)
        assert (len(answer.interim), answer.brief) == (300, (200, b"done"))


async def test_a_peer_that_takes_none_has_the_time_of_a_write(autojump_clock):
    app = Hints()
    async with open_house(app, timeouts=rr.Timeouts(write=5)) as house:
        peer, _ = house.slow_peer(1000)
        await peer.say(HELLO + request(1))
        assert app.end is None
        assert await house.empty() == pytest.approx(5, abs=0.01)
        assert app.said < TIMES
        assert app.largest < MOST + 2000
        assert isinstance(app.end, rr.PeerGone | trio.Cancelled)


@pytest.mark.skipif(sys.platform != "linux", reason="only where a poller ends turns")
async def test_the_same_on_a_socket_that_nobody_reads(autojump_clock):
    app = Hints()
    async with open_house(app, tcp=True, timeouts=rr.Timeouts(write=5)) as house:
        with socket.create_connection(("127.0.0.1", house.listener.port)) as sock:
            sock.sendall(HELLO + request(1))
            with trio.fail_after(100):
                await app.over.wait()
            assert app.said < TIMES
            assert app.largest < MOST + 2000
            assert isinstance(app.end, rr.PeerGone | trio.Cancelled)


async def test_a_request_that_was_taken_back_is_told_so(autojump_clock):
    found = []

    class Late:
        def plan(self, request: rr.Request) -> rr.Plan:
            return rr.Plan("streaming", None)

        async def __call__(self, exchange) -> None:
            with trio.CancelScope(shield=True):
                await trio.sleep(1)
            try:
                await exchange.send_interim(103, HINT)
            except rr.PeerGone as exc:
                found.append(str(exc))
                raise

    async with open_house(Late()) as house:
        client = await Http2Peer(house.peer()).greet()
        number = client.ask()
        await client.flush()
        client.cancel(number)
        await client.flush()
        await trio.sleep(2)
    assert found == ["the peer has taken its request back"]
