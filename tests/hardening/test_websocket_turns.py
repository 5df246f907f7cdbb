"""How long a peer of costly frames keeps everybody waiting: the longest step of the loop, in CPU time of its thread.

The peer is a thread with a plain socket. Its neighbours wait for as many steps as they need turns, so this is what
they wait for, whatever else the machine does.
"""

from __future__ import annotations

import gc
import random
import socket
import threading
import time
import zlib
from contextlib import contextmanager, suppress

import pytest
import trio
from siege_tools import Toll
from socket_tools import PATIENCE, serving
from websocket_tools import BINARY, CONT, PING, TEXT, closing, empty_blocks, frame, handshake

from roadrunner_trio import websocket

MOST = 0.02
"""Seconds that a step may take: 0.002 mostly, 0.007 to make one of all the parts of a large message, and room."""
CAP = 10 * 1024 * 1024
DEFLATE = b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"


class Steps(trio.abc.Instrument):
    """The longest step of any task."""

    def __init__(self):
        self.longest = 0.0
        self.of = ""
        self.began = time.thread_time()

    def before_task_step(self, task):
        self.began = time.thread_time()

    def after_task_step(self, task):
        took = time.thread_time() - self.began
        if took > self.longest:
            self.longest, self.of = took, task.name


@contextmanager
def watched():
    gc.collect()
    gc.disable()  # how long the collector takes is not the peer's doing
    steps = Steps()
    trio.lowlevel.add_instrument(steps)
    try:
        yield steps
    finally:
        trio.lowlevel.remove_instrument(steps)
        gc.enable()


def zero(opcode: int, payload: bytes, **settings) -> bytes:
    return frame(opcode, payload, mask=bytes(4), **settings)


def deflated(data: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -12)
    return (packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH))[:-4]


