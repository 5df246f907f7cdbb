"""From settings to a supervisor: what ``serve`` does when there are to be several processes, or one that is renewed."""

from __future__ import annotations

import json
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

from ..errors import StartupError
from ..journal import log
from ..processes.board import Board
from ..processes.children import Child, ended, python, start
from ..processes.doors import Doors, pool_of
from ..processes.roles import Member
from ..processes.slots import Table
from ..processes.states import Policy, Worker
from ..processes.supervisor import Supervisor
from ..processes.systemd import SCHEME, SERVICE
from ..processes.upgrade import (
    HELD,
    Held,
    board_of,
    crew_of,
    descriptors_of,
    inherited,
    program,
    replace,
    state_of,
    watch,
)
from ..processes.watching import watch as watch_files
from ..processes.watching import watcher
from ..processes.wear import Wear
from ..processes.zygote import Preloader
from ..server.shell import announce
from ..server.signals import prepare as prepare_signals
from ..telemetry.log_lines import THIS
from ..transport.bind import FD, parse_descriptor
from ..transport.streams import tidy
from .configuration import Configuration, Values
from .door_options import bounds, names, opened, places
from .explain import explain
from .operation import WIDTH, Sum, metrics_place
from .option import Option
from .process_options import RELOADING, WORKERS
from .window import show_workers, window_place

WORKER: Final = "roadrunner_trio.command.worker"
BRIEF: Final = 0.5
"""Seconds for those that are replaced because a file has changed: whoever holds a stream open has it open again."""


NO_SUPERVISOR: Final = (
    "there are no workers any more, by the settings, and so no supervisor that could go on: restart it"
)


def is_supervised(server: Values) -> bool:
    """Whether there is to be a supervisor.

    Raises:
        ValueError: there is not, and something is said that only one would do.
    """
    reloads = server["reload"] or server["dev"]
    for option in RELOADING[1:3]:
        if server.has(option.name) and not reloads:
            raise _useless(server, option, "reload")
    if server.has("workers") or reloads:
        return True
    for option in WORKERS:
        if server.has(option.name):
            raise _useless(server, option, "workers")
    return False


def _useless(server: Values, option: Option, needed: str) -> ValueError:
    return ValueError(f"{server.where(option.name)} does nothing without {server.spell(needed, like=option.name)}")


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
    except (StartupError, OSError, ValueError) as exc:
        if state is None and isinstance(exc, StartupError):
            return refuse(str(exc), "")
        if state is None:
            raise
        why = explain(exc) if isinstance(exc, OSError) and exc.filename else str(exc)
        log.critical("the upgrade has failed, so workers serve on, and nobody replaces them: %s", why)
        return watch(state)
    except (LookupError, TypeError) as exc:  # what the program before this one has left is not what it should be
        if state is None:
            raise
        log.critical("the upgrade has failed, so workers serve on, and nobody replaces them", exc_info=exc)
        return watch(state)


async def run(
    configuration: Configuration,
    words: Sequence[str],
    refuse: Callable[[str, str], int],
    state: dict[str, Any] | None,
) -> int:
    """Opens the doors, or takes them over, and supervises."""
    server = configuration.server
    doors, folder = Doors(pool_of(kept() if state is None else state["doors"]), opened), home()
    serves = False
    try:
        await open_doors(configuration, doors)
        place, window = metrics_place(server), window_place(server)
        table = Table(policy(server), random.random)
        board, crew = company(state, table, WIDTH if place else 0)
        metrics = Sum(place, board)
        spawner, assignment = Spawner(words, doors, board, folder), {"sockets": doors.descriptors()}
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
            upgrade=partial(upgrade, words, folder, doors, partial(become, doors, server, preloader, folder)),
        )
        beside = services(server, preloader, supervisor, state)
        serves = True
        doors.close_unwanted()
        beside.append(partial(metrics.tell, supervisor.numbers))
        if window is not None:
            beside.append(partial(show_workers, window, supervisor))
        return await supervisor.run(count_of(server, state), *beside, adopted=crew)
    finally:
        if state is not None and not serves:
            doors.leave_open()  # to those who serve on
        doors.close()


