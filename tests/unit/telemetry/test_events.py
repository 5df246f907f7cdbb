"""Observers: who is told, how events look, and which of them every way out of a request raises, with its counter."""

from __future__ import annotations

import dataclasses
import inspect
import socket
import time
import typing
from typing import Any

import pytest
import trio
from event_tools import Everything
from story_tools import GET, Peer, SlowStream, hello, loud, open_house, post
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

import roadrunner_trio as rr
import roadrunner_trio.answering.context
from roadrunner_trio.telemetry import observe
from roadrunner_trio.telemetry.observe import HOOKS, Observer, Observers
from roadrunner_trio.transport.wire import SocketWire

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


# -- the end of a request ------------------------------------------------------------------------


async def test_a_complete_request_says_what_went_in_and_out(autojump_clock):
    async def handler(request):
        await trio.sleep(2)
        return rr.Response("x" * len(await request.read()) * 2)

    async with open_house(handler) as house:
        await house.peer().say(post(CHUNKED, body=b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nt: u\r\n\r\n"))
        await trio.sleep(5)
    event = house.watch.only("stop")
    assert event == rr.RequestEnded(event.request, 200, "buffered", 5, 10, 2.0, "complete")
    assert (event.phase, event.error) == (None, None)


async def test_an_http_error_is_a_complete_response(autojump_clock):
    async def handler(request):
        raise rr.HTTPError(404)

    async with open_house(handler) as house:
        await house.peer().say(GET)
    event = house.watch.only("stop")
    assert (event.status, event.outcome, event.phase, type(event.error)) == (404, "complete", None, rr.HTTPError)


async def sleepy(request):
    await trio.sleep_forever()


async def greedy(request):
    return rr.Response(str(len(await request.read())))


async def crash(request):
    raise ValueError


async def half(request):
    async def produce(send):
        await send(b"half")
        raise ValueError

    return rr.StreamResponse(produce)


async def endless(request):
    async def produce(send):
        while True:
            await send(b"x" * 1000)
            await trio.sleep(1)

    return rr.StreamResponse(produce)


async def tunnel(request):
    async def run(request, stream):
        await stream.send_all(b"hi")
        await stream.receive_some()
        raise trio.BrokenResourceError

    return rr.Handoff(run)


async def broken_tunnel(request):
    async def run(request, stream):
        raise ValueError

    return rr.Handoff(run, status=101)


async def own_stream_breaks(request):
    raise trio.BrokenResourceError("to a database")


async def http_error_too_late(request):
    async def produce(send):
        await send(b"half")
        raise rr.HTTPError(404)

    return rr.StreamResponse(produce)


CRASHED = ValueError
BAD_ENDS = {
    # handler, what the peer does, outcome, phase, status, received, error, counter
    "handler raises": (crash, GET, "error", "handler", 500, 0, CRASHED, "failed"),
    "own stream breaks": (own_stream_breaks, GET, "error", "handler", 500, 0, trio.BrokenResourceError, "failed"),
    "response raises": (half, GET, "error", "response", 200, 0, CRASHED, "failed"),
    "HTTPError too late": (http_error_too_late, GET, "error", "response", 200, 0, rr.HTTPError, "failed"),
    "hand-off raises": (broken_tunnel, GET, "error", "handoff", 101, 0, CRASHED, "failed"),
    "peer leaves a hand-off": (tunnel, GET, "gone", "handoff", 101, 0, trio.BrokenResourceError, "gone"),
    "peer leaves a body": (
        greedy, post(b"Content-Length: 9", body=b"123"), "gone", "body", None, 3, rr.PeerGone, "gone",
    ),
    "peer leaves a response": (endless, GET, "gone", "response", 200, 0, rr.PeerGone, "gone"),
    "handler limit": (sleepy, GET, "timeout", "handler", 503, 0, None, "timed_out"),
    "response limit": (endless, GET, "timeout", "response", 200, 0, None, "timed_out"),
    "body never ends": (
        greedy, post(b"Content-Length: 9", body=b"123"), "timeout", "body", 408, 3, rr.BodyTimeout, "timed_out",
    ),
    "body malformed": (greedy, post(CHUNKED, body=b"1\r\nxy"), "rejected", "body", 400, 1, rr.ProtocolError, "refused"),
    "body too large": (
        greedy, post(CHUNKED, body=b"9\r\n123456789\r\n9\r\n"), "rejected", "body", 413, 9, rr.ProtocolError, "refused",
    ),
    "drain cuts a handler": (sleepy, GET, "cancelled", "handler", 503, 0, None, "cancelled"),
    "drain cuts a response": (endless, GET, "cancelled", "response", 200, 0, None, "cancelled"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_ENDS)
async def test_a_request_that_ends_badly_says_how_where_and_is_counted(case, autojump_clock):
    handler, request, outcome, phase, status, received, error, counter = BAD_ENDS[case]
    settings = {"limits": rr.Limits(max_body=10, min_bytes_per_second=0), "body": "streaming"}
    if "limit" in case:
        settings["timeouts"] = rr.Timeouts(handler=3)
    async with open_house(handler, **settings) as house:
        peer = house.peer()
        await peer.say(request)
        if "leaves" in case:
            await peer.close()
            await trio.sleep(2)
        elif "drain" in case:
            await house.listener.drain(3)
        await house.empty()
        info = house.listener.info()
    event = house.watch.only("exception")
    assert (event.outcome, event.phase, event.status, event.received) == (outcome, phase, status, received)
    assert type(event.error) is (error or type(None))
    bad = {"failed", "gone", "timed_out", "cancelled", "refused", "aborted", "throttled"}
    assert {name: getattr(info, name) for name in bad if getattr(info, name)} == {counter: 1}
    assert info.requests == 1


async def test_a_handler_cancelled_without_a_drain_owes_nothing(autojump_clock):
    async with open_house(sleepy) as house:
        await house.peer().say(GET)
    event = house.watch.only("exception")
    assert (event.outcome, event.phase, event.status) == ("cancelled", "handler", None)


async def test_an_http_error_that_cannot_be_written_is_not_the_applications_fault(autojump_clock, caplog):
    leave = trio.Event()

    async def handler(request):
        await leave.wait()
        raise rr.HTTPError(404, "x" * 100)

    async with open_house(handler) as house:
        peer, wire = house.slow_peer(0)
        await peer.say(GET)
        wire.reset()
        leave.set()
        await house.empty()
    event = house.watch.only("exception")
    assert (event.outcome, event.phase, type(event.error)) == ("gone", "response", rr.HTTPError)
    assert loud(caplog) == []


# -- requests that never start -------------------------------------------------------------------


async def told_once(request: bytes, then: str, **settings: Any) -> tuple[Everything, rr.ListenerInfo]:
    """All events of one peer that says ``request`` and then waits, closes, finishes or sees a drain."""
    events = Everything()
    async with open_house(settings.pop("handler", hello), observers=[events], **settings) as house:
        peer = house.peer()
        await peer.say(request)
        if then == "close":
            await peer.close()
        elif then == "finish":
            await peer.finish()
        elif then == "drain":
            await house.listener.drain(3)
        if then != "cancel":
            await house.empty()
        info = house.listener.info()
    return events, info


REJECTED = {
    "head": (b"nonsense\r\n", "bad_request_line", 400, "head"),
    "head in a pipeline": (GET + b"nonsense\r\n", "bad_request_line", 400, "head"),
    "head bit by bit": (b"GET / HTTP/1.1\r\nno colon\r\n", "bad_header", 400, "head"),
    "version": (b"GET / HTTP/3.0\r\n\r\n", "bad_version", 505, "head"),
    "declared length": (post(b"Content-Length: 11"), "content_length_too_large", 413, "body"),
    "chunk": (post(CHUNKED, body=b"b\r\n"), "content_length_too_large", 413, "body"),
    "chunk size": (post(CHUNKED, body=b"x\r\n"), "bad_chunk_size", 400, "body"),
}


@pytest.mark.parametrize("case", REJECTED)
async def test_a_rejected_request_says_why_and_never_started(case, autojump_clock):
    request, reason, status, phase = REJECTED[case]
    events, info = await told_once(request, "wait", limits=rr.Limits(max_body=10))
    event = events.only("request_rejected")
    assert (event.listener, event.peer, event.reason, event.status) == ("main", "memory", reason, status)
    assert (event.phase, event.started) == (phase, False)
    assert (event.request is None) == (phase == "head")
    assert not {"request_exception", "request_aborted"} & set(events.names())
    assert (info.refused, info.aborted) == (1, 0)


async def test_a_rejection_in_the_application_comes_after_the_end_of_its_request(autojump_clock):
    events, info = await told_once(post(CHUNKED, body=b"x\r\n"), "wait", handler=greedy, body="streaming")
    assert events.names()[2:5] == ["request_exception", "request_rejected", "listener_conn_close"]
    event = events.only("request_rejected")
    assert (event.started, event.phase, event.request) == (True, "body", events.only("request_exception").request)
    assert info.refused == 1


ABORTED = {
    # what the peer says and does; reason, status, phase
    "half a head, then silence": (b"GET / HT", "wait", "timeout", 408, "head"),
    "half a head, then a close": (b"GET / HT", "close", "peer_gone", None, "head"),
    "half a head, then its end": (b"GET / HT", "finish", "peer_gone", None, "head"),
    "half a head in a drain": (b"GET / HT", "drain", "cancelled", None, "head"),
    "half a head when all is over": (b"GET / HT", "cancel", "cancelled", None, "head"),
    "half a second head": (GET + b"GET", "wait", "timeout", 408, "head"),
    "half a body, then silence": (post(b"Content-Length: 9", body=b"1"), "wait", "timeout", 408, "body"),
    "half a body, then a close": (post(b"Content-Length: 9", body=b"1"), "close", "peer_gone", None, "body"),
    "half a body, then its end": (post(b"Content-Length: 9", body=b"1"), "finish", "peer_gone", None, "body"),
    "half a body in a drain": (post(b"Content-Length: 9", body=b"1"), "drain", "cancelled", 503, "body"),
    "half a body when all is over": (post(b"Content-Length: 9", body=b"1"), "cancel", "cancelled", None, "body"),
    "half a second body": (GET + post(b"Content-Length: 9"), "close", "peer_gone", None, "body"),
}


@pytest.mark.parametrize("case", ABORTED)
async def test_a_request_that_breaks_off_is_told_once_though_it_never_started(case, autojump_clock):
    request, then, reason, status, phase = ABORTED[case]
    events, info = await told_once(request, then, limits=PATIENT)
    event = events.only("request_aborted")
    assert (event.listener, event.peer) == ("main", "memory")
    assert (event.reason, event.status, event.phase) == (reason, status, phase)
    assert (event.request is None) == (phase == "head")
    assert events.names().count("request_start") == request.startswith(GET)
    assert not {"request_exception", "request_rejected"} & set(events.names())
    assert then == "cancel" or info.aborted == 1, "when all is over there was no time to look"
    assert info.refused == info.failed == 0


@pytest.mark.parametrize("request_", [b"", GET, b"\r\n"], ids=["nothing", "a whole request", "an empty line"])
@pytest.mark.parametrize("then", ["wait", "close", "finish", "drain", "cancel"])
async def test_a_connection_that_ends_between_requests_aborts_none(request_, then, autojump_clock):
    events, info = await told_once(request_, then)
    assert "request_aborted" not in events.names()
    assert info.aborted == info.refused == 0


async def test_case_15_a_head_that_is_too_slow_is_told_as_that_and_not_as_the_peers_leaving(autojump_clock):
    events = Everything()
    async with open_house(observers=[events]) as house:
        peer = house.peer()
        await peer.say(b"G")
        await trio.sleep(6)
        await peer.say(b"E")
        await house.empty()
    event = events.only("request_aborted")
    assert (event.reason, event.status, event.phase) == ("timeout", None, "head")


async def test_a_plan_that_raises_is_an_abortion_by_error(autojump_clock, caplog):
    class Planless:
        def plan(self, request):
            raise ValueError("no plan")

        async def __call__(self, exchange):
            pytest.fail("it has no plan")

    events, info = await told_once(GET, "wait", handler=Planless())
    event = events.only("request_aborted")
    assert (event.reason, event.status, event.phase, event.request.method) == ("error", 500, "body", "GET")
    assert info.aborted == 1


async def test_a_throttled_request_is_told(autojump_clock):
    events = Everything()
    observers = Observers([events])
    async with open_house(observers=[events]) as house:
        await house.peer().say(GET)
    request = events.only("request_start").request
    observers.tell(observers.request_throttled, rr.RequestThrottled(request, "rate_limit", 429, 0.0))
    event = events.only("request_throttled")
    assert (event.listener, event.path, event.reason, event.status) == ("main", "/", "rate_limit", 429)


# -- responses that do not arrive ----------------------------------------------------------------


async def produce(send):
    for _ in range(100):
        await send(b"x" * 1000)


async def stream(request):
    return rr.StreamResponse(produce)


async def loop(request):
    put, get = trio.open_memory_channel(1)
    put.send_nowait(b"x")
    return rr.LoopResponse(get, lambda message, send: send(message))


async def handoff(request):
    return rr.Handoff(lambda request, stream: stream.send_all(b"x"), status=101)


async def buffered(request):
    return rr.Response("x" * 1000)


class App:
    def plan(self, request):
        return rr.Plan(max_body=0)

    async def __call__(self, exchange):
        await exchange.start_response(200, [])
        await exchange.end_response()


HANDLERS = {"buffered": buffered, "stream": stream, "loop": loop, "handoff": handoff, "app": App()}


@pytest.fixture
def a_file(tmp_path):
    """A handler that answers with a file larger than any buffer."""
    path = tmp_path / "file"
    path.write_bytes(b"x" * 2_000_000)

    async def file(request):
        return rr.FileResponse(path)

    return file


class Vanishing(SlowStream):
    """A peer that is gone when it is sent more than it has room for."""

    async def send_all(self, data):
        if len(data) > self.room:
            self.reset()
        await super().send_all(data)


@pytest.mark.parametrize(
    ("how", "reason"), [(Vanishing, "the peer went away"), (SlowStream, "the peer does not take its response in time")]
)
@pytest.mark.parametrize(
    ("kind", "room", "phase"),
    [
        ("buffered", 0, "buffered_response"),
        ("buffered", 500, "buffered_response"),
        ("stream", 0, "stream_response_head"),
        ("loop", 0, "loop_response_head"),
        ("file", 0, "sendfile_response_head"),
        ("file", 100_000, "sendfile_body"),
        ("handoff", 0, "handoff_response"),
        ("app", 0, "response_head"),
    ],
)
async def test_a_first_write_that_fails_is_told_once(kind, room, phase, how, reason, a_file, autojump_clock):
    events = Everything()
    async with open_house(HANDLERS.get(kind, a_file), observers=[events]) as house:
        ours, theirs = memory_stream_pair()
        await house.connect(Peer(ours, theirs), how(theirs, room)).say(GET)
        await house.empty()
        assert house.listener.info().send_failed == 1
    event = events.only("response_send_failed")
    assert (event.phase, event.path) == (phase, "/")
    assert event.reason == reason
    assert events.only("request_exception").outcome == ("gone" if how is Vanishing else "timeout")


async def test_a_file_from_the_kernel_that_fails_is_told_too(a_file, autojump_clock):
    events = Everything()
    async with open_house(a_file, observers=[events]) as house:
        ours, theirs = socket.socketpair()
        with ours:
            house.door.put.send_nowait(SocketWire(theirs))
            ours.send(GET)
            await wait_all_tasks_blocked()
            await house.empty()
    event = events.only("response_send_failed")
    assert (event.phase, event.reason) == ("sendfile_body", "the peer does not take its response in time")


async def test_later_chunks_interim_and_error_responses_do_not_say_so(autojump_clock):
    async def hinting(request):
        await request._source.send_interim(103)

    for handler, room, request in (
        (stream, 2000, GET),
        (greedy, 0, post(b"Content-Length: 1", b"Expect: 100-continue")),
        (hinting, 0, GET),
        (crash, 0, GET),
        (hello, 0, b"nonsense\r\n"),
    ):
        events = Everything()
        async with open_house(handler, observers=[events]) as house:
            peer, wire = house.slow_peer(room)
            await peer.say(request)
            wire.reset()
            await house.empty()
            assert house.listener.info().send_failed == 0
        assert "response_send_failed" not in events.names()


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
