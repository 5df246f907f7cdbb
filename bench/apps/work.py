"""Work that keeps a processor busy: native ``handler``, and ``app`` for servers of ASGI."""

from __future__ import annotations

import time
from typing import Final

from roadrunner_trio import Request, Response

from .asgi import Receive, Scope, Send, lifespan

BUSY: Final = {"/": 0.0, "/100us": 100e-6, "/50ms": 50e-3}
"""Seconds of the processor, by the path."""
HELLO: Final = b"Hello, world!"


def burn(seconds: float) -> None:
    """Keeps the processor busy; what others take of it meanwhile does not count."""
    end = time.thread_time() + seconds
    while seconds and time.thread_time() < end:
        pass


async def handler(request: Request) -> Response:
    burn(BUSY[request.path])
    return Response(HELLO)


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
        return
    burn(BUSY[scope["path"]])
    fields = [(b"content-length", b"%d" % len(HELLO))]
    await send({"type": "http.response.start", "status": 200, "headers": fields})
    await send({"type": "http.response.body", "body": HELLO})
