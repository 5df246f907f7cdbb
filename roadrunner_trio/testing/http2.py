"""HTTP/2 as the client for tests speaks it (RFC 9113): many requests at once, on one connection without a task.

Nobody reads for all: whoever waits for something reads, hands what is not his to whom it belongs, and wakes the others.
So a client is a plain object, and what it does, it does inside of the calls of the test.
"""

from __future__ import annotations

import math
import struct
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

import h11
import trio

from ..fields import Field
from ..protocol.http2 import frames
from ..protocol.http2.blocks import encode
from ..protocol.http2.hpack import CompressionError, Decoder
from ..protocol.http2.tables import STATIC
from ..protocol.wishes import checked
from ..transport.wire import RECEIVE_SIZE
from .talk import HOST, Asked, End, Event, Head, StreamReset

PATIENCE: Final = 10.0
"""Seconds in which a frame that has begun goes out, cancelled or not: half a frame would be the end of all streams."""
GREETING: Final = (
    frames.PREFACE
    + frames.settings([(frames.ENABLE_PUSH, 0)])
    + frames.window_update(0, frames.MAX_WINDOW - frames.DEFAULT_WINDOW)
)
"""All streams together may be sent as much as there is; each by itself what is usual, so that one feels its reader."""
CREDIT: Final = frames.DEFAULT_WINDOW // 2
"""Octets of a stream that are consumed before the server is told."""
LARGE_CREDIT: Final = 2**24
"""The same of the connection."""
LEFT_OUT: Final = frozenset(
    {b"connection", b"host", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"}
)
"""Fields that HTTP/2 says otherwise, or not at all (RFC 9113 section 8.2.2)."""


class Http2Line:
    """A connection, and the requests that are under way on it.

    Args:
        stream: carries it; nobody closes it before the peer wants to leave.

    Attributes:
        connects: whether the server takes extended CONNECT (RFC 8441); None before it has said anything.
    """

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.connects: bool | None = None
        self._talks: dict[int, Http2Talk] = {}
        self._next = 1
        self._most = math.inf  # streams at once
        self._out = bytearray(GREETING)
        self._in = bytearray()
        self._decoder = Decoder(lambda name, value: (name, value), [*reversed(STATIC)])
        self._block: tuple[int, int, bytes] | None = None
        self._window = self._initial = frames.DEFAULT_WINDOW
        self._due = 0
        self._last = math.inf  # that the server will answer
        self._end: str | None = None
        self._turn = trio.Lock()
        self._reading = False
        self._news = trio.lowlevel.ParkingLot()

    # -- what requests need ----------------------------------------------------------------------

    def makes_ready(self) -> bool:
        """Whether it takes another request, as far as is known."""
        return self._end is None and self._last == math.inf

    async def ask(self, asked: Asked) -> Http2Talk:
        """Sends a head, and the content if that is at hand; waits where there are as many as there may be."""
        fields = _head_of(asked)
        if not self.makes_ready():
            raise h11.LocalProtocolError(self._end or "the server takes no more requests on this connection")
        await self.until(lambda: len(self._talks) < self._most)
        number, self._next = self._next, self._next + 2
        talk = self._talks[number] = Http2Talk(self, number, self._initial, tunnel=asked.method == "CONNECT")
        talk.finished = alone = asked.body == b"" and not asked.trailers and not talk.tunnel
        self.put(frames.headers(number, encode(fields), frames.END_STREAM if alone else 0))
        try:
            await self.flush()
            if asked.body is not None and not (alone or talk.tunnel):
                with suppress(trio.BrokenResourceError):  # the server has heard enough
                    await talk.send(asked.body)
                    await talk.finish(asked.trailers)
        except BaseException:
            await talk.leave(frames.CANCEL)
            raise
        return talk

    async def takes_connect(self) -> bool:
        """Whether the server takes extended CONNECT (RFC 8441); waits until it has said so."""
        await self.flush()
        await self.until(lambda: self.connects is not None)
        return bool(self.connects)

    async def until(self, ready: Callable[[], bool]) -> None:
        """Reads until something is so.

        Raises:
            h11.RemoteProtocolError: the server broke the protocol, or has closed the connection.
            trio.BrokenResourceError, trio.ClosedResourceError: the connection is gone.
        """
        while not ready():
            if self._end is not None:
                raise h11.RemoteProtocolError(self._end)
            if self._reading:
                await self._news.park()
                continue
            self._reading = True
            try:
                self._feed(bytes(await self.stream.receive_some(RECEIVE_SIZE)))
            finally:
                self._reading = False
                self._news.unpark_all()
            await self.flush()

    def put(self, frame: bytes) -> None:
        """Puts a frame into what is sent next."""
        self._out += frame

    async def flush(self) -> None:
        """Sends what there is, in whole frames.

        Raises:
            trio.BrokenResourceError, trio.ClosedResourceError: the connection is gone.
        """
        while self._out:
            with trio.move_on_after(PATIENCE, shield=True) as scope:
                async with self._turn:
                    out, self._out = bytes(self._out), bytearray()
                    if out:
                        await self.stream.send_all(out)
            if scope.cancelled_caught:
                self._end = "the server does not take what it is sent"
                raise trio.BrokenResourceError(self._end)

    def room(self, talk: Http2Talk) -> int:
        """Octets of content that may be sent."""
        return min(self._window, talk.window, frames.MAX_FRAME)

    def spend(self, talk: Http2Talk, octets: int) -> None:
        """So many are sent."""
        self._window -= octets
        talk.window -= octets

    def forget(self, talk: Http2Talk) -> None:
        """It is over, for both sides."""
        self._talks.pop(talk.number, None)

    # -- what comes ------------------------------------------------------------------------------

    def _feed(self, data: bytes) -> None:
        try:
            if not data:
                raise h11.RemoteProtocolError("the server has closed the connection")
            self._in += data
            if self.connects is None and len(self._in) > 3 and self._in[3] != frames.SETTINGS:
                raise h11.RemoteProtocolError("the server does not speak HTTP/2")
            while len(self._in) >= frames.HEADER_SIZE:
                size, flags, number = frames.HEADER.unpack_from(self._in)
                kind = size & 0xFF
                end = frames.HEADER_SIZE + (size >> 8)
                if len(self._in) < end:
                    break
                payload = bytes(self._in[frames.HEADER_SIZE : end])
                del self._in[:end]
                self._take(kind, flags, number, payload)
        except (h11.RemoteProtocolError, CompressionError, struct.error, ValueError) as exc:
            self._end = str(exc)

    def _take(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        match kind:
            case frames.DATA:
                self._take_content(number, flags, payload)
            case frames.HEADERS:
                block = (frames.unpadded(payload) or b"") if flags & frames.PADDED else payload
                self._take_block(number, flags, block[5:] if flags & frames.PRIORITIZED else block)
            case frames.CONTINUATION if self._block is not None:
                begun, first, octets = self._block
                self._take_block(begun, first | flags & frames.END_HEADERS, octets + payload)
            case frames.RST_STREAM if (talk := self._talks.pop(number, None)) is not None:
                [talk.reset] = frames.NUMBER.unpack(payload)
            case frames.WINDOW_UPDATE:
                self._take_credit(number, *frames.NUMBER.unpack(payload))
            case frames.SETTINGS | frames.PING | frames.GOAWAY:
                self._take_word(kind, flags, payload)
            case _:
                pass

    def _take_word(self, kind: int, flags: int, payload: bytes) -> None:
        """What is said of the connection as a whole."""
        if kind == frames.GOAWAY:
            self._take_goaway(*[frames.NUMBER.unpack_from(payload, at)[0] for at in (0, 4)])
        elif not flags & frames.ACK:
            if kind == frames.SETTINGS:
                self._take_settings(payload)
            self.put(frames.frame(kind, frames.ACK, 0, payload if kind == frames.PING else b""))

    def _take_credit(self, number: int, octets: int) -> None:
        if not number:
            self._window += octets
        elif (talk := self._talks.get(number)) is not None:
            talk.window += octets

    def _take_content(self, number: int, flags: int, payload: bytes) -> None:
        self._due += len(payload)
        if self._due >= LARGE_CREDIT:
            self.put(frames.window_update(0, self._due))
            self._due = 0
        if (talk := self._talks.get(number)) is None:
            return  # it was given up, and what was under way comes for nobody
        content = (frames.unpadded(payload) or b"") if flags & frames.PADDED else payload
        talk.unread += len(payload) - len(content)
        if content:
            talk.events.append(content)
        if flags & frames.END_STREAM:
            talk.end([])

    def _take_block(self, number: int, flags: int, block: bytes) -> None:
        if not flags & frames.END_HEADERS:
            self._block = number, flags, block
            return
        self._block = None
        fields = self._decoder.decode(block)
        if (talk := self._talks.get(number)) is None:
            return
        if fields and fields[0][0] == b":status":
            talk.events.append(Head(int(fields[0][1]), fields[1:]))
            talk.connected = talk.tunnel and fields[0][1].startswith(b"2")
            fields = []
        if flags & frames.END_STREAM:
            talk.end(fields)

    def _take_settings(self, payload: bytes) -> None:
        self.connects = bool(self.connects)
        for name, value in frames.SETTING.iter_unpack(payload):
            match name:
                case frames.MAX_CONCURRENT_STREAMS:
                    self._most = value
                case frames.INITIAL_WINDOW_SIZE:
                    for talk in self._talks.values():
                        talk.window += value - self._initial
                    self._initial = value
                case frames.ENABLE_CONNECT_PROTOCOL:
                    self.connects = bool(value)
                case _:
                    pass

    def _take_goaway(self, last: int, code: int) -> None:
        self._last = last
        for number in [number for number in self._talks if number > last]:
            self._talks.pop(number).reset = frames.REFUSED_STREAM
        if code != frames.NO_ERROR:
            self._end = f"the server ends the connection: code {code}"


class Http2Talk:
    """A request and its response: a stream.

    Args:
        line: whose stream.
        number: of the stream.
        window: octets of content that may be sent.
        tunnel: whether a 2xx makes a tunnel of it.

    Attributes:
        events: that have come and were not taken.
        unread: octets that came and were not told of.
        finished: all of the request is out,
        ended: and all of the response has come.
        reset: the code of an RST_STREAM that has come.
        connected: it is a tunnel.
    """

    def __init__(self, line: Http2Line, number: int, window: int, *, tunnel: bool) -> None:
        self.number = number
        self.window = window
        self.tunnel = tunnel
        self.events = deque[Event]()
        self.unread = 0
        self.finished = self.ended = self.connected = self.left = False
        self.reset: int | None = None
        self._line = line

    @property
    def over(self) -> bool:
        """Whether there is nothing to be given up."""
        return self.connected or self.left or self.reset is not None or (self.finished and self.ended)

    @property
    def switched(self) -> trio.abc.Stream | None:
        """The tunnel that it has become."""
        return Http2Stream(self) if self.connected else None

    async def send(self, data: bytes) -> None:
        """A piece of the content, as the windows let it through."""
        left = memoryview(data)
        while left:
            await self._line.until(lambda: self._deaf or self._line.room(self) > 0)
            self._check()
            part = left[: self._line.room(self)]
            self._line.spend(self, len(part))
            self._line.put(frames.frame(frames.DATA, 0, self.number, bytes(part)))
            left = left[len(part) :]
            await self._line.flush()

    async def finish(self, trailers: Sequence[Field]) -> None:
        """The end of the content."""
        self._check()
        self.finished = True
        if trailers:
            self._line.put(frames.headers(self.number, encode(checked(trailers)), frames.END_STREAM))
        else:
            self._line.put(frames.frame(frames.DATA, frames.END_STREAM, self.number))
        await self._line.flush()
        self._settle()

    async def next(self) -> Event:
        """What comes next of the response."""
        await self._line.flush()
        await self._line.until(lambda: bool(self.events) or self._deaf)
        if not self.events:
            raise StreamReset(self.reset) if self.reset is not None else trio.ClosedResourceError("it was given up")
        event = self.events.popleft()
        if isinstance(event, bytes):
            self.unread += len(event)
            if self.unread >= CREDIT and not self.ended and not self._deaf:
                self._line.put(frames.window_update(self.number, self.unread))
                self.unread = 0
                await self._line.flush()
        return event

    def end(self, trailers: Sequence[Field]) -> None:
        """The server has said all."""
        self.events.append(End(trailers))
        self.ended = True
        self._settle()

    async def leave(self, code: int) -> None:
        """Gives it up, if there is anything to be given up."""
        if not (self.left or self.reset is not None or (self.finished and self.ended)):
            self.left = True
            self._line.forget(self)
            self._line.put(frames.rst_stream(self.number, code))
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await self._line.flush()

    @property
    def _deaf(self) -> bool:
        """Whether the server takes nothing of it any more."""
        return self.left or self.reset is not None

    def _check(self) -> None:
        if self.finished or self.left:
            raise trio.ClosedResourceError("the request has ended")
        if self._deaf:
            raise trio.BrokenResourceError("the server takes no more of this request")

    def _settle(self) -> None:
        if self.finished and self.ended:
            self._line.forget(self)


class Http2Stream(trio.abc.HalfCloseableStream):
    """A tunnel: what a CONNECT has become.

    Args:
        talk: the request.
    """

    def __init__(self, talk: Http2Talk) -> None:
        self._talk = talk
        self._rest = b""
        self._eof = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Sends all of ``data``."""
        try:
            await self._talk.send(bytes(data))
        except h11.RemoteProtocolError as exc:
            raise trio.BrokenResourceError(str(exc)) from exc

    async def wait_send_all_might_not_block(self) -> None:
        """Returns at once: what has to wait does so in :meth:`send_all`."""
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """What has come; ``b""`` when the server has ended its half."""
        if not self._rest and not self._eof:
            try:
                event = await self._talk.next()
            except h11.RemoteProtocolError as exc:
                raise trio.BrokenResourceError(str(exc)) from exc
            self._eof = isinstance(event, End)
            self._rest = event if isinstance(event, bytes) else b""
        data = self._rest[:max_bytes]
        self._rest = self._rest[len(data) :]
        return data

    async def send_eof(self) -> None:
        """Ends our half."""
        if not self._talk.finished:
            await self._talk.finish(())

    async def aclose(self) -> None:
        """Ends our half, where the server has ended its own; otherwise the stream is reset."""
        talk = self._talk
        if talk.ended and not talk.finished:
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await talk.finish(())
        await talk.leave(frames.CANCEL)
        await trio.lowlevel.checkpoint()


def _head_of(asked: Asked) -> list[Field]:
    """The fields of a request, those that begin with a colon first.

    Raises:
        ValueError: a field that cannot be said.
    """
    fields = checked(asked.fields)
    host = next((value for name, value in fields if name == b"host"), HOST.encode())
    said: list[Field] = [(b":method", asked.method.encode("ascii"))]
    if asked.method == "CONNECT" and not asked.protocol:
        said.append((b":authority", asked.target.encode("ascii")))
    else:
        if asked.protocol:
            said.append((b":protocol", asked.protocol.encode("ascii")))
        said += [(b":scheme", b"http"), (b":authority", host), (b":path", asked.target.encode("ascii"))]
    said += [field for field in fields if field[0] not in LEFT_OUT]
    if asked.body and not any(name == b"content-length" for name, _ in fields):
        said.append((b"content-length", b"%d" % len(asked.body)))
    return said
