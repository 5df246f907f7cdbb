"""Clients for what wrk cannot do: one answer looked at closely, requests at a fixed rate, connections that stay idle.

A client that waits for an answer before it asks again asks less of a server that is slow, and so never sees how slow it
is ("coordinated omission"). :class:`OpenLoop` asks at times that were fixed beforehand; an answer's time counts from
when its request was due, whether or not a connection was free by then.
"""

from __future__ import annotations

import gc
import http.client
import re
import select
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from typing import Final

HOST: Final = "127.0.0.1"
PATIENCE: Final = 10.0
PING: Final = b"\x89"
SPIN: Final = 2e-4
"""Seconds before a request is due from which on nothing sleeps: timers come late by a good part of that."""

_length = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE).search
_closing = re.compile(rb"\r\nconnection: *close\r", re.IGNORECASE).search


class ClientError(Exception):
    """The server did not behave as these clients can bear."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A response: names in lower case, the content without its framing."""

    status: int
    fields: dict[str, str]
    body: bytes


@cache
def trusting() -> ssl.SSLContext:
    """A context for servers' certificates that were made a moment ago, for this run."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def ask(
    port: int, method: str, path: str, fields: Sequence[tuple[str, str]] = (), body: bytes = b"", *, tls: bool = False
) -> Answer:
    """One request on a connection of its own.

    Raises:
        OSError, http.client.HTTPException: there was no proper answer.
    """
    connection = http.client.HTTPConnection(HOST, port, timeout=PATIENCE)
    if tls:
        connection = http.client.HTTPSConnection(HOST, port, timeout=PATIENCE, context=trusting())
    try:
        connection.request(method, path, body or None, dict(fields))
        response = connection.getresponse()
        content = response.read()
        return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, content)
    finally:
        connection.close()


def ask_at_once(port: int, path: str, count: int) -> bytes:
    """Sends ``count`` requests in one piece, the last with ``connection: close``; all that comes back."""
    with socket.create_connection((HOST, port), timeout=PATIENCE) as sock:
        sock.sendall(get(path) * (count - 1) + get(path, b"connection: close\r\n"))
        pieces: list[bytes] = []
        while piece := sock.recv(65536):
            pieces.append(piece)
    return b"".join(pieces)


def get(path: str, fields: bytes = b"") -> bytes:
    """A GET request, with whole field lines added."""
    return b"GET %b HTTP/1.1\r\nhost: 127.0.0.1\r\n%b\r\n" % (path.encode(), fields)


def complete(data: bytes | bytearray) -> bool:
    """Whether ``data`` is a whole response with a Content-Length.

    Raises:
        ClientError: it is one that was not asked for.
    """
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return False
    length = _length(data, 0, end)
    if length is None or not data.startswith(b"HTTP/1.1 200 "):
        raise ClientError(f"an unexpected answer: {bytes(data[:end])!r}")
    return len(data) >= end + 4 + int(length[1])


# -- connections that stay idle ------------------------------------------------------------------


def ask_again(sock: socket.socket, path: str) -> bytes:
    """One request on a connection that is there, and all of its answer.

    Raises:
        ClientError: the server has closed it instead, or it is another answer.
    """
    sock.sendall(get(path))
    data = b""
    while not complete(data):
        piece = sock.recv(65536)
        if not piece:
            raise ClientError("closed without an answer")
        data += piece
    return data


@contextmanager
def idle_connections(count: int, opened: Callable[[], socket.socket]) -> Generator[list[socket.socket]]:
    """Connections that are opened one by one, and kept.

    Raises:
        OSError, ClientError: as ``opened``.
    """
    with ExitStack() as stack:
        yield [stack.enter_context(opened()) for _ in range(count)]


def answered(port: int, path: str, *, tls: bool = False) -> socket.socket:
    """A connection that has had one answer.

    Raises:
        OSError, ClientError: it was refused, or not answered.
    """
    sock = socket.create_connection((HOST, port), timeout=PATIENCE)
    try:
        if tls:
            sock = trusting().wrap_socket(sock)
        ask_again(sock, path)
    except BaseException:
        sock.close()
        raise
    return sock


def alive(connections: Sequence[socket.socket]) -> int:
    """How many of them the server has not closed, nor said anything on but a WebSocket's ping."""
    count = 0
    for sock in connections:
        sock.setblocking(False)
        try:
            count += socket.socket.recv(sock, 1, socket.MSG_PEEK) == PING  # that of TLS would not peek
        except BlockingIOError:
            count += 1
        except OSError:
            continue
    return count


