"""Upgrades into what is not as it was: settings, folders, programs and sockets that have changed meanwhile."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from notify_tools import manager
from ports import free_port
from process_tools import Server, needs_proc, running
from worker_tools import APP, ask, gone, until, workers

pytestmark = [needs_proc]

MODULE = (sys.executable, "-m", "roadrunner_trio")
OTHER = APP.replace("str(os.getpid())", "'other'")
PROGRAM = "import sys\nfrom roadrunner_trio.command.cli import main\nsys.exit(main())\n"
LATE = """
import os
if "_ROADRUNNER_UPGRADE" in os.environ:
    open("settings.toml", "w").write(open("wrong").read())
"""
SLOW = """
import time
from roadrunner_trio.command import supervise
usual = supervise.replace

def replace(*given):
    open("replacing", "w").close()
    time.sleep(1)
    usual(*given)

supervise.replace = replace
"""
RENEWED = "all workers are renewed: generation 2"
NOT_UPGRADED = "not upgraded, for it would not start: "
LONG = 60.0


@asynccontextmanager
async def serving(
    folder: Path, settings: str, *, app: str = APP, program: tuple[str, ...] = MODULE, log: Path | None = None
) -> AsyncGenerator[Server]:
    """A server by a file of settings, in a folder that it knows by this name."""
    if app:
        (folder / "app.py").write_text(app)
    (folder / "settings.toml").write_text(f"access-log = false\ngrace = 5\n{settings}")
    command = ["env", "-C", str(folder), f"PWD={folder}", *program, "serve", "app:handler", "--config", "settings.toml"]
    async with running(command, log or folder) as server:
        yield server


async def upgrade(server: Server, until_said: str) -> None:
    server.process.send_signal(signal.SIGUSR2)
    await until(lambda: until_said in server.log(), LONG)


async def is_as_it_was(server: Server, before: list[int]) -> None:
    """Those that were there serve, and are supervised."""
    assert "Traceback" not in server.log()
    assert workers(server) == before
    os.kill(before[0], signal.SIGKILL)
    await until(lambda: len(workers(server)) == len(before) and workers(server) != before, LONG)
    server.terminate()
    assert await server.end(LONG) == 0


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ("max-requests = 1000", "max-requests in settings.toml, line 4 does nothing without workers"),
        ("", "there are no workers any more, by the settings"),
        ("workers = 2\nreload = true\nreload-dir = 'nowhere'", "there is no directory nowhere"),
    ],
)
async def test_settings_by_which_there_would_be_no_supervisor_are_no_upgrade(
    tmp_path: Path, settings: str, why: str
) -> None:
    if "reload" in settings:
        pytest.importorskip("watchfiles")
    bind = f'bind = "127.0.0.1:{free_port()}"\n'
    async with serving(tmp_path, f"{bind}workers = 2") as server:
        before = workers(server)
        (tmp_path / "settings.toml").write_text(f"access-log = false\ngrace = 5\n{bind}{settings}")
        await upgrade(server, NOT_UPGRADED)
        assert why in server.log()
        assert int(await ask(server.port)) in before
        await is_as_it_was(server, before)


async def test_a_new_address_that_is_in_use_is_no_upgrade_and_the_next_one_goes(tmp_path: Path) -> None:
    old = f"127.0.0.1:{free_port()}"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        new = f"127.0.0.1:{taken.getsockname()[1]}"
        async with serving(tmp_path, f'bind = ["{old}", "unix:app.sock"]\nworkers = 2') as server:
            before, file = workers(server), tmp_path / "settings.toml"
            file.write_text(file.read_text().replace('app.sock"', f'app.sock", "{new}"'))
            await upgrade(server, NOT_UPGRADED)
            assert f"{NOT_UPGRADED}roadrunner-trio: {new} is in use" in server.log()
            assert workers(server) == before
            assert (tmp_path / "app.sock").is_socket()
            taken.close()
            await upgrade(server, RENEWED)
            assert int(await ask(int(new.rpartition(":")[2]))) in workers(server)
            server.terminate()
            assert await server.end(LONG) == 0
            assert not (tmp_path / "app.sock").exists()


async def test_a_link_to_a_release_leads_to_the_new_one(tmp_path: Path) -> None:
    current = tmp_path / "current"
    for release, source in (("one", APP), ("two", OTHER)):
        (tmp_path / release).mkdir()
        (tmp_path / release / "app.py").write_text(source)
        (tmp_path / release / "settings.toml").write_text("access-log = false\ngrace = 5\nworkers = 1\n")
    current.symlink_to("one")
    settings = f"workers = 1\nbind = '127.0.0.1:{free_port()}'"
    async with serving(current, settings, app="", log=tmp_path) as server:
        assert (await ask(server.port)).isdigit()
        (tmp_path / "two" / "settings.toml").write_text((tmp_path / "one" / "settings.toml").read_text())
        (tmp_path / "next").symlink_to("two")
        (tmp_path / "next").rename(current)
        (tmp_path / "one" / "app.py").write_text("1 / 0")  # it is the new one that has to start
        await upgrade(server, RENEWED)
        assert await ask(server.port) == "other"
        server.terminate()
        assert await server.end(LONG) == 0


async def test_a_program_that_has_gone_is_no_upgrade(tmp_path: Path) -> None:
    (program := tmp_path / "program").write_text(PROGRAM)
    bind = f"bind = '127.0.0.1:{free_port()}'"
    async with serving(tmp_path, f"workers = 1\n{bind}", program=(sys.executable, str(program))) as server:
        before = workers(server)
        program.unlink()
        await upgrade(server, NOT_UPGRADED)
        program.write_text(PROGRAM)
        await upgrade(server, RENEWED)
        assert workers(server) != before
        server.terminate()
        assert await server.end(LONG) == 0


@pytest.mark.parametrize("how", ["", "preload = true"])
@pytest.mark.parametrize("wrong", ["serve = =", "max-requests = 1000"])
async def test_a_program_that_cannot_take_over_leaves_those_that_serve(tmp_path: Path, how: str, wrong: str) -> None:
    (program := tmp_path / "program").write_text(LATE + PROGRAM)
    (tmp_path / "wrong").write_text(wrong)
    settings = f"workers = 2\n{how}\nbind = ['127.0.0.1:{free_port()}', 'unix:app.sock']"
    async with serving(tmp_path, settings, program=(sys.executable, str(program))) as server:
        pid = int(await ask(server.port))
        server.process.send_signal(signal.SIGUSR2)
        await until(lambda: server.log().count("roadrunner-trio: ") == 1, LONG)
        await trio.sleep(2)
        assert server.process.returncode is None
        assert (tmp_path / "app.sock").is_socket()
        await ask(server.port)
        assert not gone(pid)
        server.terminate()
        assert await server.end(LONG) == 1
        await until(lambda: gone(pid), LONG)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
async def test_a_signal_in_the_moment_of_the_upgrade_is_heard_by_the_next_program(
    tmp_path: Path, number: signal.Signals
) -> None:
    (program := tmp_path / "program").write_text(SLOW + PROGRAM)
    settings = f"workers = 1\nbind = '127.0.0.1:{free_port()}'"
    async with serving(tmp_path, settings, program=(sys.executable, str(program))) as server:
        server.process.send_signal(signal.SIGUSR2)
        await until((tmp_path / "replacing").exists, LONG)
        server.process.send_signal(number)
        if number is signal.SIGHUP:
            await until(lambda: "SIGHUP: renewing" in server.log(), LONG)
            server.terminate()
        assert await server.end(LONG) == 0


async def test_the_file_of_another_server_is_not_removed(tmp_path: Path) -> None:
    (one := tmp_path / "one").mkdir()
    (two := tmp_path / "two").mkdir()
    bind = f"bind = ['unix:{tmp_path}/app.sock', '127.0.0.1:0']\nworkers = 1"
    async with serving(one, bind) as first:
        (tmp_path / "app.sock").unlink()
        async with serving(two, bind):
            await upgrade(first, RENEWED)
            first.terminate()
            assert await first.end(LONG) == 0
            assert (tmp_path / "app.sock").is_socket()


async def test_a_port_that_is_wanted_twice_is_two_and_stays_so(tmp_path: Path) -> None:
    async with serving(tmp_path, "bind = ['127.0.0.1:0', '127.0.0.1:0']\nworkers = 1") as server:
        await upgrade(server, RENEWED)
        ports = sorted(listened(server))
        assert len(ports) == 2
        for port in ports:
            assert int(await ask(port)) in workers(server)


def listened(server: Server) -> set[int]:
    """The ports on which a process listens."""
    inodes = set()
    for each in Path(f"/proc/{server.process.pid}/fd").iterdir():
        inodes.add(os.readlink(each).removeprefix("socket:[").removesuffix("]"))
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {int(row[1].partition(":")[2], 16) for row in rows if row[9] in inodes and row[3] == "0A"}


async def test_sockets_that_were_passed_and_are_not_wanted_stand_in_no_ones_way(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    words = ("app:handler", "--no-access-log", "--grace", "2s", "-w", "1", "--bind", "systemd:web")
    with manager(tmp_path) as systemd, socket.create_server(("127.0.0.1", 0)) as door, socket.socket() as more:
        descriptors = {"web": door.fileno(), "metrics": more.fileno()}
        more.bind(("127.0.0.1", 0))
        process = systemd.start(tmp_path, *words, "--metrics", "fd://4", descriptors=descriptors)
        await systemd.until("READY=1")
        for generation in (2, 3):
            process.send_signal(signal.SIGUSR2)
            said = f"all workers are renewed: generation {generation}"
            await until(lambda said=said: said in (tmp_path / "stderr").read_text(), LONG)
        async with await trio.open_tcp_stream("127.0.0.1", more.getsockname()[1]) as stream:
            await stream.send_all(b"GET /metrics HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 200")
        process.terminate()
        assert await trio.to_thread.run_sync(process.wait) == 0
        assert "there are no metrics" not in (tmp_path / "stderr").read_text()


async def test_check_knows_what_a_server_has(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        for held, status in (([address], 0), ([], 3)):
            done = await trio.run_process(
                [*MODULE, "check", "app:handler", "--no-bind", "-w", "1", "-b", address],
                cwd=tmp_path,
                env={**os.environ, "_ROADRUNNER_HELD": json.dumps(held)},
                check=False,
                capture_stderr=True,
            )
            assert done.returncode == status
