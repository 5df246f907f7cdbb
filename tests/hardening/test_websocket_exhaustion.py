"""Peers of WebSockets that mean to take much, against a server in a process of its own: its memory, and its time.

A million frames, and thousands of idle sessions, come with ``nox -s hardening -- long``; else it is a tenth of that.
"""

from __future__ import annotations

import os
import time
import zlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from process_tools import Server, needs_proc, script
from siege_tools import Toll
from socket_tools import PATIENCE, Peer, eventually
from websocket_tools import BINARY, CONT, PING, PONG, TEXT, closed, frame, handshake, said

pytestmark = needs_proc

KIBI, MEBI = 1024, 1024 * 1024
LONG = os.environ.get("ROADRUNNER_HARDENING") == "long"
MANY = 1_000_000 if LONG else 100_000
IDLE = 2_000 if LONG else 400
CAP = 4 * MEBI

SERVER = f"""
import trio
from roadrunner_trio import Limits, Listener, Timeouts, websocket

async def handler(request):
    session = await request.accept()
    match request.path:
        case "/silent":
            await trio.sleep_forever()
        case "/pour":
            while True:
                await session.send_message(bytes(1_000_000))
        case "/brief":
            return
    async for message in session:
        await session.send_message(message)

async def main():
    served = websocket(handler, compression=True, max_message={CAP}, close_timeout=0.5, ping_interval=None)
    limits = Limits(max_connections=5000)
    listener = Listener(served, bind="127.0.0.1:0", limits=limits, timeouts=Timeouts(write=1, linger=0.5))
    async with trio.open_nursery() as nursery:
        await nursery.start(listener.serve)
        print(listener.port, flush=True)

trio.run(main)
"""


@pytest.fixture
async def server(tmp_path: Path) -> AsyncGenerator[Server]:
    async with script(SERVER, tmp_path) as running:
        idle = running.descriptors()
        await honest(running)
        await eventually(lambda: running.descriptors() == idle)
        yield running
        await honest(running)
        await eventually(lambda: running.descriptors() == idle)
        assert running.log() == ""


@asynccontextmanager
async def session(server: Server, target: bytes = b"/", *fields: bytes) -> AsyncGenerator[Peer]:
    """A peer in a session, which has not read a frame yet."""
    with await Peer.connect(server.port) as peer:
        await peer.send(handshake(*fields, target=target))
        await peer.until(lambda: b"\r\n\r\n" in peer.received)
        del peer.received[: peer.received.index(b"\r\n\r\n") + 4]
        yield peer


async def honest(server: Server) -> float:
    """An honest peer is served; in how many seconds."""
    began = time.monotonic()
    with trio.fail_after(PATIENCE):
        async with session(server) as peer:
            await peer.send(frame(TEXT, "hello"))
            await peer.until(lambda: len(peer.received) == 7)
            assert peer.received == said(TEXT, "hello")
    return time.monotonic() - began


async def flood(peer: Peer, first: bytes, each: bytes, count: int) -> int:
    """Sends as much of it as the server takes, and says how many frames that was."""
    sent, burst = 0, each * 1000
    try:
        await peer.send(first)
        while sent < count:
            with trio.fail_after(PATIENCE):  # what the kernel holds of it takes the server seconds
                await peer.send(burst)
            sent += 1000
    except OSError:
        pass
    return sent


async def test_cve_2026_39804_a_bomb_of_300_megabytes_takes_less_than_the_cap(server, tolls):
    packer = zlib.compressobj(wbits=-15)
    bomb = b"".join(packer.compress(bytes(1_000_000)) for _ in range(300)) + packer.flush(zlib.Z_SYNC_FLUSH)
    data = frame(BINARY, bomb[:-4], rsv=4, mask=bytes(4))
    assert 290_000 < len(data) < 310_000
    before, began = server.peak(), time.monotonic()
    async with session(server, b"/", b"Sec-WebSocket-Extensions: permessage-deflate") as peer:
        await peer.send(data)
        assert await peer.end()
        assert peer.received == closed(1009, "a message that is too large")
    assert time.monotonic() - began < PATIENCE
    assert server.peak() - before < CAP + 512 * KIBI, "the message, a step beyond it, and the octets it is made from"
    tolls.take("WebSocket, exhaustion", Toll(inputs=1, refused=1))


