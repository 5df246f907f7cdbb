"""A small application with a bit of everything: what ``test_kit.py`` tests."""

from collections.abc import AsyncIterator
from contextlib import suppress

import trio

from roadrunner_trio import AnyResponse, EventStream, Request, Response, WebSocketRequest, run, websocket
from roadrunner_trio.apps.router import Route, Router

guests: set[trio.MemorySendChannel[str]] = set()


async def chat(request: WebSocketRequest) -> None:
    """What one says, all hear."""
    session = await request.accept()
    mine, lines = trio.open_memory_channel[str](20)
    guests.add(mine)
    try:
        async with trio.open_nursery() as nursery:

            async def hear() -> None:
                async for line in lines:
                    await session.send_message(line)

            nursery.start_soon(hear)
            while True:
                line = str(await session.get_message())
                for guest in guests:
                    with suppress(trio.WouldBlock):  # who is twenty lines behind misses some
                        guest.send_nowait(line)
    finally:
        guests.discard(mine)


async def upload(request: Request) -> AnyResponse:
    """Counts as it comes."""
    octets = 0
    async for piece in request.stream():
        octets += len(piece)
    return Response.json({"octets": octets})


async def ticks(request: Request) -> EventStream:
    """One a minute."""

    async def count() -> AsyncIterator[str]:
        for minute in range(1, 1000):
            yield str(minute)
            await trio.sleep(60)

    return EventStream(request, count())


async def patient(request: Request) -> Response:
    """Works for a day, if it is let."""
    await trio.sleep(24 * 3600)
    return Response.text("done")


app = Router(
    [
        Route("/chat", websocket(chat)),
        Route("/upload", upload, methods=["POST"], body="streaming", max_body=None),
        Route("/ticks", ticks),
        Route("/patient", patient, timeout=3600),
    ]
)

if __name__ == "__main__":
    run(app, "127.0.0.1:8000")
