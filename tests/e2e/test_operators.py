"""Operators in a hurry, and machines that are short of something: what several processes make of it."""

from __future__ import annotations

import os
import resource
import signal
import sys
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import pytest
import trio
from ports import free_port
from process_tools import command_line, needs_proc, redirected
from worker_tools import APP, Load, answering, ask, children, gone, until, workers

pytestmark = [needs_proc]

QUIET = ("--no-access-log", "--grace", "3s")
SLOW_IMPORT = "import time\nopen('importing', 'a').write('.')\ntime.sleep(600)\n"
LONG = 60.0
"""Seconds for what takes two of them on a machine that is idle."""


@asynccontextmanager
async def importing(folder: Path, *words: str, many: int) -> AsyncGenerator[trio.Process]:
    """A server with a session of its own, as a terminal's, of which so many processes import for ever."""
    (folder / "app.py").write_text(SLOW_IMPORT)
    serve = [sys.executable, "-m", "roadrunner_trio", "serve", "app:handler", "--port", str(free_port()), *words]
    with (folder / "stderr").open("wb") as stderr, interruptible():
        process = await trio.lowlevel.open_process(
            serve, cwd=folder, stdout=stderr, stderr=stderr, start_new_session=True
        )
    try:
        mark = folder / "importing"
        await until(lambda: mark.exists() and len(mark.read_text()) == many)
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        with trio.CancelScope(shield=True):
            await process.wait()


@contextmanager
def interruptible() -> Generator[None]:
    """What is started in the block has its Ctrl-C, also where the tests run as a shell's job behind others."""
    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


async def status_of(process: trio.Process) -> int:
    with trio.fail_after(LONG):
        return await process.wait()


@pytest.mark.parametrize("how", [("-w", "2"), ("-w", "2", "--preload")])
async def test_ctrl_c_while_workers_import_is_one_line(tmp_path: Path, how: tuple[str, ...]) -> None:
    async with importing(tmp_path, *how, *QUIET, many=1 if "--preload" in how else 2) as process:
        os.killpg(process.pid, signal.SIGINT)
        assert await status_of(process) == 0
        (line,) = (tmp_path / "stderr").read_text().splitlines()
        assert "SIGINT: draining" in line


async def test_ctrl_c_while_one_process_imports_says_nothing(tmp_path: Path) -> None:
    async with importing(tmp_path, *QUIET, many=1) as process:
        os.killpg(process.pid, signal.SIGINT)
        assert await status_of(process) == 128 + signal.SIGINT
        assert (tmp_path / "stderr").read_text() == ""


async def test_two_signals_while_workers_import_end_all(tmp_path: Path) -> None:
    async with importing(tmp_path, "-w", "2", *QUIET, many=2) as process:
        pids = children(process.pid)
        process.terminate()
        process.send_signal(signal.SIGINT)
        assert await status_of(process) in (0, 128 + signal.SIGINT, 128 + signal.SIGTERM)
        await until(lambda: all(map(gone, pids)))
        assert "Traceback" not in (tmp_path / "stderr").read_text()


async def test_a_storm_of_rolls_loses_nothing_and_leaves_as_many_as_there_were(tmp_path: Path) -> None:
    async with command_line(APP, tmp_path, "-w", "2", *QUIET) as server, trio.open_nursery() as nursery:
        before = set(workers(server))
        load = Load(server.port, kept=False)
        nursery.start_soon(load.run)
        for _ in range(30):
            server.process.send_signal(signal.SIGHUP)
            await trio.sleep(0.02)
        await until(lambda: "all workers are renewed" in server.log(), LONG)
        await until(lambda: len(workers(server)) == 2, LONG)
        assert not before & set(workers(server))
        nursery.cancel_scope.cancel()
    assert load.lost == []
    assert load.answered > 0


async def test_an_upgrade_that_is_asked_for_twice_is_one(tmp_path: Path) -> None:
    async with command_line(APP, tmp_path, "-w", "2", *QUIET) as server:
        before = set(workers(server))
        for number in (signal.SIGUSR2, signal.SIGUSR2, signal.SIGHUP, signal.SIGUSR2):
            server.process.send_signal(number)
            await trio.sleep(0.1)
        await until(lambda: "upgraded: renewing 2 workers" in server.log(), LONG)
        await until(lambda: len(workers(server)) == 2 and not before & set(workers(server)), LONG)
        assert int(await ask(server.port)) in workers(server)
        assert server.log().count("SIGUSR2: upgrading") == 1
        server.terminate()
        assert await server.end(LONG) == 0