@pytest.mark.parametrize("compressed", [False, True])
async def test_cve_2026_65623_empty_fragments_without_end(compressed, server, tolls):
    """They weigh nothing, and are counted."""
    before, began = server.peak(), time.monotonic()
    offer = [b"Sec-WebSocket-Extensions: permessage-deflate"] * compressed
    async with session(server, b"/", *offer) as peer, neighbours(server) as waits:
        fragment = frame(CONT, fin=False, mask=bytes(4))
        await flood(peer, frame(TEXT, fin=False, rsv=4 * compressed), fragment, 2 * MANY)
        assert await peer.end()
        assert peer.received == closed(1009, "a message of too many fragments")
    assert max(waits) < 1
    assert time.monotonic() - began < PATIENCE + MANY / 50_000
    assert server.peak() - before < 2 * MEBI
    tolls.take("WebSocket, exhaustion", Toll(inputs=1, refused=1))


@pytest.mark.parametrize("reads", [True, False])
async def test_pings_without_end(reads, server, tolls):
    """Every one is answered, or the last of many where the peer does not read; handlers need not be there for it."""
    before, began = server.peak(), time.monotonic()
    async with session(server, b"/silent") as peer, neighbours(server) as waits, trio.open_nursery() as nursery:

        async def ping() -> None:
            assert await flood(peer, b"", frame(PING, "x", mask=bytes(4)), MANY) == MANY
            await peer.send(frame(PING, "last"))

        nursery.start_soon(ping)
        while reads and not peer.received.endswith(said(PONG, "last")):
            del peer.received[:-7]
            assert await peer.receive()
    assert max(waits) < 1
    assert time.monotonic() - began < PATIENCE + MANY / 10_000
    assert server.peak() - before < 2 * MEBI
    tolls.take("WebSocket, exhaustion", Toll(inputs=1))


async def test_a_peer_that_never_reads(server, tolls):
    peak, idle, began = server.peak(), server.descriptors(), time.monotonic()
    async with session(server, b"/pour"):
        assert server.descriptors() > idle
        await eventually(lambda: server.descriptors() == idle)
    assert 1 < time.monotonic() - began < 1 + 2
    assert server.peak() - peak < 4 * MEBI
    tolls.take("WebSocket, exhaustion", Toll(inputs=1, refused=1))


async def test_a_peer_that_never_closes(server, tolls):
    idle = server.descriptors()
    async with session(server, b"/brief") as peer:
        await peer.until(lambda: peer.received == closed(1000))
        began = time.monotonic()
        assert server.descriptors() > idle
        await eventually(lambda: server.descriptors() == idle)
        assert time.monotonic() - began < 0.5 + 0.5 + 1
    tolls.take("WebSocket, exhaustion", Toll(inputs=1, refused=1))


async def test_what_an_idle_session_takes(server):
    """It has talked, has a handler that waits for more, and nothing else."""
    peers: list[Peer] = []

    async def more(count: int) -> None:
        for _ in range(count):
            peer = await Peer.connect(server.port)
            peers.append(peer)
            await peer.send(handshake() + frame(TEXT, "hello"))
            while not peer.received.endswith(said(TEXT, "hello")):
                assert await peer.receive()

    try:
        await more(50)
        before = server.memory()
        await more(IDLE)
        each = (server.memory() - before) / IDLE
    finally:
        for peer in peers:
            peer.socket.close()
    print(f"an idle session takes {each:.0f} octets")
    assert each < 10_000


@asynccontextmanager
async def neighbours(server: Server) -> AsyncGenerator[list[float]]:
    """Honest peers come all the while; how long each was waiting."""
    waits: list[float] = []

    async def come() -> None:
        while True:
            waits.append(await honest(server))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(come)
        yield waits
        await eventually(lambda: bool(waits))
        nursery.cancel_scope.cancel()
