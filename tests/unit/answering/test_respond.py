"""Making an app of a handler, and writing what it returns: buffered and streamed."""

from __future__ import annotations

import math

import pytest
import trio
import trio.testing
from story_tools import GET, GET_10, answer, loud, open_house

import roadrunner_trio as rr
from roadrunner_trio.answering.respond import as_app, native
from roadrunner_trio.server.carrier import WRITE_SIZE
from roadrunner_trio.server.http1_sender import TURN
from roadrunner_trio.testing import open_server

CHUNKED = b"HTTP/1.1 200 OK\r\ndate: D\r\ntransfer-encoding: chunked\r\n\r\n"
CONNECT = b"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\n"


def streaming(produce, **settings):
    """A handler whose every response is a stream."""

    async def handler(request):
        return rr.StreamResponse(produce, **settings)

    return handler


async def exchanged(handler, *requests):
    """What one peer hears in answer to its requests, and the ends that observers saw."""
    async with open_house(handler) as house:
        peer = house.peer()
        await peer.say(b"".join(requests))
        heard = peer.take()
    return heard, [event for name, event in house.watch.events if name in ("stop", "exception")]


# Apps


def test_every_request_has_the_same_plan():
    async def handler(request):
        """Never called."""

    app = as_app(handler, "streaming", rr.Limits(max_body=5), rr.Timeouts(handler=7, disconnect_grace=3))
    assert isinstance(app, native)
    assert app.handler is handler
    assert app.plan(None) == rr.Plan("streaming", 5, 7, 3)
    never = as_app(handler, "buffered", rr.Limits(), rr.Timeouts(disconnect_grace=None))
    assert never.plan(None).disconnect_grace == rr.Plan().disconnect_grace == math.inf


def test_an_app_is_taken_as_it_is():
    class App:
        def plan(self, request):
            return rr.Plan()

        async def __call__(self, exchange):
            """Never called."""

    app = App()
    assert as_app(app, "buffered", rr.Limits(), rr.Timeouts()) is app


def test_buffered_bodies_need_a_limit():
    with pytest.raises(ValueError, match="buffered bodies need"):
        as_app(print, "buffered", rr.Limits(max_body=None), rr.Timeouts())
    assert as_app(print, "streaming", rr.Limits(max_body=None), rr.Timeouts()).plan(None).max_body is None


def test_there_are_two_body_modes():
    with pytest.raises(ValueError, match="'buffered' or 'streaming', not 'auto'"):
        as_app(print, "auto", rr.Limits(), rr.Timeouts())


@pytest.mark.parametrize("handler", [None, "module:app", rr.Response("hi")])
def test_a_handler_can_be_called(handler):
    with pytest.raises(TypeError, match="async function of one request, not"):
        as_app(handler, "buffered", rr.Limits(), rr.Timeouts())


@pytest.mark.parametrize("mode", ["buffered", "streaming"])
async def test_in_both_modes_a_body_can_be_read_and_streamed(mode, autojump_clock):
    async def handler(request):
        if request.path == "/read":
            body = await request.read()
        else:
            body = b"".join([piece async for piece in request.stream()])
        return rr.Response(body + b" again: " + await request.read() if request.path == "/read" else body)

    async with open_server(handler, body=mode) as server:
        client = server.client()
        assert (await client.post("/read", b"hello")).text == "hello again: hello"
        assert (await client.post("/stream", b"hello")).text == "hello"
        assert (await client.get("/stream")).text == ""


# Buffered


async def test_head_and_content_go_out_in_one_write(autojump_clock):
    async def handler(request):
        return rr.Response("hi", status=201, fields={"X-A": "1"}, reason="Made it")

    heard, (ended,) = await exchanged(handler, GET)
    assert heard == answer(b"hi", b"x-a: 1", status=b"201 Made it")
    assert (ended.kind, ended.sent, ended.outcome) == ("buffered", 2, "complete")


