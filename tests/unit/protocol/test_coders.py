"""Codings: what goes in comes out, a stream costs little, and nothing inflates without end in one step."""

from __future__ import annotations

import gzip
import sys
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadrunner_trio.protocol.codec import coders
from roadrunner_trio.protocol.codec.coders import PIECE, codings, encode, open_decoder, open_encoder

every = pytest.mark.parametrize("coding", codings())


def decoded(coding, data, cut=None):
    decoder, out = open_decoder(coding), b""
    pieces = [data[at : at + cut] for at in range(0, len(data), cut)] if cut else [data]
    for piece in pieces:
        got = decoder.decode(piece)
        while got:
            assert len(got) <= PIECE
            out += got
            got = decoder.decode(b"")
    return out, decoder.finished


@every
@given(st.lists(st.binary(max_size=300), max_size=5), st.booleans(), st.integers(1, 50))
def test_what_is_encoded_is_decoded(coding, pieces, flush, cut):
    whole = b"".join(pieces)
    assert decoded(coding, encode(coding, whole), cut) == (whole, True)
    encoder = open_encoder(coding)
    data = b"".join([encoder.encode(piece, flush=flush) for piece in pieces]) + encoder.finish()
    assert decoded(coding, data, cut) == (whole, True)


@every
def test_with_every_flush_all_is_there(coding):
    encoder, decoder = open_encoder(coding), open_decoder(coding)
    for at in range(20):
        piece = b"data: event %d\n\n" % at
        assert decoder.decode(encoder.encode(piece, flush=True)) == piece


@every
def test_what_is_in_another_coding_is_an_error(coding):
    with pytest.raises(ValueError):
        decoded(coding, b"\x99this is plain text, and a good deal of it" * 10)


@every
def test_what_is_cut_short_is_not_finished(coding):
    data = encode(coding, bytes(range(256)) * 20)
    assert decoded(coding, data[:-3])[1] is False


@every
def test_a_bomb_comes_piece_by_piece(coding):
    bomb = encode(coding, bytes(50_000_000))
    assert len(bomb) < 100_000
    decoder, octets = open_decoder(coding), 0
    tracemalloc.start()
    got = decoder.decode(bomb)
    while got:
        octets += len(got)
        got = decoder.decode(b"")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert octets == 50_000_000
    assert peak < 2_000_000


def test_gzip_is_what_everybody_reads():
    assert gzip.decompress(encode("gzip", b"hello" * 1000)) == b"hello" * 1000
    encoder = open_encoder("gzip")
    assert gzip.decompress(encoder.encode(b"hello", flush=True) + encoder.finish()) == b"hello"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the size of a process is told by Linux")
@every
def test_a_thousand_open_streams_take_a_hundred_megabytes_at_most(coding):
    def resident():
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * 4096

    encode(coding, bytes(1000))
    before = resident()
    streams = [open_encoder(coding) for _ in range(200)]
    for stream in streams:
        for at in range(10):
            stream.encode(b"data: event %d and something about it\n\n" % at, flush=True)
    assert (resident() - before) / 200 < 100_000 * 1.3


def test_what_is_not_there_is_not_offered(monkeypatch):
    for cached in (coders.codings, coders.zstd_library, coders.brotli_library):
        cached.cache_clear()
    try:
        for name in ("backports.zstd", "compression.zstd", "brotli"):
            monkeypatch.setitem(sys.modules, name, None)
        assert codings() == ("gzip",)
        for name in ("br", "zstd"):
            with pytest.raises(RuntimeError, match=rf"roadrunner-trio\[{name}\]"):
                coders.check_codings((name,))
        with pytest.raises(ValueError, match="deflate"):
            coders.check_codings(("deflate",))
        coders.check_codings(("gzip",))
    finally:
        monkeypatch.undo()
        for cached in (coders.codings, coders.zstd_library, coders.brotli_library):
            cached.cache_clear()
