"""Peers of HTTP/2 on sockets, for mixed traffic and for restarts: good ones, bad ones, and some that vanish."""

from __future__ import annotations

import random
from collections.abc import Iterable
from itertools import count

import http2_vectors
import trio
from http2_peer import Answer, Http2Peer
from http2_tools import HELLO
from socket_tools import Cut, Peer
from websocket_tools import TEXT, frame

BAD = [vector.data for name in http2_vectors.FILES for vector in http2_vectors.load(name) if len(vector.data) < 5000]
AT_ONCE = 4
"""Requests."""


class Line:
    """A connection to a server, as an :class:`Http2Peer` wants one."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.ended_at: float | None = None

    @property
    def heard(self) -> bytearray:
        return self.peer.received

    async def say(self, data: bytes) -> None:
        await self.peer.send(data)

    async def news(self) -> None:
        if not await self.peer.receive():
            self.ended_at = trio.current_time()


async def greet(peer: Peer) -> Http2Peer:
    """A client that has greeted on a connection."""
    return await Http2Peer(Line(peer)).greet()


async def answers(client: Http2Peer, numbers: Iterable[int]) -> list[Answer]:
    """What requests are answered, as far as the server says.

    Raises:
        OSError: the connection was reset.
    """
    found = [client.streams[number] for number in numbers]
    await client.flush()
    while not all(answer.over for answer in found) and client.peer.ended_at is None:
        await client.peer.news()
        await client.read()
    return found


# -- mixed traffic -------------------------------------------------------------------------------


async def good_http2(peer: Peer) -> None:
    """Requests of several kinds, some at once, on one connection."""
    client = await greet(peer)
    for _ in range(8):
        paths = random.choices(["/hello", "/large", "/stream", "/nowhere", "/fail"], [9, 2, 2, 2, 1], k=AT_ONCE)
        body = random.randbytes(random.choice([0, 10, 50_000]))
        numbers = [client.ask(path) for path in paths] + [client.ask("/echo", method="POST", body=body)]
        *found, echoed = await answers(client, numbers)
        if not all(answer.ended for answer in found):
            raise Cut(bytes(client.peer.heard[-100:]))
        assert echoed.brief == (200, body)


async def bad_http2(peer: Peer) -> None:
    """What no server should take, or noise, behind a greeting."""
    data = random.choice(BAD) if random.random() < 0.8 else HELLO + random.randbytes(random.randint(1, 3000))
    cut = random.randint(0, len(data))
    await peer.send(data[:cut])
    await peer.send(data[cut:])
    peer.send_eof()
    await peer.end(2)


async def vanishing_http2(peer: Peer) -> None:
    """Asks for what takes time, takes some of it back, and is gone, with a word or without one."""
    client = await greet(peer)
    numbers = [client.ask(random.choice(["/wait", "/events", "/large", "/stream"])) for _ in range(AT_ONCE)]
    upload = client.ask("/echo", method="POST", end=False)
    client.send(upload, b"x" * 1000)
    await client.flush()
    await trio.sleep(random.random() / 10)
    await client.read()
    for number in numbers[:2]:
        if not client.streams[number].over:
            client.cancel(number)
    await peer.send(client.conn.data_to_send())
    if random.random() < 0.7:
        peer.reset()


async def chatting_http2(peer: Peer) -> None:
    """A WebSocket on a stream, beside requests on others (RFC 8441)."""
    client = await greet(peer)
    while client.conn.remote_settings.get(8) != 1:
        await client.peer.news()
        await client.read()
    pseudo = [(":protocol", "websocket")]
    number = client.ask("/chat", method="CONNECT", pseudo=pseudo, fields=[("sec-websocket-version", "13")], end=False)
    await client.flush()
    for size in (0, 10, 100, 5000):
        client.send(number, frame(TEXT, b"x" * size))
        await answers(client, [client.ask("/hello")])
    if random.random() < 0.5:
        client.send(number, frame(8, b"\x03\xe8"))
        await answers(client, [number])


# -- restarts ------------------------------------------------------------------------------------


class Http2Client:
    """Asks some requests at once on a connection that is kept, for ever, as a client does that heeds GOAWAY.

    A request above the number that a GOAWAY names was not looked at, and is asked again (RFC 9113 section 6.8). That
    is counted, and is no failure; everything else is.
    """

    def __init__(self, port: int, tally, name: str) -> None:
        self.port = port
        self.tally = tally
        self.name = name
        self.client: Http2Peer | None = None

    async def run(self) -> None:
        try:
            for number in count():
                await self.ask([f"/{self.name}/{number}/{at}" for at in range(AT_ONCE)])
                await trio.sleep(0.002)
        finally:
            self.close()

    async def ask(self, targets: list[str]) -> None:
        """Requests, until each is answered."""
        while targets:
            try:
                targets = await self.try_to_ask(targets)
            except OSError as exc:
                self.close()
                self.tally.resets.append(f"{targets[0]}: {exc}")
                return

    async def try_to_ask(self, targets: list[str]) -> list[str]:
        """Those that have to be asked again."""
        if self.client is None:
            self.client = await greet(await Peer.connect(self.port))
        client, again = self.client, list[str]()
        numbers = [client.ask(f"{target}?wait=0.001") for target in targets]
        found = await answers(client, numbers)
        least = min((last for last, _ in client.goaways), default=2**31 - 1)
        for target, number, answer in zip(targets, numbers, found, strict=True):
            if answer.ended and answer.brief == (200, target.encode()):
                self.tally.multiplexed += 1
            elif number > least or answer.reset == 7:  # REFUSED_STREAM
                self.tally.again += 1
                again.append(target)
            else:
                self.tally.failed.append(f"{target}: {answer}, {client.goaways}, ended {client.peer.ended_at}")
        if client.goaways or client.peer.ended_at is not None:
            self.close()
        return again

    def close(self) -> None:
        """Forgets the connection."""
        if self.client is not None:
            self.client.peer.peer.socket.close()
            self.client = None
