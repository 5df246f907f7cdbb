"""What observers are told of WebSockets. Who they are, and what of requests, is in :mod:`.observe`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

from ..messages.request import Request
from .of_request import OfRequest

Side: TypeAlias = Literal["peer", "server", "nobody"]
MessageKind: TypeAlias = Literal["text", "binary"]


class _Opened(NamedTuple):
    request: Request
    subprotocol: str | None
    compressed: bool
    system_time: float
    counts: Sequence[int] = (0, 0)


class WebSocketOpened(_Opened, OfRequest):
    """A WebSocket was accepted.

    Attributes:
        request: the request that it began with.
        subprotocol: what was agreed, or None.
        compressed: whether permessage-deflate was agreed (RFC 7692).
        system_time: when.
        counts: messages that its handler has taken, and sent, up to the moment at which you look: they go on counting.
    """

    __slots__ = ()


class _Message(NamedTuple):
    request: Request
    kind: MessageKind
    size: int
    system_time: float


class WebSocketMessage(_Message, OfRequest):
    """A message was taken by the handler, or sent to its end.

    Attributes:
        request: the request that the WebSocket began with.
        kind: ``"text"`` or ``"binary"``.
        size: octets of its content, not compressed; of a text as UTF-8.
        system_time: when.
    """

    __slots__ = ()


class _Refused(NamedTuple):
    request: Request
    status: int | None
    reason: str
    system_time: float


class WebSocketRefused(_Refused, OfRequest):
    """A handshake came to nothing.

    Attributes:
        request: the request.
        status: what the peer is answered; None when it is answered nothing, or what the end of its request makes of it.
        reason: ``"handshake"`` (it is none, or a wrong one), ``"origin"`` (from a page that may not connect),
            ``"rejected"`` (by the handler), ``"error"`` (the handler failed, or did not decide), ``"gone"`` (the peer
            left) or ``"cancelled"`` (time was up, or the server went down).
        system_time: when.
    """

    __slots__ = ()


class _Closed(NamedTuple):
    request: Request
    code: int
    reason: str
    by: Side
    received: int
    sent: int
    duration: float


class WebSocketClosed(_Closed, OfRequest):
    """A WebSocket is over.

    Attributes:
        request: the request that it began with.
        code: of the close (RFC 6455 section 7.4); 1005 for a close without one, 1006 where there was no close frame.
        reason: the words that came with it, or went; ``""`` without any. Those of a peer are its own.
        by: who was first to end it: ``"peer"``, ``"server"`` (its handler, a drain, a peer that broke a rule or did not
            answer) or ``"nobody"``, where the connection was lost.
        received: messages that the handler has taken.
        sent: messages that were sent to their end.
        duration: seconds since it was accepted.
    """

    __slots__ = ()
