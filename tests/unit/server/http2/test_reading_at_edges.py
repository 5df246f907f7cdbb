"""Where a poller tells of octets, requests are begun in its word, and the task that reads sleeps on."""

from __future__ import annotations

import ssl
import sys
from contextlib import suppress
from contextvars import ContextVar

import pytest
import trio
import trio.testing
from http2_peer import Http2Peer, open_http2
from http2_tools import HELLO, request
from story_tools import loud, open_house
from tls_tools import contexts_of_a_new_authority

import roadrunner_trio as rr
from roadrunner_trio.server.http2 import connection, streams
from roadrunner_trio.server.http2.writer import Writer
from roadrunner_trio.transport.poller import STREAK, Poller

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only where there is a poller")
mark: ContextVar[str] = ContextVar("mark", default="")


async def hello(request):
    return rr.Response("hi")


def counted(monkeypatch, owner, name) -> list[int]:
    """A list with an item for each call of a function."""
    calls, original = [], getattr(owner, name)

    def count(*args):
        calls.append(1)
        return original(*args)

    monkeypatch.setattr(owner, name, count)
    return calls


async def test_the_task_that_reads_is_not_woken_for_whole_requests(monkeypatch, autojump_clock):
    reads = counted(monkeypatch, connection, "receive")
    async with open_http2(hello, "tcp") as (_, peer):
        assert (await peer.get()).status == 200
        before = len(reads)
        for _ in range(20):
            assert (await peer.get(body=b"x" * 1000, method="POST")).brief == (200, b"hi")
        assert len(reads) == before


async def test_one_request_alone_is_answered_without_the_end_of_a_turn(monkeypatch, autojump_clock):
    ends = counted(monkeypatch, Poller, "flush_soon")
    async with open_http2(hello, "tcp") as (_, peer):
        assert (await peer.get()).status == 200
        ends.clear()
        for _ in range(5):
            assert (await peer.get()).status == 200
        assert not ends


async def test_what_several_streams_are_answered_leaves_together(monkeypatch, autojump_clock):
    sends = []
    async with open_http2(hello, "tcp") as (_, peer):
        assert (await peer.get()).status == 200
        original = Writer._write
        monkeypatch.setattr(Writer, "_write", lambda writer, data: sends.append(data) or original(writer, data))
        numbers = [peer.ask() for _ in range(10)]
        await peer.flush()
        for number in numbers:
            assert (await peer.answer(number)).status == 200
        assert len(sends) == 1


async def test_our_own_mistake_where_a_request_is_begun_ends_its_connection_alone(monkeypatch, caplog, autojump_clock):
    original = streams.Http2Connection.begin

    def begin(conn, stream):
        if stream.head.path == b"/mistake":
            raise RuntimeError("a mistake of ours")
        original(conn, stream)

    monkeypatch.setattr(streams.Http2Connection, "begin", begin)
    async with open_http2(hello, "tcp") as (house, peer):
        neighbour = await Http2Peer(house.meet("tcp")).greet()
        assert (await peer.get()).status == (await neighbour.get()).status == 200
        peer.ask("/mistake")
        await peer.flush()
        await peer.end()
        assert (await neighbour.get()).brief == (200, b"hi")
    [line] = loud(caplog)
    assert "failed" in line


async def test_a_breach_behind_a_whole_request_is_met(autojump_clock):
    async with open_house(hello, tcp=True) as house:
        peer = house.meet("tcp")
        await peer.say(HELLO + request(1))
        await peer.say(request(3) + b"\0\0\0\x06\0\0\0\0\0")  # a PING without its octets
        await peer.end()
        assert b"\0\0\x08\x07\0\0\0\0\0\0\0\0\x03\0\0\0\x06" in peer.heard  # GOAWAY, FRAME_SIZE_ERROR


async def test_a_frame_in_pieces_has_its_time_and_its_least_rate(autojump_clock):
    async with open_house(hello, tcp=True, timeouts=rr.Timeouts(request=7)) as house:
        peer = house.meet("tcp")
        await peer.say(HELLO + request(1))
        await trio.sleep(1)
        await peer.say(request(3)[:5])
        await peer.end()
        assert trio.current_time() == pytest.approx(8, abs=0.1)


