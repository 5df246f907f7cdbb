"""Server-sent events: a countdown, a clock that misses no second, and news for everybody.

Start it, then: curl -N http://127.0.0.1:8000/clock
"""

import re
import time
from collections.abc import AsyncIterator

import trio

from roadrunner_trio import Broadcast, EventSender, EventStream, Request, Response, ServerSentEvent, StreamResponse, run
from roadrunner_trio.apps.router import Route, Router

PAGE = """<!doctype html>
<meta charset="utf-8">
<title>Clock</title>
<output></output>
<script>
  const clock = new EventSource("/clock");
  clock.addEventListener("message", (event) => document.querySelector("output").textContent = event.data);
</script>
"""


async def page(request: Request) -> Response:
    return Response.html(PAGE)


async def countdown(request: Request) -> EventStream:
    async def numbers() -> AsyncIterator[ServerSentEvent | str]:
        for number in (3, 2, 1):
            yield str(number)
            await trio.sleep(0.2)
        yield ServerSentEvent.json({"height": 0}, event="lift-off")

    return EventStream(request, numbers())


def next_second(last: str | None) -> int:
    """The second after the last that was seen, but of those gone by only a minute's."""
    now = int(time.time())
    if last is None or not re.fullmatch("[0-9]{1,12}", last):
        return now + 1
    return min(max(int(last), now - 60), now) + 1


async def clock(request: Request) -> EventStream:
    async def tick(events: EventSender) -> None:
        second = next_second(request.last_event_id)
        while True:
            await trio.sleep(max(0, second - time.time()))
            await events.send(time.ctime(second), id=second)
            second += 1

    return EventStream(request, tick)


news = Broadcast(history=100)


async def publish(request: Request) -> Response:
    event = news.publish((await request.read()).decode("utf-8", "replace"), event="news")
    return Response.text(f"{event.id}\n", status=201)


async def read(request: Request) -> EventStream:
    return EventStream(request, news.subscribe(request.last_event_id))


async def game(request: Request) -> EventStream:
    async def play(events: EventSender) -> None:
        move = 0
        while not request.drain.draining:
            move += 1
            await events.send(f"move {move}")
            with trio.move_on_after(1):
                await request.drain.started.wait()
        await events.send("the game is saved", event="pause")

    return EventStream(request, play, drain_grace=5, drain_retry=10)


async def squares(request: Request) -> StreamResponse:
    async def values() -> AsyncIterator[dict[str, int]]:
        for number in range(1, 4):
            yield {"number": number, "square": number * number}
            await trio.sleep(0.2)  # another page of the database

    return StreamResponse.ndjson(values())


app = Router(
    [
        Route("/", page),
        Route("/countdown", countdown),
        Route("/clock", clock),
        Route("/news", read, methods=["GET"]),
        Route("/news", publish, methods=["POST"]),
        Route("/game", game),
        Route("/squares", squares),
    ]
)

if __name__ == "__main__":
    run(app, "127.0.0.1:8000")
