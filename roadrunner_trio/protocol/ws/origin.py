"""From which pages a browser may open a WebSocket (RFC 6454, RFC 6455 section 10.2).

An origin is a scheme, a host and a port, however they are written: the port may be left out where it is the scheme's
own, letters may be large or small, and an IPv6 address has more than one form.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from ipaddress import IPv6Address
from typing import Final

DEFAULT_PORTS: Final = {"http": 80, "https": 443, "ws": 80, "wss": 443}
SELF: Final = "self"
NULL: Final = "null"
"""What a browser sends for a page without an origin that means anything (RFC 6454 section 6.1)."""

_serialized = re.compile(r"([a-z][a-z0-9+.-]*)://([^/?#@\s]+)").fullmatch
_authority = re.compile(r"(\[[0-9a-f:.]+\]|[^\[\]:/?#@\s]+)(?::([0-9]{0,5}))?").fullmatch


def check_origins(origins: Iterable[str]) -> frozenset[str]:
    """Origins in one form: ``"self"``, ``"null"``, or a scheme and an authority.

    Raises:
        ValueError: one of them is something else.
    """
    if isinstance(origins, str):
        raise ValueError(f"origins is a list; write [{origins!r}]")
    return frozenset(map(_checked, origins))


def _checked(origin: str) -> str:
    known = origin.lower() if origin.lower() in (SELF, NULL) else canonical(origin)
    if known is None:
        raise ValueError(f"an origin is written as in https://example.org, without a path, not {origin!r}")
    return known


def canonical(origin: str) -> str | None:
    """An origin in the form in which it can be compared; None if it is none."""
    match = _serialized(origin.lower()) if origin.isascii() else None  # browsers write other letters as xn--
    if match is None or (place := _place(match[2], match[1])) is None:
        return None
    return f"{match[1]}://{place}"


def _place(authority: str, scheme: str) -> str | None:
    """Host and port as seen from ``scheme``, whose own port is left out."""
    match = _authority(authority.lower())
    if match is None:
        return None
    host: str = match[1]
    if host.startswith("["):
        try:
            host = f"[{IPv6Address(host[1:-1])}]"
        except ValueError:
            return None
    default = DEFAULT_PORTS.get(scheme)
    port = int(match[2]) if match[2] else default
    if port is not None and port > 65535:
        return None
    return host if port == default else f"{host}:{port}"


def allows(allowed: frozenset[str], origins: Sequence[str], host: str) -> bool:
    """Whether a page may connect. Who names no origin is not a page in a browser.

    Args:
        allowed: by :func:`check_origins`.
        origins: what the request says of it; where that is more than one thing, each has to be allowed.
        host: of the request, with its port; with ``"self"`` the page has to come from there.
    """
    return all(_allows(allowed, origin, host) for origin in origins)


def _allows(allowed: frozenset[str], origin: str, host: str) -> bool:
    if origin == NULL:
        return NULL in allowed
    page = canonical(origin)
    if page is None:
        return False
    if page in allowed:
        return True
    scheme, _, place = page.partition("://")
    return SELF in allowed and place == _place(host, scheme)
