"""A stand-in for the service manager: what it is told, and the sockets that it is given to keep."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import trio
from socket_tools import PATIENCE


class Manager:
    """Listens to one service."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "notify"
        self.said: list[str] = []
        self.kept: dict[str, list[int]] = {}
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self.path))
        self._socket.setblocking(False)

    def listen(self) -> None:
        """Takes what has come."""
        while True:
            try:
                data, descriptors, _, _ = socket.recv_fds(self._socket, 65536, 16)
            except BlockingIOError:
                return
            self.said.append(text := data.decode())
            lines = text.split("\n")
            if lines[0] == "FDSTORE=1":
                self.kept.setdefault(lines[1].removeprefix("FDNAME="), []).extend(descriptors)

    async def until(self, text: str, times: int = 1) -> None:
        """Waits until something has been said so often."""
        with trio.fail_after(3 * PATIENCE):
            while True:
                self.listen()
                if sum(any(line.startswith(text) for line in each.split("\n")) for each in self.said) >= times:
                    return
                await trio.sleep(0.02)

    def close(self) -> None:
        self._socket.close()
        for descriptors in self.kept.values():
            for descriptor in descriptors:
                os.close(descriptor)
        self.kept.clear()

    def start(
        self, folder: Path, *words: str, descriptors: dict[str, int] | None = None, **env: str
    ) -> subprocess.Popen:
        """Starts a service as the service manager would: descriptors from 3 on, and variables that say so."""
        passed = {} if descriptors is None else descriptors
        serve = [sys.executable, "-m", "roadrunner_trio", "serve", *words]
        moves = [f"{number}<&{descriptor}" for number, descriptor in enumerate(passed.values(), 3)]
        names = ":".join(passed)
        variables = f"LISTEN_PID=$$ LISTEN_FDS={len(passed)} LISTEN_FDNAMES='{names}'" if passed else ""
        shell = f'exec env {variables} "$0" "$@" ' + " ".join(moves)
        with (folder / "stderr").open("ab") as stderr:
            return subprocess.Popen(
                ["bash", "-c", shell, *serve],
                cwd=folder,
                env={**os.environ, "NOTIFY_SOCKET": str(self.path), **env},
                pass_fds=list(passed.values()),
                stdout=subprocess.DEVNULL,
                stderr=stderr,
            )


@contextmanager
def manager(folder: Path) -> Iterator[Manager]:
    """One for a test."""
    made = Manager(folder)
    try:
        yield made
    finally:
        made.close()
