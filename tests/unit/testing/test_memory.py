"""The server in memory, and the small client: what tests of applications lean on."""

from __future__ import annotations

import h11
import pytest
import trio
import trio.testing

import roadrunner_trio as rr
from roadrunner_trio.apps.asgi import asgi
from roadrunner_trio.testing import Client, ClientResponse, MemoryListener, open_server


async def echo(request):
    """Says what was asked, and how."""
    fields = [("x-method", request.method), ("x-target", request.target), ("x-host", request.host)]
    fields += [("x-seen", name + b"=" + value) for name, value in request.fields]
    return rr.Response(await request.read(), fields=fields)


class Scripted:
    """A server that says what it is told to, whatever it is asked."""

    def __init__(self, *said):
        self.said = said

    async def __call__(self, stream):
        for data in self.said:
            await trio.testing.wait_all_tasks_blocked()
            await stream.send_all(data)
        await stream.send_eof()


async def asked(nursery, *said, method="GET", fields=()):
    """A client's response from a scripted server, and the client."""
    ours, theirs = trio.testing.memory_stream_pair()
    nursery.start_soon(Scripted(*said), theirs)
    client = Client(ours)
    return await client.request(method, "/", fields=fields), client


# The client


async def test_it_asks_what_it_is_told_to(autojump_clock):
    async with open_server(echo) as server:
        client = server.client()
        response = await client.request("PUT", "/a?b", fields={"Host": "h", "X-A": "1"}, body=b"body")
        assert (response.status, response.body, response.text) == (200, b"body", "body")
        assert response.header("X-Method") == "PUT"
        assert response.header("x-target") == "/a?b"
        seen = [value for name, value in response.fields if name == b"x-seen"]
        assert seen == [b"host=h", b"x-a=1", b"content-length=4"]
        assert response.header("x-b") is None


async def test_get_and_post_on_one_connection(autojump_clock):
    async with open_server(echo) as server:
        client = server.client()
        assert (await client.get("/a", fields={"x": "1"})).header("x-host") == "test"
        assert (await client.post("/b", b"body", fields={"x": "1"})).text == "body"
        assert server.listener.info().accepted == 1
        assert server.listener.info().requests == 2


async def test_a_body_can_be_chunked(autojump_clock):
    async with open_server(echo) as server:
        response = await server.client().post("/", b"body", fields={"Transfer-Encoding": "chunked"})
        assert response.body == b"body"
        seen = [value for name, value in response.fields if name == b"x-seen"]
        assert seen == [b"host=test", b"transfer-encoding=chunked"]


async def test_it_reads_interim_responses_and_trailers(nursery):
    response, _ = await asked(
        nursery,
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhe",
        b"llo\r\n0\r\nx-sum: 1\r\n\r\n",
    )
    assert response == ClientResponse(
        200, [(b"transfer-encoding", b"chunked")], b"hello", [100, 103], [(b"x-sum", b"1")]
    )


async def test_it_reads_what_the_close_delimits(nursery):
    response, _ = await asked(nursery, b"HTTP/1.0 200 OK\r\n\r\nhel", b"lo")
    assert response.body == b"hello"


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhell",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"220 smtp.example ready\r\n",
    ],
)
async def test_a_server_that_breaks_off_or_speaks_something_else_is_an_error(nursery, said):
    with pytest.raises(h11.RemoteProtocolError):
        await asked(nursery, said)


async def test_a_field_that_would_split_the_request_is_refused():
    ours, _ = trio.testing.memory_stream_pair()
    with pytest.raises(ValueError, match="control character"):
        await Client(ours).get("/", fields={"x": "a\r\nb: c"})


