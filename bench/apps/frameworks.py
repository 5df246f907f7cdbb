"""Applications of frameworks, for all servers of ASGI alike; what is asked for tells which."""

from __future__ import annotations

import atexit
import os
import tempfile
from collections.abc import AsyncGenerator
from typing import Any, Final

from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from . import content
from .asgi import Receive, Scope, Send, lifespan

PIECES: Final = 10


def _make_file() -> str:
    number, path = tempfile.mkstemp(prefix="bench-frameworks-")
    with os.fdopen(number, "wb") as file:
        file.write(content.LARGE * 4)
    atexit.register(os.unlink, path)
    return path


FILE: Final = _make_file()
"""256 KiB."""


async def text(request: Request) -> Response:
    return PlainTextResponse(content.HELLO)


async def json(request: Request) -> Response:
    return JSONResponse(content.OBJECT)


async def post(request: Request) -> Response:
    return PlainTextResponse(str(len(await request.body())))


async def stream(request: Request) -> Response:
    async def pieces() -> AsyncGenerator[bytes]:
        for _ in range(PIECES):
            yield content.CHUNK

    return StreamingResponse(pieces(), media_type="application/octet-stream")


async def file(request: Request) -> Response:
    return FileResponse(FILE, media_type="application/octet-stream")


def sync(request: Request) -> Response:
    return PlainTextResponse(content.HELLO)


class Passing(BaseHTTPMiddleware):
    """Does nothing, at its price."""

    async def dispatch(self, request: Request, call_next: Any) -> Response:
        response: Response = await call_next(request)
        return response


starlette = Starlette(
    routes=[
        Route("/starlette/text", text),
        Route("/starlette/json", json),
        Route("/starlette/post", post, methods=["POST"]),
        Route("/starlette/stream", stream),
        Route("/starlette/file", file),
        Route("/starlette/sync", sync),
    ]
)
wrapped = Starlette(routes=[Route("/middleware", text)], middleware=[Middleware(Passing)])
fastapi = FastAPI()


@fastapi.get("/fastapi/json")
async def fastapi_json() -> dict[str, Any]:
    return content.OBJECT


APPS: Final[dict[str, Any]] = {"starlette": starlette, "middleware": wrapped, "fastapi": fastapi}


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
    else:
        await APPS[scope["path"].split("/", 2)[1]](scope, receive, send)
