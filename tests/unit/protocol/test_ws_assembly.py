"""Messages that grow: what they come to, and what they take."""

from __future__ import annotations

import sys
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadrunner_trio.protocol.ws.assembly import FEW, SMALL, Assembly, cost, width

WIDEST = {1: "a", 2: "€", 4: "😀"}


@pytest.mark.parametrize(
    ("text", "octets"),
    [("", 1), ("a", 1), ("é", 1), ("ÿ", 1), ("Ā", 2), ("€", 2), ("\ud7ff", 2), ("\uffff", 2), ("𐀀", 4), ("😀", 4)],
)
@pytest.mark.parametrize("more", [0, 1, 2, 1000])
def test_width(text, octets, more):
    assert width(text + "a" * more) == octets


def test_a_character_that_others_have_had_encoded():
    shared = "é"
    shared.encode()
    assert width(shared) == 1
    assert width(bytes([0xE9]).decode("latin-1")) == 1


@given(st.text())
def test_cost_is_what_python_says_but_for_the_object(text):
    copy = text.encode("utf-8", "surrogatepass").decode("utf-8", "surrogatepass")
    beside = sys.getsizeof(copy) - cost(copy)
    assert 40 <= beside < 90
    assert cost(copy.encode("utf-16", "surrogatepass")) == len(copy.encode("utf-16", "surrogatepass"))


@given(st.lists(st.text(max_size=10) | st.integers(1, 3).map(lambda n: "é" * SMALL * n), max_size=30))
def test_the_whole_is_the_pieces(pieces):
    assembly = Assembly(str)
    for piece in pieces:
        assembly.add(piece)
    whole = "".join(pieces)
    assert assembly.held == cost(whole)
    assert assembly.size == len(whole)
    assert assembly.whole() == whole
    assert assembly.whole() == whole, "as often as it is asked"


@given(st.lists(st.binary(max_size=10) | st.integers(1, 3).map(lambda n: bytes(SMALL * n)), max_size=30))
def test_of_octets_too(pieces):
    assembly = Assembly(bytes)
    for piece in pieces:
        assembly.add(piece)
    assert assembly.held == sum(map(len, pieces))
    assert assembly.whole() == b"".join(pieces)


@pytest.mark.parametrize("piece", ["é€", b"ab"])
def test_pieces_of_nothing_take_no_more_than_what_they_hold(piece):
    """Each by itself would take fifty octets and a place in a list."""
    tracemalloc.start()
    try:
        assembly = Assembly(type(piece))
        for _ in range(100_000):
            assembly.add(piece[:1] + piece[1:])
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert assembly.held == 100_000 * cost(piece)
    assert size < assembly.held + FEW * 100 + 100_000 // FEW * 120 + 10_000
