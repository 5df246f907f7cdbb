"""The token buckets: exact, bounded, forgetful only where nothing is lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadrunner_trio.answering.rate_limit import Buckets, RateLimit, peer_key


def test_a_new_peer_has_its_burst_and_then_its_rate():
    buckets = Buckets(RateLimit(2, period=1, burst=3))
    assert [buckets.take("a", 100.0) for _ in range(4)] == [0, 0, 0, 1]
    assert [buckets.take("a", 100.499), buckets.take("a", 100.5)] == [1, 0]
    assert [buckets.take("a", 101.0), buckets.take("a", 101.0)] == [0, 1]


def test_the_burst_is_the_rate_unless_told():
    buckets = Buckets(RateLimit(5))
    assert [buckets.take("a", 0.0) for _ in range(6)].count(0) == 5


@pytest.mark.parametrize(("rate", "period", "wait"), [(1, 60, 60), (1, 1, 1), (1000, 1, 1), (7, 60, 9), (2, 3, 2)])
def test_who_is_refused_is_told_when_to_come_again(rate: int, period: int, wait: int) -> None:
    buckets = Buckets(RateLimit(rate, period=period, burst=1))
    assert buckets.take("a", 5.0) == 0
    assert buckets.take("a", 5.0) == wait
    assert buckets.take("a", 5.0 + wait) == 0


def test_a_refusal_costs_nothing():
    buckets = Buckets(RateLimit(1, period=10))
    assert [buckets.take("a", float(at)) for at in range(10)] == [0, 9, 8, 7, 6, 5, 4, 3, 2, 1]
    assert buckets.take("a", 10.0) == 0


def test_peers_do_not_share():
    buckets = Buckets(RateLimit(1, period=60))
    assert [buckets.take(peer, 0.0) for peer in "abab"] == [0, 0, 60, 60]


def test_a_clock_that_goes_back_gives_nothing():
    buckets = Buckets(RateLimit(1))
    assert [buckets.take("a", at) for at in (50.0, 10.0, 10.5)] == [0, 1, 1]


def test_a_bucket_that_is_full_again_is_forgotten_with_the_next_request():
    buckets = Buckets(RateLimit(1, period=10, burst=2))
    for number in range(100):
        buckets.take(f"peer {number}", number / 100)
    assert len(buckets) == 100
    buckets.take("late", 19.9)
    assert len(buckets) == 101  # the first will be full at 20.0: its burst of two, ten seconds each
    buckets.take("late", 21.0)
    assert len(buckets) == 1


def test_the_table_is_bounded_and_forgets_whom_it_has_not_seen_for_longest():
    buckets = Buckets(RateLimit(1, period=3600, peers=3))
    for peer in "abc":
        assert buckets.take(peer, 0.0) == 0
    assert buckets.take("a", 1.0) > 0
    assert buckets.take("d", 2.0) == 0
    assert len(buckets) == 3
    assert buckets.take("a", 3.0) > 0, "a was seen a moment ago"
    assert buckets.take("b", 3.0) == 0, "b was the one to go"


@given(
    limit=st.builds(RateLimit, st.integers(1, 50), st.integers(1, 20), st.none() | st.integers(1, 50)),
    steps=st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 5000)), max_size=60),
)
def test_nobody_gets_more_than_burst_and_rate_allow_nor_waits_longer(
    limit: RateLimit, steps: list[tuple[str, int]]
) -> None:
    buckets, now = Buckets(limit), 0
    allowed: dict[str, list[int]] = {"a": [], "b": [], "c": []}
    for peer, step in steps:
        now += step
        wait = buckets.take(peer, now / 1000)
        if not wait:
            allowed[peer].append(now)
            continue
        # Had it waited as told, it would have been let in; a copy of the table says so.
        later = Buckets(limit)
        later._buckets = dict(buckets._buckets)
        assert later.take(peer, now / 1000 + wait) == 0
    for times in allowed.values():
        for first in range(len(times)):
            for last in range(first, len(times)):
                span = times[last] - times[first]
                most = (limit.burst or limit.rate) + limit.rate * span / (limit.period * 1000)
                assert last - first + 1 <= most


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("fe80::1%eth0", "fe80::2%eth1", True),
    ],
)
def test_who_counts_as_one_peer(one: str, other: str, same: bool) -> None:
    assert (peer_key(one) == peer_key(other)) is same


@pytest.mark.parametrize("name", ["rate", "period", "burst", "peers"])
@pytest.mark.parametrize("value", [0, -1, 1.5, "1", True])
def test_a_limit_is_made_of_whole_numbers(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=rf"RateLimit\.{name} must be a whole number, at least 1"):
        RateLimit(**{"rate": 1, name: value})
