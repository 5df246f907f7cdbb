"""The client of the testing kit over HTTP/2: how streams and connections end, and what else they become."""

from __future__ import annotations

import h11
import pytest
import trio
import trio.testing
from event_tools import Everything
from kit_tools import countdown, echo
from trio_websocket import ConnectionClosed, ConnectionRejected

import roadrunner_trio as rr
from roadrunner_trio.apps.router import Route, Router
from roadrunner_trio.protocol.http2 import frames
from roadrunner_trio.testing import Client, StreamReset, open_server

# What the server does to a stream, and to the connection


async def test_a_response_that_breaks_off_is_a_reset(autojump_clock):
    async def broken(request):
        async def produce(send):
            await send(b"a")
            raise LookupError

        return rr.StreamResponse(produce)

    async with open_server(broken) as server:
        client = server.client(http2=True)
        async with client.open("GET", "/") as response:
            assert await anext(response) == b"a"
            with pytest.raises(StreamReset, match="code 2") as caught:
                await anext(response)
        assert caught.value.code == frames.INTERNAL_ERROR
        assert isinstance(caught.value, h11.RemoteProtocolError)
        with pytest.raises(StreamReset):
            await client.get("/")
        assert server.listener.info().accepted == 1


async def test_a_malformed_request_is_reset(autojump_clock):
    async with open_server(echo) as server:
        client = server.client(http2=True)
        with pytest.raises(StreamReset, match="code 1"):
            await client.get("/", fields={"te": "gzip"})
        assert (await client.get("/")).status == 200


async def test_a_drain_ends_the_connection_and_the_next_one_is_another(autojump_clock):
    async with open_server(countdown) as server:
        client = server.client(http2=True)
        async with client.open("GET", "/") as response, trio.open_nursery() as nursery:
            server.listener.notify(10)
            nursery.start_soon(trio.sleep, 0.1)
            assert await response.read() == b"321"
        assert (await client.get("/")).body == b"321"
        assert server.listener.info().accepted == 2


async def test_without_another_connection_the_end_of_one_is_told(autojump_clock):
    async with open_server(countdown) as server:
        client = Client(server.connect(), http2=True)
        await client.get("/")
        server.listener.notify(10)
        await trio.testing.wait_all_tasks_blocked()
        assert (await client.get("/")).status == 200  # it was under way when the server said so
        with pytest.raises(h11.LocalProtocolError, match="takes no more requests"):
            await client.get("/")


@pytest.mark.parametrize(("code", "said"), [(0, "reset the stream: code 7"), (11, "reset the stream: code 7")])
async def test_what_a_goaway_leaves_out_was_not_answered(code, said, autojump_clock):
    ours, theirs = trio.testing.memory_stream_pair()
    client = Client(ours, http2=True)
    await theirs.send_all(frames.settings([]) + frames.goaway(0, code))
    with pytest.raises(h11.RemoteProtocolError, match=said):
        await client.get("/")
    with pytest.raises(h11.LocalProtocolError):
        await client.get("/")


async def test_an_idle_connection_is_kept_as_long_as_ever(autojump_clock):
    async with open_server(echo) as server:
        client = server.client(http2=True)
        await client.get("/")
        with pytest.raises(h11.RemoteProtocolError, match="has closed"):
            await client._line.until(lambda: False)
        assert trio.current_time() == 75
        assert (await client.get("/")).status == 200
        assert server.listener.info().accepted == 2


async def test_a_server_that_does_not_speak_it(autojump_clock):
    async with open_server(echo, protocols=["http/1.1"]) as server:
        with pytest.raises(h11.RemoteProtocolError, match="does not speak HTTP/2"):
            await server.client(http2=True).get("/")


async def test_a_ping_of_the_server_is_answered(autojump_clock):
    ours, theirs = trio.testing.memory_stream_pair()
    client = Client(ours, http2=True)
    heard = bytearray()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.get, "/")
        await trio.testing.wait_all_tasks_blocked()
        await theirs.send_all(
            frames.settings([]) + frames.frame(frames.PING, 0, 0, b"12345678") + b"\0\0\0\xfe\0\0\0\0\0"
        )
        await trio.testing.wait_all_tasks_blocked()
        heard += await theirs.receive_some()
        assert heard.endswith(
            frames.frame(frames.SETTINGS, frames.ACK, 0) + frames.frame(frames.PING, frames.ACK, 0, b"12345678")
        )
        nursery.cancel_scope.cancel(reason="the test is over")


