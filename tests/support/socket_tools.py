"""A peer on a real socket that hides nothing: whatever came is kept, an end is an end and a reset is an error."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import trio

from roadrunner_trio import Handler, Listener

PATIENCE = 30.0
"""Seconds for what has to happen at once, on a machine that is busy with other things."""


class Cut(Exception):
    """The server closed before the end of a response; ``received`` is what had come of it."""

    def __init__(self, received: bytes) -> None:
        super().__init__(received[-200:])
        self.received = received


@dataclass
class Answer:
    """One response, with the statuses of the interim ones before it."""

    status: int
    fields: list[tuple[str, str]]
    body: bytes = b""
    interim: list[int] = field(default_factory=list)

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.fields if key == name), None)


class Peer:
    """A TCP connection to a server. Octets that have come and were not asked for yet are in ``received``.

    Attributes:
        ended: the server has finished sending (a FIN). A reset raises ``OSError`` from whatever meets it.
    """

    def __init__(self, sock: trio.socket.SocketType) -> None:
        self.socket = sock
        self.received = bytearray()
        self.ended = False

    @classmethod
    async def connect(cls, port: int, host: str = "127.0.0.1") -> Peer:
        sock = trio.socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
            await sock.connect((host, port))
        except BaseException:
            sock.close()
            raise
        return cls(sock)

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.socket.close()

    async def send(self, data: bytes) -> None:
        with memoryview(data) as view:
            sent = 0
            while sent < len(view):
                sent += await self.socket.send(view[sent:])

    def send_eof(self) -> None:
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Closes with a reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    async def receive(self) -> bool:
        """Receives once; False at the end."""
        data = await self.socket.recv(65536)
        self.received += data
        self.ended = self.ended or not data
        return bool(data)

    def has_ended(self) -> bool:
        """Whether an end has come already, with nothing before it; looks only."""
        with socket.socket(fileno=os.dup(self.socket.fileno())) as twin:
            try:
                return not twin.recv(1, socket.MSG_PEEK)
            except BlockingIOError:
                return False

    async def until(self, condition: Callable[[], bool], seconds: float = PATIENCE) -> bool:
        """Receives until ``condition`` holds; False when the server ended, or nothing of the kind came in time."""
        with trio.move_on_after(seconds):
            while not condition() and await self.receive():
                pass
        return condition()

    async def end(self, seconds: float = PATIENCE) -> bool:
        """Receives to the end; False when it does not come in time."""
        return await self.until(lambda: self.ended, seconds)

    async def answer(self, *, head: bool = False) -> Answer:
        """The next response.

        Raises:
            Cut: the server closed before its end.
            OSError: it was reset.
        """
        while (found := read_answer(self.received, head=head, ended=self.ended)) is None:
            if not await self.receive() and (found := read_answer(self.received, head=head, ended=True)) is None:
                raise Cut(bytes(self.received))
        answer, length = found
        del self.received[:length]
        return answer

    async def get(self, target: str = "/", *, fields: str = "") -> Answer:
        """GET, and its response."""
        await self.send(f"GET {target} HTTP/1.1\r\nHost: test\r\n{fields}\r\n".encode())
        return await self.answer()


@asynccontextmanager
async def serving(handler: Handler, **settings: Any) -> AsyncGenerator[Listener]:
    """A listener on a free port, in this event loop; what is left at the end is cancelled."""
    listener = Listener(handler, **{"bind": "127.0.0.1:0", **settings})
    async with trio.open_nursery() as nursery:
        await nursery.start(listener.serve)
        yield listener
        nursery.cancel_scope.cancel(reason="the test is over")


async def eventually(condition: Callable[[], bool], seconds: float = PATIENCE) -> None:
    """Waits for something of which no event tells.

    Raises:
        trio.TooSlowError: it did not become true in time.
    """
    with trio.fail_after(seconds):
        while not condition():  # noqa: ASYNC110 - it can only be asked
            await trio.sleep(0.005)


async def no_connections(listener: Listener) -> None:
    """Waits until every connection has given its slot back."""
    await eventually(lambda: not listener.info().active)


def read_answer(data: bytes | bytearray, *, head: bool = False, ended: bool = False) -> tuple[Answer, int] | None:
    """The first response in ``data`` and its length with the interim ones before it; None while it is not whole.

    Args:
        head: it answers HEAD.
        ended: no more will come, which is the end of a response without a length.
    """
    interim: list[int] = []
    at = 0
    while (end := data.find(b"\r\n\r\n", at)) >= 0:
        line, *lines = bytes(data[at:end]).decode("latin-1").split("\r\n")
        version, status, _ = line.split(" ", 2)
        if version != "HTTP/1.1":
            raise ValueError(f"no status line: {line!r}")
        pairs = [text.partition(":") for text in lines]
        answer = Answer(int(status), [(name, value.strip()) for name, _, value in pairs], interim=interim)
        at = end + 4
        if answer.status >= 200:
            body = (b"", at) if head or answer.status in (204, 304) else read_body(answer, data, at, ended=ended)
            if body is None:
                return None
            answer.body, at = body
            return answer, at
        interim.append(answer.status)
    return None


def read_body(answer: Answer, data: bytes | bytearray, at: int, *, ended: bool) -> tuple[bytes, int] | None:
    """The content that begins at ``at``, and where it ends; None while it is not whole."""
    if answer.header("transfer-encoding") == "chunked":
        return read_chunks(data, at)
    length = answer.header("content-length")
    if length is not None:
        end = at + int(length)
        return (bytes(data[at:end]), end) if len(data) >= end else None
    return (bytes(data[at:]), len(data)) if ended else None


def read_chunks(data: bytes | bytearray, at: int) -> tuple[bytes, int] | None:
    """Chunked content without trailers."""
    pieces: list[bytes] = []
    while (line := data.find(b"\r\n", at)) >= 0:
        size = int(data[at:line], 16)
        end = line + 2 + size
        if len(data) < end + 2:
            return None
        if data[end : end + 2] != b"\r\n":
            raise ValueError(f"no line end behind a chunk: {bytes(data[end : end + 2])!r}")
        pieces.append(bytes(data[line + 2 : end]))
        at = end + 2
        if not size:
            return b"".join(pieces), at
    return None
