"""Every HTTP/1 vector on the bare engine, with the fast lane and without it: whole, octet by octet, cut at random."""

from __future__ import annotations

from dataclasses import replace

import pytest
from vector_tools import CONVERTED, OWN, Vector, cuts, grade, load, load_converted, play

from roadrunner_trio.protocol.http1.h11_engine import H11Engine
from roadrunner_trio.protocol.http1.scan import ScanEngine
from roadrunner_trio.settings import Limits

LENIENT: dict[str, str] = {}
"""Vectors that we meet leniently, each with its reason. There are none."""

VECTORS = [vector for name in OWN for vector in load(name)]


def check(vector: Vector, tally, suite: str) -> None:
    outcomes = {
        f"{how}, {engine.__name__}": play(engine(Limits()), parts, eof=vector.eof)
        for how, parts in cuts(vector)
        for engine in (H11Engine, ScanEngine)
    }
    grades = {how: grade(vector, outcome) for how, outcome in outcomes.items()}
    tally.add(suite, vector.category, min(grades.values(), key=[None, "lenient", "strict"].index))
    expected = "lenient" if vector.id in LENIENT else "strict"
    assert grades == dict.fromkeys(grades, expected), outcomes
    # Whether 100 Continue is due depends on when the body comes; nothing else may depend on the cut or the lane.
    assert len({replace(outcome, interim=()) for outcome in outcomes.values()}) == 1, outcomes


@pytest.mark.parametrize("vector", VECTORS, ids=str)
def test_own(vector, tally):
    check(vector, tally, "engine")


@pytest.mark.parametrize("vector", load_converted(), ids=str)
def test_converted(vector, tally):
    check(vector, tally, "engine, converted")


def test_converted_are_at_hand():
    if not load_converted():
        pytest.skip(f"{CONVERTED}.jsonl is not part of the project; ROADRUNNER_VECTORS can name its directory")
    assert len(load_converted()) >= 200


def test_the_vectors_in_the_repository_are_ours():
    assert {vector.source for vector in VECTORS} == {"own"}
    assert len({vector.id for vector in VECTORS}) == len(VECTORS) == 582


def test_every_lenient_verdict_is_about_a_vector():
    assert LENIENT.keys() <= {vector.id for vector in [*VECTORS, *load_converted()]}
