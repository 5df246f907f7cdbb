"""A WebSocket's peer, for tests: trio-websocket's client, as something to iterate."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, cast

import trio
from trio_websocket import CloseReason, ConnectionClosed, WebSocketConnection, wrap_client_stream

from ..fields import Field
from .nurseries import plain_nursery

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
    """Shakes hands on a stream; closes in order at the end of the block, and the stream in any case."""
    async with plain_nursery() as nursery:
        try:
            connection = await wrap_client_stream(
                nursery,
                cast(trio.SocketStream, stream),  # any stream will do
                host,
                target,
                subprotocols=list(subprotocols) or None,
                extra_headers=list(fields),
            )
            yield ClientWebSocket(connection, stream)
            with trio.move_on_after(FAREWELL):
                await connection.aclose()
        finally:
            await trio.aclose_forcefully(stream)
            nursery.cancel_scope.cancel(reason="the conversation is over")
