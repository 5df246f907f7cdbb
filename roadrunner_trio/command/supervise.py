"""From settings to a supervisor: what ``serve`` does when there are to be several processes, or one that is renewed."""

from __future__ import annotations

import math
import os
import random
import signal
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Final

import trio

from ..journal import log
from ..processes.board import Board
from ..processes.children import Child, python, start
from ..processes.slots import Table
from ..processes.states import Policy, Worker
from ..processes.supervisor import Supervisor, close_all
from ..processes.wear import Wear
from ..server.shell import announce
from ..server.signals import prepare as prepare_signals
from ..telemetry.log_lines import THIS
from ..transport.bind import open_listeners
from ..transport.streams import tidy
from .configuration import Configuration, Values
from .door_options import bounds, names, places
from .operation import WIDTH, Sum, metrics_place
from .setting_table import WORKERS

WORKER: Final = "roadrunner_trio.command.worker"


def is_supervised(server: Values) -> bool:
    """Whether there is to be a supervisor.

    Raises:
        ValueError: there is not, and something is said that only one would do.
    """
    if server.has("workers"):
        return True
    for option in WORKERS:
        if server.has(option.name):
            raise ValueError(
                f"{server.where(option.name)} does nothing without {server.spell('workers', like=option.name)}"
            )
    return False


def supervise(
    configuration: Configuration,
    words: Sequence[str],
    start_logging: Callable[[Values], None],
    refuse: Callable[[str, str], int],
) -> int:
    """Supervises workers until all have ended; returns the exit status.

    Args:
        words: the command line, which is the workers', too.
        refuse: says why there is no server.

    Raises:
        OSError: an address cannot be had.
        ValueError: a setting is bad.
    """
    server = configuration.server
    THIS.call("supervisor")
    start_logging(server)
    prepare_signals(signal.SIGHUP, signal.SIGTTIN, signal.SIGTTOU)
    place = metrics_place(server)
    doors = trio.run(open_doors, configuration)
    try:
        board = Board.create(width=WIDTH if place else 0)
        metrics = Sum(place, board)
        teller = Teller(configuration, doors, refuse)
        table = Table(policy(server), random.random)
        supervisor = Supervisor(
            table,
            board,
            Spawner(words, doors, board),
            {"sockets": {name: [sock.fileno() for sock in found] for name, found in doors.items()}},
            teller,
            wear=wear(server),
            retire=metrics.retire,
            close=lambda: close_all([sock for found in doors.values() for sock in found]),
        )
        return trio.run(supervisor.run, server["workers"], partial(metrics.tell, supervisor.numbers))
    finally:
        close_all([sock for found in doors.values() for sock in found])


def policy(server: Values) -> Policy:
    """What the settings say of the life of workers."""
    return Policy(
        start_limit=server["worker-startup-timeout"],
        silence_limit=server["worker-timeout"],
        grace=server["grace"],
        delay=server["shutdown-delay"],
    )


def wear(server: Values) -> Wear:
    """When a worker has served for long enough."""
    requests, resident = server["max-requests"], server["worker-max-rss"]
    return Wear(
        math.inf if requests is None else requests,
        server["worker-lifetime"],
        math.inf if resident is None else resident,
    )


async def open_doors(configuration: Configuration) -> dict[str, list[socket.socket]]:
    """The sockets of every listener, by its name.

    Raises:
        OSError: an address cannot be had; then none is open.
        ValueError: an address is malformed.
    """
    listeners = configuration.listeners
    doors: dict[str, list[socket.socket]] = {}
    try:
        for values, name in zip(listeners, names(listeners), strict=True):
            found = await open_listeners(places(values), bounds(values)[1].backlog, reuse_port=values["reuse-port"])
            doors[name] = [sock for sock in found if isinstance(sock, socket.socket)]
    except BaseException:
        close_all([sock for found in doors.values() for sock in found])
        raise
    return doors


class Spawner:
    """Workers that are programs of their own: nothing is shared, each imports what is on the disk."""

    def __init__(self, words: Sequence[str], doors: dict[str, list[socket.socket]], board: Board) -> None:
        self._words = words
        self._doors = doors
        self._board = board
        self._folder = home()

    async def begin(self, worker: Worker, far: socket.socket) -> Child:
        """Starts one.

        Raises:
            OSError: it cannot be started.
        """
        inherited = [sock.fileno() for found in self._doors.values() for sock in found]
        command = python(WORKER, str(far.fileno()), *self._words)
        return start(command, [far.fileno(), self._board.descriptor, *inherited], folder=self._folder, env=os.environ)

    def rolled(self, generation: int) -> None:
        """There is nothing of a generation to be kept."""


def home() -> str | None:
    """The current directory by the name by which it was entered: a link to a release may lead elsewhere tomorrow."""
    name = os.environ.get("PWD", "")
    with suppress(OSError):
        if os.path.samefile(name, os.curdir):
            return name
    return None


class Teller:
    """Says how it is: to who reads standard output, and the log."""

    def __init__(
        self, configuration: Configuration, doors: dict[str, list[socket.socket]], refuse: Callable[[str, str], int]
    ) -> None:
        self._configuration = configuration
        self._doors = doors
        self._refuse = refuse
        self._up = False

    def up(self, title: str) -> None:
        """All serve: where, and what."""
        self._up = True
        many = self._configuration.server["workers"]
        by = f" by {many} worker{'s' if many > 1 else ''}"
        for values, found in zip(self._configuration.listeners, self._doors.values(), strict=True):
            for sock in found:
                announce(title, tidy(sock.getsockname()), tls=values.has("tls-cert"), by=by)

    def failed(self, message: str, report: str) -> None:
        """A worker could not start."""
        if not self._up:
            self._refuse(message, report)
        elif report:
            log.error("%s", report)

    def status(self, text: str) -> None:
        """Nobody asks."""

    def reloading(self) -> None:
        """The log has it."""

    def reloaded(self) -> None:
        """The log has it."""

    def stopping(self, seconds: float) -> None:
        """The log has it."""

    def alive(self) -> None:
        """Nobody asks."""
