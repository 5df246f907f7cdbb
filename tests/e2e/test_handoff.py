"""A stream handed over: another library's WebSocket, a tunnel, another protocol; and what a drain does to them."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
import trio
from socket_tools import PATIENCE, Peer, no_connections, serving
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_client_stream, wrap_server_stream

from roadrunner_trio import AnyResponse, Drained, Handoff, Request, Response


async def echo_messages(request: Request, stream: trio.abc.Stream) -> None:
    """A WebSocket by trio-websocket, which reads the handshake itself; says 1001 when the server goes down."""
    async with trio.open_nursery() as nursery:
        socket = await (await wrap_server_stream(nursery, stream)).accept()

        async def leave() -> None:
            await request.drain.started.wait()
            await socket.aclose(1001, "going down")

        nursery.start_soon(leave)
        try:
            while True:
                await socket.send_message(await socket.get_message())
        except ConnectionClosed:
            nursery.cancel_scope.cancel(reason="the WebSocket is closed")


async def echo_octets(request: Request, stream: trio.abc.Stream) -> None:
    while data := await stream.receive_some():
        await stream.send_all(data.upper())


async def stay(request: Request, stream: trio.abc.Stream) -> None:
    await stream.send_all(b"here")
    await trio.sleep_forever()


async def handler(request: Request) -> AnyResponse:
    if request.method == "CONNECT":
        return Handoff(echo_octets, status=200)
    match request.path:
        case "/ws":
            return Handoff(echo_messages, replay_head=True)
        case "/upgrade":
            return Handoff(echo_octets, status=101, fields={"upgrade": "shout", "connection": "upgrade"})
        case "/stay":
            return Handoff(stay, status=101)
    return Response.text("plain")


@asynccontextmanager
async def websocket(port: int) -> AsyncGenerator[WebSocketConnection]:
    """A client that closes its own socket, which trio-websocket leaves alone when its server closes first."""
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream, trio.open_nursery() as nursery:
        yield await wrap_client_stream(nursery, stream, "127.0.0.1", "/ws")
        nursery.cancel_scope.cancel()


async def test_a_websocket_by_another_library():
    async with serving(handler) as listener:
        async with websocket(listener.port) as socket:
            for message in ("text", b"octets", "x" * 300_000, ""):
                await socket.send_message(message)
                assert await socket.get_message() == message
            await socket.ping()
            assert [each.phase for each in listener.connections()] == ["handed off"]
        await no_connections(listener)
        with await Peer.connect(listener.port) as peer:
            assert (await peer.get("/")).body == b"plain"


async def test_many_websockets_and_a_drain_that_they_obey():
    closed: list[tuple[int, str | None]] = []

    async def client(port: int, ready: trio.Event) -> None:
        async with websocket(port) as socket:
            await socket.send_message("hello")
            assert await socket.get_message() == "hello"
            ready.set()
            with pytest.raises(ConnectionClosed) as caught:
                await socket.get_message()
            closed.append((caught.value.reason.code, caught.value.reason.reason))

    async with serving(handler) as listener, trio.open_nursery() as nursery:
        ready = [trio.Event() for _ in range(20)]
        for event in ready:
            nursery.start_soon(client, listener.port, event)
        for event in ready:
            await event.wait()
        assert await listener.drain(PATIENCE) == Drained(20, 0, 0)
    assert closed == [(1001, "going down")] * 20


async def test_a_tunnel():
    async with serving(handler) as listener:
        with await Peer.connect(listener.port) as peer:
            early = b"early "
            await peer.send(b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n" + early)
            await peer.until(lambda: b"\r\n\r\n" in peer.received)
            head, _, _ = bytes(peer.received).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 OK")
            assert b"content-length" not in head
            assert b"transfer-encoding" not in head
            await peer.send(b"GET / HTTP/1.1\r\n\r\n")  # not a request any more
            peer.send_eof()
            assert await peer.end()
            assert peer.received.removeprefix(head + b"\r\n\r\n") == b"EARLY GET / HTTP/1.1\r\n\r\n"
        await no_connections(listener)


async def test_an_upgrade_and_a_peer_that_resets_it(caplog):
    async with serving(handler) as listener:
        with await Peer.connect(listener.port) as peer:
            await peer.send(b"GET /upgrade HTTP/1.1\r\nHost: test\r\nConnection: upgrade\r\nUpgrade: shout\r\n\r\n")
            await peer.until(lambda: b"\r\n\r\n" in peer.received)
            assert peer.received.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
            assert b"upgrade: shout\r\n" in peer.received
            peer.received.clear()
            await peer.send(b"abc")
            await peer.until(lambda: peer.received == b"ABC")
            assert peer.received == b"ABC"
            peer.reset()
        await no_connections(listener)
        assert not caplog.records  # a peer that leaves is no error of the application


async def test_the_deadline_of_a_drain_cuts_what_stays():
    async with serving(handler) as listener:
        with await Peer.connect(listener.port) as peer:
            await peer.send(b"GET /stay HTTP/1.1\r\nHost: test\r\n\r\n")
            await peer.until(lambda: peer.received.endswith(b"here"))
            began = time.monotonic()
            assert await listener.drain(0.5) == Drained(0, 1, 0)
            assert 0.5 <= time.monotonic() - began < 0.5 + 1.0
            assert await peer.end()
        assert listener.status == "closed"
