"""A server in memory that is watched: peers that note when they heard what, and observers whose pairs must add up.

Also the check that a numbered table of a specification is covered: every row has a test named after it, or a reason.
"""

from __future__ import annotations

import ast
import re
import socket
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

import roadrunner_trio as rr
from roadrunner_trio.testing import MemoryStream
from roadrunner_trio.transport.wire import SocketWire

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
GET_CLOSE = b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
GET_10 = b"GET / HTTP/1.0\r\n\r\n"


UNIT = Path(__file__).parents[1] / "unit"


def rows_with_tests(files: str, letter: str) -> set[int]:
    """The rows that tests in ``unit/`` are named after: ``test_e05_...`` is about row 5 of table E."""
    named = re.compile(rf"test((?:_{letter}\d\d)+)_").match
    rows: set[int] = set()
    for path in UNIT.rglob(files):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (match := named(node.name)):
                rows.update(int(row) for row in re.findall(r"\d\d", match[1]))
    return rows


def post(*fields: bytes, body: bytes = b"", version: bytes = b"1.1") -> bytes:
    """A POST with these field lines and whatever is to follow them."""
    lines = b"".join(line + b"\r\n" for line in (b"Host: h", *fields))
    return b"POST / HTTP/%b\r\n%b\r\n%b" % (version, lines, body)


def answer(body: bytes = b"", *fields: bytes, status: bytes = b"200 OK") -> bytes:
    """A buffered response as it is on the wire, its date taken out; ``fields`` stand where the server puts its own."""
    lines = b"".join(line + b"\r\n" for line in fields)
    return b"HTTP/1.1 %b\r\ndate: D\r\n%bcontent-length: %d\r\n\r\n%b" % (status, lines, len(body), body)


def last_word(status: bytes) -> bytes:
    """The server's own error response, which ends the connection (N65)."""
    return answer(b"", b"connection: close", status=status)


CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


_date = re.compile(rb"\r\ndate: [A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT\r\n").sub


def undated(data: bytes) -> bytes:
    """``data`` with every well-formed Date replaced, so that bytes can be compared."""
    return re.sub(
        rb"\r\ndate: [A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT\r\n", b"\r\ndate: D\r\n", data
    )


async def hello(request: rr.Request) -> rr.Response:
    """The handler of tests that are not about one."""
    return rr.Response("hi")


