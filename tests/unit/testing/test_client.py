"""The client of the testing kit: methods, JSON, cookies, redirects, streams both ways, disconnects."""

from __future__ import annotations

import h11
import pytest
import trio
import trio.testing

import roadrunner_trio as rr
from roadrunner_trio.apps.router import Route, Router
from roadrunner_trio.testing import Client, open_server


async def echo(request):
    """Says what was asked, and how."""
    fields = [("x-method", request.method), ("content-type", request.header("content-type") or "none")]
    return rr.Response(await request.read(), fields=fields)


@pytest.mark.parametrize("method", ["get", "head", "options", "delete"])
async def test_methods_without_a_body(method, autojump_clock):
    async with open_server(echo) as server:
        response = await getattr(server.client(), method)("/")
        assert (response.header("x-method"), response.body) == (method.upper(), b"")


@pytest.mark.parametrize("method", ["post", "put", "patch"])
async def test_methods_with_a_body(method, autojump_clock):
    async with open_server(echo) as server:
        client = server.client()
        response = await getattr(client, method)("/", b"body")
        assert (response.header("x-method"), response.body) == (method.upper(), b"body")
        response = await getattr(client, method)("/", json={"a": [1, None]})
        assert response.header("content-type") == "application/json"
        assert response.json() == {"a": [1, None]}
        assert (await getattr(client, method)("/", "grün")).text == "grün"


async def test_json_keeps_a_type_of_its_own_and_is_no_second_body(autojump_clock):
    async with open_server(echo) as server:
        client = server.client()
        response = await client.post("/", json=None, fields={"Content-Type": "application/x+json"})
        assert (response.header("content-type"), response.text) == ("application/x+json", "null")
        with pytest.raises(ValueError, match="not both"):
            await client.post("/", b"x", json=1)
        assert (await client.get("/")).status == 200  # it is as good as new


# Cookies


async def counter(request):
    seen = int(dict(request.cookies).get("seen", "0"))
    if request.path == "/out":
        return rr.Response(fields=[("set-cookie", "seen=; Max-Age=-5; Path=/"), ("set-cookie", "b=2; Path=/")])
    return rr.Response.text(str(seen), fields=[("set-cookie", f"seen={seen + 1}; HttpOnly; Path=/")])


async def test_cookies_are_kept_and_given_up(autojump_clock):
    async with open_server(counter) as server:
        client = server.client()
        assert [(await client.get("/")).text for _ in range(3)] == ["0", "1", "2"]
        assert client.cookies == {"seen": "3"}
        assert (await client.get("/", fields={"Cookie": "seen=7"})).text == "7"
        client.cookies["seen"] = "41"
        assert (await client.get("/")).text == "41"
        await client.get("/out")
        assert client.cookies == {"b": "2"}
        assert (await server.client().get("/")).text == "0"


# Redirects


async def redirecting(request):
    match request.path:
        case "/loop":
            return rr.Response(status=302, fields={"location": "/loop"})
        case "/away":
            return rr.Response(status=302, fields={"location": "http://elsewhere.example/"})
        case "/here":
            return rr.Response(request.method.encode() + b" " + request.target + await request.read())
    return rr.Response(status=int(request.path[1:]), fields={"location": "here?x=1"})


@pytest.mark.parametrize(
    ("status", "method", "said"),
    [
        (301, "POST", "GET /here?x=1"),
        (302, "POST", "GET /here?x=1"),
        (303, "PUT", "GET /here?x=1"),
        (302, "PUT", "PUT /here?x=1body"),
        (307, "POST", "POST /here?x=1body"),
        (308, "POST", "POST /here?x=1body"),
    ],
)
async def test_redirects_are_followed_as_browsers_do(status, method, said, autojump_clock):
    async with open_server(redirecting) as server:
        client = server.client()
        assert (await client.request(method, f"/{status}", body=b"body")).status == status
        response = await client.request(method, f"/{status}", body=b"body", follow_redirects=True)
        assert (response.status, response.text) == (200, said)
        assert [each.status for each in response.history] == [status]


async def test_what_describes_a_body_goes_with_it(autojump_clock):
    async def once(request):
        if request.path == "/303":
            return rr.Response(status=303, fields={"location": "/"})
        return await echo(request)

    async with open_server(once) as server:
        fields = {"Content-Type": "a/b", "Content-Length": "4", "X-A": "1"}
        response = await server.client().post("/303", b"body", fields=fields, follow_redirects=True)
        assert (response.header("x-method"), response.header("content-type"), response.body) == ("GET", "none", b"")


async def test_redirects_have_an_end(autojump_clock):
    async with open_server(redirecting) as server:
        client = server.client()
        with pytest.raises(ValueError, match="more than 10 redirects"):
            await client.get("/loop", follow_redirects=True)
        assert (await client.get("/away", follow_redirects=True)).status == 302


async def test_a_stream_that_has_been_sent_is_not_sent_again(autojump_clock):
    async def pieces():
        yield b"body"

    async with open_server(redirecting) as server:
        assert (await server.client().post("/307", pieces(), follow_redirects=True)).status == 307


