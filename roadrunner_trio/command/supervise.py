"""From settings to a supervisor: what ``serve`` does when there are to be several processes, or one that is renewed."""

from __future__ import annotations

import math
import os
import random
import signal
import socket
import subprocess
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final

import trio

from ..journal import log
from ..processes.board import Board
from ..processes.children import Child, python, start
from ..processes.doors import Doors, pool_of
from ..processes.slots import Table
from ..processes.states import Policy, Worker
from ..processes.supervisor import Supervisor
from ..processes.upgrade import board_of, crew_of, descriptors_of, inherited, replace, state_of, watch
from ..processes.wear import Wear
from ..processes.zygote import Preloader
from ..server.shell import announce
from ..server.signals import prepare as prepare_signals
from ..telemetry.log_lines import THIS
from ..transport.streams import tidy
from .configuration import Configuration, Values
from .door_options import bounds, names, places
from .operation import WIDTH, Sum, metrics_place
from .process_options import WORKERS

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
    prepare_signals(signal.SIGUSR1, signal.SIGUSR2, signal.SIGTTIN, signal.SIGTTOU)
    state = inherited()
    try:
        return trio.run(run, configuration, words, refuse, state)
    except (OSError, ValueError, LookupError, TypeError) as exc:
        if state is None:
            raise
        log.critical("the upgrade has failed: workers serve on, and nobody replaces them", exc_info=exc)
        return watch(state)


async def run(
    configuration: Configuration,
    words: Sequence[str],
    refuse: Callable[[str, str], int],
    state: dict[str, Any] | None,
) -> int:
    """Opens the doors, or takes them over, and supervises."""
    server = configuration.server
    doors = Doors({} if state is None else pool_of(state["doors"]))
    try:
        await open_doors(configuration, doors)
        place = metrics_place(server)
        width = WIDTH if place else 0
        board, known = (Board.create(width=width), False) if state is None else board_of(state, width)
        metrics = Sum(place, board)
        table = Table(policy(server), random.random)
        crew = [] if state is None else crew_of(state, board if known else None, table, trio.current_time())
        spawner, assignment = Spawner(words, doors, board), {"sockets": doors.descriptors()}
        preloader = Preloader(spawner.start, assignment, table.policy.start_limit) if server["preload"] else None
        supervisor = Supervisor(
            table,
            board,
            preloader or spawner,
            assignment,
            Teller(configuration, doors, refuse, up=state is not None),
            wear=wear(server),
            retire=metrics.retire,
            close=doors.close,
            upgrade=partial(upgrade, words, partial(become, doors, server["workers"], preloader)),
        )
        doors.close_unwanted()
        count: int = server["workers"]
        if state is not None and state["more"]["workers"] == count:
            count = state["slots"]  # which somebody may have changed by a signal
        services: list[Callable[[], Awaitable[object]]] = [partial(metrics.tell, supervisor.numbers)]
        if preloader is not None:
            services.append(preloader.run)
        if state is not None:
            services += [Child(pid).wait for pid in state["more"]["zygotes"]]
        return await supervisor.run(count, *services, adopted=crew)
    finally:
        doors.close()


async def upgrade(words: Sequence[str], become: Callable[[Supervisor], None], supervisor: Supervisor) -> None:
    """Becomes the program that is on the disk now, if that would start."""
    log.info("SIGUSR2: upgrading")
    table = supervisor.table
    with trio.move_on_after(table.policy.start_limit):
        verdict = await trio.run_process(
            python("roadrunner_trio", "check", *words[1:], "--no-bind"),
            stdin=subprocess.DEVNULL,
            capture_stdout=True,
            capture_stderr=True,
            check=False,
        )
        if verdict.returncode != 0:
            log.error("not upgraded, for it would not start: %s", verdict.stderr.decode("utf-8", "replace").strip())
            return
        await supervisor.settled()
        if not table.stopping:
            become(supervisor)
        return
    log.error("not upgraded, for nothing has come of it in %g s", table.policy.start_limit)


def become(doors: Doors, workers: int, preloader: Preloader | None, supervisor: Supervisor) -> None:
    """Becomes the next program. Nothing else has a turn before that."""
    zygotes = [] if preloader is None else preloader.pids
    state = state_of(supervisor, doors.state(), {"workers": workers, "zygotes": zygotes})
    if (folder := home()) is not None:
        os.chdir(folder)
    try:
        replace(state, descriptors_of(state), os.environ)
    except OSError as exc:
        log.error("not upgraded: %s", exc)


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


async def open_doors(configuration: Configuration, doors: Doors) -> None:
    """The sockets of every listener.

    Raises:
        OSError: an address cannot be had.
        ValueError: an address is malformed.
    """
    listeners = configuration.listeners
    for values, name in zip(listeners, names(listeners), strict=True):
        await doors.open(name, places(values), bounds(values)[1].backlog, reuse_port=values["reuse-port"])


class Spawner:
    """Begins programs of this one's kind: a worker, or one that forks workers."""

    def __init__(self, words: Sequence[str], doors: Doors, board: Board) -> None:
        self._words = words
        self._doors = doors
        self._board = board
        self._folder = home()

    def start(self, far: socket.socket) -> Child:
        """Begins one, whose end of the talk is given.

        Raises:
            OSError: it cannot be begun.
        """
        passed = [far.fileno(), self._board.descriptor, *(sock.fileno() for _, _, sock in self._doors)]
        return start(python(WORKER, str(far.fileno()), *self._words), passed, folder=self._folder, env=os.environ)

    async def begin(self, worker: Worker, far: socket.socket) -> Child:
        """Begins a worker: nothing is shared, each imports what is on the disk.

        Raises:
            OSError: it cannot be begun.
        """
        return self.start(far)

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
        self, configuration: Configuration, doors: Doors, refuse: Callable[[str, str], int], *, up: bool = False
    ) -> None:
        self._configuration = configuration
        self._doors = doors
        self._refuse = refuse
        self._up = up

    def up(self, title: str) -> None:
        """All serve: where, and what."""
        self._up = True
        many = self._configuration.server["workers"]
        by = f" by {many} worker{'s' if many > 1 else ''}"
        listeners = self._configuration.listeners
        encrypted = {name: values.has("tls-cert") for name, values in zip(names(listeners), listeners, strict=True)}
        for listener, _, sock in self._doors:
            announce(title, tidy(sock.getsockname()), tls=encrypted[listener], by=by)

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
