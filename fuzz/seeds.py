"""Where fuzzing begins: the vectors for HTTP, a few headers of each kind for PROXY, frames and blocks of each kind."""

from __future__ import annotations

from pathlib import Path

import http2_vectors
from http2_tools import GET, block
from vector_tools import OWN, load

from roadrunner_trio.protocol.http2.frames import PREFACE
from roadrunner_trio.protocol.proxy_header import SIGNATURE

LONGEST = 4096
WHOLE = b"\x1f"
"""The first octet of an input is the length of its pieces; most seeds are shorter than these."""

PROXY = [
    b"PROXY TCP4 192.0.2.7 192.0.2.1 65535 1\r\nGET",
    b"PROXY TCP6 2001:db8::7 ::1 1 65536\r\n",
    b"PROXY UNKNOWN anything\r\n",
    b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n",
    SIGNATURE + b"\x20\x00\x00\x00",
    SIGNATURE + b"\x21\x11\x00\x0c" + bytes(range(12)),
    SIGNATURE + b"\x21\x21\x00\x27" + bytes(36) + b"\x04\x00\x00",
    SIGNATURE + b"\x21\x31\x00\xd8" + bytes(216),
    SIGNATURE + b"\x21\x11\x00\x13" + bytes(12) + b"\x03\x00\x04" + bytes(4),
]

FRAMES = [
    b"\x81\x85" + bytes(4) + b"hello",
    b"\x82\x85\x01\x02\x03\x04hello\x81\x80" + bytes(4),
    b"\x01\x82" + bytes(4) + b"he" + b"\x89\x81" + bytes(4) + b"p" + b"\x80\x83" + bytes(4) + b"llo",
    b"\x82\xfe\x01\x00" + bytes(4 + 256),
    b"\x82\xff\x00\x00\x00\x00\x00\x01\x00\x00" + bytes(40),
    b"\x81\x82" + bytes(4) + b"\xc3\xa4\x81\x81" + bytes(4) + b"\xc3",
    b"\xc1\x87" + bytes(4) + b"\xf2H\xcd\xc9\xc9\x07\x00",
    b"\x88\x84" + bytes(4) + b"\x03\xe8ok",
    b"\x8a\x80" + bytes(4) + b"\x81\x05hello",
]


BLOCKS = [
    block(GET),
    bytes.fromhex("828684410f7777772e6578616d706c652e636f6d828684be58086e6f2d6361636865"),
    bytes.fromhex("828684418cf1e3c2e5f23a6ba0ab90f4ff828684be5886a8eb10649cbf"),
    bytes.fromhex("3fe11f400a637573746f6d2d6b65790d637573746f6d2d686561646572203fe11fbe"),
    bytes.fromhex("100870617373776f726406736563726574040c2f73616d706c652f70617468"),
    b"\x7f\x00\x01a\xff\x00\x0f\x2f\x01b",
    block([("x", "v" * 300)]),
    b"\x20\x3f\xe1\x1f\x82",
    b"\x82\x83\x84\x85\x86\x87\x88\x80",
]


def seeds() -> dict[str, list[bytes]]:
    """For each target what it begins with."""
    vectors = [vector for name in OWN for vector in load(name) if len(vector.data) < LONGEST]
    chunked = [vector.data.partition(b"\r\n\r\n")[2] for vector in vectors if b"\r\nTransfer-Encoding:" in vector.data]
    http2 = [vector.data for name in http2_vectors.FILES for vector in http2_vectors.load(name)]
    found = {
        "head": [vector.data for vector in vectors],
        "chunks": chunked,
        "proxy": PROXY,
        "websocket": FRAMES,
        "http2": [data.removeprefix(PREFACE) for data in http2 if len(data) < LONGEST],
        "blocks": BLOCKS,
    }
    return {target: sorted({WHOLE + data for data in inputs}) for target, inputs in found.items()}


def write(target: str, folder: Path) -> None:
    """Puts the seeds of a target into a folder, a file each."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(seeds()[target]):
        (folder / f"seed-{number:04}").write_bytes(data)
