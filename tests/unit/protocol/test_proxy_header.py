"""The PROXY protocol to the letter of its specification: what is read, what is refused, and where a header ends."""

from __future__ import annotations

import socket
import struct

import pytest

from roadrunner_trio.protocol import proxy_header
from roadrunner_trio.protocol.proxy_header import (
    LONGEST,
    MOST_TLVS,
    SIGNATURE,
    ProxyHeader,
    crc32c,
    read_proxy_header,
)

V4 = (socket.inet_aton("192.0.2.7"), socket.inet_aton("198.51.100.1"))
V6 = (socket.inet_pton(socket.AF_INET6, "2001:db8::7"), socket.inet_pton(socket.AF_INET6, "2001:db8::1"))
PORTS = struct.pack("!HH", 4711, 443)


def v2(block: bytes = b"", *, command: int = 0x21, family: int = 0x11) -> bytes:
    return SIGNATURE + struct.pack("!BBH", command, family, len(block)) + block


def tlv(kind: int, value: bytes) -> bytes:
    return struct.pack("!BH", kind, len(value)) + value


def read(data: bytes) -> ProxyHeader:
    """The header in ``data``, which has to be all of it."""
    found = read_proxy_header(data)
    assert found is not None
    header, length = found
    assert length == len(data)
    return header


# -- version 1 -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "source", "destination"),
    [
        (b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 443", ("192.0.2.7", 4711), ("198.51.100.1", 443)),
        (b"PROXY TCP4 0.0.0.0 255.255.255.255 0 65535", ("0.0.0.0", 0), ("255.255.255.255", 65535)),
        (b"PROXY TCP6 2001:DB8::7 ::1 4711 443", ("2001:db8::7", 4711), ("::1", 443)),
        (b"PROXY TCP6 ::FFFF:192.0.2.7 ::ffff:c633:6401 4711 443", ("192.0.2.7", 4711), ("198.51.100.1", 443)),
    ],
)
def test_a_line_names_both_ends(line: bytes, source: tuple[str, int], destination: tuple[str, int]) -> None:
    assert read(line + b"\r\n") == ProxyHeader(1, source, destination)


def test_the_longest_line_of_the_specification_is_read():
    six = b"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
    line = b"PROXY UNKNOWN %b %b 65535 65535\r\n" % (six, six)
    assert len(line) == 107
    assert read(line) == ProxyHeader(1)


@pytest.mark.parametrize("line", [b"PROXY UNKNOWN", b"PROXY UNKNOWN ", b"PROXY UNKNOWN \x00 anything at all"])
def test_an_unknown_peer_is_no_error_and_no_address(line: bytes) -> None:
    assert read(line + b"\r\n") == ProxyHeader(1)


@pytest.mark.parametrize(
    "line",
    [
        b"PROXY TCP4 192.0.2.7 198.51.100.1 4711",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 443 ",
        b"PROXY TCP4  192.0.2.7 198.51.100.1 4711 443",
        b"PROXY TCP4 192.0.2.7\t198.51.100.1 4711 443",
        b"PROXY TCP4 192.0.2.07 198.51.100.1 4711 443",
        b"PROXY TCP4 192.0.2.256 198.51.100.1 4711 443",
        b"PROXY TCP4 192.0.2 198.51.100.1 4711 443",
        b"PROXY TCP4 localhost 198.51.100.1 4711 443",
        b"PROXY TCP4 2001:db8::7 ::1 4711 443",
        b"PROXY TCP6 192.0.2.7 198.51.100.1 4711 443",
        b"PROXY TCP6 2001:db8::7::1 ::1 4711 443",
        b"PROXY TCP6 fe80::1%lo ::1 4711 443",
        b"PROXY TCP6 [2001:db8::7] ::1 4711 443",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 04711 443",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 65536",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 -1 443",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 +1 443",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 4\xb2",
        b"PROXY UDP4 192.0.2.7 198.51.100.1 4711 443",
        b"PROXY tcp4 192.0.2.7 198.51.100.1 4711 443",
        b"PROXY UNKNOWNS",
        b"PROXY ",
    ],
)
def test_anything_else_is_no_line(line: bytes) -> None:
    with pytest.raises(ValueError):
        read_proxy_header(line + b"\r\n")


