"""``--observe`` as an operator has it: another address, of this machine alone, there until a drain is over."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from ports import free_port
from process_tools import command_line
from socket_tools import PATIENCE

from roadrunner_trio.command.cli import main

APP = """
import trio
from roadrunner_trio import Response
async def handler(request):
    await trio.sleep(60 if request.path == "/slow" else 0)
    return Response.text("hello")
"""


Told = dict[str, list[dict[str, object]]]


async def first_sample(port: int) -> Told:
    """What a reader of the stream is told at first."""

    def get() -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/stream", timeout=PATIENCE) as stream:
            line: bytes = next(line for line in stream if line.startswith(b"data: "))
            return line[6:]

    told: Told = json.loads(await trio.to_thread.run_sync(get, abandon_on_cancel=True))
    return told


async def until(port: int, condition: Callable[[Told], bool]) -> Told:
    """What is told once it is as it should be."""
    with trio.fail_after(PATIENCE):
        while True:
            if condition(told := await first_sample(port)):
                return told
            await trio.sleep(0.05)


async def test_a_look_before_a_drain_and_while_it_lasts(tmp_path: Path) -> None:
    port = free_port()
    async with command_line(APP, tmp_path, "--observe", f"127.0.0.1:{port}", "--grace", "30") as server:
        slow = await trio.open_tcp_stream("127.0.0.1", server.port)
        await slow.send_all(b"GET /slow?secret HTTP/1.1\r\nHost: h\r\n\r\n")
        told = await until(port, lambda told: [each["doing"] for each in told["connections"]] == ["GET /slow"])
        assert "secret" not in json.dumps(told)
        assert told["listeners"][0]["status"] == "accepting"
        assert any(each.get("name") == "main: listener" for each in told["tasks"])
        server.terminate()
        told = await until(port, lambda told: told["listeners"][0]["status"] == "draining")
        assert told["listeners"][0]["drain"] is not None
        assert [each["doing"] for each in told["connections"]] == ["GET /slow"]
        await slow.aclose()
        server.process.terminate()
        await server.end()


class Page:
    """The page of a server of several processes: what its stream has told so far."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.rows: dict[str, dict[str, Any]] = {}
        self.whole: dict[str, Any] = {}

    async def until(self, condition: Callable[[], bool]) -> None:
        """Reads from the beginning, until it is so."""
        with trio.fail_after(3 * PATIENCE):
            await trio.to_thread.run_sync(self._read, condition, abandon_on_cancel=True)

    def _read(self, condition: Callable[[], bool]) -> None:
        self.rows = {}
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/stream", timeout=3 * PATIENCE) as stream:
            for line in stream:
                if line.startswith(b"data: "):
                    told = json.loads(line[6:])
                    self.whole = told["supervisor"]
                    self.rows.update((row["id"], row) for row in told["workers"])
                    for key in told["workers_gone"]:
                        del self.rows[key]
                    if condition():
                        return

    def states(self) -> list[tuple[int, int, str]]:
        """Slot, generation and state of each."""
        return sorted((row["slot"], row["generation"], row["state"]) for row in self.rows.values())

    async def get(self, target: str) -> dict[str, Any]:
        """One answer, or the first event of a stream."""

        def get() -> bytes:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{target}", timeout=PATIENCE) as answer:
                if not target.startswith("/stream"):
                    return bytes(answer.read())
                return next(bytes(line[6:]) for line in answer if line.startswith(b"data: "))

        found: dict[str, Any] = json.loads(await trio.to_thread.run_sync(get, abandon_on_cancel=True))
        return found


def present(rows: dict[str, dict[str, Any]]) -> int:
    """Requests in their handlers."""
    return sum(listener["phases"].get("dispatch", 0) for row in rows.values() for listener in row["listeners"])


@pytest.mark.parametrize("more", [(), ("--preload",)], ids=["each imports", "preloaded"])
async def test_workers_side_by_side_through_a_roll_and_a_drain(tmp_path: Path, more: tuple[str, ...]) -> None:
    port = free_port()
    options = ["--observe", f"127.0.0.1:{port}", "--workers", "2", "--grace", "60", *more]
    async with command_line(APP, tmp_path, *options) as server:
        page = Page(port)
        slow = await trio.open_tcp_stream("127.0.0.1", server.port)
        await slow.send_all(b"GET /slow?secret HTTP/1.1\r\nHost: h\r\n\r\n")
        await page.until(lambda: present(page.rows) == 1 and page.states() == [(0, 1, "ready"), (1, 1, "ready")])
        assert page.whole["pid"] == server.process.pid
        assert len({row["pid"] for row in page.rows.values()} - {server.process.pid, 0}) == 2
        (busy,) = (row for row in page.rows.values() if present({"": row}))
        assert busy["listeners"][0]["present"] == 1

        told = await page.get(f"/stream?worker={busy['id']}")
        (row,) = told["connections"]
        assert row["doing"] == "GET /slow"
        assert any(each.get("name") == "main: listener" for each in told["tasks"])
        assert "secret" not in json.dumps(told)

        server.process.send_signal(signal.SIGHUP)
        old = busy["slot"], 1, "draining"

        def status() -> tuple[str, int]:
            """What the old worker says of itself, which comes later than what is said of it."""
            [listener] = page.rows[busy["id"]]["listeners"] if busy["id"] in page.rows else [{}]
            return listener.get("status", ""), listener.get("present", 0)

        await page.until(lambda: page.states() == sorted([(0, 2, "ready"), old, (1, 2, "ready")]))
        await page.until(lambda: present(page.rows) == 1 and status() == ("draining", 1))
        assert page.rows[busy["id"]]["listeners"][0]["drain"] is not None

        server.terminate()
        await page.until(lambda: page.whole["doing"] == "stopping" and page.states() == [old])
        await slow.aclose()
        assert await server.end() == 0
    assert "ERROR" not in server.log()


