"""How a connection ends after its handler began: E17 to E19, E21, E23 to E25."""

from __future__ import annotations

import logging
import os

import pytest
import trio
from story_tools import GET, GET_10, GET_CLOSE, answer, hello, last_word, loud, open_house, post

import roadrunner_trio as rr

ERROR_500 = last_word(b"500 Internal Server Error")
CHUNKED_HEAD = b"HTTP/1.1 200 OK\r\ndate: D\r\ntransfer-encoding: chunked\r\n\r\n"


async def test_e17_a_handler_that_raises_gets_500_and_one_log_line(autojump_clock, caplog):
    async def handler(request):
        raise ValueError("secret")

    async with open_house(handler) as house:
        peer = house.peer()
        await peer.say(GET)
        assert await peer.end() == ERROR_500, "nothing of the exception leaks"
        assert peer.ended_at == 0
        await peer.close()
        assert house.active == 0
    assert house.watch.names() == ["accept", "start", "exception", "close"]
    event = house.watch.only("exception")
    assert (event.status, event.outcome, event.kind, str(event.error)) == (500, "error", "none", "secret")
    [record] = caplog.records
    assert record.levelno == logging.ERROR
    assert record.getMessage().startswith("the handler of <Request ")
    assert record.exc_info is not None
    assert record.exc_info[1] is event.error


async def test_e17_what_the_peer_sent_ahead_is_not_served(autojump_clock, caplog):
    async def handler(request):
        raise ValueError(request.path)

    async with open_house(handler) as house:
        peer = house.peer()
        await peer.say(GET + GET)
        assert await peer.end() == ERROR_500
        assert await house.empty() == 2
    assert len(caplog.records) == 1


async def test_e18_a_peer_that_asks_for_the_close_gets_it_at_once(autojump_clock):
    async with open_house() as house:
        peer = house.peer()
        await peer.say(GET_CLOSE)
        assert await peer.end() == answer(b"hi", b"connection: close")
        assert (peer.ended_at, house.active) == (0, 0), "it sends no more: nothing to linger for"
    assert house.watch.names() == ["accept", "start", "stop", "close"]


async def test_e18_an_http_10_peer_is_closed_unless_it_asks_for_more(autojump_clock):
    async with open_house() as house:
        peer = house.peer()
        await peer.say(GET_10)
        assert await peer.end() == answer(b"hi", b"connection: close")
        assert (peer.ended_at, house.active) == (0, 0)


async def test_e18_a_handler_that_asks_for_the_close_gets_it(autojump_clock):
    async def handler(request):
        return rr.Response("bye", fields={"Connection": "close"})

    async with open_house(handler) as house:
        peer = house.peer()
        await peer.say(GET + GET)
        assert await peer.end() == answer(b"bye", b"connection: close")
        assert peer.ended_at == 0
        assert await house.empty() == 2, "the peer did not ask for it, and may still be sending"


async def test_e19_the_last_request_a_connection_may_send_is_answered_with_close(autojump_clock):
    async with open_house(limits=rr.Limits(max_requests=3)) as house:
        peer = house.peer()
        await peer.say(GET * 4)
        assert await peer.end() == answer(b"hi") * 2 + answer(b"hi", b"connection: close")
        assert peer.ended_at == 0
        await peer.close()
        assert house.active == 0
    assert house.watch.names() == ["accept", *["start", "stop"] * 3, "close"]
    assert house.watch.only("close").requests == 3


async def test_e19_a_ceiling_of_one(autojump_clock):
    async with open_house(limits=rr.Limits(max_requests=1)) as house:
        peer = house.peer()
        await peer.say(GET)
        assert await peer.end() == answer(b"hi", b"connection: close")


@pytest.mark.parametrize("kind", ["stream", "loop"])
async def test_e21_a_stream_that_ended_properly_keeps_the_connection(kind, autojump_clock):
    async def handler(request):
        if kind == "stream":
            return rr.StreamResponse(lambda send: send(b"tick"))
        put, get = trio.open_memory_channel[bytes](1)
        put.send_nowait(b"tick")
        put.close()
        return rr.LoopResponse(get, lambda message, send: send(message))

    async with open_house(handler) as house:
        peer = house.peer()
        for _ in range(2):
            await peer.say(GET)
            assert peer.take() == CHUNKED_HEAD + b"4\r\ntick\r\n0\r\n\r\n"
        await peer.end()
        assert peer.ended_at == 75
    assert house.watch.names() == ["accept", *["start", "stop"] * 2, "close"]
    assert [event.kind for name, event in house.watch.events if name == "stop"] == [kind] * 2


@pytest.mark.parametrize("nonsense", [None, "text", {"status": 200}, (200, [], b""), rr.Response])
async def test_e23_a_handler_that_returns_no_response_gets_500(nonsense, autojump_clock, caplog):
    async def handler(request):
        return nonsense

    async with open_house(handler) as house:
        peer = house.peer()
        await peer.say(GET)
        assert await peer.end() == ERROR_500
        assert await house.empty() == 2
    assert house.watch.names() == ["accept", "start", "exception", "close"]
    [record] = caplog.records
    assert "is not a response" in str(record.exc_info[1]), "the log says whose fault it is"


