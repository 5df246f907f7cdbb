"""The client of the testing kit over HTTP/2: all that it does over HTTP/1.1, and many requests at once."""

from __future__ import annotations

import h11
import pytest
import trio
import trio.testing
from event_tools import Everything
from kit_tools import countdown, echo

import roadrunner_trio as rr
from roadrunner_trio.protocol.http2 import frames
from roadrunner_trio.testing import open_server

# One request


@pytest.mark.parametrize("method", ["get", "head", "options", "delete", "post", "put", "patch"])
async def test_every_method(method, autojump_clock):
    async with open_server(echo) as server:
        client = server.client(http2=True)
        for content in (b"", b"body", bytes(200_000)):
            given = (content,) if method in ("post", "put", "patch") else ()
            response = await getattr(client, method)("/", *given)
            assert (response.status, response.header("x-method")) == (200, method.upper())
            assert response.header("x-version") == "2.0"
            assert response.header("x-host") == "test"
            assert response.body == (given[0] if given else b"")
        assert server.listener.info().accepted == 1


async def test_any_method_json_and_a_host_of_its_own(autojump_clock):
    async with open_server(echo) as server:
        client = server.client(http2=True)
        response = await client.request("BREW", "/", json={"a": 1}, fields={"Host": "there"})
        assert (response.json(), response.header("x-host"), response.header("x-method")) == ({"a": 1}, "there", "BREW")
        assert response.header("content-type") == "application/json"


@pytest.mark.parametrize("http2", [False, True])
async def test_trailers_both_ways(http2, autojump_clock):
    async def pieces():
        yield b"a"
        yield b"b"

    async with open_server(echo) as server:
        client = server.client(http2=http2)
        for content in (b"ab", pieces()):
            response = await client.request("POST", "/", body=content, trailers={"X-Sum": "2"})
            assert (response.body, response.header("x-trailers")) == (b"ab", "((b'x-sum', b'2'),)")
        response = await client.request("POST", "/", trailers={"X-Sum": "0"})
        assert (response.body, response.header("x-trailers")) == (b"", "((b'x-sum', b'0'),)")
    async with open_server(countdown) as server:
        response = await server.client(http2=http2).get("/", fields={"TE": "trailers"})
        assert (response.body, list(response.trailers)) == (b"321", [(b"x-sum", b"6")])


async def test_cookies_and_redirects(autojump_clock):
    async def counter(request):
        seen = int(dict(request.cookies).get("seen", "0"))
        if request.path == "/away":
            return rr.Response(status=303, fields={"location": "/"})
        return rr.Response.text(f"{request.method} {seen}", fields=[("set-cookie", f"seen={seen + 1}")])

    async with open_server(counter) as server:
        client = server.client(http2=True)
        client.cookies["other"] = "1"
        assert [(await client.get("/")).text for _ in range(2)] == ["GET 0", "GET 1"]
        response = await client.post("/away", b"x", follow_redirects=True)
        assert (response.text, [each.status for each in response.history]) == ("GET 2", [303])


async def test_interim_responses(autojump_clock):
    class App:
        def plan(self, request):
            return rr.Plan()

        async def __call__(self, exchange):
            await exchange.send_interim(103, [(b"link", b"</a>; rel=preload")])
            await exchange.respond(200, (), b"x")

    async with open_server(App()) as server:
        response = await server.client(http2=True).get("/")
        assert (response.interim, response.body) == ([103], b"x")


async def test_a_large_head_both_ways(autojump_clock):
    async def mirror(request):
        return rr.Response(fields={"x-large": request.header("x-large")})

    async with open_server(mirror, limits=rr.Limits(max_field_section=100_000, max_field_line=60_000)) as server:
        client = server.client(http2=True)
        value = "\N{MIDDLE DOT}" * 10 + "~" * 40_000
        assert (await client.get("/", fields={"X-Large": value.encode("latin-1")})).header("x-large") == value


@pytest.mark.parametrize("bad", [{"a b": "1"}, {"a": "1\n2"}])
async def test_what_would_split_a_request_is_not_sent(bad, autojump_clock):
    async with open_server(echo) as server:
        client = server.client(http2=True)
        with pytest.raises(ValueError, match="field"):
            await client.get("/", fields=bad)
        assert (await client.get("/")).status == 200


# Streams both ways


async def test_a_response_can_be_watched(autojump_clock):
    async with open_server(countdown) as server:
        client = server.client(http2=True)
        async with client.open("GET", "/") as response:
            assert [(piece, trio.current_time()) async for piece in response] == [(b"3", 0), (b"2", 1), (b"1", 2)]
            assert await response.read() == b""


async def test_a_body_is_made_while_the_response_comes(autojump_clock):
    async def shout(request):
        async def produce(send):
            async for piece in request.stream():
                await send(piece.upper())

        return rr.StreamResponse(produce)

    ours, theirs = trio.open_memory_channel[bytes](1)
    async with (
        open_server(shout, body="streaming") as server,
        server.client(http2=True).open("POST", "/", body=theirs) as response,
    ):
        for word in (b"one", b"two"):
            await ours.send(word)
            assert await anext(response) == word.upper()
        ours.close()
        assert await response.read() == b""


async def test_a_large_body_that_is_answered_while_it_comes(autojump_clock):
    """Neither side waits for the other to be done: the windows of both would be full."""

    async def mirror(request):
        async def produce(send):
            assert request.header("content-length") == "1000000"
            async for piece in request.stream():
                await send(piece)

        return rr.StreamResponse(produce)

    async with open_server(mirror, body="streaming") as server:
        response = await server.client(http2=True).post("/", bytes(1_000_000))
        assert (len(response.body), trio.current_time()) == (1_000_000, 0)


