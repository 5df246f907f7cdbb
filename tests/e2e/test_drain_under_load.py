"""SIGTERM in the middle of a working day: nobody is cut off, nobody is reset, and the process ends in time.

Against the command line, in a process of its own.
"""

from __future__ import annotations

import re
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime

import trio
from process_tools import Server, command_line
from socket_tools import PATIENCE, Cut, Peer

APP = """
import time, trio
from roadrunner_trio import Response, StreamResponse

async def produce(send):
    for number in range(40):
        await send(b"%04d" % number * 250)
        await trio.sleep(0.05)

async def handler(request):
    match request.path:
        case "/slow":
            await trio.sleep(2)
        case "/stream":
            return StreamResponse(produce)
        case "/large":
            return Response(bytes(50_000_000))
        case "/thread":
            await trio.to_thread.run_sync(time.sleep, 60)
    return Response.text(request.path)
"""
STREAM = b"".join(b"%04d" % number * 250 for number in range(40))

KEEN, SLOW, STREAMS, IDLE, NEWBORN, QUEUED = 50, 10, 5, 20, 10, 300
AT_ONCE = 0.3
"""Seconds in which an idle connection has to be closed."""


@dataclass
class Day:
    """What the clients of a server have seen.

    Attributes:
        seen: how often what happened.
        over: set when the signal has been sent.
        when: that moment.
        idle: seconds from the signal to the end of each idle connection.
    """

    server: Server
    seen: Counter[str] = field(default_factory=Counter)
    over: trio.Event = field(default_factory=trio.Event)
    when: float = 0.0
    idle: list[float] = field(default_factory=list)

    def terminate(self) -> None:
        self.when = time.monotonic()
        self.server.terminate()
        self.over.set()

    async def keen(self, pause: float) -> None:
        """Asks as often as it can on a connection it keeps, and comes back until it is refused."""
        while True:
            try:
                peer = await Peer.connect(self.server.port)
            except ConnectionRefusedError:
                self.seen["refused"] += 1
                return
            with peer:
                await self.keep_asking(peer, pause)

    async def keep_asking(self, peer: Peer, pause: float) -> None:
        fresh = True
        while True:
            if not fresh and peer.has_ended():
                self.seen["closed"] += 1
                return
            try:
                answer = await peer.get("/keen")
            except Cut as cut:
                if fresh or cut.received:
                    raise
                self.seen["crossed"] += 1  # the end was on its way when the request set out: it may be asked again
                return
            assert (answer.status, answer.body) == (200, b"/keen")
            self.seen["keen"] += 1
            fresh = False
            if answer.header("connection") == "close":
                assert await peer.end()
                assert not peer.received
                self.seen["told"] += 1
                return
            await trio.sleep(pause)

    async def ask_once(self, kind: str, expected: bytes, first: float = 0.0) -> None:
        """One request that began before the signal, or whose connection did; its answer has to be whole."""
        with await Peer.connect(self.server.port) as peer:
            if kind == "newborn":
                await self.over.wait()
                await trio.sleep(first)
            answer = await peer.get(f"/{kind}")
            assert (answer.status, answer.body) == (200, expected)
            assert await peer.end()
            assert not peer.received
            self.seen[kind] += 1
            if kind != "stream":  # its head was out before the signal
                assert answer.header("connection") == "close"

    async def stay_idle(self) -> None:
        with await Peer.connect(self.server.port) as peer:
            assert (await peer.get("/idle")).status == 200
            assert await peer.end()
            assert not peer.received
            self.idle.append(time.monotonic() - self.when)
            await peer.send(b"GET /late HTTP/1.1\r\n")  # it had set out already; a reset would be the answer
            await trio.sleep(0.1)
            await peer.send(b"Host: test\r\n\r\n")  # and would break this


