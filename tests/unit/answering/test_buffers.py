"""What all connections of a listener hold together."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import roadrunner_trio as rr
from roadrunner_trio.answering.buffers import Buffered, Share
from roadrunner_trio.answering.context import ServerContext


def test_there_is_room_up_to_the_limit_and_not_beyond():
    all_ = Buffered(100)
    one, other = Share(all_), Share(all_)
    assert one.hold(60)
    assert (one.room, other.room) == (40, 40)
    assert not other.hold(41)
    assert all_.held == 60
    assert other.hold(40)
    assert one.room == 0


def test_a_share_is_told_as_a_whole():
    all_ = Buffered(100)
    one, other = Share(all_), Share(all_)
    assert one.hold(60)
    assert one.hold(60), "what it has already is not asked for again"
    assert all_.held == 60
    assert not other.hold(41)
    assert other.held == 0
    assert other.hold(40)
    assert not one.hold(61)
    assert one.held == 60, "it keeps what it had"
    assert one.hold(10)
    assert all_.held == 50


def test_giving_up_twice_gives_back_once():
    all_ = Buffered(100)
    share = Share(all_)
    assert share.hold(70)
    share.release()
    share.release()
    assert (share.held, all_.held) == (0, 0)


def test_less_is_always_allowed():
    """A limit that was lowered, or passed by what could not be refused, must not keep anybody from giving back."""
    all_ = Buffered(100)
    share = Share(all_)
    assert share.hold(100)
    all_.limit = 10
    assert share.hold(50)
    assert all_.held == 50


def test_no_limit():
    all_ = Buffered(None)
    assert Share(all_).hold(10**15)
    assert all_.held == 10**15


def test_nothing_is_nothing():
    share = Share(Buffered(0))
    assert share.hold(0)
    assert not share.hold(1)


@given(st.integers(0, 100), st.lists(st.tuples(st.integers(0, 4), st.integers(0, 60)), max_size=40))
def test_the_sum_is_that_of_the_shares_and_never_above_the_limit(limit, steps):
    all_ = Buffered(limit)
    shares = [Share(all_) for _ in range(5)]
    for which, octets in steps:
        before, others = shares[which].held, all_.held - shares[which].held
        held = shares[which].hold(octets)
        assert held == (octets <= before or others + octets <= limit)
        assert shares[which].held == (octets if held else before)
        assert all_.held == sum(share.held for share in shares) <= limit
    for share in shares:
        share.release()
    assert all_.held == 0


@pytest.mark.parametrize(("given", "limit"), [({}, 256 * 1024 * 1024), ({"max_buffered": 7}, 7)])
def test_a_context_has_the_listeners_limit(given, limit):
    context = ServerContext(None, limits=rr.Limits(**given))
    assert context.buffered.limit == limit
    assert context.buffered.held == 0
