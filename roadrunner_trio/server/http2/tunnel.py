"""A stream of HTTP/2 as one of Trio's: what a CONNECT becomes once it is answered (RFC 9113 section 8.5, RFC 8441)."""

from __future__ import annotations

from typing import Final, Protocol

import trio

from ...protocol.http2.engine import Http2Engine, Stream
from .writer import Writer

CLOSED: Final = "this stream is closed"


class Tunnelled(Protocol):
    """The exchange that a tunnel stands on."""

    stream: Stream
    engine: Http2Engine
    writer: Writer

    @property
    def gone(self) -> bool:
        """Whether nothing more comes, or can be sent."""
        ...

    def has_read(self) -> None:
        """Octets were taken, whose time is over; the peer may send as many."""
        ...

    async def send_content(self, data: bytes | memoryview) -> None:
        """Sends octets, when the windows let them through."""
        ...

    def cut_content(self) -> None:
        """Whoever sends is to do so no more; what the peer has is not the whole, and it is told so."""
        ...

    async def await_content(self) -> None:
        """Until something has come."""
        ...

    def wake_readers(self) -> None:
        """Whoever waits for content looks again."""
        ...


class Tunnel(trio.abc.HalfCloseableStream):
    """Both ways, each to its own end, within the peer's windows.

    Args:
        exchange: what it stands on, until its handler has ended.
    """

    def __init__(self, exchange: Tunnelled) -> None:
        self._exchange = exchange
        self._stream = exchange.stream
        self._sending = self._receiving = self._closed = self._eof_sent = False

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """What has come, at most ``max_bytes``; ``b""`` when the peer has ended its half.

        Raises:
            trio.BusyResourceError: another task is receiving.
            trio.BrokenResourceError: the stream was reset, or has lost its connection.
            trio.ClosedResourceError: it is closed.
        """
        if max_bytes is not None and max_bytes < 1:
            raise ValueError("max_bytes must be at least 1")
        if self._receiving:
            raise trio.BusyResourceError("another task is receiving from this stream")
        self._receiving = True
        try:
            await trio.lowlevel.checkpoint()
            while True:
                self._check_open()
                if data := self._exchange.engine.take_body(self._stream, max_bytes):
                    self._exchange.has_read()
                    return data
                if self._stream.ended:
                    return b""
                if self._exchange.gone:
                    raise trio.BrokenResourceError("the stream was reset")
                if self._exchange.engine.over:
                    raise trio.BrokenResourceError("the connection has ended, and the stream has not")
                await self._exchange.await_content()
        finally:
            self._receiving = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Sends all of ``data``.

        Raises:
            trio.BusyResourceError: another task is sending.
            trio.BrokenResourceError: the stream was reset, or the peer does not take it.
            trio.ClosedResourceError: it is closed, meanwhile or before, or :meth:`send_eof` was called.
        """
        if self._sending:
            raise trio.BusyResourceError("another task is sending on this stream")
        self._sending = True
        try:
            await trio.lowlevel.checkpoint()
            self._check_open()
            if self._eof_sent:
                raise trio.ClosedResourceError("send_eof was called on this stream")
            if data:
                await self._exchange.send_content(bytes(data))
        except trio.BrokenResourceError:
            self._check_open()
            raise
        finally:
            self._sending = False

    async def wait_send_all_might_not_block(self) -> None:
        """Returns at once: what has to wait does so in :meth:`send_all`."""
        if self._sending:
            raise trio.BusyResourceError("another task is sending on this stream")
        await trio.lowlevel.checkpoint()
        self._check_open()

    async def send_eof(self) -> None:
        """Ends our half; the peer can still send."""
        if self._sending:
            raise trio.BusyResourceError("another task is sending on this stream")
        await trio.lowlevel.checkpoint()
        self._check_open()
        if not self._eof_sent:
            self._eof_sent = True
            self._exchange.engine.send_data(self._stream, b"", True)
            self._exchange.writer.soon()

    async def aclose(self) -> None:
        """Ends our half, if that is not done; what the peer still sends is not taken.

        While a task sends the stream is reset: an end would say that what has gone out is all.
        """
        if not self._closed:
            self._closed = True
            if self._exchange.stream is self._stream and self._sending:
                self._exchange.cut_content()
            elif self._exchange.stream is self._stream and not self._eof_sent:
                self._exchange.engine.send_data(self._stream, b"", True)
                self._exchange.writer.soon()
            self._exchange.wake_readers()
        await trio.lowlevel.checkpoint()

    def _check_open(self) -> None:
        if self._closed or self._exchange.stream is not self._stream:
            raise trio.ClosedResourceError(CLOSED)
