"""What others tell a connection, from the poller's task, the clock's and the listener's, raises nothing at any time."""

from __future__ import annotations

import select
import socket

import pytest
import trio
from presence_tools import slow_tcp_peer
from story_tools import GET, GET_CLOSE, Peer, open_house, post
from trio.testing import wait_all_tasks_blocked

import roadrunner_trio as rr
from roadrunner_trio.server.connection import Connection
from roadrunner_trio.server.eviction import end, waits_since
from roadrunner_trio.transport.phases import Phase
from roadrunner_trio.transport.wire import SocketWire

LEFT = [getattr(select, "EPOLLRDHUP", 0x2000), getattr(select, "EPOLLHUP", 16) | getattr(select, "EPOLLERR", 8)]

WORDS = {
    "the peer has finished": lambda conn: conn.hang_up(LEFT[0]),
    "the peer has reset": lambda conn: conn.hang_up(LEFT[1]),
    "the server drains": lambda conn: conn.told(),
    "its time is up": lambda conn: conn.phase.fire(),
    "its place is wanted": lambda conn: waits_since(conn, idle=True) == float("inf") or end(conn, 2.0),
    "make room": lambda conn: conn.phase.phase is not Phase.IDLE or conn.make_room(),
    "is anybody waited for": lambda conn: (conn.arrived(), conn.may_wait(), conn.idle_for()),
}
"""Each in one synchronous step, as it is said."""


async def handler(request):
    match request.path:
        case "/sleep":
            await trio.sleep_forever()
        case "/large":
            return rr.Response(bytes(30_000_000))
        case "/stream":
            return rr.StreamResponse(_endless)
        case "/handoff":
            return rr.Handoff(_tunnel, status=101)
    return rr.Response("hi")


async def _endless(send):
    while True:
        await send(b"tick")
        await trio.sleep(1)


async def _tunnel(request, stream):
    await stream.receive_some()


def get(path):
    return GET.replace(b"/ ", path + b" ", 1)


STATES = {
    "before the first request": (b"", Phase.IDLE),
    "in its head": (GET[:9], Phase.READ_REQUEST),
    "in its body": (post(b"Content-Length: 5", body=b"1"), Phase.READ_BODY),
    "in its handler": (get(b"/sleep"), Phase.DISPATCH),
    "writing to a peer that does not read": (get(b"/large"), Phase.RESPOND),
    "in a stream": (get(b"/stream"), Phase.DISPATCH),
    "between two requests": (GET, Phase.IDLE),
    "in a later head": (GET + GET[:9], Phase.READ_REQUEST),
    "handed off": (get(b"/handoff"), Phase.HANDED_OFF),
    "lingering": (b"NONSENSE\r\n", Phase.FINISH),
    "closed by the peer": (GET, None),
    "closed by the server": (GET_CLOSE, None),
    "closed in its handler": (get(b"/sleep"), None),
    "closed when it was new": (b"", None),
}


def a_peer(house, kind, *, reads):
    """One that reads all the time, or never."""
    if reads:
        return house.meet(kind)
    if kind == "memory":
        return house.slow_peer(10_000)[0]
    if kind == "tcp":
        return slow_tcp_peer(house)
    ours, theirs = socket.socketpair()
    house.door.put.send_nowait(SocketWire(theirs))
    return Peer(SocketWire(ours))


async def in_state(house, state, kind):
    """A connection that is there, and its peer."""
    said, phase = STATES[state]
    peer = a_peer(house, kind, reads=phase is not Phase.RESPOND)
    await wait_all_tasks_blocked()
    [conn] = house.listener._members()
    await peer.say(said)
    if phase is None and house.active:
        if "handler" in state:
            house.nursery.start_soon(house.listener.drain, 0)
        else:
            await peer.close()
        await trio.sleep(3)
        assert house.active == 0
    return conn, peer


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("kind", ["memory", "wire", "tcp"])
async def test_a_word_at_any_time_raises_nothing(kind, state, word, autojump_clock, caplog):
    async with open_house(handler, tcp=True) as house:
        conn, peer = await in_state(house, state, kind)
        for _ in range(2):
            WORDS[word](conn)
        await wait_all_tasks_blocked()
        await trio.sleep(10)
        WORDS[word](conn)
        await peer.stream.aclose()
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


@pytest.mark.parametrize("word", WORDS)
async def test_nor_to_a_connection_that_nobody_serves_yet(word, autojump_clock):
    """It is there from its first step on, and its task begins later."""
    ours, theirs = trio.testing.memory_stream_pair()
    async with open_house(handler) as house:
        conn = Connection(theirs, house.listener._context, "memory")
        try:
            WORDS[word](conn)
        finally:
            await conn.close()
        WORDS[word](conn)
    await ours.aclose()


@pytest.mark.parametrize("state", STATES)
async def test_what_it_does_can_be_looked_at_at_any_time(state, autojump_clock):
    async with open_house(handler, tcp=True) as house:
        conn, peer = await in_state(house, state, "tcp")
        phase = STATES[state][1]
        assert [each.phase for each in house.listener.connections()] == ([phase.value] if phase else [])
        assert house.listener.info().active == bool(phase)
        assert conn.context is house.listener._context
        await peer.stream.aclose()
