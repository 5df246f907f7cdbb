"""What the connections of a listener share."""

from __future__ import annotations

import dataclasses
import math

from roadrunner_trio.answering.context import Counters, ServerContext
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
    one.counters.accepted += 1
    assert other.counters.accepted == 0