@pytest.mark.parametrize("end", [b"\n", b"\r \n", b"\rG"])
def test_only_crlf_ends_a_line(end: bytes) -> None:
    with pytest.raises(ValueError, match="CRLF"):
        read_proxy_header(b"PROXY UNKNOWN" + end)


def test_a_line_that_does_not_end_in_time_is_refused_at_its_107th_octet():
    line = b"PROXY UNKNOWN ".ljust(106, b"x")
    assert read_proxy_header(line) is None
    for last in (b"x", b"\r", b"\r\n"):
        with pytest.raises(ValueError, match=r"107|CRLF"):
            read_proxy_header(line + last)


# -- version 2 -----------------------------------------------------------------------------------


def test_tcp_over_ipv4():
    header = read(v2(b"".join(V4) + PORTS))
    assert header == ProxyHeader(2, ("192.0.2.7", 4711), ("198.51.100.1", 443))


def test_tcp_over_ipv6():
    header = read(v2(b"".join(V6) + PORTS, family=0x21))
    assert header == ProxyHeader(2, ("2001:db8::7", 4711), ("2001:db8::1", 443))


def test_case_27_tcp_over_ipv6_may_carry_ipv4():
    mapped = b"".join(bytes(10) + b"\xff\xff" + four for four in V4)
    header = read(v2(mapped + PORTS, family=0x21))
    assert header == ProxyHeader(2, ("192.0.2.7", 4711), ("198.51.100.1", 443))


def test_type_length_values_are_kept_in_order():
    extra = tlv(0x02, b"example.org") + tlv(0xEA, b"") + tlv(0x02, b"second")
    header = read(v2(b"".join(V4) + PORTS + extra))
    assert header.tlvs == ((0x02, b"example.org"), (0xEA, b""), (0x02, b"second"))
    assert (header.tlv(0x02), header.tlv(0xEA), header.tlv(0x05)) == (b"example.org", b"", None)


@pytest.mark.parametrize(("value", "tls"), [(b"\x01\0\0\0\0", True), (b"\x00\0\0\0\0", False), (b"", False)])
def test_whether_the_peer_speaks_tls_to_the_proxy(value: bytes, tls: bool) -> None:
    assert read(v2(b"".join(V4) + PORTS + tlv(0x20, value))).tls is tls


def test_without_a_word_about_tls_there_is_none():
    assert not read(v2(b"".join(V4) + PORTS)).tls


def test_local_discards_its_block_whatever_it_holds():
    for block in (b"", b"\xff\xff\xff", b"".join(V4) + PORTS):
        assert read(v2(block, command=0x20, family=0xFF)) == ProxyHeader(2, local=True)


def test_an_unspecified_family_has_values_and_no_address():
    assert read(v2(tlv(0x05, b"id"), family=0x00)) == ProxyHeader(2, tlvs=((0x05, b"id"),))


def test_a_unix_socket_is_no_address():
    paths = b"/run/a".ljust(108, b"\0") + b"/run/b".ljust(108, b"\0")
    assert read(v2(paths + tlv(0x05, b"id"), family=0x31)) == ProxyHeader(2, tlvs=((0x05, b"id"),))


@pytest.mark.parametrize("command", [0x00, 0x01, 0x11, 0x22, 0x2F, 0x31, 0xFF])
def test_other_versions_and_commands_are_refused(command: int) -> None:
    with pytest.raises(ValueError, match=f"0x{command:02x}"):
        read_proxy_header(v2(b"".join(V4) + PORTS, command=command))


@pytest.mark.parametrize("family", [0x01, 0x10, 0x12, 0x13, 0x20, 0x22, 0x30, 0x32, 0x41, 0xFF])
def test_other_families_and_datagrams_are_refused(family: int) -> None:
    with pytest.raises(ValueError, match=f"0x{family:02x}"):
        read_proxy_header(v2(bytes(300), family=family))


@pytest.mark.parametrize(("family", "size"), [(0x11, 12), (0x21, 36), (0x31, 216)])
def test_a_header_has_room_for_its_addresses(family: int, size: int) -> None:
    assert read(v2(bytes(size), family=family)).version == 2
    with pytest.raises(ValueError, match="too short"):
        read_proxy_header(v2(bytes(size - 1), family=family))


@pytest.mark.parametrize("extra", [b"\x05", b"\x05\x00", tlv(0x05, b"id")[:-1], tlv(0x05, b"id") + b"\0"])
def test_a_value_that_is_cut_off_is_refused(extra: bytes) -> None:
    with pytest.raises(ValueError, match="cut off"):
        read_proxy_header(v2(b"".join(V4) + PORTS + extra))


