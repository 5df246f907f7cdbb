"""A machine that is short of buffers, memory or descriptors, a disk that stalls, a clock that jumps."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import trio
from process_tools import running
from socket_tools import Cut, Peer, eventually, serving

import roadrunner_trio as rr
from roadrunner_trio.transport import files, poller

BODY = bytes(range(256)) * 1200
POST = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n"


async def hello(request: rr.Request) -> rr.Response:
    return rr.Response("hello")


SHORT = """
import trio, roadrunner_trio as rr

async def handler(request):
    return rr.Response.json({"active": listener.info().active})

listener = rr.Listener(handler, bind="127.0.0.1:0", timeouts=rr.Timeouts(linger=1, keep_alive=2))

async def main():
    async with trio.open_nursery() as nursery:
        await nursery.start(listener.serve)
        print(listener.port, flush=True)

trio.run(main)
"""


def may_trace() -> bool:
    """Whether strace is there and allowed to change what system calls return."""
    if shutil.which("strace") is None:
        return False
    command = ["strace", "-f", "-o", "/dev/null", "-e", "inject=getpid:error=ENOMEM", "true"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


FAULTS = [
    "accept4:error=ENOBUFS:when=2+3",
    "accept4:error=EMFILE:when=2+3",
    "accept4:error=ECONNABORTED:when=2+3",
    "recvfrom:error=ENOMEM:when=2+4",
    "recvfrom:error=ETIMEDOUT:when=2+4",
    "sendto:error=ENOBUFS:when=2+4",
    "sendto:error=EPIPE:when=2+4",
]


@pytest.mark.slow
@pytest.mark.skipif(not may_trace(), reason="strace is not here, or not allowed to inject errors")
@pytest.mark.parametrize("fault", FAULTS)
async def test_system_calls_that_fail(fault, tmp_path):
    """Some connections suffer; the server, and those that come later, do not."""
    path = tmp_path / "server.py"
    path.write_text(SHORT)
    trace = ["strace", "-f", "-o", str(tmp_path / "trace"), "-e", f"trace={fault.partition(':')[0]}", "-e"]
    async with running([*trace, f"inject={fault}", sys.executable, str(path)], tmp_path) as server:
        answered = 0
        for _ in range(15):
            try:
                with trio.fail_after(10), await Peer.connect(server.port) as peer:
                    answered += (await peer.get(fields="Connection: close\r\n")).status == 200
            except (OSError, Cut):
                pass
        found: dict[str, int] = {}
        for _ in range(100):
            try:
                with trio.fail_after(10), await Peer.connect(server.port) as peer:
                    found = json.loads((await peer.get()).body)
            except (OSError, Cut):
                continue
            if found["active"] == 1:
                break
            await trio.sleep(0.05)
        assert answered >= 4
        assert found["active"] == 1, "it holds none of them"
        assert "INJECTED" in (tmp_path / "trace").read_text()
        assert server.process.returncode is None
        assert "Traceback" not in server.log()
        pid = only_child(server.process.pid)
        assert len(os.listdir(f"/proc/{pid}/fd")) < 20
        os.kill(pid, signal.SIGKILL)


def only_child(pid: int) -> int:
    """What strace runs."""
    (child,) = map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    return child


async def test_a_connection_that_cannot_be_watched_is_closed_and_the_next_is_served(monkeypatch):
    """epoll has no memory for another one."""
    if not poller.AVAILABLE:
        pytest.skip("there is no epoll here")
    watch = poller.Poller.watch
    fails = iter([True, True, False])

    def short(self, sock, watched):
        if next(fails, False):
            raise OSError(errno.ENOMEM, "no memory")
        watch(self, sock, watched)

    monkeypatch.setattr(poller.Poller, "watch", short)
    async with serving(hello) as listener:
        for _ in range(2):
            with await Peer.connect(listener.port) as peer, pytest.raises((OSError, Cut)):
                await peer.get()
        with await Peer.connect(listener.port) as peer:
            assert (await peer.get()).status == 200
            assert listener.info().active == 1


# -- a disk that stalls, a clock that jumps ------------------------------------------------------


@pytest.fixture
def stalled(monkeypatch):
    """Reads from disk wait until this is set; nothing is in the page cache."""
    free = threading.Event()
    read = files.OpenFile._read

    def slow(self, offset, count):
        free.wait(20)
        return read(self, offset, count)

    monkeypatch.setattr(files.OpenFile, "_read", slow)
    monkeypatch.setattr(files.OpenFile, "is_cached", lambda self, offset, count: False)
    yield free
    free.set()


async def test_a_disk_that_stalls_holds_up_nobody_else(stalled, tmp_path):
    (tmp_path / "file").write_bytes(BODY)

    async def serve(request: rr.Request) -> rr.AnyResponse:
        return rr.FileResponse(tmp_path / "file") if request.path == "/file" else rr.Response("hello")

    async with serving(serve) as listener:
        with await Peer.connect(listener.port) as slow:
            await slow.send(b"GET /file HTTP/1.1\r\nHost: h\r\n\r\n")
            await eventually(lambda: len(listener.connections()) == 1)
            for _ in range(20):
                with await Peer.connect(listener.port) as peer:
                    assert (await peer.get()).body == b"hello"
            stalled.set()
            assert (await slow.answer()).body == BODY


async def test_a_drain_does_not_wait_for_a_disk_that_stalls(stalled, tmp_path):
    (tmp_path / "file").write_bytes(BODY)

    async def serve(request: rr.Request) -> rr.FileResponse:
        return rr.FileResponse(tmp_path / "file")

    async with serving(serve) as listener:
        with await Peer.connect(listener.port) as peer:
            await peer.send(b"GET /file HTTP/1.1\r\nHost: h\r\n\r\n")
            await eventually(lambda: [each.phase for each in listener.connections()] == ["in the handler"])
            began = time.monotonic()
            outcome = await listener.drain(grace=0.3)
            assert time.monotonic() - began < 5
            assert (outcome.cut, outcome.stuck) == (1, 0)


@pytest.mark.parametrize("step", [-86400.0, 86400.0])
async def test_a_clock_that_jumps_changes_dates_and_nothing_else(step, monkeypatch):
    times = rr.Timeouts(keep_alive=60, request=60, body=60, handler=60)
    async with serving(hello, timeouts=times, rate_limit=rr.RateLimit(100)) as listener:
        with await Peer.connect(listener.port) as peer, await Peer.connect(listener.port) as other:
            before = (await peer.get()).header("date")
            await other.send(POST[:30])
            now = time.time
            monkeypatch.setattr(time, "time", lambda: now() + step)
            await trio.sleep(0.05)
            answer = await peer.get()
            assert answer.status == 200
            assert answer.header("date") != before
            await other.send(POST[30:] + bytes(100_000))
            assert (await other.answer()).status == 200
            assert listener.info().active == 2
