"""A task whose connection has ended serves the next: nothing of one peer is known to another, and nobody is missed."""

from __future__ import annotations

import errno
import socket
import weakref
from contextlib import suppress
from contextvars import ContextVar

import pytest
import trio
from dormitory_tools import note_fates, tasks
from retention_tools import Forgetful
from story_tools import GET, GET_CLOSE, answer, hello, open_house, post, undated
from trio.testing import wait_all_tasks_blocked

import roadrunner_trio as rr
from roadrunner_trio.apps.router import Route, Router
from roadrunner_trio.server import spares
from roadrunner_trio.server.carrier import Fate
from roadrunner_trio.transport.poller import AVAILABLE, Poller
from roadrunner_trio.transport.wire import SocketWire

pytestmark = pytest.mark.skipif(not AVAILABLE, reason="without a poller no task rests")

CLOSE = b"connection: close\r\n"
UPLOAD_CLOSE = post(b"Connection: close")


@pytest.fixture
def fates(monkeypatch):
    """What has become of connections whose tasks have ended."""
    return note_fates(monkeypatch)


def resting(house):
    """How many tasks rest."""
    return len(house.listener._spares._resting)


async def visit(house, said=GET_CLOSE):
    """A peer that asks once, hears the end, and leaves."""
    peer = house.tcp_peer()
    await peer.say(said)
    await peer.end()
    await wait_all_tasks_blocked()
    return peer.heard


async def test_the_next_connection_is_served_by_the_same_task(autojump_clock, fates):
    served_by = []

    async def handler(request):
        served_by.append((trio.lowlevel.current_task(), trio.lowlevel.current_task().name, request.peer))
        return rr.Response(b"hi")

    async with open_house(handler, tcp=True) as house:
        for _ in range(3):
            heard = await visit(house)
            assert heard.endswith(b"hi")
            assert CLOSE in heard
            assert (house.active, resting(house), tasks(house)) == (0, 1, [])
        assert house.listener.connections() == []
        assert fates == []
        (task, *_), *_ = served_by
        assert {each for each, *_ in served_by} == {task}
        assert [name for _, name, _ in served_by] == [f"main: 127.0.0.1:{peer[1]}" for *_, peer in served_by]
        assert task.name == "main: at rest"
        info = house.listener.info()
        assert (info.accepted, info.requests) == (3, 3)
        assert await house.listener.drain() == rr.Drained(0, 0, 0)
    assert fates == [Fate.PARKED]
    assert house.watch.names() == ["accept", "start", "stop", "close"] * 3


async def test_it_begins_as_any_does(autojump_clock):
    """With the time for a first request, no requests so far, an age of its own; and may keep its connection."""
    timeouts = rr.Timeouts(request=7, keep_alive=30, park_after=None)
    async with open_house(tcp=True, timeouts=timeouts) as house:
        await visit(house)
        await trio.sleep(100)
        silent = house.tcp_peer()
        await trio.sleep(3)
        [info] = house.listener.connections()
        assert (info.phase, info.requests, info.age, info.deadline) == ("idle", 0, 3, 4)
        await silent.end()
        assert silent.ended_at == 107  # nothing was said in time
        began = await house.empty()
        peer = house.tcp_peer()
        for count in (1, 2):
            await peer.say(GET)
            assert peer.take() == answer(b"hi")
            [info] = house.listener.connections()
            assert (info.requests, info.deadline) == (count, 30)
        await peer.end()
        assert peer.ended_at == began + 30


async def test_it_rests_without_a_deadline(autojump_clock, fates):
    async with open_house(tcp=True, timeouts=rr.Timeouts(request=1, keep_alive=1)) as house:
        await visit(house)
        await trio.sleep(10_000)
        assert (resting(house), fates) == (1, [])
        await visit(house)


