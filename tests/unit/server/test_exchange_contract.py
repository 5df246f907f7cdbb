"""What an exchange offers to apps that are told of events: what is known at once, and an end to waits."""

from __future__ import annotations

import pytest
import trio
from story_tools import GET, answer, open_house, post

import roadrunner_trio as rr

KINDS = ("memory", "wire", "tcp")


class Asking:
    """An app that answers after it has done what a test is about."""

    def __init__(self, act):
        self.act = act

    def plan(self, request):
        return rr.Plan("streaming", None)

    async def __call__(self, exchange):
        await self.act(exchange)
        if not exchange.started:
            await exchange.respond(200, (), b"hi")


@pytest.mark.parametrize("kind", KINDS)
async def test_a_body_of_a_known_length_is_done_with_its_last_piece(kind, autojump_clock):
    told = []

    async def act(exchange):
        while not exchange.body_done:
            told.append((await exchange.receive_body(), exchange.body_done))

    async with open_house(Asking(act), tcp=True) as house:
        peer = house.meet(kind)
        await peer.say(post(b"Content-Length: 5", body=b"abc"))
        await trio.sleep(1)
        await peer.say(b"de" + GET)
        await peer.until(b"hi")
        await trio.sleep(1)
    assert told == [(b"abc", False), (b"de", True)]


async def test_our_end(autojump_clock):
    told = []

    async def act(exchange):
        told.append(exchange.local)

    async with open_house(Asking(act), tcp=True, name="front") as house:
        for kind in ("memory", "tcp"):
            peer = house.meet(kind)
            await peer.say(GET)
            await peer.until(b"hi")
        assert told == ["front", ("127.0.0.1", house.listener.port)]


async def test_what_is_kept_with_a_connection(autojump_clock):
    told = []

    async def act(exchange):
        told.append(exchange.memo)
        exchange.memo = len(told)

    async with open_house(Asking(act)) as house:
        peer, other = house.peer(), house.peer()
        await peer.say(GET + GET)
        await other.say(GET)
    assert sorted(told, key=str) == [1, None, None]


@pytest.mark.parametrize("kind", KINDS)
async def test_nobody_waits_any_more(kind, autojump_clock):
    told = []

    async def act(exchange):
        assert not exchange.gone_now

        async def wait():
            await exchange.disconnected()
            told.append((trio.current_time(), exchange.gone_now))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            nursery.start_soon(wait)
            await trio.sleep(2)
            exchange.release_waiters()

    async with open_house(Asking(act), tcp=True) as house:
        peer = house.meet(kind)
        for _ in range(2):
            await peer.say(GET)
            assert await peer.until(b"hi") == answer(b"hi")
    assert told == [(2, False), (2, False), (4, False), (4, False)]


@pytest.mark.parametrize("kind", KINDS)
async def test_of_a_complete_response_nobody_waits_for_the_request(kind, autojump_clock):
    told = []

    async def act(exchange):
        async def wait():
            with pytest.raises(RuntimeError, match="over"):
                await exchange.receive_body()
            told.append(trio.current_time())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await trio.sleep(2)
            await exchange.respond(200, (), b"hi")
            exchange.release_waiters()

    async with open_house(Asking(act), tcp=True) as house:
        peer = house.meet(kind)
        await peer.say(post(b"Content-Length: 3"))
        assert await peer.until(b"hi") == answer(b"hi")
        await peer.say(b"abc" + post(b"Content-Length: 1"))
        assert await peer.until(b"hi") == answer(b"hi"), "what is left of the body is read, and the connection goes on"
    assert told == [2, 4]


async def test_a_peer_that_is_gone_is_known_to_be(autojump_clock):
    told = []

    async def act(exchange):
        await trio.sleep(2)
        told.append(exchange.gone_now)

    async with open_house(Asking(act), tcp=True) as house:
        peer = house.meet("tcp")
        await peer.say(GET)
        await peer.finish()
        await peer.until(b"hi")
    assert told == [True]


LATE = {
    "respond": lambda exchange: exchange.respond(200, (), b"late"),
    "start": lambda exchange: exchange.start_response(200, ()),
    "send": lambda exchange: exchange.send_body(b"late"),
    "end": lambda exchange: exchange.end_response(),
    "interim": lambda exchange: exchange.send_interim(103, ((b"link", b"</late>"),)),
    "take over": lambda exchange: exchange.take_over(101),
}


@pytest.mark.parametrize("call", LATE)
@pytest.mark.parametrize("chunked", [True, False])
@pytest.mark.parametrize("kind", KINDS)
async def test_an_exchange_that_was_kept_says_nothing_between_two_requests(call, chunked, kind, autojump_clock):
    kept = []

    async def act(exchange):
        kept.append(exchange)
        if chunked:
            await exchange.start_response(200, ())
            await exchange.send_body(b"hi")
            await exchange.end_response()

    async with open_house(Asking(act), tcp=True) as house:
        peer = house.meet(kind)
        await peer.say(GET)
        assert peer.take()
        with pytest.raises(RuntimeError):
            await LATE[call](kept[0])
        await trio.sleep(1)
        assert peer.take() == b""
        await peer.say(GET)
        assert b"late" not in peer.take()


async def test_a_response_is_ended_once(autojump_clock):
    """Another last chunk would be where the next response begins."""

    async def act(exchange):
        await exchange.start_response(200, ())
        await exchange.send_body(b"hi")
        await exchange.end_response()
        with pytest.raises(RuntimeError, match="ended once"):
            await exchange.end_response()

    async with open_house(Asking(act)) as house:
        peer = house.peer()
        await peer.say(GET)
        assert peer.take().endswith(b"\r\n\r\n2\r\nhi\r\n0\r\n\r\n")
