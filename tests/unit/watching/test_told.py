"""What a worker shows of itself, on a socket, in lines; and how these are read."""

from __future__ import annotations

import json
import socket
from contextlib import aclosing, asynccontextmanager

import pytest
import trio
import trio.testing

import roadrunner_trio as rr
from roadrunner_trio.server.listener import insides
from roadrunner_trio.testing import open_server
from roadrunner_trio.watching import told
from roadrunner_trio.watching.told import first, heard, show


async def app(request):
    await trio.sleep(10)
    return rr.Response()


@asynccontextmanager
async def asked(*questions):
    """A server with one connection in its handler, and what it shows when it is asked so."""
    async with open_server(app) as server, trio.open_nursery() as nursery:
        await server.connect().send_all(b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n")
        await trio.testing.wait_all_tasks_blocked()
        answer = show([server.listener])
        streams = []
        for question in questions:
            near, far = socket.socketpair()
            nursery.start_soon(answer, far, question)
            near.setblocking(False)
            streams.append(trio.SocketStream(trio.socket.from_stdlib_socket(near)))
        yield server, streams
        for stream in streams:
            await stream.aclose()
        nursery.cancel_scope.cancel()


async def read(stream, count):
    found = []
    async with aclosing(heard(stream)) as events:
        async for name, line in events:
            found.append((name, json.loads(line)))
            if len(found) == count:
                break
    return found


async def test_a_stream_is_everything_and_then_what_changes(autojump_clock):
    async with asked({"what": "stream"}) as (_, [stream]):
        (name, everything), (other, changes) = await read(stream, 2)
    assert (name, other) == ("all", "change")
    assert [row["doing"] for row in everything["connections"]] == ["GET /x"]
    assert set(changes) <= {"t", "tasks", "listeners"}


async def test_the_numbers_are_those_of_the_listeners_once_a_second(autojump_clock):
    async with asked({"what": "numbers"}) as (server, [stream]):
        began = trio.current_time()
        found = await read(stream, 4)
        assert trio.current_time() - began == 3
        assert insides(server.listener)[1].measure is None  # who only counts remembers nothing
    assert {name for name, _ in found} == {"numbers"}
    assert found[0][1]["listeners"][0]["phases"] == {"dispatch": 1}


async def test_a_closer_look_is_at_what_a_stream_has_shown(autojump_clock):
    async with asked({"what": "closer", "id": "c1"}) as (_, [stream]):
        assert await first(stream) is None  # there was none


async def test_a_stream_and_a_closer_look_share_what_is_shown(autojump_clock):
    async with open_server(app) as server, trio.open_nursery() as nursery:
        server.connect()
        await trio.testing.wait_all_tasks_blocked()
        answer, pairs = show([server.listener]), [socket.socketpair() for _ in range(2)]
        nursery.start_soon(answer, pairs[0][1], {"what": "stream"})
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(answer, pairs[1][1], {"what": "closer", "id": "c1"})
        near = [trio.SocketStream(trio.socket.from_stdlib_socket(pair[0])) for pair in pairs]
        with trio.fail_after(10):
            line = await first(near[1])
        assert line is not None
        assert json.loads(line)["id"] == "c1"
        for stream in near:
            await stream.aclose()
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    "question", [{}, {"what": "dance"}, {"what": "closer"}, {"what": "closer", "id": 7}, {"id": "1"}]
)
async def test_what_a_later_supervisor_asks_is_answered_by_an_end(question, autojump_clock):
    async with asked(question) as (_, [stream]):
        with trio.fail_after(10):
            assert await read(stream, 1) == []


async def test_a_look_ends_when_nobody_reads_any_more(autojump_clock):
    async with open_server(app) as server:
        answer, (near, far) = show([server.listener]), socket.socketpair()
        near.close()
        with trio.fail_after(5):
            await answer(far, {"what": "stream"})
        assert far.fileno() == -1
        assert insides(server.listener)[1].measure is None


async def test_a_look_ends_when_the_reader_does_not_take_it(autojump_clock, monkeypatch):
    async with open_server(app) as server:
        answer, (near, far) = show([server.listener]), socket.socketpair()
        far.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        with near:
            began = trio.current_time()
            await answer(far, {"what": "numbers"})
            assert told.PATIENCE <= trio.current_time() - began <= told.PATIENCE + 60


async def test_a_line_without_an_end_is_none(monkeypatch):
    monkeypatch.setattr(told, "LONGEST", 1000)
    ours, theirs = trio.testing.memory_stream_pair()
    await theirs.send_all(b"all {}\n" + b"x" * 1001)
    events = heard(ours)
    assert await anext(events) == ("all", "{}")
    with pytest.raises(ValueError, match="more than 1000 octets"):
        await anext(events)


async def test_pieces_of_lines_are_put_together_and_a_half_at_the_end_is_dropped():
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:

        async def send():
            for piece in (b"nu", b'mbers {"a":', b"1}\nall \xff", b"\nhalf"):
                await theirs.send_all(piece)
                await trio.testing.wait_all_tasks_blocked()
            await theirs.aclose()

        nursery.start_soon(send)
        assert [each async for each in heard(ours)] == [("numbers", '{"a":1}'), ("all", "\ufffd")]
