"""Who is let in to the application: not who asks too often, and not more at once than it can bear.

A request that is not let in is answered before its body is read, and the connection lives on: to make a peer that is
told to wait connect again, with another TLS handshake, would be no relief. A gate is made only for listeners that
have something to keep out, and costs the others nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Final, NamedTuple

import trio

from ..messages.request import Request
from .rate_limit import Buckets, RateLimit, peer_key

RETRY: Final = 1
"""Seconds after which a peer may try again that met a server with too much to do."""


class Refusal(NamedTuple):
    """Why a request is not let in, and what its peer is answered."""

    reason: str
    status: int
    retry_after: int
    """Seconds, at least 1 (RFC 9110 section 10.2.3)."""


class Gate:
    """What a listener lets in. As a context manager, it counts one request that is in the application.

    Args:
        rate: requests that one peer may make; None is any number.
        most: requests in the application at once, whoever they are from; None is any number. A stream and a WebSocket
            count for as long as they last.
        spared: says of a request that it is let in whatever happens.
    """

    def __init__(
        self, rate: RateLimit | None, most: int | None, spared: Callable[[Request], bool] | None = None
    ) -> None:
        self._buckets = None if rate is None else Buckets(rate)
        self._most = most
        self._spared = spared
        self.inside = 0

    def spares(self, request: Request) -> bool:
        """Whether a request is nobody's business here: how a server is, is asked most when it has much to do."""
        return self._spared is not None and self._spared(request)

    def knock(self, request: Request) -> Refusal | None:
        """Whether a request whose head has come may have its body read; it counts against its peer's rate."""
        if self.is_full:
            return FULL
        if self._buckets is not None and isinstance(request.peer, tuple):
            wait = self._buckets.take(peer_key(request.peer[0]), trio.current_time())
            if wait:
                return Refusal("rate_limit", 429, wait)
        return None

    @property
    def is_full(self) -> bool:
        """Whether as many are in the application as may be."""
        return self._most is not None and self.inside >= self._most

    def __enter__(self) -> None:
        self.inside += 1

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.inside -= 1


FULL: Final = Refusal("max_concurrent_requests", 503, RETRY)


def gate(rate: RateLimit | None, most: int | None, spared: Callable[[Request], bool] | None = None) -> Gate | None:
    """A gate, if there is anything to keep out."""
    return None if rate is None and most is None else Gate(rate, most, spared)
