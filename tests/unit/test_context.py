"""What the connections of a listener share."""

from __future__ import annotations

import dataclasses
import math
import os
import re

from roadrunner_trio.context import Counters, ServerContext
from roadrunner_trio.settings import Limits, Timeouts


async def app(exchange):
    """Never called here."""


def test_it_is_complete_without_a_word():
    context = ServerContext(app)
    assert (context.name, context.timeouts, context.limits) == ("main", Timeouts(), Limits())
    assert context.drain.deadline == math.inf
    assert len(context.clock) == 0
    assert context.counters == Counters()
    assert set(dataclasses.astuple(context.counters)) == {0}


def test_two_contexts_share_nothing():
    one, other = ServerContext(app), ServerContext(app)
    assert one.clock is not other.clock
    assert one.drain is not other.drain
    assert one.counters is not other.counters
    one.next_request_id()
    one.counters.accepted += 1
    assert other.counters.accepted == 0


def test_request_ids_are_16_hexadecimal_digits_and_never_the_same():
    context = ServerContext(app)
    ids = [context.next_request_id() for _ in range(1000)]
    assert len(set(ids)) == 1000
    assert all(re.fullmatch("[0-9a-f]{16}", made) for made in ids)


def test_the_system_is_asked_once_for_many_ids(monkeypatch):
    asked = []
    urandom = os.urandom
    monkeypatch.setattr(os, "urandom", lambda octets: (asked.append(octets), urandom(octets))[1])
    context = ServerContext(app)
    for _ in range(128):
        context.next_request_id()
    assert asked == [512, 512]
