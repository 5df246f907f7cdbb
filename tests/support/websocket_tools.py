"""A WebSocket peer made of octets: what it says is frame by frame, and may be wrong."""

from __future__ import annotations

import ssl
import struct
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import trio
from story_tools import House, Peer, open_house
from trio.testing import wait_all_tasks_blocked
from trio_websocket import WebSocketConnection, wrap_client_stream

from roadrunner_trio import websocket
from roadrunner_trio.answering.faults import leaves

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
MASK = b"\x37\xfa\x21\x3d"

KINDS = ("memory", "tcp")
"""By tasks of its own, and by the poller's edges."""


def handshake(*fields: bytes, target: bytes = b"/", key: bytes = KEY) -> bytes:
    """An opening handshake with further field lines."""
    lines = [b"GET %b HTTP/1.1" % target, b"Host: h", b"Upgrade: websocket", b"Connection: Upgrade"]
    lines += [b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Key: " + key, *fields]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def switched(*fields: bytes) -> bytes:
    """The 101 to it."""
    lines = [b"HTTP/1.1 101 Switching Protocols", b"upgrade: websocket", b"connection: Upgrade"]
    lines += [b"sec-websocket-accept: " + ACCEPT, *fields]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def frame(
    opcode: int, payload: bytes | str = b"", *, fin: bool = True, rsv: int = 0, mask: bytes | None = MASK
) -> bytes:
    """A client's frame; ``rsv`` is a number of three bits, ``mask`` None leaves it unmasked."""
    octets = payload.encode() if isinstance(payload, str) else payload
    size, masked = len(octets), 0 if mask is None else 128
    first = fin << 7 | rsv << 4 | opcode
    if size < 126:
        head = struct.pack("!BB", first, masked | size)
    elif size < 65536:
        head = struct.pack("!BBH", first, masked | 126, size)
    else:
        head = struct.pack("!BBQ", first, masked | 127, size)
    return head + octets if mask is None else head + mask + masking(octets, mask)


def masking(octets: bytes, mask: bytes) -> bytes:
    """Slow and plain, but for the mask that changes nothing."""
    if not any(mask):
        return octets
    return bytes(octet ^ mask[i % 4] for i, octet in enumerate(octets))


def empty_blocks(count: int) -> bytes:
    """Blocks of nothing with Huffman tables of their own (RFC 1951 section 3.2.7): 90 bits each, and dear to read."""
    bits: list[int] = []

    def put(value: int, size: int) -> None:
        bits.extend(value >> at & 1 for at in range(size))

    order = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1]
    for _ in range(count):
        put(0, 1)  # not final
        put(2, 2)  # dynamic
        put(0, 10)  # 257 literals and lengths, 1 distance
        put(len(order) - 4, 4)
        for symbol in order:
            put(1 if symbol in (1, 18) else 0, 3)  # "a length of 1" is written as 0, "zeros" as 1
        for zeros in (138, 118):
            put(1, 1)
            put(zeros - 11, 7)
        put(0, 3)  # lengths of 1 for the end and for the distance; then the end
    put(0, -len(bits) % 8)
    return bytes(sum(bit << at for at, bit in enumerate(bits[byte : byte + 8])) for byte in range(0, len(bits), 8))


def closing(code: int | None = None, reason: str = "") -> bytes:
    """A client's close frame."""
    return frame(CLOSE, b"" if code is None else struct.pack("!H", code) + reason.encode())


def said(opcode: int, payload: bytes | str = b"", *, fin: bool = True, rsv: int = 0) -> bytes:
    """A server's frame."""
    return frame(opcode, payload, fin=fin, rsv=rsv, mask=None)


def closed(code: int | None = None, reason: str = "") -> bytes:
    """A server's close frame."""
    return said(CLOSE, b"" if code is None else struct.pack("!H", code) + reason.encode())


@asynccontextmanager
async def sessions(
    handler: Callable[[Any], Any], kind: str = "memory", **settings: Any
) -> AsyncGenerator[tuple[House, Callable[[], Any]]]:
    """A house that serves ``handler``, and what gives a peer in a session with it."""
    around = {name: settings.pop(name) for name in ("timeouts", "middlewares", "limits") if name in settings}
    async with open_house(websocket(handler, **settings), tcp=True, **around) as house:

        async def meet(*fields: bytes) -> Peer:
            peer = house.meet(kind)
            await peer.say(handshake(*fields))
            await peer.until(b"\r\n\r\n")
            return peer

        yield house, meet


async def echo(request: Any) -> None:
    """Every message again, until the session is over."""
    session = await request.accept()
    while True:
        await session.send_message(await session.get_message())


class Diary:
    """A handler that takes messages when it is told to, and notes how its session ended."""

    def __init__(self) -> None:
        self.session: Any = None
        self.done = trio.Event()

    async def __call__(self, request: Any) -> None:
        self.session = await request.accept()
        await self.done.wait()

    async def leave(self) -> None:
        self.done.set()
        await wait_all_tasks_blocked()


@asynccontextmanager
async def client(
    url: str,
    trusting: ssl.SSLContext | None = None,
    *,
    subprotocols: Sequence[str] = (),
    fields: Sequence[tuple[bytes, bytes]] = (),
) -> AsyncGenerator[WebSocketConnection]:
    """trio-websocket's client on a socket that is closed in the end, which it leaves alone when its server is first."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or 0
    plain = await trio.open_tcp_stream(host, port)
    stream: Any = plain
    if trusting is not None:
        stream = trio.SSLStream(plain, trusting, server_hostname=host, https_compatible=True)
    try:
        async with plain, trio.open_nursery() as nursery:
            yield await wrap_client_stream(
                nursery, stream, host, parts.path or "/", subprotocols=subprotocols, extra_headers=list(fields)
            )
            nursery.cancel_scope.cancel(reason="the client is done")
    except ExceptionGroup as group:
        alone, *others = leaves(group)
        if others:
            raise
        raise alone from None
