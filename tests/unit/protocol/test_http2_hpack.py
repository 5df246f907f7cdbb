"""The decoder of header blocks: tables, integers, strings, sizes, and what is remembered of malformed fields."""

from __future__ import annotations

import hpack
import pytest

from roadrunner_trio.protocol.http2.blocks import encode
from roadrunner_trio.protocol.http2.blocks import integer as encoded_integer
from roadrunner_trio.protocol.http2.head import STATIC_FIELDS, field
from roadrunner_trio.protocol.http2.hpack import (
    EXCESS,
    OVERHEAD,
    TABLE_SIZE,
    CompressionError,
    Decoder,
    Malformed,
    TooManyFields,
    integer,
    string,
)
from roadrunner_trio.protocol.http2.tables import STATIC


def decoder() -> Decoder:
    return Decoder(lambda name, value: (name, value), [*reversed(STATIC)])


def literal(name: bytes, value: bytes, first: int = 0x40) -> bytes:
    return bytes([first, len(name)]) + name + encoded_integer(len(value), 0x7F, 0) + value


def entries(reader: Decoder) -> list[tuple[bytes, bytes]]:
    """The dynamic table, newest first."""
    found = []
    for number in range(62, 300):
        try:
            found += reader.decode(encoded_integer(number, 0x7F, 0x80))
        except CompressionError:
            break
    return found


def test_every_static_field_has_its_number():
    assert decoder().decode(bytes(range(0x81, 0xBE))) == list(STATIC)


def test_examples_of_the_rfc():
    reader = decoder()  # appendix C.3
    first = reader.decode(bytes.fromhex("828684410f7777772e6578616d706c652e636f6d"))
    assert first == [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"www.example.com")]
    assert reader.decode(bytes.fromhex("828684be58086e6f2d6361636865"))[-2:] == [
        (b":authority", b"www.example.com"),
        (b"cache-control", b"no-cache"),
    ]
    third = bytes.fromhex("828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565")
    assert reader.decode(third)[-1] == (b"custom-key", b"custom-value")
    assert [name for name, _ in entries(reader)] == [b"custom-key", b"cache-control", b":authority"]


def test_the_newest_has_the_lowest_number_and_the_oldest_goes_first():
    reader = decoder()
    size = 1000 - OVERHEAD - 1
    for name in (b"a", b"b", b"c", b"d"):
        reader.decode(literal(name, b"v" * size))
    assert [name for name, _ in entries(reader)] == [b"d", b"c", b"b", b"a"]
    reader.decode(literal(b"e", b"v" * size))
    assert [name for name, _ in entries(reader)] == [b"e", b"d", b"c", b"b"]


def test_a_table_of_exactly_its_size_is_full_and_not_fuller():
    reader = decoder()
    reader.decode(literal(b"a", b"v" * (TABLE_SIZE - OVERHEAD - 1)))
    assert len(entries(reader)) == 1
    reader.decode(literal(b"b", b""))
    assert entries(reader) == [(b"b", b"")]
    assert reader.decode(literal(b"c", b"v" * (TABLE_SIZE - OVERHEAD))) == [(b"c", b"v" * (TABLE_SIZE - OVERHEAD))]
    assert entries(reader) == []


def test_numbers_above_126_take_more_than_an_octet():
    reader = decoder()
    for number in range(100):
        reader.decode(literal(b"n", b"%d" % number))
    assert len(entries(reader)) == 100
    assert reader.decode(b"\xfe") == [(b"n", b"35")]
    assert reader.decode(b"\xff\x00") == [(b"n", b"34")]
    assert reader.decode(b"\x7f\x00\x01x") == [(b"n", b"x")]


def test_a_literal_without_indexing_leaves_no_trace():
    reader = decoder()
    for first in (0x00, 0x10):
        assert reader.decode(literal(b"a", b"v", first)) == [(b"a", b"v")]
    assert entries(reader) == []
    assert reader.changes == 0


def test_sizes_of_the_table():
    reader = decoder()
    for name in (b"a", b"b", b"c"):
        reader.decode(literal(name, b""))
    reader.decode(encoded_integer(2 * (OVERHEAD + 1), 0x1F, 0x20))
    assert [name for name, _ in entries(reader)] == [b"c", b"b"]
    reader.decode(b"\x20" + encoded_integer(TABLE_SIZE, 0x1F, 0x20))
    assert entries(reader) == []
    reader.decode(literal(b"d", b""))
    assert entries(reader) == [(b"d", b"")]


@pytest.mark.parametrize(
    "block",
    [
        "80",
        "be",
        "ff914d",
        "7f00" + "0161",
        "4f",  # a name of number 15, and no value
        "00",
        "0001",
        "000161",
        "00016105",
        "000161ff",
        "ff8080808001",
        "828220",
        "202020",
        "3fe21f",
        "3f80808080808001",
        "3f",
        "0001" + "61" + "82fffe",
    ],
)
def test_what_is_no_header_block(block):
    with pytest.raises(CompressionError):
        decoder().decode(bytes.fromhex(block))