async def test_a_server_that_has_heard_enough_is_no_error(autojump_clock):
    async def endless():
        while True:
            yield bytes(10_000)
            await trio.sleep(0.1)

    async with open_server(echo, limits=rr.Limits(max_body=5000)) as server:
        client = server.client(http2=True)
        for content in (endless(), bytes(1_000_000)):
            assert (await client.post("/", content)).status == 413


async def test_what_a_body_raises_leaves_as_it_is_and_the_stream_is_reset(autojump_clock):
    events = Everything()

    async def broken():
        yield b"a"
        raise LookupError("mine")

    async with open_server(echo, observers=[events]) as server:
        client = server.client(http2=True)
        with pytest.raises(LookupError, match="mine"):
            await client.post("/", broken())
        await trio.testing.wait_all_tasks_blocked()
        assert (await client.get("/")).status == 200
        assert server.listener.info().accepted == 1
        assert server.listener.info().streams_reset == 1


async def test_who_does_not_read_is_waited_for(autojump_clock):
    """A window is what the server may send ahead; it goes on when its reader does."""
    sent = 0

    async def flood(request):
        async def produce(send):
            nonlocal sent
            for _ in range(100):
                await send(bytes(10_000))
                sent += 10_000

        return rr.StreamResponse(produce)

    async with open_server(flood) as server, server.client(http2=True).open("GET", "/") as response:
        await trio.sleep(1)
        assert sent <= 70_000
        assert len(await response.read()) == 1_000_000


async def test_more_than_a_connection_has_in_credit(autojump_clock):
    async def flood(request):
        async def produce(send):
            for _ in range(20):
                await send(bytes(1 << 20))

        return rr.StreamResponse(produce)

    async with open_server(flood) as server:
        assert len((await server.client(http2=True).get("/")).body) == 20 << 20


# Many at once, and each by itself


async def test_several_requests_at_once_on_one_connection(autojump_clock):
    async def slow(request):
        await trio.sleep(int(request.path[1:]))
        return rr.Response.text(request.path)

    async with open_server(slow) as server:
        client, done = server.client(http2=True), []

        async def ask(seconds):
            response = await client.get(f"/{seconds}")
            done.append((response.text, trio.current_time()))

        async with trio.open_nursery() as nursery:
            for seconds in (3, 1, 2):
                nursery.start_soon(ask, seconds)
        assert done == [("/1", 1), ("/2", 2), ("/3", 3)]
        assert server.listener.info().accepted == 1


async def test_more_at_once_than_the_server_takes_wait(autojump_clock):
    running, most = 0, 0

    async def slow(request):
        nonlocal running, most
        running += 1
        most = max(most, running)
        await trio.sleep(1)
        running -= 1
        return rr.Response()

    async with open_server(slow, limits=rr.Limits(max_concurrent_streams=3)) as server:
        client = server.client(http2=True)
        await client.get("/")

        async def ask():
            assert (await client.get("/")).status == 200

        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(ask)
        assert (most, trio.current_time(), server.listener.info().streams_refused) == (3, 5, 0)


async def test_who_leaves_a_response_resets_its_stream_alone(autojump_clock):
    gone = []

    async def handler(request):
        if request.path == "/wait":
            await request.disconnected()
            gone.append(trio.current_time())
        return await countdown(request)

    async with open_server(handler) as server:
        client = server.client(http2=True)
        async with client.open("GET", "/") as first, trio.open_nursery() as nursery:
            nursery.start_soon(client.get, "/wait")
            await trio.sleep(0.5)
            async with client.open("GET", "/") as second:
                assert await anext(second) == b"3"
            nursery.cancel_scope.cancel(reason="this one leaves as well")
        await trio.testing.wait_all_tasks_blocked()
        assert gone == [0.5]
        assert not first.ended
        assert (await client.get("/")).body == b"321"
        info = server.listener.info()
        assert (info.accepted, info.gone) == (1, 3)


async def test_a_reset_with_a_code_of_ones_own(autojump_clock):
    async with open_server(countdown) as server:
        client = server.client(http2=True)
        response = await client.start("GET", "/")
        assert await anext(response) == b"3"
        await response.disconnect(frames.INTERNAL_ERROR)
        await response.disconnect()  # it has gone already
        with pytest.raises(trio.ClosedResourceError):
            await anext(response)
        await trio.sleep(3)
        assert server.listener.info().gone == 1


async def test_a_cancelled_call_gives_up_its_stream(autojump_clock):
    async def never(request):
        await trio.sleep_forever()

    async with open_server(never) as server:
        client = server.client(http2=True)
        for _ in range(3):
            with trio.move_on_after(5):
                await client.get("/")
        await trio.testing.wait_all_tasks_blocked()
        info = server.listener.info()
        assert (trio.current_time(), info.accepted, info.streams_reset) == (15, 1, 3)


async def test_a_disconnect_is_the_end_of_all_streams(autojump_clock):
    ends = []

    async def waiting(request):
        await request.disconnected()
        ends.append(trio.current_time())
        return rr.Response()

    async with open_server(waiting) as server:
        client = server.client(http2=True)

        async def ask():
            with pytest.raises((h11.RemoteProtocolError, trio.ClosedResourceError)):
                await client.get("/")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            nursery.start_soon(ask)
            await trio.sleep(7)
            await client.disconnect()
        await trio.testing.wait_all_tasks_blocked()
        assert ends == [7, 7]
        assert server.listener.info().active == 0
