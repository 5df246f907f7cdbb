"""The words that settings take: durations, sizes, counts, addresses."""

from __future__ import annotations

import argparse
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadrunner_trio.command.options import addresses, count, duration, optional_size, show_duration, show_size, size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30", 30.0),
        ("1.5s", 1.5),
        (".5", 0.5),
        ("500ms", 0.5),
        ("7ms", 0.007),
        ("5m", 300.0),
        ("1H", 3600.0),
        ("none", math.inf),
        ("Inf", math.inf),
        ("0", 0.0),
    ],
)
def test_duration(text: str, seconds: float) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "-1", "1.", "1 s", "1d", "1e3", "nan", "1.5.5", "٣", "5mm", "5\n"])
def test_no_duration(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is no duration"):
        duration(text)


@given(st.floats(min_value=0, allow_nan=False))
def test_durations_come_back(seconds: float) -> None:
    assert duration(show_duration(seconds)) == seconds


@given(st.integers(min_value=0, max_value=10**9))
def test_milliseconds_are_the_nearest_float(number: int) -> None:
    assert duration(f"{number}ms") == number / 1000


@pytest.mark.parametrize(
    ("text", "octets"),
    [("0", 0), ("1", 1), ("512b", 512), ("64K", 65536), ("64kb", 65536), ("10M", 10485760), ("1GiB", 1 << 30)],
)
def test_size(text: str, octets: int) -> None:
    assert size(text) == octets


@pytest.mark.parametrize("text", ["", "K", "-1", "1.5M", "1T", "ten", "none", "1 K", "5ib"])
def test_no_size(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is no size"):
        size(text)


@given(st.none() | st.integers(min_value=0))
def test_sizes_come_back(octets: int | None) -> None:
    assert optional_size(show_size(octets)) == octets


def test_sizes_are_shown_in_the_largest_unit_that_keeps_them_whole() -> None:
    assert [show_size(n) for n in (0, 1023, 10240, 10 << 20, 1 << 30, 1025)] == [
        "0",
        "1023",
        "10K",
        "10M",
        "1G",
        "1025",
    ]


@pytest.mark.parametrize("text", ["-1", "1.5", "1K", "", "many"])
def test_no_count(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        count(text)


# -- addresses -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("binds", "host", "port", "expected"),
    [
        (None, None, None, ("127.0.0.1:8000",)),
        (None, None, 0, ("127.0.0.1:0",)),
        (None, "example.test", None, ("example.test:8000",)),
        (None, "::1", 81, ("[::1]:81",)),
        (None, "[::1]", 81, ("[::1]:81",)),
        (None, "", 80, (":80",)),
        ([":80", "[::1]:81"], None, None, (":80", "[::1]:81")),
    ],
)
def test_addresses(binds: list[str] | None, host: str | None, port: int | None, expected: tuple[str, ...]) -> None:
    assert addresses(binds, host, port) == expected
