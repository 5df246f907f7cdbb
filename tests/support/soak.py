"""Mixed traffic for half an hour, after which a server holds no more than before: ``nox -s soak``.

Good peers, bad ones, slow ones and some that vanish come all the time, over HTTP/1 and HTTP/2, WebSocket and
server-sent events. Once a second the server's memory is read. In the end everybody goes, and then its connections,
tasks and descriptors have to be as many as they were at first, its memory must not have grown since it was warm, and
every event must have had its counterpart.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import trio
from http2_clients import bad_http2, chatting_http2, good_http2, vanishing_http2
from process_tools import Server, script
from socket_tools import Cut, Peer
from vector_tools import OWN, load
from websocket_tools import BINARY, TEXT, frame, handshake

MEBI = 1024 * 1024
WARM = 0.25
"""Of the whole time: caches, heaps and allocators have found their size by then."""
PEERS = 24
"""At a time."""
ROOM = 3 * MEBI
"""By which memory may differ between two looks at the same server: an allocator gives back what it likes."""

APP = """
import trio, roadrunner_trio as rr
from roadrunner_trio.apps.router import Route, Router
from roadrunner_trio.telemetry.observe import HOOKS

counts = dict.fromkeys(HOOKS, 0)

class Counting(rr.Observer):
    pass

for hook in HOOKS:
    def note(self, event, hook=hook):
        counts[hook] += 1
    setattr(Counting, hook, note)

async def hello(request):
    return rr.Response("hello")

async def echo(request):
    return rr.Response(await request.read())

async def large(request):
    return rr.Response(bytes(300_000))

async def stream(request):
    async def produce(send):
        for number in range(50):
            await send(b"x" * 1000)
    return rr.StreamResponse(produce)

async def wait(request):
    await trio.sleep(5)
    return rr.Response("late")

async def fail(request):
    raise RuntimeError("as it has to")

async def events(request):
    async def tick(send):
        for number in range(1000):
            await send.send("tick", id=number)
            await trio.sleep(0.05)
    return rr.EventStream(request, tick)

async def chat(request):
    async with await request.accept() as session:
        async for message in session:
            await session.send_message(message)

async def vitals(request):
    return rr.Response.json({
        "active": listener.info().active, "tasks": trio.lowlevel.current_statistics().tasks_living, "counts": counts,
    })

routes = [Route(f"/{each.__name__}", each) for each in (hello, large, stream, wait, fail, events, vitals)]
routes += [Route("/echo", echo, methods=["POST"]), Route("/chat", rr.websocket(chat, compression=True))]
listener = rr.Listener(Router(routes), bind="127.0.0.1:0", observers=[Counting()], timeouts=rr.Timeouts(linger=1))

async def main():
    async with trio.open_nursery() as nursery:
        await nursery.start(listener.serve)
        print(listener.port, flush=True)

