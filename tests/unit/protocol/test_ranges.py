"""Which octets a request asks for, against a list of them, one by one."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadrunner_trio.protocol.codec.ranges import MOST_RANGES, Multipart, Span, parse_ranges, unsatisfied


@pytest.mark.parametrize(
    ("value", "spans"),
    [
        (b"bytes=0-499", [(0, 500)]),  # the examples of section 14.1.2
        (b"bytes=500-999", [(500, 500)]),
        (b"bytes=-500", [(9500, 500)]),
        (b"bytes=9500-", [(9500, 500)]),
        (b"bytes=0-0,-1", [(0, 1), (9999, 1)]),
        (b"bytes= 0-999, 4500-5499, -1000", [(0, 1000), (4500, 1000), (9000, 1000)]),
        (b"bytes=500-600,601-999", [(500, 500)]),
        (b"bytes=500-700,601-999", [(500, 500)]),
        (b"BYTES=1-2", [(1, 2)]),
        (b"bytes=,1-2,,", [(1, 2)]),
        (b"bytes=0-99999", [(0, 10000)]),
        (b"bytes=-99999", [(0, 10000)]),
        (b"bytes=0-" + b"9" * 5000, [(0, 10000)]),
        (b"bytes=" + b"0" * 5000 + b"5-6", [(5, 2)]),
        (b"bytes=20000-,5-6", [(5, 2)]),
        (b"bytes=-0,5-6", [(5, 2)]),
        (b"bytes=5000-,0-1", [(5000, 5000), (0, 2)]),
        (b"bytes=9-9,5-5,9-10,0-0", [(9, 2), (5, 1), (0, 1)]),
    ],
)
def test_ranges_of_ten_thousand_octets(value, spans):
    assert parse_ranges(value, 10000) == spans


@pytest.mark.parametrize("value", [b"bytes=10000-", b"bytes=10000-10001", b"bytes=-0", b"bytes=" + b"9" * 5000 + b"-"])
def test_what_lies_outside_cannot_be_satisfied(value):
    assert parse_ranges(value, 10000) == []
    assert unsatisfied(10000) == b"bytes */10000"


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"bytes",
        b"bytes=",
        b"bytes=,",
        b"bytes=-",
        b"bytes=x",
        b"bytes=5",
        b"bytes=5-4",
        b"bytes=0-1,5-4",
        b"bytes=1-2-3",
        b"bytes=--5",
        b"bytes=+1-2",
        b"bytes=1 -2",
        b"bytes=0x1-2",
        b"bytes=1-2;3-4",
        b"bytes =1-2",
        b"items=0-5",
        b"bytes=" + b",".join(b"%d-%d" % (at, at) for at in range(0, 2 * MOST_RANGES + 2, 2)),
    ],
)
def test_what_is_ignored(value):
    assert parse_ranges(value, 10000) is None


def test_of_what_has_no_octets():
    assert parse_ranges(b"bytes=0-", 0) == []
    assert parse_ranges(b"bytes=-5", 0) is None


asked = st.lists(
    st.one_of(
        st.tuples(st.integers(0, 60), st.one_of(st.none(), st.integers(0, 60))),
        st.tuples(st.none(), st.integers(0, 60)),
    ),
    min_size=1,
    max_size=MOST_RANGES,
)


@given(asked, st.integers(0, 50))
def test_what_is_sent_are_the_octets_that_were_asked_for(ranges, size):
    value = b"bytes=" + b",".join(
        b"%b-%b" % (b"" if first is None else b"%d" % first, b"" if last is None else b"%d" % last)
        for first, last in ranges
    )
    wanted: set[int] = set()
    for first, last in ranges:
        if first is None:
            wanted.update(range(max(0, size - last), size))
        else:
            wanted.update(range(first, size if last is None else min(last + 1, size)))
    found = parse_ranges(value, size)
    if any(first is not None and last is not None and last < first for first, last in ranges):
        assert found is None
    elif found is not None:
        sent = [at for span in found for at in range(span.first, span.end)]
        assert set(sent) == wanted
        assert len(sent) == len(wanted), "nothing twice"
        assert all(span.length for span in found)
    else:
        assert size == 0


@given(st.binary(max_size=60), st.integers(0, 100))
def test_octets_of_any_kind_raise_nothing(data, size):
    parse_ranges(b"bytes=" + data, size)


def test_the_time_it_takes_is_linear():
    began = time.process_time()
    parse_ranges(b"bytes=" + b" " * 16000 + b"x", 10)
    parse_ranges(b"bytes=" + b"0-," * 5000, 10)
    assert time.process_time() - began < 1


def test_several_parts_are_framed_and_their_length_is_known():
    content = bytes(range(100))
    spans = [Span(0, 5), Span(95, 5)]
    several = Multipart(spans, 100, b"text/plain", b"XX")
    body = b"".join(head + content[span.first : span.end] for head, span in several.parts) + several.end
    assert len(body) == several.length
    assert body == (
        b"--XX\r\ncontent-type: text/plain\r\ncontent-range: bytes 0-4/100\r\n\r\n\x00\x01\x02\x03\x04\r\n"
        b"--XX\r\ncontent-type: text/plain\r\ncontent-range: bytes 95-99/100\r\n\r\n_`abc\r\n--XX--\r\n"
    )
    assert several.media_type == b"multipart/byteranges; boundary=XX"
