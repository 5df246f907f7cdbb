"""Reads the whole body of a request before its handler runs, within what all connections may hold together.

What has come counts, not what is declared: a promise takes no room, else a few peers that promise much and send nothing
would keep everybody's bodies out. The share is given back when the exchange lets go of its request.
"""

from __future__ import annotations

from typing import Protocol

from ..answering.buffers import Share
from ..errors import ProtocolError
from ..protocol.heads import RequestHead


class Gathered(Protocol):
    """What is asked of an exchange, of any version of HTTP."""

    head: RequestHead
    share: Share
    body_done: bool
    spoiled: bool

    async def receive_body(self) -> bytes:
        """The next piece; ``b""`` at the end."""
        ...


async def gather_body(exchange: Gathered) -> bytes:
    """The whole body.

    Raises:
        ProtocolError: 503, when together they would hold more than they may; before a read, if what is declared has no
            room as things are.
    """
    if exchange.head.content_length > exchange.share.room:
        raise no_room(exchange)
    body = await exchange.receive_body()
    if not exchange.body_done:  # most are one piece, and known to be whole
        return await _gather_more(exchange, bytearray(body))
    if not exchange.share.hold(len(body)):
        raise no_room(exchange)
    return body


async def _gather_more(exchange: Gathered, body: bytearray) -> bytes:
    """The rest behind it. Not a list of pieces: of crumbs that is 30 times as large."""
    piece: bytes | bytearray = body
    try:
        while piece:
            if not exchange.share.hold(len(body)):
                raise no_room(exchange)
            body += (piece := await exchange.receive_body())
        return bytes(body)
    finally:
        body.clear()  # what has gone wrong holds this frame for as long as the peer is lingered on


def no_room(exchange: Gathered) -> ProtocolError:
    """What a peer is told whose body cannot be held beside all others'."""
    exchange.spoiled = True
    return ProtocolError(503, "max_buffered")
