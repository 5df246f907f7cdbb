"""The memory that processes share, and how they take turns at the door by it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadrunner_trio.processes import board as boards
from roadrunner_trio.processes.board import MOST, PATIENT, STEP, TOLERANCE, Board, Cell, Company, Row


@pytest.fixture
def board() -> Iterator[Board]:
    made = Board.create(rows=8, width=600)
    yield made
    made.close()


def row_of(board: Board) -> Row:
    row = board.give()
    assert row is not None
    return row


def test_what_one_process_writes_another_reads(board: Board) -> None:
    row = row_of(board)
    other = Board(os.dup(board.descriptor), 8, 600)
    row[Cell.REQUESTS] = 7
    with row.numbers as numbers:
        numbers[0], numbers[599] = -1, 2**62
    there = other.row(row.number)
    assert there[Cell.REQUESTS] == 7
    with there.numbers as numbers:
        assert (numbers[0], numbers[599], len(numbers)) == (-1, 2**62, 600)
    with other.row(row.number + 1).numbers as numbers:
        assert not any(numbers)
    other.close()


def test_a_row_is_given_once_and_clean(board: Board) -> None:
    rows = [row_of(board) for _ in range(7)]  # the first is kept for what the dead have counted
    assert [row.number for row in rows] == [1, 2, 3, 4, 5, 6, 7]
    assert board.give() is None
    rows[2][Cell.PID] = 5
    with rows[2].numbers as numbers:
        numbers[599] = 1
    board.take_back(rows[2])
    again = row_of(board)
    assert again.number == 3
    assert again[Cell.PID] == 0
    with again.numbers as numbers:
        assert not any(numbers)


def test_a_beat_ages(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    row = row_of(board)
    assert row.age == 0
    now = 10_000_000_000
    monkeypatch.setattr(boards.time, "monotonic_ns", lambda: now)
    row.beat()
    now += 2_500_000_000
    assert row.age == 2.5


def companies(board: Board, count: int) -> list[Company]:
    made = [Company(row_of(board)) for _ in range(count)]
    for company in made:
        company.open()
    return made


def test_who_has_more_than_others_waits(board: Board) -> None:
    one, other = (company.seat() for company in companies(board, 2))
    assert one.patience(TOLERANCE - 1, TOLERANCE - 1) == 0
    assert one.patience(TOLERANCE, TOLERANCE) == STEP * TOLERANCE
    assert one.patience(1000, 1000) == MOST
    assert other.patience(0, 0) == 0
    assert other.patience(999, 999) == 0
    assert one.patience(1000, 1000) == 0


def test_nobody_waits_for_one_that_does_not_accept(board: Board) -> None:
    first, second = companies(board, 2)
    seat = first.seat()
    assert seat.patience(10, 10) > 0
    second.close()
    assert seat.patience(10, 10) == 0
    first.close()
    assert seat.patience(10, 10) == 0


def test_all_listeners_of_a_process_count_together(board: Board) -> None:
    first, _ = companies(board, 2)
    one, other = first.seat(), first.seat()
    assert one.patience(1, 1) == 0
    assert other.patience(1, 1) > 0
    assert one.patience(0, 0) == 0


def test_who_waits_in_vain_waits_no_more_until_the_other_is_seen_again(board: Board) -> None:
    one, other = (company.seat() for company in companies(board, 2))
    for _ in range(PATIENT):
        assert one.patience(100, 100) > 0
        assert one.insistence() == 1
    assert one.patience(100, 100) == 0  # the other is at something that takes long
    assert one.patience(101, 101) == 0
    other.patience(5, 5)
    assert one.patience(101, 101) > 0
    assert one.insistence() == 1


class Hand:
    """A clock that is moved by hand."""

    now = 100.0

    def monotonic(self) -> float:
        return self.now

    def monotonic_ns(self) -> int:
        return int(self.now * 1e9)


def test_who_loses_connections_as_fast_as_they_come_does_not_wait(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    hand = Hand()
    monkeypatch.setattr(boards, "time", hand)
    one, _ = (company.seat() for company in companies(board, 2))
    assert one.patience(10, 10) == MOST
    hand.now += MOST * 1.1
    assert one.patience(10, 20) == 0  # ten have come and ten have left meanwhile, and so will these
    hand.now += MOST * 0.5
    assert one.patience(13, 23) == STEP * 3  # ten of the thirteen will
    hand.now += MOST * 0.6
    assert one.patience(13, 23) == MOST  # three have come since, and none has left


def test_who_loses_many_at_once_and_has_new_ones_does(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that is started anew gives up all its connections, and makes others."""
    hand = Hand()
    monkeypatch.setattr(boards, "time", hand)
    one, _ = (company.seat() for company in companies(board, 2))
    one.patience(50, 50)
    hand.now += MOST * 1.1
    assert one.patience(0, 50) == 0
    for count in range(2, 13):
        assert one.patience(count, 50 + count) > 0
    hand.now += MOST * 1.1
    assert one.patience(12, 62) == MOST


def test_what_left_long_ago_says_nothing(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    hand = Hand()
    monkeypatch.setattr(boards, "time", hand)
    one, _ = (company.seat() for company in companies(board, 2))
    assert one.patience(10, 10) == MOST
    hand.now += 60
    assert one.patience(10, 1000) == MOST


def test_who_has_gone_is_counted_as_gone_at_once(board: Board) -> None:
    """Else a neighbour that sees a crowd that is no more takes as many itself before it lets another have one."""
    one, other = companies(board, 2)
    mine, theirs = one.seat(), other.seat()
    mine.patience(100, 100)
    assert theirs.patience(50, 50) == 0
    mine.note(3)
    assert theirs.patience(50, 50) > 0


def test_a_successor_that_nobody_has_accepted_is_no_departure(board: Board) -> None:
    one, _ = (company.seat() for company in companies(board, 2))
    assert one.patience(3, 3) == STEP * 3
    assert one.patience(5, 3) == STEP * 5


@given(st.lists(st.integers(0, 3), min_size=100, max_size=300))
def test_whoever_wakes_nobody_has_many_more_than_another(wakes: list[int]) -> None:
    """Those who come accept as long as it is their turn; a process that is awake at all has its part."""
    board = Board.create(rows=8)
    seats, counts = [company.seat() for company in companies(board, 4)], [0, 0, 0, 0]
    for who in wakes:
        while seats[who].patience(counts[who], counts[who]) == 0 and counts[who] < 1000:
            counts[who] += 1
    assert max(counts) - min(counts) <= TOLERANCE
    board.close()
