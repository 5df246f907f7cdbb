"""Step 1: thirty lines that answer."""

import trio


async def serve_connection(stream: trio.abc.Stream) -> None:
    """One connection: read to the blank line, answer, close."""
    async with stream:
        head = b""
        while b"\r\n\r\n" not in head:
            data = await stream.receive_some(65536)
            if not data:
                return
            head += data
        target = head.split(b" ")[1]
        body = b"Hello from " + target + b"\n"
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)


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
