"""``--metrics`` as an operator has it: another address, of which nobody who uses the application knows."""

from __future__ import annotations

import signal
import socket
import urllib.request
from pathlib import Path

import pytest
import trio
from ports import free_port
from process_tools import command_line
from prometheus_client.parser import text_string_to_metric_families
from socket_tools import PATIENCE

from roadrunner_trio.command.cli import main

APP = """
import trio
from roadrunner_trio import Response
async def handler(request):
    await trio.sleep(60 if request.path == "/slow" else 0)
    return Response.text("hello")
"""


async def fetch(url: str) -> str:
    def get() -> str:
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
            body: bytes = answer.read()
            return body.decode()

    return await trio.to_thread.run_sync(get, abandon_on_cancel=True)


async def scrape(port: int) -> dict[tuple[str, ...], float]:
    text = await fetch(f"http://127.0.0.1:{port}/metrics")
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {(sample.name, *sample.labels.values()): sample.value for sample in samples}


async def test_a_scrape_before_a_drain_and_while_it_lasts(tmp_path: Path) -> None:
    port = free_port()
    async with command_line(APP, tmp_path, "--metrics", f"127.0.0.1:{port}", "--grace", "30") as server:
        for _ in range(3):
            await fetch(f"http://127.0.0.1:{server.port}/")
        told = await scrape(port)
        assert told["http_server_request_duration_seconds_count", "GET", "", "2xx"] == 3
        assert told["roadrunner_requests_total",] == 3  # its own are none of them
        assert told["process_resident_memory_bytes",] > 1e6
        assert told["roadrunner_draining",] == 0

        slow = await trio.open_tcp_stream("127.0.0.1", server.port)
        await slow.send_all(b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\n")
        server.terminate()
        for _ in range(200):
            if (told := await scrape(port))["roadrunner_draining",]:
                break
            await trio.sleep(0.05)
        assert told["roadrunner_draining",] == 1
        assert told["roadrunner_connections", "dispatch"] == 1
        await slow.aclose()
        server.process.terminate()
        await server.end()


@pytest.mark.parametrize("command", ["serve", "check"])
def test_an_address_that_is_none(capsys: pytest.CaptureFixture[str], command: str) -> None:
    assert main([command, "--metrics", "nonsense"]) == 3
    assert "--metrics: " in capsys.readouterr().err


def test_an_address_that_another_has(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["check", "--bind", "127.0.0.1:0", "--metrics", f"127.0.0.1:{port}"]) == 3
        assert main(["serve", "--bind", "127.0.0.1:0", "--metrics", f"127.0.0.1:{port}"]) == 3
    assert capsys.readouterr().err.count(f"127.0.0.1:{port} is in use") == 2


async def test_several_processes_are_told_as_one_and_none_runs_backwards(tmp_path: Path) -> None:
    port = free_port()
    options = ("--workers", "2", "--metrics", f"127.0.0.1:{port}")
    async with command_line(APP, tmp_path, *options) as server:
        for _ in range(20):
            await fetch(f"http://127.0.0.1:{server.port}/")

        async def counted(processes: int) -> dict[tuple[str, ...], float]:
            for _ in range(200):
                told = await scrape(port)
                total = told.get(("http_server_request_duration_seconds_count", "GET", "", "2xx"), 0)
                assert total <= 20
                if total == 20 and told["roadrunner_processes",] == processes:
                    return told
                await trio.sleep(0.1)
            raise AssertionError(told)

        assert (await counted(2))["roadrunner_requests_total",] == 20
        server.process.send_signal(signal.SIGHUP)  # other processes, and the same numbers
        with trio.fail_after(PATIENCE):
            while "generation 2" not in server.log():  # noqa: ASYNC110 - it can only be looked at
                await trio.sleep(0.1)
        assert (await counted(2))["roadrunner_requests_total",] == 20
        server.terminate()
        assert await server.end() == 0
