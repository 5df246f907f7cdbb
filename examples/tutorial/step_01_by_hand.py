"""Step 1, and what ``trio.serve_listeners`` does in it, written out."""

import trio
from step_01 import serve_connection


async def serve(listener: trio.abc.Listener[trio.abc.Stream]) -> None:
    """A task for every connection, for ever."""
    async with trio.open_nursery() as nursery:
        while True:
            stream = await listener.accept()
            nursery.start_soon(serve_connection, stream)
