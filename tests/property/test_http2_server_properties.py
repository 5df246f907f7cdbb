"""Laws of streams, whenever they are taken back and whenever the server drains: nothing is lost, nothing is leaked."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import trio
from http2_peer import Http2Peer
from hypothesis import given, settings
from hypothesis import strategies as st
from script_tools import errors_logged, run
from story_tools import House, open_house
from trio.testing import wait_all_tasks_blocked

import roadrunner_trio as rr
from roadrunner_trio.server.http2.parked import ParkedHttp2

STEPS = ("begin", "read", "sleep", "send", "stall", "shielded", "whole", "raise")
LIMITS = rr.Limits(max_concurrent_streams=8, max_resets=100_000, min_bytes_per_second=0)
TIMEOUTS = rr.Timeouts(handler=30, write=10, body=20)
moments = st.sampled_from([0.0, 0.001, 0.5, 1.0, 1.5, 2.0, 3.0, 7.0])
kinds = st.sampled_from(["memory", "tcp"])
rests = st.sampled_from([None, 0.1, 1.0, 5.0])
"""Seconds after which a connection is parked."""
asked = st.lists(st.tuples(st.sampled_from(STEPS), moments, st.none() | moments), min_size=1, max_size=14)


async def handler(request: rr.Request) -> rr.AnyResponse:
    step = request.path[1:]

    async def produce(send: rr.Send) -> None:
        for _ in range(4):
            await send(b"x" * 10_000)
            await trio.sleep(0.5)

    async def flood(send: rr.Send) -> None:
        for _ in range(30):
            await send(b"x" * 10_000)

    await acted(request)
    if step in ("send", "stall"):
        return rr.StreamResponse(produce if step == "send" else flood)
    return rr.Response(b"y" * 100_000 if step == "whole" else b"done")


async def acted(request: rr.Request) -> None:
    """What a handler does before it answers."""
    match request.path[1:]:
        case "read":
            await request.read()
        case "sleep":
            await trio.sleep(1)
        case "shielded":
            with trio.CancelScope(shield=True):
                await trio.sleep(1)
        case "raise":
            raise ValueError("meant to")
        case _:
            pass


class Scene:
    """A peer that asks and takes back, and what must be so when all is quiet again."""

    def __init__(
        self, script: Sequence[tuple[str, float, float | None]], mode: str, kind: str, park_after: float | None
    ) -> None:
        self.script = script
        self.mode = mode
        self.kind = kind
        self.timeouts = dataclasses.replace(TIMEOUTS, park_after=park_after)

    async def ask(self, peer: Http2Peer, step: str, at: float, cancel: float | None) -> None:
        await trio.sleep(at)
        if peer.peer.ended_at is not None or peer.goaways:
            return
        body = step == "read"
        number = peer.ask(f"/{step}", method="POST" if body else "GET", end=not body)
        if body:
            peer.send(number, b"z" * 100)
        self.asked.append(number)
        await self.flush(peer)
        await trio.sleep(0.2 if cancel is None else cancel)
        if peer.streams[number].over or peer.peer.ended_at is not None:
            return
        if cancel is not None:
            peer.cancel(number)
            self.cancelled.add(number)
        elif body:
            peer.conn.end_stream(number)
        await self.flush(peer)

    async def flush(self, peer: Http2Peer) -> None:
        async with self.lock:
            try:
                await peer.flush()
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                await peer.read()

    async def play(self, drains: float | None = None, grace: float = 100.0) -> None:
        self.asked: list[int] = []
        self.cancelled: set[int] = set()
        self.lock = trio.Lock()
        with errors_logged():
            async with open_house(handler, tcp=True, limits=LIMITS, timeouts=self.timeouts, body=self.mode) as house:
                self.peer = peer = await Http2Peer(house.meet(self.kind)).greet()
                peer.dare()
                async with trio.open_nursery() as nursery:
                    for step, at, cancel in self.script:
                        nursery.start_soon(self.ask, peer, step, at, cancel)
                    if drains is not None:
                        await trio.sleep(drains)
                        house.nursery.start_soon(house.listener.drain, grace)
                for _ in range(45):
                    await trio.sleep(1)
                    await self.flush(peer)
                if drains is None:
                    await self.quiet(house)
                    assert (await peer.get("/begin")).brief == (200, b"done")
                else:
                    await peer.end()
                    await house.empty()
                self.info = house.listener.info()
        self.events = house.watch.events

    async def quiet(self, house: House) -> None:
        """Everybody has what they asked for: the pool is at rest, places and counts are as at first."""
        await wait_all_tasks_blocked()
        [conn] = house.listener._members()
        assert (conn.engine.places, conn.engine.streams) == (0, {})
        assert house.listener.info().buffered == 0
        if isinstance(conn, ParkedHttp2):
            return
        assert not conn.busy
        assert len(conn.resting) <= 1, "after a second of idleness one task is kept"
        assert all(exchange.parked for exchange in conn.resting)
        assert (conn.writer.queue, conn.writer.stalled, len(conn.writer.unsent)) == ([], {}, 0)


scenes = st.builds(Scene, asked, st.sampled_from(["buffered", "streaming"]), kinds, rests)


@settings(max_examples=25, deadline=None)
@given(scenes)
def test_a_request_may_be_taken_back_at_any_point(scene):
    run(scene.play)
    for number in scene.asked:
        answer = scene.peer.streams[number]
        assert answer.over or number in scene.cancelled
        assert answer.status in (0, 200, 500)
        assert answer.reset in (None, 7), "only what is too much at once is refused"
    starts = [event for name, event in scene.events if name == "start"]
    ends = [event for name, event in scene.events if name in ("stop", "exception")]
    assert len(starts) == len(ends)
    info = scene.info
    told = len(starts) + info.aborted + info.refused + info.throttled
    assert info.requests == told, "each request comes to one end"


@settings(max_examples=25, deadline=None)
@given(scenes, moments, st.sampled_from([2.0, 100.0]))
def test_a_drain_at_any_time_loses_nothing_that_was_begun(scene, drains, grace):
    run(scene.play, drains, grace)
    lasts = [last for last, _ in scene.peer.goaways]
    assert lasts
    assert lasts == sorted(lasts, reverse=True)
    for number in scene.asked:
        answer = scene.peer.streams[number]
        if number in scene.cancelled or number > lasts[-1]:
            continue
        if grace > 50:
            assert answer.over
            assert answer.reset in (None, 7)
            assert answer.status in (200, 500) or answer.reset == 7
        else:
            assert answer.status in (0, 200, 500, 503)