async def test_a_kind_of_response_of_ones_own_is_one(autojump_clock):
    class Plain(rr.Response):
        def __init__(self, text):
            super().__init__(text, fields={"content-type": "text/plain"})

    async def handler(request):
        return Plain("hi")

    assert (await exchanged(handler, GET))[0] == answer(b"hi", b"content-type: text/plain")


@pytest.mark.parametrize("nonsense", [None, "hi", b"hi", (200, "hi"), rr.Response])
async def test_what_is_no_response_is_500_and_one_clear_line(nonsense, autojump_clock, caplog):
    async def forgetful(request):
        return nonsense

    heard, (ended,) = await exchanged(forgetful, GET)
    assert heard == answer(b"", b"connection: close", status=b"500 Internal Server Error")
    assert len(loud(caplog)) == 1
    assert f"forgetful returned {nonsense!r}, which is not a response" in caplog.text
    assert (ended.status, ended.outcome) == (500, "error")


@pytest.mark.parametrize(("plain", "kind"), [("hi", "text"), ({"a": 1}, "json"), ([1], "json")])
async def test_what_other_frameworks_make_a_response_of_is_told_what_to_write(plain, kind, autojump_clock, caplog):
    async def careless(request):
        return plain

    await exchanged(careless, GET)
    assert f"careless returned {plain!r}, which is not a response (write Response.{kind}(...))" in caplog.text


async def test_a_handler_without_a_name_is_shown(autojump_clock, caplog):
    class Handler:
        async def __call__(self, request):
            """Returns nothing."""

        def __repr__(self):
            return "<the nameless one>"

    await exchanged(Handler(), GET)
    assert "<the nameless one> returned None" in caplog.text


async def test_a_function_that_turns_out_not_to_be_async_is_500(autojump_clock, caplog):
    async def other(request):
        """Never called."""

    heard, _ = await exchanged(lambda request: rr.Response("hi") or other(request), GET)
    assert heard.startswith(b"HTTP/1.1 500 ")
    assert len(loud(caplog)) == 1


async def test_an_http_error_is_the_response_it_names(autojump_clock, caplog):
    async def handler(request):
        raise rr.HTTPError(429, "slowly", fields=[("retry-after", "5")])

    heard, ended = await exchanged(handler, GET, GET)
    assert heard == 2 * answer(
        b"slowly", b"content-type: text/plain; charset=utf-8", b"retry-after: 5", status=b"429 Too Many Requests"
    )
    assert [event.outcome for event in ended] == ["complete", "complete"]
    assert loud(caplog) == []


# Without a body


async def boom(*args):
    raise AssertionError("nobody may call this")


@pytest.fixture
def kinds(tmp_path):
    """A maker of each kind of response that has a body of 5 octets."""
    path = tmp_path / "file.txt"
    path.write_bytes(b"hello")

    def loop(**settings):
        return rr.LoopResponse(trio.open_memory_channel(0)[1], boom, **settings)

    return {
        "buffered": lambda **settings: rr.Response("hello", **settings),
        "stream": lambda **settings: rr.StreamResponse(boom, **settings),
        "loop": loop,
        "file": lambda **settings: rr.FileResponse(path, **settings),
    }


@pytest.mark.parametrize("kind", ["buffered", "stream", "loop", "file"])
@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("HEAD", 404), ("GET", 204), ("GET", 304)])
async def test_head_204_and_304_have_no_body_and_keep_the_connection(kinds, kind, method, status):
    async def handler(request):
        return kinds[kind](status=status, fields={"x-kind": kind}) if request.path == "/" else rr.Response("next")

    async with open_server(handler) as server:
        client = server.client()
        response = await client.request(method, "/")
        assert (response.status, response.body, response.header("x-kind")) == (status, b"", kind)
        assert response.header("connection") is None
        assert response.header("transfer-encoding") is None
        has_length = kind in ("buffered", "file") and status != 204
        assert response.header("content-length") == ("5" if has_length else None)
        assert (await client.get("/next")).text == "next"


