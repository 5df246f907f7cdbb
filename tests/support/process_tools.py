"""Servers in processes of their own: their memory, their descriptors, their end. Every wait is bounded."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from ports import free_port
from socket_tools import PATIENCE

PROC = Path("/proc/self/statm")
needs_proc = pytest.mark.skipif(not PROC.exists(), reason="memory and descriptors are read from /proc")
PAGE = os.sysconf("SC_PAGE_SIZE")


class Server:
    """A running server process.

    Attributes:
        port: where it listens.
    """

    def __init__(self, process: trio.Process, log: Path) -> None:
        self.process = process
        self.port = 0
        self._log = log
        self._said = b""

    async def started(self, said: trio.abc.ReceiveStream) -> None:
        """Waits until it has said where it listens."""
        line = b""
        with trio.fail_after(PATIENCE):
            while (found := re.search(rb"(?:^|:)(\d+)(?: .*)?\n", line)) is None:
                piece = await said.receive_some()
                assert piece, f"the server did not start: {line!r} {self.log()}"
                line += piece
        self.port = int(found[1])
        self._said = line

    async def said(self) -> str:
        """What it has written to standard output, up to its end."""
        assert self.process.stdout is not None
        with trio.fail_after(PATIENCE):
            async for piece in self.process.stdout:
                self._said += piece
        return self._said.decode()

    def log(self) -> str:
        """What it has written to standard error."""
        return self._log.read_text()

    def memory(self) -> int:
        """Resident octets."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * PAGE

    def peak(self) -> int:
        """The most octets that were ever resident."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return 1024 * int(status.partition("VmHWM:")[2].split()[0])

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    async def end(self, seconds: float = PATIENCE) -> int:
        """Waits for its end and returns its exit status.

        Raises:
            trio.TooSlowError: it did not end in time.
        """
        with trio.fail_after(seconds):
            return await self.process.wait()


@asynccontextmanager
async def running(command: list[str], folder: Path) -> AsyncGenerator[Server]:
    """Starts a server that prints its address, or its port alone; kills it at the end if it still runs."""
    log = folder / "stderr"
    with log.open("wb") as stderr:
        process = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE, stderr=stderr, cwd=folder)
    try:
        assert process.stdout is not None
        server = Server(process, log)
        await server.started(process.stdout)
        yield server
    finally:
        if process.returncode is None:
            process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
            await process.stdout.aclose()


@asynccontextmanager
async def script(source: str, folder: Path) -> AsyncGenerator[Server]:
    """Runs a program that serves and prints its port."""
    path = folder / "server.py"
    path.write_text(source)
    async with running([sys.executable, str(path)], folder) as server:
        yield server


@asynccontextmanager
async def command_line(source: str, folder: Path, *options: str) -> AsyncGenerator[Server]:
    """``roadrunner_trio serve app:handler`` on a free port, ``source`` being ``app.py``."""
    (folder / "app.py").write_text(source)
    serve = [sys.executable, "-m", "roadrunner_trio", "serve", "app:handler", "--bind", "127.0.0.1:0"]
    async with running([*serve, "--app-dir", str(folder), *options], folder) as server:
        yield server


@asynccontextmanager
async def redirected(source: str, folder: Path, redirect: str, *options: str) -> AsyncGenerator[Server]:
    """The same, in a shell that closes or redirects its standard streams: ``"2>&-"``, ``">/dev/full"``."""
    (folder / "app.py").write_text(source)
    port = free_port()
    serve = ["-m", "roadrunner_trio", "serve", "app:handler", "--port", str(port), "--app-dir", str(folder), *options]
    async with _redirected(serve, folder, redirect, port) as server:
        yield server


@asynccontextmanager
async def redirected_script(source: str, folder: Path, redirect: str) -> AsyncGenerator[Server]:
    """A program in such a shell. It serves on the port that is its argument."""
    (folder / "server.py").write_text(source)
    port = free_port()
    async with _redirected(["server.py", str(port)], folder, redirect, port) as server:
        yield server


@asynccontextmanager
async def _redirected(arguments: list[str], folder: Path, redirect: str, port: int) -> AsyncGenerator[Server]:
    shell = ["bash", "-c", f'exec "$0" "$@" {redirect}', sys.executable, *arguments]
    env = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}  # with buffers it is harder
    with (folder / "stderr").open("wb") as stderr:
        process = await trio.lowlevel.open_process(shell, stderr=stderr, cwd=folder, env=env)
    try:
        server = Server(process, folder / "stderr")
        server.port = port
        with trio.fail_after(PATIENCE):
            while not await _listens(port):
                assert process.returncode is None, server.log()
                await trio.sleep(0.02)
        yield server
    finally:
        if process.returncode is None:
            process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


async def _listens(port: int) -> bool:
    try:
        stream = await trio.open_tcp_stream("127.0.0.1", port)
    except OSError:
        return False
    await stream.aclose()
    return True
