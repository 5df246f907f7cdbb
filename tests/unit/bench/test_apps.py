"""The benchmarks' two applications: they give the same answers, which are the right ones."""

from __future__ import annotations

import sys
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing
from trio_websocket import wrap_client_stream, wrap_server_stream

# Last, so that the package under test stays the one that is installed.
sys.path.append(str(Path(__file__).parents[3]))

import roadrunner_trio
from bench.apps import asgi, content, hosted, native, trio_ws
from bench.client import Answer
from bench.scenarios import BROWSER, FILE_SIZE, SCENARIOS, differences, request_body
from roadrunner_trio.apps.asgi import asgi as asgi_of_ours
from roadrunner_trio.testing import open_server

BY_NAME = {each.name: each for each in SCENARIOS}
CLOSED = [each for each in SCENARIOS if each.kind == "closed" and each.name not in ("router", "tls")]
ANSWERED = [each for each in CLOSED if each.protocol == "http"]

# -- right answers -------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path, monkeypatch):
    """What ``/file`` sends."""
    path = tmp_path / "file.bin"
    path.write_bytes(request_body(FILE_SIZE))
    monkeypatch.setattr(content, "FILE", str(path))


@pytest.mark.parametrize("scenario", ANSWERED, ids=lambda each: each.name)
@pytest.mark.usefixtures("file")
async def test_this_server_answers_right(scenario):
    fields = [("host", "test"), *scenario.fields]
    async with open_server(native.handler, body="streaming" if scenario.setup.streaming else "buffered") as server:
        method = "POST" if scenario.post else "GET"
        body = request_body(scenario.post)
        found = await server.client().request(method, scenario.path, fields=fields, body=body)
    got = {name.decode(): value.decode() for name, value in found.fields}
    assert differences(scenario, Answer(found.status, got, found.body)) == ""


@pytest.mark.parametrize("scenario", ANSWERED, ids=lambda each: each.name)
@pytest.mark.usefixtures("file")
async def test_this_server_answers_right_with_the_asgi_application(scenario):
    fields = [("host", "test"), *scenario.fields]
    async with open_server(hosted.app) as server:
        method = "POST" if scenario.post else "GET"
        body = request_body(scenario.post)
        found = await server.client().request(method, scenario.path, fields=fields, body=body)
    got = {name.decode(): value.decode() for name, value in found.fields}
    assert differences(scenario, Answer(found.status, got, found.body)) == ""


@pytest.mark.parametrize("scenario", [each for each in CLOSED if each.protocol == "asgi"], ids=lambda each: each.name)
async def test_applications_of_frameworks_answer_right(scenario):
    pytest.importorskip("starlette")
    pytest.importorskip("fastapi")
    from bench.apps import frameworks

    async with open_server(asgi_of_ours(frameworks.app)) as server:
        method = "POST" if scenario.post else "GET"
        body = request_body(scenario.post)
        found = await server.client().request(method, scenario.path, fields=[("host", "test")], body=body)
    got = {name.decode(): value.decode() for name, value in found.fields}
    assert differences(scenario, Answer(found.status, got, found.body)) == ""


@pytest.mark.parametrize("scenario", [each for each in ANSWERED if each.name != "storm"], ids=lambda each: each.name)
@pytest.mark.usefixtures("file")
async def test_the_asgi_application_answers_the_same(scenario):
    answer = await call_asgi(scenario, {})
    if scenario.expect.get("transfer-encoding"):
        answer.fields["transfer-encoding"] = "chunked"  # its server's to say
    assert differences(scenario, answer) == ""


@pytest.mark.usefixtures("file")
async def test_the_asgi_application_leaves_a_file_to_a_server_that_can():
    answer = await call_asgi(BY_NAME["file"], {"http.response.pathsend": {}})
    assert (answer.status, answer.body) == (200, content.FILE.encode())


async def test_the_asgi_application_finds_one_of_its_routes():
    assert differences(BY_NAME["router"], await call_asgi(BY_NAME["router"], {})) == ""


