"""How a request ends is told: what went in and out, what went wrong and where, with its counter, once each."""

from __future__ import annotations

import socket
from typing import Any

import pytest
import trio
from event_tools import Everything
from story_tools import GET, Peer, SlowStream, hello, loud, open_house, post
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

import roadrunner_trio as rr
import roadrunner_trio.answering.context
from roadrunner_trio.telemetry.observe import Observers
from roadrunner_trio.transport.wire import SocketWire

PATIENT = rr.Limits(min_bytes_per_second=0)
CHUNKED = b"Transfer-Encoding: chunked"

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