async def test_nobody_is_cut_off(tmp_path):
    async with command_line(APP, tmp_path, "--grace", "10", "--no-access-log") as server:
        day = Day(server)
        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as clients:
                await open_shop(day, clients)
                day.terminate()
                status = await server.end()
        lasted = time.monotonic() - day.when
    assert status == 0
    assert 1 < lasted < 10
    seen = day.seen
    assert {kind: seen[kind] for kind in ("slow", "stream", "newborn")} == {
        "slow": SLOW,
        "stream": STREAMS,
        "newborn": NEWBORN,
    }
    assert seen["refused"] == KEEN
    assert seen["told"] + seen["closed"] + seen["crossed"] == KEEN
    assert seen["crossed"] <= KEEN // 10  # a request is lost only when it meets its answerless end on the way
    assert len(day.idle) == IDLE
    assert max(day.idle) < AT_ONCE
    assert drained(server) == (KEEN + SLOW + STREAMS + NEWBORN + IDLE, 0, 0)


async def open_shop(day: Day, clients: trio.Nursery) -> None:
    """Everybody is in, and half a second of the day is over."""
    for number in range(KEEN):
        clients.start_soon(day.keen, number % 2 * 0.01)
    for _ in range(IDLE):
        clients.start_soon(day.stay_idle)
    for _ in range(STREAMS):
        clients.start_soon(day.ask_once, "stream", STREAM)
    for _ in range(SLOW):
        clients.start_soon(day.ask_once, "slow", b"/slow")
    await trio.sleep(0.5)
    for number in range(NEWBORN):
        clients.start_soon(day.ask_once, "newborn", b"/newborn", 0.1 + number * 0.05)
    await trio.sleep(0.1)


async def test_the_accept_queue_is_served(tmp_path):
    """They have connected and asked, but the server, which stands still, has not seen them when the signal comes."""
    async with command_line(APP, tmp_path, "--grace", "10", "--no-access-log") as server:
        server.process.send_signal(signal.SIGSTOP)
        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as clients:
                for _ in range(QUEUED):
                    clients.start_soon(in_the_queue, server)
                await trio.sleep(0.2)
                server.terminate()
                server.process.send_signal(signal.SIGCONT)
            assert await server.end() == 0
    assert drained(server)[1:] == (0, 0)


async def in_the_queue(server: Server) -> None:
    with await Peer.connect(server.port) as peer:
        assert (await peer.get("/queued")).body == b"/queued"
        assert await peer.end()
        assert not peer.received


async def test_a_peer_that_stopped_reading_is_cut_at_the_deadline(tmp_path):
    async with command_line(APP, tmp_path, "--grace", "2") as server:
        with await Peer.connect(server.port) as peer:
            await peer.send(b"GET /large HTTP/1.1\r\nHost: test\r\n\r\n")
            await peer.receive()
            server.terminate()
            assert await server.end() == 0
    assert drained(server) == (0, 1, 0)
    assert 2 <= took(server, "drained: ") < 2 + 1


async def test_a_thread_that_cannot_be_ended_is_named_and_left_behind(tmp_path):
    async with command_line(APP, tmp_path, "--grace", "1") as server:
        with await Peer.connect(server.port) as peer:
            await peer.send(b"GET /thread HTTP/1.1\r\nHost: test\r\n\r\n")
            with await Peer.connect(server.port) as other:
                assert (await other.get("/")).status == 200
            server.terminate()
            assert await server.end() == 1
            ours = peer.socket.getsockname()[1]
    assert f"the connection of 127.0.0.1:{ours} is stuck" in server.log()
    assert 1 <= took(server, "leaving with exit status 1") < 1 + 2
    assert re.search(r"app\.py:\d+ in handler\n", server.log())


def took(server: Server, last: str) -> float:
    """Seconds from the signal to a line of the log: neither our own delays nor the interpreter's end count."""
    first, *_, end = [when_logged(line) for line in server.log().splitlines() if "SIGTERM" in line or last in line]
    return (end - first).total_seconds()


def when_logged(line: str) -> datetime:
    return datetime.strptime(line[:23], "%Y-%m-%d %H:%M:%S,%f")


def drained(server: Server) -> tuple[int, ...]:
    """Finished, cut, stuck, as the log says."""
    found = re.search(r"drained: (\d+) finished, (\d+) cut, (\d+) stuck", server.log())
    assert found, server.log()
    return tuple(map(int, found.groups()))
