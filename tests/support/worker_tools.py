"""Servers of several processes, seen from outside: who answers, who is there, what was lost."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import trio
from process_tools import Server
from socket_tools import PATIENCE, Cut, Peer

APP = """
import os, signal, time, trio
from roadrunner_trio import Response

async def handler(request):
    if request.path == "/block":
        time.sleep(float(request.query["for"]))
    if request.path == "/kill":
        os.kill(os.getpid(), int(request.query["by"]))
    if request.path == "/wait":
        await trio.sleep(float(request.query["for"]))
    return Response.text(str(os.getpid()))
"""


def children(pid: int) -> list[int]:
    """The processes that another has begun, and that live."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return sorted(int(each) for each in found if not gone(int(each)))


def gone(pid: int) -> bool:
    """Whether there is no such process any more, or only what its parent has not asked for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


async def until(condition: Callable[[], bool], seconds: float = 3 * PATIENCE) -> None:
    """Waits until it is so."""
    with trio.fail_after(seconds):
        while not condition():  # noqa: ASYNC110
            await trio.sleep(0.05)


async def ask(port: int, path: str = "/") -> str:
    """One request on a connection of its own."""
    with await Peer.connect(port) as peer:
        await peer.send(f"GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n".encode())
        answer = await peer.answer()
        assert answer.status == 200
        return answer.body.decode()


async def answering(port: int, times: int = 40) -> set[int]:
    """The processes that answer, several being asked at a time."""
    found: set[int] = set()

    async def one() -> None:
        found.add(int(await ask(port, "/wait?for=0.05")))

    async with trio.open_nursery() as nursery:
        for _ in range(times):
            nursery.start_soon(one)
    return found


def descriptors(pid: int) -> Counter[str]:
    """What a process has open, by kind."""
    folder = Path(f"/proc/{pid}/fd")
    kinds: Counter[str] = Counter()
    for each in os.listdir(folder):
        try:
            kinds[os.readlink(folder / each).partition(":")[0]] += 1
        except FileNotFoundError:
            continue
    return kinds


@dataclass
class Load:
    """Clients that ask all the time, and what they did not get.

    A client of ``kept`` connections does what every client does: it asks again when one that it kept was closed before
    anything of an answer had come (RFC 9110 section 9.2.2).
    """

    port: int
    kept: bool
    answered: int = 0
    again: int = 0
    lost: list[str] = field(default_factory=list)

    async def run(self) -> None:
        peer: Peer | None = None
        try:
            while True:
                fresh = peer is None
                try:
                    peer = peer or await Peer.connect(self.port)
                    close = "" if self.kept else "Connection: close\r\n"
                    await peer.send(f"GET / HTTP/1.1\r\nHost: test\r\n{close}\r\n".encode())
                    answer = await peer.answer()
                except (Cut, OSError) as exc:
                    if fresh or (isinstance(exc, Cut) and exc.received):
                        self.lost.append(repr(exc))
                    else:
                        self.again += 1
                    peer = forget(peer)
                    continue
                if answer.status == 200:
                    self.answered += 1
                else:
                    self.lost.append(str(answer.status))
                if not self.kept or answer.header("connection") == "close":
                    peer = forget(peer)
        finally:
            forget(peer)


def forget(peer: Peer | None) -> None:
    """Closes a connection."""
    if peer is not None:
        peer.socket.close()


def workers(server: Server) -> list[int]:
    """The processes that a supervisor has begun."""
    return children(server.process.pid)
