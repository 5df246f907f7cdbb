"""Requests that came through trusted proxies: their peer, scheme and host are those that the proxies tell of."""

from __future__ import annotations

from collections.abc import Callable

from ..messages.exchange import Exchange
from ..protocol.trust import ProxyHeaders


def believe(headers: ProxyHeaders) -> Callable[[Exchange], None]:
    """What is done with each request head: nothing, unless it came from one of the proxies."""

    def step(exchange: Exchange) -> None:
        request = exchange.request
        if not headers.trusts(request.peer):
            return
        peer, scheme, host = headers.origin(request.fields)
        if peer is not None:
            request.peer = peer
        if scheme is not None:
            request.scheme = scheme
        if host is not None:
            request.head = request.head._replace(host=host)

    return step
