"""Laws of the PROXY reader: the cut makes no difference, nothing past the header is touched, garbage is refused."""

from __future__ import annotations

import struct
from ipaddress import ip_address

from hypothesis import given
from hypothesis import strategies as st

from roadrunner_trio.protocol.proxy_header import SIGNATURE, ProxyHeader, read_proxy_header

ports = st.integers(0, 65535)


@st.composite
def lines(draw: st.DrawFn) -> tuple[bytes, ProxyHeader]:
    """A version 1 header and what it says."""
    version = draw(st.sampled_from([4, 6]))
    ends = [(str(draw(st.ip_addresses(v=version))), draw(ports)) for _ in range(2)]
    (source, from_port), (destination, to_port) = ends
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
    return SIGNATURE + head + block, ProxyHeader(2, *ends, tlvs=tuple(tlvs))


headers = lines() | blocks()
garbage = st.binary(max_size=200) | st.binary(max_size=120).map(b"PROXY ".__add__) | st.binary().map(SIGNATURE.__add__)


@given(headers, st.binary(max_size=30))
def test_what_was_written_is_read_and_what_follows_is_left(written: tuple[bytes, ProxyHeader], after: bytes) -> None:
    data, meant = written
    assert read_proxy_header(bytearray(data + after)) == (meant, len(data))


@given(headers)
def test_a_header_is_not_whole_before_its_last_octet(written: tuple[bytes, ProxyHeader]) -> None:
    data, _ = written
    assert all(read_proxy_header(data[:size]) is None for size in range(len(data)))


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
