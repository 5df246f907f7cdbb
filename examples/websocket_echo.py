"""A WebSocket that answers with what it hears: the connection's stream, handed over to trio-websocket."""

from contextlib import suppress

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_server_stream

from roadrunner_trio import Handoff, HTTPError, Request, run


async def handler(request: Request) -> Handoff:
    if (request.header("upgrade") or "").lower() != "websocket":
        raise HTTPError(426, "Here is a WebSocket.\n", fields=[("upgrade", "websocket")])
    return Handoff(session, replay_head=True)  # trio-websocket reads the request head itself


async def session(request: Request, stream: trio.abc.Stream) -> None:
    """Runs in the connection's task; when it returns, the connection closes."""
    async with trio.open_nursery() as nursery:
        opening = await wrap_server_stream(nursery, stream)
        with suppress(ConnectionClosed):  # by the peer or by us; by a peer in a hurry before it is open
            websocket = await opening.accept()
            nursery.start_soon(leave_on_drain, request, websocket)
            while True:
                await websocket.send_message(await websocket.get_message())
        nursery.cancel_scope.cancel()


async def leave_on_drain(request: Request, websocket: WebSocketConnection) -> None:
    """The server knows nothing of WebSockets, so saying goodbye is ours: 1001, going away (RFC 6455 section 7.4.1)."""
    await request.drain.started.wait()
    await websocket.aclose(1001, "the server is going down")


if __name__ == "__main__":
    run(handler, "127.0.0.1:8000")
