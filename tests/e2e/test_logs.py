"""Logs of servers in processes of their own: what stands in them, and that nobody waits for who does not read them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import trio
from log_tools import read_logfmt
from process_tools import command_line, script
from socket_tools import PATIENCE, Peer

HELLO = """
from roadrunner_trio import Response

async def handler(request):
    return Response.text("hello")
"""


async def test_case_23_a_pipe_that_nobody_reads_stops_neither_the_server_nor_its_drain(tmp_path: Path) -> None:
    """64 KiB fit into it: some 600 lines of access."""
    (tmp_path / "app.py").write_text(HELLO)
    command = [sys.executable, "-m", "roadrunner_trio", "serve", "app:handler", "--app-dir", str(tmp_path)]
    command += ["--bind", "127.0.0.1:0", "--grace", "1s"]
    pipe = subprocess.PIPE
    process = await trio.lowlevel.open_process(command, stdout=pipe, stderr=pipe)
    assert process.stdout
    assert process.stderr
    async with process.stdout, process.stderr:
        try:
            with trio.fail_after(PATIENCE):
                banner = bytes(await process.stdout.receive_some())
                with await Peer.connect(int(re.findall(rb":(\d+) ", banner)[0])) as peer:
                    for _ in range(950):
                        assert (await peer.get("/some/path/that/is/not/short")).status == 200
                process.terminate()
                assert await process.wait() == 0
        finally:
            if process.returncode is None:
                process.kill()


FAILS = """
from roadrunner_trio import Response

async def handler(request):
    raise ValueError(f"no such user: {request.query['u']}")
"""
FORGED = "2026-11-30 00:00:00,000 INFO 192.0.2.9:1"
QUERY = "bob%0A2026-11-30%2000:00:00,000%20INFO%20192.0.2.9:1%1B[2J%07%E2%80%AE%C2%9B%E2%80%A8"
SENT = f"bob\n{FORGED}\x1b[2J\x07\u202e\x9b\u2028"


@pytest.mark.parametrize("notation", ["text", "json", "logfmt"])
async def test_case_41_what_a_peer_sent_is_no_line_of_the_log(notation: str, tmp_path: Path) -> None:
    async with command_line(FAILS, tmp_path, "--log-format", notation) as server:
        with await Peer.connect(server.port) as peer:
            assert (await peer.get(f"/?u={QUERY}")).status == 500
        server.terminate()
        assert await server.end() == 0
        lines = server.log().removesuffix("\n").split("\n")
    assert all(line.isprintable() for line in lines)
    assert not any(line.startswith(FORGED) for line in lines)
    if notation == "text":
        [told] = [line for line in lines if line.startswith("ValueError: ")]
        assert told == f"ValueError: no such user: bob\\x0a{FORGED}\\x1b[2J\\x07\\u202e\\x9b\\u2028"
    else:
        read = json.loads if notation == "json" else read_logfmt
        [error] = [told["exception"] for line in lines if "exception" in (told := read(line))]
        assert error.endswith(f"ValueError: no such user: {SENT}")


WITH_A_FILTER_THAT_FAILS = """
import logging
import trio
from roadrunner_trio import AccessLog, Listener, Observer, Plan, Response, serve

class Fails(logging.Filter):
    def filter(self, record):
        raise {wrong}

output = logging.StreamHandler()
output.addFilter(Fails())
logging.basicConfig(handlers=[output], level="DEBUG")

class Failing(Observer):
    def request_start(self, event):
        raise ValueError

async def handler(request):
    if request.path == "/fails":
        raise ValueError
    return Response.text("hello")

class App:
    def plan(self, request):
        if request.path == "/plan":
            raise ValueError
        return Plan("buffered", 1000)

    async def __call__(self, exchange):
        response = await handler(exchange.request)
        await exchange.respond(200, [], response.body)

class Status:
    def started(self, listeners):
        print(listeners[0].port, flush=True)

async def main():
    listener = Listener(App(), bind="127.0.0.1:0", observers=[AccessLog(), Failing()])
    await serve(listener, grace=1, task_status=Status())

trio.run(main)
"""


@pytest.mark.parametrize("wrong", ["RuntimeError", "SystemExit(7)", "GeneratorExit"])
async def test_case_43_a_filter_that_always_raises_ends_nothing(wrong: str, tmp_path: Path) -> None:
    async with script(WITH_A_FILTER_THAT_FAILS.format(wrong=wrong), tmp_path) as server:
        tries = ((b"GET / ", 200), (b"GET /fails ", 500), (b"GET /plan ", 500), (b"nonsense", 400), (b"GET / ", 200))
        for said, status in tries:
            with await Peer.connect(server.port) as peer:
                await peer.send(said + b"HTTP/1.1\r\nHost: h\r\n\r\n")
                assert (await peer.answer()).status == status
        server.terminate()
        assert await server.end() == 0
        assert "is lost by this. Of others nothing is said." in server.log()