trio.run(main)
"""

BAD = [vector.data for name in OWN for vector in load(name) if len(vector.data) < 5000]


async def good(peer: Peer) -> None:
    """Requests of several kinds on one connection."""
    for target in random.choices(["/hello", "/large", "/stream", "/nowhere", "/fail"], [9, 2, 2, 2, 1], k=20):
        if (await peer.get(target)).header("connection") == "close":
            return
        body = random.randbytes(random.choice([0, 10, 5000]))
        await peer.send(b"POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        assert (await peer.answer()).body == body


async def pipelined(peer: Peer) -> None:
    """Many requests at once."""
    await peer.send(b"GET /hello HTTP/1.1\r\nHost: h\r\n\r\n" * 50)
    for _ in range(50):
        assert (await peer.answer()).status == 200


async def bad(peer: Peer) -> None:
    """What no server should take, in pieces."""
    data = random.choice(BAD)
    cut = random.randint(0, len(data))
    await peer.send(data[:cut])
    await peer.send(data[cut:])
    peer.send_eof()
    await peer.end(2)


async def noise(peer: Peer) -> None:
    """Octets."""
    await peer.send(random.randbytes(random.randint(1, 3000)))
    await peer.end(2)


async def slow(peer: Peer) -> None:
    """A head by the octet."""
    await peer.send(b"GET /hello HTTP/1.1\r\nHost: h\r\nX: ")
    for _ in range(20):
        await peer.send(b"x")
        await trio.sleep(0.2)


async def vanishing(peer: Peer) -> None:
    """Asks for something that takes time, and is gone."""
    target = random.choice(["/wait", "/events", "/large", "/stream"])
    await peer.send(b"GET %b HTTP/1.1\r\nHost: h\r\n\r\n" % target.encode())
    await trio.sleep(random.random() / 10)
    peer.reset()


async def leaving(peer: Peer) -> None:
    """Follows events for a while, and closes."""
    await peer.send(b"GET /events HTTP/1.1\r\nHost: h\r\n\r\n")
    await peer.until(lambda: len(peer.received) > 500)


async def chatting(peer: Peer) -> None:
    """A WebSocket that is used, and closed or not."""
    offer = [b"Sec-WebSocket-Extensions: permessage-deflate"] * random.randint(0, 1)
    await peer.send(handshake(*offer, target=b"/chat"))
    await peer.until(lambda: b"\r\n\r\n" in peer.received)
    for size in (0, 10, 100, 5000):
        await peer.send(frame(random.choice([TEXT, BINARY]), b"x" * size))
        await peer.receive()
    if random.random() < 0.5:
        await peer.send(frame(8, b"\x03\xe8"))
        await peer.end(2)


KINDS: dict[Callable[[Peer], Awaitable[None]], int] = {
    good: 4, pipelined: 2, bad: 6, noise: 2, slow: 1, vanishing: 4, leaving: 2, chatting: 4,
    good_http2: 4, bad_http2: 4, vanishing_http2: 4, chatting_http2: 2
}  # fmt: skip


@dataclass
class Report:
    """What was seen."""

    peers: dict[str, int] = field(default_factory=lambda: dict.fromkeys((each.__name__ for each in KINDS), 0))
    wrong: list[str] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)
    before: dict[str, int] = field(default_factory=dict)
    after: dict[str, int] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def grown(self) -> int:
        """Octets between the median of the first third that was warm and that of the last."""
        warm = self.memory[int(len(self.memory) * WARM) :]
        third = max(1, len(warm) // 3)
        return int(statistics.median(warm[-third:]) - statistics.median(warm[:third]))

    def faults(self) -> list[str]:
        """What is not as it should be."""
        count, found = self.counts, list(self.wrong)
        if self.before != self.after:
            found.append(f"held {self.before} before, {self.after} after")
        if count["listener_accept"] != count["listener_conn_close"] + 1:  # the one that asks is still there
            found.append("not every connection that was accepted was closed")
        if count["request_start"] != count["request_stop"] + count["request_exception"] + 1:
            found.append("not every request that began has ended")
        if self.grown > ROOM:
            found.append(f"memory has grown by {self.grown / MEBI:.1f} MiB since it was warm")
        return found

    def __str__(self) -> str:
        low, high = min(self.memory) / MEBI, max(self.memory) / MEBI
        peers = ", ".join(f"{name} {number}" for name, number in self.peers.items())
        return (
            f"peers: {peers}\n"
            f"requests: {self.counts['request_start']}, refused {self.counts['request_rejected']}, "
            f"failed {self.counts['request_exception']}\n"
            f"memory: {low:.1f} to {high:.1f} MiB, {self.grown / MEBI:+.2f} MiB since it was warm\n"
            f"before: {self.before}\nafter:  {self.after}"
        )


async def vitals(server: Server, report: Report) -> dict[str, int]:
    """Connections, tasks and descriptors of the server, but for the one that asks."""
    with await Peer.connect(server.port) as peer:
        found = json.loads((await peer.get("/vitals")).body)
        report.counts = found["counts"]
        return {"connections": found["active"], "tasks": found["tasks"], "descriptors": server.descriptors()}


async def come(server: Server, report: Report) -> None:
    """One peer after another, for ever."""
    kinds, weights = list(KINDS), list(KINDS.values())
    while True:
        [kind] = random.choices(kinds, weights)
        try:
            with await Peer.connect(server.port) as peer:
                await kind(peer)
        except (Cut, OSError) as exc:
            if kind in (good, pipelined, good_http2):
                report.wrong.append(f"{kind.__name__}: {exc!r}")
        report.peers[kind.__name__] += 1


async def soak(folder: Path, seconds: float) -> Report:
    """The traffic, and what it has left."""
    report = Report()
    async with script(APP, folder) as server:
        for _ in range(3):
            report.before = await vitals(server, report)
        async with trio.open_nursery() as nursery:
            for _ in range(PEERS):
                nursery.start_soon(come, server, report)
            end = trio.current_time() + seconds
            while trio.current_time() < end:
                await trio.sleep(min(1.0, seconds / 20))
                report.memory.append(server.memory())
            nursery.cancel_scope.cancel(reason="enough")
        with trio.move_on_after(30):
            while report.after != report.before:
                await trio.sleep(0.2)
                report.after = await vitals(server, report)
    return report


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30, help="how long (default 30)")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report = trio.run(soak, Path(folder), chosen.minutes * 60)
    print(report)
    for fault in report.faults()[:20]:
        print(f"  {fault}")
    return 1 if report.faults() else 0


if __name__ == "__main__":
    sys.exit(main())
