"""A listener that says how long it looks at its connections: ``python -m bench.apps.crowd PORT MOST PARK_AFTER``."""

from __future__ import annotations

import sys
import time

import trio

from roadrunner_trio import Limits, Listener, Request, Response, Timeouts, serve


async def main(port: int, most: int, park_after: float) -> None:
    """Serves until it is told to end."""

    async def handler(request: Request) -> Response:
        if request.path != "/connections":
            return Response.text("Hello, world!")
        began = time.perf_counter()
        count = len(listener.connections())
        listed = time.perf_counter()
        listener.info()
        return Response.json([count, listed - began, time.perf_counter() - listed])

    listener = Listener(
        handler,
        bind=f"127.0.0.1:{port}",
        limits=Limits(max_connections=most),
        timeouts=Timeouts(keep_alive=600, park_after=park_after),
    )
    await serve(listener)


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
