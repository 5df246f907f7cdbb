"""WebSockets over real sockets, with the clients that people use: plain, encrypted, compressed; and a drain."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme
from socket_tools import PATIENCE, Peer, no_connections, serving
from trio_websocket import ConnectionClosed, open_websocket_url
from websocket_tools import PING, PONG, TEXT, client, closed, echo, frame, handshake, said
from websockets.sync.client import connect

from roadrunner_trio import Compression, Drained, Timeouts, server_context, websocket

MESSAGES = ["", b"", "text", b"\x00\xff", "ä€😀" * 5000, os.urandom(200_000), b"x" * 65535, b"x" * 65536]


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@asynccontextmanager
async def echoing(
    authority: trustme.CA, tmp_path: Path, *, encrypted: bool, **settings: Any
) -> AsyncGenerator[tuple[str, ssl.SSLContext | None]]:
    """The URL of an echo, and what its clients trust."""
    tls, trusting = None, None
    if encrypted:
        authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "pem"))
        tls, trusting = server_context(tmp_path / "pem"), ssl.create_default_context()
        authority.configure_trust(trusting)
    async with serving(websocket(echo, **settings), tls=tls) as listener:
        yield f"ws{'s' if encrypted else ''}://127.0.0.1:{listener.port}/", trusting
        await no_connections(listener)


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("compression", [False, True, Compression(server_no_context_takeover=True)])
async def test_the_websockets_client(encrypted, compression, authority, tmp_path):
    def talk(url: str, trusting: ssl.SSLContext | None) -> None:
        with connect(url, ssl=trusting, max_size=None, compression="deflate") as client:
            agreed = client.response.headers.get("Sec-WebSocket-Extensions")
            assert (agreed is not None) is bool(compression)
            for message in MESSAGES:
                client.send(message)
                assert client.recv() == message
            client.send(["one ", "two"])
            assert client.recv() == "one two"
            assert client.ping().wait(PATIENCE)
            client.close(4000, "enough")
            assert client.close_code == 4000

    async with echoing(authority, tmp_path, encrypted=encrypted, compression=compression) as (url, trusting):
        await trio.to_thread.run_sync(talk, url, trusting)


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "tls"])
async def test_the_trio_websocket_client(encrypted, authority, tmp_path):
    async with (
        echoing(authority, tmp_path, encrypted=encrypted, compression=True) as (url, trusting),
        open_websocket_url(url, trusting, max_message_size=2**20) as client,
    ):
        for message in MESSAGES:
            await client.send_message(message)
            assert await client.get_message() == message
        await client.ping()
        await client.aclose(4000, "enough")
        assert client.closed is not None
        assert client.closed.code == 4000


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "tls"])
async def test_a_drain_and_its_peers(encrypted, authority, tmp_path):
    codes = []

    async def attend(url: str, trusting: ssl.SSLContext | None, ready: trio.Event) -> None:
        async with client(url, trusting) as session:
            await session.send_message("hello")
            assert await session.get_message() == "hello"
            ready.set()
            with pytest.raises(ConnectionClosed) as caught:
                await session.get_message()
            codes.append((caught.value.reason.code, caught.value.reason.reason))

    tls, trusting = None, None
    if encrypted:
        authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "pem"))
        tls, trusting = server_context(tmp_path / "pem"), ssl.create_default_context()
        authority.configure_trust(trusting)
    async with serving(websocket(echo), tls=tls) as listener, trio.open_nursery() as nursery:
        ready = [trio.Event() for _ in range(10)]
        for event in ready:
            url = f"ws{'s' if encrypted else ''}://127.0.0.1:{listener.port}/"
            nursery.start_soon(attend, url, trusting, event)
        for event in ready:
            await event.wait()
        assert await listener.drain(PATIENCE) == Drained(10, 0, 0)
    assert codes == [(1001, "the server is going down")] * 10


async def fill_with_pongs(peer: Peer) -> None:
    """Has the server owe what its socket does not take."""
    await peer.send(handshake(target=b"/") + frame(PING, bytes(125), mask=bytes(4)) * 100_000)


async def silent(request: Any) -> None:
    session = await request.accept()
    with pytest.raises(ConnectionClosed):
        await session.get_message()


async def test_what_a_full_socket_did_not_take_comes_when_it_does():
    async with serving(websocket(silent, ping_interval=None)) as listener:
        with await Peer.connect(listener.port) as peer:
            await fill_with_pongs(peer)
            await peer.send(frame(PING, "last"))
            await peer.until(lambda: peer.received.endswith(said(PONG, "last")))
            assert peer.received.count(said(PONG, bytes(125))) < 100_000, "then it would have taken all"
        await no_connections(listener)


async def test_a_peer_that_talks_and_does_not_take_our_ping_is_left():
    async with serving(websocket(silent, ping_interval=0.2, ping_timeout=0.2)) as listener:
        with await Peer.connect(listener.port) as peer:
            began = trio.current_time()
            with suppress(OSError):
                await fill_with_pongs(peer)
                while listener.info().active:
                    await peer.send(frame(PONG))
                    await trio.sleep(0.05)
            await no_connections(listener)
            assert trio.current_time() - began < 10, "sooner than a write's 30 seconds"


async def test_peers_that_reset(caplog):
    async with serving(websocket(echo)) as listener:
        for _ in range(5):
            with await Peer.connect(listener.port) as peer:
                await peer.send(handshake() + frame(TEXT, "a") * 1000)
                await peer.receive()
                peer.reset()
        await no_connections(listener)
    assert caplog.records == []


async def test_a_close_that_is_not_taken_is_bounded_too():
    async def handler(request):
        session = await request.accept()
        async for message in session:
            if message == "close":
                await session.aclose(4000)
                took.append(trio.current_time())

    took: list[float] = []
    served = websocket(handler, ping_interval=None, close_timeout=0.3)
    async with serving(served, timeouts=Timeouts(linger=0.3)) as listener:
        with await Peer.connect(listener.port) as peer:
            await fill_with_pongs(peer)
            began = trio.current_time()
            await peer.send(frame(TEXT, "close"))
            await no_connections(listener)
            assert 0.3 <= took[0] - began < 10
            assert trio.current_time() - took[0] < 3


async def test_case_03_a_large_message_in_the_kernel_keeps_a_slow_peer_alive():
    """The ping stands behind what the kernel has taken at once; the peer reads that, and answers then."""
    size, rate, patience = 300_000, 150_000, 0.4

    async def handler(request):
        session = await request.accept()
        wire = request._offer.exchange.wire
        wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * size)
        await session.send_message(bytes(size))
        sent.append(trio.current_time())
        heard.append(await session.get_message())

    sent: list[float] = []
    heard: list[object] = []
    async with serving(websocket(handler, ping_interval=patience, ping_timeout=patience)) as listener:
        with await Peer.connect(listener.port) as peer:
            peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
            await peer.send(handshake())
            began = trio.current_time()
            while not peer.received.endswith(said(PING)):
                assert await peer.receive()
                await trio.sleep_until(began + len(peer.received) / rate)
            assert trio.current_time() - sent[0] > 2 * patience, "it has answered later than pongs are due"
            await peer.send(frame(PONG) + frame(TEXT, "still here"))
            await peer.until(lambda: peer.received.endswith(closed(1000)))
        await no_connections(listener)
    assert heard == ["still here"]
