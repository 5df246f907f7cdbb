"""Every example does what it says."""

from __future__ import annotations

import json
import re
import ssl
import time
from pathlib import Path

import pytest
import trio
import trustme
from sse_tools import read
from trio.testing import MockClock
from trio_websocket import CloseReason, ConnectionClosed, WebSocketConnection, wrap_client_stream

import chat
import disconnects
import embed
import files
import hello
import lives
import main
import routes
import secure
import server_sent_events
import ticker
import websocket_echo
from roadrunner_trio import Listener, Timeouts, server_context
from roadrunner_trio.apps.asgi import asgi
from roadrunner_trio.apps.made import made_by
from roadrunner_trio.testing import Client, MemoryListener, open_server

EXAMPLES = Path(hello.__file__).parent


async def test_hello_greets_the_world_without_a_name() -> None:
    async with open_server(hello.handler) as server:
        assert (await server.client().get("/")).text == "Hello, world!\n"


async def test_main_is_an_application_of_asgi() -> None:
    async with open_server(asgi(main.app)) as server:
        assert (await server.client().get("/")).text == "hello\n"


async def test_what_lives_counts_from_the_start_and_says_goodbye(
    autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    async with open_server(made_by(lives.main)) as server:
        await trio.sleep(3.5)
        assert (await server.client().get("/")).text == "3 beats\n"
    assert capsys.readouterr().out == "3 beats, goodbye\n"


async def test_the_ticker_ticks_for_everybody_and_says_goodbye(autojump_clock: MockClock) -> None:
    clock = ticker.Ticker()
    async with open_server(clock.handler) as server, trio.open_nursery() as nursery:
        nursery.start_soon(clock.run)
        readers = [server.client() for _ in range(3)]
        answers: list[str] = []

        async def read(client: Client) -> None:
            answers.append((await client.get("/")).text)

        for reader in readers:
            nursery.start_soon(read, reader)
        await trio.sleep(2.5)
        outcome = await server.listener.drain(grace=5)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert answers == ["1\n2\nthe server is going down\n"] * 3
    assert (outcome.finished, outcome.cut) == (3, 0)


async def test_the_ticker_forgets_a_reader_that_has_gone(autojump_clock: MockClock) -> None:
    clock = ticker.Ticker()
    async with open_server(clock.handler) as server, trio.open_nursery() as nursery:
        nursery.start_soon(clock.run)
        stream = server.connect()
        await stream.send_all(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
        await trio.sleep(1.5)
        assert len(clock.readers) == 1
        await stream.aclose()
        await trio.sleep(2)
        assert clock.readers == set()
        nursery.cancel_scope.cancel()


async def test_a_countdown_of_events() -> None:
    async with open_server(server_sent_events.app) as server:
        response = await server.client().get("/countdown")
        page = await server.client().get("/")
    assert [(event.type, event.data) for event in read(response.body)] == [
        ("message", "3"),
        ("message", "2"),
        ("message", "1"),
        ("lift-off", '{"height":0}'),
    ]
    assert 'new EventSource("/clock")' in page.text


@pytest.mark.parametrize(
    ("last", "following"), [(None, 1), ("-5", 1), ("no", 1), ("0", -59), ("9" * 12, 1), ("1" * 5000, 1)]
)
def test_the_clock_believes_no_id(last: str | None, following: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_sent_events.time, "time", lambda: 1_000_000.5)
    assert server_sent_events.next_second(last) == 1_000_000 + following
    assert server_sent_events.next_second("999998") == 999_999


async def test_the_clock_sends_what_was_missed() -> None:
    now = int(time.time())
    async with open_server(server_sent_events.app) as server, trio.open_nursery() as nursery:
        stream = server.connect()
        await stream.send_all(b"GET /clock HTTP/1.1\r\nHost: t\r\nLast-Event-ID: %d\r\n\r\n" % (now - 3))
        heard = b""
        while heard.count(b"data: ") < 3:
            heard += await stream.receive_some()
        nursery.cancel_scope.cancel()
    ids = [int(line[4:]) for line in heard.split(b"\n") if line.startswith(b"id: ")]
    assert ids[:3] == [now - 2, now - 1, now]


async def test_news_for_who_comes_again(autojump_clock: MockClock) -> None:
    async with open_server(server_sent_events.app) as server, trio.open_nursery() as nursery:
        first = (await server.client().post("/news", b"one")).text.strip()
        answers: list[bytes] = []

        async def listen() -> None:
            answers.append((await server.client().get("/news", fields={"last-event-id": first})).body)

        nursery.start_soon(listen)
        await server.client().post("/news", b"two\nlines")
        await trio.sleep(1)
        await server.listener.drain(grace=5)
    assert [(event.type, event.data) for event in read(answers[0])] == [("news", "two\nlines")]


async def test_a_game_is_saved_before_the_end(autojump_clock: MockClock) -> None:
    async with open_server(server_sent_events.app) as server, trio.open_nursery() as nursery:
        answers: list[str] = []

        async def play() -> None:
            answers.append((await server.client().get("/game")).text)

        nursery.start_soon(play)
        await trio.sleep(1.5)
        await server.listener.drain(grace=5)
    (answer,) = answers
    assert answer.startswith("data: move 1\n\ndata: move 2\n\nevent: pause\ndata: the game is saved\n\nretry: ")


async def test_lines_of_json(autojump_clock: MockClock) -> None:
    async with open_server(server_sent_events.app) as server:
        response = await server.client().get("/squares")
    assert [json.loads(line) for line in response.text.splitlines()] == [
        {"number": number, "square": number**2} for number in (1, 2, 3)
    ]


async def test_files_are_those_of_the_folder_and_no_others() -> None:
    async with open_server(files.handler) as server:
        client = server.client()
        index = await client.get("/")
        assert '<a href="/hello.py">' in index.text
        for name in ("hello.py", "files.py"):
            response = await client.get(f"/{name}")
            assert response.body == (EXAMPLES / name).read_bytes()
            assert response.header("content-type") == "text/plain; charset=utf-8"
        for target in ("/../pyproject.toml", "/%2e%2e/pyproject.toml", "/nothing.py", "//etc/passwd"):
            assert (await client.get(target)).status == 404


async def test_the_websocket_echoes_until_the_server_drains() -> None:
    async with open_server(websocket_echo.handler) as server, trio.open_nursery() as nursery:
        websocket = await wrap_client_stream(nursery, server.connect(), "test", "/")
        for message in ("first", b"second"):
            await websocket.send_message(message)
            assert await websocket.get_message() == message
        nursery.start_soon(server.listener.drain, 5)
        with pytest.raises(ConnectionClosed) as caught:
            await websocket.get_message()
        reason = caught.value.reason
        assert isinstance(reason, CloseReason)
        assert (reason.code, reason.reason) == (1001, "the server is going down")


async def test_the_websocket_tells_others_what_it_wants() -> None:
    async with open_server(websocket_echo.handler) as server:
        response = await server.client().get("/")
        assert (response.status, response.header("upgrade")) == (426, "websocket")


async def test_the_notes_are_kept_behind_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "notes", dict(routes.notes))
    key = {"authorization": routes.KEY}
    async with open_server(routes.router, middlewares=[routes.timing]) as server:
        client = server.client()
        assert (await client.get("/")).text == (
            '{"/notes/1":"Every task has a nursery.","/notes/2":"Every wait has a deadline."}'
        )
        assert (await client.post("/notes", b"no key")).status == 401
        added = await client.post("/notes", b"Three.", fields=key)
        assert (added.status, added.header("location")) == (201, "/notes/3")
        shown = await client.get("/notes/3")
        assert (shown.text, (shown.header("server-timing") or "")[:8]) == ("Three.\n", "app;dur=")
        assert (await client.request("DELETE", "/notes/3", fields=key)).status == 204
        assert (await client.get("/notes/3")).text == "there is no note 3"
        wrong = await client.request("PUT", "/notes/2")
        assert (wrong.status, wrong.header("allow")) == (405, "DELETE, GET, HEAD, OPTIONS")
        assert (await client.post("/notes", b"x" * 1001, fields=key)).status == 413


async def test_a_transfer_is_booked_whole_although_its_peer_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disconnects, "accounts", {"ours": 100, "theirs": 0})
    listener = Listener(disconnects.app, bind="127.0.0.1:0", timeouts=Timeouts(disconnect_grace=0.1))
    async with trio.open_nursery() as nursery:
        await nursery.start(listener.serve)
        stream = await trio.open_tcp_stream("127.0.0.1", listener.port)
        await stream.send_all(b"POST /transfer HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\n40")
        await trio.sleep(0.2)
        await stream.aclose()
        await trio.sleep(0.2)
        await listener.drain(grace=5)
    assert disconnects.accounts == {"ours": 60, "theirs": 40}