@pytest.mark.parametrize("kind", ["buffered", "stream", "loop", "file"])
async def test_a_2xx_to_connect_would_promise_a_tunnel(kinds, kind, caplog):
    """Only a hand-off digs one (RFC 9110 section 9.3.6)."""

    async def handler(request):
        return kinds[kind]() if request.method == "CONNECT" else rr.Response("next")

    async with open_server(handler) as server:
        client = server.client()
        response = await client.request("CONNECT", "example.org:443")
        assert (response.status, response.text) == (501, "Not Implemented")
        assert (await client.get("/")).text == "next"
    assert loud(caplog) == []


async def test_any_other_status_to_connect_is_a_response(autojump_clock):
    async def handler(request):
        return rr.Response("no", status=403)

    heard, _ = await exchanged(handler, CONNECT, GET)
    assert heard == 2 * answer(b"no", status=b"403 Forbidden")


# Streams


async def test_each_send_is_a_chunk_and_a_clean_return_the_end(autojump_clock):
    async def produce(send):
        await send(b"hello")
        await send(b"")
        await send(bytearray(b"world" * 5))

    heard, ended = await exchanged(streaming(produce), GET, GET)
    assert heard == 2 * (CHUNKED + b"5\r\nhello\r\n19\r\n" + b"world" * 5 + b"\r\n0\r\n\r\n")
    assert [(event.kind, event.sent, event.outcome) for event in ended] == 2 * [("stream", 30, "complete")]


@pytest.mark.parametrize("trailers", [{"X-Sum": "1"}, [("x-sum", b"1")], {b"X-SUM": b"1"}])
async def test_what_produce_returns_are_trailers(trailers, autojump_clock):
    async def produce(send):
        await send(b"x")
        return trailers

    heard, _ = await exchanged(streaming(produce), GET)
    assert heard == CHUNKED + b"1\r\nx\r\n0\r\nx-sum: 1\r\n\r\n"


@pytest.mark.parametrize("trailers", [{"x": "a\r\n"}, {"content-length": "1"}, {"a b": "1"}, 5])
async def test_a_bad_trailer_truncates_before_a_byte_of_it_is_out(trailers, autojump_clock, caplog):
    async def produce(send):
        await send(b"x")
        return trailers

    heard, (ended,) = await exchanged(streaming(produce), GET, GET)
    assert heard == CHUNKED + b"1\r\nx\r\n"
    assert ended.outcome == "error"
    assert len(loud(caplog)) == 1


@pytest.mark.parametrize("error", [ValueError("oops"), rr.HTTPError(404), SystemExit(1)])
async def test_an_exception_truncates_visibly(error, autojump_clock, caplog):
    async def produce(send):
        await send(b"x")
        raise error

    heard, (ended,) = await exchanged(streaming(produce), GET, GET)
    assert heard == CHUNKED + b"1\r\nx\r\n"
    assert (ended.outcome, ended.error) == ("error", error)
    assert len(loud(caplog)) == 1


async def test_to_http_10_the_close_is_the_end(autojump_clock):
    async def produce(send):
        await send(b"hello ")
        await send(b"world")
        return {"x-sum": "dropped"}

    heard, _ = await exchanged(streaming(produce), GET_10)
    assert heard == b"HTTP/1.1 200 OK\r\ndate: D\r\nconnection: close\r\n\r\nhello world"


async def test_a_declared_length_is_kept(autojump_clock):
    async def produce(send):
        await send(b"hello")
        await send(b"world")
        return {"x-sum": "dropped"}

    handler = streaming(produce, fields={"content-length": "10"})
    assert (await exchanged(handler, GET, GET))[0] == 2 * answer(b"helloworld")
    heard = (await exchanged(handler, GET_10))[0]
    assert heard == answer(b"helloworld", b"connection: close")


