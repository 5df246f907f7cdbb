"""A chat over WebSockets: what anybody says is heard by everybody in the room."""

from typing import Final

import trio

from roadrunner_trio import Response, WebSocket, WebSocketRequest, run, websocket
from roadrunner_trio.apps.router import Route, Router

BEHIND: Final = 20
"""Lines that a slow reader may be behind; then it is left."""


class Chat:
    """Rooms, and who is in them."""

    def __init__(self) -> None:
        self.rooms: dict[str, set[trio.MemorySendChannel[str]]] = {}

    async def handler(self, request: WebSocketRequest) -> None:
        """One guest, from coming to going."""
        name = request.request.bindings["room"]
        if not name.isalnum():
            await request.reject(Response.text("Rooms have plain names.\n", status=404))
            return
        session = await request.accept()
        mine, lines = trio.open_memory_channel[str](BEHIND)
        room = self.rooms.setdefault(name, set())
        room.add(mine)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.read_out, session, lines)
                async for line in session:  # until the guest closes, or the server drains
                    self.say(room, str(line))
                nursery.cancel_scope.cancel()
        finally:
            room.discard(mine)
            if not room:
                self.rooms.pop(name, None)

    async def read_out(self, session: WebSocket, lines: trio.MemoryReceiveChannel[str]) -> None:
        """What is said in the room, for one guest."""
        async for line in lines:
            await session.send_message(line)
        await session.aclose(1008, "you read too slowly")

    def say(self, room: set[trio.MemorySendChannel[str]], line: str) -> None:
        """Tells everybody, and waits for nobody."""
        for guest in list(room):
            try:
                guest.send_nowait(line)
            except trio.WouldBlock:
                room.discard(guest)
                guest.close()


def make_router() -> Router:
    """A chat of its own."""
    return Router([Route("/:room", websocket(Chat().handler, origins=["self"], compression=True))])


if __name__ == "__main__":
    run(make_router(), "127.0.0.1:8000")