@pytest.mark.parametrize("second", ["tcp", "parked"])
async def test_nothing_of_one_peer_is_known_to_the_next(second, autojump_clock):
    seen, user = [], ContextVar("user", default="nobody")

    class App:
        def plan(self, request):
            return rr.Plan(body="buffered", max_body=100)

        async def __call__(self, exchange):
            seen.append((exchange.memo, user.get(), exchange.local[1], await exchange.request.read()))
            exchange.memo = "a secret"
            user.set("somebody")
            await exchange.respond(200, [], b"hi")

    async with open_house(App(), tcp=True, timeouts=rr.Timeouts(park_after=5)) as house:
        other = house.tcp_peer()
        if second == "parked":
            await other.say(GET)
            await trio.sleep(10)
            assert house.listener._dormitory.count == 1
            house.listener._spares.close()  # its own task
            house.listener._spares._open = True
        await visit(house, UPLOAD_CLOSE)
        assert resting(house) == 1
        await other.say(GET)
        assert other.heard.endswith(b"hi")
    assert {memo for memo, *_ in seen} == {None}
    assert {name for _, name, *_ in seen} == {"nobody"}
    assert seen[-1][-1] == b""


async def test_what_an_observer_sets_when_it_is_told_of_one_is_its_own(autojump_clock):
    """Told by the accept loop, it runs in the context of the connection, and of no other."""
    last = ContextVar("last", default=None)
    seen = []

    class Sets(rr.Observer):
        def listener_accept(self, event):
            seen.append(last.get())
            last.set(event.peer)

    async def handler(request):
        seen.append(last.get())
        return rr.Response(b"hi")

    async with open_house(handler, tcp=True, observers=[Sets()]) as house:
        for _ in range(3):
            await visit(house)
        meanwhile = house.tcp_peer()
        await meanwhile.say(GET)
        await visit(house)
    assert set(seen) == {None}


@pytest.mark.parametrize("end", ["a 500 asked for the end", "it went on after its answer"])
async def test_a_request_that_failed_takes_nothing_from_the_next_one(end, autojump_clock):
    """Neither the fields of its answer, nor the word that something else has gone wrong."""

    class App:
        def plan(self, request):
            return rr.Plan()

        async def __call__(self, exchange):
            if end == "it went on after its answer":
                await exchange.respond(200, [], b"hi")
            raise ValueError("a fault")

    async with open_house(App(), tcp=True, request_ids=rr.RequestIds()) as house:
        if end == "a 500 asked for the end":
            first = await visit(house)
            assert first.startswith(b"HTTP/1.1 500")
            assert resting(house) == 1
            second = await visit(house)
            assert (first.count(b"x-request-id"), second.count(b"x-request-id")) == (1, 1)
        peer = house.tcp_peer()
        await peer.say(b"NONSENSE\r\n" if end == "a 500 asked for the end" else GET + b"NONSENSE\r\n")
        assert (await peer.end()).endswith(answer(b"", b"connection: close", status=b"400 Bad Request"))
        rejected = house.watch.only("rejected")
        assert (rejected.phase, rejected.request, rejected.started) == ("head", None, False)
        await house.empty()
        assert house.listener.info().refused == 1


@pytest.mark.parametrize("first", [GET, GET_CLOSE])
async def test_who_is_refused_by_its_head_alone_hears_nothing_of_the_route_of_the_last_request(first, autojump_clock):
    async def on_error(request, error):
        return rr.Response.text("words of a route")

    router = Router([Route("/", hello)], on_error=on_error)
    async with open_house(router, tcp=True, proxy_headers=rr.ProxyHeaders("127.0.0.1")) as house:
        peer = house.tcp_peer()
        await peer.say(first)
        if first is GET_CLOSE:
            await peer.end()
            peer = house.tcp_peer()
        await peer.say(b"GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-Proto: gopher\r\n\r\n")
        assert (await peer.end()).endswith(answer(b"", b"connection: close", status=b"400 Bad Request"))


async def test_a_task_that_rests_holds_nothing_of_the_last_peer(autojump_clock):
    held = []

    class Kept:
        """What an application keeps with a connection."""

    class App:
        def plan(self, request):
            return rr.Plan(disconnect_grace=500)

        async def __call__(self, exchange):
            exchange.memo = Kept()
            held.extend((weakref.ref(exchange.memo), weakref.ref(exchange.request)))
            await trio.sleep(1)
            await exchange.respond(200, [], b"hi")

    async with open_house(App(), tcp=True, watch=Forgetful()) as house:
        peer = house.tcp_peer()
        await peer.say(GET_CLOSE)
        await peer.finish()  # so it is missed, and the handler has a grace
        await peer.end()
        await wait_all_tasks_blocked()
        assert resting(house) == 1
        assert [each() for each in held] == [None, None]


