"""Peers that vanish, peers that talk nonsense, handlers that fail: nothing of them stays.

The server is a process of its own, so that its memory and its descriptors can be looked at.
``ROADRUNNER_VANISH`` is the number of connections that vanish (default 2000).
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import trio
from process_tools import Server, needs_proc, script
from socket_tools import PATIENCE, Peer, eventually
from vector_tools import OWN, load

COUNT = int(os.environ.get("ROADRUNNER_VANISH", "2000"))
MALFORMED = 1000
GROUPS = 200
AT_ONCE = 50
BACKLOG = 64
MOST_GROWTH = 2 * 1024 * 1024

pytestmark = needs_proc

SERVER = """
import gc, json, logging, trio
from roadrunner_trio import *

async def fail(error):
    raise error

async def broken_group():
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fail, ValueError("one"))
        nursery.start_soon(fail, KeyError("two"))

async def group_of_the_peer(request):
    async with trio.open_nursery() as nursery:
        nursery.start_soon(request.disconnected)
        nursery.start_soon(trio.sleep, 0.01)
        async for _ in request.stream():
            pass

async def produce(send):
    for _ in range(20):
        await send(bytes(5000))
        await trio.sleep(0.001)

def loop():
    put, get = trio.open_memory_channel(1)
    put.send_nowait(b"message")
    async def on_message(message, send):
        if isinstance(message, bytes):
            await send(message)
    return LoopResponse(get, on_message)

async def echo(request, stream):
    while data := await stream.receive_some():
        await stream.send_all(data)

async def handler(request):
    match request.path:
        case "/info":
            gc.collect()
            info = listener.info()
            phases = [each.phase for each in listener.connections()]
            return Response.json({"active": info.active, "accepted": info.accepted, "phases": phases})
        case "/group":
            await broken_group()
        case "/own":
            await group_of_the_peer(request)
            return Response.no_content()
        case "/stream":
            return StreamResponse(produce)
        case "/loop":
            await request.read()  # more than 64 KiB that nobody takes would hide the end
            return loop()
        case "/file":
            return FileResponse("big")
        case "/large":
            return Response(large)
        case "/handoff":
            await request.read()
            return Handoff(echo, status=101)
        case "/wait":
            await request.read()
            await request.disconnected()
    return Response(await request.read())

large = bytes(1_000_000)
timeouts = Timeouts(request=5, keep_alive=5, linger=0.5)
limits = Limits(backlog=64)
listener = Listener(handler, bind="127.0.0.1:0", body="streaming", timeouts=timeouts, limits=limits)

async def main():
    async with trio.open_nursery() as nursery:
        await nursery.start(listener.serve)
        print(listener.port, flush=True)

logging.basicConfig(filename="log")
trio.run(main)
"""

PATHS = ("/", "/own", "/group", "/stream", "/loop", "/file", "/large", "/handoff", "/wait")


def vanish(peer: Peer, chance: random.Random) -> None:
    """Closes with a reset, or as processes do when they end."""
    if chance.random() < 0.5:
        peer.reset()
    else:
        peer.socket.close()


async def vanishing(port: int, chance: random.Random) -> None:
    """One connection that goes away at some point: in the head, in the body, in the response, or idle."""
    path = chance.choice(PATHS)
    body = bytes(chance.choice((0, 10, 1000, 200_000)))
    request = f"POST {path} HTTP/1.1\r\nHost: test\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    with await Peer.connect(port) as peer:
        with trio.move_on_after(chance.random() * 0.05):
            if chance.random() < 0.5:
                request = request[: chance.randrange(len(request))]
            await peer.send(request)
            await peer.until(lambda: len(peer.received) > 100_000)
        vanish(peer, chance)


async def malformed(port: int, chance: random.Random) -> None:
    """One vector, broken in one more place, and a peer that reads what it is told, or does not."""
    data = bytearray(chance.choice(VECTORS))
    if data:
        data[chance.randrange(len(data))] = chance.randrange(256)
    with await Peer.connect(port) as peer:
        await peer.send(bytes(data))
        if chance.random() < 0.5:
            await peer.end(0.02)
        vanish(peer, chance)


VECTORS = [vector.data for name in OWN for vector in load(name) if len(vector.data) < 10_000]


async def group(port: int, chance: random.Random) -> None:
    """A handler that raises a group, and a peer that reads the 500."""
    with await Peer.connect(port) as peer:
        assert (await peer.get("/group")).status == 500
        assert await peer.end()


async def waiting(port: int, chance: random.Random) -> None:
    """A connection that waits in the accept queue and is answered, or vanishes there."""
    with await Peer.connect(port) as peer:
        if chance.random() < 0.5:
            vanish(peer, chance)
        else:
            assert (await peer.get("/")).status == 200


async def full_queue(server: Server) -> None:
    """Three times as many connections as the accept queue takes, while the server stands still."""
    chance = random.Random(0)
    server.process.send_signal(signal.SIGSTOP)
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            for _ in range(3 * BACKLOG):
                nursery.start_soon(waiting, server.port, chance)
            await trio.sleep(0.1)
            server.process.send_signal(signal.SIGCONT)


async def many(act: Callable[[int, random.Random], Awaitable[None]], count: int, port: int) -> None:
    chance = random.Random(count)
    limit = trio.CapacityLimiter(AT_ONCE)

    async def one() -> None:
        async with limit:
            with trio.fail_after(PATIENCE), suppress(OSError):  # it is the server that may not be harmed
                await act(port, chance)

    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(one)


async def info(server: Server) -> dict[str, Any]:
    with await Peer.connect(server.port) as peer:
        return json.loads((await peer.get("/info")).body)


async def alone(server: Server) -> dict[str, Any]:
    """What the server tells once whoever asks is the only one."""
    for _ in range(200):
        told = await info(server)
        if told["active"] == 1:
            break
        await trio.sleep(0.1)
    return told


async def part(server: Server, share: int) -> int:
    """A part of everything; then the memory in use."""
    await many(vanishing, COUNT // share, server.port)
    await many(malformed, MALFORMED // share, server.port)
    await many(group, GROUPS // share, server.port)
    await full_queue(server)
    assert (await alone(server))["phases"] == ["in the handler"]
    return server.memory()


async def test_nothing_of_them_stays(tmp_path, monkeypatch):
    for name in ("MMAP_THRESHOLD", "TRIM_THRESHOLD"):  # what is freed is given back, or memory would tell nothing
        monkeypatch.setenv(f"MALLOC_{name}_", "65536")
    monkeypatch.setenv("MALLOC_ARENA_MAX", "1")
    (tmp_path / "big").write_bytes(bytes(2_000_000))
    async with script(SERVER, tmp_path) as server:
        descriptors = server.descriptors()
        await part(server, 3)  # what is made once is made
        before = await part(server, 2)
        after = await part(server, 2)
        assert after - before <= MOST_GROWTH, (before, after)
        await eventually(lambda: server.descriptors() == descriptors)
        assert (await info(server))["accepted"] >= 0.9 * (COUNT + MALFORMED) + GROUPS
        assert server.log() == ""
    errors = re.findall("^ERROR:.*", (tmp_path / "log").read_text(), re.MULTILINE)
    assert len(errors) >= GROUPS
    assert [error for error in errors if "/group> failed" not in error] == []
