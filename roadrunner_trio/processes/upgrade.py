"""A supervisor that becomes a newer one: the same process, by ``exec``, with all that it has open.

The program is another then, and knows nothing but what it is told: which descriptor is what, and which child is which.
That is written into memory, of which the descriptor is inherited as well. Signals that come in between are held back by
the kernel until the new program hears them.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, Self

import trio

from . import control
from .board import Board
from .children import UPGRADE, Child, python
from .control import PULSE
from .doors import Door
from .roles import Member
from .slots import Table
from .states import Slot, State, Worker
from .supervisor import HEARD, Supervisor
from .wear import Wear

HELD: Final = "_ROADRUNNER_HELD"
"""The environment has the addresses here that are open already, for who looks whether an upgrade would start."""


def state_of(supervisor: Supervisor, doors: Sequence[Door], more: Mapping[str, Any]) -> dict[str, Any]:
    """All that the next program has to know."""
    table, board, now = supervisor.table, supervisor.board, trio.current_time()
    return {
        "doors": doors,
        "board": [board.descriptor, board.rows, board.width],
        "slots": len(table.slots),
        "last_number": table.last_number,
        "generation": table.last_generation,
        "workers": [_described(member, now) for member in supervisor.members.values() if member.child is not None],
        "more": more,
    }


def _described(member: Member, now: float) -> dict[str, Any]:
    worker, child = member.worker, member.child
    served = None if worker.served_at is None else now - worker.served_at
    return {
        "number": worker.number,
        "slot": worker.slot,
        "generation": worker.generation,
        "state": worker.state.value,
        "served": served,
        "left": worker.deadline - now if worker.deadline - now < 1e9 else None,
        "pid": child.pid if child else 0,
        "ours": child.ours if child else True,
        "near": member.near.fileno(),
        "rest": base64.b64encode(member.lines.rest).decode(),
        "row": None if member.row is None else member.row.number,
        "wear": [member.wear.requests, member.wear.lifetime, member.wear.resident],
    }


def descriptors_of(state: Mapping[str, Any]) -> list[int]:
    """Those that have to be open in the next program."""
    return [state["board"][0], *(door[1] for door in state["doors"]), *(worker["near"] for worker in state["workers"])]


def program(words: Sequence[str], command: str, *more: str) -> list[str]:
    """What runs another command of this very program, as this one was run.

    Args:
        words: what it was given.
    """
    ours, tail = sys.orig_argv, list(words)
    if tail and ours[-len(tail) :] == tail:
        return [sys.executable, *ours[1 : -len(tail)], command, *more]
    return python("roadrunner_trio", command, *more)


class Held:
    """Signals on the way from one program to the next: from now on none is lost, whenever it comes.

    The kernel holds them back for the next program, but only from the thread that asks for that. What another thread
    gets is noted in a pipe, at once and without the interpreter, and said to the next program once more.

    Attributes:
        ears: the end from which they are read.
    """

    def __init__(self) -> None:
        self.ears, self._mouth = os.pipe()
        self._before = -1

    def __enter__(self) -> Self:
        """Begins with it.

        Raises:
            ValueError: this is not the main thread.
        """
        for end in (self.ears, self._mouth):
            os.set_blocking(end, False)
        self._before = signal.set_wakeup_fd(self._mouth, warn_on_full_buffer=False)
        signal.pthread_sigmask(signal.SIG_BLOCK, HEARD)
        return self

    def __exit__(self, *exc: object) -> None:
        """There is no other program: they come as ever."""
        signal.set_wakeup_fd(self._before)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HEARD)
        os.close(self.ears)
        os.close(self._mouth)

    async def hear_out(self) -> None:
        """Returns when whoever listens has heard all that have come."""
        while True:
            queued = trio.Event()
            trio.lowlevel.current_trio_token().run_sync_soon(queued.set)  # behind those that Trio has been told of
            await queued.wait()
            for _ in range(3):
                await trio.lowlevel.checkpoint()
            try:
                os.read(self.ears, 512)
            except BlockingIOError:
                return


def _say_again(ears: int) -> None:
    """To this process, which hears them when it listens."""
    with suppress(BlockingIOError):
        for number in os.read(ears, 512):
            if number in HEARD:
                os.kill(os.getpid(), number)
    os.close(ears)


def replace(state: Mapping[str, Any], keep: Iterable[int], env: Mapping[str, str]) -> None:
    """Becomes the program that this one was started as, as it is on the disk now. Returns only if that cannot be.

    Raises:
        OSError: it cannot be executed; nothing has changed.
    """
    file = tempfile.TemporaryFile()  # noqa: SIM115  # it is to be open in the next program
    file.write(json.dumps(state).encode())
    file.flush()
    file.seek(0)
    descriptors = [file.fileno(), *keep]
    try:
        for descriptor in descriptors:
            os.set_inheritable(descriptor, True)
        command = [sys.executable, *sys.orig_argv[1:]]
        os.execve(sys.executable, command, {**env, UPGRADE: str(file.fileno())})
    except OSError:
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
        file.close()
        raise


def inherited() -> dict[str, Any] | None:
    """What the program that this process was before has left; None when it was none."""
    word = os.environ.pop(UPGRADE, "")
    if not word.isdigit():
        return None
    with open(int(word), "rb") as file:
        state: dict[str, Any] = json.load(file)
    for descriptor in descriptors_of(state):
        os.set_inheritable(descriptor, False)
    if (ears := state["more"].get("heard")) is not None:
        _say_again(ears)
    return state


def board_of(state: Mapping[str, Any], width: int) -> tuple[Board, bool]:
    """The board that there is, if it is still one of ours; else a new one, and False."""
    descriptor, rows, found = state["board"]
    if found == width:
        return Board(descriptor, rows, width), True
    os.close(descriptor)
    return Board.create(rows, width), False


def crew_of(state: Mapping[str, Any], board: Board | None, table: Table, now: float) -> list[Member]:
    """The processes that there are; the table gets their slots, and its numbers."""
    table.slots = [Slot() for _ in range(state["slots"])]
    table.last_number = state["last_number"]
    table.generation = table.before = table.last_generation = state["generation"]
    return [_member(known, board, now) for known in state["workers"]]


def _member(known: Mapping[str, Any], board: Board | None, now: float) -> Member:
    worker = Worker(known["number"], known["slot"], known["generation"], State(known["state"]), now)
    worker.served_at = None if known["served"] is None else now - known["served"]
    if known["left"] is not None:
        worker.deadline = now + known["left"]
    near = socket.socket(fileno=known["near"])
    near.setblocking(False)
    row = None
    if board is not None and known["row"] is not None:
        board.claim(known["row"])
        row = board.row(known["row"])
    child = Child(known["pid"], ours=known["ours"])
    lines = control.Lines(base64.b64decode(known["rest"]))
    return Member(worker, near, row, Wear(*known["wear"]), child, lines)


def watch(state: Mapping[str, Any]) -> int:
    """What is left to do for a program that cannot do more: those that serve are kept until somebody ends them."""
    pids = {worker["pid"] for worker in state["workers"]}
    ending = {signal.SIGTERM, signal.SIGINT}
    waited = {*ending, signal.SIGCHLD}
    signal.pthread_sigmask(signal.SIG_BLOCK, waited)
    while pids:
        heard = signal.sigtimedwait(waited, PULSE)  # of the end of those that were forked by another nobody tells
        if heard is not None and heard.si_signo in ending:
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)
        pids = set(filter(_lives, pids))
    return 1


def _lives(pid: int) -> bool:
    try:
        with suppress(ChildProcessError):
            return os.waitpid(pid, os.WNOHANG)[0] == 0
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
