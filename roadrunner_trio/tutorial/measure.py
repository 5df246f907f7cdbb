"""What a request costs: several servers in turns, in memory, so that the kernel and a client's process are left out."""

from __future__ import annotations

import time
from typing import Any, Final

import trio

from .stage import Missed, open_stage

REQUESTS: Final = 400
ROUNDS: Final = 7
REQUEST: Final = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"


async def _round(server: Any) -> float:
    async with open_stage(server) as stage:
        peer = stage.peer()
        began = time.process_time()
        for _ in range(REQUESTS):
            await peer.stream.send_all(REQUEST)
            if await peer.read_answer() is None:
                raise Missed("an answer to every request")
        return (time.process_time() - began) / REQUESTS


def measure(servers: list[tuple[str, Any]]) -> None:
    """Prints the least of several interleaved rounds of each: noise only ever adds."""
    least = dict.fromkeys((name for name, _ in servers), float("inf"))
    for _ in range(ROUNDS):
        for name, server in servers:
            least[name] = min(least[name], trio.run(_round, server))
    for name, seconds in least.items():
        print(f"{name}: {seconds * 1e6:.0f} µs a request, client included")