@pytest.mark.parametrize(
    ("method", "fields", "head"),
    [
        ("GET", {"upgrade": "x", "connection": "upgrade"}, b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n"),
        ("CONNECT", {}, b"HTTP/1.1 200 OK\r\nupgrade: x\r\n\r\n"),
    ],
)
async def test_after_a_switch_the_stream_speaks_the_other_protocol(nursery, method, fields, head):
    response, client = await asked(nursery, head + b"hel", b"lo", method=method, fields=fields)
    assert response.status in (101, 200)
    assert response.header("upgrade") == "x"
    assert (response.body, response.interim) == (b"", [])
    assert await client.stream.receive_some() == b"hel"
    assert await client.stream.receive_some() == b"lo"


# The listener


async def test_what_is_said_at_one_end_is_heard_at_the_other():
    door = MemoryListener()
    ours = door.connect()
    theirs = await door.accept()
    await ours.send_all(b"hello")
    assert await theirs.receive_some() == b"hello"
    await theirs.send_all(b"world")
    assert await ours.receive_some() == b"world"


async def test_connections_wait_in_order():
    door = MemoryListener()
    first, second = door.connect(), door.connect()
    await second.send_all(b"2")
    await first.send_all(b"1")
    assert [await (await door.accept()).receive_some() for _ in range(2)] == [b"1", b"2"]


async def test_only_so_many_wait():
    door = MemoryListener()
    for _ in range(1024):
        door.connect()
    with pytest.raises(trio.WouldBlock):
        door.connect()
    await door.aclose()


async def test_a_closed_door_is_closed_on_both_sides(nursery):
    door = MemoryListener()

    async def accept():
        with pytest.raises(trio.ClosedResourceError):
            await door.accept()

    async with trio.open_nursery() as waiting:
        waiting.start_soon(accept)
        await trio.testing.wait_all_tasks_blocked()
        with trio.testing.assert_checkpoints():
            await door.aclose()
    await accept()
    with pytest.raises(trio.ClosedResourceError):
        door.connect()
    await door.aclose()


async def test_who_waits_at_a_door_that_closes_hears_of_it():
    door = MemoryListener()
    waiting = [door.connect(), door.connect()]
    await door.aclose()
    for ours in waiting:
        assert await ours.receive_some() == b""


# The server


async def test_the_block_is_the_life_of_the_server(autojump_clock):
    cancelled = trio.Event()

    async def handler(request):
        try:
            await trio.sleep_forever()
        finally:
            cancelled.set()

    async with open_server(handler, name="mine", limits=rr.Limits(max_connections=7)) as server:
        assert server.listener.name == "mine"
        assert server.listener.status == "accepting"
        assert server.listener.info().max_connections == 7
        stream = server.connect()
        await stream.send_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        await trio.testing.wait_all_tasks_blocked()
        assert server.listener.info().active == 1
    assert cancelled.is_set()
    assert server.listener.status == "closed"
    with pytest.raises(trio.ClosedResourceError):
        server.connect()


async def test_a_drain_inside_the_block_ends_the_server(autojump_clock):
    async with open_server(echo) as server:
        client = server.client()
        await client.get("/")
        assert await server.listener.drain(5) == rr.Drained(finished=1, cut=0, stuck=0)
        assert await client.stream.receive_some() == b""
        with pytest.raises(trio.ClosedResourceError):
            server.client()


async def test_timeouts_are_exact_and_take_no_time(autojump_clock):
    async with open_server(echo, timeouts=rr.Timeouts(keep_alive=3600)) as server:
        client = server.client()
        await client.get("/")
        assert await client.stream.receive_some() == b""
        assert trio.current_time() == 3600


async def test_asgi_e6_the_kit_offers_what_a_server_should_not(autojump_clock):
    async def app(scope, receive, send):
        if scope["type"] != "http":
            raise NotImplementedError
        assert scope["extensions"]["http.response.debug"] == {}
        await send({"type": "http.response.debug", "info": {"template": "page.html"}})
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"hi"})

    async with open_server(asgi(app)) as server:
        assert (await server.client().get("/")).body == b"hi"
    assert server.debug == [{"template": "page.html"}]


@pytest.mark.parametrize("many", [1, 2])
async def test_what_leaves_an_application_is_raised_at_the_end(many, autojump_clock):
    async def handler(request):
        raise LookupError(request.path)

    async def use():
        async with open_server(handler, raise_app_exceptions=True) as server:
            for _ in range(many):
                assert (await server.client().get("/x")).status == 500

    if many == 1:
        with pytest.raises(LookupError, match="/x"):
            await use()
    else:
        with pytest.RaisesGroup(LookupError, LookupError):
            await use()


async def test_what_is_no_fault_of_the_application_is_not(autojump_clock):
    async def handler(request):
        raise rr.HTTPError(404)

    async with open_server(handler, raise_app_exceptions=True) as server:
        assert (await server.client().get("/x")).status == 404
