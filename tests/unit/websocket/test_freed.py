"""A session that is over, in whatever way, is freed at once: no cycle keeps it, or what it held, for a collector."""

from __future__ import annotations

import gc

import pytest
import trio
from retention_tools import Forgetful, all_is_over, drains, finishes, held, leaves, remains, resets, without_collector
from story_tools import open_house
from tls_tools import contexts_of_a_new_authority, tls_peer
from trio.testing import wait_all_tasks_blocked
from websocket_tools import BINARY, PING, closing, frame, handshake

import roadrunner_trio as rr
from roadrunner_trio.websocket.core import Session
from roadrunner_trio.websocket.inbox import Inbox
from roadrunner_trio.websocket.link import Link
from roadrunner_trio.websocket.offer import Offer, WebSocketRequest
from roadrunner_trio.websocket.session import WebSocket

OURS = (Session, Link, Inbox, Offer, WebSocket, WebSocketRequest)
NO_MASK = bytes(4)
MESSAGE = frame(BINARY, bytes(1_000_000), mask=NO_MASK) + frame(BINARY, bytes(1_000_000), fin=False, mask=NO_MASK)
"""One that waits for the handler, and half of another."""
SOME = 800_000
"""Octets that a house may have taken for itself, such as for a first traceback: less than a message."""
QUICK = rr.Timeouts(linger=0.1, write=3, request=5)


@pytest.fixture(autouse=True)
def uncollected():
    with without_collector():
        yield


@pytest.fixture(scope="module")
def contexts():
    return contexts_of_a_new_authority()


# Handlers


async def meets_the_end(request):
    session = await request.accept()
    await trio.sleep(1)
    while True:
        await session.get_message()


async def returns(request):
    await request.accept()
    await trio.sleep(1)


async def raises(request):
    session = await request.accept()
    await trio.sleep(1)
    raise ValueError(session)


async def raises_in_a_nursery(request):
    async with await request.accept() as session, trio.open_nursery() as nursery:
        nursery.start_soon(fails, session)
        nursery.start_soon(trio.sleep_forever)


async def fails(session):
    await trio.sleep(1)
    raise ValueError(session)


async def stays(request):
    await request.accept()
    await trio.sleep_forever()


async def pings(request):
    session = await request.accept()
    await trio.sleep(1)
    await session.ping()


async def floods(request):
    session = await request.accept()
    while True:
        await session.send_message(bytes(500_000))


async def in_pieces(request):
    session = await request.accept()
    await session.get_message()
    async for _ in session.get_pieces():
        await trio.sleep(1)


async def rejects(request):
    await request.reject(403)


async def decides_nothing(request):
    pass


HANDLERS = [
    meets_the_end, returns, raises, raises_in_a_nursery, stays, pings, in_pieces, rejects, decides_nothing
]  # fmt: skip


# Ends


async def closes(house, peer):
    """The peer finishes its message and closes."""
    await peer.say(frame(0) + closing(1000))
    await leaves(house, peer)


async def breaks_the_protocol(house, peer):
    await peer.say(frame(3))
    await leaves(house, peer)


async def is_silent(house, peer):
    """It answers no ping."""
    await trio.sleep(60)
    await leaves(house, peer)


async def pongs(house, peer):
    """It asks, and does not take the answers."""
    await peer.say(frame(PING, b"x") * 50)
    await is_silent(house, peer)


ENDS = [closes, leaves, finishes, resets, breaks_the_protocol, is_silent, pongs, drains, all_is_over]


async def meet(house, kind, contexts):
    if "tls" in kind:
        return await tls_peer(house, contexts[1], kind.partition(" ")[0])
    return house.meet(kind)


WAYS = [(handler, end, kind) for handler in HANDLERS for end in ENDS for kind in ("memory", "tcp")]
WAYS += [(handler, end, kind) for handler in HANDLERS[:3] for end in ENDS for kind in ("memory tls", "tcp tls")]
IMPOSSIBLE = {("memory", resets)} | {(kind, end) for kind in ("memory tls", "tcp tls") for end in (finishes, resets)}
"""Streams in memory have no resets, TLS has no half-close."""


@pytest.mark.parametrize(("handler", "end", "kind"), [way for way in WAYS if (way[2], way[1]) not in IMPOSSIBLE])
async def test_case_47_a_session_that_is_over_is_freed_without_the_collector(
    handler, end, kind, contexts, autojump_clock
):
    app = rr.websocket(handler, close_timeout=2, ping_interval=5, ping_timeout=5)
    tls = {"tls": contexts[0]} if "tls" in kind else {}
    async with open_house(app, tcp=True, watch=Forgetful(), timeouts=QUICK, **tls) as house:
        before = held()
        peer = await meet(house, kind, contexts)
        with trio.move_on_after(0.5):
            await peer.stream.send_all(handshake() + MESSAGE)
        await trio.sleep(0.5)
        if handler not in (rejects, decides_nothing):
            assert sessions(), "else the test would see nothing"
        if house.active:
            await end(house, peer)
        peer.heard = b""
        if end is not all_is_over:  # else Trio holds what they ended with until the last has ended
            await house.empty()
            del peer
            await trio.sleep(1)
            await wait_all_tasks_blocked()
            assert sessions() == []
            assert held() - before < SOME
    assert sessions() == []
    assert remains() == []


@pytest.mark.parametrize("kind", ["memory", "tcp"])
async def test_case_47_a_peer_that_does_not_take_its_messages(kind, autojump_clock):
    async with open_house(rr.websocket(floods), tcp=True, watch=Forgetful(), timeouts=QUICK) as house:
        before = held()
        if kind == "tcp":
            stream = await trio.open_tcp_stream("127.0.0.1", house.listener.port)
        else:
            peer, slow = house.slow_peer(2000)
            stream = peer.stream
        await stream.send_all(handshake() + MESSAGE)
        await wait_all_tasks_blocked()
        assert sessions(), "else the test would see nothing"
        await house.empty()
        if kind == "memory":
            del peer, slow
        await trio.aclose_forcefully(stream)
        del stream
        await trio.sleep(1)
        await wait_all_tasks_blocked()
        assert sessions() == []
        assert remains() == []
        assert held() - before < SOME


def sessions():
    """The kinds of what is left of sessions."""
    return sorted(type(each).__name__ for each in gc.get_objects() if type(each) in OURS)
