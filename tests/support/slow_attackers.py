"""Slow attackers over TCP, many at a time: ``python tests/support/slow_attackers.py KIND PORT COUNT``.

It prints a line when all are there and have done what they do at first, and ends when the last has been turned away.
"""

from __future__ import annotations

import random
import socket
import sys
from collections.abc import Awaitable, Callable

import trio

RAMP = 4.0
"""Seconds over which they come: it is their staying that is the attack, and not a storm of connections."""
BEAT = 0.5
SMALL = 4096

Sock = trio.socket.SocketType


async def silent(sock: Sock) -> None:
    """Says nothing."""


async def slow_head(sock: Sock) -> None:
    """An octet of a field at a time."""
    await sock.send(b"GET / HTTP/1.1\r\nHost: h\r\nX: ")
    await drip(sock, b"x")


async def steady_head(sock: Sock) -> None:
    """A head that keeps the minimum rate, and never ends."""
    await sock.send(b"GET / HTTP/1.1\r\nHost: h\r\nX: ")
    await drip(sock, b"x" * 100)


async def slow_body(sock: Sock) -> None:
    """An octet of a body at a time."""
    await sock.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n")
    await drip(sock, b"x")


async def steady_body(sock: Sock) -> None:
    """Chunks that keep the minimum rate, and never end."""
    await sock.send(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
    await drip(sock, b"40\r\n" + b"x" * 64 + b"\r\n")


async def slow_read(sock: Sock) -> None:
    """A large response, an octet at a time."""
    await sock.send(b"GET /big HTTP/1.1\r\nHost: h\r\n\r\n")
    while await sock.recv(1):  # noqa: ASYNC110 - a beat
        await trio.sleep(BEAT)


async def no_read(sock: Sock) -> None:
    """Large responses, one behind another, and not an octet of them."""
    await sock.send(b"GET /big HTTP/1.1\r\nHost: h\r\n\r\n" * 20)
    await trio.sleep(BEAT * 20)


async def idle(sock: Sock) -> None:
    """A request and its answer, and then nothing."""
    await sock.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    await sock.recv(SMALL)


KINDS: dict[str, Callable[[Sock], Awaitable[None]]] = {
    each.__name__: each for each in (silent, slow_head, steady_head, slow_body, steady_body, slow_read, no_read, idle)
}


async def drip(sock: Sock, what: bytes) -> None:
    """Sends it again and again; each attacker has a beat of its own, as five hundred strangers have."""
    await trio.sleep(random.random() * BEAT)
    while True:
        await trio.sleep(BEAT)
        await sock.send(what)


async def attacker(kind: str, port: int, at: float, there: Callable[[], None]) -> None:
    """One of them, from its connection to its end."""
    await trio.sleep(at)
    with trio.socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
        await sock.connect(("127.0.0.1", port))
        there()
        try:
            await KINDS[kind](sock)
            while await sock.recv(SMALL):
                pass
        except OSError:
            pass  # turned away


async def main(kind: str, port: int, count: int) -> None:
    """All of them."""
    left = count

    def there() -> None:
        nonlocal left
        left -= 1
        if not left:
            print("there", flush=True)

    async with trio.open_nursery() as nursery:
        for number in range(count):
            nursery.start_soon(attacker, kind, port, number * RAMP / count, there)


if __name__ == "__main__":
    trio.run(main, sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