def loud(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was logged at WARNING or above."""
    return [record.getMessage() for record in caplog.records if record.levelname not in ("DEBUG", "INFO")]


class Peer:
    """The other end of a connection: reads all the time, and notes what it heard and when."""

    def __init__(self, stream: MemoryStream | SocketWire, theirs: MemoryStream | None = None) -> None:
        self.stream = stream
        self.theirs = theirs
        """The server's end, on memory streams."""
        self.heard = b""
        self.times: list[float] = []
        """When something was heard."""
        self.ended_at: float | None = None
        """When the server had finished sending."""
        self._taken = 0
        self._news = trio.lowlevel.ParkingLot()

    async def listen(self) -> None:
        """Reads until the server has finished sending, or has reset the connection, or we close."""
        with suppress(trio.ClosedResourceError):
            with suppress(trio.BrokenResourceError):
                while data := await self.stream.receive_some(65536):
                    self.heard += data
                    self.times.append(trio.current_time())
                    self._news.unpark_all()
            self.ended_at = trio.current_time()
            self._news.unpark_all()

    async def say(self, data: bytes) -> None:
        """Sends, and lets everybody act on it: no time passes."""
        await self.stream.send_all(data)
        await wait_all_tasks_blocked()

    def slip(self, data: bytes) -> None:
        """Sends, synchronously: whoever waits for it is scheduled, in the very tick of the caller."""
        if self.theirs is None:
            sent = self.stream.send_now(data)  # not in the assertion, which ``python -O`` leaves out
            assert sent == len(data)
        else:
            self.theirs.receive_stream.put_data(data)

    async def finish(self) -> None:
        """Half-closes, and lets everybody act on it."""
        await self.stream.send_eof()
        await wait_all_tasks_blocked()

    async def close(self) -> None:
        """Closes, and lets everybody act on it."""
        await self.stream.aclose()
        await wait_all_tasks_blocked()

    def take(self) -> bytes:
        """What was heard since the last time, without dates."""
        news, self._taken = self.heard[self._taken :], len(self.heard)
        return undated(news)

    async def until(self, end: bytes) -> bytes:
        """Waits for bytes that end with ``end``; what was heard since the last time."""
        while not self.heard[self._taken :].endswith(end):
            if self.ended_at is not None:
                raise AssertionError(f"the connection ended with {self.heard[self._taken :]!r}")
            await self._news.park()
        await wait_all_tasks_blocked()
        return self.take()

    async def news(self) -> None:
        """Waits until something more has been heard, or the end."""
        await self._news.park()
        await wait_all_tasks_blocked()

    async def end(self) -> bytes:
        """Waits until the server has finished sending; what was heard since the last time."""
        while self.ended_at is None:
            await self._news.park()
        await wait_all_tasks_blocked()
        return self.take()


class Watch(rr.Observer):
    """Notes every event, and whether events come in pairs."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Any]] = []
        self.news = trio.lowlevel.ParkingLot()
        """Unparked when a connection has closed."""

    def names(self) -> list[str]:
        """What happened, in order."""
        return [name for name, _ in self.events]

    def only(self, name: str) -> Any:
        """The one event of this name."""
        [event] = [event for known, event in self.events if known == name]
        return event

    def listener_accept(self, event: rr.ConnectionAccepted) -> None:
        self.events.append(("accept", event))

    def listener_conn_close(self, event: rr.ConnectionEnded) -> None:
        self.events.append(("close", event))
        self.news.unpark_all()

    def listener_conn_rejected(self, event: rr.ConnectionRejected) -> None:
        self.events.append(("conn_rejected", event))

    def request_start(self, event: rr.RequestStarted) -> None:
        self.events.append(("start", event))

    def request_stop(self, event: rr.RequestEnded) -> None:
        self.events.append(("stop", event))

    def request_exception(self, event: rr.RequestEnded) -> None:
        self.events.append(("exception", event))

    def request_rejected(self, event: rr.RequestRejected) -> None:
        self.events.append(("rejected", event))

    def request_throttled(self, event: rr.RequestThrottled) -> None:
        self.events.append(("throttled", event))

    def drain_acknowledged(self, event: rr.DrainAcknowledged) -> None:
        self.events.append(("acknowledged", event))

    def check_pairs(self) -> None:
        """Every accept has one close, every start one end, and no end comes without a start."""
        count = Counter(self.names())
        assert count["accept"] == count["close"], self.names()
        started = [event.request_id for name, event in self.events if name == "start"]
        ended = [event.request_id for name, event in self.events if name in ("stop", "exception")]
        assert sorted(started) == sorted(ended)
        assert len(set(started)) == len(started), "request ids are unique"


class SlowStream(trio.abc.HalfCloseableStream):
    """The server's end of a connection in memory whose peer takes only so much, and can vanish without a word.

    Args:
        stream: the server's end.
        room: octets that the peer takes; then a send waits for :meth:`grant`.
    """

    def __init__(self, stream: MemoryStream, room: int) -> None:
        self.stream = stream
        self.room = room
        self.taken = 0
        """Octets that the server has read."""
        self.gone = False
        self._changed = trio.lowlevel.ParkingLot()
        self._receiving = trio.CancelScope()

    def grant(self, octets: int) -> None:
        """The peer takes this much more."""
        self.room += octets
        self._changed.unpark_all()

    def reset(self) -> None:
        """The connection breaks: whoever waits, and whoever comes, is told so."""
        self.gone = True
        self._changed.unpark_all()
        self._receiving.cancel()

    def _check(self) -> None:
        if self.gone:
            raise trio.BrokenResourceError("reset by the test")

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.checkpoint()
        rest = bytes(data)
        while rest:
            self._check()
            if not self.room:
                await self._changed.park()
                continue
            step, rest = rest[: self.room], rest[self.room :]
            self.room -= len(step)
            await self.stream.send_all(step)

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()
        while not (self.room or self.gone):
            await self._changed.park()

    async def send_eof(self) -> None:
        self._check()
        await self.stream.send_eof()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        self._check()
        with trio.CancelScope() as self._receiving:
            data = await self.stream.receive_some(max_bytes)
            self.taken += len(data)
            return data
        raise trio.BrokenResourceError("reset by the test")

    async def aclose(self) -> None:
        self.gone = True  # whoever sends meanwhile gets out
        self._changed.unpark_all()
        await self.stream.aclose()


class Door(trio.abc.Listener[trio.abc.Stream]):
    """A listener that accepts what tests put in."""

    def __init__(self) -> None:
        self.put, self._get = trio.open_memory_channel[trio.abc.Stream](1000)

    async def accept(self) -> trio.abc.Stream:
        return await self._get.receive()

    async def aclose(self) -> None:
        with suppress(trio.WouldBlock, trio.ClosedResourceError):
            while True:  # as a kernel does with those it has not handed over
                await trio.aclose_forcefully(self._get.receive_nowait())
        self._get.close()
        await trio.lowlevel.checkpoint()


class House:
    """A running server, its watch and its peers."""

    def __init__(self, listener: rr.Listener, door: Door, watch: Watch, nursery: trio.Nursery) -> None:
        self.listener = listener
        self.door = door
        self.watch = watch
        self.nursery = nursery

    def peer(self) -> Peer:
        """A new peer, which listens."""
        ours, theirs = memory_stream_pair()
        return self.connect(Peer(ours, theirs), theirs)

    def slow_peer(self, room: int) -> tuple[Peer, SlowStream]:
        """A new peer that takes only ``room`` octets, and what decides so."""
        ours, theirs = memory_stream_pair()
        stream = SlowStream(theirs, room)
        return self.connect(Peer(ours, theirs), stream), stream

    def wire_peer(self) -> Peer:
        """A new peer on a pair of sockets, where the server sends without waiting and looks before it reads."""
        ours, theirs = socket.socketpair()
        self.door.put.send_nowait(SocketWire(theirs))
        return self._attended(ours)

    def tcp_peer(self) -> Peer:
        """A new peer over TCP, which comes in by the accept loop and is watched by the poller, where there is one."""
        return self._attended(socket.create_connection(("127.0.0.1", self.listener.port)))

    def _attended(self, ours: socket.socket) -> Peer:
        if ours.family == socket.AF_INET:
            ours.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)  # the virtual clock does not wait for Nagle
        peer = Peer(SocketWire(ours))
        self.nursery.start_soon(self._attend, peer)
        return peer

    async def _attend(self, peer: Peer) -> None:
        async with peer.stream:
            await peer.listen()
            await trio.sleep_forever()

    def meet(self, kind: str) -> Peer:
        """A new peer: ``"memory"``, ``"wire"`` or, if the house is open for it, ``"tcp"``."""
        return {"memory": self.peer, "wire": self.wire_peer, "tcp": self.tcp_peer}[kind]()

    def connect(self, peer: Peer, stream: trio.abc.Stream) -> Peer:
        """Connects a peer through what stands before its stream."""
        self.nursery.start_soon(peer.listen)
        assert peer.theirs is not None
        peer.theirs.receive_stream.close_hook = self.watch.news.unpark_all  # also when it never was a connection
        self.door.put.send_nowait(stream)
        return peer

    @property
    def active(self) -> int:
        """Slots in use."""
        return self.listener.info().active

    async def empty(self) -> float:
        """Waits until the last connection has closed, and says when that was."""
        while self.active:
            await self.watch.news.park()
        return trio.current_time()

    def phases(self) -> list[str]:
        """What the connections do, oldest first."""
        return [conn.phase for conn in self.listener.connections()]


@asynccontextmanager
async def open_house(handler: Any = hello, *, tcp: bool = False, **settings: Any) -> AsyncIterator[House]:
    """Serves ``handler`` in memory; when the block is over, all events must be paired, all slots free, nothing held."""
    watch, door = settings.pop("watch", None) or Watch(), Door()
    bind = [door, "127.0.0.1:0"] if tcp else door
    listener = rr.Listener(handler, bind=bind, observers=(watch, *settings.pop("observers", ())), **settings)
    async with trio.open_nursery() as nursery:
        await nursery.start(listener.serve)
        yield House(listener, door, watch, nursery)
        nursery.cancel_scope.cancel()
    assert listener.info().active == 0
    assert listener.info().buffered == 0
    assert listener.status == "closed"
    watch.check_pairs()