async def test_the_one_worker_that_is_renewed_when_a_file_changes(tmp_path: Path) -> None:
    pytest.importorskip("watchfiles")
    port = free_port()
    async with command_line(APP, tmp_path, "--observe", f"127.0.0.1:{port}", "--reload", "--grace", "60") as server:
        page = Page(port)
        slow = await trio.open_tcp_stream("127.0.0.1", server.port)
        await slow.send_all(b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\n")
        await page.until(lambda: page.states() == [(0, 1, "ready")] and present(page.rows) == 1)
        (tmp_path / "app.py").write_text(APP.replace("hello", "hallo"))
        await page.until(lambda: page.states() == [(0, 1, "draining"), (0, 2, "ready")])
        await slow.aclose()
        await page.until(lambda: page.states() == [(0, 2, "ready")])
        server.terminate()
        assert await server.end() == 0


async def test_a_closer_look_at_a_task_of_a_worker_while_its_page_is_open(tmp_path: Path) -> None:
    port = free_port()
    async with command_line(APP, tmp_path, "--observe", f"127.0.0.1:{port}", "--workers", "1") as server:
        page = Page(port)
        slow = await trio.open_tcp_stream("127.0.0.1", server.port)
        await slow.send_all(b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\n")
        await page.until(lambda: present(page.rows) == 1)
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        await stream.send_all(b"GET /stream?worker=1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        heard = b""
        with trio.fail_after(PATIENCE):
            while b'"GET /slow"' not in heard:
                heard += await stream.receive_some()
        key = re.search(rb'"id":"(c\d+)"', heard)
        assert key is not None
        found = await page.get(f"/closer?worker=1&id={key[1].decode()}")
        assert any(line.endswith("in handler") for line in found["stack"])
        assert found["protocol"] == "http/1.1"
        await stream.aclose()
        await slow.aclose()
        server.terminate()
        await server.end()


async def test_a_worker_that_is_stuck_is_shown_as_that(tmp_path: Path) -> None:
    """The page goes on without it, and says of a closer look that there will be none."""
    port = free_port()
    async with command_line(APP, tmp_path, "--observe", f"127.0.0.1:{port}", "--workers", "2") as server:
        page = Page(port)
        await page.until(lambda: page.states() == [(0, 1, "ready"), (1, 1, "ready")])
        row = page.rows["1"]
        os.kill(row["pid"], signal.SIGSTOP)
        try:
            await page.until(lambda: page.rows["1"]["silent"] >= 2)
            with pytest.raises(urllib.error.HTTPError, match="504") as answer:
                await page.get("/closer?worker=1&id=1")
            answer.value.close()
            assert (await page.get("/stream?worker=2"))["listeners"][0]["name"] == "main"
        finally:
            os.kill(row["pid"], signal.SIGCONT)
        await page.until(lambda: page.rows["1"]["silent"] < 2 and bool(page.rows["1"]["listeners"]))
        server.terminate()
        await server.end()


async def test_an_address_that_is_taken_ends_no_workers(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as door:
        taken = f"127.0.0.1:{door.getsockname()[1]}"
        async with command_line(APP, tmp_path, "--observe", taken, "--workers", "1") as server:
            peer = await trio.open_tcp_stream("127.0.0.1", server.port)
            await peer.send_all(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
            assert b"200 OK" in await peer.receive_some()
            await peer.aclose()
            assert "there is no window" in server.log()
            server.terminate()
            await server.end()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--observe", "nonsense"], "--observe: "),
        (["--observe", "0.0.0.0:0"], "a loopback address or a Unix socket"),
        (["--observe", "[::]:0"], "a loopback address or a Unix socket"),
        (["--observe", "192.0.2.1:0"], "a loopback address or a Unix socket"),
        (["--observe", "example.com:80"], "a loopback address or a Unix socket"),
        (["--observe", "0.0.0.0:0", "--workers", "2"], "a loopback address or a Unix socket"),
    ],
)
def test_what_it_is_not_put_on(capsys: pytest.CaptureFixture[str], arguments: list[str], complaint: str) -> None:
    assert main(["serve", "--bind", "127.0.0.1:0", *arguments]) == 3
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize("address", ["127.0.0.1:0", "[::1]:0", "localhost:0", "unix:/tmp/roadrunner-window-test.sock"])
def test_what_it_is_put_on(capsys: pytest.CaptureFixture[str], address: str) -> None:
    assert main(["check", "--no-bind", "--observe", address]) == 0


def test_an_address_that_is_taken_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as door:
        taken = f"127.0.0.1:{door.getsockname()[1]}"
        assert main(["check", "--bind", "127.0.0.1:0", "--observe", taken]) == 3
    assert taken.partition(":")[2] in capsys.readouterr().err
