"""Step 3: deadlines. Every wait for the peer belongs to a phase, and a phase ends at a time, whatever arrives."""

from typing import Any

import h11
import trio

IDLE = 60.0
"""Seconds in which a connection may say nothing at all."""
HEAD = 30.0
"""Seconds from the first byte of a request's head to its last."""


async def handler(method: str, target: str) -> tuple[int, bytes]:
    """The application: a status and a body."""
    return 200, f"Hello from {target}\n".encode()


async def next_event(conn: h11.Connection, stream: trio.abc.Stream) -> Any:
    """The next thing that the peer said. Bytes of a later request stay in ``conn`` until their turn comes."""
    while (event := conn.next_event()) is h11.NEED_DATA:
        conn.receive_data(bytes(await stream.receive_some(65536)))
    return event


async def respond(conn: h11.Connection, stream: trio.abc.Stream, status: int, body: bytes) -> None:
    """Writes a whole response."""
    head = h11.Response(status_code=status, headers=[("Content-Length", str(len(body)))])
    data = (conn.send(head) or b"") + (conn.send(h11.Data(data=body)) or b"")
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
    await respond(conn, stream, 408, b"")
    return None


async def serve_connection(stream: trio.abc.Stream) -> None:
    """One connection: read a request, answer it, begin again."""
    conn = h11.Connection(h11.SERVER)
    async with stream:
        while request := await read_head(conn, stream):
            while not isinstance(await next_event(conn, stream), h11.EndOfMessage):
                pass  # a body; nobody asked for it
            status, body = await handler(request.method.decode(), request.target.decode())
            await respond(conn, stream, status, body)
            if conn.our_state is h11.MUST_CLOSE:
                return
            conn.start_next_cycle()


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
