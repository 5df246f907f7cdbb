"""Whether tasks rest is known to nobody: peers hear the same at the same time, and the same is told of them."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
import trio
from event_tools import Everything
from hypothesis import example, given, settings
from hypothesis import strategies as st
from script_tools import (
    FINISH,
    HEADS,
    LIMITS,
    REQUESTS,
    TIMEOUTS,
    Script,
    actions,
    errors_logged,
    handler,
    perform,
    run,
)
from story_tools import House, open_house, undated

import roadrunner_trio as rr
from roadrunner_trio.server import carrier, spares
from roadrunner_trio.transport.poller import AVAILABLE

pytestmark = pytest.mark.skipif(not AVAILABLE, reason="without a poller no task rests")

APART = 0.0117
"""Seconds that no two peers come at the same time by: two things in one tick have no order."""
LAST = [head for head in HEADS if b"close" in head or (b"/1.0" in head and b"keep-alive" not in head)]
LAST += [head.replace(b"\r\n", b"\r\nConnection: close\r\n", 1) + b"abc" for head in HEADS if b"Length: 3" in head]
"""Requests after which a peer wants the end, bodies included."""
# Nobody closes before the end: which of two writes fails then is the kernel's affair.

scripts = st.tuples(
    st.lists(st.one_of(actions, st.sampled_from(REQUESTS)), max_size=2),
    st.lists(st.sampled_from(LAST), max_size=1),
    st.lists(st.just(FINISH), max_size=1),
).map(lambda parts: [*parts[0], *parts[1], *parts[2]])
casts = st.lists(st.tuples(scripts, st.sampled_from([0.0, 0.3, 1.1, 2.2, 5.2])), min_size=2, max_size=6)
ends = st.sampled_from(["wait", "notify", "drain"])

in_words = re.compile(rb"[0-9a-f]{16}").sub


class App:
    """Keeps something with the connection, works on after its response, and fails, as the path says."""

    def plan(self, request: rr.Request) -> rr.Plan:
        return rr.Plan(max_body=12, timeout=TIMEOUTS.handler, disconnect_grace=2.3)

    async def __call__(self, exchange: rr.Exchange) -> None:
        kind = exchange.request.path
        before, exchange.memo = exchange.memo, kind
        if kind == "/raise":
            raise ValueError
        if kind == "/slow":
            await trio.sleep(2)
        await exchange.respond(200, (), b"after %a" % before)
        if kind == "/loop":
            exchange.release_waiters()
            await trio.sleep(0.9)
            raise ValueError


class Play:
    """What became of it, with so many tasks that may rest."""

    def __init__(self, cast: list[tuple[Script, float]], app: Any, end: str, crowd: int, kept: int) -> None:
        self.cast, self.app, self.end, self.crowd, self.kept = cast, app, end, crowd, kept
        self.heard: dict[int, tuple[bytes, float | None]] = {}
        self.told: dict[int, list[Any]] = {}
        self.outcome: Any = None

    async def run(self) -> None:
        events, ports = Everything(), {}
        before = spares.KEPT, carrier.CROWD
        spares.KEPT, carrier.CROWD = self.kept, self.crowd
        try:
            with errors_logged():
                limits, timeouts = replace(LIMITS, max_requests=60), replace(TIMEOUTS, park_after=1.7)
                async with open_house(
                    self.app,
                    tcp=True,
                    limits=limits,
                    timeouts=timeouts,
                    observers=[events],
                    request_ids=rr.RequestIds(),
                ) as house:
                    async with trio.open_nursery() as nursery:
                        for number, (script, at) in enumerate(self.cast):
                            nursery.start_soon(self.act, house, ports, number, script, at + APART * number)
                        await trio.sleep(2.3057)
                        if self.end == "notify":
                            house.listener.notify(1)
                        elif self.end == "drain":
                            self.outcome = await house.listener.drain(1.5)
                    await trio.sleep(60)
                    self.outcome = self.outcome, house.listener.info()
        finally:
            spares.KEPT, carrier.CROWD = before
        for name, event in events.events:
            request = getattr(event, "request", None)
            peer = getattr(event, "peer", None) or (request and request.peer)
            if peer is not None and name != "response_send_failed":  # of which of two writes fails there is no rule
                facts = [getattr(event, each, None) for each in ("status", "reason", "outcome", "phase", "requests")]
                self.told.setdefault(ports[peer[1]], []).append((name, *facts))

    async def act(self, house: House, ports: dict[int, int], number: int, script: Script, at: float) -> None:
        await trio.sleep(at)
        if house.listener.status != "accepting":
            return
        peer = house.tcp_peer()
        ports[peer.stream.socket.getsockname()[1]] = number
        try:
            await perform(peer, script)
            await trio.sleep(40)
        finally:
            self.heard[number] = in_words(b"ID", undated(peer.heard)), peer.ended_at


@settings(max_examples=100, deadline=None)
@given(casts, st.sampled_from([handler, App()]), ends, st.sampled_from([-1, 2]))
@example([([HEADS[49]], 0.0), ([b"NONSENSE\r\n"], 0.3), ([HEADS[49]], 1.1)], handler, "wait", 2)
def test_nobody_knows_whether_tasks_rest(cast, app, end, crowd):
    without, rested = (Play(cast, app, end, crowd, kept) for kept in (0, 64))
    run(without.run)
    run(rested.run)
    assert rested.heard == without.heard
    assert rested.told == without.told
    assert rested.outcome == without.outcome
