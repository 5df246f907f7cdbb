"""The application in ASGI, without a framework: what its servers are at their best with.

Files go out by the ``http.response.pathsend`` extension where the server has it, else in pieces of 64 KiB, read
without a thread; that is cheaper than what frameworks do. Its "router" is a dictionary and one regular expression.
"""

from __future__ import annotations

import json as json_module
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

from . import content

Message: TypeAlias = MutableMapping[str, Any]
Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Fields: TypeAlias = list[tuple[bytes, bytes]]

PIECE = 64 * 1024
AREAS = {f"area-{n}": re.compile(r"/([^/]+)/parts/([^/]+)") for n in range(content.ROUTES)}


async def respond(send: Send, body: bytes, fields: Fields, status: int = 200) -> None:
    """A whole answer, with its length."""
    start = {"type": "http.response.start", "status": status}
    await send({**start, "headers": [*fields, (b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    await respond(send, content.HELLO, [(b"content-type", content.TEXT)])


async def json(scope: Scope, receive: Receive, send: Send) -> None:
    text = json_module.dumps(content.OBJECT, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    await respond(send, text.encode(), [(b"content-type", b"application/json")])


async def headers(scope: Scope, receive: Receive, send: Send) -> None:
    language = next((value for name, value in scope["headers"] if name == b"accept-language"), b"")
    await respond(send, language, content.FIELDS)


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    pieces: list[bytes] = []
    more = True
    while more:
        message = await receive()
        pieces.append(message.get("body", b""))
        more = message.get("more_body", False)
    await respond(send, b"".join(pieces), [(b"content-type", content.OCTETS)])


async def large(scope: Scope, receive: Receive, send: Send) -> None:
    await respond(send, content.LARGE, [(b"content-type", content.OCTETS)])


async def upload(scope: Scope, receive: Receive, send: Send) -> None:
    octets = 0
    more = True
    while more:
        message = await receive()
        octets += len(message.get("body", b""))
        more = message.get("more_body", False)
    await respond(send, b"%d" % octets, [(b"content-type", content.TEXT)])


async def stream(scope: Scope, receive: Receive, send: Send) -> None:
    fields = [(b"content-type", content.OCTETS)]
    await send({"type": "http.response.start", "status": 200, "headers": fields})
    for _ in range(content.CHUNKS):
        await send({"type": "http.response.body", "body": content.CHUNK, "more_body": True})
    await send({"type": "http.response.body"})


async def file(scope: Scope, receive: Receive, send: Send) -> None:
    with open(content.FILE, "rb") as source:  # noqa: ASYNC230 - a thread would cost the peers more
        length = source.seek(0, 2)
        source.seek(0)
        fields = [(b"content-type", content.OCTETS), (b"content-length", b"%d" % length)]
        await send({"type": "http.response.start", "status": 200, "headers": fields})
        if "http.response.pathsend" in scope.get("extensions", {}):
            await send({"type": "http.response.pathsend", "path": content.FILE})
            return
        while piece := source.read(PIECE):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body"})


async def routed(scope: Scope, receive: Receive, send: Send) -> None:
    area, slash, rest = scope["path"][1:].partition("/")
    pattern = AREAS.get(area)
    match = pattern.fullmatch(slash + rest) if pattern else None
    if match is None:
        await respond(send, b"Not Found", [(b"content-type", content.TEXT)], 404)
    else:
        await respond(send, f"{match[1]} {match[2]}".encode(), [(b"content-type", content.TEXT)])


async def echo_messages(receive: Receive, send: Send) -> None:
    await receive()  # websocket.connect
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        if message.get("bytes") is not None:
            await send({"type": "websocket.send", "bytes": message["bytes"]})
        else:
            await send({"type": "websocket.send", "text": message["text"]})


HANDLERS = {
    "/hello": hello,
    "/json": json,
    "/headers": headers,
    "/echo": echo,
    "/large": large,
    "/upload": upload,
    "/stream": stream,
    "/file": file,
}


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
    elif scope["type"] == "websocket":
        await echo_messages(receive, send)
    else:
        await HANDLERS.get(scope["path"], routed)(scope, receive, send)


async def lifespan(receive: Receive, send: Send) -> None:
    kind = ""
    while kind != "lifespan.shutdown":
        kind = (await receive())["type"]
        await send({"type": f"{kind}.complete"})
