"""What a router has to say of bodies that the server refuses before a handler has been called."""

from __future__ import annotations

import json

import pytest
import trio
from http2_peer import open_http2
from story_tools import GET, last_word, loud, open_house, post

import roadrunner_trio as rr
from roadrunner_trio.apps.cors import CORS
from roadrunner_trio.apps.router import Route, Router

CHUNKED = b"Transfer-Encoding: chunked"
ENDS = pytest.mark.parametrize("kind", ["memory", "tcp"])


async def as_problem(request, error):
    return rr.Response.problem(error.status, detail=request.path)


async def never(request):
    raise AssertionError("called")


def router(on_error=as_problem, **more):
    return Router(
        [Route("/", never, max_body=5), Route("/stream", never, body="streaming", max_body=5)],
        on_error=on_error,
        **more,
    )


def said(heard):
    """The status line, the fields and the body of an answer."""
    head, _, body = heard.partition(b"\r\n\r\n")
    line, *fields = head.split(b"\r\n")
    return line, fields, body


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (post(b"Content-Length: 6", body=b"123456"), 413),
        (post(b"Content-Length: 6", b"Expect: 100-continue"), 413),
        (post(CHUNKED, body=b"6\r\n123456\r\n0\r\n\r\n"), 413),
        (post(CHUNKED, body=b"x\r\n"), 400),
        (post(b"Content-Length: 6", body=b"1").replace(b"POST / ", b"POST /stream "), 413),
    ],
    ids=["declared", "expected", "chunked", "broken", "streaming"],
)
async def test_what_is_refused_is_said_by_the_application(request_, status, autojump_clock):
    async with open_house(router()) as house:
        peer = house.peer()
        await peer.say(request_)
        line, fields, body = said(await peer.end())
    assert line.split()[1] == b"%d" % status
    assert b"connection: close" in fields
    assert b"content-type: application/problem+json" in fields
    assert json.loads(body)["status"] == status
    event = house.watch.only("rejected")
    assert event.status == status
    assert house.watch.names() == ["accept", "rejected", "close"]


async def test_connection_close_cannot_be_taken_back(autojump_clock):
    async def on_error(request, error):
        return rr.Response("no", status=error.status, fields={"connection": "keep-alive"})

    async with open_house(router(on_error)) as house:
        peer = house.peer()
        await peer.say(post(b"Content-Length: 6", body=b"123456"))
        line, fields, body = said(await peer.end())
    assert (line.split()[1], body) == (b"413", b"no")
    assert b"connection: close" in fields


@ENDS
async def test_a_stream_is_told_and_the_connection_goes_on(kind, autojump_clock):
    async with open_http2(router(), kind) as (_, peer):
        number = peer.ask("/", method="POST", fields=[("content-length", "6")], body=b"123456")
        await peer.flush()
        answer = await peer.answer(number)
        assert (answer.status, json.loads(answer.body)["status"]) == (413, 413)
        assert answer.header("content-type") == "application/problem+json"
        assert (await peer.get("/nothing")).status == 404


async def test_the_fields_of_cors_are_on_it(autojump_clock):
    cors = CORS(["https://a.example"])
    async with open_house(router(), middlewares=[cors]) as house:
        peer = house.peer()
        await peer.say(post(b"Content-Length: 6", b"Origin: https://a.example", body=b"123456"))
        _line, fields, body = said(await peer.end())
    assert b"access-control-allow-origin: https://a.example" in fields
    assert json.loads(body)["status"] == 413


@pytest.mark.parametrize("broken", ["raises", "no response", "group"])
async def test_words_that_fail_leave_the_servers_own(broken, caplog, autojump_clock):
    async def on_error(request, error):
        if broken == "raises":
            raise ValueError("broken")
        if broken == "group":
            raise ExceptionGroup("two", [KeyError(), ValueError()])
        return "text"

    async with open_house(router(on_error)) as house:
        peer = house.peer()
        await peer.say(post(b"Content-Length: 6", body=b"123456"))
        assert await peer.end() == last_word(b"413 Content Too Large")
    assert loud(caplog) == ["the application's words for 413 failed"]


@ENDS
@pytest.mark.parametrize("version", ["http/1.1", "h2"])
async def test_they_cannot_read_what_is_refused(version, kind, autojump_clock):
    async def on_error(request, error):
        with pytest.raises(RuntimeError, match="nor can on_error one that is refused"):
            async for _ in request.stream():
                pass
        return rr.Response("unread", status=error.status)

    async def handler(request):
        return rr.Response("")

    routed = Router([Route("/", handler, max_body=5)], on_error=on_error)
    if version == "h2":
        async with open_http2(routed, kind) as (_, peer):
            for size in (3, 4000):
                answer = await peer.get("/", method="POST", body=b"x" * size)
            assert answer.brief == (413, b"unread")
        return
    async with open_house(routed, tcp=True) as house:
        peer = house.meet(kind)
        for size in (3, 4000):
            await peer.say(post(b"Content-Length: %d" % size, body=b"x" * size))
        assert (await peer.end()).endswith(b"\r\n\r\nunread")


async def test_words_that_take_too_long(autojump_clock):
    async def on_error(request, error):
        await trio.sleep_forever()

    timeouts = rr.Timeouts(linger=3)
    async with open_house(router(on_error), timeouts=timeouts) as house:
        peer = house.peer()
        began = trio.current_time()
        await peer.say(post(b"Content-Length: 6", body=b"123456"))
        assert await peer.end() == last_word(b"413 Content Too Large")
        assert trio.current_time() - began == pytest.approx(3, abs=0.1)


async def test_a_peer_that_has_reset_is_told_nothing(autojump_clock):
    words = []

    async def on_error(request, error):
        words.append(error)

    async with open_house(router(on_error)) as house:
        peer, stream = house.slow_peer(1000)
        await peer.say(post(CHUNKED, body=b"1\r\n"))
        stream.reset()
        await house.empty()
    assert words == []


async def test_a_bad_head_behind_a_good_request_is_the_servers(autojump_clock):
    async def hello(request):
        return rr.Response("hi")

    async with open_house(Router([Route("/", hello)], on_error=as_problem)) as house:
        peer = house.peer()
        await peer.say(GET)
        assert peer.take().endswith(b"hi")
        await peer.say(b"GET  / HTTP/1.1\r\n\r\n")
        assert await peer.end() == last_word(b"400 Bad Request")