async def test_a_generation_that_hangs_in_its_import_is_given_up_and_the_last_one_serves(tmp_path: Path) -> None:
    async with command_line(APP, tmp_path, "-w", "1", "--worker-startup-timeout", "15s", *QUIET) as server:
        (old,) = workers(server)
        (tmp_path / "app.py").write_text(SLOW_IMPORT)
        server.process.send_signal(signal.SIGHUP)
        await until(lambda: "not renewed, for worker 2" in server.log(), LONG)
        assert workers(server) == [old]
        assert await ask(server.port) == str(old)
        server.process.send_signal(signal.SIGHUP)
        await until(lambda: len(workers(server)) == 2, LONG)
        server.terminate()  # in the middle of it
        assert await server.end(LONG) == 0


async def test_one_that_is_stopped_does_not_keep_the_others_from_going(tmp_path: Path) -> None:
    async with command_line(APP, tmp_path, "-w", "2", "--no-access-log", "--grace", "500ms") as server:
        pids = workers(server)
        os.kill(pids[0], signal.SIGSTOP)
        server.terminate()
        assert await server.end(LONG) == 1
        assert all(map(gone, pids))
        assert "does not end, and is killed" in server.log()


@pytest.mark.parametrize("redirect", ["0<&- 1>&- 2>&-", ">/dev/full 2>/dev/full", "2>&1 | sleep 600"])
@pytest.mark.parametrize("how", [(), ("--preload",)])
async def test_standard_streams_that_take_nothing_change_nothing(
    tmp_path: Path, redirect: str, how: tuple[str, ...]
) -> None:
    async with redirected(APP, tmp_path, redirect, "-w", "2", *how, "--grace", "3s") as server:
        if "|" in redirect:  # bash has a child for each of the two
            await until(lambda: any(map(children, children(server.process.pid))))
            supervisor = next(pid for pid in children(server.process.pid) if children(pid))
        else:
            supervisor = server.process.pid
        for _ in range(3):
            assert len(await answering(server.port, 60)) >= 1
        os.kill(supervisor, signal.SIGHUP)
        await trio.sleep(0.1)
        assert await ask(server.port, "/" + "x" * 2000)
        os.kill(supervisor, signal.SIGTERM)
        await until(lambda: gone(supervisor), LONG)


async def test_an_access_log_on_a_full_disk_changes_nothing(tmp_path: Path) -> None:
    async with command_line(APP, tmp_path, "-w", "2", "--access-log-file", "/dev/full", "--grace", "3s") as server:
        assert len(await answering(server.port, 60)) >= 1
        server.process.send_signal(signal.SIGHUP)
        await until(lambda: "all workers are renewed" in server.log(), LONG)
        server.terminate()
        assert await server.end(LONG) == 0
        assert "Traceback" not in server.log()


FOREIGN_STREAMS = """
import sys

class Stream:
    def write(self, text):
        pass

sys.stderr = sys.stdout = Stream()
"""


@pytest.mark.parametrize("how", [(), ("-w", "2"), ("-w", "2", "--preload")])
async def test_streams_of_the_application_in_place_of_the_standard_ones_change_nothing(
    tmp_path: Path, how: tuple[str, ...]
) -> None:
    async with redirected(FOREIGN_STREAMS + APP, tmp_path, ">stdout", *how, *QUIET) as server:
        assert (await ask(server.port)).isdigit()
        server.terminate()
        assert await server.end(LONG) == 0


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("class E(Exception):\n    def __str__(self):\n        1 / 0\nraise E\n", "importing 'app' failed: E: "),
        ("raise ValueError('\N{GRINNING FACE}' * 60_000)", "importing 'app' failed: ValueError: \N{GRINNING FACE}"),
        ("import os\nos.closerange(3, 1000)\n" + APP, "Bad file descriptor"),
    ],
)
async def test_an_odd_reason_not_to_start_is_told(tmp_path: Path, source: str, why: str) -> None:
    (tmp_path / "app.py").write_text(source)
    command = [sys.executable, "-m", "roadrunner_trio", "serve", "app:handler", "-w", "1", "-b", "127.0.0.1:0"]
    with trio.fail_after(LONG):
        done = await trio.run_process(command, cwd=tmp_path, check=False, capture_stderr=True)
    assert done.returncode == 3
    last = [line for line in done.stderr.decode().splitlines() if line.startswith("roadrunner-trio: ")]
    assert len(last) == 1
    assert why in last[0]


