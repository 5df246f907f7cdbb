"""Workers that are forked from one that has imported the application: they share its memory until one writes to it.

The process that forks runs no loop and no thread. It imports, moves all objects out of the sight of the garbage
collector (which would write to each, and so copy all of that memory into every worker), and then waits to be told
"fork", and for the ends of its children, which it passes on. When nobody can tell it any more, it ends after the last
of them.

Here are both sides: :func:`incubate` in that process, and :class:`Preloader` in the supervisor.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Final

import trio

from ..journal import log
from ..server.signals import not_yet
from . import control
from .children import UNKNOWN, Child, ended
from .control import Lines, tell
from .roles import StartError
from .states import Worker

HARMLESS: Final = "log to descriptor"
"""How the names of threads of ours begin, which know of forks."""
LAST_WORD: Final = 1.0
"""Seconds for the status of a worker to come from who has forked it."""


# -- in the process that forks -------------------------------------------------------------------


def obstacles() -> list[str]:
    """What keeps this process from being forked, in words: threads, which would be missing in the copies."""
    main = threading.main_thread()
    return [each.name for each in threading.enumerate() if each is not main and HARMLESS not in each.name]


def incubate(line: socket.socket) -> socket.socket | None:
    """Forks whenever it is told to.

    Returns:
        In each child, its own end of the talk with the supervisor; None in the process itself, at its end.
    """
    gc.collect()
    gc.freeze()
    ears, mouth = os.pipe()
    os.set_blocking(mouth, False)
    os.set_blocking(ears, False)
    before = signal.signal(signal.SIGCHLD, not_yet)
    interrupt = signal.signal(signal.SIGINT, not_yet)  # a terminal's, for all: the supervisor says what comes of it
    signal.set_wakeup_fd(mouth, warn_on_full_buffer=False)
    found = _fork_on_demand(line, ears)
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, before)
    signal.signal(signal.SIGINT, interrupt)
    os.close(ears)
    os.close(mouth)
    line.close()
    return found


def _fork_on_demand(line: socket.socket, ears: int) -> socket.socket | None:
    children: set[int] = set()
    poll = select.poll()
    poll.register(line, select.POLLIN)
    poll.register(ears, select.POLLIN)
    told = True
    while told or children:
        for descriptor, _ in poll.poll():
            if descriptor == ears:
                with suppress(BlockingIOError):
                    os.read(ears, 512)
                for pid, status in _reaped(children):
                    tell(line, exited=pid, status=status)
                continue
            data, descriptors = _received(line)
            if not data:
                told = False
                poll.unregister(line)
            for message, far in zip(Lines().feed(data), map(_owned, descriptors), strict=False):
                if _fork(line, children, message):
                    return far
                far.close()
    return None


def _fork(line: socket.socket, children: set[int], message: dict[str, Any] | str) -> bool:
    """Makes a copy of this process, and tells what has come of it; whether this is the copy."""
    number = message["fork"] if isinstance(message, dict) else 0
    try:
        pid = os.fork()
    except OSError as exc:
        tell(line, refused=number, why=f"there is no process to be had: {exc}")
        return False
    if pid:
        children.add(pid)
        tell(line, forked=number, pid=pid)
    return pid == 0


def _received(line: socket.socket) -> tuple[bytes, list[int]]:
    """What has come; nothing, and no descriptor, when nobody is there any more, however that has come about."""
    try:
        return socket.recv_fds(line, control.RECEIVE, 1)[:2]
    except OSError:
        return b"", []


def _owned(descriptor: int) -> socket.socket:
    return socket.socket(fileno=descriptor)


def _reaped(children: set[int]) -> Iterator[tuple[int, int]]:
    for pid in list(children):
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            children.discard(pid)
            yield pid, os.waitstatus_to_exitcode(status)


# -- in the supervisor ---------------------------------------------------------------------------


class Forked(Child):
    """A worker that is a child of another process, which tells how it has ended."""

    def __init__(self, pid: int, zygote: Zygote) -> None:
        super().__init__(pid, ours=False)
        self._zygote = zygote

    async def wait(self) -> int:
        """As a child's of our own, if anybody says so."""
        if self.status is None and not self.has_descriptor:  # nobody else knows when it ends
            return await self._zygote.status_of(self.pid)
        status = await super().wait()
        with trio.move_on_after(LAST_WORD):
            return await self._zygote.status_of(self.pid)
        return status


