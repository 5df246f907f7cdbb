"""Laws of a connection, whatever its peer does: it ends in time, raises nothing, and its events come in pairs."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from script_tools import (
    CLOSE,
    LIMITS,
    TIMEOUTS,
    Script,
    errors_logged,
    handler,
    kinds,
    modes,
    perform,
    responses,
    run,
    scripts,
)
from story_tools import open_house
from trio.testing import wait_all_tasks_blocked

LONGEST_ANSWER = 4
"""Seconds the handler takes at most, its own waits for a body apart."""


async def one_peer(script: Script, kind: str, mode: str, rate: int) -> None:
    limits = replace(LIMITS, min_bytes_per_second=rate)
    with errors_logged() as logged:
        async with open_house(handler, tcp=True, timeouts=TIMEOUTS, limits=limits, body=mode) as house:
            peer = house.meet(kind)
            await wait_all_tasks_blocked()
            last_act = await perform(peer, script)
            gone_at = await house.empty()
            await wait_all_tasks_blocked()
            listening = house.listener.status
        events = house.watch.events

    # It ended in time, after everything it had been asked for, and its neighbours would have noticed nothing.
    waits = max(TIMEOUTS.request, TIMEOUTS.keep_alive, TIMEOUTS.body) + 2 * TIMEOUTS.linger
    assert gone_at <= last_act + LIMITS.max_requests * LONGEST_ANSWER + waits
    assert listening == "accepting"

    # It was accepted once and closed once, and every request came to one end (open_house counts them).
    assert house.watch.names()[0] == "accept"
    assert house.watch.names()[-1] == "close"
    failed = [event for name, event in events if name == "exception" and event.outcome == "error"]
    assert len(logged) == len(failed), "every error of the application is logged once, and nothing else is"

    # What the peer heard is a sequence of responses, as many as were given, and perhaps one last word.
    if CLOSE not in script:
        ended = [event for name, event in events if name in ("stop", "exception")]
        statuses, cut = responses(peer.heard, ended=True)
        last_words = statuses[len([event for event in ended if event.status]) :]
        assert len(last_words) <= 1
        assert set(last_words) <= {400, 408, 413, 414, 431, 501, 503}
        whole = [event for event in ended if event.outcome == "complete"]
        assert all(event.request.request_id.encode() in peer.heard for event in whole)
        assert not cut or ended[-1].outcome != "complete"
        assert peer.ended_at is not None


@settings(max_examples=150, deadline=None)
@given(scripts, kinds, modes, st.sampled_from([0, 1, 100]))
def test_a_connection_ends_in_time_and_in_order_whatever_its_peer_does(script, kind, mode, rate):
    run(one_peer, script, kind, mode, rate)


async def statuses_heard(script: Script, kind: str, mode: str, neighbours: list[tuple[Script, str]]) -> list[int]:
    async with open_house(handler, tcp=True, timeouts=TIMEOUTS, limits=LIMITS, body=mode) as house:
        for other, other_kind in neighbours:
            house.nursery.start_soon(perform, house.meet(other_kind), other)
        peer = house.meet(kind)
        await wait_all_tasks_blocked()
        await perform(peer, script)
        await house.empty()
    return responses(peer.heard, ended=True)[0]


async def with_and_without(script: Script, kind: str, mode: str, neighbours: list[tuple[Script, str]]) -> None:
    with errors_logged():
        alone = await statuses_heard(script, kind, mode, [])
        assert await statuses_heard(script, kind, mode, neighbours) == alone


@settings(max_examples=30, deadline=None)
@given(
    scripts.filter(lambda script: CLOSE not in script), kinds, modes, st.lists(st.tuples(scripts, kinds), max_size=3)
)
def test_what_a_peer_hears_does_not_depend_on_its_neighbours(script, kind, mode, neighbours):
    run(with_and_without, script, kind, mode, neighbours)