@pytest.mark.parametrize("path", ["/", "/area-7", "/area-7/1/parts/", "/area-200/1/parts/2", "/area-7/1/parts/2/3"])
async def test_the_asgi_application_has_no_other_routes(path):
    sent = []

    async def send(message):
        sent.append(message)

    await asgi.app({"type": "http", "path": path, "headers": []}, None, send)
    assert sent[0]["status"] == 404


async def call_asgi(scenario, extensions):
    """What the ASGI application answers; a file's path stands for its content."""
    body = request_body(scenario.post)
    pieces = [body[:1000], body[1000:]]
    sent = []

    async def receive():
        piece = pieces.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(pieces)}

    async def send(message):
        sent.append(message)

    headers = [(name.lower().encode(), value.encode()) for name, value in scenario.fields]
    scope = {"type": "http", "path": scenario.path, "headers": headers, "extensions": extensions}
    await asgi.app(scope, receive, send)
    start, *rest = sent
    fields = {name.decode(): value.decode() for name, value in start["headers"]}
    return Answer(start["status"], fields, b"".join(each.get("body", each.get("path", "").encode()) for each in rest))


async def test_the_asgi_application_lives_as_long_as_its_server():
    messages = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    sent = []

    async def receive():
        return messages.pop(0)

    async def send(message):
        sent.append(message["type"])

    await asgi.app({"type": "lifespan"}, receive, send)
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


async def test_the_asgi_application_echoes_messages_as_they_are():
    said = [{"type": "websocket.connect"}, {"type": "websocket.receive", "bytes": b"\0\1"}]
    said += [{"type": "websocket.receive", "bytes": None, "text": "é"}, {"type": "websocket.disconnect"}]
    sent = []

    async def receive():
        return said.pop(0)

    async def send(message):
        sent.append(message)

    await asgi.app({"type": "websocket", "path": "/ws"}, receive, send)
    back = [{"type": "websocket.send", "bytes": b"\0\1"}, {"type": "websocket.send", "text": "é"}]
    assert sent == [{"type": "websocket.accept"}, *back]


@pytest.mark.skipif(not hasattr(roadrunner_trio, "websocket"), reason="this version has no WebSockets of its own")
async def test_this_server_echoes_messages():
    async with open_server(native.make_websocket()) as server:
        stream = server.connect()
        async with trio_websocket_client(stream) as socket:
            await socket.send_message(b"\0\1")
            assert await socket.get_message() == b"\0\1"


async def test_trio_websocket_by_itself_echoes_messages():
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:

        async def serve():
            request = await wrap_server_stream(nursery, theirs)
            await trio_ws.echo(request)

        nursery.start_soon(serve)
        async with trio_websocket_client(ours) as socket:
            await socket.send_message("é")
            assert await socket.get_message() == "é"


@asynccontextmanager
async def trio_websocket_client(stream):
    """A WebSocket over that stream, closed at the end."""
    async with trio.open_nursery() as nursery:
        socket = await wrap_client_stream(nursery, stream, "test", "/ws")
        async with socket:
            yield socket


def test_the_scenarios_are_what_they_say():
    assert 900 <= len(BY_NAME["json"].body) <= 1100
    assert len(BY_NAME["large"].body) == 65536
    assert len(content.CHUNK) == 1024
    assert len(BROWSER) + 1 == 14
    assert len(content.FIELDS) == 10
    assert len(SCENARIOS) == len(BY_NAME)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Answer(404, {}, b""), "status 404"),
        (Answer(200, {}, b"Hello, World!"), "a body of 13 octets"),
        (Answer(200, {"content-length": "13"}, content.HELLO), "content-type is None"),
        (Answer(200, {"content-type": "text/plain", "content-length": "13"}, content.HELLO), "'text/plain'"),
        (
            Answer(
                200,
                {"content-type": content.TEXT.decode(), "content-length": "13", "transfer-encoding": "chunked"},
                content.HELLO,
            ),
            "transfer-encoding is 'chunked', not None",
        ),
    ],
)
def test_wrong_answers(answer, said):
    assert said in differences(BY_NAME["hello"], answer)
