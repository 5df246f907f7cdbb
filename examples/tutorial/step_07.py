"""Step 7: the drain. Everybody is told at once, everybody may finish, and the end comes in time."""

import errno
import logging
import math
import signal
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import h11
import trio

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
    def only_waiting(self, seconds: float) -> Generator[trio.CancelScope, None, None]:
        """A wait of so many seconds at most, that a drain ends at once."""
        with trio.CancelScope(deadline=trio.current_time() + seconds) as scope:
            self.waiting.add(scope)
            if self.started.is_set():
                scope.cancel(reason="the server drains")
            try:
                yield scope
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


async def next_event(conn: h11.Connection, stream: trio.abc.Stream) -> Any:
    """The next thing that the peer said. Bytes of a later request stay in ``conn`` until their turn comes."""
    while (event := conn.next_event()) is h11.NEED_DATA:
        if conn.they_are_waiting_for_100_continue:
            await send(stream, conn.send(h11.InformationalResponse(status_code=100, headers=[])) or b"")
        conn.receive_data(bytes(await stream.receive_some(65536)))
    return event


async def send(stream: trio.abc.Stream, data: bytes) -> None:
    """Writes, within bounds."""
    with trio.fail_at(trio.current_time() + WRITE):
        await stream.send_all(data)


async def respond(
    conn: h11.Connection,
    stream: trio.abc.Stream,
    status: int,
    body: bytes,
    drain: Drain,
    *,
    head_only: bool = False,
) -> None:
    """Writes a whole response; in a drain it is the last one of its connection, and says so."""
    fields = [("Content-Length", str(len(body)))]
    if drain.started.is_set():
        fields.append(("Connection", "close"))
    head = h11.Response(status_code=status, headers=fields)
    data = (conn.send(head) or b"") + (b"" if head_only else conn.send(h11.Data(data=body)) or b"")
    await send(stream, data + (conn.send(h11.EndOfMessage()) or b""))


async def read_head(conn: h11.Connection, stream: trio.abc.Stream, drain: Drain) -> h11.Request | None:
    """The next request's head; None when there will be none. Silence ends in silence, half a head in 408."""
    if not conn.trailing_data[0]:
        with drain.only_waiting(IDLE) as idle:
            conn.receive_data(bytes(await stream.receive_some(65536)))
        if idle.cancelled_caught:
            return None
    with trio.move_on_at(trio.current_time() + HEAD):
        event = await next_event(conn, stream)
        return event if isinstance(event, h11.Request) else None
    raise Refused(408)


async def read_body(conn: h11.Connection, stream: trio.abc.Stream, head: h11.Request) -> bytes:
    """The whole body. What says that it is too large is not read at all, what turns out to be is not read on."""
    if int(dict(head.headers).get(b"content-length", b"0")) > LARGEST:
        raise Refused(413)
    body = bytearray()
    with trio.move_on_at(trio.current_time() + BODY):
        while isinstance(event := await next_event(conn, stream), h11.Data):
            body += event.data
            if len(body) > LARGEST:
                raise Refused(413)
        return bytes(body)
    raise Refused(408)


async def dispatch(request: Request) -> tuple[int, bytes]:
    """Runs the application. What it raises is its own affair, and the peer gets 500."""
    try:
        return await handler(request)
    except Exception:
        log.exception("%s %s failed", request.method, request.target)
        return 500, b""


async def talk(conn: h11.Connection, stream: trio.abc.Stream, drain: Drain) -> None:
    """Read a request, answer it, begin again."""
    try:
        while head := await read_head(conn, stream, drain):
            body = await read_body(conn, stream, head)
            status, answer = await dispatch(Request(head.method.decode(), head.target.decode(), body))
            await respond(conn, stream, status, answer, drain, head_only=head.method == b"HEAD")
            if conn.our_state is h11.MUST_CLOSE:
                return
            conn.start_next_cycle()
    except Refused as refused:
        await respond(conn, stream, refused.status, b"", drain)
    except h11.RemoteProtocolError as error:
        await respond(conn, stream, error.error_status_hint, b"", drain)


async def serve_connection(stream: trio.abc.Stream, drain: Drain) -> None:
    """One connection, in a task of its own. Nothing but a cancellation leaves it: this is the edge."""
    try:
        async with stream:
            await talk(h11.Connection(h11.SERVER), stream, drain)
    except* (trio.BrokenResourceError, trio.ClosedResourceError):
        pass  # the peer has left; there is nobody to be told
    except* trio.TooSlowError:
        log.warning("a peer did not read")
    except* Exception:
        log.exception("a connection failed")


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
    with drain.cut:
        async with trio.open_nursery() as refusals, trio.open_nursery() as connections, listener:
            with drain.only_waiting(math.inf):
                await accept_all(listener, drain, connections, refusals)


async def accept_all(
    listener: trio.abc.Listener[trio.abc.Stream], drain: Drain, connections: trio.Nursery, refusals: trio.Nursery
) -> None:
    """Lets them in, or not, for ever."""
    while True:
        stream = await accept(listener)
        if len(connections.child_tasks) < MOST:
            connections.start_soon(serve_connection, stream, drain)
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
