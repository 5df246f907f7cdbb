"""permessage-deflate: what is agreed, and what it does to messages."""

from __future__ import annotations

import random
import zlib

import pytest
from websocket_tools import empty_blocks

from roadrunner_trio import Compression
from roadrunner_trio.protocol.ws import deflate
from roadrunner_trio.protocol.ws.deflate import DEFLATED, FINAL_BLOCKS, STEP, TAIL, TAKEN, Inflater, agree
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
        assert b"".join(inflater.inflate(packed, last=True)) == message
    assert (sizes[1] < sizes[0]) is keep


def test_pieces_can_be_read_as_they_come():
    agreement = agree([("permessage-deflate", [])], DEFAULT)
    assert agreement is not None
    deflater, inflater = agreement.deflater(), agreement.inflater()
    for piece in (b"one", b"two"):
        assert b"".join(inflater.inflate(deflater.deflate(piece, last=False))) == piece
    assert b"".join(inflater.inflate(deflater.deflate(b"", last=True), last=True)) == b""


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
    assert b"".join(inflater.inflate(final + b"\x00", last=True)) == b"hello"
    packer = zlib.compressobj(wbits=-15)
    again = packer.compress(b"again") + packer.flush(zlib.Z_SYNC_FLUSH)
    assert b"".join(inflater.inflate(again.removesuffix(TAIL), last=True)) == b"again"


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


# -- steps -------------------------------------------------------------------------------------------


class Counting:
    """``zlib`` as the module sees it, with a count of octets taken and contexts made between two steps."""

    def __init__(self, monkeypatch):
        self.taken = self.made = 0
        monkeypatch.setattr(deflate.zlib, "decompressobj", self.decompressobj)

    def decompressobj(self, bits):
        self.made += 1
        return CountingContext(REAL(bits), self)

    def step(self):
        found = self.taken, self.made
        self.taken = self.made = 0
        return found


class CountingContext:
    def __init__(self, context, counts):
        self._context, self._counts = context, counts

    def decompress(self, data, most):
        out = self._context.decompress(data, most)
        self._counts.taken += len(data) - len(self._context.unconsumed_tail) - len(self._context.unused_data)
        return out

    def __getattr__(self, name):
        return getattr(self._context, name)


REAL = zlib.decompressobj
STREAMS = {
    "final blocks": b"\x03\x00" * 30_000 + b"\x00",
    "empty blocks": empty_blocks(800) * 8,
    "noise": zlib.compress(random.Random(1).randbytes(60_000), wbits=-15),
    "zeros": zlib.compress(bytes(5_000_000), wbits=-15),
    "a text": zlib.compress(b"".join(b"%d " % n for n in range(60_000)), wbits=-15),
}


@pytest.mark.parametrize("name", STREAMS)
def test_a_step_takes_little_gives_little_and_makes_few_contexts(name, monkeypatch):
    counts = Counting(monkeypatch)
    total, steps = 0, 0
    for out in Inflater(15, keep=True).inflate(STREAMS[name]):
        taken, made = counts.step()
        assert len(out) <= STEP
        assert taken <= TAKEN
        assert made <= FINAL_BLOCKS + 1
        total, steps = total + taken, steps + 1
    assert total + counts.step()[0] == len(STREAMS[name])
    assert steps >= len(STREAMS[name]) // TAKEN


@pytest.mark.parametrize("name", STREAMS)
def test_however_it_is_cut_it_comes_to_the_same(name):
    data, chance = STREAMS[name], random.Random(name)
    expected = b"".join(Inflater(15, keep=True).inflate(data))
    inflater, out, at = Inflater(15, keep=True), b"", 0
    while at < len(data):
        size = chance.choice([1, 2, 255, 256, 257, TAKEN - 1, TAKEN, TAKEN + 1, 20_000])
        out += b"".join(inflater.inflate(data[at : at + size]))
        at += size
    assert out == expected


@pytest.mark.parametrize("size", [0, 1, DEFLATED - 1, DEFLATED, DEFLATED + 1, 5 * DEFLATED + 7])
@pytest.mark.parametrize("keep", [True, False])
def test_a_message_is_compressed_in_steps(size, keep):
    agreement = agree([("permessage-deflate", [])], Compression(server_no_context_takeover=not keep))
    assert agreement is not None
    deflater, inflater = agreement.deflater(), Inflater(15, keep=keep)
    for seed in range(3):
        message = random.Random(seed).randbytes(size)
        steps = list(deflater.steps(message))
        assert len(steps) == max(1, -(-size // DEFLATED))
        assert b"".join(inflater.inflate(b"".join(steps), last=True)) == message


@pytest.mark.parametrize("taken", [0, 1, 3])
def test_what_was_compressed_and_not_sent_is_not_referred_to(taken):
    agreement = agree([("permessage-deflate", [])], DEFAULT)
    assert agreement is not None
    deflater, inflater = agreement.deflater(), Inflater(15, keep=True)
    message = b"".join(b"%d " % n for n in range(30_000))

    def sent(data: bytes) -> bytes:
        return b"".join(inflater.inflate(deflater.deflate(data), last=True))

    assert sent(message[:5000]) == message[:5000]
    for _ in zip(range(taken), deflater.steps(message[50_000:]), strict=False):
        pass
    deflater.forget()
    assert sent(message[50_000:60_000]) == message[50_000:60_000]
    assert sent(message) == message
