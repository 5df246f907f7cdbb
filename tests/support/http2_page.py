"""A server with TLS for a browser: what it was asked over, a WebSocket, and an upload that may be given up.

``python http2_page.py CERTIFICATE`` prints its port.
"""

from __future__ import annotations

import sys
from functools import partial

import trio

import roadrunner_trio as rr
from roadrunner_trio.apps.router import Route, Router

ENDS: list[str] = []


async def page(request: rr.Request) -> rr.Response:
    return rr.Response.html("<!doctype html><title>here</title><p>here")


async def who(request: rr.Request) -> rr.Response:
    return rr.Response.json({"version": request.version, "ends": ENDS})


async def upload(request: rr.Request) -> rr.Response:
    try:
        async for _ in request.stream():
            pass
        await trio.sleep_forever()
    except trio.Cancelled:
        ENDS.append("cancelled")
        raise
    except rr.PeerGone:
        ENDS.append("gone")
        raise
    return rr.Response("never")


async def talk(offer: rr.WebSocketRequest) -> None:
    socket = await offer.accept()
    await socket.send_message(str(offer.request.version))
    while True:
        await socket.send_message(await socket.get_message())


ROUTES = [
    Route("/", page),
    Route("/who", who),
    Route("/upload", upload, body="streaming"),
    Route("/talk", rr.websocket(talk, compression=True)),
]


async def main() -> None:
    listener = rr.Listener(Router(ROUTES), bind="127.0.0.1:0", tls=rr.server_context(sys.argv[1]))
    async with trio.open_nursery() as nursery:
        [served] = await nursery.start(partial(rr.serve, listener))
        print(served.port, flush=True)


if __name__ == "__main__":
    trio.run(main)
