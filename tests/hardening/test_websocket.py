"""WebSocket attacks by name: on handshakes, also where there is no WebSocket, and in frames."""

from __future__ import annotations

import pytest
from siege_tools import besiege, cut_three_ways
from vector_tools import load
from websocket_tools import ACCEPT, CONT, PING, TEXT, closing, echo, frame

import websocket_echo
from roadrunner_trio import websocket

UPGRADE = (
    b"GET /echo HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)

FIELDS = {
    "CVE-2026-42544 a subprotocol that is no ASCII": b"Sec-WebSocket-Protocol: \x80\xff\r\n",
    "an extension that is no ASCII": b"Sec-WebSocket-Extensions: \x80\xff\r\n",
    "CVE-2021-32640 an extension of quotes": b'Sec-WebSocket-Extensions: a;b="' + b'\\"' * 3000 + b"\r\n",
    "a key twice": b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
    "a version that nobody speaks": b"Sec-WebSocket-Version: 99\r\n",
    "an origin that is no ASCII": b"Origin: \xff\r\n",
}


@pytest.mark.parametrize("name", FIELDS)
async def test_its_fields_mean_nothing(name, tolls, autojump_clock):
    fates, toll = await besiege(cut_three_ways(UPGRADE + FIELDS[name] + b"\r\n", name))
    assert [fate.statuses for fate in fates] == [(200,)] * 3
    tolls.take("WebSocket handshakes", toll)


@pytest.mark.parametrize("frame", [b"\x81", b"\x81\x82\0\0\0\0hi", b"\x88\x80\0\0\0\0\r\n\r\n"])
async def test_hypercorn_225_frames_behind_one_are_no_request(frame, tolls, autojump_clock):
    """A single octet behind an upgrade has stopped a whole server."""
    fates, toll = await besiege(cut_three_ways(UPGRADE + b"\r\n" + frame, repr(frame)))
    for fate in fates:
        assert fate.served == 1
        assert fate.statuses[1:] in ((), (400,))
    tolls.take("WebSocket handshakes", toll)


# -- frames --------------------------------------------------------------------------------------------


def sized(first: int, size: bytes, payload: bytes = b"x") -> bytes:
    """A frame whose length is said to be ``size``."""
    return bytes([first, size[0] | 0x80]) + size[1:] + bytes(4) + payload


FRAMES: dict[str, tuple[bytes, int]] = {
    "GHSA-rhh8-5xw9-c3gm a frame without a mask": (frame(TEXT, "hi", mask=None), 1002),
    "CVE-2021-21419 a frame of 2^62 octets": (sized(0x82, b"\x7f" + (1 << 62).to_bytes(8)), 1009),
    "CVE-2026-44545 a frame above every limit": (sized(0x82, b"\x7f" + (1 << 31).to_bytes(8)), 1009),
    "CVE-2026-42786 fragments that never end": (frame(TEXT, fin=False) + frame(CONT, "a" * 50, fin=False) * 30, 1009),
    "CVE-2026-65623 empty fragments": (frame(TEXT, fin=False) + frame(CONT, fin=False) * 300, 1009),
    "CVE-2026-48779 a fragment for every octet": (frame(TEXT, fin=False) + frame(CONT, "a", fin=False) * 300, 1009),
    "CVE-2018-1000518 what would inflate, unagreed": (frame(TEXT, b"\xca\x00\x00", rsv=4), 1002),
    "a reserved bit": (frame(TEXT, "hi", rsv=2), 1002),
    "a reserved opcode": (frame(3, "hi"), 1002),
    "a reserved control opcode": (frame(11), 1002),
    "a control frame that is too long": (frame(PING, bytes(126)), 1002),
    "a control frame in fragments": (frame(PING, "a", fin=False), 1002),
    "half a close code": (frame(8, b"\x03"), 1002),
    "a close code that may not be sent": (closing(1006), 1002),
    "a close reason that is no UTF-8": (frame(8, b"\x03\xe8\xff"), 1007),
    "text that is no UTF-8": (frame(TEXT, b"\xff\xfe"), 1007),
    "a length that is longer than need be": (sized(0x81, b"\x7e\x00\x02", b"hi"), 1002),
    "a length with its first bit": (sized(0x82, b"\x7f" + b"\xff" * 8, b""), 1002),
    "a continuation of nothing": (frame(CONT, "hi"), 1002),
    "a message inside a message": (frame(TEXT, "a", fin=False) + frame(TEXT, "b"), 1002),
    "data behind the close": (closing(1000) + frame(TEXT, "late"), 1000),
    "HTTP where frames are due": (b"GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n", 1002),
}


@pytest.mark.parametrize("name", FRAMES)
async def test_hostile_frames_are_the_end_of_one_session(name, tolls, autojump_clock):
    data, code = FRAMES[name]
    ways = cut_three_ways(UPGRADE + b"\r\n" + data, name)
    fates, toll = await besiege(ways, handler=websocket(echo, max_message=1000, max_fragments=200), eof=False)
    for fate in fates:
        assert ACCEPT in fate.heard
        frames = fate.heard.partition(b"\r\n\r\n")[2]
        assert frames[0] == 0x88, "the first word is the last"
        assert int.from_bytes(frames[2:4]) == code
        assert len(frames) == frames[1] + 2
        assert fate.seconds < 15
    tolls.take("WebSocket frames", toll)


@pytest.mark.parametrize("name", FRAMES)
async def test_hostile_frames_where_the_stream_was_handed_over(name, tolls, autojump_clock):
    """Another library reads them; whatever it makes of them is the end of one connection."""
    ways = cut_three_ways(UPGRADE + b"\r\n" + FRAMES[name][0], name)
    fates, toll = await besiege(ways, handler=websocket_echo.handler)
    for fate in fates:
        assert b"smuggled" not in fate.heard
    tolls.take("WebSocket, handed over", toll)


@pytest.mark.parametrize("vector", load("ws-handshake"), ids=str)
async def test_a_handshake_is_answered_and_leaves_nothing(vector, tolls, autojump_clock):
    ways = cut_three_ways(vector.data, vector.id)
    fates, toll = await besiege(ways, handler=websocket(echo, compression=True))
    for fate in fates:
        allowed = {error for expected in vector.expect if "strict" in expected["grade"] for error in expected["error"]}
        assert fate.statuses[0] in allowed
    tolls.take("WebSocket handshakes", toll)
