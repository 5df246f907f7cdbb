"""``roadrunner-trio serve app:handler``: a server from the shell.

Reads the command line, finds the handler, serves until it has drained. What is wrong at the start is one line on
standard error that says what to do, and exit status 3; a drain ends with 0; a second signal with 128 and its number.
"""

from __future__ import annotations

import argparse
import errno
import logging
import math
import signal
import sys
from collections.abc import Sequence
from functools import partial
from typing import Final

import trio

from . import __version__
from .bind import listed
from .demo import board, demo
from .door_options import add_doors, doors
from .dump import render_tasks
from .exchange import BodyMode
from .listener import Listener
from .listener_info import ConnectionInfo, Drained
from .load import LoadError, load_handler
from .logs import AccessLog
from .options import add_settings, addresses, duration, settings, show_duration
from .respond import Handler
from .serve import leave, serve
from .streams import Address, shown

log = logging.getLogger("roadrunner_trio")

PROGRAM: Final = "roadrunner-trio"
BAD_START: Final = 3
GRACE: Final = 10.0
DEMO: Final = "the demo"
LEVELS: Final = ("debug", "info", "warning", "error")

DESCRIPTION: Final = """\
Serves `async def handler(request)`; without one, a demo to look at in a browser.

  roadrunner-trio serve                                  the demo, on http://127.0.0.1:8000
  roadrunner-trio serve app:handler                      `async def handler(request)` in ./app.py
  roadrunner-trio serve app:handler --port 8080          another port
  roadrunner-trio serve app:handler -b :80 -b [::1]:81   all addresses, and one of IPv6
  roadrunner-trio serve app:make_handler --factory       `def make_handler()` returns the handler
"""

EPILOG: Final = """\
signals:
  SIGINT, SIGTERM  finish what has begun, within --grace, and exit with 0; once more: stop at once
  SIGUSR1          print every task and where it waits, to standard error

exit status:
  0 drained, 1 something was stuck, 2 bad usage, 3 could not start, 128+n stopped by signal n
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns the exit status.

    Args:
        argv: the arguments; None takes those of the process.

    Raises:
        SystemExit: bad usage (2), ``--help``, ``--version``, or a second signal.
    """
    parser, serving = parsers()
    chosen = parser.parse_args(argv)
    try:
        bind = addresses(chosen.bind, chosen.host, chosen.port)
        if chosen.factory and chosen.app is None:
            raise ValueError("--factory needs an app: app:make_handler")
    except ValueError as exc:
        serving.error(str(exc))
    try:
        listener, title = prepare(chosen, bind)
    except LoadError as exc:
        return refuse(str(exc), exc.report)
    except ValueError as exc:
        return refuse(str(exc))
    try:
        return trio.run(serve_until_drained, listener, title, chosen.grace)
    except KeyboardInterrupt:  # before anybody listened for the signal
        return 128 + signal.SIGINT


def refuse(message: str, report: str = "") -> int:
    """Says why there is no server; returns the exit status."""
    sys.stderr.write(f"{report}{PROGRAM}: {message}\n")
    return BAD_START


# -- the command line ----------------------------------------------------------------------------


def parsers() -> tuple[argparse.ArgumentParser, argparse.ArgumentParser]:
    """The parser of the whole command line, and that of ``serve``."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="An HTTP server for Trio.",
        epilog=f"`{PROGRAM} serve --help` has the rest.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    serving = commands.add_parser(
        "serve",
        help="serve a handler, or the demo",
        usage=f"{PROGRAM} serve [app:handler] [options]",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=partial(argparse.RawDescriptionHelpFormatter, max_help_position=32),
        allow_abbrev=False,
    )
    add_basics(serving)
    add_doors(serving)
    add_settings(serving)
    return parser, serving


def add_basics(parser: argparse.ArgumentParser) -> None:
    """Adds what is no timeout and no limit."""
    add = parser.add_argument
    add("app", nargs="?", metavar="app:handler", help="module and attribute (default the demo)")
    add(
        "-b",
        "--bind",
        action="append",
        metavar="ADDRESS",
        help="where to listen: 127.0.0.1:8000, [::1]:8000, :8000, unix:/run/app.sock?mode=660, fd://3; again for more",
    )
    add("--host", help="the host alone (default 127.0.0.1)")
    add("--port", type=int, help="the port alone; 0 lets the system choose (default 8000)")
    add("--app-dir", default=".", metavar="DIR", help="where the module is (default the current directory)")
    add("--factory", action="store_true", help="the attribute is a function that returns the handler")
    add(
        "--grace",
        "--graceful-timeout",
        type=duration,
        default=GRACE,
        metavar="TIME",
        help=f"time to finish in, after the first signal (default {show_duration(GRACE)})",
    )
    add(
        "--body",
        choices=("buffered", "streaming"),
        help="who reads a request body: the server, before the handler runs, or the handler (default buffered; "
        "the demo streaming)",
    )
    add(
        "--access-log",
        action=argparse.BooleanOptionalAction,
        default=argparse.SUPPRESS,  # else Python 3.11 and 3.12 add a default of their own to the help
        help="a line a request, at level info (default on)",
    )
    parser.set_defaults(access_log=True)
    add("--log-level", choices=LEVELS, default="info", help="what to log, to standard error (default info)")


# -- the start -----------------------------------------------------------------------------------


def prepare(chosen: argparse.Namespace, bind: Sequence[str]) -> tuple[Listener, str]:
    """The listener that was asked for, and the name of what it serves.

    Raises:
        LoadError: there is no such handler.
        ValueError: an address or a setting is bad.
    """
    listed(bind)
    timeouts, limits = settings(chosen)
    if chosen.app is None:
        handler: Handler = demo
        body: BodyMode = chosen.body or "streaming"
    else:
        handler = load_handler(chosen.app, chosen.app_dir, factory=chosen.factory)
        body = chosen.body or "buffered"
    if body == "buffered" and limits.max_body is None:
        raise ValueError("--max-body none needs --body streaming: a buffered body must have a bound")
    start_logging(chosen.log_level)
    observers = [AccessLog()] if chosen.access_log else []
    listener = Listener(
        handler, bind=bind, timeouts=timeouts, limits=limits, body=body, observers=observers, **doors(chosen)
    )
    return listener, chosen.app or DEMO


def start_logging(level: str) -> None:
    """To standard error, unless the application set up logging of its own when it was imported."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=level.upper())
    log.setLevel(level.upper())


