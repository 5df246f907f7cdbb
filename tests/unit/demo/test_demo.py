"""The demo: every exhibit answers as the page says it does."""

from __future__ import annotations

import hashlib
import inspect
import json
import re
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest
import trio
import trio.testing
from trio_websocket import ConnectionClosed, wrap_client_stream

from roadrunner_trio import Broadcast
from roadrunner_trio import demo as demo_package
from roadrunner_trio.demo import ROUTES, SHOWN, board, demo, exhibits, page
from roadrunner_trio.demo.source import source_as_html
from roadrunner_trio.testing import MemoryStream, open_server

FILES = Path(demo_package.__file__).parent
JSON = {"content-type": "application/json"}


@pytest.fixture(autouse=True)
def fresh_board(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test has readers and a listener of its own."""
    monkeypatch.setattr(board, "_news", Broadcast())
    monkeypatch.setattr(board, "listener", None)


async def events_of(stream: MemoryStream, count: int) -> list[tuple[str, object]]:
    """Asks for ``/events`` and reads the first ``count``."""
    await stream.send_all(b"GET /events HTTP/1.1\r\nhost: x\r\n\r\n")
    text = await read_until(stream, "\n\n", count)
    return re.findall(r"event: (\w+)\nid: .+\ndata: (.*)\n\n", text)


async def read_until(stream: trio.abc.ReceiveStream, mark: str, count: int = 1) -> str:
    text = ""
    while text.count(mark) < count:
        piece = await stream.receive_some()
        assert piece, f"the server closed after {text!r}"
        text += piece.decode()
    return text


# -- the page ------------------------------------------------------------------------------------


class Links(HTMLParser):
    """Everything a page would load or open, every id, and every inline script, style and handler."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.targets: list[str] = []
        self.ids: list[str] = []
        self.inline: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag != "a":
            self.loads += [given[name] for name in ("src", "href") if name in given]
        self.targets += [given[name] for name in ("data-get", "href") if given.get(name, "").startswith("/")]
        self.ids += [given["id"]] if "id" in given else []
        self.inline += [name for name in given if name == "style" or name.startswith("on")]
        if tag == "style" or (tag == "script" and "src" not in given):
            self.inline.append(tag)


async def test_the_page() -> None:
    async with open_server(demo) as server:
        response = await server.client().get("/")
    assert response.status == 200
    assert response.header("content-type") == "text/html; charset=utf-8"
    assert response.header("x-content-type-options") == "nosniff"
    policy = response.header("content-security-policy") or ""
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy


def test_the_page_loads_nothing_from_elsewhere_and_has_nothing_its_policy_forbids() -> None:
    links = Links(page())
    assert sorted(links.loads) == ["/demo.css", "/demo.js", "/mark.svg", "/mark.svg"]
    assert links.inline == []
    assert len(links.ids) == len(set(links.ids))
    for name in ("demo.css", "demo.js"):
        assert not re.search(r"https?://|@import", (FILES / name).read_text("utf-8"))


def test_every_place_the_script_touches_is_in_the_page() -> None:
    script = (FILES / "demo.js").read_text("utf-8")
    named = set(re.findall(r"\$\(\"([\w-]+)\"\)", script)) | set(re.findall(r"wireOf\(\"(\w+)\"\)", script))
    assert len(named) > 15
    assert named <= set(Links(page()).ids)


async def test_every_path_the_page_asks_for_is_an_exhibit() -> None:
    script = (FILES / "demo.js").read_text("utf-8")
    asked = set(Links(page()).targets) | set(re.findall(r"\(\"(/\w+)\"", script))
    assert {"/stream", "/events", "/clock", "/note", "/whoami", "/file", "/hello/text"} <= asked
    assert asked <= {path for _, path in ROUTES}


@pytest.mark.parametrize("path", ["/demo.css", "/demo.js", "/mark.svg"])
async def test_assets(path: str) -> None:
    async with open_server(demo) as server:
        response = await server.client().get(path)
    assert response.status == 200
    assert response.body == (FILES / path[1:]).read_bytes()
    assert response.header("x-content-type-options") == "nosniff"


def test_the_page_prints_the_handlers_as_they_are() -> None:
    printed = unescape(re.sub(r"<[^>]+>", "", page()))
    for functions in SHOWN.values():
        for function in functions:
            assert f"def {function.__name__}(" in printed
    assert 'await send(b"chunk %d of 8\\n" % number)' in printed


def test_source_is_escaped_and_coloured() -> None:
    html = source_as_html(exhibits.hello)
    assert "&lt;h1&gt;Hello&lt;/h1&gt;" in html
    assert '<span class="d">hello</span>' in html
    assert '<span class="k">async</span>' in html
    assert '<span class="k">match</span>' in html
    assert "<h1>" not in html


def test_every_line_has_its_level_so_that_what_does_not_fit_goes_on_below_it() -> None:
    def levels(html: str) -> list[int]:
        lines = html.removesuffix("\n</span>").split("\n</span>")
        return [int(line.removeprefix('<span class="l i')[0]) for line in lines]

    def shown() -> str:
        text = """one
            two"""
        if text:
            return text
        return ""

    assert levels(source_as_html(shown)) == [0, 1, 2, 1, 2, 1]
    assert '<span class="s">        two&quot;&quot;&quot;</span>' in source_as_html(
        shown
    )  # a colour ends with its line


@pytest.mark.parametrize("functions", SHOWN.values(), ids=SHOWN.keys())
def test_colouring_changes_no_character(functions: tuple[object, ...]) -> None:
    for function in functions:
        html = source_as_html(function)  # type: ignore[arg-type]
        assert unescape(re.sub(r"</?span[^>]*>", "", html)) == inspect.getsource(function)  # type: ignore[arg-type]


# -- finding the exhibit -------------------------------------------------------------------------


async def test_unknown_path() -> None:
    async with open_server(demo) as server:
        client = server.client()
        assert (await client.get("/nowhere")).status == 404
        assert (await client.get("/hello/text")).status == 200  # the connection lives on


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [("POST", "/", "GET, HEAD"), ("GET", "/note", "POST"), ("DELETE", "/upload", "POST")],
)
async def test_wrong_method(method: str, path: str, allow: str) -> None:
    async with open_server(demo) as server:
        response = await server.client().request(method, path)
    assert (response.status, response.header("allow")) == (405, allow)


