"""Spans: what is in them, whose they are, and that every one of them ends."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import trio
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from socket_tools import eventually
from story_tools import GET, open_house

import roadrunner_trio as rr
from roadrunner_trio.apps.router import Route, Router
from roadrunner_trio.command.cli import main

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


class Spans:
    """Those that have ended."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer = self.provider.get_tracer("app")

    def __iter__(self) -> Iterator[ReadableSpan]:
        return iter(self._exporter.get_finished_spans())

    def only(self) -> ReadableSpan:
        (span,) = self
        return span


@pytest.fixture
def spans() -> Spans:
    return Spans()


def ask(target: str, *lines: str, method: str = "GET") -> bytes:
    return "\r\n".join([f"{method} {target} HTTP/1.1", "Host: example.org:8443", *lines, "", ""]).encode()


async def user(request: rr.Request) -> rr.Response:
    return rr.Response.text(request.bindings["id"])


async def test_a_span_is_named_and_described_by_the_conventions(autojump_clock: Any, spans: Spans) -> None:
    routes = Router([Route("/users/:id", user)])
    async with open_house(routes, observers=[rr.Tracing(spans.provider)]) as house:
        await house.peer().say(ask("/users/7?q=1", "User-Agent: curl"))
    span = spans.only()
    assert span.name == "GET /users/:id"
    assert span.kind is trace.SpanKind.SERVER
    assert span.status.status_code is trace.StatusCode.UNSET
    assert dict(span.attributes or {}) == {
        "http.request.method": "GET",
        "url.path": "/users/7",
        "url.query": "q=1",
        "url.scheme": "http",
        "http.route": "/users/:id",
        "network.protocol.version": "1.1",
        "user_agent.original": "curl",
        "server.address": "example.org",
        "server.port": 8443,
        "http.response.status_code": 200,
        "http.request.body.size": 0,
        "http.response.body.size": 1,
    }


async def test_a_method_that_a_peer_has_made_up_is_no_name(autojump_clock: Any, spans: Spans) -> None:
    async with open_house(observers=[rr.Tracing(spans.provider)]) as house:
        await house.peer().say(ask("/", method="BREW"))
    span = spans.only()
    assert span.name == "HTTP"
    assert span.attributes is not None
    assert span.attributes["http.request.method"] == "_OTHER"
    assert span.attributes["http.request.method_original"] == "BREW"


