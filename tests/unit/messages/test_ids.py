"""The ids of requests."""

from __future__ import annotations

import os
import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from roadrunner_trio.messages import ids


@pytest.fixture(autouse=True)
def _nothing_drawn():
    ids._drawn.clear()


def test_they_are_16_hexadecimal_digits_and_never_the_same():
    made = [ids.new_id() for _ in range(1000)]
    assert len(set(made)) == 1000
    assert all(re.fullmatch("[0-9a-f]{16}", one) for one in made)


def test_the_system_is_asked_once_for_many(monkeypatch):
    asked = []
    urandom = os.urandom
    monkeypatch.setattr(os, "urandom", lambda octets: (asked.append(octets), urandom(octets))[1])
    for _ in range(128):
        ids.new_id()
    assert asked == [512, 512]


def test_threads_never_get_the_same():
    with ThreadPoolExecutor(8) as threads:
        made = list(threads.map(lambda _: ids.new_id(), range(5000)))
    assert len(set(made)) == 5000


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_a_forked_process_draws_its_own():
    ids.new_id()
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:
        os.write(writing, ids.new_id().encode("ascii"))
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writing)
    with open(reading, encoding="ascii") as theirs:
        assert theirs.read() not in {ids.new_id() for _ in range(63)}
