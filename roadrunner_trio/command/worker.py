"""``python -m roadrunner_trio.command.worker FD serve app:handler ...``: a worker, as a supervisor starts it.

It reads the command line that the supervisor was given, so it finds the same settings; the addresses are sockets that
it has inherited. Why it cannot start it tells the supervisor, which says it once for all workers.
"""

from __future__ import annotations

import atexit
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from functools import partial

import trio

from ..errors import StartupError
from ..processes.control import tell as tell_supervisor
from ..processes.worker import Assignment, Link, Show, assignment_of, fail, sockets_of
from ..processes.zygote import incubate, obstacles
from ..server.leaving import see_off
from ..server.listener import Listener
from ..server.shell import Banner
from ..server.signals import not_yet
from ..server.signals import prepare as prepare_signals
from ..server.watchdog import Watchdog, outlast_to_the_end
from ..telemetry.log_lines import THIS
from ..telemetry.log_output import speak
from ..telemetry.metrics import Metrics
from ..transport.stdio import open_closed, settle, tell
from .cli import parsers
from .configuration import Configuration, Values, resolve
from .env_file import with_file
from .explain import BAD_START, PROGRAM, LoadError
from .operation import end_logging
from .serving import prepare, serve_until_drained


def main(argv: Sequence[str]) -> int:
    """Serves as one of several, and returns the exit status.

    Args:
        argv: the descriptor of the talk with the supervisor, and the arguments that this was given.
    """
    prepare_signals(signal.SIGUSR1, signal.SIGUSR2)
    signal.signal(signal.SIGINT, not_yet)  # a terminal's, for all: what comes of it the supervisor says
    atexit.register(outlast_to_the_end)
    open_closed()
    status = 1
    try:
        try:
            line = socket.socket(fileno=int(argv[0]))
            line.set_inheritable(False)
            assignment = assignment_of(line)
        except (StartupError, ValueError, IndexError, OSError) as exc:
            tell(f"{PROGRAM}: this is no worker of a supervisor: {exc}\n")
            return (status := BAD_START)
        status = work(line, assignment, argv[1:])
        see_off(status)
        return status
    finally:
        if not settle():
            os._exit(status)


def work(line: socket.socket, assignment: Assignment, words: Sequence[str]) -> int:
    """Serves what the command line says on the sockets of the assignment; returns the exit status."""
    THIS.call("preload" if assignment.rest.get("zygote") else str(assignment.number))
    try:
        configuration = configured(words)
        server = configuration.server
        watchdog = Watchdog(server["grace"], server["shutdown-delay"], owner=True)
        metrics = [Metrics()] if server["metrics"] is not None else []
        link = Link(watchdog, metrics[0].write_to if metrics else None, shows(server))
        listeners, title = prepare(configuration, [link, *metrics], partial(sockets_of, assignment))
        if assignment.rest.get("zygote"):
            found = preloaded(line, title, server.where("preload"))
            if found is None:
                return 0
            line, assignment = found, assignment_of(found)
            THIS.call(str(assignment.number))
        signal.signal(signal.SIGINT, signal.default_int_handler)
        link.begin(line, assignment)
    except LoadError as exc:
        fail(line, str(exc), exc.report)
        return BAD_START
    except (ValueError, OSError, StartupError) as exc:  # there are no descriptors, or the application has closed ours
        if not fail(line, str(exc)):
            tell(f"{PROGRAM}: {exc}\n")
        return BAD_START
    link.join(listeners)
    return live(link, listeners, title, watchdog)


def configured(words: Sequence[str]) -> Configuration:
    """The settings; files may be others than those that the supervisor has read.

    Raises:
        ValueError: they are no settings any more.
    """
    chosen = parsers()[0].parse_args(words)
    os.environ.update(with_file(chosen.env_file, os.environ))
    configuration = resolve(chosen, os.environ)
    server = configuration.server
    speak(server["log-format"])
    if server["reload"] or server["dev"]:
        sys.dont_write_bytecode = True  # it counts as fresh by its second and its size: an edit may change neither
    return configuration


def shows(server: Values) -> Callable[[Sequence[Listener]], Show] | None:
    """What shows this process to who looks at the supervisor's window, if there is one."""
    if server["observe"] is None:
        return None
    from ..watching.told import show

    return show


def preloaded(line: socket.socket, title: str, setting: str) -> socket.socket | None:
    """Forks workers as they are asked for: in each of them, its own end of the talk.

    Raises:
        ValueError: this process cannot be forked.
    """
    if names := obstacles():
        raise ValueError(
            f"{setting}: the application has begun threads when it was imported, which its forks would not have "
            f"({', '.join(names)}); begin them when it starts up, or leave {setting} out"
        )
    tell_supervisor(line, ready=title)
    return incubate(line)


def live(link: Link, listeners: Sequence[Listener], title: str, watchdog: Watchdog) -> int:
    """Runs the loop."""

    def refuse(message: str, report: str = "") -> int:
        link.failed(message, report)
        return BAD_START

    async def run() -> int:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(link.listen, name="supervisor")
            nursery.start_soon(link.beat, name="heartbeat")
            banner = Readiness(title, link)
            status = await serve_until_drained(listeners, title, watchdog, banner=banner, refuse=refuse)
            nursery.cancel_scope.cancel(reason="the server has ended")
        return status

    status = 1
    try:
        status = trio.run(run)
    finally:
        end_logging(status)
        watchdog.finish(status, at_exit=True)
        link.close()
    return status


class Readiness(Banner):
    """Tells the supervisor, instead of everybody, that the server listens."""

    def __init__(self, title: str, link: Link) -> None:
        super().__init__(title)
        self._link = link

    def started(self, value: Sequence[Listener] = ()) -> None:
        """All of them listen."""
        self.shown = True
        self._link.ready(value, self.title)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
