"""Budgets, windows, numbers of streams, settings of a peer, and frames as they are written."""

from __future__ import annotations

import pytest
from http2_tools import split

from roadrunner_trio.protocol.http2 import frames
from roadrunner_trio.protocol.http2.budget import Budget
from roadrunner_trio.protocol.http2.failure import ConnectionFailed
from roadrunner_trio.protocol.http2.numbers import RESET, SKIPPED, Numbers, Past
from roadrunner_trio.protocol.http2.peer_settings import read_settings
from roadrunner_trio.protocol.http2.stream import Stream
from roadrunner_trio.protocol.http2.windows import Incoming, Outgoing


class Time:
    now = 0.0

    def __call__(self) -> float:
        return self.now


# -- budgets -------------------------------------------------------------------------------------


def test_a_budget_is_spent_and_not_overdrawn():
    budget = Budget(10, 1, Time())
    assert [budget.spend(4) for _ in range(3)] == [True, True, False]


def test_a_budget_fills_up_with_time():
    time = Time()
    budget = Budget(10, 2, time)
    assert budget.spend(10)
    time.now = 3
    assert budget.spend(6)
    assert not budget.spend(1)


def test_a_budget_is_never_fuller_than_full():
    time = Time()
    budget = Budget(10, 2, time)
    budget.earn(100)
    assert budget.left == 10
    time.now = 1000
    assert [budget.spend(5) for _ in range(5)] == [True, True, True, True, False]  # twice, within that time


def test_a_budget_is_earned_back():
    budget = Budget(10, 0, Time())
    assert all(budget.spend(1) and (budget.earn(1) or True) for _ in range(100))


# -- windows -------------------------------------------------------------------------------------


def test_the_smaller_of_two_windows_counts():
    windows, stream = Outgoing(), Stream(1, None)
    assert windows.sendable(stream) == 65_535
    windows.spend(stream, 65_000)
    other = Stream(3, None)
    assert windows.sendable(other) == 535
    assert windows.widen(10_000)
    assert windows.sendable(stream) == 535
    assert windows.sendable(other) == 10_535


def test_a_smaller_base_makes_windows_negative():
    windows, stream = Outgoing(), Stream(1, None)
    windows.spend(stream, 100)
    windows.base = 50
    assert windows.base + stream.window_out == -50
    assert windows.sendable(stream) == 0
    assert windows.widen_stream(stream, 51)
    assert windows.sendable(stream) == 1


def test_no_window_is_larger_than_it_can_be():
    windows, stream = Outgoing(), Stream(1, None)
    room = frames.MAX_WINDOW - 65_535
    assert windows.widen(room)
    assert not windows.widen(1)
    assert windows.widen_stream(stream, room)
    assert windows.holds(stream.window_out)
    assert not windows.widen_stream(stream, 1)
    assert not windows.holds(stream.window_out)


def test_credit_is_given_by_halves():
    windows, stream = Incoming(100_000, 200_000), Stream(1, None)
    assert [windows.credit_stream(stream, 30_000) for _ in range(4)] == [0, 60_000, 0, 60_000]
    assert stream.window_in == 120_000
    assert [windows.credit(30_000) for _ in range(8)] == [0, 0, 0, 120_000, 0, 0, 0, 120_000]
    assert windows.left == 440_000


def test_a_window_is_spent_to_its_last_octet():
    windows, stream = Incoming(100_000, 200_000), Stream(1, None)
    assert windows.admits(stream, 100_000)
    assert not windows.admits(stream, 1)


def test_a_smaller_window_counts_when_it_is_acknowledged():
    windows = Incoming(20_000, 200_000)
    assert windows.admits(Stream(1, None), 65_535)
    windows.acknowledged()
    assert not windows.admits(Stream(3, None), 20_001)


# -- numbers -------------------------------------------------------------------------------------


def test_what_has_become_of_a_stream():
    numbers = Numbers()
    assert numbers.past(1) is Past.IDLE
    for number in (1, 3, 9, 11):
        numbers.open(number)
    numbers.reset(3, Past.RESET_BY_US)
    numbers.reset(9, Past.RESET_BY_PEER)
    assert [numbers.past(number).name for number in (1, 2, 3, 5, 7, 9, 11, 13)] == [
        *("CLOSED", "IDLE", "RESET_BY_US", "SKIPPED"),
        *("SKIPPED", "RESET_BY_PEER", "CLOSED", "IDLE"),
    ]


