"""Workers that are forked from a process that has imported the application, by the command line."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio
from process_tools import command_line, needs_proc, running
from socket_tools import PATIENCE
from worker_tools import APP, answering, ask, children, gone, until, workers

pytestmark = [needs_proc]

QUIET = ("-w", "2", "--preload", "--no-access-log", "--grace", "5s")
IMPORTED = "import os\nwith open('imports', 'a') as file: print(os.getpid(), file=file)\n"


def forked(pid: int) -> list[int]:
    """The workers below a supervisor: the children of what forks them."""
    return sorted(worker for zygote in children(pid) for worker in children(zygote))


async def test_the_application_is_imported_once_and_anew_by_a_roll(tmp_path: Path) -> None:
    async with command_line(IMPORTED + APP, tmp_path, *QUIET) as server:
        imports = tmp_path / "imports"
        assert len(imports.read_text().split()) == 1
        before = forked(server.process.pid)
        assert await answering(server.port) == set(before)
        server.process.send_signal(signal.SIGHUP)
        await until(lambda: "all workers are renewed: generation 2" in server.log())
        await until(lambda: len(workers(server)) == 1)
        assert len(imports.read_text().split()) == 2
        assert not set(before) & set(forked(server.process.pid))
        everybody = [*workers(server), *forked(server.process.pid)]
        server.terminate()
        assert await server.end() == 0
        await until(lambda: all(map(gone, everybody)))


async def test_one_that_is_killed_is_forked_again_and_its_end_is_known(tmp_path: Path) -> None:
    async with command_line(APP, tmp_path, *QUIET) as server:
        victim = forked(server.process.pid)[0]
        os.kill(victim, signal.SIGKILL)
        await until(lambda: gone(victim) and len(forked(server.process.pid)) == 2)
        await until(lambda: "was killed by SIGKILL" in server.log())
        with trio.fail_after(PATIENCE):
            while len(await answering(server.port)) < 2:
                pass
        server.terminate()
        assert await server.end() == 0


async def test_it_is_upgraded_like_any_other(tmp_path: Path) -> None:
    async with command_line(APP, tmp_path, *QUIET) as server:
        before = [*workers(server), *forked(server.process.pid)]
        server.process.send_signal(signal.SIGUSR2)
        await until(lambda: "all workers are renewed: generation 2" in server.log())
        await until(lambda: all(map(gone, before)))
        assert int(await ask(server.port)) in forked(server.process.pid)
        server.terminate()
        assert await server.end() == 0


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("1 / 0", r"importing 'app' failed: ZeroDivisionError"),
        (
            "import threading, time\n"
            "threading.Thread(target=time.sleep, args=(60,), name='busy', daemon=True).start()\n" + APP,
            r"--preload: the application has begun threads .*\(busy\)",
        ),
        ("import os\nos._exit(7)", "the process that imports the application has ended with status 7"),
    ],
)
async def test_what_cannot_be_preloaded_says_so_once_and_ends_with_3(tmp_path: Path, source: str, words: str) -> None:
    (tmp_path / "app.py").write_text(source)
    command = [sys.executable, "-m", "roadrunner_trio", "serve", "app:handler", "--port", "0", *QUIET]
    with pytest.raises(AssertionError, match="did not start"):
        async with running(command, tmp_path) as server:
            assert await server.end() == 3
    assert len(re.findall(words, (tmp_path / "stderr").read_text())) == 1


DEAF = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
open("importing", "w").close()
time.sleep(600)
"""


async def test_an_import_that_does_not_listen_is_not_left_behind(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(DEAF)
    serve = [sys.executable, "-m", "roadrunner_trio", "serve", "app:handler", "--bind", "127.0.0.1:0", *QUIET]
    process = await trio.lowlevel.open_process(serve, cwd=tmp_path, stderr=subprocess.DEVNULL)
    try:
        await until((tmp_path / "importing").exists)
        (importing,) = children(process.pid)
        process.terminate()
        with trio.fail_after(3 * PATIENCE):
            assert await process.wait() == 0
        await until(lambda: gone(importing))
    finally:
        if process.returncode is None:
            process.kill()


async def test_an_import_that_nobody_waits_for_any_more_is_ended(tmp_path: Path) -> None:
    async with command_line(APP, tmp_path, *QUIET) as server:
        (tmp_path / "app.py").write_text("import time\ntime.sleep(2)\n" + APP)
        for _ in range(10):
            server.process.send_signal(signal.SIGHUP)
            await trio.sleep(0.1)
            assert len(workers(server)) <= 3  # the one that serves, the newest, and one that is about to end
        await until(lambda: "all workers are renewed: generation 11" in server.log())
        await until(lambda: len(workers(server)) == 1)
        assert await answering(server.port) <= set(forked(server.process.pid))
