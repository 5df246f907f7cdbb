"""The opening handshake as a server judges it (RFC 6455 section 4.2): an error that says what is wrong, or an offer."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from typing import Final

from ...errors import HTTPError
from ...fields import Field, Fields, is_token, tokens
from ..heads import RequestHead
from .extensions import Offer, parse_offers

GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
VERSION: Final = b"13"
PREFIX: Final = b"sec-websocket-"

WANTED: Final = (
    (b"upgrade", b"websocket"),
    (b"connection", b"upgrade"),
    (PREFIX + b"version", VERSION),
)
"""Fields of a 426 (RFC 9110 section 15.5.22, RFC 6455 section 4.4)."""

RESERVED: Final = frozenset(
    {
        b"connection",
        b"content-length",
        b"sec-websocket-accept",
        b"sec-websocket-extensions",
        b"sec-websocket-protocol",
        b"transfer-encoding",
        b"upgrade",
    }
)
"""Fields of the 101 that are the server's own."""

_is_key = re.compile(rb"[A-Za-z0-9+/]{22}==").fullmatch


@dataclass(frozen=True, slots=True)
class Handshake:
    """What a peer asks for.

    Attributes:
        key: Sec-WebSocket-Key; none where an extended CONNECT asks (RFC 8441 section 5).
        subprotocols: in the peer's order of preference.
        offers: extensions, likewise.
    """

    key: bytes
    subprotocols: tuple[str, ...]
    offers: tuple[Offer, ...]

    def fields(self, subprotocol: str | None, extensions: bytes | None) -> list[Field]:
        """The fields of the 101 (RFC 6455 section 4.2.2)."""
        fields: list[Field] = []
        if self.key:
            accept = base64.b64encode(hashlib.sha1(self.key + GUID, usedforsecurity=False).digest())
            fields = [(b"upgrade", b"websocket"), (b"connection", b"Upgrade"), (PREFIX + b"accept", accept)]
        if subprotocol is not None:
            fields.append((PREFIX + b"protocol", subprotocol.encode("ascii")))
        if extensions is not None:
            fields.append((PREFIX + b"extensions", extensions))
        return fields


def judge(head: RequestHead) -> Handshake:
    """The handshake in a request.

    Raises:
        HTTPError: 400, 405 or 426 (RFC 6455 sections 4.2.1, 4.4).
    """
    fields = head.fields
    if any(name.startswith(PREFIX) and not value.isascii() for name, value in fields):
        raise HTTPError(400, "Sec-WebSocket fields are ASCII.\n")
    if head.method != b"GET":
        raise HTTPError(405, "A WebSocket begins with GET.\n", fields=[(b"allow", b"GET")])
    if head.protocol:
        return _extended(head)
    upgrades = b"websocket" in tokens(fields, b"upgrade") and b"upgrade" in tokens(fields, b"connection")
    if not upgrades or head.version < (1, 1):
        raise HTTPError(426, "Here is a WebSocket.\n", fields=WANTED)
    if _values(fields, b"version") != [VERSION]:
        raise HTTPError(426, "Here are WebSockets of version 13.\n", fields=WANTED)
    keys = _values(fields, b"key")
    if len(keys) != 1 or not _is_key(keys[0]):
        raise HTTPError(400, "Sec-WebSocket-Key is 16 octets in base64, once.\n")
    return Handshake(keys[0], _subprotocols(fields), _offers(fields))


def _extended(head: RequestHead) -> Handshake:
    """Of an extended CONNECT, which is a GET here: neither a key nor an upgrade (RFC 8441 section 5)."""
    if head.protocol != b"websocket" or _values(head.fields, b"version") not in ([], [VERSION]):
        raise HTTPError(400, "Here are WebSockets of version 13.\n", fields=WANTED[2:])
    return Handshake(b"", _subprotocols(head.fields), _offers(head.fields))


def _values(fields: Fields, name: bytes) -> list[bytes]:
    return [value for field, value in fields if field == PREFIX + name]


def _subprotocols(fields: Fields) -> tuple[str, ...]:
    members = [member.strip(b" \t") for value in _values(fields, b"protocol") for member in value.split(b",")]
    members = [member for member in members if member]
    if not all(map(is_token, members)):
        raise HTTPError(400, "Sec-WebSocket-Protocol is a list of tokens.\n")
    return tuple(dict.fromkeys(member.decode("ascii") for member in members))


def _offers(fields: Fields) -> tuple[Offer, ...]:
    try:
        return tuple(parse_offers(b",".join(_values(fields, b"extensions"))))
    except ValueError:
        raise HTTPError(400, "Sec-WebSocket-Extensions is not a list of extensions.\n") from None
