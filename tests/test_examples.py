"""Every example does what it says."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
import trio
import trustme
from trio.testing import MockClock
from trio_websocket import CloseReason, ConnectionClosed, wrap_client_stream

import embed
import files
import hello
import routes
import secure
import ticker
import websocket_echo
from roadrunner_trio import Listener, server_context
from roadrunner_trio.testing import Client, MemoryListener, open_server

EXAMPLES = Path(hello.__file__).parent


async def test_hello_greets_the_world_without_a_name() -> None:
    async with open_server(hello.handler) as server:
        assert (await server.client().get("/")).text == "Hello, world!\n"


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
    assert answers == ["data: 1\n\ndata: 2\n\nevent: bye\ndata: the server is going down\n\n"] * 3
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
    tested = Path(__file__).read_text("utf-8") + (EXAMPLES / "test_handlers.py").read_text("utf-8")
    assert {name for name in scripts if f"\nimport {name}\n" not in tested} == set()