async def test_context_variables_of_one_request_are_not_those_of_the_next(autojump_clock):
    async def note(request):
        found = mark.get()
        mark.set(request.path)
        await trio.sleep(1)
        return rr.Response(found)

    async with open_http2(note, "tcp") as (_, peer):
        for _ in range(3):
            numbers = [peer.ask(f"/{at}") for at in range(3)]
            await peer.flush()
            for number in numbers:
                assert (await peer.answer(number)).brief == (200, b"")


@pytest.mark.parametrize("kind", ["memory", "tcp"])
async def test_neighbours_have_their_turn_between_large_heads(kind, monkeypatch, autojump_clock):
    begun: list[int] = []
    take, begin = streams.Http2Connection.begin_ready, streams.Http2Connection.begin

    def begin_ready(conn):
        begun.append(0)
        return take(conn)

    def count(conn, stream):
        begun[-1] += 1
        begin(conn, stream)

    monkeypatch.setattr(streams.Http2Connection, "begin_ready", begin_ready)
    monkeypatch.setattr(streams.Http2Connection, "begin", count)
    async with open_http2(hello, kind) as (_, peer):
        numbers = [peer.ask(fields=[("x-large", f"{at:05}" * 1500)]) for at in range(7)]
        await peer.flush()
        for number in numbers:
            assert (await peer.answer(number)).status == 200
        assert max(begun) < 6
        assert sum(begun) == 7
        begun.clear()
        numbers = [peer.ask() for _ in range(20)]
        await peer.flush()
        for number in numbers:
            assert (await peer.answer(number)).status == 200
        assert max(begun) == 20, "small ones are begun together"


async def test_a_request_begun_by_a_neighbour_who_keeps_the_watch_sees_nothing_of_his(autojump_clock):
    """His handler reads a body, alone, in pieces, until his task is the poller's leader."""

    async def handler(request):
        found = mark.get()
        mark.set(request.path)
        if request.method == "POST":
            async for _ in request.stream():
                pass
        return rr.Response(found or "nothing")

    async with open_house(handler, tcp=True, body="streaming") as house:
        neighbour = await Http2Peer(house.meet("tcp")).greet()
        leader = house.meet("tcp")
        await leader.say(b"POST /secret HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n")
        for _ in range(2 * STREAK):
            await leader.say(b"x")
        assert house.listener._context.poller.leader is not None
        assert (await neighbour.get()).brief == (200, b"nothing")


async def test_an_end_that_tls_says_with_a_request_is_heard():
    """It comes in one read with the request, and the peer keeps its socket open: no other edge comes."""
    server, client = contexts_of_a_new_authority()
    client.set_alpn_protocols(["h2"])
    arrived, left = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = client.wrap_bio(arrived, left, server_hostname="test.example")
    async with open_house(hello, tcp=True, tls=server, timeouts=rr.Timeouts(linger=0.1)) as house:
        stream = await trio.open_tcp_stream("127.0.0.1", house.listener.port)
        for step in (tls.do_handshake, lambda: tls.write(HELLO + request(1)), tls.read):
            while True:
                with suppress(ssl.SSLWantReadError):
                    step()
                    break
                await stream.send_all(left.read())
                arrived.write(await stream.receive_some())
        await trio.testing.wait_all_tasks_blocked(0.05)
        tls.write(request(3))
        with suppress(ssl.SSLError):  # what it has not read yet
            tls.unwrap()
        await stream.send_all(left.read())
        with trio.fail_after(30):  # less than keep_alive
            await house.empty()
        assert house.listener.info().requests == 2
        await stream.aclose()


@pytest.mark.parametrize("wrong", [None, trio.BrokenResourceError("gone")], ids=["in order", "by an exception"])
async def test_what_has_come_may_end_the_connection_and_with_it_the_wait(wrong, monkeypatch, autojump_clock, caplog):
    """As when a peer acknowledges a GOAWAY and ends what it sends in one edge: the reader is not woken once more."""

    def ends(conn):
        conn.nursery.cancel_scope.cancel(reason="every stream of the connection is done")
        if wrong is not None:
            raise wrong
        return False

    async with open_http2(hello, "tcp") as (house, peer):
        assert (await peer.get()).status == 200
        await trio.testing.wait_all_tasks_blocked()
        monkeypatch.setattr(streams.Http2Connection, "begin_now", ends)
        peer.peer.slip(b"anything")
        await house.empty()
    assert loud(caplog) == []
