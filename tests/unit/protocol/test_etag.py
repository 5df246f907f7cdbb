"""Entity tags and conditions, piece by piece; in the order of the RFC they are in ``tests/conformance``."""

from __future__ import annotations

import time
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadrunner_trio.protocol.codec.dates import format_date
from roadrunner_trio.protocol.codec.etag import (
    ANY,
    Conditions,
    ETag,
    Validators,
    conditions,
    judge,
    not_modified,
    parse_etag,
    parse_etags,
    range_applies,
    strongly_matches,
    weakly_matches,
)

A, B, WEAK_A = ETag(b'"a"'), ETag(b'"b"'), ETag(b'"a"', weak=True)
tags = st.builds(
    ETag,
    st.text(st.characters(min_codepoint=33, max_codepoint=255, exclude_characters='"\x7f'), max_size=8)
    .filter(lambda text: not any(0x7F <= ord(each) < 0x80 for each in text))
    .map(lambda text: b'"' + text.encode("latin-1") + b'"'),
    st.booleans(),
)


@given(tags)
def test_a_tag_is_read_as_it_is_written(tag):
    assert parse_etag(bytes(tag)) == tag


@given(st.lists(tags, min_size=1, max_size=6), st.sampled_from([b",", b", ", b" ,\t", b",,", b", , "]))
def test_a_list_of_tags_is_read_as_it_is_written(found, separator):
    assert parse_etags(separator.join(map(bytes, found))) == tuple(found)


@pytest.mark.parametrize("value", [b"", b"a", b'"a', b'a"', b'w/"a"', b'W/ "a"', b'"a b"', b'"a"b"', b'"a" "b"', b"*"])
def test_what_is_no_tag(value):
    assert parse_etag(value) is None
    assert parse_etags(value) == (ANY if value == b"*" else None)


def test_a_comma_within_quotes_belongs_to_its_tag():
    assert parse_etags(b'"a,b", W/"c"') == (ETag(b'"a,b"'), ETag(b'"c"', weak=True))


@given(st.binary(max_size=40))
def test_octets_of_any_kind_raise_nothing(data):
    parse_etag(data)
    parse_etags(data)


@pytest.mark.parametrize("value", [b" " * 16000 + b"x", b"," * 16000 + b"x", b'"' * 16001, b'"a",' * 4000 + b"x"])
def test_the_time_it_takes_is_linear(value):
    began = time.process_time()
    assert parse_etags(value) is None
    assert time.process_time() - began < 1  # quadratic, it would be a hundred times as long


@given(tags, st.lists(tags, max_size=5))
def test_what_matches_strongly_matches_weakly(current, wanted):
    if strongly_matches(wanted, current):
        assert weakly_matches(wanted, current)
    assert not strongly_matches(wanted, ETag(current.opaque, weak=True))


def test_nothing_matches_nothing_and_a_star_whatever_there_is():
    assert not strongly_matches((A,), None)
    assert not weakly_matches((A,), None)
    assert strongly_matches(ANY, None)
    assert weakly_matches(ANY, WEAK_A)


def test_lines_of_a_list_are_one_list_and_two_dates_are_none():
    date = format_date(1000)
    assert conditions([(b"if-match", b'"a"'), (b"host", b"h"), (b"if-match", b'"b"')]).match == (A, B)
    assert conditions([(b"if-modified-since", date)]).modified_since == 1000
    assert conditions([(b"if-modified-since", date)] * 2).modified_since is None
    assert conditions([(b"if-unmodified-since", b"0")]).unmodified_since is None
    assert conditions([(b"if-match", b"rubbish")]).match == ()
    assert conditions([(b"host", b"h")]) == Conditions()


times = st.one_of(st.none(), st.integers(0, 3))
lists = st.one_of(st.none(), st.just(ANY), st.lists(st.sampled_from([A, B, WEAK_A]), max_size=2).map(tuple))


@given(
    st.sampled_from([b"GET", b"HEAD", b"PUT", b"DELETE"]),
    st.builds(Conditions, lists, lists, times, times),
    st.builds(Validators, st.sampled_from([None, A, WEAK_A]), times),
)
def test_the_verdict_is_that_of_the_standards_steps(method, asked, there):
    assert judge(method, asked, there) == literally(method, asked, there)


def literally(method, asked, there):
    """Section 13.2.2, sentence by sentence."""
    reads, changed = method in (b"GET", b"HEAD"), there.modified
    if asked.match is not None and not strongly_matches(asked.match, there.etag):
        return 412
    if asked.match is None and later(changed, asked.unmodified_since):
        return 412
    if asked.none_match is not None and weakly_matches(asked.none_match, there.etag):
        return 304 if reads else 412
    since = asked.modified_since if asked.none_match is None and reads else None
    return 304 if None not in (changed, since) and not later(changed, since) else 200


def later(changed, since):
    return None not in (changed, since) and changed > since


@pytest.mark.parametrize(
    ("value", "there", "applies"),
    [
        (None, Validators(), True),
        (b'"a"', Validators(A), True),
        (b'"b"', Validators(A), False),
        (b'W/"a"', Validators(WEAK_A), False),
        (b'"a"', Validators(WEAK_A), False),
        (b'"a"', Validators(), False),
        (format_date(1000), Validators(A, 1000, settled=True), True),
        (format_date(1000), Validators(A, 1000), False),
        (format_date(999), Validators(A, 1000, settled=True), False),
        (format_date(1001), Validators(A, 1000, settled=True), False),
        (b"rubbish", Validators(A, 1000, settled=True), False),
    ],
)
def test_if_range_compares_strongly(value, there, applies):
    assert range_applies([] if value is None else [(b"if-range", value)], there) is applies


def test_two_if_ranges_are_none_that_can_match():
    assert not range_applies([(b"if-range", b'"a"')] * 2, Validators(A))


def test_a_304_says_nothing_of_content_that_it_has_not():
    given_ = [
        (b"content-type", b"text/plain"),
        (b"content-length", b"5"),
        (b"content-location", b"/x"),
        (b"content-security-policy", b"x"),
        (b"cache-control", b"no-cache"),
        (b"etag", b'"a"'),
        (b"last-modified", b"x"),
        (b"set-cookie", b"a=b"),
        (b"vary", b"accept"),
    ]
    kept = {name for name, _ in not_modified(given_)}
    assert kept == {b"content-location", b"content-security-policy", b"cache-control", b"etag", b"set-cookie", b"vary"}
    assert not_modified([(b"last-modified", b"x")]) == [(b"last-modified", b"x")]


def test_lists_without_end_are_not_kept():
    tracemalloc.start()
    try:
        for at in range(32):
            assert len(parse_etags(b'"%d",' % at + b'"",' * 10_000) or ()) == 10_001
        assert tracemalloc.get_traced_memory()[0] < 1_000_000
    finally:
        tracemalloc.stop()
