"""Every start has exactly one end and every accept one close, whoever comes, whatever they say, and however it ends."""

from __future__ import annotations

from collections import Counter

import trio
from event_tools import Everything
from hypothesis import given, settings
from hypothesis import strategies as st
from script_tools import (
    CLOSE,
    FINISH,
    LIMITS,
    TIMEOUTS,
    Script,
    errors_logged,
    handler,
    kinds,
    modes,
    perform,
    run,
    scripts,
)
from story_tools import open_house
from trio.testing import wait_all_tasks_blocked

import roadrunner_trio as rr
from roadrunner_trio.telemetry.observe import HOOKS, Observer

CROWD = rr.Limits(**{name: getattr(LIMITS, name) for name in LIMITS.__slots__} | {"max_connections": 3})

moments = st.sampled_from([0.0, 0.1, 0.25, 0.6, 1.0, 1.3, 2.0, 3.4, 5.0, 7.9])
ends = st.sampled_from(["wait", "drain", "notify, drain", "cancel", "drain, cancel"])


class Fragile(Observer):
    """Raises at an event, as observers may."""

    def __init__(self, at: int) -> None:
        self.left = at

    def __getattribute__(self, name: str) -> object:
        if name not in HOOKS:
            return super().__getattribute__(name)

        def hook(event: object) -> None:
            self.left -= 1
            if self.left < 0:
                raise RuntimeError("an observer's own fault")

        return hook


class Scene:
    """Peers that come at random times and say random things, and an end of it all."""

    def __init__(self, cast: list[tuple[Script, str, float]], mode: str, end: str, at: float, fragile: int) -> None:
        self.cast, self.mode, self.end, self.at = cast, mode, end, at
        self.streams: list[trio.abc.Stream] = []
        self.events = Everything()
        self.observers = [Fragile(fragile), self.events]

    async def play(self) -> None:
        with errors_logged() as self.logged:
            async with open_house(
                handler, tcp=True, timeouts=TIMEOUTS, limits=CROWD, body=self.mode, observers=self.observers
            ) as house:
                async with trio.open_nursery() as nursery:
                    for script, kind, at in self.cast:
                        nursery.start_soon(self.act, house, script, kind, at)
                    await trio.sleep(self.at)
                    await self.conclude(house, nursery.cancel_scope)
                if self.end == "wait":
                    await house.empty()
            self.info = house.listener.info()
        for stream in self.streams:  # some may have been left at the door
            await trio.aclose_forcefully(stream)

    async def act(self, house, script: Script, kind: str, at: float) -> None:
        await trio.sleep(at)
        if house.listener.status == "accepting":
            peer = house.meet(kind)
            if peer.theirs is not None:
                self.streams.append(peer.theirs)
            await wait_all_tasks_blocked()
            await perform(peer, script)
            if not {CLOSE, FINISH} & set(script):
                with trio.move_on_after(100):  # or never, at a door that is closed
                    await peer.end()

    async def conclude(self, house, peers: trio.CancelScope) -> None:
        if "notify" in self.end:
            house.listener.notify(1)
            await trio.sleep(0.7)
        if "cancel" in self.end:
            peers.cancel()
        if "drain" in self.end:
            await house.listener.drain(1.5)


scenes = st.builds(
    Scene,
    st.lists(st.tuples(scripts, kinds, moments), min_size=1, max_size=6),
    modes,
    ends,
    moments,
    st.integers(0, 30),
)


@settings(max_examples=250, deadline=None)
@given(scenes)
def test_every_start_has_one_end_and_every_accept_one_close(scene):
    run(scene.play)
    check_connections(scene.events, scene.info)
    check_order(scene.events)
    check_requests(scene.events, scene.info)
    check_counters(scene.events, scene.info)
    assert sum("is switched off" in record.getMessage() for record in scene.logged) <= 1


def check_connections(events: Everything, info: rr.ListenerInfo) -> None:
    """Accepts and closes, and what they say together."""
    assert len(events.of("listener_accept")) == len(events.of("listener_conn_close")) == info.accepted
    assert len(events.of("listener_conn_rejected")) == info.rejected
    assert sum(event.requests for event in events.of("listener_conn_close")) == info.requests
    assert len(events.of("listener_close")) == 1
    assert info.active == 0


def check_order(events: Everything) -> None:
    """Never more closes than accepts; an end after its start; the listener's close last."""
    open_connections, running = 0, set()
    for hook, event in events.events:
        match hook:
            case "listener_accept":
                open_connections += 1
            case "listener_conn_close":
                open_connections -= 1
            case "request_start":
                assert event.request_id not in running
                running.add(event.request_id)
            case "request_stop" | "request_exception":
                running.remove(event.request_id)
            case _:
                pass
        assert open_connections >= 0
        assert len(running) <= open_connections
    assert (open_connections, running) == (0, set())
    assert events.names()[-1] == "listener_close"


def check_requests(events: Everything, info: rr.ListenerInfo) -> None:
    """Every head that was read comes to one end, and those that started to the end of what has started."""
    started = [event.request_id for event in events.of("request_start")]
    ended = [event.request_id for hook in ("request_stop", "request_exception") for event in events.of(hook)]
    unstarted = [event for event in events.of("request_rejected") if not event.started] + events.of("request_aborted")
    in_vain = [event.request.request_id for event in unstarted if event.request is not None]
    assert sorted(started) == sorted(ended)
    assert len({*started, *in_vain}) == len(started) + len(in_vain) == info.requests
    for event in events.of("request_rejected"):
        assert (event.request is None) == (event.phase == "head")
        assert not event.started or event.request.request_id in ended
    assert all(event.phase is None for event in events.of("request_stop"))
    assert all(event.phase for event in events.of("request_exception"))


def check_counters(events: Everything, info: rr.ListenerInfo) -> None:
    """What is counted is what was told."""
    outcomes = Counter(event.outcome for event in events.of("request_exception"))
    unstarted = sum(not event.started for event in events.of("request_rejected"))
    assert outcomes["complete"] == 0
    assert {event.outcome for event in events.of("request_stop")} <= {"complete"}
    assert (info.failed, info.gone, info.timed_out) == (outcomes["error"], outcomes["gone"], outcomes["timeout"])
    assert info.cancelled == outcomes["cancelled"]
    assert info.refused == outcomes["rejected"] + unstarted
    assert info.aborted == len(events.of("request_aborted"))
    assert info.send_failed == len(events.of("response_send_failed"))