# -- requests at a fixed rate --------------------------------------------------------------------


@dataclass(slots=True)
class Slot:
    """A connection of the open loop.

    Attributes:
        due: when its request should have gone out.
        free: since when it has nothing to do.
    """

    sock: socket.socket
    due: float = 0.0
    free: float = 0.0
    data: bytearray = field(default_factory=bytearray)


@dataclass(frozen=True, slots=True)
class Offered:
    """What came of a fixed rate, all in seconds.

    Attributes:
        latencies: of each answer, from when its request was due; ascending.
        lags: by how much this client itself was late with each request; ascending.
        asked: requests that were to be answered.
    """

    latencies: list[float]
    lags: list[float]
    asked: int


class OpenLoop:
    """Asks at a fixed rate, for some seconds, over some connections.

    Args:
        rate: requests a second.
        connections: at once; when all wait for answers, requests become late, which counts.
    """

    def __init__(self, port: int, path: str, *, rate: float, seconds: float, connections: int) -> None:
        self.port = port
        self.request = get(path)
        self.rate = rate
        self.seconds = seconds
        self.total = int(rate * seconds)
        self.latencies: list[float] = []
        self.lags: list[float] = []
        self._count = connections
        self._slots: dict[int, Slot] = {}
        self._free: deque[Slot] = deque()
        self._poll = select.epoll()
        self._start = 0.0

    def run(self) -> Offered:
        """Asks, and waits for the answers for some seconds more.

        Raises:
            OSError, ClientError: a connection broke, or an answer was wrong.
        """
        collecting = gc.isenabled()
        gc.disable()  # its pauses would count as the server's
        try:
            for _ in range(self._count):
                self._connect()
            self._loop()
        finally:
            if collecting:
                gc.enable()
            for slot in self._slots.values():
                slot.sock.close()
            self._poll.close()
        return Offered(sorted(self.latencies), sorted(self.lags), self.total)

    def _loop(self) -> None:
        self._start = time.perf_counter()
        end = self._start + self.seconds + PATIENCE
        while len(self.latencies) < self.total and (now := time.perf_counter()) < end:
            self._ask(now)
            self._sleep()
            for descriptor, _ in self._poll.poll(0):
                self._take(self._slots[descriptor])

    def _ask(self, now: float) -> None:
        while self._free and len(self.lags) < self.total and (due := self._next_due()) <= now:
            slot = self._free.popleft()
            slot.due = due
            slot.sock.send(self.request)
            now = time.perf_counter()
            self.lags.append(now - max(due, slot.free))

    def _next_due(self) -> float:
        return self._start + len(self.lags) / self.rate

    def _sleep(self) -> None:
        """Until an answer is there, or shortly before the next request is due."""
        seconds = PATIENCE if len(self.lags) >= self.total or not self._free else self._next_due() - time.perf_counter()
        if seconds > SPIN:
            select.select([self._poll], [], [], seconds - SPIN)

    def _take(self, slot: Slot) -> None:
        try:
            piece = slot.sock.recv(65536)
        except BlockingIOError:
            return
        slot.data += piece
        if complete(slot.data):
            slot.free = time.perf_counter()
            self.latencies.append(slot.free - slot.due)
            closing = _closing(slot.data)
            slot.data.clear()
            if closing:
                self._disconnect(slot)
                self._connect()
            else:
                self._free.append(slot)
        elif not piece:
            self._lose(slot)

    def _lose(self, slot: Slot) -> None:
        """The server closed it: between two requests it may."""
        if slot not in self._free:
            raise ClientError("a connection was closed without an answer")
        self._free.remove(slot)
        self._disconnect(slot)
        self._connect()

    def _connect(self) -> None:
        sock = socket.create_connection((HOST, self.port), timeout=PATIENCE)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setblocking(False)
        slot = self._slots[sock.fileno()] = Slot(sock, free=time.perf_counter())
        self._poll.register(sock, select.EPOLLIN | select.EPOLLRDHUP)
        self._free.append(slot)

    def _disconnect(self, slot: Slot) -> None:
        del self._slots[slot.sock.fileno()]
        with suppress(OSError):
            self._poll.unregister(slot.sock)
        slot.sock.close()
