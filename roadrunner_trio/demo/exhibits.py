"""The handlers of the demo: each shows one kind of response, and the page prints the source you read here."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_server_stream

from .. import (
    STOP,
    Draining,
    FileResponse,
    Handoff,
    HTTPError,
    LoopResponse,
    Request,
    Response,
    Send,
    StreamResponse,
)
from ..streams import shown
from .board import Board, Notice

board: Final = Board()
STORY: Final = Path(__file__).parent.parent / "connection.py"
PLAIN: Final = {"content-type": "text/plain; charset=utf-8"}
EVENTS: Final = {"content-type": "text/event-stream", "cache-control": "no-store"}
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


async def events(request: Request) -> LoopResponse:
    async def on_message(message: Any, send: Send) -> object:
        match message:
            case Notice(name, data):
                event = f"event: {name}\ndata: {data}\n\n"
                await send(event.encode())
            case Draining():
                await send(b"event: bye\ndata: {}\n\n")
                return STOP
            case _:
                pass  # Disconnected: the last one
        return None

    return LoopResponse(board.join(), on_message, fields=EVENTS)


async def note(request: Request) -> Response:
    if request.header("content-type") != "application/json":
        raise HTTPError(415)  # no form of another site
    try:
        text = str(json.loads(await request.read())["text"])
    except (ValueError, KeyError, TypeError):
        raise HTTPError(400, 'Send {"text": "..."}.\n') from None
    readers = board.publish("note", text[:140])
    return Response.json({"readers": readers}, status=201)


async def file(request: Request) -> FileResponse:
    return FileResponse(STORY, fields=PLAIN)


async def echo(request: Request) -> Handoff:
    if str(request.header("upgrade")).lower() != "websocket":
        raise HTTPError(426, fields=[("upgrade", "websocket")])
    return Handoff(session, replay_head=True)


async def session(request: Request, stream: trio.abc.Stream) -> None:
    async with trio.open_nursery() as nursery:
        offer = await wrap_server_stream(nursery, stream)
        peer = await offer.accept()
        nursery.start_soon(leave_on_drain, peer, request)
        with suppress(ConnectionClosed):
            while True:
                await peer.send_message(await peer.get_message())
        nursery.cancel_scope.cancel()


async def leave_on_drain(peer: WebSocketConnection, request: Request) -> None:
    await request.drain.started.wait()
    await peer.aclose(1001, "the server is going away")


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