class Zygote:
    """One process that forks, for one generation."""

    def __init__(self, child: Child, line: socket.socket) -> None:
        self.child = child
        self.line = line
        self.title = ""
        self.ready = trio.Event()
        self.failed: tuple[str, str] | None = None
        self.over = False
        self.wanted = 0
        """Who waits for it now."""
        self._changed = trio.Event()
        self._forked: dict[int, int] = {}
        self._refused: dict[int, str] = {}
        self._statuses: dict[int, int] = {}

    async def run(self) -> None:
        """Listens to it until it has ended."""
        lines = Lines()
        while True:
            await trio.lowlevel.wait_readable(self.line)
            try:
                data = self.line.recv(control.RECEIVE)
                for message in lines.feed(data):
                    if isinstance(message, dict):
                        self._hear(message)
            except BlockingIOError:
                continue
            except (OSError, ValueError):
                data = b""
            if not data:
                break
        status = await self.child.wait()
        self.failed = self.failed or (f"the process that imports the application {ended(status)}", "")
        self.over = True
        self._wake()

    def _hear(self, message: dict[str, Any]) -> None:
        match message:
            case {"ready": str(title)}:
                self.title = title
            case {"failed": str(text), "report": str(report)}:
                self.failed = text, report
            case {"forked": int(number), "pid": int(pid)}:
                self._forked[number] = pid
            case {"refused": int(number), "why": str(why)}:
                self._refused[number] = why
            case {"exited": int(pid), "status": int(status)}:
                self._statuses[pid] = status
            case _:
                log.error("what forks workers says what nobody understands: %r", message)
        self._wake()

    def _wake(self) -> None:
        if self.title or self.failed:
            self.ready.set()
        self._changed.set()
        self._changed = trio.Event()

    async def fork(self, number: int, far: socket.socket) -> Child:
        """One more worker.

        Raises:
            StartError: it has ended, or cannot fork.
            OSError: it does not listen.
        """
        socket.send_fds(self.line, [control.encode(fork=number)], [far.fileno()])
        while number not in self._forked:
            if self.failed:
                raise StartError(*self.failed)
            if why := self._refused.pop(number, ""):
                raise StartError(why)
            await self._changed.wait()
        return Forked(self._forked.pop(number), self)

    async def status_of(self, pid: int) -> int:
        """How a worker has ended, when it has; unknown once nobody is there who could tell."""
        while pid not in self._statuses:
            if self.over:
                return UNKNOWN
            await self._changed.wait()
        return self._statuses.pop(pid)


class Preloader:
    """Workers that are forked: see :class:`~.roles.Forge`.

    Args:
        start: begins a process that forks, whose end of the talk is given.
        limit: seconds that it may take to import.
    """

    def __init__(self, start: Callable[[socket.socket], Child], assignment: dict[str, Any], limit: float) -> None:
        self._start = start
        self._assignment = assignment
        self._limit = limit
        self._zygotes: dict[int, Zygote] = {}
        self._begun: list[Zygote] = []
        self._open = trio.Event()
        self._nursery: trio.Nursery

    @property
    def pids(self) -> list[int]:
        """The processes that fork, which a successor has to wait for."""
        return [zygote.child.pid for zygote in self._begun if zygote.child.status is None]

    async def run(self) -> None:
        """Listens to all of them; at the end they are let go, and end after their children."""
        try:
            async with trio.open_nursery() as self._nursery:
                self._open.set()
                await trio.sleep_forever()
        finally:
            for zygote in self._begun:
                zygote.line.close()
                if not zygote.ready.is_set():
                    zygote.child.send(signal.SIGTERM)  # it would see that nobody is there when it has imported all
            for last in (False, True):
                with trio.move_on_after(LAST_WORD, shield=True):
                    for zygote in self._begun:
                        if last:  # it does not listen, and has nobody left to wait for
                            zygote.child.send(signal.SIGKILL)
                        await zygote.child.wait()

    async def begin(self, worker: Worker, far: socket.socket) -> Child:
        """Forks one.

        Raises:
            StartError: the application cannot be imported, or its process has ended.
            OSError: there is no such process to be had.
        """
        await self._open.wait()
        zygote = self._zygotes.get(worker.generation)
        if zygote is None or (zygote.failed and zygote.ready.is_set()):
            zygote = self._zygotes[worker.generation] = self._new(worker.generation)
        zygote.wanted += 1
        try:
            with trio.move_on_after(self._limit):
                await zygote.ready.wait()
                if zygote.failed:
                    raise StartError(*zygote.failed)
                return await zygote.fork(worker.number, far)
        finally:
            zygote.wanted -= 1
            if not zygote.wanted and not zygote.ready.is_set():
                self._abandon(zygote)
        zygote.child.send(signal.SIGKILL)
        raise StartError(f"importing the application has not ended in {self._limit:g} s")

    def _abandon(self, zygote: Zygote) -> None:
        """Nobody waits for it to import any more: a newer one is there, or the end."""
        for generation in [each for each, known in self._zygotes.items() if known is zygote]:
            del self._zygotes[generation]
        zygote.child.send(signal.SIGKILL)

    def _new(self, generation: int) -> Zygote:
        near, far = control.pair()
        with far:
            tell(near, **self._assignment, zygote=True, number=0, slot=0, generation=generation, board=None)
            zygote = Zygote(self._start(far), near)
        self._begun.append(zygote)
        self._nursery.start_soon(self._attend, zygote, name=f"preloaded application, generation {generation}")
        return zygote

    async def _attend(self, zygote: Zygote) -> None:
        await zygote.run()
        zygote.line.close()
        zygote.child.close()
        self._begun.remove(zygote)

    def rolled(self, generation: int) -> None:
        """Those of other generations end after their children."""
        for other in [each for each in self._zygotes if each != generation]:
            with suppress(OSError):  # it has ended already
                self._zygotes.pop(other).line.shutdown(socket.SHUT_WR)