def test_the_first_stream_may_have_any_number():
    numbers = Numbers()
    numbers.open(7)
    assert [numbers.past(number) for number in (1, 5, 7)] == [Past.SKIPPED, Past.SKIPPED, Past.CLOSED]


def test_notes_are_taken_of_the_last_only():
    numbers = Numbers()
    for number in range(1, 2001, 4):
        numbers.open(number)
        numbers.reset(number, Past.RESET_BY_US)
    assert sum(numbers.past(number) is Past.RESET_BY_US for number in range(1, 2001)) == RESET
    assert sum(numbers.past(number) is Past.SKIPPED for number in range(1, 2001, 2)) == SKIPPED
    assert numbers.past(1997) is Past.RESET_BY_US
    assert numbers.past(1) is Past.CLOSED


# -- settings ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pairs", "code"),
    [
        ([(2, 2)], 1),
        ([(8, 2)], 1),
        ([(9, 3)], 1),
        ([(4, 2**31)], 3),
        ([(5, 16_383)], 1),
        ([(5, 2**24)], 1),
        ([(1, 1)] * 33, 11),
    ],
)
def test_settings_that_cannot_be(pairs, code):
    with pytest.raises(ConnectionFailed) as caught:
        read_settings(b"".join(frames.SETTING.pack(*pair) for pair in pairs))
    assert caught.value.code == code


def test_settings_that_can_be():
    pairs = [
        (1, 0),
        (2, 0),
        (2, 1),
        (3, 0),
        (4, 0),
        (4, 2**31 - 1),
        (5, 16_384),
        (5, 2**24 - 1),
        (6, 0),
        (99, 2**32 - 1),
    ]
    assert read_settings(b"".join(frames.SETTING.pack(*pair) for pair in pairs)) == pairs
    with pytest.raises(ConnectionFailed) as caught:
        read_settings(b"\x00\x01\x00\x00\x00")
    assert caught.value.code == frames.FRAME_SIZE_ERROR
    assert str(caught.value) == "bad_settings (6)"


# -- frames --------------------------------------------------------------------------------------


def test_frames_as_they_are_written():
    assert frames.frame(0xA, 0xB, 0xC, b"d") == b"\x00\x00\x01\x0a\x0b\x00\x00\x00\x0cd"
    assert frames.goaway(7, 11) == b"\x00\x00\x08\x07\x00\x00\x00\x00\x00\x00\x00\x00\x07\x00\x00\x00\x0b"
    assert frames.rst_stream(5, 8) == b"\x00\x00\x04\x03\x00\x00\x00\x00\x05\x00\x00\x00\x08"
    assert frames.window_update(0, 1) == b"\x00\x00\x04\x08\x00\x00\x00\x00\x00\x00\x00\x00\x01"
    assert frames.settings([(3, 100)]) == b"\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x64"


@pytest.mark.parametrize("size", [0, 1, 16_384, 16_385, 32_768, 50_000])
def test_a_large_head_goes_in_several_frames(size):
    written = list(split(frames.headers(5, b"b" * size, frames.END_STREAM)))
    assert b"".join(payload for *_, payload in written) == b"b" * size
    assert [kind for kind, *_ in written] == [frames.HEADERS] + [frames.CONTINUATION] * (len(written) - 1)
    assert all(len(payload) <= frames.MAX_FRAME for *_, payload in written)
    assert [flags & frames.END_HEADERS for _, flags, *_ in written] == [0] * (len(written) - 1) + [frames.END_HEADERS]
    assert written[0][1] & frames.END_STREAM


@pytest.mark.parametrize(
    ("payload", "content"),
    [
        (b"", None),
        (b"\x00", b""),
        (b"\x01", None),
        (b"\x01a", b""),
        (b"\x01ab", b"a"),
        (b"\x02a", None),
        (b"\xff", None),
    ],
)
def test_padding(payload, content):
    assert frames.unpadded(payload) == content
