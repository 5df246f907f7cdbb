"""What a handler needs is there before it is asked: roadrunner-trio serve lives:main --factory"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import trio

from roadrunner_trio import Request, Response


@asynccontextmanager
async def main(nursery: trio.Nursery) -> AsyncGenerator[object]:
    """Starts a count, gives the handler, and says goodbye after the last connection."""
    beats = 0

    async def beat() -> None:
        nonlocal beats
        while True:
            await trio.sleep(1)
            beats += 1

    async def handler(request: Request) -> Response:
        return Response.text(f"{beats} beats\n")

    nursery.start_soon(beat)  # ends with the nursery, after the last connection
    yield handler
    print(f"{beats} beats, goodbye")
