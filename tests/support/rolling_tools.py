"""Two servers that are restarted in turn, and clients that count what went wrong: nothing may.

A client does what every HTTP client does: when a connection that it kept was closed before anything of an answer had
come, it asks again on another (RFC 9110 section 9.2.2). That is counted, and is no failure; everything else is.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count, cycle
from pathlib import Path

import trio
from http2_clients import Http2Client
from ports import free_port
from process_tools import Server, running
from socket_tools import Cut, Peer
from websocket_tools import CLOSE, PING, PONG, frame

UPGRADE = (
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
APP = Path(__file__).with_name("rolling_app.py")


@dataclass
class Tally:
    """What clients saw."""

    answered: int = 0
    multiplexed: int = 0
    again: int = 0
    events: int = 0
    messages: int = 0
    reconnected: int = 0
    failed: list[str] = field(default_factory=list)
    resets: list[str] = field(default_factory=list)
    restarts: int = 0

    def __str__(self) -> str:
        return (
            f"{self.restarts} restarts, {self.answered} requests, {self.multiplexed} over HTTP/2, {len(self.failed)} "
            f"failed, {len(self.resets)} resets, {self.again} asked again; {self.events} events and "
            f"{self.messages} messages, all in order, "
            f"{self.reconnected} reconnections"
        )

    @property
    def clean(self) -> bool:
        """Whether nothing was lost."""
        return not self.failed and not self.resets


class Client:
    """Asks on a connection that is kept, one request after another, for ever."""

    def __init__(self, port: int, tally: Tally, name: str) -> None:
        self.port = port
        self.tally = tally
        self.name = name
        self.peer: Peer | None = None

    async def run(self) -> None:
        try:
            for number in count():
                while not await self.ask(f"/{self.name}/{number}"):
                    self.tally.again += 1
                await trio.sleep(0.002)
        finally:
            self.close()

    async def ask(self, target: str) -> bool:
        """One request; False when it has to be asked again."""
        fresh = self.peer is None
        try:
            if self.peer is None:
                self.peer = await Peer.connect(self.port)
            answer = await self.peer.get(f"{target}?wait=0.001")
        except Cut as exc:
            self.close()
            if not fresh and not exc.received:
                return False
            self.tally.failed.append(f"{target}: {exc.received!r}")
        except OSError as exc:
            self.close()
            self.tally.resets.append(f"{target}: {exc}")
        else:
            if answer.status != 200 or answer.body != target.encode():
                self.tally.failed.append(f"{target}: {answer.status} {answer.body!r}")
            self.tally.answered += 1
            if answer.header("connection") == "close":
                self.close()
        return True

    def close(self) -> None:
        """Forgets the connection."""
        if self.peer is not None:
            self.peer.socket.close()
            self.peer = None


async def follow_events(port: int, tally: Tally, name: str) -> None:
    """Server-sent events, as a browser follows them: with the last id, after the time the server says."""
    last: int | None = None
    while True:
        fields = "" if last is None else f"Last-Event-ID: {last}\r\n"
        try:
            with await Peer.connect(port) as peer:
                await peer.send(f"GET /events HTTP/1.1\r\nHost: test\r\n{fields}\r\n".encode())
                await peer.until(lambda: b"\r\n\r\n" in peer.received)
                if not peer.received.startswith(b"HTTP/1.1 200"):
                    tally.failed.append(f"{name}: {bytes(peer.received[:100])!r}")
                while not peer.received.endswith(b"\r\n0\r\n\r\n") and await peer.receive():
                    for number in ids_in(peer.received):
                        check(tally, name, last, number)
                        last = number
                        tally.events += 1
        except OSError as exc:
            tally.resets.append(f"{name}: {exc}")
        tally.reconnected += 1
        await trio.sleep(0.05)


def ids_in(received: bytearray) -> Iterator[int]:
    """Takes whole events out, and gives their ids."""
    while (end := received.find(b"\n\n")) >= 0:
        event = bytes(received[:end])
        del received[: end + 2]
        if b"id: " in event:
            yield int(event.partition(b"id: ")[2].partition(b"\n")[0])


async def follow_messages(port: int, tally: Tally, name: str) -> None:
    """The same over WebSockets: a server that goes says so, by 1001."""
    last: int | None = None
    while True:
        try:
            with await Peer.connect(port) as peer:
                head = await upgrade(peer, "/ticks" if last is None else f"/ticks?last={last}")
                if not head.startswith(b"HTTP/1.1 101"):
                    tally.failed.append(f"{name}: {head[:100]!r}")
                closed = False
                while not closed and await peer.receive():
                    for opcode, payload in [each async for each in unpinged(peer)]:
                        if closed := opcode == CLOSE:
                            await peer.send(frame(CLOSE, payload))
                            await peer.end()
                            break
                        check(tally, name, last, int(payload))
                        last = int(payload)
                        tally.messages += 1
                if not closed:
                    tally.failed.append(f"{name}: an end without a close")
        except OSError as exc:
            tally.resets.append(f"{name}: {exc}")
        tally.reconnected += 1
        await trio.sleep(0.05)


async def upgrade(peer: Peer, target: str) -> bytes:
    """Asks for a WebSocket, and gives the head of what is answered."""
    await peer.send(f"GET {target} HTTP/1.1\r\nHost: test\r\n{UPGRADE}\r\n".encode())
    await peer.until(lambda: b"\r\n\r\n" in peer.received)
    head, _, rest = bytes(peer.received).partition(b"\r\n\r\n")
    peer.received[:] = rest
    return head


async def unpinged(peer: Peer) -> AsyncIterator[tuple[int, bytes]]:
    """Whole frames, but for pings, which are answered."""
    for opcode, payload in frames_in(peer.received):
        if opcode == PING:
            await peer.send(frame(PONG, payload))
        else:
            yield opcode, payload


def frames_in(received: bytearray) -> Iterator[tuple[int, bytes]]:
    """Takes whole frames out, and gives opcodes and payloads; all of them are small here."""
    while len(received) >= 2 and len(received) >= 2 + received[1]:
        length = 2 + received[1]
        opcode, payload = received[0] & 15, bytes(received[2:length])
        del received[:length]
        yield opcode, payload


def check(tally: Tally, name: str, last: int | None, number: int) -> None:
    """A tick has to follow the last."""
    if last is not None and number != last + 1:
        tally.failed.append(f"{name}: {number} after {last}")


@asynccontextmanager
async def load(
    port: int, tally: Tally, *, clients: int = 8, streams: bool = True, http2_port: int = 0
) -> AsyncIterator[None]:
    """Clients of all kinds, for as long as the block lasts; those of HTTP/2 on a port of their own, if there is one."""
    async with trio.open_nursery() as nursery:
        for number in range(clients):
            nursery.start_soon(Client(port, tally, f"client-{number}").run)
        for number in range(clients // 4):
            nursery.start_soon(Http2Client(http2_port or port, tally, f"http2-{number}").run)
        for number in range(2 * streams):
            nursery.start_soon(follow_events, port, tally, f"events-{number}")
            nursery.start_soon(follow_messages, port, tally, f"messages-{number}")
        yield
        nursery.cancel_scope.cancel(reason="enough")


class Instance:
    """A server that can be replaced by another of its kind."""

    def __init__(self, name: str, bind: str, folder: Path, *options: str) -> None:
        self.name = name
        self.options = [sys.executable, "-m", "roadrunner_trio", "serve", "rolling_app:handler", "--bind", bind]
        self.options += ["--app-dir", str(APP.parent), "--no-access-log", "--grace", "5s", *options]
        self.folder = folder

    async def live(self, *, task_status: trio.TaskStatus[Server]) -> None:
        """Runs it until somebody ends it."""
        folder = self.folder / self.name
        folder.mkdir(exist_ok=True)
        async with running(self.options, folder) as server:
            task_status.started(server)
            status = await server.process.wait()
            if status != 0:
                raise AssertionError(f"{self.name} ended with {status}: {server.log()}")


async def roll(nursery: trio.Nursery, instances: list[Instance], tally: Tally, seconds: float) -> None:
    """Starts all of them, and restarts one after the other, for ever."""
    servers: list[Server] = [await nursery.start(instance.live) for instance in instances]
    for number in cycle(range(len(instances))):
        await trio.sleep(seconds)
        servers[number].terminate()
        await servers[number].process.wait()
        servers[number] = await nursery.start(instances[number].live)
        tally.restarts += 1
        await trio.sleep(1)  # the balancer has to notice that it is back


async def hand_over(nursery: trio.Nursery, instances: list[Instance], tally: Tally, seconds: float) -> None:
    """Starts one; then, again and again, the next, and only then ends the last."""
    current: Server | None = None
    for instance in cycle(instances):
        following: Server = await nursery.start(instance.live)
        if current is not None:
            current.terminate()
            await current.process.wait()
            tally.restarts += 1
        current = following
        await trio.sleep(seconds)


HAPROXY = """\
global
  maxconn 1000