# Streams


async def countdown(request):
    async def produce(send):
        for number in (3, 2, 1):
            await send(b"%d" % number)
            await trio.sleep(1)

    return rr.StreamResponse(produce)


async def test_a_response_can_be_watched(autojump_clock):
    async with open_server(countdown) as server:
        client = server.client()
        async with client.open("GET", "/") as response:
            assert response.status == 200
            assert [(piece, trio.current_time()) async for piece in response] == [(b"3", 0), (b"2", 1), (b"1", 2)]
            assert await response.read() == b""
        assert (await client.get("/")).body == b"321"
        assert server.listener.info().accepted == 1


async def test_who_leaves_a_response_is_gone_and_comes_again(autojump_clock):
    async with open_server(countdown) as server:
        client = server.client()
        async with client.open("GET", "/") as response:
            assert await anext(response) == b"3"
        await trio.sleep(5)
        assert server.listener.info().active == 0
        assert (await client.get("/")).body == b"321"
        assert server.listener.info().accepted == 2


async def test_a_body_can_be_made_while_the_response_comes(autojump_clock):
    """Both ways at once: every piece is answered before the next one is sent."""

    async def shout(request):
        async def produce(send):
            async for piece in request.stream():
                await send(piece.upper())

        return rr.StreamResponse(produce)

    router = Router([Route("/", shout, methods=["POST"], body="streaming")])
    ours, theirs = trio.open_memory_channel[bytes](1)

    async def pieces():
        async for piece in theirs:
            yield piece

    async with open_server(router) as server, server.client().open("POST", "/", body=pieces()) as response:
        for word in (b"one", b"two"):
            await ours.send(word)
            assert await anext(response) == word.upper()
        ours.close()
        assert await response.read() == b""


async def test_a_server_that_has_heard_enough_is_no_error(autojump_clock):
    async def endless():
        while True:
            yield bytes(1000)
            await trio.sleep(1)

    async with open_server(echo, limits=rr.Limits(max_body=5000)) as server:
        assert (await server.client().post("/", endless())).status == 413


async def test_what_a_body_raises_leaves_as_it_is(autojump_clock):
    async def broken():
        yield b"a"
        raise LookupError("mine")

    async with open_server(echo) as server:
        with pytest.raises(LookupError, match="mine"):
            await server.client().post("/", broken())


# Connections


async def test_where_a_connection_has_ended_the_next_one_is_opened(autojump_clock):
    async def closing(request):
        return rr.Response(fields={"connection": "close"})

    async with open_server(closing) as server:
        client = server.client()
        for _ in range(3):
            assert (await client.get("/")).status == 200
        assert server.listener.info().accepted == 3
        alone = Client(server.connect())
        await alone.get("/")
        with pytest.raises(h11.LocalProtocolError):
            await alone.get("/")


async def test_a_disconnect_is_seen_by_the_handler(autojump_clock):
    seen = []

    async def waiting(request):
        await request.disconnected()
        seen.append(trio.current_time())
        return rr.Response()

    async with open_server(waiting) as server, trio.open_nursery() as nursery:
        client = server.client()

        async def ask():
            with pytest.raises((h11.RemoteProtocolError, trio.ClosedResourceError)):
                await client.get("/")

        nursery.start_soon(ask)
        await trio.sleep(7)
        await client.disconnect()
        await trio.sleep(1)
    assert seen == [7]


async def test_half_a_close_is_still_answered(autojump_clock):
    async with open_server(echo) as server:
        client = server.client()
        await client.stream.send_all(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody")
        await client.send_eof()
        assert (await client.stream.receive_some()).endswith(b"body")


async def test_a_stream_that_cannot_be_half_closed_is_told():
    class Plain(trio.abc.Stream):
        async def send_all(self, data): ...
        async def wait_send_all_might_not_block(self): ...
        async def receive_some(self, max_bytes=None): ...
        async def aclose(self): ...

    with pytest.raises(TypeError, match="half-closed"):
        await Client(Plain()).send_eof()


# What a test sees of its own failure


async def test_a_plain_assert_is_not_wrapped(autojump_clock):
    mine = AssertionError("mine")
    with pytest.raises(AssertionError) as caught:
        async with open_server(echo) as server, server.client().open("GET", "/"):
            raise mine
    assert caught.value is mine

    async def forever():
        while True:
            yield b"x"
            await trio.sleep(1)

    with pytest.raises(AssertionError) as caught:
        async with open_server(countdown) as server, server.client().open("POST", "/", body=forever()):
            raise mine
    assert caught.value is mine


async def test_what_the_application_has_raised_is_the_cause_of_what_a_test_misses(autojump_clock):
    async def broken(request):
        raise LookupError("the bug")

    with pytest.raises(AssertionError) as caught:
        async with open_server(broken, raise_app_exceptions=True) as server:
            assert (await server.client().get("/")).status == 200
    assert isinstance(caught.value.__cause__, LookupError)
