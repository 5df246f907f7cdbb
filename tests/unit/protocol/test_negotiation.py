"""What a peer would rather have, and what it gets."""

from __future__ import annotations

import time
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadrunner_trio.protocol.codec.negotiation import accepts, choose_coding, joined, preferences, with_vary

ALL = (b"zstd", b"br", b"gzip")


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        (None, None),
        (b"", None),
        (b"gzip", b"gzip"),
        (b"GZIP", b"gzip"),
        (b"x-gzip", b"gzip"),
        (b"deflate", None),
        (b"identity", None),
        (b"gzip, deflate, br, zstd", b"zstd"),
        (b"gzip;q=1.0, br;q=0.9", b"gzip"),
        (b"gzip ; q=0.5 , br ; q=0.8", b"br"),
        (b"gzip;q=0", None),
        (b"gzip;q=0.000, br", b"br"),
        (b"*", b"zstd"),
        (b"*;q=0.1, gzip", b"gzip"),
        (b"zstd;q=0, *", b"br"),
        (b"br;q=0, zstd;q=0, *;q=0", None),
        (b"identity;q=0", None),
        (b"identity;q=0, gzip;q=0.1", b"gzip"),
        (b"identity;q=1, gzip;q=0.5", None),
        (b"identity;q=0.5, gzip;q=0.5", b"gzip"),
        (b"*;q=0, identity", None),
        (b"gzip;q=2", None),
        (b"gzip;q=", None),
        (b"gzip;q=0.0001", None),
        (b"gzip;Q=0", None),
        (b"gzipped, brotli, br-dcb", None),
        (b"gzip;q=0, gzip", None),
    ],
)
def test_the_coding_that_is_chosen(accepted, coding):
    assert choose_coding(accepted, ALL) == coding


def test_only_what_is_offered_is_chosen():
    assert choose_coding(b"zstd, gzip;q=0.1", [b"gzip"]) == b"gzip"
    assert choose_coding(b"zstd", []) is None


@pytest.mark.parametrize(
    ("accepted", "chosen"),
    [
        (None, "text/html"),
        (b"", None),
        (b"*/*", "text/html"),
        (b"application/json", "application/json"),
        (b"application/*", "application/json"),
        (b"text/html;q=0.5, application/json;q=0.6", "application/json"),
        (b"text/*;q=0.5, */*;q=0.6", "application/json"),
        (b"text/html;q=0, */*", "application/json"),
        (b"text/html;level=1", "text/html"),
        (b"image/png", None),
        (b"*/*;q=0", None),
        (b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "text/html"),
    ],
)
def test_the_media_type_that_is_chosen(accepted, chosen):
    assert accepts(accepted, ["text/html", "application/json"]) == chosen
    assert accepts(accepted, []) is None


def test_lines_are_one_list():
    assert joined([(b"accept", b"a"), (b"x", b"y"), (b"accept", b"b")], b"accept") == b"a, b"
    assert joined([], b"accept") is None


@given(st.binary(max_size=80))
def test_octets_of_any_kind_raise_nothing(data):
    choose_coding(data, ALL)
    accepts(data, ["text/html"])


def test_the_time_it_takes_is_linear():
    began = time.process_time()
    for data in (b"," * 16000, b";" * 16000, b"a;q=" * 4000, b" " * 16000, b";q=1" * 4000):
        choose_coding(data, ALL)
    assert time.process_time() - began < 1


@pytest.mark.parametrize(
    ("given_", "vary"),
    [
        ([], b"origin"),
        ([(b"vary", b"Accept")], b"Accept, origin"),
        ([(b"vary", b"Origin")], b"Origin"),
        ([(b"vary", b"accept"), (b"vary", b"x, ORIGIN")], b"accept"),
        ([(b"vary", b"*")], b"*"),
    ],
)
def test_vary_names_everything_once(given_, vary):
    assert with_vary(given_, b"origin")[0] == (b"vary", vary)
    assert with_vary(with_vary(given_, b"origin"), b"origin") == with_vary(given_, b"origin")


def test_lists_without_end_are_not_kept():
    tracemalloc.start()
    try:
        for at in range(32):
            assert preferences(b"%d" % at + b"a" * 30_000)
        assert tracemalloc.get_traced_memory()[0] < 500_000
    finally:
        tracemalloc.stop()