@pytest.mark.parametrize("octets", [b"\0\0\3\4\0\0\0\0\0abc", b"\0\0\1\1\4\0\0\0\1\xff", b"\0\0\1\3\0\0\0\0\1x"])
async def test_a_server_that_breaks_the_protocol_is_told_of(octets, autojump_clock):
    ours, theirs = trio.testing.memory_stream_pair()
    client = Client(ours, http2=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(theirs.send_all, octets if octets[3] == 4 else frames.settings([]) + octets)
        with pytest.raises(h11.RemoteProtocolError):
            await client.get("/")


async def test_padding_is_taken_off(autojump_clock):
    ours, theirs = trio.testing.memory_stream_pair()
    client = Client(ours, http2=True)
    head = frames.frame(frames.HEADERS, frames.PADDED | frames.PRIORITIZED, 1, b"\2\0\0\0\0\1\x88\0\0")
    rest = frames.frame(frames.CONTINUATION, frames.END_HEADERS, 1)
    body = frames.frame(frames.DATA, frames.PADDED | frames.END_STREAM, 1, b"\1ok\0")
    await theirs.send_all(frames.settings([]) + head + rest + body)
    response = await client.get("/")
    assert (response.status, response.body) == (200, b"ok")


# What streams become


async def test_events(autojump_clock):
    async def ticks(request):
        async def count():
            for number in range(100):
                yield str(number)
                await trio.sleep(60)

        return rr.EventStream(request, count())

    async with open_server(ticks) as server:
        client = server.client(http2=True)
        async with client.events("/") as one, client.events("/") as other:
            assert [(await anext(one)).data for _ in range(3)] == ["0", "1", "2"]
            assert [(await anext(other)).data for _ in range(2)] == ["0", "1"]
        await trio.testing.wait_all_tasks_blocked()
        info = server.listener.info()
        assert (info.accepted, info.gone) == (1, 2)


async def chat(offer):
    if offer.path == "/no":
        await offer.reject(403, body=b"not you")
        return
    session = await offer.accept()
    await session.send_message(f"{offer.request.version} {dict(offer.request.cookies)} {session.subprotocol}")
    async for message in session:
        await session.send_message(message)


def routes():
    return Router(
        [Route("/", rr.websocket(chat, subprotocols=["b", "a"])), Route("/no", rr.websocket(chat)), Route("/x", echo)]
    )


async def test_websockets_beside_requests(autojump_clock):
    async with open_server(routes()) as server:
        client = server.client(http2=True)
        client.cookies["c"] = "1"
        async with client.websocket("/", subprotocols=["a", "b"]) as one, client.websocket("/") as other:
            assert one.subprotocol == "b"
            assert await one.get_message() == "(2, 0) {'c': '1'} b"
            await other.get_message()
            for message in ("hello", b"\0", "x" * 300_000):
                await one.send_message(message)
                assert await one.get_message() == message
            assert (await client.get("/x")).status == 200
            await one.send_json([1])
            assert await one.get_json() == [1]
        assert (await client.get("/x")).status == 200
        assert server.listener.info().accepted == 1


async def test_a_websocket_that_is_refused_or_none(autojump_clock):
    async with open_server(routes()) as server:
        client = server.client(http2=True)
        with pytest.raises(ConnectionRejected) as caught:
            async with client.websocket("/no"):
                pass
        assert (caught.value.status_code, caught.value.body) == (403, b"not you")
        with pytest.raises(ConnectionRejected) as caught:
            async with client.websocket("/nowhere"):
                pass
        assert caught.value.status_code == 404
    async with open_server(echo) as server:
        with pytest.raises(ValueError, match="offers no WebSockets"):
            async with server.client(http2=True).websocket("/"):
                pass


async def test_a_peer_that_vanishes_from_its_websocket(autojump_clock):
    events = Everything()
    async with open_server(routes(), observers=[events]) as server:
        client = server.client(http2=True)
        async with client.websocket("/") as socket:
            await socket.get_message()
            await socket.disconnect()
            with pytest.raises(ConnectionClosed):
                await socket.get_message()
        await trio.sleep(3)
        assert events.only("websocket_close").code == 1006
        assert server.listener.info().active == 1


async def test_a_drain_is_told_to_websockets(autojump_clock):
    async with open_server(routes()) as server, server.client(http2=True).websocket("/") as socket:
        await socket.get_message()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.listener.drain, 5)
            assert [message async for message in socket] == []
            assert socket.closed.code == 1001


async def test_a_tunnel(autojump_clock):
    async def run(request, stream):
        while data := await stream.receive_some():
            await stream.send_all(data.upper())
        await stream.send_all(b"!")

    async def handler(request):
        return rr.Handoff(run, status=200)

    async with open_server(handler) as server:
        client = server.client(http2=True)
        async with client.open("CONNECT", "there:80") as response:
            tunnel = response.stream
        await tunnel.send_all(b"abc")
        assert await tunnel.receive_some(2) == b"AB"
        assert await tunnel.receive_some(2) == b"C"
        await tunnel.send_eof()
        assert await tunnel.receive_some() == b"!"
        assert await tunnel.receive_some() == b""
        await tunnel.aclose()
        with pytest.raises(trio.ClosedResourceError):
            await tunnel.send_all(b"x")
        response = await client.start("CONNECT", "there:80")
        await response.stream.aclose()
        await trio.testing.wait_all_tasks_blocked()
        assert (server.listener.info().active, server.listener.info().accepted) == (1, 1)


@pytest.mark.parametrize("http2", [False, True])
async def test_what_an_application_raises_is_raised(http2, autojump_clock):
    async def broken(request):
        raise LookupError("the bug")

    with pytest.raises(LookupError, match="the bug"):
        async with open_server(broken, raise_app_exceptions=True) as server:
            assert (await server.client(http2=http2).get("/")).status == 500
