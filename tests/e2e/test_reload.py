"""``--reload`` and ``--dev``: a file changes, and another process serves."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
import trio
from process_tools import command_line, needs_proc
from socket_tools import PATIENCE, Peer
from worker_tools import ask, until, workers

pytest.importorskip("watchfiles")
pytestmark = [needs_proc]

APP = """
import trio
from roadrunner_trio import EventStream, Response

async def tick(send):
    while True:
        await send.send("tick")
        await trio.sleep(0.1)

async def handler(request):
    if request.path == "/events":
        return EventStream(request, tick)
    return Response.text("one")
"""


async def comes(port: int, text: str) -> None:
    """Waits until that is the answer. Until then there is one, always."""
    with trio.fail_after(3 * PATIENCE):
        while await ask(port) != text:  # noqa: ASYNC110
            await trio.sleep(0.05)


async def test_a_change_is_served_and_until_then_what_was_there(tmp_path: Path) -> None:
    async with command_line(APP, tmp_path, "--reload", "--no-access-log") as server:
        assert await ask(server.port) == "one"
        (tmp_path / "app.py").write_text(APP.replace("one", "two"))
        await comes(server.port, "two")
        assert "app.py: renewing the worker" in server.log()
        assert "change detected" not in server.log(), "what watches files says so as well"
        server.terminate()
        assert await server.end() == 0


async def test_a_change_in_the_second_in_which_it_was_imported_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the same length too: then what Python has compiled, and kept, would be taken for fresh."""
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    async with command_line(APP, tmp_path, "--reload", "--no-access-log") as server:
        assert await ask(server.port) == "one"
        second = (tmp_path / "app.py").stat().st_mtime
        (tmp_path / "app.py").write_text(APP.replace("one", "two"))
        os.utime(tmp_path / "app.py", (second, second))
        await comes(server.port, "two")


async def test_a_mistake_is_told_and_what_was_there_serves_until_it_is_mended(tmp_path: Path) -> None:
    async with command_line(APP, tmp_path, "--reload", "--no-access-log") as server:
        (tmp_path / "app.py").write_text(APP.replace('"one"', "one("))
        await until(lambda: "those that were there serve on" in server.log())
        assert "SyntaxError" in server.log()
        assert await ask(server.port) == "one"
        (tmp_path / "app.py").write_text(APP.replace("one", "three"))
        await comes(server.port, "three")
        server.terminate()
        assert await server.end() == 0


async def test_it_waits_for_a_mistake_at_the_start_to_be_mended(tmp_path: Path) -> None:
    (tmp_path / "broken").mkdir()

    async def mend() -> None:
        await until(lambda: (tmp_path / "stderr").exists() and "waiting for a file to change" in log())
        (tmp_path / "app.py").write_text(APP)

    def log() -> str:
        return (tmp_path / "stderr").read_text()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(mend)
        async with command_line("1 / 0", tmp_path, "--reload", "--no-access-log") as server:
            assert "ZeroDivisionError" in server.log()
            assert await ask(server.port) == "one"
            server.terminate()
            assert await server.end() == 0


async def test_streams_that_are_open_hold_nobody_up(tmp_path: Path) -> None:
    async with command_line(APP, tmp_path, "--reload", "--no-access-log") as server:
        with await Peer.connect(server.port) as peer:
            await peer.send(b"GET /events HTTP/1.1\r\nHost: test\r\n\r\n")
            await peer.until(lambda: b"tick" in peer.received)
            (tmp_path / "app.py").write_text(APP.replace("one", "two"))
            await comes(server.port, "two")
            assert await peer.end()
        await until(lambda: len(workers(server)) == 1)
        server.process.send_signal(signal.SIGINT)
        assert await server.end() == 0


def test_for_its_author_a_terminal_has_colours_and_a_failure_its_traceback(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("async def handler(request):\n    return 1 / 0\n")
    ours, theirs = pty.openpty()
    serve = [sys.executable, "-m", "roadrunner_trio", "serve", "app:handler", "--port", "0", "--dev", "-w", "1"]
    process = subprocess.Popen(serve, cwd=tmp_path, stdout=subprocess.PIPE, stderr=theirs, start_new_session=True)
    os.close(theirs)
    try:
        assert process.stdout is not None
        found = re.search(rb":(\d+) by 1 worker", process.stdout.readline())
        assert found is not None
        with pytest.raises(HTTPError) as failed:
            urlopen(f"http://127.0.0.1:{int(found[1])}/", timeout=PATIENCE)
        assert b"ZeroDivisionError: division by zero" in failed.value.read()
        process.terminate()
        assert process.wait(PATIENCE) == 0
        assert b"\x1b[31;1mERROR\x1b[0m" in os.read(ours, 65536)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        os.close(ours)
