"""The handlers of the demo: each shows one kind of response, and the page prints the source you read here."""

from __future__ import annotations

import hashlib
import json
import math
import random
import re
import time
from pathlib import Path
from typing import Final

import trio

from .. import (
    EventSender,
    EventStream,
    FileResponse,
    HTTPError,
    Request,
    Response,
    Send,
    StreamResponse,
    WebSocketRequest,
)
from ..transport.streams import shown
from .board import Board

board: Final = Board()
STORY: Final = Path(__file__).parent.parent / "server" / "connection.py"
PLAIN: Final = {"content-type": "text/plain; charset=utf-8"}
FRESH: Final = {"cache-control": "no-store"}


async def hello(request: Request) -> Response:
    match request.path:
        case "/hello/text":
            return Response.text("Hello from one Trio task.\n")
        case "/hello/html":
            return Response.html("<h1>Hello</h1>")
        case "/hello/json":
            return Response.json({"hello": request.request_id})
        case "/hello/redirect":
            return Response.redirect("/hello/text")
        case _:
            return Response.no_content()


async def stream(request: Request) -> StreamResponse:
    async def produce(send: Send) -> dict[str, str]:
        for number in range(1, 9):
            await send(b"chunk %d of 8\n" % number)
            await trio.sleep(0.25)
        return {"x-chunks": "8"}  # goes out as a trailer

    return StreamResponse(produce, fields={**PLAIN, "trailer": "x-chunks"})


async def clock(request: Request) -> EventStream:
    async def tick(sender: EventSender) -> None:
        second = following(request.last_event_id)
        while True:
            await trio.sleep(max(0, second - time.time()))
            now = time.strftime("%H:%M:%S", time.gmtime(second))
            await sender.send(now, id=second)
            second += 1

    return EventStream(request, tick, drain_retry=1)


def following(last: str | None) -> int:
    now = int(time.time())
    if last is None or not re.fullmatch("[0-9]{1,12}", last):
        return now + 1
    return min(max(int(last), now - 60), now) + 1


async def events(request: Request) -> EventStream:
    last = request.last_event_id or request.query.get("after")

    async def tell(sender: EventSender) -> None:
        with board.reader():
            async for event in board.subscribe(last):
                await sender.send(event)
                if request.drain.draining and board.only_readers():
                    return  # the others have ended: the drain has been seen

    return EventStream(request, tell, drain_grace=math.inf, drain_retry=1)


async def note(request: Request) -> Response:
    if request.header("content-type") != "application/json":
        raise HTTPError(415)  # no form of another site
    try:
        text = str(json.loads(await request.read())["text"])
    except (ValueError, KeyError, TypeError):
        raise HTTPError(400, 'Send {"text": "..."}.\n') from None
    event = board.publish("note", text[:140])
    return Response.json({"id": event.id}, status=201)


async def file(request: Request) -> FileResponse:
    return FileResponse(STORY, fields=PLAIN)


async def echo(request: WebSocketRequest) -> None:
    async with await request.accept() as peer:
        async for message in peer:
            await peer.send_message(message)


async def ticker(request: WebSocketRequest) -> None:
    async with await request.accept() as peer:
        price = 100.0
        while True:
            await peer.send_message(f"{price:.2f}")
            await trio.sleep(0.25)
            price *= random.gauss(1, 0.004)


async def upload(request: Request) -> Response:
    digest, octets = hashlib.sha256(), 0
    async for piece in request.stream():
        digest.update(piece)
        octets += len(piece)
        read = {"id": request.query.get("id"), "octets": octets}
        board.publish("progress", read)
        await trio.sleep(0.02)  # slow on purpose
    answer = {"octets": octets, "sha256": digest.hexdigest()}
    return Response.json(answer, status=201)


async def crash(request: Request) -> Response:
    raise RuntimeError("the password is hunter2")


async def missing(request: Request) -> Response:
    raise HTTPError(404, "There is nothing here.\n")


async def whoami(request: Request) -> Response:
    task = trio.lowlevel.current_task()
    mine = [one for one in board.connections() if one.task is task]
    facts = {
        "peer": shown(request.peer),
        "task": task.name,
        "request id": request.request_id,
        "requests so far": sum(one.requests for one in mine),
    }
    return Response.json(facts, fields=FRESH)
