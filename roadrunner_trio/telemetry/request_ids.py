"""Where the id of a request comes from, when a trusted peer gives one, and how peers are told.

Without this, an id is 16 hexadecimal digits of the server's own, and stays in its logs and events.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from ..fields import is_token
from ..messages.exchange import Exchange
from ..protocol.trust import Networks

_acceptable = re.compile(rb"[!#-\[\]-~]{1,128}").fullmatch
"""Visible ASCII without quote and backslash: it needs no escaping in a log."""


class RequestIds:
    """Takes request ids from trusted peers, and tells every peer the id of its request.

    An id is taken when the field stands once in a request and is 1 to 128 visible ASCII characters, without ``"`` and
    ``\\``; else the server makes its own, as for anybody who is not trusted. Ids that peers give are as unique as they
    make them. Trusted is who is at the other end of the connection, not whom it speaks for.

    Args:
        header: the name of the field, in requests and in responses.
        trust: networks of peers whose ids are taken, such as ``"10.0.0.0/8"`` or ``"unix"``; by default none.
        echo: whether responses carry the field, unless the application has set it itself.

    Raises:
        ValueError: the name is no token, or one of the networks is none; or there is nothing to do.
    """

    def __init__(self, header: str = "x-request-id", *, trust: str | Iterable[str] = (), echo: bool = True) -> None:
        self._name = header.lower().encode("latin-1")
        if not is_token(self._name):
            raise ValueError(f"a field name is a token, not {header!r}")
        networks = (trust,) if isinstance(trust, str) else tuple(trust)
        if not networks and not echo:
            raise ValueError("RequestIds that trusts nobody and echoes nothing does nothing")
        self._trusted = Networks(networks) if networks else None
        self._echo = echo

    def __call__(self, exchange: Exchange) -> None:
        """Called by the server when a head has been read."""
        request = exchange.request
        if self._trusted is not None and self._trusted.holds(request.peer):
            given = [value for name, value in request.fields if name == self._name]
            if len(given) == 1 and _acceptable(given[0]):
                request.request_id = given[0].decode("ascii")
        if self._echo:
            exchange.extra = (*exchange.extra, (self._name, request.request_id.encode("ascii")))