@pytest.mark.parametrize("path", ["/../connection.py", "/demo/exhibits.py", "/exhibits.py", "/index.html"])
async def test_only_the_assets_in_the_table_are_files(path: str) -> None:
    async with open_server(demo) as server:
        assert (await server.client().get(path)).status == 404


# -- the exhibits --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "status", "kind", "body"),
    [
        ("/hello/text", 200, "text/plain; charset=utf-8", b"Hello from one Trio task.\n"),
        ("/hello/html", 200, "text/html; charset=utf-8", b"<h1>Hello</h1>"),
        ("/hello/redirect", 303, None, b""),
        ("/hello/empty", 204, None, b""),
    ],
)
async def test_hello(path: str, status: int, kind: str | None, body: bytes) -> None:
    async with open_server(demo) as server:
        response = await server.client().get(path)
    assert (response.status, response.header("content-type"), response.body) == (status, kind, body)


async def test_hello_json_tells_the_request() -> None:
    async with open_server(demo) as server:
        client = server.client()
        first, second = await client.get("/hello/json"), await client.get("/hello/json")
    assert re.fullmatch(r"[0-9a-f]{16}", json.loads(first.body)["hello"])
    assert first.body != second.body


async def test_stream_takes_two_seconds_and_has_trailers(autojump_clock: trio.testing.MockClock) -> None:
    async with open_server(demo) as server:
        start = trio.current_time()
        response = await server.client().get("/stream")
        assert trio.current_time() - start == pytest.approx(2.0)
    assert response.body.count(b"\n") == 8
    assert response.header("trailer") == "x-chunks"
    assert list(response.trailers) == [(b"x-chunks", b"8")]


async def test_file_is_the_story() -> None:
    async with open_server(demo) as server:
        response = await server.client().get("/file")
    assert response.body == (FILES.parent / "server" / "connection.py").read_bytes()
    assert response.header("content-type") == "text/plain; charset=utf-8"


async def test_missing_and_crash() -> None:
    async with open_server(demo) as server:
        client = server.client()
        response = await client.get("/missing")
        assert (response.status, response.text) == (404, "There is nothing here.\n")
        response = await client.get("/crash")
    assert (response.status, response.body) == (500, b"")


async def test_upload_is_read_in_pieces_and_slowly(autojump_clock: trio.testing.MockClock) -> None:
    body = bytes(range(256)) * 1000
    async with open_server(demo, body="streaming") as server, trio.open_nursery() as nursery:
        told: list[object] = []

        async def listen() -> None:
            async for event in board.subscribe():
                told.append((event.event, json.loads(event.data or "")))

        nursery.start_soon(listen)
        start = trio.current_time()
        response = await server.client().post("/upload?id=mine", body)
        took = trio.current_time() - start
        nursery.cancel_scope.cancel()
    assert response.status == 201
    assert json.loads(response.body) == {"octets": len(body), "sha256": hashlib.sha256(body).hexdigest()}
    assert told[-1] == ("progress", {"id": "mine", "octets": len(body)})
    assert took == pytest.approx(0.02 * len(told))