async def test_the_last_answer_has_the_time_of_a_write_and_not_of_its_handler(autojump_clock, monkeypatch):
    monkeypatch.setattr("roadrunner_trio.server.carrier.CROWD", 0)
    async with open_house(tcp=True, timeouts=rr.Timeouts(handler=3, write=20)) as house:
        with socket.create_connection(("127.0.0.1", house.listener.port)) as peer:
            await wait_all_tasks_blocked()
            [conn] = house.listener._members()
            filled = 0
            with suppress(BlockingIOError):
                while True:
                    filled += conn.wire.socket.send(bytes(65536))
            peer.send(GET_CLOSE)
            await trio.sleep(5)
            assert house.phases() == ["writing to a slow peer"]
            heard, stream = b"", SocketWire(peer.dup())
            async with stream:
                while data := await stream.receive_some():
                    heard += data
            assert undated(heard[filled:]) == answer(b"hi", b"connection: close")
            assert resting(house) == 1


async def streams(request):
    async def content():
        yield b"a"
        yield b"b"

    return rr.StreamResponse(content())


async def closes(request):
    return rr.Response(b"hi", fields={"connection": "close"})


async def crashes(request):
    raise ValueError("a fault")


ENDS = {
    "an HTTP/1.0 peer": (hello, b"GET / HTTP/1.0\r\n\r\n", True),
    "a body was read": (hello, UPLOAD_CLOSE, True),
    "a stream": (streams, GET_CLOSE, True),
    "a stream whose end is the connection's": (streams, b"GET / HTTP/1.0\r\n\r\n", True),
    "a 500": (crashes, GET_CLOSE, True),
    "the application wants the end, and the peer may not have ended": (closes, GET, False),
    "something came behind it": (hello, GET_CLOSE + GET, False),
    "it broke the protocol": (hello, b"NONSENSE\r\n", False),
}


@pytest.mark.parametrize("end", ENDS)
async def test_only_what_has_ended_in_order_leaves_a_task_that_rests(end, autojump_clock, fates):
    handler, said, rests = ENDS[end]
    async with open_house(handler, tcp=True) as house:
        await visit(house, said)
        await house.empty()
        await trio.sleep(30)
        assert (resting(house), fates) == ((1, []) if rests else (0, [Fate.CLOSED]))
        assert (await visit(house)).startswith(b"HTTP/1.1 ")


async def test_not_under_a_task_of_the_application_that_waits_for_its_peer(autojump_clock, fates):
    async with trio.open_nursery() as nursery:

        async def handler(request):
            nursery.start_soon(lingers, request)
            await wait_all_tasks_blocked()
            return rr.Response(b"hi")

        async def lingers(request):
            with pytest.raises(RuntimeError):
                await request.disconnected()

        async with open_house(handler, tcp=True) as house:
            await visit(house)
            assert len(fates) + resting(house) == 1


async def test_so_many_rest_at_most_and_all_end_with_a_drain(autojump_clock, fates, monkeypatch):
    monkeypatch.setattr(spares, "KEPT", 3)
    async with open_house(tcp=True) as house:
        peers = [house.tcp_peer() for _ in range(5)]
        for peer in peers:
            await peer.say(GET_CLOSE)
        await wait_all_tasks_blocked()
        assert (resting(house), len(fates)) == (3, 2)
        busy = [house.tcp_peer() for _ in range(2)]
        await wait_all_tasks_blocked()
        assert (resting(house), len(tasks(house))) == (1, 2)
        await busy[0].say(GET)
        outcome = await house.listener.drain()
        assert outcome.finished == 2
    assert sorted(fates, key=str) == [Fate.CLOSED] * 4 + [Fate.PARKED]


@pytest.mark.parametrize("act", ["notify", "drain"])
async def test_an_observer_that_is_told_of_the_end_may_end_all(act, autojump_clock, fates):
    class Ends(rr.Observer):
        def listener_conn_close(self, event):
            if act == "notify":
                house.listener.notify()
            else:
                house.listener._drain_bereft()  # as an application does whose lifetime has failed

    async with open_house(tcp=True, observers=[Ends()]) as house:
        assert (await visit(house)).startswith(b"HTTP/1.1 200")
        if act == "notify":
            assert (resting(house), fates) == (1, [])
            assert (await visit(house)).startswith(b"HTTP/1.1 200")
        assert await house.listener.drain() == rr.Drained(0, 0, 0)
    assert fates == [Fate.PARKED]


