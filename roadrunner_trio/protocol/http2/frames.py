"""Frames (RFC 9113 sections 4 and 6): their types, flags, settings and error codes, and how they are written."""

from __future__ import annotations

from collections.abc import Iterable
from struct import Struct
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a peer begins with (RFC 9113 section 3.4)."""

HEADER: Final = Struct(">IBI")
"""Length (24 bits) and type (8), flags, and the stream's number below a bit that is ignored."""
HEADER_SIZE: Final = HEADER.size
MAX_FRAME: Final = 16_384
"""Octets of a frame's payload, both ways: what every peer takes (RFC 9113 section 4.2)."""
MAX_WINDOW: Final = 2**31 - 1
MAX_STREAM: Final = 2**31 - 1
DEFAULT_WINDOW: Final = 65_535

DATA: Final = 0x0
HEADERS: Final = 0x1
PRIORITY: Final = 0x2
RST_STREAM: Final = 0x3
SETTINGS: Final = 0x4
PUSH_PROMISE: Final = 0x5
PING: Final = 0x6
GOAWAY: Final = 0x7
WINDOW_UPDATE: Final = 0x8
CONTINUATION: Final = 0x9
PRIORITY_UPDATE: Final = 0x10
"""RFC 9218 section 7.1."""

ACK: Final = 0x1
END_STREAM: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
PRIORITIZED: Final = 0x20

HEADER_TABLE_SIZE: Final = 0x1
ENABLE_PUSH: Final = 0x2
MAX_CONCURRENT_STREAMS: Final = 0x3
INITIAL_WINDOW_SIZE: Final = 0x4
MAX_FRAME_SIZE: Final = 0x5
MAX_HEADER_LIST_SIZE: Final = 0x6
ENABLE_CONNECT_PROTOCOL: Final = 0x8
"""RFC 8441 section 3."""
NO_RFC7540_PRIORITIES: Final = 0x9
"""RFC 9218 section 2.1."""

NO_ERROR: Final = 0x0
PROTOCOL_ERROR: Final = 0x1
INTERNAL_ERROR: Final = 0x2
FLOW_CONTROL_ERROR: Final = 0x3
SETTINGS_TIMEOUT: Final = 0x4
STREAM_CLOSED: Final = 0x5
FRAME_SIZE_ERROR: Final = 0x6
REFUSED_STREAM: Final = 0x7
CANCEL: Final = 0x8
COMPRESSION_ERROR: Final = 0x9
CONNECT_ERROR: Final = 0xA
ENHANCE_YOUR_CALM: Final = 0xB
INADEQUATE_SECURITY: Final = 0xC
HTTP_1_1_REQUIRED: Final = 0xD

SETTING: Final = Struct(">HI")
NUMBER: Final = Struct(">I")


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """A whole frame; ``payload`` is no longer than :data:`MAX_FRAME`."""
    return HEADER.pack(len(payload) << 8 | kind, flags, stream) + payload


def settings(pairs: Iterable[tuple[int, int]]) -> bytes:
    """SETTINGS (section 6.5)."""
    return frame(SETTINGS, 0, 0, b"".join([SETTING.pack(*pair) for pair in pairs]))


def rst_stream(stream: int, code: int) -> bytes:
    """RST_STREAM (section 6.4)."""
    return frame(RST_STREAM, 0, stream, NUMBER.pack(code))


def window_update(stream: int, octets: int) -> bytes:
    """WINDOW_UPDATE, of the connection's window for stream 0 (section 6.9)."""
    return frame(WINDOW_UPDATE, 0, stream, NUMBER.pack(octets))


def goaway(last: int, code: int) -> bytes:
    """GOAWAY without debug data (section 6.8)."""
    return frame(GOAWAY, 0, 0, NUMBER.pack(last) + NUMBER.pack(code))


def headers(stream: int, block: bytes, flags: int) -> bytes:
    """HEADERS with ``block``, and CONTINUATION with what one frame does not hold (sections 6.2, 6.10)."""
    if len(block) <= MAX_FRAME:
        return frame(HEADERS, flags | END_HEADERS, stream, block)
    pieces = [block[at : at + MAX_FRAME] for at in range(0, len(block), MAX_FRAME)]
    frames = [frame(CONTINUATION, 0, stream, piece) for piece in pieces[1:-1]]
    first, last = frame(HEADERS, flags, stream, pieces[0]), frame(CONTINUATION, END_HEADERS, stream, pieces[-1])
    return b"".join([first, *frames, last])


def unpadded(payload: bytes) -> bytes | None:
    """What is in a payload with padding (section 6.1); None when there is more padding than payload."""
    if not payload or payload[0] >= len(payload):
        return None
    return payload[1 : len(payload) - payload[0]]