async def test_a_report_has_the_pages_that_its_peer_waited_for(autojump_clock: MockClock) -> None:
    async with open_server(disconnects.app) as server:
        stream = server.connect()
        await stream.send_all(b"GET /report HTTP/1.1\r\nHost: test\r\n\r\n")
        await trio.sleep(2.5)
        await stream.send_eof()
        assert b"".join([piece async for piece in stream]).endswith(b"\r\n\r\npage 1\npage 2\n")
        assert (await server.client().get("/report")).text.endswith("page 10\n")
        assert (await server.client().post("/transfer", b"1")).status == 200


async def test_the_embedded_server_ends_when_it_is_told(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    door = MemoryListener()
    monkeypatch.setattr(embed, "Listener", lambda handler, bind: Listener(handler, bind=door))
    monkeypatch.setattr(Listener, "port", 8000)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(embed.main)
        await trio.testing.wait_all_tasks_blocked()
        client = Client(door.connect())
        assert (await client.get("/")).text == '{"seconds":0}'
        await trio.sleep(3.5)
        assert (await client.get("/")).text == '{"seconds":3}'
        assert (await client.get("/quit")).status == 404
        assert (await client.post("/quit", b"")).status == 204
    assert capsys.readouterr().out == "listening on port 8000\ndrained: 1 finished, 0 cut\n"


async def test_the_secure_example_knows_what_it_is_served_over(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "pem"))
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    async with open_server(secure.handler, tls=server_context(tmp_path / "pem")) as server:
        stream = trio.SSLStream(server.connect(), trusting, server_hostname="localhost")
        assert (await Client(stream).get("/")).text == "hello over TLSv1.3\n"
        await stream.aclose()


