"""``--observe`` as an operator has it: another address, of this machine alone, there until a drain is over."""

from __future__ import annotations

import json
import socket
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
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


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as door:
        port: int = door.getsockname()[1]
    return port


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


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--observe", "nonsense"], "--observe: "),
        (["--observe", "0.0.0.0:0"], "a loopback address or a Unix socket"),
        (["--observe", "[::]:0"], "a loopback address or a Unix socket"),
        (["--observe", "192.0.2.1:0"], "a loopback address or a Unix socket"),
        (["--observe", "example.com:80"], "a loopback address or a Unix socket"),
        (["--observe", "127.0.0.1:0", "--workers", "2"], "there are to be workers"),
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