def test_fields_behind_those_that_are_wanted_are_passed_over_and_change_the_table_all_the_same():
    reader, plain = decoder(), b"\x00\x01n\x01v"
    block = b"\x82\x84" + plain + literal(b"a", b"1") + b"\xbe\xff\x00" + plain + literal(b"b", b"v" * 200)
    reader.decode(b"".join(literal(b"n", b"%d" % number) for number in range(66)))
    assert reader.decode(block, 3) == [(b":method", b"GET"), (b":path", b"/"), (b"n", b"v")]
    assert entries(reader)[:3] == [(b"b", b"v" * 200), (b"a", b"1"), (b"n", b"65")]
    assert reader.decode(b"\xbe\xbf", 2) == [(b"b", b"v" * 200), (b"a", b"1")]


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 100])
def test_any_number_of_fields_may_be_wanted(size):
    whole = [(b"n", b"v" * 30), (b":method", b"GET"), (b"a", b"1"), (b"n", b"v" * 30), (b"a", b"1")]
    block = literal(*whole[0]) + b"\x82" + literal(*whole[2]) + b"\xbf\xbe"
    reader = decoder()
    assert reader.decode(block, size) == whole[:size]
    assert entries(reader) == [(b"a", b"1"), (b"n", b"v" * 30)]


@pytest.mark.parametrize("wrong", ["80", "bf", "ff00", "0001", "00016182fffe", "3fe11f", "20"])
def test_what_is_wrong_behind_what_is_wanted_is_wrong(wrong):
    with pytest.raises(CompressionError):
        decoder().decode(literal(b"a", b"1") + b"\xbe\xbe" + bytes.fromhex(wrong), 2)


@pytest.mark.parametrize("field", [b"\x82", b"\x00\x00\x00", b"\x41\x00", b"\xff\x00"], ids=bytes.hex)
def test_of_very_many_fields_no_more_are_read_than_a_multiple_of_those_that_are_wanted(field):
    judged: list[bytes] = []

    def judge(name: bytes, value: bytes) -> tuple[bytes, bytes]:
        judged.append(name)
        return name, value

    reader = Decoder(judge, [*reversed(STATIC)])
    reader.decode(b"".join(literal(b"n", b"%d" % number) for number in range(66)))
    judged.clear()
    assert len(reader.decode(field * 10 * EXCESS, 10)) == 10
    read = len(judged)
    assert read in (0, 10 * EXCESS)
    with pytest.raises(TooManyFields):
        reader.decode(field * 100_000, 10)
    assert len(judged) == 2 * read


@pytest.mark.parametrize(("value", "mask"), [(0, 31), (10, 31), (31, 31), (1337, 31), (42, 255), (2**28, 127)])
def test_integers_there_and_back(value, mask):
    encoded = encoded_integer(value, mask, 0)
    assert integer(encoded, 0, mask) == (value, len(encoded))


def test_an_integer_may_have_zeros_in_front_but_four_octets_behind_the_first():
    assert integer(b"\x1f\x80\x80\x80\x00", 0, 31) == (31, 5)
    with pytest.raises(ValueError, match="too long"):
        integer(b"\x1f\x80\x80\x80\x80\x00", 0, 31)
    with pytest.raises(IndexError):
        integer(b"\x1f\x80", 0, 31)


def test_a_string_may_not_be_longer_than_what_is_there():
    assert string(b"\x02ab", 0) == (b"ab", 3)
    with pytest.raises(IndexError):
        string(b"\x03ab", 0)


def test_a_malformed_field_keeps_its_place_and_its_name():
    reader = Decoder(field, STATIC_FIELDS)
    fields = reader.decode(literal(b"good", b"1") + literal(b"x", b"a\nb") + literal(b"BAD", b"v"))
    assert [name for name, _ in fields] == [b"good", b"", b""]
    assert [getattr(name, "said", None) for name, _ in fields] == [None, b"x", b"BAD"]
    assert reader.decode(b"\xc0\xbf\xbe") == fields
    assert reader.decode(b"\x0f\x30\x011") == [(b"x", b"1")]  # number 63: its name was good
    assert isinstance(reader.decode(b"\x0f\x2f\x011")[0][0], Malformed)  # number 62: its name never is
    theirs = hpack.Decoder()
    theirs.decode(literal(b"good", b"1") + literal(b"x", b"a\nb") + literal(b"BAD", b"v"), raw=True)
    assert theirs.decode(b"\x0f\x2f\x011", raw=True)[0][0] == b"BAD"


def test_malformed_fields_count_as_what_they_came_with():
    reader, theirs = Decoder(field, STATIC_FIELDS), hpack.Decoder()
    for number in range(60):
        block = literal(b"BAD" if number % 3 else b"fine", b"v" * number)
        reader.decode(block)
        theirs.decode(block, raw=True)
        assert len(entries(reader)) == len(theirs.header_table.dynamic_entries)


def test_what_is_remembered_is_forgotten_when_the_table_changes():
    reader = decoder()
    for change in (literal(b"a", b"v"), b"\x20", literal(b"b", b"v" * 5000)):
        reader.remembered[b"block"] = "verdict"
        before = reader.changes
        reader.decode(b"\x82")
        assert reader.remembered
        reader.decode(change)
        assert not reader.remembered
        assert reader.changes > before


def test_the_largest_field_is_known():
    reader = decoder()
    reader.decode(literal(b"a", b"v" * 1000))
    assert reader.largest == 1001 + OVERHEAD


@pytest.mark.parametrize("value", [b"", b"x", b"v" * 126, b"v" * 127, b"v" * 128, b"v" * 20000, b"\xff" * 300])
def test_literals_of_all_lengths(value):
    assert decoder().decode(encode([(b"name", value)])) == [(b"name", value)]


def test_the_static_table_is_shared_until_something_is_put_into_a_table():
    shared = [*reversed(STATIC)]
    one, other = (Decoder(lambda name, value: (name, value), shared) for _ in range(2))
    one.decode(literal(b"a", b"b"))
    assert shared == [*reversed(STATIC)]
    assert one.decode(b"\xbe") == [(b"a", b"b")]
    with pytest.raises(CompressionError):
        other.decode(b"\xbe")