@pytest.mark.parametrize(
    ("host", "found"),
    [
        ("example.org", ("example.org", None)),
        ("[::1]:80", ("::1", 80)),
        ("[::1]", ("::1", None)),
        ("h:999999", ("h:999999", None)),
    ],
)
async def test_the_host(autojump_clock: Any, spans: Spans, host: str, found: tuple[str, int | None]) -> None:
    async with open_house(observers=[rr.Tracing(spans.provider)]) as house:
        await house.peer().say(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    attributes = (span := next(iter(spans), None)) and span.attributes
    if attributes:  # else it was refused
        assert (attributes["server.address"], attributes.get("server.port")) == found


@pytest.mark.parametrize(
    ("lines", "continues"),
    [
        ([f"traceparent: 00-{TRACE}-{PARENT}-01"], True),
        ([f"TraceParent: 00-{TRACE}-{PARENT}-01", "tracestate: a=1", "tracestate: b=2"], True),
        ([f"traceparent: cc-{TRACE}-{PARENT}-01-what-the-future-will-be"], True),
        ([], False),
        ([f"traceparent: 00-{TRACE}-{PARENT}-01", f"traceparent: 00-{TRACE}-{PARENT}-01"], False),
        ([f"traceparent: ff-{TRACE}-{PARENT}-01"], False),
        ([f"traceparent: 00-{'0' * 32}-{PARENT}-01"], False),
        ([f"traceparent: 00-{TRACE}-{'0' * 16}-01"], False),
        ([f"traceparent: 00-{TRACE.upper()}-{PARENT}-01"], False),
        ([f"traceparent: 00-{TRACE}-{PARENT}"], False),
        (["traceparent: nonsense"], False),
    ],
)
async def test_the_trace_of_the_peer(autojump_clock: Any, spans: Spans, lines: list[str], continues: bool) -> None:
    async with open_house(observers=[rr.Tracing(spans.provider)]) as house:
        await house.peer().say(ask("/", *lines))
    span = spans.only()
    assert span.context is not None
    assert (f"{span.context.trace_id:032x}" == TRACE) is continues
    assert (span.parent is not None and f"{span.parent.span_id:016x}" == PARENT) is continues
    if len(lines) == 3:
        assert span.context.trace_state.to_header() == "a=1,b=2"


async def test_what_the_application_begins_is_below_its_own_request(spans: Spans) -> None:
    async def work(name: str) -> None:
        with spans.tracer.start_as_current_span(name):
            await trio.sleep(0.01)

    async def handler(request: rr.Request) -> rr.Response:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(work, request.path + "/1")
            nursery.start_soon(work, request.path + "/2")
        await trio.to_thread.run_sync(lambda: spans.tracer.start_span(request.path + "/thread").end())
        return rr.Response.text("done")

    async with open_house(handler, observers=[rr.Tracing(spans.provider)]) as house:
        for target in ("/a", "/b", "/c"):
            peer = house.peer()
            await peer.say(ask(target))
            await peer.say(ask(target + "again"))  # on the same connection, a trace of its own
        await eventually(lambda: len(list(spans)) == 24)
    roots = {span.context.span_id: span for span in spans if span.parent is None and span.context}
    assert len(roots) == 6
    inner = [span for span in spans if span.parent is not None]
    assert len(inner) == 18
    for span in inner:
        assert span.parent is not None
        above = roots[span.parent.span_id].attributes
        assert above is not None
        assert span.name.rpartition("/")[0] == above["url.path"]


async def test_a_handler_that_fails(autojump_clock: Any, spans: Spans) -> None:
    async def handler(request: rr.Request) -> rr.Response:
        raise trio.TooSlowError("database") if request.path == "/trio" else KeyError("mine")

    async with open_house(handler, observers=[rr.Tracing(spans.provider)]) as house:
        await house.peer().say(ask("/"))
        await house.peer().say(ask("/trio"))
    kinds = []
    for span in spans:
        assert span.attributes is not None
        assert span.status.status_code is trace.StatusCode.ERROR
        assert span.attributes["http.response.status_code"] == 500
        assert [event.name for event in span.events] == ["exception"]
        kinds.append(span.attributes["error.type"])
    assert kinds == ["KeyError", "trio.TooSlowError"]


@pytest.mark.parametrize(("status", "error"), [(404, None), (500, "500"), (503, "503")])
async def test_a_status_that_the_application_chose(
    autojump_clock: Any, spans: Spans, status: int, error: str | None
) -> None:
    async def handler(request: rr.Request) -> rr.Response:
        return rr.Response(status=status)

    async with open_house(handler, observers=[rr.Tracing(spans.provider)]) as house:
        await house.peer().say(GET)
    span = spans.only()
    assert span.attributes is not None
    assert span.attributes.get("error.type") == error
    assert (span.status.status_code is trace.StatusCode.ERROR) is (error is not None)


async def test_one_that_is_cut_ends_too(autojump_clock: Any, spans: Spans) -> None:
    async def handler(request: rr.Request) -> rr.Response:
        if request.path == "/drain":
            request.acknowledge_drain()
        await trio.sleep_forever()
        raise AssertionError

    async with open_house(handler, observers=[rr.Tracing(spans.provider)], timeouts=rr.Timeouts(handler=5)) as house:
        await house.peer().say(ask("/drain"))
        await trio.sleep(6)
    span = spans.only()
    assert span.attributes is not None
    assert span.attributes["error.type"] == "timeout"
    assert [event.name for event in span.events] == ["drain acknowledged"]


async def test_what_the_peer_did_is_no_error_of_the_server(autojump_clock: Any, spans: Spans) -> None:
    async def handler(request: rr.Request) -> rr.Response:
        await request.read()
        raise AssertionError

    async with open_house(handler, observers=[rr.Tracing(spans.provider)], body="streaming") as house:
        peer = house.peer()
        await peer.say(ask("/", "Transfer-Encoding: chunked", method="POST") + b"nonsense\r\n")
        await house.peer().say(ask("/", "Content-Length: 5", method="POST"))
        await trio.sleep(400)
    found = [(span.attributes or {})["error.type"] for span in spans]
    assert found == ["rejected", "timeout"]
    assert {span.status.status_code for span in spans} == {trace.StatusCode.UNSET}


async def test_questions_of_balancers_are_not_traced(autojump_clock: Any, spans: Spans) -> None:
    tracing = rr.Tracing(spans.provider)
    async with open_house(observers=[tracing], health_path="/healthz") as house:
        await house.peer().say(ask("/healthz"))
        assert list(spans) == []
        await house.peer().say(ask("/"))
    assert spans.only().name == "GET"
    assert tracing._spans == {}


async def test_unless_they_are_wanted(autojump_clock: Any, spans: Spans) -> None:
    async with open_house(observers=[rr.Tracing(spans.provider, probes=True)], health_path="/healthz") as house:
        await house.peer().say(ask("/healthz"))
    assert spans.only().name == "GET /healthz"


def test_nothing_is_imported_before_it_is_wanted() -> None:
    program = "import sys, roadrunner_trio, roadrunner_trio.command.cli\n"
    program += "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "[]\n"


def test_who_does_not_have_it_is_told_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(ImportError, match=r"pip install 'roadrunner-trio\[otel\]'"):
        rr.Tracing()
    assert main(["check", "--otel", "--bind", "127.0.0.1:0"]) == 3
    assert "--otel: tracing needs OpenTelemetry: pip install 'roadrunner-trio[otel]'" in capsys.readouterr().err
