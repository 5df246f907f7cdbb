"""Step 9: what a scope costs. A connection has one, whose deadline is a number that a clock looks at now and then."""

import errno
import logging
import math
import signal
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count
from typing import Any

import h11
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_server_stream

log = logging.getLogger("tutorial")

IDLE = 60.0
"""Seconds in which a connection may say nothing at all."""
HEAD = 30.0
"""Seconds from the first byte of a request's head to its last."""
BODY = 60.0
"""Seconds that a body may take."""
WRITE = 30.0
"""Seconds in which a peer has to take what it is sent."""
LARGEST = 1024 * 1024
"""Bytes that a body may have."""
MOST = 100
"""Connections at a time."""
FULL = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
SHORT_OF = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
"""The machine is, for the moment; it is no reason to end."""


class Clock:
    """The deadlines of all connections: one heap, one task, one sleeping scope."""

    def __init__(self) -> None:
        self.heap: list[tuple[float, int, Life]] = []
        self.order = count()
        self.sleep = trio.CancelScope()

    def arm(self, life: "Life") -> None:
        """Looks at ``life`` when its deadline has come, and not before."""
        life.armed = life.deadline
        heappush(self.heap, (life.deadline, next(self.order), life))
        if life.deadline < self.sleep.deadline:
            self.sleep.deadline = life.deadline

    async def run(self) -> None:
        """Sleeps to the next deadline, ends what is due, files anew what has been put off."""
        while True:
            with trio.CancelScope(deadline=self.heap[0][0] if self.heap else math.inf) as self.sleep:
                await trio.sleep_forever()
            while self.heap and self.heap[0][0] <= trio.current_time():
                armed, _, life = heappop(self.heap)
                if armed == life.armed:
                    life.look(self)


class Life:
    """A connection's one scope, the phase that it is in, and when that has to be over: a number, cheap to change."""

    def __init__(self, clock: Clock) -> None:
        self.clock, self.scope = clock, trio.CancelScope()
        self.phase, self.deadline, self.armed = "", math.inf, math.inf
        self.late = False

    def enter(self, phase: str, seconds: float) -> None:
        """Begins a phase. The clock hears of it only where it would otherwise look too late."""
        self.phase, self.deadline = phase, trio.current_time() + seconds
        if self.deadline < self.armed:
            self.clock.arm(self)

    def look(self, clock: Clock) -> None:
        """The time that the clock had in mind has come. Is it still the deadline?"""
        self.armed = math.inf
        if self.deadline <= trio.current_time():
            self.late = True
            self.scope.cancel(reason=f"time is up for {self.phase}")
        elif self.deadline < math.inf:
            clock.arm(self)


class Drain:
    """The end of the server: one word to everybody, and a deadline that is kept."""

    def __init__(self) -> None:
        self.started = trio.Event()
        self.cut = trio.CancelScope()
        self.waiting = set[trio.CancelScope]()

    def start(self, grace: float) -> None:
        """Ends at once what only waits; what works has ``grace`` seconds."""
        self.started.set()
        self.cut.deadline = trio.current_time() + grace
        for scope in self.waiting:
            scope.cancel(reason="the server drains")

    @contextmanager
    def may_end(self, scope: trio.CancelScope) -> Generator[None, None, None]:
        """While this lasts, a drain ends ``scope`` at once."""
        self.waiting.add(scope)
        if self.started.is_set():
            scope.cancel(reason="the server drains")
        try:
            yield
        finally:
            self.waiting.discard(scope)


@dataclass
class Request:
    """What the application is given."""

    method: str
    target: str
    body: bytes


class Refused(Exception):
    """The request gets this status, and the connection ends."""

    def __init__(self, status: int) -> None:
        self.status = status


async def handler(request: Request) -> tuple[int, bytes]:
    """The application: a status and a body."""
    if request.target == "/echo":
        return 200, request.body
    if request.target == "/crash":
        raise RuntimeError("a bug")
    if request.target == "/big":
        return 200, bytes(10 * LARGEST)
    if request.target == "/slow":
        await trio.sleep(5)
    return 200, f"Hello from {request.target}\n".encode()