def opened(pid: int) -> list[str]:
    """The names of what a process has open."""
    return [os.readlink(each) for each in Path(f"/proc/{pid}/fd").iterdir() if each.is_symlink()]


async def test_a_log_that_was_put_away_is_held_by_nobody_after_a_roll(tmp_path: Path) -> None:
    log = tmp_path / "access"
    async with command_line(APP, tmp_path, "-w", "2", "--access-log-file", str(log), "--grace", "3s") as server:
        before = workers(server)
        await ask(server.port)
        (old := log.rename(tmp_path / "access.1")).unlink()
        server.process.send_signal(signal.SIGHUP)
        await until(lambda: "all workers are renewed" in server.log(), LONG)
        await until(lambda: not set(before) & set(workers(server)), LONG)
        for pid in (server.process.pid, *workers(server)):
            assert not any(name.startswith(str(old)) for name in opened(pid))
        await ask(server.port)
        assert log.exists()


@pytest.mark.parametrize(("name", "content"), [("settings.toml", b"workers = [[["), ("variables", b"NAME=\xff\n")])
async def test_a_file_that_is_no_more_what_it_was_is_told_at_a_roll_by_its_name(
    tmp_path: Path, name: str, content: bytes
) -> None:
    (tmp_path / "settings.toml").write_text("workers = 2\n")
    (tmp_path / "variables").write_text("NAME=value\n")
    words = ("--config", "settings.toml", "--env-file", "variables", "-w", "2")
    async with command_line(APP, tmp_path, *words, *QUIET) as server:
        before = workers(server)
        (tmp_path / name).write_bytes(content)
        server.process.send_signal(signal.SIGHUP)
        await until(lambda: "not renewed, for worker 3 could not start: " in server.log(), LONG)
        assert "this is no worker" not in server.log()
        assert [line for line in server.log().splitlines() if line.startswith("roadrunner-trio: ") and name in line]
        assert workers(server) == before


async def test_of_a_delay_the_second_signal_takes_what_is_left_and_no_request(tmp_path: Path) -> None:
    async with command_line(APP, tmp_path, "-w", "2", "--shutdown-delay", "60s", "--grace", "30s") as server:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, server.port, "/wait?for=4")
            await trio.sleep(0.5)
            server.terminate()
            await until(lambda: server.log().count("draining in 60 s") == 2)
            await trio.sleep(0.5)
            server.terminate()
        assert await server.end() == 0
        assert "stopping at once" not in server.log()


@pytest.mark.skipif(os.geteuid() != 0, reason="the folder is made immutable to its owner by taking it away")
async def test_a_log_folder_that_is_gone_at_a_roll_leaves_those_that_serve(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    folder.mkdir()
    async with command_line(APP, tmp_path, "-w", "2", "--access-log-file", str(folder / "access")) as server:
        before = workers(server)
        (folder / "access").unlink()
        folder.rmdir()
        server.process.send_signal(signal.SIGHUP)
        await until(lambda: "not renewed, for worker 3" in server.log(), LONG)
        assert workers(server) == before
        assert int(await ask(server.port)) in before
        folder.mkdir()
        server.process.send_signal(signal.SIGHUP)
        await until(lambda: "all workers are renewed" in server.log(), LONG)
        assert int(await ask(server.port)) not in before


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="only Linux sets the limits of another process")
@pytest.mark.parametrize("how", [(), ("--preload",)])
async def test_a_supervisor_without_descriptors_keeps_what_it_has(tmp_path: Path, how: tuple[str, ...]) -> None:
    async with command_line(APP, tmp_path, "-w", "2", *how, *QUIET) as server:
        pid = server.process.pid
        serving = await answering(server.port)
        usual = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (server.descriptors() + 1, usual[1]))
        for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGTTIN):
            server.process.send_signal(number)
            await trio.sleep(0.5)
        assert await answering(server.port) <= serving
        resource.prlimit(pid, resource.RLIMIT_NOFILE, usual)
        await trio.sleep(1)
        server.process.send_signal(signal.SIGHUP)
        await until(lambda: "all workers are renewed" in server.log(), LONG)
        await until(lambda: serving.isdisjoint(workers(server)), LONG)
        assert not await answering(server.port) & serving
        server.terminate()
        assert await server.end(LONG) == 0
        assert "Traceback" not in server.log(), server.log()
