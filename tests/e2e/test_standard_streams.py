"""Standard streams that are closed, full, or read by nobody: they end nothing, and change no exit status."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import trio
from process_tools import Server, command_line, redirected, redirected_script
from socket_tools import PATIENCE, Peer

APP = """
import time, trio
from roadrunner_trio import Response

async def handler(request):
    if request.path == "/stuck":
        await trio.to_thread.run_sync(time.sleep, 60)
    if request.path == "/print":
        try:
            print("x" * 100_000, flush=True)
        except OSError:
            pass
    return Response.text("hello")
"""

ROUTER = """
from roadrunner_trio.apps.router import Router

handler = Router([])
"""

pytestmark = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full here")


async def answers(server: Server, target: str = "/") -> bool:
    with await Peer.connect(server.port) as peer:
        return (await peer.get(target)).body == b"hello"


def full_pipe() -> tuple[int, int]:
    """Into which nothing can be written without waiting."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    with suppress(BlockingIOError):
        while os.write(write, b"x" * 4096):
            pass
    os.set_blocking(write, True)
    return read, write


@pytest.mark.parametrize("redirect", ["2>&-", "2>/dev/full", "2> >(true)", "2>&- >&- <&-"])
async def test_case_05_a_dump_that_nobody_can_read_ends_nothing(tmp_path: Path, redirect: str) -> None:
    async with redirected(APP, tmp_path, redirect) as server:
        for _ in range(2):
            server.process.send_signal(signal.SIGUSR1)
            assert await answers(server)
        await trio.sleep(0.2)
        assert await answers(server)
        server.terminate()
        assert await server.end() == 0


@pytest.mark.slow
async def test_a_dump_to_a_pipe_that_nobody_reads_holds_up_neither_the_loop_nor_the_drain(tmp_path: Path) -> None:
    """The pipe is full; logging is not told to write to it, for that is the application's choice."""
    read, write = full_pipe()
    try:
        async with redirected(APP, tmp_path, f"2>/proc/{os.getpid()}/fd/{write}", "--log-level", "error") as server:
            for _ in range(3):
                server.process.send_signal(signal.SIGUSR1)
                assert await answers(server)
            await trio.sleep(1.5)
            assert await answers(server)
            server.terminate()
            assert await server.end(20) == 0
    finally:
        os.close(read)
        os.close(write)


@pytest.mark.parametrize("redirect", ["2>&-", "2>/dev/full", ">&- 2>&-"])
async def test_case_06_what_could_not_start_says_so_by_its_status(tmp_path: Path, redirect: str) -> None:
    for arguments, status in (
        ("serve nowhere:handler", 3),
        ("serve --no-such-flag", 2),
        ("check --port 0", 0),
        ("--version", 0),
    ):
        shell = f'exec "$0" -m roadrunner_trio {arguments} {redirect} <&-'
        done = await trio.run_process(
            ["bash", "-c", shell, sys.executable], cwd=tmp_path, check=False, stdout=subprocess.DEVNULL
        )
        assert done.returncode == status, arguments


@pytest.mark.slow
async def test_case_06_the_hard_end_of_a_drain_needs_no_standard_error(tmp_path: Path) -> None:
    async with redirected(APP, tmp_path, "2>&-", "--grace", "500ms") as server:
        with await Peer.connect(server.port) as peer:
            await peer.send(b"GET /stuck HTTP/1.1\r\nHost: test\r\n\r\n")
            assert await answers(server)
            server.terminate()
            assert await server.end() == 1


@pytest.mark.parametrize("redirect", [">/dev/full", ">&-", "> >(true)", ">&- 2>&- <&-"])
async def test_case_07_a_server_whose_first_line_nobody_reads_serves(tmp_path: Path, redirect: str) -> None:
    async with redirected(APP, tmp_path, redirect) as server:
        assert await answers(server)
        assert await answers(server, "/print")
        server.terminate()
        assert await server.end() == 0
    assert "Group" not in server.log()


PROGRAM = """
import sys
from roadrunner_trio import Response, run

async def handler(request):
    return Response.text("hello")

run(handler, "127.0.0.1:" + sys.argv[1])
"""


@pytest.mark.parametrize("redirect", [">/dev/full", ">&-", "> >(true)"])
async def test_case_07_nor_does_it_change_the_end_of_a_program(tmp_path: Path, redirect: str) -> None:
    async with redirected_script(PROGRAM, tmp_path, redirect) as server:
        assert await answers(server)
        server.terminate()
        assert await server.end() == 0
    assert server.log().endswith("drained: 0 finished, 0 cut, 0 stuck\n")


@pytest.mark.slow
async def test_a_program_whose_output_nobody_reads_serves_and_ends(tmp_path: Path) -> None:
    read, write = full_pipe()
    try:
        async with redirected_script(PROGRAM, tmp_path, f">/proc/{os.getpid()}/fd/{write}") as server:
            assert await answers(server)
            server.terminate()
            assert await server.end() == 0
        assert server.log().endswith("drained: 0 finished, 0 cut, 0 stuck\n")
    finally:
        os.close(read)
        os.close(write)


async def test_the_next_socket_is_not_standard_error(tmp_path: Path) -> None:
    app = """
import os, stat
from roadrunner_trio import Response

async def handler(request):
    return Response.text(repr([stat.S_ISCHR(os.fstat(each).st_mode) for each in range(3)]))
"""
    async with redirected(app, tmp_path, "<&- >&- 2>&-") as server:
        with await Peer.connect(server.port) as peer:
            assert (await peer.get()).body == b"[True, True, True]"


@pytest.mark.parametrize(
    ("arguments", "status"),
    [("routes app:handler", 1), ("serve --print-config", 1), ("check --port 0", 0), ("--help", 0), ("--version", 0)],
)
async def test_what_was_asked_for_and_could_not_be_written_is_an_error(
    tmp_path: Path, arguments: str, status: int
) -> None:
    (tmp_path / "app.py").write_text(ROUTER)
    shell = f'exec "$0" -m roadrunner_trio {arguments} >/dev/full'
    done = await trio.run_process(["bash", "-c", shell, sys.executable], cwd=tmp_path, check=False, capture_stderr=True)
    said = b"roadrunner-trio: standard output does not take it\n" if status else b""
    assert (done.returncode, done.stderr) == (status, said)


async def test_a_dump_is_there_for_whoever_reads_it(tmp_path: Path) -> None:
    async with command_line(APP, tmp_path) as server:
        server.process.send_signal(signal.SIGUSR1)
        with trio.fail_after(PATIENCE):
            while "main: listener @" not in server.log():  # noqa: ASYNC110 - a file tells nobody
                await trio.sleep(0.01)
        server.terminate()
        assert await server.end() == 0
