"""Step 5: one connection never harms its neighbours. Every error has an end, and the edge is in one place."""

import logging
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
LARGEST = 1024 * 1024
"""Bytes that a body may have."""


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
    if request.target == "/slow":
        await trio.sleep(5)
    return 200, f"Hello from {request.target}\n".encode()


async def next_event(conn: h11.Connection, stream: trio.abc.Stream) -> Any:
    """The next thing that the peer said. Bytes of a later request stay in ``conn`` until their turn comes."""
    while (event := conn.next_event()) is h11.NEED_DATA:
        if conn.they_are_waiting_for_100_continue:
            await stream.send_all(conn.send(h11.InformationalResponse(status_code=100, headers=[])) or b"")
        conn.receive_data(bytes(await stream.receive_some(65536)))
    return event


async def respond(
    conn: h11.Connection, stream: trio.abc.Stream, status: int, body: bytes, *, head_only: bool = False
) -> None:
    """Writes a whole response; to a HEAD request all of it but the body."""
    head = h11.Response(status_code=status, headers=[("Content-Length", str(len(body)))])
    data = (conn.send(head) or b"") + (b"" if head_only else conn.send(h11.Data(data=body)) or b"")
    await stream.send_all(data + (conn.send(h11.EndOfMessage()) or b""))


async def read_head(conn: h11.Connection, stream: trio.abc.Stream) -> h11.Request | None:
    """The next request's head; None when there will be none. Silence ends in silence, half a head in 408."""
    if not conn.trailing_data[0]:
        with trio.move_on_at(trio.current_time() + IDLE) as idle:
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


async def talk(conn: h11.Connection, stream: trio.abc.Stream) -> None:
    """Read a request, answer it, begin again."""
    try:
        while head := await read_head(conn, stream):
            body = await read_body(conn, stream, head)
            status, answer = await dispatch(Request(head.method.decode(), head.target.decode(), body))
            await respond(conn, stream, status, answer, head_only=head.method == b"HEAD")
            if conn.our_state is h11.MUST_CLOSE:
                return
            conn.start_next_cycle()
    except Refused as refused:
        await respond(conn, stream, refused.status, b"")
    except h11.RemoteProtocolError as error:
        await respond(conn, stream, error.error_status_hint, b"")


async def serve_connection(stream: trio.abc.Stream) -> None:
    """One connection, in a task of its own. Nothing but a cancellation leaves it: this is the edge."""
    try:
        async with stream:
            await talk(h11.Connection(h11.SERVER), stream)
    except* (trio.BrokenResourceError, trio.ClosedResourceError):
        pass  # the peer has left; there is nobody to be told
    except* Exception:
        log.exception("a connection failed")


async def serve(listener: trio.abc.Listener[trio.abc.Stream]) -> None:
    """A task for every connection, for ever."""
    await trio.serve_listeners(serve_connection, [listener])


async def main() -> None:
    """Listens on port 8000."""
    listeners = await trio.open_tcp_listeners(8000, host="127.0.0.1")
    print("Listening on http://127.0.0.1:8000", flush=True)
    await serve(listeners[0])


if __name__ == "__main__":
    trio.run(main)