def test_every_example_is_tested() -> None:
    scripts = {path.stem for path in EXAMPLES.glob("*.py") if not path.stem.startswith("test_")}
    tests = [*Path(__file__).parent.glob("test_*.py"), *EXAMPLES.glob("test_*.py")]
    tested = "".join(path.read_text("utf-8") for path in tests)
    assert {name for name in scripts if not re.search(rf"^(?:import|from) {name}\b", tested, re.MULTILINE)} == set()


async def test_the_chat_is_heard_by_everybody_in_the_room_and_leaves_who_does_not_listen() -> None:
    async with open_server(chat.make_router()) as server, trio.open_nursery() as nursery:

        async def enter(room: str) -> WebSocketConnection:
            return await wrap_client_stream(nursery, server.connect(), "test", room)

        ann, bob, elsewhere = [await enter(room) for room in ("/1", "/1", "/2")]
        await ann.send_message("hello")
        assert [await guest.get_message() for guest in (ann, bob)] == ["hello", "hello"]
        for guest in (ann, bob, elsewhere):
            await guest.aclose()
        nursery.cancel_scope.cancel()


async def test_who_is_too_far_behind_in_the_chat_is_left() -> None:
    room: set[trio.MemorySendChannel[str]] = set()
    send, receive = trio.open_memory_channel[str](1)
    room.add(send)
    for line in "ab":
        chat.Chat().say(room, line)
    assert not room
    assert [line async for line in receive] == ["a"]


async def test_the_chat_has_rooms_with_plain_names_only() -> None:
    fields = {"upgrade": "websocket", "connection": "upgrade", "sec-websocket-version": "13"}
    async with open_server(chat.make_router()) as server:
        key = {"sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ=="}
        assert (await server.client().get("/a-b", fields=fields | key)).status == 404
        assert (await server.client().get("/ab", fields=fields | key | {"origin": "https://other.test"})).status == 403
