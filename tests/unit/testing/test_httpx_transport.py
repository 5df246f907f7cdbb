"""httpx on a server in memory."""

from __future__ import annotations

import httpx
import pytest
import trio

import roadrunner_trio as rr
from roadrunner_trio.testing import open_server
from roadrunner_trio.testing.httpx_transport import MemoryTransport


async def app(request):
    match request.path:
        case "/stream":

            async def produce(send):
                for number in range(1000):
                    await send(b"%d\n" % number)
                    await trio.sleep(1)

            return rr.StreamResponse(produce)
        case "/slow":
            await trio.sleep(60)
        case "/break":

            async def broken(send):
                await send(b"a")
                raise RuntimeError

            return rr.StreamResponse(broken)
        case "/redirect":
            return rr.Response(status=303, fields=[("location", "/"), ("set-cookie", "a=1")])
    body = await request.read()
    return rr.Response.json({"method": request.method, "target": request.target.decode(), "body": body.decode()})


@pytest.fixture
def served():
    return open_server(app)


@pytest.fixture(params=[False, True], ids=["http/1.1", "h2"])
def http2(request):
    return request.param


def client_of(server, http2=False, **settings):
    return httpx.AsyncClient(transport=MemoryTransport(server, http2=http2), base_url="http://test", **settings)


async def test_it_asks_and_answers(served, http2, autojump_clock):
    async with served as server, client_of(server, http2) as client:
        response = await client.post("/a?b=c", content=b"body")
        assert (response.status_code, response.http_version) == (200, "HTTP/2" if http2 else "HTTP/1.1")
        assert response.json() == {"method": "POST", "target": "/a?b=c", "body": "body"}

        async def pieces():
            yield b"one"
            yield b"two"

        assert (await client.put("/", content=pieces())).json()["body"] == "onetwo"
        assert (await client.get("/redirect", follow_redirects=True)).json()["method"] == "GET"
        assert client.cookies["a"] == "1"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # httpx's generators, left half-way
async def test_it_streams_and_leaves(served, http2, autojump_clock):
    async with served as server, client_of(server, http2) as client:
        async with client.stream("GET", "/stream") as response:
            lines = response.aiter_lines()
            assert [(await anext(lines), trio.current_time()) for _ in range(3)] == [("0", 0), ("1", 1), ("2", 2)]
        await trio.sleep(3)
        assert server.listener.info().active == http2  # of HTTP/2 a stream was left, and not the connection
        assert server.listener.info().gone == 1


async def test_it_waits_as_long_as_httpx_does(served, http2, autojump_clock):
    async with served as server, client_of(server, http2, timeout=10) as client:
        with pytest.raises(httpx.ReadTimeout):
            await client.get("/slow")
        assert trio.current_time() == 10
        assert (await client.get("/slow", timeout=None)).status_code == 200
        with pytest.raises(httpx.ReadTimeout):
            async with client.stream("GET", "/stream", timeout=0.5) as response:
                await response.aread()


async def test_a_response_that_breaks_off_is_an_error_of_httpx(served, http2, autojump_clock):
    async with served as server, client_of(server, http2) as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get("/break")


async def test_requests_of_http2_share_a_connection(served, autojump_clock):
    async with served as server:
        async with client_of(server, http2=True, timeout=None) as client:

            async def ask():
                assert (await client.get("/slow")).status_code == 200

            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(ask)
            assert trio.current_time() == 60
            assert (await client.get("/redirect")).headers["set-cookie"] == "a=1"
            assert server.listener.info().accepted == 1
        await trio.sleep(1)
        assert server.listener.info().active == 0
