"""Handlers written for ``trio_websocket.serve_websocket``, served by it and by us: clients see the same."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio_websocket
from socket_tools import PATIENCE, serving
from trio_websocket import ConnectionClosed, ConnectionRejected
from websocket_tools import client

from roadrunner_trio import websocket


async def echo_server(request):  # the example of its README, letter by letter
    ws = await request.accept()
    while True:
        try:
            message = await ws.get_message()
            await ws.send_message(message)
        except ConnectionClosed:
            break


class Chat:
    """Rooms by path, names by subprotocol, a writer and a reader of their own for each."""

    def __init__(self) -> None:
        self.rooms: dict[str, set[trio.MemorySendChannel[str]]] = {}

    async def __call__(self, request: trio_websocket.WebSocketRequest) -> None:
        if not request.path.startswith("/room/"):
            await request.reject(404, extra_headers=[(b"X-Reason", b"no such room")], body=b"rooms are in /room/\n")
            return
        if "chat" not in request.proposed_subprotocols:
            await request.reject(400)
            return
        name = next((value.decode() for key, value in request.headers if key == b"x-name"), "anonymous")
        socket = await request.accept(subprotocol="chat", extra_headers=[(b"x-room", request.path[6:].encode())])
        send, receive = trio.open_memory_channel[str](10)
        members = self.rooms.setdefault(request.path, set())
        members.add(send)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.write, socket, receive)
                while True:
                    text = await socket.get_message()
                    if text == "/quit":
                        await socket.aclose(4001, "quit")
                        break
                    for member in members:
                        await member.send(f"{name}: {text}")
                nursery.cancel_scope.cancel()
        finally:
            members.discard(send)

    @staticmethod
    async def write(socket: trio_websocket.WebSocketConnection, receive: trio.MemoryReceiveChannel[str]) -> None:
        async for text in receive:
            await socket.send_message(text)


async def rpc(request: trio_websocket.WebSocketRequest) -> None:
    """Numbers its answers, measures its peer, and says how it ended."""
    async with await request.accept() as socket:
        assert socket.closed is None
        assert socket.subprotocol is None
        with trio.fail_after(PATIENCE):
            await socket.ping(b"measure")
        await socket.pong(b"alive")
        count = 0
        with trio.move_on_after(PATIENCE):
            while True:
                message = await socket.get_message()
                count += 1
                if isinstance(message, bytes):
                    await socket.send_message(count.to_bytes(2, "big") + message[::-1])
                elif message == "stop":
                    await socket.aclose(code=4002, reason=f"{count} messages")
                else:
                    await socket.send_message(f"{count}: {message.upper()}")


@pytest.fixture(params=["ours", "theirs"])
def served(request):
    """Serves a handler, by us and by trio-websocket."""

    @asynccontextmanager
    async def serve(handler: Any) -> AsyncGenerator[str]:
        if request.param == "ours":
            async with serving(websocket(handler)) as listener:
                yield f"ws://127.0.0.1:{listener.port}"
        else:
            async with trio.open_nursery() as nursery:
                server = await nursery.start(trio_websocket.serve_websocket, handler, "127.0.0.1", 0, None)
                yield f"ws://127.0.0.1:{server.port}"
                nursery.cancel_scope.cancel()

    return serve


async def test_the_example_of_its_readme(served):
    async with served(echo_server) as url, client(url) as session:
        for message in ("a", b"b"):
            await session.send_message(message)
            assert await session.get_message() == message


async def test_a_chat(served):
    async with served(Chat()) as url:

        def enter(path: str, name: bytes, *protocols: str) -> Any:
            return client(url + path, subprotocols=protocols, fields=[(b"x-name", name)])

        for path, protocols, status, body in [
            ("/other", ["chat"], 404, b"rooms are in /room/\n"),
            ("/room/1", ["other"], 400, b""),
        ]:
            with pytest.raises(ConnectionRejected) as caught:
                async with enter(path, b"a", *protocols):
                    pass
            assert (caught.value.status_code, caught.value.body or b"") == (status, body)
        async with enter("/room/1", b"ann", "other", "chat") as ann, enter("/room/1", b"bob", "chat") as bob:
            assert ann.subprotocol == "chat"
            assert (b"x-room", b"1") in ann.handshake_headers
            await ann.send_message("hello")
            assert await ann.get_message() == await bob.get_message() == "ann: hello"
            await bob.send_message("/quit")
            with pytest.raises(ConnectionClosed) as closed:
                await bob.get_message()
            assert (closed.value.reason.code, closed.value.reason.reason) == (4001, "quit")


async def test_remote_procedures(served):
    async with served(rpc) as url, client(url) as session:
        await session.send_message("hello")
        assert await session.get_message() == "1: HELLO"
        await session.send_message(b"abc")
        assert await session.get_message() == b"\x00\x02cba"
        await session.send_message("stop")
        with pytest.raises(ConnectionClosed) as closed:
            await session.get_message()
        assert (closed.value.reason.code, closed.value.reason.reason) == (4002, "3 messages")
