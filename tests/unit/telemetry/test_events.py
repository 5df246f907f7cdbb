"""Observers: who is told, how events look, and which of them every way out of a request raises, with its counter."""

from __future__ import annotations

import dataclasses
import inspect
import time
import typing

import pytest
import trio
from event_tools import Everything
from story_tools import GET, hello, open_house, post
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

import roadrunner_trio as rr
import roadrunner_trio.answering.context
from roadrunner_trio.telemetry import observe
from roadrunner_trio.telemetry.observe import HOOKS, Observer, Observers

PATIENT = rr.Limits(min_bytes_per_second=0)
CHUNKED = b"Transfer-Encoding: chunked"


class Noting(Observer):
    """Wants the start of requests."""

    def __init__(self, name, log):
        self.name, self.log = name, log

    def request_start(self, event):
        self.log.append((self.name, event))


class Failing(Observer):
    """Raises at the start of requests."""

    def __init__(self, error=KeyError):
        self.error = error

    def __repr__(self):
        return "<the failing one>"

    def request_start(self, event):
        raise self.error("oops")


def tell(observers, hook, event):
    observers.tell(getattr(observers, hook), event)


# -- who is told ---------------------------------------------------------------------------------


@pytest.mark.parametrize("hook", HOOKS)
def test_a_hook_that_nobody_implements_is_empty(hook):
    assert getattr(Observers(), hook) == ()
    assert getattr(Observers([Observer(), Observer()]), hook) == ()


def test_an_observer_is_asked_for_the_hooks_it_implements_and_no_other():
    observers = Observers([Noting("a", [])])
    assert [hook for hook in HOOKS if getattr(observers, hook)] == ["request_start"]


def test_what_an_observer_inherits_it_implements():
    class Child(Noting):
        pass

    log = []
    tell(Observers([Child("a", log)]), "request_start", 1)
    assert log == [("a", 1)]


def test_a_hook_may_be_an_attribute_and_an_observer_anything():
    log = []

    class Plain:
        request_stop = staticmethod(log.append)

    observer = Observer()
    observer.request_stop = log.append
    tell(Observers([observer, Plain()]), "request_stop", 1)
    assert log == [1, 1]


def test_everybody_is_told_in_order():
    log = []
    observers = Observers([Noting("a", log), Noting("b", log)])
    tell(observers, "request_start", 1)
    tell(observers, "request_start", 2)
    assert log == [("a", 1), ("b", 1), ("a", 2), ("b", 2)]


@pytest.mark.parametrize("error", [KeyError, SystemExit, GeneratorExit])
def test_one_that_raises_is_switched_off_with_one_line(error, caplog):
    log = []
    observers = Observers([Noting("a", log), Failing(error), Noting("b", log)])
    tell(observers, "request_start", 1)
    tell(observers, "request_start", 2)
    assert log == [("a", 1), ("b", 1), ("a", 2), ("b", 2)]
    assert [record.name for record in caplog.records] == ["roadrunner_trio"]
    assert "<the failing one> raised in request_start and is switched off" in caplog.text
    assert "oops" in caplog.text


def test_one_that_is_switched_off_hears_nothing_at_all(caplog):
    class Both(Failing):
        def request_stop(self, event):
            pytest.fail("it was switched off")

    observers = Observers([Both()])
    tell(observers, "request_start", 1)
    tell(observers, "request_stop", 2)
    assert [hook for hook in HOOKS if getattr(observers, hook)] == []


def test_one_that_raises_again_within_its_own_event_is_switched_off_once(caplog):
    class Nested(Observer):
        def request_start(self, event):
            tell(observers, "request_stop", event)
            raise KeyError("outer")

        def request_stop(self, event):
            raise KeyError("inner")

    observers = Observers([Nested()])
    tell(observers, "request_start", 1)
    assert len(caplog.records) == 1


def test_an_interrupt_is_the_operators_and_passes():
    observers = Observers([Failing(KeyboardInterrupt)])
    with pytest.raises(KeyboardInterrupt):
        tell(observers, "request_start", 1)
    assert observers.request_start


def test_the_list_that_was_given_is_not_touched(caplog):
    given = [Failing()]
    tell(Observers(given), "request_start", 1)
    assert len(given) == 1


