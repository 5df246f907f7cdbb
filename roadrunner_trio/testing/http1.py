"""HTTP/1.1 as the client for tests speaks it: h11 on a stream, one request after the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import h11
import trio

from ..fields import Field
from ..transport.streams import PrefixedStream
from ..transport.wire import RECEIVE_SIZE
from .talk import HOST, Asked, End, Event, Head


class Http1Line:
    """A connection, and the request that is under way on it.

    Args:
        stream: carries it; nobody closes it before the peer wants to leave.
    """

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.switched: trio.abc.Stream | None = None
        self._h11 = h11.Connection(h11.CLIENT)

    def makes_ready(self) -> bool:
        """Whether it takes another request; one that is used up takes none."""
        if self._h11.our_state is h11.IDLE:
            return True
        if self._h11.our_state is h11.DONE and self._h11.their_state in (h11.DONE, h11.IDLE):
            self._h11.start_next_cycle()
            return True
        return False

    async def ask(self, asked: Asked) -> Http1Line:
        """Sends a head, and the content if that is at hand."""
        if self._h11.our_state is not h11.IDLE:
            self._h11.start_next_cycle()  # raises, and says why
        pairs, body = list(asked.fields), asked.body
        names = {name for name, _ in pairs}
        if b"host" not in names:
            pairs.insert(0, (b"host", HOST.encode()))
        if not names & {b"content-length", b"transfer-encoding"}:
            if body is None or asked.trailers:
                pairs.append((b"transfer-encoding", b"chunked"))
            elif body:
                pairs.append((b"content-length", b"%d" % len(body)))
        data = self._h11.send(h11.Request(method=asked.method, target=asked.target, headers=pairs)) or b""
        if body is not None:
            data += (self._h11.send(h11.Data(data=body)) or b"") if body else b""
            data += self._h11.send(h11.EndOfMessage(headers=list(asked.trailers))) or b""
        await self.stream.send_all(data)
        return self

    async def send(self, data: bytes) -> None:
        """A piece of the content."""
        await self.stream.send_all(self._h11.send(h11.Data(data=data)) or b"")

    async def finish(self, trailers: Sequence[Field]) -> None:
        """The end of the content."""
        await self.stream.send_all(self._h11.send(h11.EndOfMessage(headers=list(trailers))) or b"")

    async def next(self) -> Event:
        """What comes next of the response."""
        event: Any
        while True:
            while (event := self._h11.next_event()) is h11.NEED_DATA:
                self._h11.receive_data(bytes(await self.stream.receive_some(RECEIVE_SIZE)))
            if isinstance(event, h11.Data):
                return bytes(event.data)
            if isinstance(event, h11.EndOfMessage):
                return End(list(event.headers))
            if isinstance(event, h11.Response | h11.InformationalResponse):
                self._switch()
                return Head(event.status_code, list(event.headers))

    def _switch(self) -> None:
        if self._h11.their_state is h11.SWITCHED_PROTOCOL:
            self.stream = self.switched = PrefixedStream(self._h11.trailing_data[0], self.stream)

    @property
    def over(self) -> bool:
        """Whether the response has come whole, or the stream speaks something else."""
        return self.switched is not None or self._h11.their_state in (h11.DONE, h11.MUST_CLOSE, h11.CLOSED)

    async def leave(self, code: int) -> None:
        """A request of HTTP/1.1 cannot be given up without its connection."""
        await trio.aclose_forcefully(self.stream)
