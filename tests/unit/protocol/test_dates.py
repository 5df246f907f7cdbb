"""HTTP-dates: one form out, three in, and nothing else."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadrunner_trio.protocol.codec.dates import format_date, parse_date

THEN = 784111777


@pytest.mark.parametrize(
    "text", ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"]
)
def test_the_three_forms_of_the_standard(text):
    assert parse_date(text.encode()) == THEN
    assert format_date(THEN) == b"Sun, 06 Nov 1994 08:49:37 GMT"


@given(st.integers(0, 253402300799))
def test_what_is_written_is_read(seconds):
    assert parse_date(format_date(seconds)) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "784111777",
        "yesterday",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 06 Nov 1994 08:49:37 +0000",
        "Sun, 6 Nov 1994 08:49:37 GMT",
        "sun, 06 nov 1994 08:49:37 gmt",
        "Sun, 31 Feb 1994 08:49:37 GMT",
        "Sun, 00 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 0000 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:00:00 GMT",
        "Sun, 06 Nov 1994 08:60:37 GMT",
        "Sun, 06 Nov 1994 08:49:61 GMT",
        "Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT",
        "1994-11-06T08:49:37Z",
    ],
)
def test_what_is_no_date(text):
    assert parse_date(text.encode()) is None


def test_a_leap_second_is_one():
    assert parse_date(b"Sat, 31 Dec 2016 23:59:60 GMT") == 1483228800


def test_two_digits_of_a_year_are_never_more_than_fifty_years_ahead():
    now = time.gmtime().tm_year
    for ahead, year in ((50, now + 50), (51, now - 49)):
        text = f"Monday, 01-Jan-{(now + ahead) % 100:02} 00:00:00 GMT".encode()
        assert time.gmtime(parse_date(text)).tm_year == year


@given(st.binary(max_size=60))
def test_octets_of_any_kind_raise_nothing(data):
    parse_date(data)
