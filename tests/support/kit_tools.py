"""Handlers for the testing kit's client to ask."""

from __future__ import annotations

import trio

import roadrunner_trio as rr


async def echo(request: rr.Request) -> rr.Response:
    """Says what was asked, and how."""
    content = await request.read()
    fields = [
        ("x-method", request.method),
        ("x-version", "{}.{}".format(*request.version)),
        ("x-host", request.host),
        ("content-type", request.header("content-type") or "none"),
        ("x-trailers", repr(request.trailers)),
    ]
    return rr.Response(content, fields=fields)


async def countdown(request: rr.Request) -> rr.StreamResponse:
    """3, 2, 1, a second apart, and a trailer."""

    async def produce(send: rr.Send) -> list[tuple[str, str]]:
        for number in (3, 2, 1):
            await send(b"%d" % number)
            await trio.sleep(1)
        return [("x-sum", "6")]

    return rr.StreamResponse(produce)
