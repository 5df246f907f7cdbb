"""A WebSocket client that is cheap: frames masked beforehand, octets compared, one epoll for all connections.

A client that knows the protocol would use more of the machine than the servers it is to measure. This one knows what
has to come back: each frame is one of a few that were made before, and its echo is right when its octets are.
"""

from __future__ import annotations

import base64
import gc
import hashlib
import random
import re
import select
import socket
import struct
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from .client import HOST, PATIENCE, ClientError

KINDS: Final = 8
"""Frames that differ: an echo of an earlier message would be seen."""
BINARY: Final = 0x82
"""The first octet of a whole binary message."""
GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

_accept = re.compile(rb"\r\nsec-websocket-accept: *(\S+) *\r\n", re.IGNORECASE).search
_extensions = re.compile(rb"\r\nsec-websocket-extensions:", re.IGNORECASE).search


def connect(port: int, path: str) -> socket.socket:
    """A connection on which the opening handshake is done (RFC 6455, section 4).

    Raises:
        OSError, ClientError: it was refused, or the answer was wrong.
    """
    sock = socket.create_connection((HOST, port), timeout=PATIENCE)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        key = base64.b64encode(random.randbytes(16))
        sock.sendall(
            b"GET %b HTTP/1.1\r\nhost: 127.0.0.1\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
            b"sec-websocket-version: 13\r\nsec-websocket-key: %b\r\n\r\n" % (path.encode(), key)
        )
        check_handshake(_head(sock), key)
    except BaseException:
        sock.close()
        raise
    return sock


def _head(sock: socket.socket) -> bytes:
    data = b""
    while not data.endswith(b"\r\n\r\n"):
        piece = sock.recv(1)  # not an octet more: what follows is a frame
        if not piece:
            raise ClientError(f"closed within the handshake: {data!r}")
        data += piece
    return data


def check_handshake(head: bytes, key: bytes) -> None:
    """Whether a server has switched, for this key, and to nothing that was not asked for.

    Raises:
        ClientError: it has not.
    """
    expected = base64.b64encode(hashlib.sha1(key + GUID).digest())
    found = _accept(head)
    if not head.startswith(b"HTTP/1.1 101 ") or found is None or found[1] != expected or _extensions(head):
        raise ClientError(f"an unexpected answer to the handshake: {head!r}")


def length(octets: int, masked: bool) -> bytes:
    """The length of a frame, in its shortest form (RFC 6455, section 5.2)."""
    bit = 0x80 if masked else 0
    if octets < 126:
        return bytes([bit | octets])
    if octets < 65536:
        return struct.pack("!BH", bit | 126, octets)
    return struct.pack("!BQ", bit | 127, octets)


def pairs(octets: int) -> list[tuple[bytes, bytes]]:
    """A few binary messages of that size as masked frames, and each one's echo."""
    chance = random.Random(octets)
    found: list[tuple[bytes, bytes]] = []
    for _ in range(KINDS):
        payload, mask = chance.randbytes(octets), chance.randbytes(4)
        stream = (mask * (octets // 4 + 1))[:octets]
        masked = (int.from_bytes(payload) ^ int.from_bytes(stream)).to_bytes(octets)
        first = bytes([BINARY])
        found.append((first + length(octets, True) + mask + masked, first + length(octets, False) + payload))
    return found


def echo(sock: socket.socket, octets: int) -> None:
    """One message there and back, on a socket with a timeout.

    Raises:
        OSError, ClientError: it did not come back, or otherwise than it went.
    """
    frame, expected = pairs(octets)[0]
    sock.sendall(frame)
    data = b""
    while len(data) < len(expected):
        piece = sock.recv(len(expected) - len(data))
        if not piece:
            raise ClientError("closed without an echo")
        data += piece
    check_echo(data, expected)


def check_echo(data: bytes | bytearray, expected: bytes) -> None:
    """Whether the frame that came is the one that had to.

    Raises:
        ClientError: it is another.
    """
    if data != expected:
        raise ClientError(f"an echo begins with {bytes(data[:16])!r}, not with {expected[:16]!r}")


@dataclass(slots=True)
class Line:
    """A connection of the closed loop; ``turn`` counts its messages."""

    sock: socket.socket
    turn: int
    buffer: bytearray
    got: int = 0
    sent: float = 0.0


@dataclass(frozen=True, slots=True)
class Echoed:
    """What came of some seconds of echoes.

    Attributes:
        latencies: seconds from each message to its echo, ascending.
        seconds: that it took.
    """

    latencies: list[float]
    seconds: float


class EchoLoop:
    """One message under way on each connection: when its echo is there, and right, the next goes out."""

    def __init__(self, port: int, path: str, *, octets: int, seconds: float, connections: int) -> None:
        self.pairs = pairs(octets)
        self.seconds = seconds
        self.latencies: list[float] = []
        self._where = port, path
        self._count = connections
        self._lines: dict[int, Line] = {}
        self._poll = select.epoll()

    def run(self) -> Echoed:
        """Sends until time is up, and waits for the echoes that are due then.

        Raises:
            OSError, ClientError: a connection broke, or an echo was wrong, or too late.
        """
        collecting = gc.isenabled()
        gc.disable()
        try:
            for turn in range(self._count):
                self._open(turn)
            start = time.perf_counter()
            self._loop(start + self.seconds)
            return Echoed(sorted(self.latencies), time.perf_counter() - start)
        finally:
            if collecting:
                gc.enable()
            for line in self._lines.values():
                line.sock.close()
            self._poll.close()

    def _open(self, turn: int) -> None:
        sock = connect(*self._where)
        sock.setblocking(False)
        self._lines[sock.fileno()] = Line(sock, turn, bytearray(len(self.pairs[0][1])))
        self._poll.register(sock, select.EPOLLIN)

    def _loop(self, end: float) -> None:
        for line in self._lines.values():
            self._send(line)
        waiting = len(self._lines)
        while waiting:
            events = self._poll.poll(PATIENCE)
            if not events:
                raise ClientError(f"{waiting} echoes did not come")
            for descriptor, _ in events:
                line = self._lines[descriptor]
                if not self._take(line):
                    continue
                if time.perf_counter() < end:
                    self._send(line)
                else:
                    waiting -= 1

    def _send(self, line: Line) -> None:
        frame = self.pairs[line.turn % KINDS][0]
        line.sent = time.perf_counter()
        sent = line.sock.send(frame)
        if sent < len(frame):
            # A connection's buffer holds more than a message, unless the server has stopped reading.
            line.sock.settimeout(PATIENCE)
            line.sock.sendall(frame[sent:])
            line.sock.setblocking(False)

    def _take(self, line: Line) -> bool:
        """Whether the echo is whole; then it has been compared."""
        with suppress(BlockingIOError):
            octets = line.sock.recv_into(memoryview(line.buffer)[line.got :])
            if not octets:
                raise ClientError("closed without an echo")
            line.got += octets
        if line.got < len(line.buffer):
            return False
        self.latencies.append(time.perf_counter() - line.sent)
        check_echo(line.buffer, self.pairs[line.turn % KINDS][1])
        line.turn, line.got = line.turn + 1, 0
        return True