class Connection:
    """What the functions below share: the peer's stream, what it said, and how long it may take."""

    def __init__(self, stream: trio.abc.Stream, drain: Drain, clock: Clock) -> None:
        self.stream, self.drain = stream, drain
        self.life = Life(clock)
        self.http = h11.Connection(h11.SERVER)


async def next_event(conn: Connection) -> Any:
    """The next thing that the peer said. Bytes of a later request stay in ``conn.http`` until their turn comes."""
    while (event := conn.http.next_event()) is h11.NEED_DATA:
        if conn.http.they_are_waiting_for_100_continue:
            await conn.stream.send_all(conn.http.send(h11.InformationalResponse(status_code=100, headers=[])) or b"")
        conn.http.receive_data(bytes(await conn.stream.receive_some(65536)))
    return event


async def respond(conn: Connection, status: int, body: bytes, *, head_only: bool = False) -> None:
    """Writes a whole response; in a drain it is the last one of its connection, and says so."""
    fields = [("Content-Length", str(len(body)))]
    if conn.drain.started.is_set():
        fields.append(("Connection", "close"))
    data = conn.http.send(h11.Response(status_code=status, headers=fields)) or b""
    data += b"" if head_only else conn.http.send(h11.Data(data=body)) or b""
    conn.life.enter("writing", WRITE)
    await conn.stream.send_all(data + (conn.http.send(h11.EndOfMessage()) or b""))


async def read_head(conn: Connection) -> h11.Request | None:
    """The next request's head; None when there will be none."""
    if not conn.http.trailing_data[0]:
        conn.life.enter("idle", IDLE)
        with conn.drain.may_end(conn.life.scope):
            conn.http.receive_data(bytes(await conn.stream.receive_some(65536)))
    conn.life.enter("reading a head", HEAD)
    event = await next_event(conn)
    return event if isinstance(event, h11.Request) else None


async def read_body(conn: Connection, head: h11.Request) -> bytes:
    """The whole body. What says that it is too large is not read at all, what turns out to be is not read on."""
    if int(dict(head.headers).get(b"content-length", b"0")) > LARGEST:
        raise Refused(413)
    conn.life.enter("reading a body", BODY)
    body = bytearray()
    while isinstance(event := await next_event(conn), h11.Data):
        body += event.data
        if len(body) > LARGEST:
            raise Refused(413)
    return bytes(body)


class Replayed(trio.abc.Stream):
    """A stream that begins with bytes which somebody has read already."""

    def __init__(self, early: bytes, stream: trio.abc.Stream) -> None:
        self.early, self.stream = early, stream

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """The early bytes first, all at once."""
        if not self.early:
            return await self.stream.receive_some(max_bytes)
        await trio.lowlevel.checkpoint()
        early, self.early = self.early, b""
        return early

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """As the stream."""
        await self.stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """As the stream."""
        await self.stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """As the stream."""
        await self.stream.aclose()


async def hand_off(conn: Connection, head: h11.Request) -> None:
    """Gives the stream to a WebSocket library, as if nobody had read from it yet."""
    fields = b"".join(name + b": " + value + b"\r\n" for name, value in head.headers)
    early = b"GET " + head.target + b" HTTP/1.1\r\n" + fields + b"\r\n" + conn.http.trailing_data[0]
    conn.life.enter("handed off", math.inf)
    async with trio.open_nursery() as nursery:
        request = await wrap_server_stream(nursery, Replayed(early, conn.stream))
        websocket = await request.accept()
        nursery.start_soon(say_goodbye, websocket, conn.drain)
        with suppress(ConnectionClosed):
            while True:
                await websocket.send_message(await websocket.get_message())
        nursery.cancel_scope.cancel(reason="the conversation is over")


async def say_goodbye(websocket: WebSocketConnection, drain: Drain) -> None:
    """Ends a conversation in its own words when the server drains."""
    await drain.started.wait()
    await websocket.aclose(1001, "the server drains")


async def dispatch(request: Request) -> tuple[int, bytes]:
    """Runs the application. What it raises is its own affair, and the peer gets 500."""
    try:
        return await handler(request)
    except Exception:
        log.exception("%s %s failed", request.method, request.target)
        return 500, b""


