"""Every HTTP/1 vector as an attack on the whole server: the strict outcome, and nothing is left behind.

``conformance/`` plays them to the bare engine and over sockets. Here time is virtual, so that an input which makes the
server wait is waited for to the end: it is told 408 or closed at its deadline, and holds nothing after that.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from echo_tools import answers_in, echo, seen_by
from siege_tools import Fate, besiege, cut_three_ways
from vector_tools import CONVERTED, HERE, OWN, Outcome, Vector, grade, load

import roadrunner_trio as rr

BESIDE = HERE.parents[1] / "shared" / "vectors"
DIRECTORY = Path(os.environ.get("ROADRUNNER_VECTORS", BESIDE))
"""Where vectors lie that are not part of the project: any file ``http1-*.jsonl`` there is played."""


def elsewhere() -> list[Vector]:
    """What lies there, the project's own files left out."""
    names = sorted({path.stem for path in DIRECTORY.glob("http1-*.jsonl")} - set(OWN))
    return [vector for name in names for vector in load(name, DIRECTORY)]


VECTORS = [vector for name in OWN for vector in load(name)]


def outcome_of(fate: Fate, *, waited: bool) -> Outcome:
    """What the server did, as a vector tells it; 408 at the deadline is how a wait for more ends."""
    requests, interim, refusal = [], [], None
    for answer in answers_in(fate.heard):
        interim += answer.interim
        if answer.status == 200:
            requests.append(seen_by(answer))
        else:
            assert refusal is None, "nothing is answered after an error"
            refusal = answer.status
    if waited and refusal in (None, 408):
        return Outcome(tuple(requests), None, "wait", tuple(interim))
    return Outcome(tuple(requests), refusal, "close", tuple(interim))


@pytest.mark.parametrize("vector", [*VECTORS, *elsewhere()], ids=str)
async def test_a_vector_ends_as_it_has_to_and_leaves_nothing(vector: Vector, tolls, autojump_clock):
    fates, toll = await besiege(cut_three_ways(vector.data, vector.id), eof=vector.eof, handler=echo)
    for fate in fates:
        # Every connection ends at last: one that is good for another request says so by ending in its own time.
        outcome = outcome_of(fate, waited=fate.seconds >= rr.Timeouts().request)
        ends = ("open", "wait") if outcome.end == "wait" else ("close",)
        assert "strict" in [grade(vector, replace(outcome, end=end)) for end in ends], fate
    tolls.take(f"vectors, {vector.source.split()[0]}", toll)


def test_vectors_from_elsewhere_are_at_hand():
    if not elsewhere():
        pytest.skip(f"{CONVERTED}.jsonl is not part of the project; ROADRUNNER_VECTORS can name its directory")
    assert len(elsewhere()) >= 200