async def test_more_than_declared_is_refused_before_it_is_out(autojump_clock, caplog):
    async def produce(send):
        await send(b"hello")
        with pytest.raises(ValueError, match="2 octets longer than its content-length"):
            await send(b"world")
        await send(b"wor")

    heard, (ended,) = await exchanged(streaming(produce, fields={"content-length": "8"}), GET)
    assert heard == answer(b"hellowor")
    assert (ended.outcome, ended.sent) == ("complete", 8)


async def test_less_than_declared_is_cut(autojump_clock, caplog):
    async def produce(send):
        await send(b"hello")

    heard, (ended,) = await exchanged(streaming(produce, fields={"content-length": "8"}), GET, GET)
    assert heard == answer(b"hello").replace(b"length: 5", b"length: 8")
    assert ended.outcome == "error"
    assert "3 octets short of its content-length" in caplog.text


@pytest.mark.parametrize("fails", [False, True])
async def test_a_send_that_is_kept_does_not_write_into_the_next_response(fails, autojump_clock, caplog):
    kept = []

    async def produce(send):
        kept.append(send)
        if fails:
            raise ValueError("oops")

    async def handler(request):
        if not kept:
            return rr.StreamResponse(produce)
        with pytest.raises(RuntimeError, match="response is over"):
            await kept[0](b"late")
        return rr.Response("next")

    async with open_house(handler) as house:
        await house.peer().say(GET)
        peer = house.peer()
        await peer.say(GET)
        assert peer.take() == answer(b"next")


async def test_it_may_use_scopes_and_nurseries_as_it_likes(autojump_clock):
    async def produce(send):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send, b"a")
        with trio.move_on_after(1):
            await send(b"b")
            await trio.sleep_forever()
        await send(b"c")

    async with open_house(streaming(produce)) as house:
        peer = house.peer()
        await peer.say(GET)
        assert await peer.until(b"\r\n0\r\n\r\n") == CHUNKED + b"1\r\na\r\n1\r\nb\r\n1\r\nc\r\n0\r\n\r\n"
        assert trio.current_time() == 1


@pytest.mark.parametrize("data", [b"x", b""])
async def test_a_send_can_be_cancelled(autojump_clock, data):
    async def produce(send):
        with trio.CancelScope() as scope:
            scope.cancel(reason="a test")
            await send(data)
        assert scope.cancelled_caught
        await send(b"y")

    heard, _ = await exchanged(streaming(produce), GET)
    assert heard.endswith(b"\r\n\r\n1\r\ny\r\n0\r\n\r\n")


@pytest.mark.parametrize(("data", "most"), [(b"x", TURN), (b"", TURN), (bytes(WRITE_SIZE), 1)])
async def test_neighbours_have_their_turn_after_some_sends(autojump_clock, data, most):
    turns = []

    async def neighbour():
        while True:
            await trio.lowlevel.checkpoint()
            turns.append(sent)

    async def produce(send):
        nonlocal sent
        async with trio.open_nursery() as nursery:
            nursery.start_soon(neighbour)
            for _ in range(8 * most):
                await send(data)
                sent += 1
            nursery.cancel_scope.cancel(reason="the body is out")

    sent = 0
    await exchanged(streaming(produce), GET)
    assert len(set(turns)) >= 3  # of eight turns; two in a row see one count if the order of the two tasks changes


@pytest.mark.parametrize(("preserve", "name"), [(False, b"x-request-id"), (True, b"X-Request-ID")])
async def test_names_are_said_in_lower_case_or_as_the_application_wrote_them(preserve, name, autojump_clock):
    async def handler(request):
        if request.path == "/stream":
            return rr.StreamResponse(lambda send: send(b"x"), fields={"X-Request-ID": "7"})
        return rr.Response(b"x", fields={"X-Request-ID": "7"})

    async with open_server(handler, preserve_case=preserve) as server:
        for path in ("/", "/stream"):
            peer = server.connect()
            await peer.send_all(b"GET %b HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n" % path.encode())
            assert b"\r\n%b: 7\r\n" % name in await peer.receive_some()
            await peer.aclose()
