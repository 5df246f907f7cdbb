"""Every vector for HTTP/2 on the bare engine: whole, octet by octet, and in pieces of a prime number."""

from __future__ import annotations

import pytest
from http2_vectors import FILES, Vector, grade, load, play, ways

VECTORS = [vector for name in FILES for vector in load(name)]


@pytest.mark.parametrize("vector", VECTORS, ids=str)
def test_vector(vector: Vector, tally):
    told = {}
    for how, parts in ways(vector):
        for streaming in (False, True):
            player = play(vector, parts, streaming=streaming)
            told[how, streaming] = grade(vector, player), player.failed and (player.failed.code, player.failed.reason)
    grades = {grade for grade, _ in told.values()}
    tally.add("http2 engine", vector.category, grades.pop() if len(grades) == 1 else None)
    assert {graded for graded, _ in told.values()} == {"strict"}, told
    assert len(set(told.values())) == 1, told


def test_the_vectors_in_the_repository_are_ours():
    assert {vector.source for vector in VECTORS} == {"own"}
    assert len({vector.id for vector in VECTORS}) == len(VECTORS)
    assert {name: len(load(name)) for name in FILES} == {"h2-requests": 88, "h2-connection": 130}