async def test_whoami_counts_the_requests_of_its_connection() -> None:
    async with open_server(demo) as server, trio.open_nursery() as nursery:
        nursery.start_soon(board.beat, server.listener)
        await trio.testing.wait_all_tasks_blocked()
        client, other = server.client(), server.client()
        await other.get("/whoami")
        first = json.loads((await client.get("/whoami")).body)
        second = json.loads((await client.get("/whoami")).body)
        nursery.cancel_scope.cancel()
    assert first["task"].startswith("main: ")
    assert (first["requests so far"], second["requests so far"]) == (1, 2)
    assert first["request id"] != second["request id"]


# -- the board -----------------------------------------------------------------------------------


async def test_a_beat_a_second(autojump_clock: trio.testing.MockClock) -> None:
    async with open_server(demo) as server, trio.open_nursery() as nursery:
        nursery.start_soon(board.beat, server.listener)
        start = trio.current_time()
        events = await events_of(server.connect(), 3)
        assert trio.current_time() - start == pytest.approx(3.0)
        nursery.cancel_scope.cancel()
    assert [name for name, _ in events] == ["beat"] * 3
    seen = json.loads(str(events[-1][1]))
    assert (seen["status"], seen["active"], seen["requests"]) == ("accepting", 1, 1)
    (connection,) = seen["connections"]
    assert (connection["phase"], connection["left"], connection["age"]) == ("in the handler", None, 3.0)


async def test_an_idle_connection_shows_the_time_it_has_left(autojump_clock: trio.testing.MockClock) -> None:
    async with open_server(demo) as server, trio.open_nursery() as nursery:
        idle = server.connect()
        await trio.sleep(0.5)
        nursery.start_soon(board.beat, server.listener)
        events = await events_of(server.connect(), 1)
        await idle.aclose()
        nursery.cancel_scope.cancel()
    oldest = json.loads(str(events[0][1]))["connections"][0]
    assert (oldest["phase"], oldest["left"]) == ("idle", 28.5)


async def test_a_note_reaches_every_reader() -> None:
    async with open_server(demo) as server, trio.open_nursery() as nursery:
        heard: list[object] = []

        async def read() -> None:
            heard.extend(await events_of(server.connect(), 1))

        nursery.start_soon(read)
        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        body = json.dumps({"text": "<b>meep\n" + "x" * 200}).encode()
        response = await server.client().post("/note", body, fields=JSON)
        id_ = json.loads(response.body)["id"]
        assert response.status == 201
        assert re.fullmatch("[0-9a-f]{8}-1", id_)
    assert heard == [("note", json.dumps("<b>meep\n" + "x" * 132))] * 2


@pytest.mark.parametrize(
    ("fields", "body", "status"),
    [
        ({"content-type": "text/plain"}, b'{"text": "x"}', 415),
        ({}, b'{"text": "x"}', 415),
        (JSON, b"not json", 400),
        (JSON, b"[]", 400),
        (JSON, b"{}", 400),
        (JSON, b"\xff", 400),
    ],
)
async def test_a_bad_note(fields: dict[str, str], body: bytes, status: int) -> None:
    async with open_server(demo) as server:
        assert (await server.client().post("/note", body, fields=fields)).status == status


@pytest.mark.parametrize("how", ["header", "query"])
async def test_who_comes_again_gets_the_notes_that_were_missed(how: str) -> None:
    async with open_server(demo) as server:
        first = board.publish("note", "one").id
        board.publish("note", "two")
        field = f"last-event-id: {first}\r\n" if how == "header" else ""
        query = "" if how == "header" else f"?after={first}"
        stream = server.connect()
        await stream.send_all(f"GET /events{query} HTTP/1.1\r\nhost: x\r\n{field}\r\n".encode())
        text = await read_until(stream, "\n\n")
        await stream.aclose()
    assert text.count("data: ") == 1
    assert 'data: "two"\n' in text


async def test_a_drain_ends_the_stream_with_retry(autojump_clock: trio.testing.MockClock) -> None:
    async with open_server(demo) as server, trio.open_nursery() as nursery:
        stream = server.connect()
        await stream.send_all(b"GET /events HTTP/1.1\r\nhost: x\r\n\r\n")
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(board.beat, server.listener)
        nursery.start_soon(server.listener.drain, 10)
        text = await read_until(stream, "0\r\n\r\n")
        assert trio.current_time() <= 1  # the next beat
        nursery.cancel_scope.cancel()
    assert re.search(r"retry: \d+\n\n", text)


