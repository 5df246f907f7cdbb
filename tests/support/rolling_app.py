"""What is served while servers are restarted: an echo, and two streams of numbered ticks that anybody can go on with.

A tick is numbered by the tenth of a second it stands for, so that every instance knows all of them without a word to
another.
"""

from __future__ import annotations

import time

import trio

from roadrunner_trio import EventSender, EventStream, Request, Response, WebSocketRequest, websocket
from roadrunner_trio.apps.router import Route, Router

TICK = 0.1


def next_tick(last: str | None) -> int:
    """The tick after the last that was seen, or after now."""
    return int(last) + 1 if last else int(time.time() / TICK) + 1


async def echo(request: Request) -> Response:
    await trio.sleep(float(request.query.get("wait") or 0))
    return Response(request.path.encode())


async def events(request: Request) -> EventStream:
    async def tick(send: EventSender) -> None:
        number = next_tick(request.last_event_id)
        while True:
            await trio.sleep(max(0, number * TICK - time.time()))
            await send.send("tick", id=number)
            number += 1

    return EventStream(request, tick, drain_retry=0.05)


async def ticks(request: WebSocketRequest) -> None:
    session = await request.accept()
    number = next_tick(request.request.query.get("last"))
    while True:
        await trio.sleep(max(0, number * TICK - time.time()))
        await session.send_message(str(number))
        number += 1


handler = Router([Route("/events", events), Route("/ticks", websocket(ticks)), Route("/*path", echo)])