def kept() -> list[tuple[str, int]]:
    """The sockets that the service manager has kept, as a predecessor would have left them."""
    return [(key, descriptor) for key, found in SERVICE.kept.items() for descriptor in found]


def company(state: dict[str, Any] | None, table: Table, width: int) -> tuple[Board, list[Member]]:
    """The board, and the processes of a predecessor."""
    if state is None:
        return Board.create(width=width), []
    board, known = board_of(state, width)
    return board, crew_of(state, board if known else None, table, trio.current_time())


def count_of(server: Values, state: dict[str, Any] | None) -> int:
    """How many workers there are to be: as many as before an upgrade, if the setting has not changed since."""
    count: int = server["workers"] or 1
    if state is not None and state["more"]["workers"] == count:
        count = state["slots"]  # which somebody may have changed by a signal
    return count


def services(
    server: Values, preloader: Preloader | None, supervisor: Supervisor, state: dict[str, Any] | None
) -> list[Callable[[], Awaitable[object]]]:
    """What runs beside: who imports, who waits for those that have imported, and who watches files.

    Raises:
        StartupError: nothing is there that could watch.
    """
    found: list[Callable[[], Awaitable[object]]] = [] if preloader is None else [preloader.run]
    if state is not None:
        found += [Child(pid).wait for pid in state["more"]["zygotes"]]
    if (folders := watched(server)) is not None:
        found.append(partial(watch_files, folders, server["reload-include"] or [], supervisor.roll))
    return found


def watched(server: Values) -> list[str] | None:
    """The folders in which files are to be watched; None if none are.

    Raises:
        StartupError: one is not there, or nothing that could watch.
    """
    if not (server["reload"] or server["dev"]):
        return None
    watcher()
    folders: list[str] = server["reload-dir"] or [server["app-dir"]]
    if missing := [folder for folder in folders if not os.path.isdir(folder)]:
        raise StartupError(f"{server.where('reload-dir')}: there is no directory {missing[0]}")
    return folders


async def upgrade(
    words: Sequence[str],
    folder: str | None,
    doors: Doors,
    become: Callable[[Supervisor, int], None],
    supervisor: Supervisor,
) -> None:
    """Becomes the program that is on the disk now, if that would start: where it was started, and as it was."""
    log.info("SIGUSR2: upgrading")
    table = supervisor.table
    with trio.move_on_after(table.policy.start_limit):
        verdict = await trio.run_process(
            program(words, "check", *words[1:], "--no-bind"),
            stdin=subprocess.DEVNULL,
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            cwd=folder,
            env={**os.environ, HELD: json.dumps([key for _, key, _ in doors])},
        )
        if verdict.returncode != 0:
            why = verdict.stderr.decode("utf-8", "replace").strip() or f"who looked {ended(verdict.returncode)}"
            log.error("not upgraded, for it would not start: %s", why)
            return
        await supervisor.settled()
        with Held() as held:
            await held.hear_out()
            if table.calm and not table.stopping:
                become(supervisor, held.ears)
            elif not table.stopping:
                log.error("not upgraded, for workers are being renewed again")
        return
    log.error("not upgraded, for nothing has come of it in %g s", table.policy.start_limit)


def become(
    doors: Doors, server: Values, preloader: Preloader | None, folder: str | None, supervisor: Supervisor, ears: int
) -> None:
    """Becomes the next program. Nothing else has a turn before that."""
    zygotes = [] if preloader is None else preloader.pids
    more = {"workers": server["workers"] or 1, "zygotes": zygotes, "heard": ears}
    state = state_of(supervisor, doors.state(), more)
    if folder is not None:
        os.chdir(folder)
    metrics: str = server["metrics"] or ""
    passed = {ears, *SERVICE.passed, *([parse_descriptor(metrics)] if metrics.startswith(FD) else [])}
    try:
        replace(state, passed.union(descriptors_of(state)), {**os.environ, **SERVICE.variables})
    except OSError as exc:
        log.error("not upgraded: %s", exc)