async def test_a_newcomer_that_a_drain_finds_has_its_second_in_there_too(autojump_clock):
    async with open_house(tcp=True) as house:
        await visit(house)
        peer = house.tcp_peer()
        await wait_all_tasks_blocked()
        assert resting(house) == 0
        async with trio.open_nursery() as nursery:
            nursery.start_soon(house.listener.drain)
            await trio.sleep(0.5)
            await peer.say(GET)
            assert peer.heard.startswith(b"HTTP/1.1 200")
            assert CLOSE in peer.heard


async def test_when_all_is_cancelled_it_is_too(autojump_clock, fates):
    async with open_house(tcp=True) as house:
        await visit(house)
        assert resting(house) == 1
    assert house.listener._spares._resting == []


async def test_a_socket_that_cannot_be_watched_costs_no_task(autojump_clock, fates, monkeypatch):
    async with open_house(tcp=True) as house:
        await visit(house)
        watch = Poller.watch

        def full(self, sock, watched):
            raise OSError(errno.ENOSPC, "no room for another watch")

        monkeypatch.setattr(Poller, "watch", full)
        with socket.create_connection(("127.0.0.1", house.listener.port)) as unlucky:
            await wait_all_tasks_blocked()
            unlucky.settimeout(5)
            assert unlucky.recv(1) == b""
        assert (house.active, resting(house), fates) == (0, 1, [])
        monkeypatch.setattr(Poller, "watch", watch)
        assert (await visit(house)).startswith(b"HTTP/1.1 200")
        assert (resting(house), fates) == (1, [])


async def test_who_leads_does_not_rest_at_the_poller(autojump_clock, fates):
    """A peer that is alone makes its task the leader. When its connection ends, another can be served by that task."""
    async with open_house(tcp=True) as house:
        poller = house.listener._context.poller
        peer = house.tcp_peer()
        for _ in range(40):
            await peer.say(GET)
        assert poller.leader is not None
        await peer.say(GET_CLOSE)
        await peer.end()
        await wait_all_tasks_blocked()
        assert (resting(house), poller.leader) == (1, None)
        assert (await visit(house)).startswith(b"HTTP/1.1 200")
        assert (resting(house), fates) == (1, [])


async def test_a_crowd_is_answered_at_the_end_of_a_turn_and_then_closed(autojump_clock, monkeypatch):
    """Else each answer wakes its peer by itself, which costs more than the answer."""
    told = []
    flush, retire = spares.SocketWire.flush, spares.SocketWire.retire
    monkeypatch.setattr(spares.SocketWire, "flush", lambda self: (told.append("write"), flush(self))[1])
    monkeypatch.setattr(spares.SocketWire, "retire", lambda self: (told.append("close"), retire(self))[1])
    async with open_house(tcp=True) as house:
        peers = [house.tcp_peer() for _ in range(8)]
        for peer in peers:
            peer.slip(GET_CLOSE)
        for peer in peers:
            await peer.end()
            assert peer.heard.startswith(b"HTTP/1.1 200")
        assert told == ["write"] * 8 + ["close"] * 8


async def test_where_a_header_comes_before_the_first_request_each_has_a_task_of_its_own(autojump_clock, fates):
    settings = {"proxy_protocol": rr.ProxyProtocol("127.0.0.1"), "timeouts": rr.Timeouts(park_after=5, keep_alive=20)}
    async with open_house(tcp=True, **settings) as house:
        header = b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"
        parks = house.tcp_peer()
        await parks.say(header + GET)
        await trio.sleep(10)
        assert (house.listener._dormitory.count, resting(house)) == (1, 1)  # this one may be woken, and had its header
        for _ in range(2):
            assert (await visit(house, header + GET_CLOSE)).startswith(b"HTTP/1.1 200")
            assert resting(house) == 1
        await parks.say(GET)
        assert parks.heard.count(b"HTTP/1.1 200") == 2
        assert fates == [Fate.CLOSED] * 2
    assert {event.peer for name, event in house.watch.events if name == "accept"} == {("192.0.2.1", 1)}
