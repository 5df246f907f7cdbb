"""The PROXY protocol, versions 1 and 2, as HAProxy's specification has it: who is behind a proxy, in front of all else.

Reads nothing by itself: :func:`read_proxy_header` looks at what has arrived and says how much of it is the header.
It is strict, as every octet of it comes from a proxy that is trusted to speak for others: what does not fit the
grammar to the letter is no header.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from ..addresses import unmapped

SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"
LONGEST_LINE: Final = 107
"""Octets of the longest version 1 header, CRLF included."""

LONGEST: Final = 16 * 1024
"""Octets of the longest version 2 header. HAProxy makes one in a buffer, which has so many unless somebody tunes it; a
certificate in it takes one to eight thousand, and all else together some hundred. A checksum of it takes a millisecond.
"""
MOST_TLVS: Final = 64
"""Values in a header: HAProxy knows seven types, clouds one each, and an operator may add some."""

CRC32C: Final = 0x03
SSL: Final = 0x20
_OVER_TLS: Final = 0x01

_FIXED: Final = 16
_LOCAL, _PROXY = 0x20, 0x21
_FAMILIES: Final[dict[int, tuple[type[IPv4Address | IPv6Address] | None, int]]] = {
    0x00: (None, 0),  # UNSPEC
    0x11: (IPv4Address, 12),  # TCP over IPv4
    0x21: (IPv6Address, 36),  # TCP over IPv6
    0x31: (None, 216),  # Unix stream: two paths of 108 octets, which are no address to us
}
"""What may carry HTTP: how its addresses are read, and the octets of both together. Datagrams are refused."""

_first_end = re.compile(rb"[\r\n]").search
_tcp_line = re.compile(r"PROXY TCP([46]) ([^ ]+) ([^ ]+) (0|[1-9][0-9]{0,4}) (0|[1-9][0-9]{0,4})").fullmatch

Endpoint = tuple[str, int]
"""Host and port."""


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """What a PROXY header says of a connection.

    Attributes:
        version: 1 or 2.
        source: host and port of the peer behind the proxy; None where the header names none, and whoever connected
            is the peer: LOCAL, UNKNOWN, an unspecified family, a Unix socket.
        destination: host and port that the peer connected to, or None likewise.
        local: the proxy speaks for itself, as in a health check (version 2, LOCAL).
        tlvs: type and value of what version 2 appends, in order.
    """

    version: int
    source: Endpoint | None = None
    destination: Endpoint | None = None
    local: bool = False
    tlvs: tuple[tuple[int, bytes], ...] = ()

    def tlv(self, kind: int) -> bytes | None:
        """The first value of a type, or None: 0x01 is ALPN, 0x02 the authority (SNI), 0x05 a unique id."""
        return next((value for type_, value in self.tlvs if type_ == kind), None)

    @property
    def tls(self) -> bool:
        """Whether the peer speaks TLS to the proxy: the client bit of type 0x20."""
        value = self.tlv(SSL)
        return bool(value and value[0] & _OVER_TLS)


def read_proxy_header(received: bytes | bytearray) -> tuple[ProxyHeader, int] | None:
    """The header at the front of ``received`` and its length in octets; None until it is whole.

    Looks no further than the header's end. Once it has raised, more octets do not change its mind.

    Raises:
        ValueError: this is no PROXY header, or a bad one; the message says which.
    """
    front = bytes(received[: len(SIGNATURE)])
    if front == SIGNATURE:
        return _read_binary(received)
    if front.startswith(b"PROXY "):
        return _read_line(received)
    if SIGNATURE.startswith(front) or b"PROXY ".startswith(front):
        return None
    raise ValueError("no PROXY header")


def _read_line(received: bytes | bytearray) -> tuple[ProxyHeader, int] | None:
    line = bytes(received[:LONGEST_LINE])
    found = _first_end(line)
    if found is None:
        if len(line) == LONGEST_LINE:
            raise ValueError(f"a PROXY line of more than {LONGEST_LINE} octets")
        return None
    end = found.start()
    if line[end:] == b"\r" and end < LONGEST_LINE - 1:
        return None
    if not line.startswith(b"\r\n", end):
        raise ValueError("a PROXY line that does not end in CRLF")
    return _parse_line(line[:end].decode("latin-1")), end + 2


def _parse_line(line: str) -> ProxyHeader:
    if line == "PROXY UNKNOWN" or line.startswith("PROXY UNKNOWN "):
        return ProxyHeader(1)  # whatever follows is to be ignored
    parts = _tcp_line(line)
    if parts is None:
        raise ValueError(f"not a PROXY line: {line!r}")
    family, source, destination, from_port, to_port = parts.groups()
    return ProxyHeader(1, _endpoint(family, source, from_port), _endpoint(family, destination, to_port))


def _endpoint(family: str, host: str, port: str) -> Endpoint:
    # ipaddress refuses leading zeros, as it must; a zone index is an address of another's machine.
    if int(port) > 65535 or "%" in host:
        raise ValueError(f"no address for a PROXY line: {host!r} {port}")
    return unmapped(str(IPv4Address(host) if family == "4" else IPv6Address(host))), int(port)


def _read_binary(received: bytes | bytearray) -> tuple[ProxyHeader, int] | None:
    """Nothing is done twice, however many pieces it comes in: until it is whole, its first 16 octets are looked at."""
    if len(received) < _FIXED:
        return None
    command, family = received[12], received[13]
    end = _FIXED + int.from_bytes(received[14:_FIXED])
    if command not in (_LOCAL, _PROXY):
        raise ValueError(f"PROXY version and command 0x{command:02x}")
    if end > LONGEST:
        raise ValueError(f"a PROXY header of {end} octets, which is more than {LONGEST}")
    if command == _LOCAL:  # the block, family included, is discarded
        return (ProxyHeader(2, local=True), end) if len(received) >= end else None
    if family not in _FAMILIES:
        raise ValueError(f"PROXY family and protocol 0x{family:02x}")
    if _FIXED + _FAMILIES[family][1] > end:
        raise ValueError("a PROXY header that is too short for its addresses")
    return (_parse_block(bytes(received[:end])), end) if len(received) >= end else None


def _parse_block(block: bytes) -> ProxyHeader:
    reader, size = _FAMILIES[block[13]]
    tlvs = _tlvs(block, _FIXED + size)
    if reader is None:
        return ProxyHeader(2, tlvs=tlvs)
    half = (size - 4) // 2
    at = _FIXED + 2 * half
    source, destination = reader(block[_FIXED : _FIXED + half]), reader(block[_FIXED + half : at])
    ports = int.from_bytes(block[at : at + 2]), int.from_bytes(block[at + 2 : at + 4])
    return ProxyHeader(2, (unmapped(str(source)), ports[0]), (unmapped(str(destination)), ports[1]), tlvs=tlvs)


def _tlvs(block: bytes, at: int) -> tuple[tuple[int, bytes], ...]:
    """Types and values from ``at`` to the end of a header; a checksum among them is verified."""
    found: list[tuple[int, bytes]] = []
    summed: tuple[int, int] | None = None
    while at < len(block):
        begin = at + 3
        end = begin + int.from_bytes(block[at + 1 : begin])
        if begin > len(block) or end > len(block):
            raise ValueError("a PROXY TLV that is cut off")
        if len(found) == MOST_TLVS:
            raise ValueError(f"a PROXY header with more than {MOST_TLVS} TLVs")
        found.append((block[at], block[begin:end]))
        if block[at] == CRC32C:
            if summed is not None:
                raise ValueError("a PROXY header with two checksums")
            summed = begin, end
        at = end
    if summed is not None:
        _verify(block, *summed)
    return tuple(found)


def _verify(block: bytes, begin: int, end: int) -> None:
    """The checksum at ``begin`` is of the whole header, with zeros in its own place."""
    blank = block[:begin] + bytes(end - begin) + block[end:]
    if crc32c(blank).to_bytes(4) != block[begin:end]:
        raise ValueError("a PROXY header with a wrong checksum")


def crc32c(data: bytes) -> int:
    """The CRC-32C of ``data`` (RFC 3720 section 12.1), which the standard library does not have."""
    table, crc = _table(), 0xFFFFFFFF
    for octet in data:
        crc = crc >> 8 ^ table[(crc ^ octet) & 0xFF]
    return crc ^ 0xFFFFFFFF


@cache
def _table() -> tuple[int, ...]:
    def entry(value: int) -> int:
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        return value

    return tuple(entry(octet) for octet in range(256))
