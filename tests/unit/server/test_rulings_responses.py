"""Rulings on responses: their framing, what becomes of the connection, and what observers are told."""

from __future__ import annotations

import pytest
import trio
from story_tools import GET, GET_10, GET_CLOSE, answer, last_word, loud, open_house, post

import roadrunner_trio as rr

HEAD = b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n"
KEEP_10 = b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"


def answering(response) -> object:
    """A handler that makes this response, anew for every request."""

    async def handler(request):
        return response()

    return handler


def ticks(*pieces: bytes, trailers=None, **settings) -> object:
    """A handler that streams these pieces."""

    async def produce(send):
        for piece in pieces:
            await send(piece)
        return trailers

    return answering(lambda: rr.StreamResponse(produce, **settings))


def loop(*messages: bytes) -> object:
    """A handler whose loop response sends these messages on."""

    async def handler(request):
        put, get = trio.open_memory_channel[bytes](len(messages))
        for message in messages:
            put.send_nowait(message)
        put.close()
        return rr.LoopResponse(get, lambda message, send: send(message))

    return handler


async def ask(head: bytes, handler, **settings) -> bytes:
    """What one peer hears that says all of ``head``."""
    async with open_house(handler, **settings) as house:
        peer = house.peer()
        await peer.say(head)
        return peer.take()


async def test_n01_a_404_is_an_ordinary_response(autojump_clock, caplog):
    async def handler(request):
        raise rr.HTTPError(404)

    async with open_house(handler) as house:
        peer = house.peer()
        text = b"content-type: text/plain; charset=utf-8"
        for _ in range(2):
            await peer.say(GET)
            assert peer.take() == answer(b"Not Found", text, status=b"404 Not Found"), "dated, and kept alive"
        assert house.active == 1
    assert house.watch.names() == ["accept", *["start", "stop"] * 2, "close"]
    assert [event.status for name, event in house.watch.events if name == "stop"] == [404, 404]
    assert loud(caplog) == []


async def test_n02_a_405_is_one_too_and_says_what_is_allowed(autojump_clock):
    async def handler(request):
        raise rr.HTTPError(405, "no", fields=[("Allow", "GET, HEAD")])

    fields = (b"content-type: text/plain; charset=utf-8", b"allow: GET, HEAD")
    assert await ask(GET * 2, handler) == answer(b"no", *fields, status=b"405 Method Not Allowed") * 2


async def test_n03_a_failure_while_the_response_is_written_is_a_500_while_nothing_is_out(autojump_clock, caplog):
    async def handler(request):
        return rr.Response(fields=[("content-length", "5"), ("content-length", "6")])

    async with open_house(handler) as house:
        peer = house.peer()
        await peer.say(GET)
        assert peer.take() == last_word(b"500 Internal Server Error")
    assert house.watch.names() == ["accept", "start", "exception", "close"]
    assert len(caplog.records) == 1


async def test_n03_and_cuts_the_connection_once_the_head_is_out(autojump_clock, caplog):
    async with open_house(ticks(b"123456", fields={"content-length": "5"})) as house:
        peer = house.peer()
        await peer.say(GET + GET)
        assert await peer.end() == answer(b"").replace(b"length: 0", b"length: 5")
    assert house.watch.names() == ["accept", "start", "exception", "close"]
    assert len(caplog.records) == 1


async def test_n12_the_close_is_announced_to_whoever_asked_for_it(autojump_clock):
    assert await ask(GET_CLOSE, answering(lambda: rr.Response("hi"))) == answer(b"hi", b"connection: close")
    assert await ask(GET_10, answering(lambda: rr.Response("hi"))) == answer(b"hi", b"connection: close")


async def test_n12_keep_alive_is_granted_to_an_http_10_peer_that_asked(autojump_clock):
    heard = await ask(KEEP_10 * 2 + GET_10, answering(lambda: rr.Response("hi")))
    assert heard == answer(b"hi", b"connection: keep-alive") * 2 + answer(b"hi", b"connection: close")


async def test_n21_the_length_is_computed(autojump_clock):
    assert await ask(GET, answering(lambda: rr.Response("£"))) == answer(b"\xc2\xa3")
    assert await ask(GET, answering(rr.Response)) == answer(b"")


async def test_n21_and_a_handler_that_declares_another_is_in_error(autojump_clock):
    """A body that was cut short before it came here must not be made to look whole."""
    assert await ask(GET, answering(lambda: rr.Response("hi", fields={"content-length": "2"}))) == answer(b"hi")
    for length in ("1", "7"):
        said = await ask(GET, answering(lambda: rr.Response("hi", fields={"content-length": length})))  # noqa: B023
        assert said.startswith(b"HTTP/1.1 500 ")


@pytest.mark.parametrize("status", [100, 101, 103, 199])
@pytest.mark.parametrize("how", ["respond", "start_response"])
async def test_n24_an_app_cannot_end_a_request_with_an_interim_response(status, how, autojump_clock):
    class Interim:
        def plan(self, request):
            return rr.Plan()

        async def __call__(self, exchange):
            await getattr(exchange, how)(status, (), *([b""] if how == "respond" else []))

    async with open_house(Interim()) as house:
        peer = house.peer()
        await peer.say(GET)
        assert (await peer.end()).startswith(b"HTTP/1.1 500 "), "it would wait for a final one for ever"


