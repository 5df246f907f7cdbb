"""Files over TCP: whole, from the kernel, without memory, and without holding anybody up."""

from __future__ import annotations

import hashlib
import os
import socket
import time
from statistics import quantiles

import pytest
import trio
from process_tools import needs_proc, script
from socket_tools import PATIENCE, Peer, eventually, serving

from roadrunner_trio import FileResponse, Request

SIZE = 20 * 1024 * 1024

SERVER = """
import logging, trio
from roadrunner_trio import *

async def handler(request):
    if request.path == "/file":
        return FileResponse("big")
    return Response.text("small")

async def main():
    listener = Listener(handler, bind="127.0.0.1:0")
    async with trio.open_nursery() as nursery:
        await nursery.start(listener.serve)
        print(listener.port, flush=True)

trio.run(main)
"""

GET = b"GET /file HTTP/1.1\r\nHost: test\r\n\r\n"

pytestmark = needs_proc


@pytest.fixture
def folder(tmp_path):
    """A directory with the file that the server serves."""
    block = os.urandom(1024 * 1024)
    (tmp_path / "big").write_bytes(b"".join(block[i:] + block[:i] for i in range(SIZE // len(block))))
    return tmp_path


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


async def test_whole_and_without_memory(folder):
    content = (folder / "big").read_bytes()
    async with script(SERVER, folder) as server:
        with await Peer.connect(server.port) as peer:
            assert (await peer.get("/")).status == 200
            answer = await peer.get("/file")
            assert digest(answer.body) == digest(content)
            memory = server.memory()
            for _ in range(5):
                assert len((await peer.get("/file")).body) == SIZE
            assert server.memory() - memory < 1024 * 1024  # a twentieth of the file


async def test_it_is_the_kernel_that_sends(folder, monkeypatch):
    sent: list[int] = []
    real = os.sendfile

    def sendfile(out: int, file: int, offset: int, count: int) -> int:
        sent.append(real(out, file, offset, count))
        return sent[-1]

    async def handler(request: Request) -> FileResponse:
        return FileResponse(folder / "big", offset=1000, length=SIZE - 3000)

    monkeypatch.setattr(os, "sendfile", sendfile)
    content = (folder / "big").read_bytes()
    async with serving(handler) as listener:
        with await Peer.connect(listener.port) as peer:
            assert digest((await peer.get()).body) == digest(content[1000:-2000])
    assert sum(sent) == SIZE - 3000


async def slowly(port: int, started: trio.Event, count: int) -> None:
    """Takes a few octets at a time, with a small window."""
    with trio.socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await sock.connect(("127.0.0.1", port))
        await sock.send(GET)
        for _ in range(count):
            assert await sock.recv(4096)
            started.set()
            await trio.sleep(0.02)
        await trio.sleep_forever()


async def test_slow_readers_hold_nobody_up(folder):
    async with script(SERVER, folder) as server:
        with await Peer.connect(server.port) as peer:
            alone = await timings(peer)
            async with trio.open_nursery() as nursery:
                started = [trio.Event() for _ in range(20)]
                for event in started:
                    nursery.start_soon(slowly, server.port, event, 10_000)
                for event in started:
                    await event.wait()
                among = await timings(peer)
                nursery.cancel_scope.cancel()
    assert p99(among) < max(0.1, 20 * p99(alone)), (p99(alone), p99(among))


async def timings(peer: Peer) -> list[float]:
    """How long each of many small requests took."""
    found: list[float] = []
    for _ in range(200):
        began = time.perf_counter()
        assert (await peer.get("/")).status == 200
        found.append(time.perf_counter() - began)
    return found


def p99(seconds: list[float]) -> float:
    return quantiles(seconds, n=100)[98]


async def test_a_peer_that_vanishes_in_the_middle_leaks_no_descriptor(folder):
    async with script(SERVER, folder) as server:
        before = server.descriptors()
        for _ in range(50):
            with await Peer.connect(server.port) as peer:
                await peer.send(GET)
                assert await peer.receive()
        with await Peer.connect(server.port) as peer:
            assert digest((await peer.get("/file")).body) == digest((folder / "big").read_bytes())
        await eventually(lambda: server.descriptors() == before)
        assert server.log() == ""


async def test_a_file_that_shrinks_is_cut_visibly(folder):
    async with script(SERVER, folder) as server:
        with await Peer.connect(server.port) as peer:
            await peer.send(GET)
            await peer.receive()
            os.truncate(folder / "big", 1024 * 1024)
            with trio.fail_after(PATIENCE), pytest.raises(ConnectionResetError):
                await peer.answer()
        with await Peer.connect(server.port) as peer:
            assert len((await peer.get("/file")).body) == 1024 * 1024
        assert "became shorter" in server.log()