defaults
  mode http
  timeout connect 2s
  timeout client 30s
  timeout server 30s
  timeout tunnel 1h
  timeout check 2s
  option httpchk GET /healthz
  option http-no-delay
  default-server check inter 100ms fall 1 rise 1
frontend front
  bind 127.0.0.1:{port}
  default_backend back
backend back
  retries 0
  http-reuse safe
{servers}
frontend front2
  bind 127.0.0.1:{port2} proto h2
  default_backend back2
backend back2
  retries 0
  http-reuse safe
{servers2}
"""


async def behind_haproxy(folder: Path, seconds: float, every: float) -> Tally:
    """Two servers behind HAProxy, restarted in turn under load."""
    tally, port, port2, ports = Tally(), free_port(), free_port(), [free_port(), free_port()]
    options = ("--shutdown-delay", "1s", "--health-path", "/healthz")
    instances = [Instance(f"server-{at}", f"127.0.0.1:{ports[at]}", folder, *options) for at in range(2)]
    config = folder / "haproxy.cfg"
    servers = "\n".join(f"  server s{at} 127.0.0.1:{ports[at]}" for at in range(2))
    servers2 = "\n".join(f"  server s{at} 127.0.0.1:{ports[at]} proto h2 check-proto h1" for at in range(2))
    config.write_text(HAPROXY.format(port=port, servers=servers, port2=port2, servers2=servers2))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(roll, nursery, instances, tally, every)
        await wait_for(ports[0])
        await wait_for(ports[1])
        nursery.start_soon(trio.run_process, ["haproxy", "-db", "-q", "-f", str(config)])
        await wait_for(port)
        async with load(port, tally, http2_port=port2):
            await trio.sleep(seconds)
        nursery.cancel_scope.cancel(reason="enough")
    return tally


async def on_one_port(folder: Path, seconds: float, every: float) -> Tally:
    """One server hands over to the next on the same port, by SO_REUSEPORT."""
    tally, port = Tally(), free_port()
    instances = [Instance(f"server-{at}", f"127.0.0.1:{port}", folder, "--reuse-port") for at in range(2)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(hand_over, nursery, instances, tally, every)
        await wait_for(port)
        async with load(port, tally):
            await trio.sleep(seconds)
        nursery.cancel_scope.cancel(reason="enough")
    return tally


async def wait_for(port: int, seconds: float = 30) -> None:
    """Waits until somebody answers on a port."""
    with trio.fail_after(seconds):
        while True:
            try:
                with await Peer.connect(port) as peer:
                    if (await peer.get("/up")).status == 200:
                        return
            except (OSError, Cut):
                pass
            await trio.sleep(0.05)