@pytest.mark.parametrize("status", [204, 304])
@pytest.mark.parametrize("kind", ["buffered", "stream"])
async def test_n22_a_status_without_content_has_none_on_the_wire(status, kind, autojump_clock):
    fields = {"content-length": "2"}
    if kind == "buffered":
        handler = answering(lambda: rr.Response("hi", status=status, fields=fields))
    else:
        handler = ticks(b"hi", status=status, fields=fields)
    line = b"HTTP/1.1 204 No Content" if status == 204 else b"HTTP/1.1 304 Not Modified"
    length = b"" if status == 204 else b"content-length: 2\r\n"
    assert await ask(GET + GET, handler) == (line + b"\r\ndate: D\r\n" + length + b"\r\n") * 2


async def test_n23_head_gets_the_head_of_a_buffered_response(autojump_clock):
    assert await ask(HEAD + GET, answering(lambda: rr.Response("hi"))) == answer(b"hi")[:-2] + answer(b"hi")


@pytest.mark.parametrize("make", [ticks, loop], ids=["stream", "loop"])
async def test_n23_head_gets_the_head_of_a_stream_and_nothing_is_produced(make, autojump_clock):
    heard = await ask(HEAD + HEAD, make(b"tick"))
    assert heard == b"HTTP/1.1 200 OK\r\ndate: D\r\n\r\n" * 2


@pytest.mark.parametrize("status", [100, 101, 103, 199])
async def test_n24_an_interim_status_is_no_response(status, autojump_clock, caplog):
    async with open_house(answering(lambda: rr.Response(status=status))) as house:
        peer = house.peer()
        await peer.say(GET)
        assert await peer.end() == last_word(b"500 Internal Server Error")
    assert house.watch.only("exception").status == 500, "what was sent, not what was asked for"
    assert len(caplog.records) == 1


async def test_n25_n32_a_clean_return_ends_the_body_and_keeps_the_connection(autojump_clock):
    head = b"HTTP/1.1 200 OK\r\ndate: D\r\ntransfer-encoding: chunked\r\n\r\n"
    chunks = b"3\r\none\r\n14\r\n" + b"x" * 20 + b"\r\n0\r\n\r\n"
    assert await ask(GET + GET, ticks(b"one", b"", b"x" * 20)) == (head + chunks) * 2
    assert await ask(GET + GET, loop(b"one", b"x" * 20)) == (head + chunks) * 2


async def test_n25_a_clean_return_short_of_the_declared_length_is_an_error(autojump_clock, caplog):
    async with open_house(ticks(b"1234", fields={"content-length": "5"})) as house:
        peer = house.peer()
        await peer.say(GET + GET)
        assert await peer.end() == answer(b"").replace(b"length: 0", b"length: 5") + b"1234"
    assert house.watch.only("exception").outcome == "error"
    assert len(loud(caplog)) == 1


async def test_n33_to_http_10_a_stream_is_delimited_by_the_close(autojump_clock):
    async with open_house(ticks(b"tick", b"tock", trailers={"Digest": "dropped"})) as house:
        peer = house.peer()
        await peer.say(KEEP_10)
        assert await peer.end() == b"HTTP/1.1 200 OK\r\ndate: D\r\nconnection: close\r\n\r\nticktock"
        assert peer.ended_at == 0


async def test_n33_unless_its_length_is_known(autojump_clock):
    heard = await ask(KEEP_10 * 2, ticks(b"tick", fields={"content-length": "4"}))
    assert heard == answer(b"tick", b"connection: keep-alive") * 2


async def test_n65_the_servers_own_answers_look_like_answers(autojump_clock):
    expected = (
        b"HTTP/1.1 %b\r\ndate: D\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
        answering(lambda: None),
    )
    line, handler = expected
    assert await ask(b"x\r\n", handler) == line % b"400 Bad Request"
    assert await ask(post(b"Content-Length: 99999999"), handler) == line % b"413 Content Too Large"
    assert await ask(GET, handler) == line % b"500 Internal Server Error"


async def test_n66_the_ceiling_is_announced(autojump_clock):
    async with open_house(ticks(b"tick"), limits=rr.Limits(max_requests=2)) as house:
        peer = house.peer()
        await peer.say(GET * 3)
        await peer.end()
        first, second, *more = peer.heard.split(b"HTTP/1.1 200 OK\r\n")[1:]
    assert b"connection" not in first
    assert b"\r\nconnection: close\r\n" in second
    assert more == []


async def test_n71_a_stream_is_over_for_observers_when_it_is_over(autojump_clock):
    async def produce(send):
        await send(b"tick")
        await trio.sleep(7)
        await send(b"tock")

    async with open_house(answering(lambda: rr.StreamResponse(produce))) as house:
        peer = house.peer()
        await peer.say(GET)
        await trio.sleep(6)
        assert house.watch.names() == ["accept", "start"]
        await peer.until(b"0\r\n\r\n")
        event = house.watch.only("stop")
        assert (event.duration, event.sent, event.status, event.outcome) == (7, 8, 200, "complete")