TINY = zero(BINARY, b"")
FLOODS: dict[str, bytes] = {
    "a frame of the cap": zero(BINARY, bytes(CAP)),
    "a text of the cap": zero(TEXT, b"a" * CAP),
    "a text of the cap, two octets a character": zero(TEXT, "é".encode() * (CAP // 2)),
    "a text of the cap, in memory too": zero(TEXT, ("😀" * (CAP // 4)).encode()),
    "letters that one emoji makes wide": zero(TEXT, b"a" * (CAP // 4 - 4) + "😀".encode()),
    "compressed zeros": zero(BINARY, deflated(bytes(CAP)), rsv=4),
    "compressed zeros beyond the cap": zero(BINARY, deflated(bytes(10 * CAP)), rsv=4),
    "final blocks": zero(BINARY, b"\x03\x00" * 150_000 + b"\x00", rsv=4),
    "empty blocks with tables": zero(BINARY, empty_blocks(8000) * 10, rsv=4),
    "empty stored blocks": zero(BINARY, b"\x00\x00\x00\xff\xff" * 100_000, rsv=4),
    "empty fragments": zero(TEXT, b"", fin=False) + zero(CONT, b"", fin=False) * 30_000,
    "compressed empty fragments": zero(TEXT, b"", fin=False, rsv=4) + zero(CONT, b"", fin=False) * 30_000,
    "fragments of an octet": zero(TEXT, b"a", fin=False) + zero(CONT, b"a", fin=False) * 30_000,
    "fragmented and plain in turn": (zero(TEXT, b"", fin=False) + zero(CONT, b"") + zero(TEXT, b"")) * 10_000,
    "pings": zero(PING, b"") * 30_000,
    "messages of nothing": TINY * 30_000,
    "very small compressed messages": zero(BINARY, b"\x00", rsv=4) * 20_000,
}


def pour(port: int, data: bytes, path: bytes, ready: threading.Event) -> None:
    """Sends it, and reads whatever comes, until the server has had enough of either."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as sock, suppress(OSError):
        sock.sendall(handshake(DEFLATE, target=path))
        while b"\r\n\r\n" not in sock.recv(65536):
            pass
        ready.set()
        reader = threading.Thread(target=drain, args=(sock,))
        reader.start()
        sock.sendall(data + closing(1000))
        reader.join(PATIENCE)


def drain(sock: socket.socket) -> None:
    with suppress(OSError):
        while sock.recv(1 << 20):
            pass


async def handler(request) -> None:
    session = await request.accept()
    match request.path:
        case "/deaf":
            await trio.sleep(0.3)
            return
        case "/closed":
            await session.aclose(4000)
        case "/pieces":
            while True:
                async for _ in session.get_pieces():
                    pass
    while True:
        await session.get_message()


@pytest.mark.parametrize("path", ["/", "/pieces", "/deaf", "/closed"])
@pytest.mark.parametrize("name", FLOODS)
async def test_case_35_no_step_takes_long_whatever_comes(name, path, tolls):
    served = websocket(handler, compression=True, close_timeout=3, max_queue=100_000)
    async with serving(served) as listener:
        ready = threading.Event()
        with watched() as steps, trio.fail_after(PATIENCE):
            await trio.to_thread.run_sync(pour, listener.port, FLOODS[name], path.encode(), ready)
    print(f"{name}, {path}: {steps.longest * 1e3:.1f} ms in {steps.of}")
    assert ready.is_set()
    assert steps.longest < MOST, steps.of
    tolls.take("WebSocket, turns", Toll(inputs=1))


def noise(octets: int) -> bytes:
    """Text that takes long to compress."""
    chance = random.Random(35)
    words = [bytes(chance.choices(b"abcdefghijklmnop", k=chance.randint(2, 9))) for _ in range(5000)]
    return b" ".join(chance.choices(words, k=octets // 5))[:octets]


OUTGOING = {
    "octets": bytes(CAP),
    "a text to compress": noise(CAP // 2).decode(),
    "octets to compress": noise(CAP // 2),
    "a wide text": "aé€😀" * (CAP // 16),
}


@pytest.mark.parametrize("compression", [True, False])
@pytest.mark.parametrize("way", ["whole", "in pieces"])
@pytest.mark.parametrize("name", OUTGOING)
async def test_case_35_no_step_takes_long_whatever_is_sent(name, way, compression, tolls):
    message = OUTGOING[name]

    async def pieces():
        yield message
        yield message[:10]

    async def handler(request) -> None:
        session = await request.accept()
        await session.send_message(message if way == "whole" else pieces())

    async with serving(websocket(handler, compression=compression, close_timeout=3)) as listener:
        with watched() as steps, trio.fail_after(PATIENCE):
            await trio.to_thread.run_sync(pour, listener.port, b"", b"/", threading.Event())
    print(f"{name}, {way}, compression={compression}: {steps.longest * 1e3:.1f} ms in {steps.of}")
    assert steps.longest < MOST, steps.of
    tolls.take("WebSocket, turns", Toll(inputs=1))


async def test_case_35_many_peers_of_costly_frames_wait_for_one_another(tolls):
    """In a turn of the loop one of them goes on. So a neighbour waits no longer for ten of them than for one."""
    data = FLOODS["final blocks"]
    turns: list[float] = []

    async def neighbour() -> None:
        while True:
            began = time.thread_time()
            await trio.lowlevel.checkpoint()
            turns.append(time.thread_time() - began)

    async with serving(websocket(handler, compression=True, close_timeout=3)) as listener:
        gc.collect()
        gc.disable()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(neighbour)
                async with trio.open_nursery() as peers:
                    for _ in range(10):
                        peers.start_soon(trio.to_thread.run_sync, pour, listener.port, data, b"/", threading.Event())
                nursery.cancel_scope.cancel(reason="the peers are done")
        finally:
            gc.enable()
    turns.sort()
    print(
        f"of {len(turns)} turns the longest {turns[-1] * 1e3:.1f} ms, 99 % below {turns[-len(turns) // 100] * 1e3:.1f}"
    )
    assert turns[-len(turns) // 100] < MOST
    tolls.take("WebSocket, turns", Toll(inputs=10))