async def serve_until_drained(listener: Listener, title: str, grace: float) -> int:
    """Serves, with what else a server in a shell needs, and returns the exit status."""
    async with trio.open_nursery() as nursery:
        if hasattr(signal, "SIGUSR1"):
            await nursery.start(dump_on_signal, listener, name="SIGUSR1")
        if title == DEMO:
            nursery.start_soon(board.beat, listener, name="the demo's beat")
        status = await attempt(listener, title, grace)
        nursery.cancel_scope.cancel(reason="the server has ended")
    return status


async def attempt(listener: Listener, title: str, grace: float) -> int:
    """Serves; what comes of it becomes an exit status here, before a nursery makes a group of it."""
    banner = Banner(title)
    try:
        outcomes = await serve(listener, grace=grace, on_stuck=give_up, task_status=banner)
    except OSError as exc:
        if banner.shown:
            raise
        return refuse(explain(exc))
    except SystemExit as exc:
        return exc.code if isinstance(exc.code, int) else 1
    report(outcomes)
    return 0


def report(outcomes: Sequence[Drained]) -> None:
    """A line for each drain."""
    for outcome in outcomes:
        log.info("drained: %d finished, %d cut, %d stuck", outcome.finished, outcome.cut, outcome.stuck)


class Banner(trio.TaskStatus[tuple[Listener, ...]]):
    """Prints where the server listens, once it does; a task status, for that is who is told.

    Attributes:
        shown: whether it listens.
    """

    def __init__(self, title: str) -> None:
        self.title = title
        self.shown = False

    def started(self, value: Sequence[Listener] = ()) -> None:
        """One line an address, on standard output."""
        self.shown = True
        for listener in value:
            for address in listener.addresses:
                print(f"Serving {self.title} on {url(listener, address)} (Ctrl-C drains, twice stops)", flush=True)


def url(listener: Listener, address: Address) -> str:
    """An address as a person would type it."""
    if isinstance(address, str):
        return f"unix:{address}"
    return f"{'https' if listener.tls else 'http'}://{shown(address)}"


def give_up(outcomes: Sequence[Drained]) -> None:
    """Ends the process although a thread or a shield in it will not end; the listener's log has said which."""
    report(outcomes)
    log.error("some connections cannot be ended: leaving with exit status 1")
    sys.stdout.flush()
    sys.stderr.flush()
    leave()


def explain(exc: OSError) -> str:
    """What to do about an address that cannot be had."""
    where = exc.filename or "the address"
    match exc.errno:
        case errno.EADDRINUSE if where.startswith("unix:"):
            return f"{where} is in use: stop what listens there, or choose another path"
        case errno.EACCES if where.startswith("unix:"):
            return f"{where} cannot be made: the folder has to be writable for this user"
        case errno.EADDRINUSE:
            return f"{where} is in use: stop what listens there, or choose another port"
        case errno.EACCES:
            return f"{where} needs a privilege: choose a port from 1024 up, or grant CAP_NET_BIND_SERVICE"
        case errno.EADDRNOTAVAIL:
            return f"{where} is not an address of this machine: choose one that is, or :PORT for all of them"
        case _:
            return f"cannot listen on {where}: {exc.strerror or exc}"


# -- the task dump -------------------------------------------------------------------------------


async def dump_on_signal(listener: Listener, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    """Prints every task to standard error whenever SIGUSR1 comes."""
    with trio.open_signal_receiver(signal.SIGUSR1) as received:
        task_status.started()
        async for _ in received:
            sys.stderr.write(render_tasks(connection_notes(listener)))
            sys.stderr.flush()


def connection_notes(listener: Listener) -> dict[trio.lowlevel.Task, str]:
    """What the listener knows of the tasks that serve its connections."""
    return {each.task: describe(each) for each in listener.connections() if each.task is not None}


def describe(connection: ConnectionInfo) -> str:
    """A connection in a few words: ``idle, 12.1 s old, 47.9 s left, 3 requests``."""
    left = "no deadline" if connection.deadline == math.inf else f"{connection.deadline:.1f} s left"
    many = "" if connection.requests == 1 else "s"
    return f"{connection.phase}, {connection.age:.1f} s old, {left}, {connection.requests} request{many}"
