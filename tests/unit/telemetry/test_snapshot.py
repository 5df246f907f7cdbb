"""Numbers that one process writes and another reads, and their sum."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadrunner_trio.telemetry.snapshot import (
    _MAGIC,
    BOUNDS,
    CELLS,
    MOST_SERIES,
    MOST_TALLIES,
    MOST_TEXT,
    NUMBERS,
    PHASES,
    PLACE,
    SIZE,
    TALLIES,
    WIDTH,
    Snapshot,
    merge,
    retired,
    short,
)
from roadrunner_trio.transport.phases import Phase

small = st.integers(0, 2**40)
words = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=20)
snapshots = st.builds(
    Snapshot,
    st.lists(small, min_size=len(NUMBERS), max_size=len(NUMBERS)),
    st.dictionaries(st.tuples(st.sampled_from(sorted(TALLIES)), words), small, max_size=5),
    st.dictionaries(
        st.tuples(st.sampled_from(["GET", "_OTHER"]), words | st.just(""), st.sampled_from(["2xx", "none"])),
        st.lists(small, min_size=WIDTH, max_size=WIDTH),
        max_size=5,
    ),
)


def test_phases_are_those_of_connections() -> None:
    assert [phase.name.lower() for phase in Phase] == list(PHASES)


def test_names_and_labels_tell_all_numbers_apart() -> None:
    assert len(PLACE) == len(NUMBERS)


@given(snapshots)
def test_what_is_written_is_read(snapshot: Snapshot) -> None:
    area = bytearray(SIZE)
    snapshot.pack_into(area)
    assert Snapshot.unpack(area) == snapshot


@given(snapshots)
def test_an_area_of_numbers_is_as_good(snapshot: Snapshot) -> None:
    area = memoryview(bytearray(SIZE)).cast("q")
    snapshot.pack_into(area)
    assert Snapshot.unpack(area) == snapshot


def test_all_that_there_may_be_has_room() -> None:
    wide = "x" * (MOST_TEXT - 60)
    snapshot = Snapshot(
        [2**62] * len(NUMBERS),
        {(next(iter(TALLIES)), f"{at}{wide}"): 2**62 for at in range(MOST_TALLIES)},
        {("GET", f"{at}{wide}", "2xx"): [2**62] * WIDTH for at in range(MOST_SERIES)},
    )
    area = bytearray(SIZE)
    snapshot.pack_into(area)
    assert Snapshot.unpack(area) == snapshot


def test_what_has_no_room_is_left_out() -> None:
    snapshot = Snapshot(series={("GET", str(at), "2xx"): [1] * WIDTH for at in range(MOST_SERIES + 5)})
    area = bytearray(SIZE)
    snapshot.pack_into(area)
    read = Snapshot.unpack(area)
    assert read is not None
    assert len(read.series) == MOST_SERIES


@pytest.mark.parametrize("octets", [0, 100, 4096, 20_000])
def test_an_area_that_is_too_small_has_what_fits(octets: int) -> None:
    snapshot, area = Snapshot(series={("GET", str(at), "2xx"): [at] * WIDTH for at in range(99)}), bytearray(octets)
    snapshot.pack_into(area)
    read = Snapshot.unpack(area)
    assert read is None if octets < 4096 else read is not None and 1 < len(read.series) < 99


@pytest.mark.parametrize("area", [b"", bytes(15), bytes(SIZE), _MAGIC + bytes(SIZE), _MAGIC + bytes(8) + bytes(SIZE)])
def test_nobody_has_written_yet(area: bytes) -> None:
    assert Snapshot.unpack(area) is None


@given(snapshots, snapshots, st.integers(0, 2000))
def test_a_half_written_one_is_never_taken_for_a_whole(before: Snapshot, after: Snapshot, octets: int) -> None:
    old, new = bytearray(SIZE), bytearray(SIZE)
    before.pack_into(old)
    after.pack_into(new)
    read = Snapshot.unpack(new[:octets] + old[octets:])
    assert read is None or read in (before, after)


@given(snapshots, snapshots, snapshots)
def test_sums_do_not_depend_on_the_order(one: Snapshot, two: Snapshot, three: Snapshot) -> None:
    assert merge([one, two, three]) == merge([three, merge([two, one])])
    assert merge([one]) == one
    assert merge([]) == Snapshot()


def test_what_adds_up_and_what_does_not() -> None:
    one, two = Snapshot(), Snapshot()
    for at, snapshot in enumerate((one, two)):
        snapshot.numbers[PLACE["roadrunner_connections", "idle"]] = 5 + at
        snapshot.numbers[PLACE["roadrunner_draining",]] = at
        snapshot.numbers[PLACE["roadrunner_tls_not_after_seconds",]] = 100 * at
        snapshot.numbers[PLACE["process_start_time_seconds",]] = 70 + at
    whole = merge([one, two]).numbers
    assert whole[PLACE["roadrunner_connections", "idle"]] == 11
    assert whole[PLACE["roadrunner_draining",]] == 1
    assert whole[PLACE["roadrunner_tls_not_after_seconds",]] == 100  # 0 is none, not the first
    assert whole[PLACE["process_start_time_seconds",]] == 70


@given(snapshots, snapshots)
def test_no_counter_runs_backwards_when_a_process_is_gone(gone: Snapshot, here: Snapshot) -> None:
    before, after = merge([gone, here]), merge([retired(gone), here])
    for at, number in enumerate(NUMBERS):
        expected = before.numbers[at] if number.kind == "counter" else here.numbers[at]
        assert after.numbers[at] == expected, number.name
    assert after.tallies == before.tallies
    assert after.series == before.series


def test_the_sum_leaves_its_parts_alone() -> None:
    part = Snapshot(series={("GET", "/", "2xx"): [1] * WIDTH})
    merge([part, part])
    assert part.series["GET", "/", "2xx"] == [1] * WIDTH
    retired(part).series["GET", "/", "2xx"][0] = 9
    assert part.series["GET", "/", "2xx"] == [1] * WIDTH


@given(st.text(max_size=200), st.integers(12, 60))
def test_short_text_is_short_and_stays_distinct(text: str, most: int) -> None:
    cut = short(text, most)
    assert len(cut.encode()) <= most
    if len(text.encode("utf-8", "replace")) > most:
        assert cut != short(text + "x", most)


def test_a_histogram_has_a_cell_for_each_bound_one_more_and_the_sum() -> None:
    assert len(BOUNDS) + 2 == CELLS
    assert list(BOUNDS) == sorted(BOUNDS)
