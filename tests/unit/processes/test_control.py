"""What supervisor and worker say to each other, in pieces and with noise; and when a worker is worn."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadrunner_trio.processes import control
from roadrunner_trio.processes.wear import JITTER, Wear

MESSAGES = st.lists(
    st.one_of(
        st.dictionaries(st.text(max_size=5), st.one_of(st.integers(), st.text(max_size=20), st.none()), max_size=3),
        st.text(st.characters(exclude_characters="\n{", exclude_categories=["Cs"]), max_size=40),
    )
)


@given(messages=MESSAGES, data=st.data())
def test_whatever_the_pieces_are_the_same_is_read(messages: list[dict[str, object] | str], data: st.DataObject) -> None:
    sent = b"".join(
        control.encode(**{"x" + name: value for name, value in each.items()})
        if isinstance(each, dict)
        else each.encode() + b"\n"
        for each in messages
    )
    cuts = sorted(data.draw(st.lists(st.integers(0, len(sent)), max_size=5)))
    lines, found = control.Lines(), []
    for start, end in zip([0, *cuts], [*cuts, len(sent)], strict=True):
        found += lines.feed(sent[start:end])
    assert found == [
        {"x" + name: value for name, value in each.items()} if isinstance(each, dict) else each for each in messages
    ]
    assert lines.rest == b""


def test_a_line_without_an_end_is_no_line() -> None:
    lines = control.Lines()
    with pytest.raises(ValueError, match="a line of more than"):
        list(lines.feed(b"x" * (control.LONGEST + 1)))


def test_nobody_waits_for_a_peer_that_does_not_read_or_is_gone() -> None:
    near, far = control.pair()
    with near:
        while control.tell(near, text="x" * 10000):
            pass
        far.close()
        assert not control.tell(near, drain=1)


@pytest.mark.parametrize(
    ("requests", "age", "resident", "why"),
    [
        (99, 59.0, 0, ""),
        (100, 0.0, 0, "it has answered 100 requests"),
        (0, 60.0, 0, "it has served for 60 s"),
        (0, 0.0, 2**20 * 100, "it takes 100 MiB of memory"),
    ],
)
def test_when_a_worker_is_worn(requests: int, age: float, resident: int, why: str) -> None:
    assert Wear(100, 60.0, 2**20 * 100).why(requests, age, resident) == why


@given(st.floats(0, 1))
def test_bounds_are_drawn_below_what_was_said_and_memory_is_not(drawn: float) -> None:
    made = Wear(1000, math.inf, 500).drawn(lambda: drawn)
    assert 1000 * (1 - JITTER) <= made.requests <= 1000
    assert (made.lifetime, made.resident) == (math.inf, 500)
