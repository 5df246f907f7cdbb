"""A peer that speaks HTTP/2 on a connection of a house: hyper's h2 is its head, and notes what it is answered."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import h2.config
import h2.connection
import h2.events
import h2.settings
from story_tools import House, Peer, open_house
from trio.testing import wait_all_tasks_blocked

Pairs = Iterable[tuple[str, str]]


@dataclass
class Answer:
    """What has come on a stream."""

    status: int = 0
    fields: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    interim: list[int] = field(default_factory=list)
    trailers: list[tuple[str, str]] = field(default_factory=list)
    ended: bool = False
    reset: int | None = None

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.fields if key == name), None)

    @property
    def over(self) -> bool:
        return self.ended or self.reset is not None

    @property
    def brief(self) -> tuple[int, bytes]:
        return self.status, self.body


class Http2Peer:
    """A client on a peer of a house.

    Args:
        peer: the connection.
        gives_credit: content is consumed as it comes; else the windows close.
    """

    def __init__(self, peer: Peer, *, gives_credit: bool = True) -> None:
        config = h2.config.H2Configuration(
            client_side=True,
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
            header_encoding="latin-1",
        )
        self.peer = peer
        self.conn = h2.connection.H2Connection(config)
        self.gives_credit = gives_credit
        self.streams: dict[int, Answer] = {}
        self.goaways: list[tuple[int, int]] = []
        self.pings: list[bytes] = []
        self._read = 0

    async def greet(self, settings: dict[int, int] | None = None) -> Http2Peer:
        """The preface, SETTINGS, and what the server says to it."""
        if settings:
            self.conn.local_settings = h2.settings.Settings(client=True, initial_values=settings)
        self.conn.initiate_connection()
        await self.flush()
        return self

    async def flush(self) -> None:
        """Sends what there is, and reads what there is to that."""
        await self.peer.say(self.conn.data_to_send())
        await self.read()

    async def read(self) -> None:
        """Takes what was heard; sends what that makes necessary."""
        while data := self._frames():
            for event in self.conn.receive_data(data):
                self._take(event)
            if (owed := self.conn.data_to_send()) and self.peer.ended_at is None:
                await self.peer.say(owed)

    def _frames(self) -> bytes:
        """The frames that have come whole; a GOAWAY is kept from h2, which would take nothing behind it."""
        heard, frames = self.peer.heard, []
        while len(heard) - self._read >= 9:
            length = int.from_bytes(heard[self._read : self._read + 3], "big")
            end = self._read + 9 + length
            if end > len(heard):
                break
            frame, self._read = heard[self._read : end], end
            if frame[3] == 7:
                self.goaways.append((int.from_bytes(frame[9:13], "big"), int.from_bytes(frame[13:17], "big")))
            else:
                frames.append(frame)
        return b"".join(frames)

    def dare(self) -> None:
        """From now on it opens more streams at once than it may."""
        self.conn.remote_settings._settings[3] = deque([10_000])

    def _take(self, event: Any) -> None:
        match event:
            case h2.events.InformationalResponseReceived():
                self.streams[event.stream_id].interim.append(int(dict(event.headers)[":status"]))
            case h2.events.ResponseReceived():
                answer = self.streams[event.stream_id]
                answer.status = int(dict(event.headers)[":status"])
                answer.fields = [pair for pair in event.headers if pair[0] != ":status"]
            case h2.events.StreamReset() if event.remote_reset:
                self.streams[event.stream_id].reset = int(event.error_code)
            case _:
                self._take_content(event)

    def _take_content(self, event: Any) -> None:
        match event:
            case h2.events.DataReceived():
                self.streams[event.stream_id].body += event.data
                if self.gives_credit and event.flow_controlled_length:
                    self.conn.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            case h2.events.TrailersReceived():
                self.streams[event.stream_id].trailers = list(event.headers)
            case h2.events.StreamEnded():
                self.streams[event.stream_id].ended = True
            case h2.events.PingAckReceived():
                self.pings.append(event.ping_data)
            case _:
                pass

    def ask(
        self,
        path: str = "/",
        *,
        method: str = "GET",
        fields: Pairs = (),
        body: bytes | None = None,
        end: bool = True,
        pseudo: Pairs = (),
    ) -> int:
        """Puts a request, and its body, into what :meth:`flush` sends; its number."""
        number = self.conn.get_next_available_stream_id()
        head = [(":method", method), (":scheme", "http"), (":authority", "h"), (":path", path), *pseudo, *fields]
        self.conn.send_headers(number, head, end_stream=end and body is None)
        self.streams[number] = Answer()
        if body is not None:
            self.send(number, body, end=end)
        return number

    def send(self, number: int, data: bytes, *, end: bool = False) -> None:
        """Puts content into what is sent."""
        for at in range(0, len(data), 16384):
            self.conn.send_data(number, data[at : at + 16384])
        if end:
            self.conn.end_stream(number)

    def cancel(self, number: int, code: int = 8) -> None:
        """Takes a request back."""
        self.conn.reset_stream(number, code)

    async def until(self, done: Callable[[], bool]) -> None:
        """Reads until something is so."""
        await self.read()
        while not done():
            if self.peer.ended_at is not None:
                raise AssertionError(f"the connection has ended: {self.streams}, {self.goaways}")
            await self.peer.news()
            await self.read()

    async def answer(self, number: int) -> Answer:
        """The answer to a request, when it is over."""
        await self.until(lambda: self.streams[number].over)
        return self.streams[number]

    async def get(self, path: str = "/", **options: Any) -> Answer:
        """Asks, and waits for the answer."""
        number = self.ask(path, **options)
        await self.flush()
        return await self.answer(number)

    async def end(self) -> float:
        """Waits until the server has closed, and says when that was."""
        while self.peer.ended_at is None:
            await self.peer.news()
        await wait_all_tasks_blocked()
        await self.read()
        return self.peer.ended_at


@asynccontextmanager
async def open_http2(handler: Any, kind: str = "memory", **settings: Any) -> AsyncIterator[tuple[House, Http2Peer]]:
    """A house, and a peer in it that has greeted it."""
    async with open_house(handler, tcp=kind == "tcp", **settings) as house:
        yield house, await Http2Peer(house.meet(kind)).greet()
