"""A WebSocket's peer, for tests: trio-websocket's client, as something to iterate."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, cast

import h11
import trio
from trio_websocket import CloseReason, ConnectionClosed, WebSocketConnection, wrap_client_stream

from ..fields import Field
from ..protocol.ws.handshake import GUID
from ..transport.streams import PrefixedStream
from .nurseries import plain_nursery

_KEY: Final = re.compile(rb"sec-websocket-key: *(\S+)", re.IGNORECASE).search
FAREWELL: Final = 10.0
"""Seconds in which the server may answer a close."""


class ClientWebSocket:
    """The peer's end of a WebSocket. Iterate over what the server says, until it closes."""

    def __init__(self, connection: WebSocketConnection, stream: trio.abc.Stream) -> None:
        self._connection, self._stream = connection, stream

    @property
    def subprotocol(self) -> str | None:
        """The one that the server has chosen."""
        return self._connection.subprotocol

    @property
    def closed(self) -> CloseReason | None:
        """Why it was closed; None while it is open."""
        return self._connection.closed

    async def send_message(self, message: str | bytes) -> None:
        """Sends a text or a binary message.

        Raises:
            trio_websocket.ConnectionClosed: it is closed.
        """
        await self._connection.send_message(message)

    async def get_message(self) -> str | bytes:
        """The next message.

        Raises:
            trio_websocket.ConnectionClosed: there is none; ``closed`` says why.
        """
        return await self._connection.get_message()

    async def send_json(self, value: Any) -> None:
        """Sends a value as a text message."""
        await self.send_message(json.dumps(value))

    async def get_json(self) -> Any:
        """The next message, as the value that it stands for."""
        return json.loads(await self.get_message())

    def __aiter__(self) -> ClientWebSocket:
        return self

    async def __anext__(self) -> str | bytes:
        try:
            return await self.get_message()
        except ConnectionClosed:
            raise StopAsyncIteration from None

    async def aclose(self, code: int = 1000, reason: str | None = None) -> None:
        """Closes it in order."""
        await self._connection.aclose(code, reason)

    async def disconnect(self) -> None:
        """Vanishes, without a word."""
        await trio.aclose_forcefully(self._stream)


@asynccontextmanager
async def open_websocket(
    stream: trio.abc.Stream, host: str, target: str, subprotocols: Sequence[str], fields: Sequence[Field]
) -> AsyncGenerator[ClientWebSocket, None]:
    """Shakes hands on a stream; closes in order at the end of the block, and the stream in any case.

    Raises:
        trio_websocket.ConnectionRejected: the answer was no.
        h11.RemoteProtocolError: there was none, or it broke off.
    """
    async with plain_nursery() as nursery:
        try:
            connection: WebSocketConnection | None = None
            with trio.CancelScope() as asking:
                connection = await wrap_client_stream(
                    nursery,
                    cast(trio.SocketStream, _Ending(stream, asking)),  # any stream will do
                    host,
                    target,
                    subprotocols=list(subprotocols) or None,
                    extra_headers=list(fields),
                )
            if connection is None:
                raise h11.RemoteProtocolError("the server has not answered the handshake, or its answer broke off")
            yield ClientWebSocket(connection, stream)
            with trio.move_on_after(FAREWELL):
                await connection.aclose()
        finally:
            await trio.aclose_forcefully(stream)
            nursery.cancel_scope.cancel(reason="the conversation is over")


class _Ending(PrefixedStream):
    """A stream that ends who asks when it does: trio-websocket would wait on for the rest of an answer."""

    def __init__(self, stream: trio.abc.Stream, asking: trio.CancelScope) -> None:
        super().__init__(b"", stream)
        self._asking = asking

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """The stream's own."""
        data: bytes | bytearray = b""
        try:
            data = await super().receive_some(max_bytes)
        finally:
            if not data:
                self._asking.cancel(reason="no more of an answer comes")
        return data


def connect_fields(subprotocols: Sequence[str], fields: Sequence[Field]) -> list[Field]:
    """Those of an extended CONNECT that asks for a WebSocket (RFC 8441 section 5)."""
    asked: list[Field] = [(b"sec-websocket-version", b"13")]
    if subprotocols:
        asked.append((b"sec-websocket-protocol", ", ".join(subprotocols).encode("ascii")))
    return [*asked, *fields]


class AsUpgraded(trio.abc.Stream):
    """A stream of HTTP/2 as a library sees it that knows WebSockets as an upgrade of HTTP/1.1 only.

    What it says first is its request, which has been answered in the other version already: it is told so in its own.

    Args:
        stream: the stream; None where the answer was no.
        status: of the answer,
        fields: its fields,
        content: and its content, where it was no.
    """

    def __init__(self, stream: trio.abc.Stream | None, status: int, fields: Sequence[Field], content: bytes) -> None:
        self._stream = stream
        self._fields = [field for field in fields if field[0] not in (b"content-length", b"transfer-encoding")]
        self._status, self._content = status, content
        self._answer = b""
        self._asked = trio.Event()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """The request, which is answered; then whatever the other side is to have."""
        if not self._asked.is_set():
            self._answer = self._answered(_KEY(bytes(data)))
            self._asked.set()
        elif self._stream is not None:
            await self._stream.send_all(data)
            return
        await trio.lowlevel.checkpoint()

    def _answered(self, key: re.Match[bytes] | None) -> bytes:
        said = b"".join([b"%b: %b\r\n" % field for field in self._fields])
        if self._stream is None:
            length = len(self._content)
            return b"HTTP/1.1 %d \r\n%bcontent-length: %d\r\n\r\n" % (self._status, said, length) + self._content
        accept = base64.b64encode(hashlib.sha1(key[1] + GUID).digest()) if key else b""
        switching = b"upgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: " + accept
        return b"HTTP/1.1 101 \r\n%b%b\r\n\r\n" % (said, switching)

    async def wait_send_all_might_not_block(self) -> None:
        """Returns at once: what has to wait does so in :meth:`send_all`."""
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """The answer, then what the other side says."""
        await self._asked.wait()
        if answer := self._answer:
            self._answer = b""
            return answer
        return b"" if self._stream is None else bytes(await self._stream.receive_some(max_bytes))

    async def aclose(self) -> None:
        """Closes the stream."""
        if self._stream is not None:
            await self._stream.aclose()
