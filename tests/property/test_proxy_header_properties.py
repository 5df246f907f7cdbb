"""Laws of the PROXY reader: the cut makes no difference, nothing past the header is touched, garbage is refused."""

from __future__ import annotations

import struct
from ipaddress import ip_address
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from roadrunner_trio.addresses import unmapped
from roadrunner_trio.protocol.proxy_header import LONGEST, SIGNATURE, ProxyHeader, crc32c, read_proxy_header

ports = st.integers(0, 65535)


@st.composite
def lines(draw: st.DrawFn) -> tuple[bytes, ProxyHeader]:
    """A version 1 header and what it says."""
    version = draw(st.sampled_from([4, 6]))
    ends = [(str(draw(st.ip_addresses(v=version))), draw(ports)) for _ in range(2)]
    (source, from_port), (destination, to_port) = ends
    ends = [(unmapped(host), port) for host, port in ends]
    line = f"PROXY TCP{version} {source} {destination} {from_port} {to_port}\r\n"
    return line.encode(), ProxyHeader(1, *ends)


@st.composite
def blocks(draw: st.DrawFn) -> tuple[bytes, ProxyHeader]:
    """A version 2 header and what it says."""
    version = draw(st.sampled_from([4, 6]))
    ends = [(str(draw(st.ip_addresses(v=version))), draw(ports)) for _ in range(2)]
    kinds = st.integers(0, 255).filter(lambda kind: kind != 0x03)
    tlvs = draw(st.lists(st.tuples(kinds, st.binary(max_size=40)), max_size=4))
    block = b"".join(ip_address(host).packed for host, _ in ends) + struct.pack("!HH", ends[0][1], ends[1][1])
    block += b"".join(struct.pack("!BH", kind, len(value)) + value for kind, value in tlvs)
    head = struct.pack("!BBH", 0x21, 0x11 if version == 4 else 0x21, len(block))
    ends = [(unmapped(host), port) for host, port in ends]
    return SIGNATURE + head + block, ProxyHeader(2, *ends, tlvs=tuple(tlvs))


@st.composite
def summed_blocks(draw: st.DrawFn) -> tuple[bytes, ProxyHeader]:
    """A version 2 header with a checksum among its values, which may be long."""
    sizes = draw(st.tuples(st.integers(0, 4000), st.integers(0, 4000)))
    before, after = (b"\x05" + struct.pack("!H", size) + bytes(size) for size in sizes)
    block = bytes(12) + before + b"\x03\0\4" + bytes(4) + after
    blank = SIGNATURE + struct.pack("!BBH", 0x21, 0x11, len(block)) + block
    at = 16 + 12 + len(before) + 3
    summed = crc32c(blank).to_bytes(4)
    tlvs = ((0x05, before[3:]), (0x03, summed), (0x05, after[3:]))
    nobody = ("0.0.0.0", 0)
    return blank[:at] + summed + blank[at + 4 :], ProxyHeader(2, nobody, nobody, tlvs=tlvs)


headers = lines() | blocks() | summed_blocks()
garbage = st.binary(max_size=200) | st.binary(max_size=120).map(b"PROXY ".__add__) | st.binary().map(SIGNATURE.__add__)


@given(headers, st.binary(max_size=30))
def test_what_was_written_is_read_and_what_follows_is_left(written: tuple[bytes, ProxyHeader], after: bytes) -> None:
    data, meant = written
    assert read_proxy_header(bytearray(data + after)) == (meant, len(data))


@given(headers)
def test_a_header_is_not_whole_before_its_last_octet(written: tuple[bytes, ProxyHeader]) -> None:
    data, _ = written
    assert all(read_proxy_header(data[:size]) is None for size in range(len(data)))


class Counting(bytearray):
    """Counts the octets that are looked at."""

    looked_at = 0

    def __getitem__(self, key: Any) -> Any:
        found = super().__getitem__(key)
        Counting.looked_at += len(found) if isinstance(key, slice) else 1
        return found


FEW = 60
"""Octets that may be looked at for each piece of a binary header: the signature and the fixed part, again."""


@given(blocks() | summed_blocks(), st.integers(1, 50))
def test_case_49_the_work_is_linear_however_many_pieces_it_comes_in(
    written: tuple[bytes, ProxyHeader], size: int
) -> None:
    data, meant = written
    Counting.looked_at = 0
    received, pieces, found = Counting(), 0, None
    for at in range(0, len(data), size):
        assert found is None
        received += data[at : at + size]
        pieces += 1
        found = read_proxy_header(received)
    assert found == (meant, len(data))
    assert Counting.looked_at <= FEW * pieces + len(data)


@given(st.integers(0x0000, 0xFFFF), st.sampled_from([0x20, 0x21]), st.sampled_from([0x00, 0x11, 0x21, 0x31]))
def test_case_49_no_header_is_waited_for_that_is_longer_than_it_may_be(length: int, command: int, family: int) -> None:
    data = SIGNATURE + struct.pack("!BBH", command, family, length)
    waits = verdict(data) is None
    assert not waits or 16 + length <= LONGEST


def verdict(data: bytes) -> object:
    try:
        return read_proxy_header(data)
    except ValueError:
        return ValueError


@given(garbage | headers.map(lambda written: written[0]), st.binary(max_size=30))
def test_once_there_is_a_verdict_more_octets_do_not_change_it(data: bytes, after: bytes) -> None:
    verdicts = [verdict((data + after)[:size]) for size in range(len(data) + len(after) + 1)]
    settled = [each for each in verdicts if each is not None]
    assert verdicts == [None] * (len(verdicts) - len(settled)) + settled[:1] * len(settled)
