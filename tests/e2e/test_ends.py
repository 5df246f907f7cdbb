"""That a server ends when it is told to, whatever its application does: real processes, and what is left of them."""

from __future__ import annotations

import fcntl
import os
import pty
import shutil
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
import trio
from process_tools import Server, command_line, running, script
from socket_tools import PATIENCE, Peer, eventually

from roadrunner_trio.server.watchdog import TWICE

HUP, INT, TERM, USR2 = signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGUSR2
APART = TWICE + 0.1
"""Seconds from a signal to another that is not the same."""
FOR_EVER = "600s"

APP = r"""
import hashlib, multiprocessing, re, threading, time, trio
from concurrent.futures import ThreadPoolExecutor
from roadrunner_trio import Response, websocket

pool = ThreadPoolExecutor(2)

@websocket
async def session(request):
    ws = await request.accept()
    while True:
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            pass

async def swallows():
    while True:
        try:
            await trio.sleep(1)
        except trio.Cancelled:
            pass

async def nursery():
    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(trio.sleep_forever)

def block(path):
    if path == "/spin":
        while True:
            pass
    if path == "/sleep":
        time.sleep(60)
    if path == "/lets-go":  # of the interpreter, and looks for no signal
        hashlib.pbkdf2_hmac("sha256", b"a", b"b", 10**9)
    if path == "/keeps":  # the interpreter, and looks for signals
        re.match(r"(a+)+$", "a" * 60 + "b")

def child():
    time.sleep(60)

async def handler(request):
    path = request.path
    if path == "/websocket":
        return await session(request)
    if path == "/thread":
        await trio.to_thread.run_sync(time.sleep, 60)
    if path == "/shield":
        with trio.CancelScope(shield=True):
            await trio.sleep(60)
    if path == "/finally":
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(60)
    if path == "/swallows":
        await swallows()
    if path == "/nursery":
        await nursery()
    if path == "/forever":
        await trio.sleep_forever()
    if path == "/left":
        threading.Thread(target=time.sleep, args=(60,), name="the one that is left").start()
    if path == "/pool":
        pool.submit(time.sleep, 60)
    if path == "/idle":
        pool.submit(int).result()
    if path == "/fork":
        process = multiprocessing.get_context("fork").Process(target=child)
        process.start()
        process.terminate()
        await trio.to_thread.run_sync(process.join)
        return Response.text(str(process.exitcode))
    block(path)
    return Response.text("hello")
"""