@pytest.mark.parametrize(
    "build",
    [
        lambda: rr.Response(fields={"X": "a\r\nSet-Cookie: b"}),
        lambda: rr.Response(fields={"X": "a\0"}),
        lambda: rr.Response(fields={"X\n": "a"}),
        lambda: rr.Response(status=99),
        lambda: rr.Response(status=600),
        lambda: rr.Response(reason="fine\r\nX: y"),
        lambda: rr.Response(fields={"content-length": "five"}),
    ],
    ids=["CRLF", "NUL", "name", "99", "600", "reason", "length"],
)
async def test_e23_a_response_that_would_split_the_message_is_a_500(build, autojump_clock, caplog):
    async def handler(request):
        return build()

    async with open_house(handler) as house:
        peer = house.peer()
        await peer.say(GET)
        assert await peer.end() == ERROR_500
    assert house.watch.names() == ["accept", "start", "exception", "close"]
    assert len(caplog.records) == 1


async def test_e23_a_field_slipped_past_the_checks_is_stopped_at_the_last_door(autojump_clock, caplog):
    async def handler(request):
        response = rr.Response("hi")
        response.fields.append((b"x", b"a\r\nset-cookie: b"))
        return response

    async with open_house(handler) as house:
        peer = house.peer()
        await peer.say(GET)
        assert await peer.end() == ERROR_500
    assert len(caplog.records) == 1


@pytest.mark.parametrize("kind", ["stream", "loop"])
async def test_e23_a_stream_that_raises_is_cut_where_it_was(kind, autojump_clock, caplog):
    async def produce(send):
        await send(b"tick")
        raise ValueError

    async def on_message(message, send):
        await produce(send)

    async def handler(request):
        if kind == "stream":
            return rr.StreamResponse(produce)
        put, get = trio.open_memory_channel[bytes](1)
        put.send_nowait(b"go")
        return rr.LoopResponse(get, on_message)

    async with open_house(handler) as house:
        peer = house.peer()
        await peer.say(GET)
        assert await peer.end() == CHUNKED_HEAD + b"4\r\ntick\r\n", "no last chunk: the peer can tell (N25)"
        assert peer.ended_at == 0
        await peer.close()
        assert house.active == 0
    assert house.watch.names() == ["accept", "start", "exception", "close"]
    event = house.watch.only("exception")
    assert (event.status, event.outcome, event.sent) == (200, "error", 4)
    assert len(loud(caplog)) == 1


async def test_e23_crashes_leak_no_slot(autojump_clock, caplog):
    async def handler(request):
        return None

    async with open_house(handler, limits=rr.Limits(max_connections=10)) as house:
        for _ in range(50):
            peer = house.peer()
            await peer.say(GET)
            assert await peer.end() == ERROR_500
            await peer.close()
        assert house.active == 0
    assert len(caplog.records) == 50


async def test_e24_a_file_that_shrinks_while_it_is_sent_truncates_the_response(autojump_clock, caplog, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"x" * 200_000)

    async def handler(request):
        return rr.FileResponse(path)

    async with open_house(handler) as house:
        peer, stream = house.slow_peer(100_000)
        await peer.say(GET)
        await peer.until(b"x" * 60_000)
        os.truncate(path, 50)
        stream.grant(1_000_000)
        await peer.end()
        assert b"\r\ncontent-length: 200000\r\n" in peer.heard
        assert len(peer.heard.partition(b"\r\n\r\n")[2]) < 200_000
        await peer.close()
        assert house.active == 0
    assert house.watch.names() == ["accept", "start", "exception", "close"]
    event = house.watch.only("exception")
    assert (event.status, event.outcome, event.kind) == (200, "error", "file")
    assert isinstance(event.error, EOFError)
    assert len(loud(caplog)) == 1


async def test_e25_a_request_not_answered_at_the_deadline_of_a_drain_gets_503(autojump_clock, caplog):
    async def handler(request):
        await trio.sleep_forever()

    async with open_house(handler) as house:
        peer = house.peer()
        await peer.say(GET)
        assert await house.listener.drain(5) == rr.Drained(finished=0, cut=1, stuck=0)
        assert trio.current_time() == 5
        assert await peer.end() == last_word(b"503 Service Unavailable")
        assert peer.ended_at == 5
        assert house.active == 0
    assert house.watch.names() == ["accept", "start", "exception", "close"]
    event = house.watch.only("exception")
    assert (event.status, event.outcome, event.duration, event.error) == (503, "cancelled", 5, None)
    assert loud(caplog) == []


async def test_e25_a_body_not_whole_at_the_deadline_gets_503(autojump_clock):
    async with open_house(limits=rr.Limits(min_bytes_per_second=0)) as house:
        peer = house.peer()
        await peer.say(post(b"Content-Length: 5", body=b"1"))
        assert await house.listener.drain(5) == rr.Drained(finished=0, cut=1, stuck=0)
        assert await peer.end() == last_word(b"503 Service Unavailable")
        assert peer.ended_at == 5
    assert house.watch.names() == ["accept", "close"]


async def test_e25_a_response_under_way_at_the_deadline_is_cut(autojump_clock):
    async def produce(send):
        await send(b"tick")
        await trio.sleep_forever()

    async def handler(request):
        return rr.StreamResponse(produce)

    async with open_house(handler) as house:
        peer = house.peer()
        await peer.say(GET)
        assert await house.listener.drain(5) == rr.Drained(finished=0, cut=1, stuck=0)
        assert await peer.end() == CHUNKED_HEAD + b"4\r\ntick\r\n"
        assert peer.ended_at == 5
    assert house.watch.only("exception").outcome == "cancelled"


async def test_e25_half_a_head_at_the_deadline_is_cut(autojump_clock):
    async with open_house(hello, limits=rr.Limits(min_bytes_per_second=0)) as house:
        peer = house.peer()
        await peer.say(b"GET /")
        assert await house.listener.drain(5) == rr.Drained(finished=0, cut=1, stuck=0)
        assert await peer.end() == b""
        assert peer.ended_at == 5
    assert house.watch.names() == ["accept", "close"]
