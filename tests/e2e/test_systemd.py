"""What a server and systemd have to say to each other, with a stand-in for the latter, and with its own activator."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import pytest
import trio
from notify_tools import Manager, manager
from ports import free_port
from process_tools import needs_proc
from socket_tools import PATIENCE, Peer
from worker_tools import APP, ask, until

pytestmark = [needs_proc]

WORDS = ("app:handler", "--no-access-log", "--grace", "2s")


async def ended(process: subprocess.Popen) -> int:
    """Its status; it is killed when there is none in time."""
    try:
        with trio.fail_after(PATIENCE):
            return await trio.to_thread.run_sync(process.wait, abandon_on_cancel=True)
    finally:
        with suppress(ProcessLookupError):
            process.kill()


def microseconds(said: list[str], name: str) -> int:
    (line,) = [line for each in said for line in each.split("\n") if line.startswith(name + "=")]
    return int(line.removeprefix(name + "="))


@pytest.mark.parametrize("more", [(), ("-w", "2")])
async def test_it_says_how_it_is(tmp_path: Path, more: tuple[str, ...]) -> None:
    (tmp_path / "app.py").write_text(APP)
    port = free_port()
    with manager(tmp_path) as systemd:
        process = systemd.start(tmp_path, *WORDS, "--port", str(port), *more, WATCHDOG_USEC="4000000")
        await systemd.until("READY=1")
        await ask(port)
        await systemd.until("WATCHDOG=1", 2)
        before = time.monotonic_ns() // 1000
        process.send_signal(signal.SIGHUP)
        await systemd.until("READY=1", 2)
        assert before <= microseconds(systemd.said, "MONOTONIC_USEC") <= time.monotonic_ns() // 1000
        assert systemd.said.index("READY=1") < [each.startswith("RELOADING=1") for each in systemd.said].index(True)
        process.terminate()
        assert await ended(process) == 0
        systemd.listen()
        assert microseconds(systemd.said, "EXTEND_TIMEOUT_USEC") == 2_000_000
        assert any(each.startswith("STOPPING=1") for each in systemd.said)
        if more:
            assert "STATUS=2 of 2 ready, generation 1" in systemd.said
            assert "STATUS=2 of 2 ready, generation 2" in systemd.said


@pytest.mark.slow
async def test_nobody_says_that_workers_are_alive_that_are_not(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    port = free_port()
    with manager(tmp_path) as systemd:
        process = systemd.start(tmp_path, *WORDS, "--port", str(port), "-w", "1", WATCHDOG_USEC="4000000")
        await systemd.until("READY=1")
        with await Peer.connect(port) as peer:
            await peer.send(b"GET /block?for=600 HTTP/1.1\r\nHost: test\r\n\r\n")
            await until(lambda: "has been silent for" in (tmp_path / "stderr").read_text())
            systemd.listen()
            said = systemd.said.count("WATCHDOG=1")
            await trio.sleep(4)
            systemd.listen()
            assert systemd.said.count("WATCHDOG=1") == said
            process.kill()
            await ended(process)


async def start_and_serve(systemd: Manager, folder: Path, *words: str, **descriptors: int) -> subprocess.Popen:
    process = systemd.start(folder, *WORDS, *words, descriptors=descriptors, FDSTORE="8")
    systemd.said.clear()
    await systemd.until("READY=1")
    return process


@pytest.mark.parametrize("more", [(), ("-w", "2")])
@pytest.mark.parametrize("bind", [(), ("--bind", "systemd:web")])
async def test_sockets_that_it_has_opened_are_served(
    tmp_path: Path, more: tuple[str, ...], bind: tuple[str, ...]
) -> None:
    (tmp_path / "app.py").write_text(APP)
    with manager(tmp_path) as systemd, socket.create_server(("127.0.0.1", 0)) as door:
        process = await start_and_serve(systemd, tmp_path, *bind, *more, web=door.fileno())
        pid = await ask(door.getsockname()[1])
        if more:
            process.send_signal(signal.SIGUSR2)
            await until(lambda: "all workers are renewed: generation 2" in (tmp_path / "stderr").read_text())
            assert await ask(door.getsockname()[1]) != pid
        process.terminate()
        assert await ended(process) == 0


async def test_a_name_that_it_has_not_passed_is_told(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    with manager(tmp_path) as systemd, socket.create_server(("127.0.0.1", 0)) as door:
        process = systemd.start(tmp_path, *WORDS, "--bind", "systemd:wbe", descriptors={"web": door.fileno()})
        assert await ended(process) == 3
        log = (tmp_path / "stderr").read_text()
        assert "systemd:wbe: the service manager has passed no socket of that name; there is web" in log


@pytest.mark.parametrize("more", [(), ("-w", "2")])
@pytest.mark.parametrize("unix", [False, True])
async def test_sockets_are_kept_over_a_restart_and_nobody_is_refused(
    tmp_path: Path, more: tuple[str, ...], unix: bool
) -> None:
    (tmp_path / "app.py").write_text(APP)
    place = f"unix:{tmp_path}/door" if unix else f"127.0.0.1:{free_port()}"
    words = ("--bind", place, *more)
    with manager(tmp_path) as systemd:
        process = await start_and_serve(systemd, tmp_path, *words)
        await systemd.until("FDSTORE=1")
        assert list(systemd.kept) == [f"kept-{quote(place, safe='/@[]')}"]
        process.terminate()
        assert await ended(process) == 0
        if unix:
            stream: trio.abc.Stream = await trio.open_unix_socket(place.removeprefix("unix:"))
        else:
            stream = await trio.open_tcp_stream("127.0.0.1", int(place.rpartition(":")[2]))
        async with stream:  # nobody serves, and nobody is refused
            await stream.send_all(b"GET / HTTP/1.0\r\n\r\n")
            kept = {name: descriptors[0] for name, descriptors in systemd.kept.items()}
            process = systemd.start(tmp_path, *WORDS, *words, descriptors=kept, FDSTORE="8")
            with trio.fail_after(PATIENCE):
                assert (await stream.receive_some()).startswith(b"HTTP/1.1 200 ")
        process.terminate()
        assert await ended(process) == 0


@pytest.mark.parametrize("more", [(), ("-w", "2")])
async def test_sockets_that_it_has_opened_need_not_be_kept(tmp_path: Path, more: tuple[str, ...]) -> None:
    (tmp_path / "app.py").write_text(APP)
    with manager(tmp_path) as systemd, socket.create_server(("127.0.0.1", 0)) as door:
        process = await start_and_serve(systemd, tmp_path, *more, web=door.fileno())
        process.terminate()
        assert await ended(process) == 0
        systemd.listen()
        assert not systemd.kept


@pytest.mark.skipif(shutil.which("systemd-socket-activate") is None, reason="this machine has no systemd")
@pytest.mark.parametrize("more", [(), ("-w", "2")])
async def test_it_is_activated_by_its_socket(tmp_path: Path, more: tuple[str, ...]) -> None:
    (tmp_path / "app.py").write_text(APP)
    port = free_port()
    serve = [sys.executable, "-m", "roadrunner_trio", "serve", *WORDS, *more]
    activate = ["systemd-socket-activate", "-l", f"127.0.0.1:{port}", "-E", "PATH", "-E", "PYTHONPATH", *serve]
    with (tmp_path / "stderr").open("wb") as stderr:
        process = await trio.lowlevel.open_process(activate, cwd=tmp_path, stdout=stderr, stderr=stderr)
    try:
        await until(lambda: "Listening on" in (tmp_path / "stderr").read_text())
        assert int(await ask(port)) > 0
        process.terminate()
        with trio.fail_after(PATIENCE):
            assert await process.wait() == 0
    finally:
        with suppress(ProcessLookupError):
            process.kill()
