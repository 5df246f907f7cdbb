"""permessage-deflate: what is agreed, and what it does to messages."""

from __future__ import annotations

import zlib

import pytest

from roadrunner_trio import Compression
from roadrunner_trio.protocol.ws.deflate import STEP, TAIL, Inflater, agree
from roadrunner_trio.protocol.ws.extensions import parse_offers

DEFAULT = Compression()
WIDE = Compression(server_max_window_bits=15, client_max_window_bits=15)


def answer(offers: str, compression: Compression = DEFAULT) -> str | None:
    agreement = agree(parse_offers(offers.encode()), compression)
    return None if agreement is None else agreement.answer.decode()


@pytest.mark.parametrize(
    ("offers", "expected"),
    [
        ("permessage-deflate", ""),
        ("PerMessage-Deflate", ""),
        ("permessage-deflate; client_max_window_bits", ""),
        ("permessage-deflate; client_max_window_bits=15", "; client_max_window_bits=15"),
        ("permessage-deflate; client_max_window_bits=8", "; client_max_window_bits=8"),
        ("permessage-deflate; server_max_window_bits=15", "; server_max_window_bits=15"),
        ('permessage-deflate; server_max_window_bits="9"', "; server_max_window_bits=9"),
        ("permessage-deflate; server_no_context_takeover", "; server_no_context_takeover"),
        ("permessage-deflate; client_no_context_takeover", "; client_no_context_takeover"),
        (
            "permessage-deflate; client_max_window_bits=10; server_max_window_bits=9; client_no_context_takeover",
            "; client_no_context_takeover; server_max_window_bits=9; client_max_window_bits=10",
        ),
        (
            "x-other, permessage-deflate; nonsense, permessage-deflate; server_max_window_bits=10",
            "; server_max_window_bits=10",
        ),
        ("permessage-deflate; server_max_window_bits=8, permessage-deflate", ""),
    ],
)
def test_offers_that_are_taken(offers, expected):
    assert answer(offers, WIDE) == "permessage-deflate" + expected


@pytest.mark.parametrize(
    "parameters",
    [
        "unknown",
        "server_max_window_bits",
        "server_max_window_bits=7",
        "server_max_window_bits=8",  # zlib has no such window
        "server_max_window_bits=16",
        "server_max_window_bits=08",
        "client_max_window_bits=abc",
        "client_max_window_bits=9; client_max_window_bits=9",
        "server_no_context_takeover=true",
        "client_no_context_takeover; client_no_context_takeover",
    ],
)
def test_offers_that_are_declined(parameters):
    assert answer(f"permessage-deflate; {parameters}") is None
    assert answer(f"permessage-deflate; {parameters}, permessage-deflate", WIDE) == "permessage-deflate"


def test_our_own_wishes():
    ours = Compression(server_no_context_takeover=True, client_no_context_takeover=True)
    expected = "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=12"
    assert answer("permessage-deflate", ours) == expected, "a window is not told to a peer that did not ask"
    assert answer("permessage-deflate; client_max_window_bits", ours) == expected + "; client_max_window_bits=12"
    assert answer("x-other", ours) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"server_max_window_bits": 8},
        {"client_max_window_bits": 16},
        {"level": 10},
        {"mem_level": 0},
        {"threshold": -1},
        {"mem_level": True},
    ],
)
def test_what_cannot_be(wrong):
    with pytest.raises(ValueError, match=rf"Compression\.{next(iter(wrong))} is a whole number from"):
        Compression(**wrong)


@pytest.mark.parametrize("keep", [True, False])
def test_messages_there_and_back(keep):
    agreement = agree([("permessage-deflate", [])], Compression(server_no_context_takeover=not keep))
    assert agreement is not None
    deflater, inflater = agreement.deflater(), Inflater(12, keep=keep)
    sizes = []
    for message in (b"hello " * 50, b"hello " * 50, b"", b"", b"x"):
        packed = deflater.deflate(message)
        assert packed
        assert not packed.endswith(TAIL)
        sizes.append(len(packed))
        assert b"".join([*inflater.inflate(packed), *inflater.end()]) == message
    assert (sizes[1] < sizes[0]) is keep


def test_pieces_can_be_read_as_they_come():
    agreement = agree([("permessage-deflate", [])], DEFAULT)
    assert agreement is not None
    deflater, inflater = agreement.deflater(), agreement.inflater()
    for piece in (b"one", b"two"):
        assert b"".join(inflater.inflate(deflater.deflate(piece, last=False))) == piece
    assert b"".join([*inflater.inflate(deflater.deflate(b"", last=True)), *inflater.end()]) == b""


def test_a_bomb_goes_off_in_steps():
    packed = zlib.compressobj(wbits=-15)
    bomb = packed.compress(bytes(10_000_000)) + packed.flush(zlib.Z_SYNC_FLUSH)
    sizes = list(map(len, Inflater(15, keep=True).inflate(bomb)))
    assert sum(sizes) == 10_000_000
    assert max(sizes) == STEP


def test_a_final_block_ends_no_message():
    packer = zlib.compressobj(wbits=-15)
    final = packer.compress(b"hello") + packer.flush(zlib.Z_FINISH)
    inflater = Inflater(15, keep=True)
    assert b"".join([*inflater.inflate(final + b"\x00"), *inflater.end()]) == b"hello"
    packer = zlib.compressobj(wbits=-15)
    again = packer.compress(b"again") + packer.flush(zlib.Z_SYNC_FLUSH)
    assert b"".join([*inflater.inflate(again.removesuffix(TAIL)), *inflater.end()]) == b"again"


def test_octets_that_are_not_deflated():
    with pytest.raises(zlib.error):
        list(Inflater(15, keep=True).inflate(b"\xff\xff\xff"))


@pytest.mark.parametrize(
    "value",
    ["a b", "; a=b", "a=b", 'a; b="c', "a; b=", 'a; b="c d"', "a;", 'a; b="', "a; =b", "\x80", "a; b=c d", 'a; b="\\'],
)
def test_lists_that_are_none(value):
    with pytest.raises(ValueError, match=r"token|comma"):
        parse_offers(value.encode("latin-1"))


def test_lists_of_extensions():
    assert parse_offers(b"") == []
    assert parse_offers(b', a ;b; C=d;e="f\\g"\t, ,A,') == [("a", [("b", None), ("c", "d"), ("e", "fg")]), ("a", [])]