async def test_a_drain_is_seen_to_its_end(autojump_clock: trio.testing.MockClock) -> None:
    """A stream of three seconds is seen to finish; then the reader is told to come again."""
    async with open_server(demo) as server, trio.open_nursery() as nursery:
        nursery.start_soon(board.beat, server.listener)
        busy, reader = server.connect(), server.connect()
        await busy.send_all(b"GET /stream HTTP/1.1\r\nhost: x\r\n\r\n")
        await reader.send_all(b"GET /events HTTP/1.1\r\nhost: x\r\n\r\n")
        await trio.sleep(0.5)
        nursery.start_soon(server.listener.drain, 10)
        nursery.start_soon(read_until, busy, "0\r\nx-chunks: 8\r\n\r\n")
        text = await read_until(reader, "0\r\n\r\n")
        assert 2 < trio.current_time() < 6
        nursery.cancel_scope.cancel()
    assert '"doing":"GET /stream"' in text
    beats = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]
    draining = [beat["active"] for beat in beats if beat["status"] == "draining"]
    assert (draining[0], draining[-1]) == (2, 1)


# -- the clock -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("last", "next_", "text"),
    [
        (None, 1_000_001, "13:46:41"),
        ("999998", 999_999, "13:46:39"),
        ("0", 999_941, "13:45:41"),
        ("999999999999", 1_000_001, "13:46:41"),
        ("x", 1_000_001, "13:46:41"),
    ],
)
async def test_the_clock_goes_on_where_it_was(
    last: str | None, next_: int, text: str, monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    monkeypatch.setattr(exhibits.time, "time", lambda: 1_000_000 + trio.current_time() - start)
    async with open_server(demo) as server:
        start = trio.current_time()
        stream = server.connect()
        field = "" if last is None else f"last-event-id: {last}\r\n"
        await stream.send_all(f"GET /clock HTTP/1.1\r\nhost: x\r\n{field}\r\n".encode())
        heard = await read_until(stream, "\n\n", 2)
        assert trio.current_time() - start == pytest.approx(max(0, next_ + 1 - 1_000_000))
        await stream.aclose()
    assert f"id: {next_}\ndata: {text}\n\n" in heard
    assert f"id: {next_ + 1}\n" in heard


# -- the WebSocket -------------------------------------------------------------------------------


async def test_echo_speaks_websocket() -> None:
    async with open_server(demo) as server, trio.open_nursery() as nursery:
        socket = await wrap_client_stream(nursery, server.connect(), "test", "/echo")
        for message in ("meep", b"\x00\xff"):
            await socket.send_message(message)
            assert await socket.get_message() == message
        await socket.aclose()
    assert server.listener.info().active == 0


async def test_echo_leaves_on_a_drain() -> None:
    async with open_server(demo) as server, trio.open_nursery() as nursery:
        socket = await wrap_client_stream(nursery, server.connect(), "test", "/echo")
        nursery.start_soon(server.listener.drain, 10)
        with pytest.raises(ConnectionClosed) as caught:
            await socket.get_message()
    assert caught.value.reason is not None
    assert (caught.value.reason.code, caught.value.reason.reason) == (1001, "the server is going down")


async def test_the_ticker_speaks_four_times_a_second(autojump_clock: trio.testing.MockClock) -> None:
    async with open_server(demo) as server, trio.open_nursery() as nursery:
        socket = await wrap_client_stream(nursery, server.connect(), "test", "/ticker")
        start = trio.current_time()
        prices = [float(await socket.get_message()) for _ in range(9)]
        assert trio.current_time() - start == pytest.approx(2.0)
        assert prices[0] == 100
        assert len(set(prices)) > 2
        await socket.aclose()
        await trio.sleep(1)
        assert server.listener.info().active == 0


@pytest.mark.parametrize("path", ["/echo", "/ticker"])
async def test_pages_of_other_sites_may_not_connect(path: str) -> None:
    fields = [
        ("host", "x"),
        ("origin", "https://elsewhere.example"),
        ("upgrade", "websocket"),
        ("connection", "upgrade"),
    ]
    fields += [("sec-websocket-version", "13"), ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")]
    async with open_server(demo) as server:
        assert (await server.client().get(path, fields=fields)).status == 403


async def test_echo_without_an_upgrade() -> None:
    async with open_server(demo) as server:
        response = await server.client().get("/echo")
    assert (response.status, response.header("upgrade")) == (426, "websocket")