def test_a_class_is_no_observer():
    with pytest.raises(TypeError, match="not the class Noting"):
        Observers([Noting])


def test_a_hook_is_no_async_function():
    class Async(Observer):
        async def request_stop(self, event):
            """Nobody would await it."""

    with pytest.raises(TypeError, match=r"Async\.request_stop is an async function"):
        rr.Listener(hello, observers=[Async()])


async def test_an_observer_that_raises_disturbs_no_request(autojump_clock, caplog):
    async with open_house(observers=[Failing()]) as house:
        peer = house.peer()
        await peer.say(GET + GET)
        assert peer.take().count(b"200 OK") == 2
    assert house.watch.names() == ["accept", "start", "stop", "start", "stop", "close"]
    assert len(caplog.records) == 1


# -- what events are -----------------------------------------------------------------------------

EVENTS = {hook: typing.get_type_hints(getattr(Observer, hook))["event"] for hook in HOOKS}
"""Each hook's type of event."""


def test_hooks_and_their_callers_agree_on_the_events():
    hints = typing.get_type_hints(Observers)
    assert {hook: typing.get_args(typing.get_args(hints[hook])[0])[0][0] for hook in HOOKS} == EVENTS


def test_the_events_of_the_specification_are_there():
    """Behaviour 7.1, apart from WebSockets and the slots that need no reconciling."""
    assert set(HOOKS) >= {
        "request_start",
        "request_stop",
        "request_exception",
        "request_rejected",
        "request_throttled",
        "response_send_failed",
        "listener_accept",
        "listener_conn_close",
        "listener_conn_rejected",
        "drain_acknowledged",
    }


@pytest.mark.parametrize("event", dict.fromkeys(EVENTS.values()), ids=lambda event: event.__name__)
def test_events_are_public_frozen_and_documented(event):
    assert getattr(rr, event.__name__) is event
    made = event(*range(len(event._fields)))
    for name in event._fields:
        with pytest.raises(AttributeError):
            setattr(made, name, None)
        assert f"\n    {name}: " in inspect.getdoc(event)
    with pytest.raises(AttributeError):
        made.something_else = None


@pytest.mark.parametrize("event", dict.fromkeys(EVENTS.values()), ids=lambda event: event.__name__)
def test_events_tell_what_the_specification_asks_for(event):
    """Each has a time or a duration, and says which listener; requests say which request."""
    assert ("system_time" in event._fields) != ("duration" in event._fields)
    assert hasattr(event, "listener")
    if "request" in event._fields and not hasattr(event, "request_id"):
        assert {"listener", "peer", "request"} <= set(event._fields), "the request may be None"


async def test_an_event_tells_of_its_request(autojump_clock):
    house_events = Everything()
    async with open_house(observers=[house_events], name="front") as house:
        await house.peer().say(b"GET http://h/a%20b?c=d HTTP/1.1\r\nHost: h\r\n\r\n")
    event = house_events.only("request_start")
    told = (event.request_id, event.peer, event.method, event.target, event.path, event.scheme, event.listener)
    assert told == (event.request.request_id, "memory", "GET", "http://h/a%20b?c=d", "/a%20b", "http", "front")


async def test_wall_clock_time_is_in_seconds_since_the_epoch(autojump_clock):
    events, before = Everything(), time.time()
    async with open_house(observers=[events]) as house:
        await house.peer().say(GET)
    times = [event.system_time for _, event in events.events if hasattr(event, "system_time")]
    assert len(times) == 3
    assert before <= times[0] <= times[-1] <= time.time()
    assert times == sorted(times)


async def test_where_nobody_listens_no_event_is_built(autojump_clock, monkeypatch):
    def build(*args):
        pytest.fail("an event was built")

    for event in {*EVENTS.values()}:
        for module in ("carrier", "connection", "listener", "report"):
            monkeypatch.setattr(f"roadrunner_trio.server.{module}.{event.__name__}", build, raising=False)
    ours, theirs = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rr.serve_connection, theirs, hello)
        await ours.send_all(GET)
        assert (await ours.receive_some()).startswith(b"HTTP/1.1 200 OK")
        await ours.aclose()


