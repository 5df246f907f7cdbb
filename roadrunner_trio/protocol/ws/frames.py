"""Frames as octets, and what a peer's frames come to: the events of a session."""

from __future__ import annotations

import enum
import struct
from typing import Final, NamedTuple, cast

CONTINUATION: Final = 0x0
TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA

FIN: Final = 0x80
RSV1: Final = 0x40
MASKED: Final = 0x80

MAX_CONTROL: Final = 125
"""Octets of payload in a control frame (RFC 6455 section 5.5)."""
MAX_REASON: Final = MAX_CONTROL - 2
"""Octets of the reason in a close frame."""

NORMAL: Final = 1000
GOING_AWAY: Final = 1001
PROTOCOL_ERROR: Final = 1002
NO_STATUS: Final = 1005
ABNORMAL: Final = 1006
INVALID_PAYLOAD: Final = 1007
POLICY: Final = 1008
TOO_BIG: Final = 1009
INTERNAL_ERROR: Final = 1011
TRY_AGAIN_LATER: Final = 1013

SENDABLE: Final = frozenset({*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)})
"""Close codes that may be on the wire (RFC 6455 section 7.4, and IANA's registry)."""

SHORT: Final = 125
"""Up to so many octets of payload a frame has them counted in its second octet (RFC 6455 section 5.2)."""
_SHORT_HEADS: Final = {
    first: [bytes((first, size)) for size in range(SHORT + 1)] for first in (FIN | TEXT, FIN | BINARY, FIN | PONG)
}


class Signal(enum.Enum):
    """What a decoder says in place of an event."""

    NEED_DATA = "need data"
    LATER = "later"


NEED_DATA: Final = Signal.NEED_DATA
LATER: Final = Signal.LATER
"""There is more, but this peer has had its turn."""


class Ping(NamedTuple):
    """A ping; its payload is owed back."""

    payload: bytes


class Pong(NamedTuple):
    """A pong."""

    payload: bytes


class Close(NamedTuple):
    """The peer's close frame; the code is 1005 when it had none."""

    code: int
    reason: str


class Piece(NamedTuple):
    """A part of a message that is taken in pieces."""

    data: str | bytes
    last: bool


class Violation(NamedTuple):
    """The last event of a peer that broke the protocol or a limit: the code that it is told, and why."""

    code: int
    reason: str


def encode(opcode: int, payload: bytes, *, first_bits: int = FIN) -> bytes:
    """A server's frame: unmasked, in the shortest form (RFC 6455 section 5.2).

    Args:
        first_bits: FIN and RSV1, as they stand in the first octet.
    """
    size = len(payload)
    if size <= SHORT:
        heads = _SHORT_HEADS.get(first_bits | opcode)
        return (bytes((first_bits | opcode, size)) if heads is None else heads[size]) + payload
    return header(opcode, size, first_bits=first_bits) + payload


def header(opcode: int, size: int, *, first_bits: int = FIN) -> bytes:
    """What stands before ``size`` octets of payload; see :func:`encode`."""
    if size <= SHORT:
        return bytes((first_bits | opcode, size))
    if size < 65536:
        return struct.pack("!BBH", first_bits | opcode, 126, size)
    return struct.pack("!BBQ", first_bits | opcode, 127, size)


def encode_close(code: int, reason: str = "") -> bytes:
    """A close frame. A reason that is too long is cut between two characters; 1005 makes it an empty one.

    Raises:
        ValueError: the code may not be sent, or the reason is no text that UTF-8 has.
        TypeError: the reason is no text.
    """
    if not isinstance(cast("object", reason), str):
        raise TypeError(f"the reason of a close is text, not {type(reason).__name__}")
    if code == NO_STATUS:
        return encode(CLOSE, b"")
    if not isinstance(cast("object", code), int) or code not in SENDABLE:
        raise ValueError(f"{code} is no close code that may be sent (RFC 6455 section 7.4)")
    text = reason.encode()[:MAX_REASON].decode(errors="ignore")
    return encode(CLOSE, struct.pack("!H", code) + text.encode())


def read_close(payload: bytes) -> Close | Violation:
    """What a close frame says (RFC 6455 section 5.5.1)."""
    if not payload:
        return Close(NO_STATUS, "")
    if len(payload) == 1:
        return Violation(PROTOCOL_ERROR, "a close frame with one octet")
    code = int.from_bytes(payload[:2], "big")
    if code not in SENDABLE:
        return Violation(PROTOCOL_ERROR, "a close code that may not be sent")
    try:
        return Close(code, payload[2:].decode())
    except UnicodeDecodeError:
        return Violation(INVALID_PAYLOAD, "a close reason that is not UTF-8")
