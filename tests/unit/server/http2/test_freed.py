"""A connection of HTTP/2 that has ended or is parked, in whatever way, is freed at once, with no need for a collector.

So are its streams, and what they held.
"""

from __future__ import annotations

import gc
from collections import Counter

import pytest
import trio
from dormitory_tools import parked
from http2_peer import Http2Peer
from presence_tools import needs_poller
from retention_tools import Forgetful, crash, endless_stream, fine, huge, sleepy, two_errors, without_collector
from story_tools import open_house
from trio.testing import wait_all_tasks_blocked

import roadrunner_trio as rr
from roadrunner_trio.messages.request import Request
from roadrunner_trio.protocol.http2.engine import Http2Engine, Stream
from roadrunner_trio.server.connection import Connection
from roadrunner_trio.server.http1_exchange import Http1Exchange
from roadrunner_trio.server.http2.alarm import Alarm
from roadrunner_trio.server.http2.exchange import StreamExchange
from roadrunner_trio.server.http2.sender import NO_STREAM
from roadrunner_trio.server.http2.streams import Http2Connection
from roadrunner_trio.server.http2.writer import Content, Writer
from roadrunner_trio.transport.phases import PhaseScope

KINDS = (
    *(Connection, Http1Exchange, Request, Http2Connection, Http2Engine, Stream, StreamExchange, Writer, Content),
    *(Alarm, PhaseScope),
)
HANDLERS = {
    "answers": fine,
    "fails": crash,
    "fails twice": two_errors,
    "sleeps": sleepy,
    "sends for ever": endless_stream,
    "sends more than is taken": huge,
}
TIMEOUTS = rr.Timeouts(request=3, keep_alive=3, body=3, handler=3, write=3, park_after=None)


@pytest.fixture(autouse=True)
def uncollected():
    with without_collector():
        yield


def remains():
    """What is left of connections, and how often."""
    return Counter(type(each).__name__ for each in gc.get_objects() if type(each) in KINDS and each is not NO_STREAM)


async def closes(house, peer):
    await peer.peer.close()


async def resets(house, peer):
    if peer.peer.theirs is None:
        peer.peer.stream.reset()
    await peer.peer.close()


async def waits(house, peer):
    await trio.sleep(100)
    await peer.peer.close()


async def drains(house, peer):
    await house.listener.drain(5)


async def breaks_a_rule(house, peer):
    await peer.peer.say(b"\0\0\0\x06\0\0\0\0\0")
    await peer.end()
    await peer.peer.close()


async def takes_all_back(house, peer):
    for number, answer in peer.streams.items():
        if not answer.over:
            peer.cancel(number)
    await peer.flush()
    await peer.peer.close()


ENDS = [closes, resets, waits, drains, breaks_a_rule, takes_all_back]


@pytest.mark.parametrize("kind", ["memory", "wire", "tcp"])
@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__)
@pytest.mark.parametrize("what", HANDLERS)
async def test_case_47_however_it_ends_it_is_freed_without_a_collector(what, end, kind, autojump_clock):
    async with open_house(HANDLERS[what], tcp=True, watch=Forgetful(), timeouts=TIMEOUTS) as house:
        peer = await Http2Peer(house.meet(kind), gives_credit=False).greet()
        for _ in range(2):
            peer.ask(method="POST", body=b"x" * 1000)
        peer.ask(method="POST", end=False)
        await peer.flush()
        await wait_all_tasks_blocked()
        assert remains()["Http2Connection"] == 1, "else the test would see nothing"
        await end(house, peer)
        await house.empty()
        await trio.sleep(1)
        await wait_all_tasks_blocked()
        assert remains() == {}


@pytest.mark.parametrize("kind", ["memory", "tcp"])
async def test_what_was_http1_before_is_gone_while_it_speaks_http2(kind, autojump_clock):
    async with open_house(fine, tcp=True, watch=Forgetful()) as house:
        peer = await Http2Peer(house.meet(kind)).greet()
        await peer.get()
        assert remains()["Http1Exchange"] == 0


@needs_poller
@pytest.mark.parametrize("end", [closes, resets, waits, drains])
async def test_one_that_is_parked_leaves_its_engine_and_that_goes_with_it(end, autojump_clock):
    async with open_house(fine, tcp=True, watch=Forgetful()) as house:
        peer = await Http2Peer(house.meet("tcp")).greet()
        for _ in range(3):
            numbers = [peer.ask(method="POST", body=b"x" * 1000) for _ in range(5)]
            await peer.flush()
            for number in numbers:
                assert (await peer.answer(number)).status == 200
            await trio.sleep(5)
            await wait_all_tasks_blocked()
            assert parked(house) == 1
            assert remains() == {"Http2Engine": 1}
        await end(house, peer)
        await house.empty()
        await wait_all_tasks_blocked()
        assert remains() == {}
