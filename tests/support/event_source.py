"""A browser's EventSource on real sockets: it comes again when a stream has ended, with the last id it has seen."""

from __future__ import annotations

from collections.abc import Callable

import trio
from socket_tools import Peer
from sse_tools import Dispatched, Interpreter


class EventSource:
    """Reads events for ever, over as many connections as it takes.

    Attributes:
        visits: how many responses there were.
        ends: how many of them ended cleanly, with the last chunk.
        failures: how often there was none, or none whole.
    """

    def __init__(self, port: int, target: str = "/") -> None:
        self.port = port
        self.target = target
        self.visits = self.ends = self.failures = 0
        self._reader = Interpreter()

    async def listen(self, heard: Callable[[Dispatched], bool | None]) -> None:
        """Calls ``heard`` with every event, until that returns True."""
        while True:
            try:
                with await Peer.connect(self.port) as peer:
                    if await self._visit(peer, heard):
                        return
            except OSError:
                self.failures += 1
            await trio.sleep((3000 if self._reader.retry is None else self._reader.retry) / 1000)

    async def _visit(self, peer: Peer, heard: Callable[[Dispatched], bool | None]) -> bool:
        self._reader = reader = Interpreter(self._reader.last_event_id, self._reader.retry)
        field = f"Last-Event-ID: {reader.last_event_id}\r\n" if reader.last_event_id else ""
        await peer.send(f"GET {self.target} HTTP/1.1\r\nHost: test\r\n{field}\r\n".encode())
        await peer.until(lambda: b"\r\n\r\n" in peer.received)
        head, _, rest = bytes(peer.received).partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200 ") or b"\r\ncontent-type: text/event-stream\r\n" not in head:
            raise ConnectionError(head)
        self.visits += 1
        peer.received[:] = rest
        while chunk := await self._chunk(peer):
            if any(heard(event) for event in reader.feed(chunk)):
                return True
        self.ends += 1
        return False

    async def _chunk(self, peer: Peer) -> bytes:
        if not await peer.until(lambda: b"\r\n" in peer.received, 3600):
            raise ConnectionError("no whole chunk")
        size, _, _ = bytes(peer.received).partition(b"\r\n")
        length = len(size) + 2 + int(size, 16) + 2
        if not await peer.until(lambda: len(peer.received) >= length):
            raise ConnectionError("half a chunk")
        chunk = bytes(peer.received[len(size) + 2 : length - 2])
        del peer.received[:length]
        return chunk
