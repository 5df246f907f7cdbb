"""Laws of a drain, whenever it comes and whatever the peers do: it ends in time, leaks no slot, loses no response."""

from __future__ import annotations

import trio
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
    staying,
)
from story_tools import House, Peer, open_house
from trio.testing import wait_all_tasks_blocked

LAST_WORD = 0.5
"""Seconds past the deadline in which a 503 may still be written."""

ROUNDING = 1e-6
"""The virtual clock adds what it jumps."""

moments = st.sampled_from([0.0, 0.1, 0.25, 0.6, 1.0, 1.3, 2.0, 3.4, 5.0, 7.9])
graces = st.sampled_from([0.0, 0.1, 0.7, 1.5, 4.0, 20.0])


class Scene:
    """Peers that act, and a drain that comes in the middle."""

    def __init__(self, cast: list[tuple[Script, str]], mode: str) -> None:
        self.cast = cast
        self.mode = mode
        self.peers: list[Peer] = []

    async def play(self, begins: float, grace: float, notice: float | None = None) -> None:
        with errors_logged() as self.logged:
            async with open_house(handler, tcp=True, timeouts=TIMEOUTS, limits=LIMITS, body=self.mode) as house:
                for _, kind in self.cast:
                    self.peers.append(house.meet(kind))
                await wait_all_tasks_blocked()
                for peer, (script, _) in zip(self.peers, self.cast, strict=True):
                    house.nursery.start_soon(self.act, peer, script)
                await trio.sleep(begins)
                if notice is not None:
                    house.listener.notify(notice)
                    await trio.sleep(1)
                await wait_all_tasks_blocked()
                await self.drain(house, grace)
        self.ends = [event for name, event in house.watch.events if name in ("stop", "exception")]

    async def act(self, peer: Peer, script: Script) -> None:
        """Plays a part; a peer that hears the end closes too."""
        await perform(peer, script)
        if CLOSE not in script:
            await peer.end()
            await peer.stream.aclose()

    async def drain(self, house: House, grace: float) -> None:
        present, start = house.active, trio.current_time()
        self.outcome = await house.listener.drain(grace)
        self.took = trio.current_time() - start
        assert self.took < grace + LAST_WORD + ROUNDING
        assert (house.active, house.listener.status) == (0, "closed")
        assert self.outcome.finished + self.outcome.cut == present
        assert min(self.outcome.finished, self.outcome.cut) >= 0
        assert self.outcome.stuck == 0
        await wait_all_tasks_blocked()


def casts(parts: st.SearchStrategy[Script]) -> st.SearchStrategy[Scene]:
    return st.builds(Scene, st.lists(st.tuples(parts, kinds), min_size=1, max_size=5), modes)


@settings(max_examples=120, deadline=None)
@given(casts(staying), moments, graces)
def test_a_drain_loses_no_response_that_was_begun(scene, begins, grace):
    run(scene.play, begins, grace)
    heard = b"".join(peer.heard for peer in scene.peers)
    for event in scene.ends:
        if event.outcome == "complete":
            assert event.request.request_id.encode() in heard, "whoever stays has heard it to its end"
        if event.outcome == "cancelled":
            assert scene.outcome.cut, "only the deadline cuts"
            assert scene.took > grace - ROUNDING
    whole = {event.outcome for event in scene.ends} <= {"complete"}
    for peer in scene.peers:
        assert peer.ended_at is not None
        statuses, cut = responses(peer.heard, ended=True)
        assert not (whole and cut)
        assert set(statuses) <= {200, 400, 404, 408, 413, 414, 431, 500, 503}


@settings(max_examples=120, deadline=None)
@given(casts(scripts), moments, graces, st.none() | st.sampled_from([0.1, 1.0, 50.0]))
def test_a_drain_ends_in_time_and_leaks_no_slot_with_or_without_a_notice_before_it(scene, begins, grace, notice):
    run(scene.play, begins, grace, notice)
    assert not [record for record in scene.logged if "stuck" in record.getMessage()]
    assert len(scene.logged) == len([event for event in scene.ends if event.outcome == "error"])


paths = st.lists(st.sampled_from([b"now", b"slow", b"stream", b"loop", b"missing"]), min_size=1, max_size=3)


async def polite(peers: list[tuple[list[bytes], str, float]], begins: float) -> None:
    async def speak(asked: list[bytes], kind: str, at: float) -> None:
        await trio.sleep(at)
        if house.listener.status != "accepting":
            return
        peer = house.meet(kind)
        for path in asked:
            await peer.say(b"GET /%b HTTP/1.1\r\nHost: h\r\n\r\n" % path)
        await peer.end()
        assert responses(peer.heard, ended=True)[1] is False
        assert peer.heard, "whoever speaks within a second of its coming is heard"
        await peer.stream.aclose()

    async with open_house(handler, tcp=True, timeouts=TIMEOUTS, limits=LIMITS) as house:
        for asked, kind, at in peers:
            house.nursery.start_soon(speak, asked, kind, at)
        await trio.sleep(begins)
        await wait_all_tasks_blocked()
        outcome = await house.listener.drain(100)
        assert outcome.cut == outcome.stuck == 0
    ends = [event for name, event in house.watch.events if name in ("stop", "exception")]
    assert {event.outcome for event in ends} <= {"complete"}


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(paths, kinds, moments), min_size=1, max_size=5), moments)
def test_with_grace_enough_whatever_was_read_is_answered_whole(peers, begins):
    run(polite, peers, begins)