OWED = {"reading a head": 408, "reading a body": 408}
"""What a peer is told when the time of a phase is up; in the others there is nobody to be told."""


async def talk(conn: Connection) -> None:
    """The life of a connection, in its one scope; then what it is owed."""
    status = None
    try:
        with conn.life.scope:
            await converse(conn)
        if conn.life.late:
            status = OWED.get(conn.life.phase)
    except Refused as refused:
        status = refused.status
    except h11.RemoteProtocolError as error:
        status = error.error_status_hint
    if status is not None:
        with trio.move_on_after(1):
            await respond(conn, status, b"")


async def converse(conn: Connection) -> None:
    """Read a request, answer it, begin again."""
    while head := await read_head(conn):
        if dict(head.headers).get(b"upgrade", b"").lower() == b"websocket":
            await hand_off(conn, head)
            return
        body = await read_body(conn, head)
        conn.life.enter("in the handler", math.inf)
        status, answer = await dispatch(Request(head.method.decode(), head.target.decode(), body))
        await respond(conn, status, answer, head_only=head.method == b"HEAD")
        if conn.http.our_state is h11.MUST_CLOSE:
            return
        conn.http.start_next_cycle()


async def serve_connection(stream: trio.abc.Stream, drain: Drain, clock: Clock) -> None:
    """One connection, in a task of its own. Nothing but a cancellation leaves it: this is the edge."""
    conn = Connection(stream, drain, clock)
    try:
        async with stream:
            await talk(conn)
    except* (trio.BrokenResourceError, trio.ClosedResourceError):
        pass  # the peer has left; there is nobody to be told
    except* Exception:
        log.exception("a connection failed")
    finally:
        conn.life.deadline = conn.life.armed = math.inf  # nothing is due any more: the clock drops its entry


async def refuse(stream: trio.abc.Stream) -> None:
    """Tells a peer that there is no room. It has a second to hear it."""
    with trio.move_on_after(1):
        try:
            async with stream:
                await stream.send_all(FULL)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass


async def accept(listener: trio.abc.Listener[trio.abc.Stream]) -> trio.abc.Stream:
    """The next connection; waits for better days where the machine is short of something."""
    while True:
        try:
            return await listener.accept()
        except OSError as error:
            if error.errno not in SHORT_OF:
                raise
            await trio.sleep(0.1)


async def serve(listener: trio.abc.Listener[trio.abc.Stream], drain: Drain) -> None:
    """A task for every connection, until the drain; returns when the last of them has ended."""
    clock = Clock()
    async with trio.open_nursery() as services:
        services.start_soon(clock.run)
        with drain.cut:
            async with trio.open_nursery() as refusals, trio.open_nursery() as connections, listener:
                with trio.CancelScope() as accepting, drain.may_end(accepting):
                    await accept_all(listener, drain, clock, connections, refusals)
        services.cancel_scope.cancel(reason="the server has ended")


async def accept_all(
    listener: trio.abc.Listener[trio.abc.Stream],
    drain: Drain,
    clock: Clock,
    connections: trio.Nursery,
    refusals: trio.Nursery,
) -> None:
    """Lets them in, or not, for ever."""
    while True:
        stream = await accept(listener)
        if len(connections.child_tasks) < MOST:
            connections.start_soon(serve_connection, stream, drain, clock)
        elif len(refusals.child_tasks) < MOST:
            refusals.start_soon(refuse, stream)
        else:
            await trio.aclose_forcefully(stream)


async def drain_on_signal(drain: Drain) -> None:
    """Ctrl-C, or a supervisor's SIGTERM: the drain begins."""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            print("Draining", flush=True)
            drain.start(grace=10)


async def main() -> None:
    """Listens on port 8000."""
    listeners = await trio.open_tcp_listeners(8000, host="127.0.0.1")
    drain = Drain()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(drain_on_signal, drain)
        print("Listening on http://127.0.0.1:8000", flush=True)
        await serve(listeners[0], drain)
        nursery.cancel_scope.cancel(reason="the server has ended")


if __name__ == "__main__":
    trio.run(main)
