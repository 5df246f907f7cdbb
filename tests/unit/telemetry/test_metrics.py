"""What is counted, of whom, and that nobody can make it grow."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from log_tools import a_request
from story_tools import GET, open_house, post
from trio.testing import wait_all_tasks_blocked
from websocket_tools import TEXT, closing, frame, handshake

import roadrunner_trio as rr
from roadrunner_trio.apps.router import Route, Router
from roadrunner_trio.telemetry.metrics import MOST_ROUTES, REMEMBERED, Metrics, metrics_handler
from roadrunner_trio.telemetry.observe import Observers
from roadrunner_trio.telemetry.snapshot import (
    BOUNDS,
    CELLS,
    DURATION,
    FIRST,
    MOST_SERIES,
    MOST_TALLIES,
    OTHER,
    PLACE,
    RECEIVED,
    SENT,
    SIZE,
    Snapshot,
)


class Done:
    """An exchange that is over, as it is measured."""

    kind = "buffered"
    sent = 5
    received = 3
    headed = 0.0
    phase: Any = None

    def __init__(self, status: int = 200) -> None:
        self.status = status


class Pattern:
    def __init__(self, pattern: Any) -> None:
        self.pattern = pattern


def of(snapshot: Snapshot, name: str, *labels: str) -> int:
    return snapshot.numbers[PLACE[(name, *labels)]]


def counts(snapshot: Snapshot) -> dict[tuple[str, str, str], int]:
    """How many requests there were, by method, route and class."""
    return {key: sum(values[DURATION][:-1]) for key, values in snapshot.series.items()}


async def test_requests_are_counted_by_method_route_and_class(autojump_clock: Any) -> None:
    async def user(request: rr.Request) -> rr.Response:
        return rr.Response.text(request.bindings["id"])

    async def bad(request: rr.Request) -> rr.Response:
        raise ValueError("mine")

    metrics = Metrics()
    routes = Router([Route("/users/:id", user, methods=["GET"]), Route("/bad", bad)])
    async with open_house(routes, observers=[metrics], health_path="/healthz") as house:
        for target in ("/users/1", "/users/2", "/nope", "/healthz"):
            await house.peer().say(b"GET %b HTTP/1.1\r\nHost: h\r\n\r\n" % target.encode())
        await house.peer().say(b"GET /bad HTTP/1.1\r\nHost: h\r\n\r\n")
        await house.peer().say(b"BREW /users/3 HTTP/1.1\r\nHost: h\r\n\r\n")
        snapshot = metrics.snapshot()
    assert counts(snapshot) == {
        ("GET", "/users/:id", "2xx"): 2,
        ("GET", "", "4xx"): 1,
        ("GET", "/healthz", "2xx"): 1,
        ("GET", "/bad", "5xx"): 1,
        (OTHER, "", "4xx"): 1,
    }
    assert snapshot.tallies == {("roadrunner_requests_failed_total", "error"): 1}
    assert of(snapshot, "roadrunner_requests_total") == 6


async def test_durations_and_the_first_octet(autojump_clock: Any) -> None:
    async def stream(request: rr.Request) -> rr.AnyResponse:
        async def produce(send: rr.Send) -> None:
            await trio.sleep(2)
            await send(b"end")

        await trio.sleep(0.3)
        return rr.StreamResponse(produce) if request.path == "/s" else rr.Response(await request.read())

    metrics = Metrics()
    async with open_house(stream, observers=[metrics]) as house:
        await house.peer().say(b"GET /s HTTP/1.1\r\nHost: h\r\n\r\n")
        await trio.sleep(3)
        (streamed,) = metrics.snapshot().series.values()
        await house.peer().say(post(b"content-length: 5", body=b"12345"))
        await trio.sleep(1)
        snapshot = metrics.snapshot()
    assert streamed[DURATION][BOUNDS.index(2.5)] == 1
    assert streamed[DURATION][-1] == pytest.approx(2_300_000, abs=2)
    assert streamed[FIRST][BOUNDS.index(0.5)] == 1
    assert streamed[FIRST][-1] == pytest.approx(300_000, abs=2)
    assert (streamed[RECEIVED], streamed[SENT]) == (0, 3)
    whole = snapshot.series["POST", "", "2xx"]
    assert whole[DURATION] == whole[FIRST]
    assert whole[DURATION][-1] == pytest.approx(300_000, abs=2)
    assert (whole[RECEIVED], whole[SENT]) == (5, 5)


async def test_a_peer_that_left_has_had_no_first_octet(autojump_clock: Any) -> None:
    async def never(request: rr.Request) -> rr.Response:
        await trio.sleep_forever()
        raise AssertionError

    metrics = Metrics()
    async with open_house(never, observers=[metrics], timeouts=rr.Timeouts(handler=7)) as house:
        await house.peer().say(GET)
        await trio.sleep(8)
        snapshot = metrics.snapshot()
    row = snapshot.series["GET", "", "none"]
    assert sum(row[DURATION][:-1]) == 1
    assert row[FIRST] == [0] * CELLS
    assert snapshot.tallies == {("roadrunner_requests_failed_total", "timeout"): 1}


async def test_refusals_are_counted_by_reason(autojump_clock: Any) -> None:
    async def slow(request: rr.Request) -> rr.Response:
        await trio.sleep(5)
        return rr.Response.text("done")

    metrics = Metrics()
    limits = rr.Limits(max_connections=2, max_concurrent_requests=1)
    async with open_house(slow, observers=[metrics], limits=limits) as house:
        await house.peer().say(GET)
        peer = house.peer()
        await peer.say(GET)
        house.peer()
        await wait_all_tasks_blocked()
        await peer.say(b"nonsense\r\n\r\n")
        snapshot = metrics.snapshot()
    assert snapshot.tallies == {
        ("roadrunner_requests_throttled_total", "max_concurrent_requests"): 1,
        ("roadrunner_connections_rejected_total", "max_connections"): 1,
        ("roadrunner_requests_refused_total", "bad_request_line"): 1,
    }


async def test_connections_are_counted_by_phase_and_drains(autojump_clock: Any) -> None:
    async def slow(request: rr.Request) -> rr.Response:
        await trio.sleep(5)
        return rr.Response.text("done")

    metrics = Metrics()
    async with open_house(slow, observers=[metrics]) as house:
        house.peer()
        await house.peer().say(b"GET / HT")
        await house.peer().say(GET)
        before = metrics.snapshot()
        house.nursery.start_soon(house.listener.drain, 20)
        await wait_all_tasks_blocked()
        after = metrics.snapshot()
    assert [of(before, "roadrunner_connections", each) for each in ("idle", "read_request", "dispatch")] == [1, 1, 1]
    assert of(before, "http_server_active_requests") == 1
    assert of(before, "roadrunner_connections_accepted_total") == 3
    assert of(before, "roadrunner_draining") == 0
    assert of(after, "roadrunner_draining") == 1
    assert of(after, "roadrunner_drains_total") == 1


async def test_two_listeners_are_added_up(autojump_clock: Any) -> None:
    metrics = Metrics()
    async with open_house(observers=[metrics]) as one, open_house(observers=[metrics]) as two:
        await one.peer().say(GET)
        await two.peer().say(GET)
        snapshot = metrics.snapshot()
    assert of(snapshot, "roadrunner_requests_total") == 2
    assert counts(snapshot) == {("GET", "", "2xx"): 2}


async def test_each_of_two_observers_counts_everything(autojump_clock: Any) -> None:
    some, others = Metrics(), Metrics()
    async with open_house(observers=[some, others]) as house:
        await house.peer().say(GET)
    assert counts(some.snapshot()) == counts(others.snapshot()) == {("GET", "", "2xx"): 1}


def test_the_process_is_measured() -> None:
    snapshot = Metrics().snapshot()
    for name in ("process_cpu_seconds_total", "process_start_time_seconds", "roadrunner_processes"):
        assert of(snapshot, name) > 0, name


def test_nobody_who_does_not_want_them_pays_for_events() -> None:
    assert not Observers().ends
    assert Observers([Metrics()]).ends
    assert not Observers([Metrics()]).request_stop


# -- what peers and programs can do to it --------------------------------------------------------


@pytest.mark.slow
def test_a_million_paths_and_methods_make_no_new_series() -> None:
    many_paths(1_000_000)


def test_paths_and_methods_make_no_new_series() -> None:
    many_paths(20_000)


def many_paths(number: int) -> None:
    async def page(request: rr.Request) -> rr.Response:
        raise AssertionError

    metrics, router = Metrics(), Router([Route("/users/:id", page)])
    request, done, missed = a_request(), Done(), Done(404)
    for at in range(number):
        method = b"M%d" % at if at % 2 else b"GET"
        target = b"/users/%d" % at if at % 3 else b"/%d" % at
        request.head = request.head._replace(method=method, path=target, target=target)
        request.endpoint = None
        router.plan(request)
        metrics.measure(done if request.endpoint else missed, request, 0.0)
    snapshot = metrics.snapshot()
    assert set(snapshot.series) <= {
        (method, route, status)
        for method in ("GET", OTHER)
        for route in ("/users/:id", "")
        for status in ("2xx", "4xx")
    }
    assert sum(counts(snapshot).values()) == number
    assert sum(len(methods) for methods in metrics._rows.values()) <= 4


def test_more_routes_than_there_may_be_are_one() -> None:
    metrics, request = Metrics(), a_request()
    for at in range(MOST_ROUTES + 100):
        request.endpoint = Pattern(f"/route{at}")
        metrics.measure(Done(), request, 0.0)
    seen = counts(metrics.snapshot())
    assert len(seen) == MOST_ROUTES + 1
    assert seen["GET", OTHER, "2xx"] == 100


def test_more_series_than_there_may_be_are_one_for_each_class() -> None:
    metrics = Metrics()
    for at in range(MOST_ROUTES):
        for method in ("GET", "PUT", "POST"):
            for status in (200, 302, 404, 500, 0):
                request = a_request()
                request.head = request.head._replace(method=method.encode())
                request.endpoint = Pattern(f"/route{at}")
                metrics.measure(Done(status), request, 0.0)
    snapshot = metrics.snapshot()
    assert len(snapshot.series) <= MOST_SERIES
    assert sum(counts(snapshot).values()) == MOST_ROUTES * 15
    area = bytearray(SIZE)
    metrics.write_to(area)
    read = Snapshot.unpack(area)
    assert read is not None
    assert read.series.keys() == snapshot.series.keys()


def test_endpoints_that_come_and_go_are_not_kept_for_ever() -> None:
    metrics, request = Metrics(), a_request()
    for _ in range(3 * REMEMBERED):
        request.endpoint = Pattern("/")  # another object each time, as after a reload
        metrics.measure(Done(), request, 0.0)
    assert len(metrics._rows) <= REMEMBERED
    assert counts(metrics.snapshot()) == {("GET", "/", "2xx"): 3 * REMEMBERED}


class Unruly:
    """What an application may put there."""

    __hash__ = None  # type: ignore[assignment]

    @property
    def pattern(self) -> str:
        raise RuntimeError("not for you")


@pytest.mark.parametrize("endpoint", [[], Unruly(), Pattern(5), Pattern(""), object()])
def test_an_endpoint_of_any_kind_is_no_route(endpoint: Any) -> None:
    metrics, request = Metrics(), a_request()
    request.endpoint = endpoint
    metrics.measure(Done(), request, 0.0)
    metrics.measure(Done(), request, 0.0)
    assert counts(metrics.snapshot()) == {("GET", "", "2xx"): 2}


def test_a_route_of_any_length_with_anything_in_it_can_be_written_and_read() -> None:
    metrics, request, area = Metrics(), a_request(), bytearray(SIZE)
    for pattern in ("/é" * 300, "/a\0b", '/"\\\n'):
        request.endpoint = Pattern(pattern)
        metrics.measure(Done(), request, 0.0)
    metrics.write_to(area)
    read = Snapshot.unpack(area)
    assert read is not None
    assert read.series == metrics.snapshot().series
    assert {route for _, route, _ in read.series} >= {"/ab", '/"\\\n'}


def test_reasons_that_an_application_makes_up_are_bounded() -> None:
    metrics = Metrics()
    for at in range(1000):
        metrics.request_rejected(rr.RequestRejected("main", "unix", f"made up {at}", 400, "body", None, False, 0.0))
    tallies = metrics.snapshot().tallies
    assert len(tallies) <= MOST_TALLIES
    assert sum(tallies.values()) == 1000
    assert tallies["roadrunner_requests_refused_total", OTHER] > 900


# -- the handlers --------------------------------------------------------------------------------


async def test_the_handler_of_a_route_of_its_own(autojump_clock: Any) -> None:
    metrics = Metrics()
    async with open_house(Router([Route("/metrics", metrics.handler)]), observers=[metrics]) as house:
        peer = house.peer()
        await peer.say(b"GET /metrics HTTP/1.1\r\nHost: h\r\nAccept: application/openmetrics-text\r\n\r\n")
        told = peer.take()
    assert b"content-type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n" in told
    assert b'roadrunner_connections{phase="dispatch"} 1\n' in told
    assert told.endswith(b"# EOF\n")


@pytest.mark.parametrize(
    ("request_line", "status"),
    [(b"GET /metrics", 200), (b"GET /", 200), (b"HEAD /metrics", 200), (b"GET /other", 404), (b"POST /metrics", 405)],
)
async def test_the_handler_of_a_listener_of_its_own(autojump_clock: Any, request_line: bytes, status: int) -> None:
    async with open_house(metrics_handler(Snapshot)) as house:
        peer = house.peer()
        await peer.say(request_line + b" HTTP/1.1\r\nHost: h\r\n\r\n")
        assert peer.take().startswith(b"HTTP/1.1 %d " % status)


async def test_websockets_are_counted_while_they_are_open_and_when_they_are_over(autojump_clock: Any) -> None:
    async def talk(offer: rr.WebSocketRequest) -> None:
        if offer.path == "/no":
            await offer.reject(403)
            return
        session = await offer.accept()
        async for message in session:
            await session.send_message(message)
            await session.send_message(message)

    metrics = Metrics()
    async with open_house(rr.websocket(talk), observers=[metrics]) as house:
        peers = [house.peer() for _ in range(3)]
        for peer, target in zip(peers, (b"/", b"/", b"/no"), strict=True):
            await peer.say(handshake(target=target))
        await peers[0].say(frame(TEXT, "a"))
        now = metrics.snapshot()
        assert (of(now, "roadrunner_websockets"), of(now, "roadrunner_websockets_opened_total")) == (2, 2)
        assert of(now, "roadrunner_websocket_messages_total", "in") == 1
        assert of(now, "roadrunner_websocket_messages_total", "out") == 2
        await peers[0].say(closing(4001))
        await peers[1].say(closing(1001))
        await peers[0].end()
        await peers[1].end()
        then = metrics.snapshot()
    assert of(then, "roadrunner_websockets") == 0
    assert then.tallies == {
        ("roadrunner_websockets_refused_total", "rejected"): 1,
        ("roadrunner_websockets_closed_total", "4xxx"): 1,
        ("roadrunner_websockets_closed_total", "1001"): 1,
    }


def test_codes_that_peers_make_up_are_bounded() -> None:
    metrics = Metrics()
    for code in [*range(1000, 1016), *range(3000, 5000)]:
        metrics.websocket_open(rr.WebSocketOpened(a_request(), None, False, 0.0))
        metrics.websocket_close(rr.WebSocketClosed(a_request(), code, "", "peer", 0, 0, 0.0))
    counted = metrics.snapshot().tallies
    assert len(counted) == 18
    assert counted["roadrunner_websockets_closed_total", "3xxx"] == 1000
    assert of(metrics.snapshot(), "roadrunner_websockets") == 0