def would_upgrade(configuration: Configuration) -> None:
    """Looks whether a supervisor that runs could become one by these settings; does nothing where nobody asks for it.

    Raises:
        OSError: an address cannot be had, of those that it has not.
        ValueError: there would be no supervisor.
    """
    if (held := os.environ.pop(HELD, None)) is None:
        return
    if not is_supervised(configuration.server):
        raise ValueError(NO_SUPERVISOR)
    known = {*json.loads(held)}
    trio.run(try_doors, configuration, known)


async def try_doors(configuration: Configuration, known: set[str]) -> None:
    """Opens those that are not known, and closes them again.

    Raises:
        OSError: an address cannot be had.
        ValueError: an address is malformed.
    """
    doors = Doors({})
    try:
        for at, values in enumerate(configuration.listeners):
            if not values.place() and any(each.startswith(FD) for each in known):
                continue  # those that the service manager has opened, which is not asked for them once more
            new = [each for each in places(values) if not str(each).startswith((FD, SCHEME)) and str(each) not in known]
            await doors.open(str(at), new, 1, reuse_port=values["reuse-port"])
    finally:
        doors.close()


def policy(server: Values) -> Policy:
    """What the settings say of the life of workers."""
    reloads = server["reload"] or server["dev"]
    return Policy(
        start_limit=server["worker-startup-timeout"],
        silence_limit=server["worker-timeout"],
        grace=BRIEF if reloads and not server.has("grace") else server["grace"],
        delay=server["shutdown-delay"],
        give_up=server["give-up"],
        patient=reloads,
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


def kept_doors(configuration: Configuration) -> Doors | None:
    """The sockets of one process alone, if the service manager keeps them for the next; else listeners open their own.

    Raises:
        OSError: an address cannot be had.
        ValueError: an address is malformed.
    """
    if not SERVICE.keeps(os.environ):
        return None
    doors = Doors(pool_of(kept()), opened)
    trio.run(open_doors, configuration, doors)
    doors.close_unwanted()
    doors.leave_open()
    return doors


class Spawner:
    """Begins programs of this one's kind: a worker, or one that forks workers."""

    def __init__(self, words: Sequence[str], doors: Doors, board: Board, folder: str | None) -> None:
        self._words = words
        self._doors = doors
        self._board = board
        self._folder = folder

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
        server, listeners = self._configuration.server, self._configuration.listeners
        many: int | None = server["workers"]
        by = "" if many is None else f" by {many} worker{'s' if many > 1 else ''}"
        encrypted = {name: values.has("tls-cert") for name, values in zip(names(listeners), listeners, strict=True)}
        for listener, _, sock in self._doors:
            announce(title, tidy(sock.getsockname()), tls=encrypted[listener], by=by)
        SERVICE.ready()
        if SERVICE.keeps(os.environ):
            self._doors.leave_open()
            SERVICE.keep(self._doors.by_address())

    def failed(self, message: str, report: str) -> None:
        """A worker could not start."""
        server = self._configuration.server
        if not self._up or server["log-format"] == "text":
            self._refuse(message, report)
        elif report:
            log.error("%s", report)
        if not self._up and (server["reload"] or server["dev"]):
            log.info("waiting for a file to change")

    def status(self, text: str) -> None:
        """For who asks the service manager."""
        SERVICE.status(text)

    def reloading(self) -> None:
        """The service manager waits for it."""
        SERVICE.reloading()

    def reloaded(self) -> None:
        """The same, or no worse, than before."""
        SERVICE.ready()

    def stopping(self, seconds: float) -> None:
        """The service manager waits so long."""
        SERVICE.stopping(seconds)

    def alive(self) -> None:
        """Somebody serves."""
        SERVICE.alive()
