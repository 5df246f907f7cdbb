"""Step 10: the real one. The application of the steps before, on the server that they were leading to."""

import math

import trio

import roadrunner_trio as rr

LARGEST = 1024 * 1024
"""Bytes that a body may have."""


async def handler(request: rr.Request) -> rr.Response:
    """The application: a request in, a response out."""
    if request.path == "/echo":
        return rr.Response(await request.read())
    if request.path == "/crash":
        raise RuntimeError("a bug")
    if request.path == "/big":
        return rr.Response(bytes(10 * LARGEST))
    if request.path == "/slow":
        await trio.sleep(5)
    return rr.Response.text(f"Hello from {request.path}\n")


async def echo(request: rr.WebSocketRequest) -> None:
    """What is said is said back, until the peer or a drain ends it."""
    websocket = await request.accept()
    while True:
        await websocket.send_message(await websocket.get_message())


conversation = rr.websocket(echo)


async def answer(request: rr.Request) -> rr.AnyResponse:
    """Who asks for a WebSocket gets one."""
    return await conversation(request) if request.header("upgrade") else await handler(request)


class Drain:
    """The word that the judge gives, passed on."""

    def __init__(self) -> None:
        self.started = trio.Event()
        self.grace = math.inf

    def start(self, grace: float) -> None:
        """Begins it."""
        self.grace = grace
        self.started.set()


async def serve(listener: trio.abc.Listener[trio.abc.Stream], drain: Drain) -> None:
    """As in the steps before; what they do by hand is a setting here."""
    limits = rr.Limits(max_connections=100, max_body=LARGEST, max_requests=10_000)
    timeouts = rr.Timeouts(keep_alive=60, request=30, body=60, write=30)
    server = rr.Listener(answer, bind=listener, limits=limits, timeouts=timeouts)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve)
        await drain.started.wait()
        await server.drain(drain.grace)


if __name__ == "__main__":
    rr.run(answer, "127.0.0.1:8000")