# -- connections and listeners -------------------------------------------------------------------


async def test_a_connection_is_told_from_accept_to_close(autojump_clock):
    events = Everything()
    async with open_house(observers=[events], name="front") as house:
        peer = house.peer()
        await peer.say(GET + GET)
        await trio.sleep(7)
        await peer.close()
    accepted, closed = events.only("listener_accept"), events.only("listener_conn_close")
    assert accepted[:2] == ("front", "memory")
    assert closed == rr.ConnectionEnded("front", "memory", 7.0, 2)


async def test_one_that_wants_closes_alone_gets_them_all(autojump_clock):
    class Closes(Observer):
        events: typing.ClassVar = []

        def listener_conn_close(self, event):
            self.events.append(event)

    async with open_house(observers=[Closes()]) as house:
        await house.peer().close()
    assert len(Closes.events) == 1


async def test_a_drain_and_a_close_of_the_listener_are_told_once(autojump_clock):
    events = Everything()
    async with open_house(observers=[events]) as house:
        house.peer()
        await wait_all_tasks_blocked()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(house.listener.drain, 5)
            nursery.start_soon(house.listener.drain, 9)
    names = events.names()
    assert names.count("listener_drain") == names.count("listener_close") == 1
    assert names.index("listener_drain") < names.index("listener_conn_close") < names.index("listener_close")
    assert events.only("listener_drain").deadline in (5, 9)


async def test_a_listener_that_is_cancelled_is_told_to_close(autojump_clock):
    events = Everything()
    async with open_house(observers=[events]):
        pass
    assert events.names() == ["listener_close"]


async def test_a_rejected_connection_is_told_without_its_peer(autojump_clock):
    events = Everything()
    async with open_house(observers=[events], limits=rr.Limits(max_connections=1)) as house:
        house.peer()
        house.peer()
        await wait_all_tasks_blocked()
    assert events.only("listener_conn_rejected")[:2] == ("main", "max_connections")


@pytest.mark.parametrize("draining", [True, False])
async def test_an_acknowledgement_says_by_when(draining, autojump_clock):
    events = Everything()

    async def handler(request):
        if draining:
            await request.drain.started.wait()
        request.acknowledge_drain()
        return rr.Response()

    async with open_house(handler, observers=[events]) as house:
        await house.peer().say(GET)
        if draining:
            await house.listener.drain(5)
        assert house.listener.info().acknowledged == 1
    assert events.only("drain_acknowledged").deadline == (5 if draining else None)


# -- numbers -------------------------------------------------------------------------------------


def test_info_has_every_counter():
    info = rr.Listener(hello).info()
    counters = {each.name for each in dataclasses.fields(roadrunner_trio.answering.context.Counters)}
    assert {each.name for each in dataclasses.fields(info)} == counters | {"active", "buffered", "max_connections"}
    documented = inspect.getdoc(rr.ListenerInfo)
    assert [name for name in counters if f"\n    {name}: " not in documented] == []


async def test_the_counters_of_a_listener_add_up(autojump_clock):
    async def mixed(request):
        if request.path == "/crash":
            raise ValueError
        return rr.Response()

    events = Everything()
    async with open_house(mixed, observers=[events]) as house:
        for said in (GET, GET + GET, b"GET /crash HTTP/1.1\r\nHost: h\r\n\r\n", b"nonsense\r\n", b"GET", post(CHUNKED)):
            peer = house.peer()
            await peer.say(said)
            await peer.close()
        info = house.listener.info()
    assert (info.accepted, info.active, info.requests) == (6, 0, 5)
    assert (info.failed, info.refused, info.aborted) == (1, 1, 2)
    stops = events.names().count("request_stop")
    heads_without_end = 2  # nonsense, and a head that was never whole
    assert info.requests + heads_without_end == stops + info.failed + info.refused + info.aborted


def test_the_outcomes_and_phases_are_those_that_are_documented():
    for words in (observe.Outcome, observe.Part):
        for word in typing.get_args(words):
            documents = (rr.RequestEnded.__doc__, rr.RequestRejected.__doc__)
            assert any(f'``"{word}"``' in document for document in documents), word