def test_the_checksum_is_the_one_of_the_standard():
    assert crc32c(b"123456789") == 0xE3069283  # the check value every catalogue of checksums gives for it


def test_a_checksum_is_verified():
    begin = b"".join(V4) + PORTS + tlv(0x02, b"example.org")
    blank = v2(begin + tlv(0x03, bytes(4)) + tlv(0x05, b"id"))
    right = blank.replace(tlv(0x03, bytes(4)), tlv(0x03, crc32c(blank).to_bytes(4)))
    assert read(right).tlv(0x05) == b"id"
    for wrong in (blank, right[:-1] + b"!", right.replace(b"example", b"elpmaxe")):
        with pytest.raises(ValueError, match="checksum"):
            read_proxy_header(wrong)


def test_a_checksum_has_four_octets():
    with pytest.raises(ValueError, match="checksum"):
        read_proxy_header(v2(b"".join(V4) + PORTS + tlv(0x03, b"")))


def summed(begin: bytes, after: bytes = b"") -> bytes:
    """A header with a right checksum."""
    blank = v2(begin + tlv(0x03, bytes(4)) + after)
    at = 16 + len(begin) + 3
    return blank[:at] + crc32c(blank).to_bytes(4) + blank[at + 4 :]


def test_case_49_a_second_checksum_is_refused_before_one_is_made(monkeypatch):
    """Each would be one of the whole header: of 16 KiB full of them, half a minute."""
    made = 0

    def count(data: bytes) -> int:
        nonlocal made
        made += 1
        return crc32c(data)

    monkeypatch.setattr(proxy_header, "crc32c", count)
    begin = b"".join(V4) + PORTS
    with pytest.raises(ValueError, match="two checksums"):
        read_proxy_header(summed(begin, tlv(0x03, bytes(4))))
    with pytest.raises(ValueError, match="two checksums"):
        read_proxy_header(v2(begin + tlv(0x03, b"") * 2))
    assert made == 0
    read(summed(begin))
    assert made == 1


def test_the_longest_header():
    """A certificate in it, and a checksum of all of it."""
    begin = b"".join(V4) + PORTS + tlv(0x20, bytes(LONGEST - 16 - 12 - 7 - 3))
    assert len(summed(begin)) == LONGEST
    assert len(read(summed(begin)).tlvs[0][1]) == LONGEST - 38


@pytest.mark.parametrize("command", [0x20, 0x21])
def test_case_49_a_longer_header_is_refused_by_its_sixteenth_octet(command: int) -> None:
    header = v2(bytes(LONGEST - 16), command=command, family=0x00 if command == 0x20 else 0x11)
    assert read_proxy_header(header[:16]) is None
    longer = v2(bytes(LONGEST - 15), command=command, family=0x11)
    assert read_proxy_header(longer[:15]) is None
    with pytest.raises(ValueError, match="16385 octets"):
        read_proxy_header(longer[:16])


def test_values_have_a_number_too():
    begin = b"".join(V4) + PORTS
    assert len(read(v2(begin + tlv(0x04, b"") * MOST_TLVS)).tlvs) == MOST_TLVS
    with pytest.raises(ValueError, match="more than 64 TLVs"):
        read_proxy_header(v2(begin + tlv(0x04, b"") * (MOST_TLVS + 1)))


# -- neither -------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"G", b"GET / HTTP/1.1\r\n", b"\x16\x03\x01", b"PROXY\t", b"PRI ", b"\r\nGET", b"\0"])
def test_other_first_octets_are_no_header(data: bytes) -> None:
    with pytest.raises(ValueError, match="no PROXY header"):
        read_proxy_header(data)


@pytest.mark.parametrize("data", [b"", b"P", b"PROXY", b"\r", b"\r\n\r\n\0", SIGNATURE, SIGNATURE + b"\x21\x11\0"])
def test_a_beginning_is_waited_for(data: bytes) -> None:
    assert read_proxy_header(data) is None


def test_what_follows_is_not_looked_at():
    for header in (b"PROXY UNKNOWN\r\n", v2(b"".join(V4) + PORTS)):
        for after in (b"\r\n", b"PROXY ", b"\xff" * 200, header):
            found = read_proxy_header(header + after)
            assert found is not None
            assert found[1] == len(header)