UPGRADE = (
    b"Upgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


async def ask(peer: Peer, path: str) -> None:
    """Asks for something that will not be answered, and waits until it has begun."""
    upgrade = UPGRADE if path == "/websocket" else b""
    await peer.send(b"GET %b HTTP/1.1\r\nHost: test\r\n%b\r\n" % (path.encode(), upgrade))
    if upgrade:
        assert await peer.until(lambda: b" 101 " in peer.received)
    await trio.sleep(0.3)


async def end_of(server: Server, *, seconds: float = PATIENCE) -> tuple[int, float]:
    """The exit status, and how long it took."""
    began = time.monotonic()
    return await server.end(seconds), time.monotonic() - began


STUBBORN = ["/thread", "/shield", "/finally", "/swallows", "/websocket"]


@pytest.mark.slow
@pytest.mark.parametrize("number", [INT, TERM])
@pytest.mark.parametrize("path", STUBBORN)
async def test_case_31_a_second_signal_stops_at_once(tmp_path: Path, path: str, number: signal.Signals) -> None:
    async with command_line(APP, tmp_path, "--grace", FOR_EVER) as server:
        with await Peer.connect(server.port) as peer:
            await ask(peer, path)
            server.process.send_signal(number)
            await trio.sleep(APART)
            server.process.send_signal(number)
            status, took = await end_of(server)
        assert status == 128 + number
        assert 0.7 < took < 10, "a second, and a busy machine"
        assert "the connection of 127.0.0.1:" in server.log()
        assert "has not ended, and is left" in server.log()


RUN = """
import socket, time, trio
from roadrunner_trio import Listener, Response, run, serve

async def handler(request):
    with trio.CancelScope(shield=True):
        await trio.sleep(60)

door = socket.create_server(("127.0.0.1", 0))
print(door.getsockname()[1], flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", ["run(handler, door, grace=600)", "trio.run(serve, Listener(handler, bind=door))"])
async def test_case_31_so_it_does_in_a_program(tmp_path: Path, how: str) -> None:
    async with script(RUN + how, tmp_path) as server:
        with await Peer.connect(server.port) as peer:
            await ask(peer, "/")
            server.terminate()
            await trio.sleep(APART)
            server.process.send_signal(INT)
            assert await server.end(20) == 128 + INT


@pytest.mark.slow
async def test_case_31_a_third_signal_needs_no_second(tmp_path: Path) -> None:
    async with command_line(APP, tmp_path, "--grace", FOR_EVER) as server:
        with await Peer.connect(server.port) as peer:
            await ask(peer, "/shield")
            for number in (TERM, INT, TERM):
                server.process.send_signal(number)
                await trio.sleep(0.1)
            status, took = await end_of(server)
        assert status == 128 + TERM
        assert took < 0.7


BLOCKED = ["/spin", "/sleep", "/lets-go", "/keeps"]


@pytest.mark.slow
@pytest.mark.parametrize("path", BLOCKED)
async def test_case_33_a_blocked_loop_is_ended_by_a_second_signal(tmp_path: Path, path: str) -> None:
    async with command_line(APP, tmp_path, "--grace", FOR_EVER) as server:
        with await Peer.connect(server.port) as peer:
            await ask(peer, path)
            server.terminate()
            await trio.sleep(APART)
            server.process.send_signal(INT)
            status, took = await end_of(server)
        assert status == 128 + INT
        assert took < 10
        assert "in block" in server.log().splitlines()[-1]


@pytest.mark.slow
@pytest.mark.parametrize("path", BLOCKED)
async def test_case_33_a_blocked_loop_is_ended_by_the_deadline(tmp_path: Path, path: str) -> None:
    async with command_line(APP, tmp_path, "--grace", "1s") as server:
        with await Peer.connect(server.port) as peer:
            await ask(peer, path)
            server.terminate()
            status, took = await end_of(server)
        assert status == 1
        assert 1.9 < took < 10
        assert "in block" in server.log()


@pytest.mark.slow
async def test_case_33_a_program_that_owns_its_process_is_ended_so_too(tmp_path: Path) -> None:
    program = RUN.replace("    with trio.CancelScope(shield=True):\n        await trio.sleep(60)", "    time.sleep(60)")
    async with script(program + "run(handler, door, grace=0.5)", tmp_path) as server:
        with await Peer.connect(server.port) as peer:
            await ask(peer, "/")
            server.terminate()
            assert await server.end(20) == 1
        assert "in handler" in server.log()


@pytest.mark.slow
@pytest.mark.parametrize(("path", "name"), [("/left", "the one that is left"), ("/pool", "ThreadPoolExecutor")])
async def test_case_44_threads_do_not_keep_the_process(tmp_path: Path, path: str, name: str) -> None:
    async with command_line(APP, tmp_path, "--grace", FOR_EVER) as server:
        with await Peer.connect(server.port) as peer:
            assert (await peer.get(path)).body == b"hello"
        server.terminate()
        status, took = await end_of(server)
    assert status == 0
    assert 0.7 < took < 10
    assert f"threads that do not end are left behind: {name}" in server.log()


async def test_case_44_idle_ones_end_and_nobody_is_named(tmp_path: Path) -> None:
    app = APP + "\nimport atexit\natexit.register(print, 'at exit', flush=True)\n"
    async with command_line(app, tmp_path, "--grace", FOR_EVER) as server:
        with await Peer.connect(server.port) as peer:
            assert (await peer.get("/idle")).body == b"hello"
        server.terminate()
        assert await server.end() == 0
        assert (await server.said()).endswith("twice stops)\nat exit\n")
    assert "threads" not in server.log()


@pytest.mark.slow
async def test_case_44_what_hangs_at_exit_has_until_the_deadline_and_a_second_more(tmp_path: Path) -> None:
    app = APP + "\nimport atexit\natexit.register(time.sleep, 60)\n"
    async with command_line(app, tmp_path, "--grace", "1s") as server:
        server.terminate()
        status, took = await end_of(server)
    assert status == 0
    assert 1.5 < took < 10
    assert "what is to be done at exit does not end" in server.log()


@pytest.mark.slow
async def test_case_44_threads_do_not_keep_a_program_whose_server_has_drained(tmp_path: Path) -> None:
    thread = "    threading.Thread(target=time.sleep, args=(60,)).start()\n    return Response()\n    with trio."
    program = "import threading\n" + RUN.replace("    with trio.", thread)
    async with script(program + "run(handler, door)\nprint('after', flush=True)\nraise SystemExit", tmp_path) as server:
        with await Peer.connect(server.port) as peer:
            assert (await peer.get()).status == 200
        server.terminate()
        assert await server.end(20) == 0
        assert (await server.said()).endswith("twice stops)\nafter\n")


@pytest.mark.slow
async def test_case_44_they_do_not_keep_one_that_could_not_start(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(
        "import threading, time\nthreading.Thread(target=time.sleep, args=(60,)).start()\n"
    )
    began = time.monotonic()
    command = [sys.executable, "-m", "roadrunner_trio", "serve", "app:handler"]
    done = await trio.run_process(command, cwd=tmp_path, check=False, capture_stderr=True)
    assert done.returncode == 3
    assert time.monotonic() - began < 20


@pytest.mark.slow
@pytest.mark.parametrize("path", ["/nursery", "/forever"])
async def test_case_45_a_crowd_in_nurseries_is_ended_in_time(tmp_path: Path, path: str) -> None:
    async with command_line(APP, tmp_path, "--grace", "2s", "--max-connections", "2000") as server:
        peers = [await Peer.connect(server.port) for _ in range(900)]
        for peer in peers:
            await peer.send(b"GET %b HTTP/1.1\r\nHost: test\r\n\r\n" % path.encode())
        await trio.sleep(1.5)
        server.terminate()
        status, took = await end_of(server)
        for peer in peers:
            assert (await peer.answer()).status == 503
            peer.socket.close()
    assert status == 0
    assert took < 2 + 1 + 3, "three seconds for a machine that is busy with other things"


# -- signals that mean something else ------------------------------------------------------------


@pytest.mark.parametrize("number", [INT, TERM])
@pytest.mark.parametrize("pause", [0.0, 0.01, 0.03, 0.05, 0.15])
async def test_a_signal_that_comes_twice_is_one(tmp_path: Path, number: signal.Signals, pause: float) -> None:
    """As from `timeout`, which tells its child and then its group; also when the drain is over by then."""
    async with command_line(APP, tmp_path) as server:
        server.process.send_signal(number)
        await trio.sleep(pause)
        if server.process.returncode is None:
            server.process.send_signal(number)
        assert await server.end() == 0
        assert server.log().count("draining") == 1


@pytest.mark.skipif(shutil.which("timeout") is None, reason="there is no timeout here")
@pytest.mark.parametrize("name", ["INT", "TERM"])
async def test_timeout_drains(tmp_path: Path, name: str) -> None:
    (tmp_path / "app.py").write_text(APP)
    serve = [sys.executable, "-m", "roadrunner_trio", "serve", "app:handler", "--port", "0"]
    command = ["timeout", "--preserve-status", "-s", name, "5", *serve]  # a busy machine takes two to import
    async with running(command, tmp_path) as server:
        assert await server.end() == 0
        assert "drained: 0 finished" in server.log()


async def test_sighup_that_comes_with_sigterm_does_not_stop(tmp_path: Path) -> None:
    async with command_line(APP, tmp_path) as server:
        with await Peer.connect(server.port) as peer:
            assert (await peer.get()).body == b"hello"
            server.terminate()
            server.process.send_signal(HUP)
            assert await peer.end()
        assert await server.end() == 0


async def test_sighup_ends_nothing(tmp_path: Path) -> None:
    async with command_line(APP, tmp_path) as server:
        server.process.send_signal(HUP)
        await eventually(lambda: "SIGHUP: renewing" in server.log())
        with await Peer.connect(server.port) as peer:
            assert (await peer.get()).body == b"hello"
        server.terminate()
        assert await server.end() == 0


def test_sighup_of_a_terminal_that_closes_drains(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    serve = [sys.executable, "-m", "roadrunner_trio", "serve", "app:handler", "--port", "0"]
    master, slave = pty.openpty()
    process = subprocess.Popen(
        serve,
        cwd=tmp_path,
        stdin=slave,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(slave)
    assert process.stdout is not None
    assert b"Serving" in process.stdout.readline()
    os.close(master)
    _, log = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert b"SIGHUP: draining" in log


async def test_sigusr2_is_told_and_ignored(tmp_path: Path) -> None:
    async with command_line(APP, tmp_path) as server:
        server.process.send_signal(USR2)
        await eventually(lambda: "SIGUSR2: ignored" in server.log())
        with await Peer.connect(server.port) as peer:
            assert (await peer.get()).body == b"hello"
        server.terminate()
        assert await server.end() == 0


async def test_what_only_tells_does_not_kill_a_server_that_is_still_being_imported(tmp_path: Path) -> None:
    app = "import os, signal\nos.kill(os.getpid(), signal.SIGUSR1)\nos.kill(os.getpid(), signal.SIGUSR2)\n" + APP
    async with command_line(app, tmp_path) as server:
        server.terminate()
        assert await server.end() == 0


async def test_nor_one_that_has_ended_and_whose_interpreter_goes_down(tmp_path: Path) -> None:
    app = """
import os, signal

class Last:
    def __del__(self, kill=os.kill, me=os.getpid(), numbers=(signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP)):
        for number in numbers:
            kill(me, number)

last = Last()
"""
    async with command_line(app + APP, tmp_path) as server:
        server.terminate()
        assert await server.end() == 0


@pytest.mark.skipif(shutil.which("nohup") is None, reason="there is no nohup here")
async def test_nohup_is_heeded(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    serve = [sys.executable, "-m", "roadrunner_trio", "serve", "app:handler", "--port", "0"]
    async with running(["nohup", *serve], tmp_path) as server:
        server.process.send_signal(HUP)
        await trio.sleep(0.2)
        with await Peer.connect(server.port) as peer:
            assert (await peer.get()).body == b"hello"
        server.terminate()
        assert await server.end() == 0
        assert "SIGHUP" not in server.log()


async def test_a_forked_child_can_be_terminated_and_its_parent_goes_on(tmp_path: Path) -> None:
    async with command_line(APP, tmp_path) as server:
        with await Peer.connect(server.port) as peer:
            for _ in range(5):
                assert (await peer.get("/fork")).body == b"-15"
            assert (await peer.get()).body == b"hello"
        assert "draining" not in server.log()
        server.terminate()
        assert await server.end() == 0


# -- where there are no signals, or no default ---------------------------------------------------

IN_A_THREAD = """
import socket, threading
from roadrunner_trio import Response, run

async def handler(request):
    return Response.text("hello")

door = socket.create_server(("127.0.0.1", 0))
print(door.getsockname()[1], flush=True)
thread = threading.Thread(target=run, args=(handler, door), daemon=True)
thread.start()
thread.join(60)
"""


async def test_case_22_run_in_a_thread(tmp_path: Path) -> None:
    async with script(IN_A_THREAD, tmp_path) as server:
        with await Peer.connect(server.port) as peer:
            assert (await peer.get()).body == b"hello"
        server.terminate()
        assert await server.end() == -TERM
        # The request's own line has a thread of its own, which the signal may have ended first.
        assert all(" INFO " in line and '"GET / HTTP/1.1" 200' in line for line in server.log().splitlines())


def may_unshare() -> bool:
    """Whether this user can make a process 1."""
    command = ["unshare", "-pf", "--mount-proc", "true"]
    try:
        return subprocess.run(command, check=False, capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


@pytest.mark.slow
@pytest.mark.skipif(not may_unshare(), reason="this user may not make a process 1")
@pytest.mark.parametrize("number", [TERM, HUP, INT])
async def test_case_21_process_1_can_be_ended_while_it_imports(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "app.py").write_text(
        "import time\nopen('begun', 'w').close()\ntime.sleep(60)\nasync def handler(request): ...\n"
    )
    serve = [sys.executable, "-m", "roadrunner_trio", "serve", "app:handler", "--port", "0"]
    process = await trio.lowlevel.open_process(
        ["unshare", "-pf", "--mount-proc", *serve], cwd=tmp_path, stdout=subprocess.PIPE
    )
    await eventually((tmp_path / "begun").exists)
    children = await trio.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    os.kill(int(children), number)
    with trio.fail_after(PATIENCE):
        assert await process.wait() == 128 + number
    assert process.stdout is not None
    assert await process.stdout.receive_some() == b""
    await process.stdout.aclose()
