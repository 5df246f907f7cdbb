"""``roadrunner-trio serve app:handler``: a server from the shell.

Reads the command line, finds the handler, serves until it has drained. What is wrong at the start is one line on
standard error that says what to do, and exit status 3; a drain ends with 0; a second signal with 128 and its number.
"""

from __future__ import annotations

import argparse
import errno
import logging
import math
import os
import signal
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

import trio

from .. import __version__
from ..answering.respond import Handler
from ..apps.router import Router
from ..demo import board, demo
from ..errors import ShutdownError, StartupError
from ..messages.exchange import BodyMode
from ..server.listener import Listener
from ..server.listener_info import ConnectionInfo, Drained
from ..server.serve import leave, serve
from ..telemetry.logs import AccessLog, LogFormatter
from ..transport.bind import listed
from ..transport.dump import render_tasks
from ..transport.streams import Address, shown
from .configuration import Configuration, Values, render, resolve
from .door_options import addressed, bounds, doors
from .flags import add_flags
from .interface import bounded, host
from .load import LoadError, load_object

log = logging.getLogger("roadrunner_trio")

PROGRAM: Final = "roadrunner-trio"
BAD_START: Final = 3
DEMO: Final = "the demo"

DESCRIPTION: Final = """\
Serves `async def handler(request)`; without one, a demo to look at in a browser.

  roadrunner-trio serve                                  the demo, on http://127.0.0.1:8000
  roadrunner-trio serve app:handler                      `async def handler(request)` in ./app.py
  roadrunner-trio serve app:handler --port 8080          another port
  roadrunner-trio serve app:handler -b :80 -b [::1]:81   all addresses, and one of IPv6
  roadrunner-trio serve app:make_handler --factory       `def make_handler()` returns the handler
  roadrunner-trio serve main:app                         an ASGI application that runs on Trio, such as one of FastAPI

Every option may also be a variable, ROADRUNNER_MAX_BODY=1M, and a line in a TOML file, max-body = "1M". A flag wins
over a variable, and that over a file.
"""

EPILOG: Final = """\
signals:
  SIGINT, SIGTERM  finish what has begun, within --grace, and exit with 0; once more: stop at once
                   (with --shutdown-delay: go on serving first; once more: finish; and again: stop at once)
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
    chosen = parsers()[0].parse_args(argv)
    try:
        configuration = resolve(chosen, os.environ)
        for note in configuration.notes:
            sys.stderr.write(f"{PROGRAM}: {note}\n")
        status: int = chosen.command(configuration, chosen)
        return status
    except LoadError as exc:
        return refuse(str(exc), exc.report)
    except ValueError as exc:
        return refuse(str(exc))
    except KeyboardInterrupt:  # before anybody listened for the signal
        return 128 + signal.SIGINT


def refuse(message: str, report: str = "") -> int:
    """Says why there is no server; returns the exit status."""
    sys.stderr.write(f"{report}{PROGRAM}: {message}\n")
    return BAD_START


CHECK_EPILOG: Final = """\
exit status:
  0 it would start, 2 bad usage, 3 it would not, and why
"""

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
    serving = _command(commands, "serve", "serve a handler, or the demo", DESCRIPTION, EPILOG, serve_command)
    about = "Does all that `serve` does before it listens: reads the settings, imports the application."
    _command(commands, "check", "look whether `serve` would start", about, CHECK_EPILOG, check_command)
    about = "Prints the routes of an application that is a router, in the order in which they are tried."
    _command(commands, "routes", "print the routes of an application", about, "", routes_command)
    return parser, serving


def _command(
    commands: Any, name: str, help: str, description: str, epilog: str, run: Callable[..., int]
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=help,
        usage=f"{PROGRAM} {name} [app:handler] [options]",
        description=description,
        epilog=epilog,
        formatter_class=partial(argparse.RawDescriptionHelpFormatter, max_help_position=32),
        allow_abbrev=False,
    )
    parser.set_defaults(command=run)
    parser.add_argument(
        "-c", "--config", metavar="FILE", help="settings in TOML (default [tool.roadrunner-trio] in pyproject.toml)"
    )
    add_flags(parser)
    if name == "serve":
        parser.add_argument("--print-config", action="store_true", help="print every setting and where it is from")
    return parser


# -- the commands --------------------------------------------------------------------------------


def serve_command(configuration: Configuration, chosen: argparse.Namespace) -> int:
    """Serves until it has drained."""
    if chosen.print_config:
        print(render(configuration), end="")
        return 0
    listeners, title = prepare(configuration)
    server = configuration.server
    return trio.run(serve_until_drained, listeners, title, server["grace"], server["shutdown-delay"])


def check_command(configuration: Configuration, chosen: argparse.Namespace) -> int:
    """Says where it would listen."""
    listeners, title = prepare(configuration)
    for listener in listeners:
        print(f"{title} can be served on {', '.join(map(str, listener.bind))}")
    return 0


def routes_command(configuration: Configuration, chosen: argparse.Namespace) -> int:
    """A line for each route."""
    handler: object
    handler, title = application(configuration.server)
    if not isinstance(handler, Router):  # pyright: ignore[reportUnnecessaryIsInstance]  # apps are loaded as well
        raise ValueError(f"{title} is a handler and no Router, so it has no routes: it is asked for every path")
    rows = [("METHODS", "PATH", "NAME", "HANDLER")]
    for endpoint in handler.endpoints:
        methods = "any" if endpoint.methods is None else ",".join(sorted(endpoint.methods))
        rows.append(
            (methods, endpoint.pattern, endpoint.name or "-", called(endpoint.route and endpoint.route.handler))
        )
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for row in rows:
        print("  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]]))
    return 0


def called(handler: object) -> str:
    """A handler by its name, with its module."""
    name = getattr(handler, "__qualname__", None)
    return f"{getattr(handler, '__module__', '?')}.{name}" if name else repr(handler)


# -- the start -----------------------------------------------------------------------------------


def application(server: Values) -> tuple[Handler, str]:
    """The handler that was asked for, and its name.

    Raises:
        LoadError: there is none.
        ValueError: there is nothing that could be a factory.
    """
    target: str | None = server["app"]
    if target is None:
        if server["factory"]:
            raise ValueError(f"{server.where('factory')} needs an app: app:make_handler")
        return demo, DEMO
    factory: bool = server["factory"]
    found = load_object(target, server["app-dir"], factory=factory)
    handler, kind = host(found, target + "()" if factory else target, server)
    return handler, f"{target} (ASGI)" if kind == "asgi" else target


def prepare(configuration: Configuration) -> tuple[list[Listener], str]:
    """The listeners that were asked for, and the name of what they serve.

    Raises:
        LoadError: there is no such handler.
        ValueError: an address or a setting is bad.
    """
    server = configuration.server
    places = [listed(addressed(values)) for values in configuration.listeners]
    handler, title = application(server)
    start_logging(server)
    observers = [AccessLog(access_log_format(server))] if server["access-log"] else []
    made: list[Listener] = []
    for values, bind in zip(configuration.listeners, places, strict=True):
        timeouts, limits = bounds(values)
        served = bounded(handler, values, timeouts, limits)
        hosted = served is not handler
        body: BodyMode = values["body"] or ("streaming" if title == DEMO or hosted else "buffered")
        if body == "buffered" and limits.max_body is None:
            raise ValueError(
                f"{values.where('max-body')} none needs --body streaming: a buffered body must have a bound"
            )
        made.append(
            Listener(
                served,
                bind=bind,
                name=values["name"],
                timeouts=timeouts,
                limits=limits,
                body=body,
                observers=observers,
                **doors(values),
            )
        )
    return made, title


def access_log_format(server: Values) -> str:
    """That of the access log, or else that of all logs.

    Raises:
        ValueError: it is none.
    """
    name = "access-log-format" if server.has("access-log-format") else "log-format"
    try:
        AccessLog(server[name])
    except ValueError as exc:
        raise ValueError(f"{server.where(name)}: {exc}") from None
    format: str = server[name]
    return format


def start_logging(server: Values) -> None:
    """To standard error, unless the application set up logging of its own when it was imported."""
    level: str = server["log-level"].upper()
    output = logging.StreamHandler()
    if server["log-format"] == "text":
        output.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    else:
        output.setFormatter(LogFormatter(server["log-format"]))
    logging.basicConfig(handlers=[output], level=level)
    log.setLevel(level)


async def serve_until_drained(listeners: Sequence[Listener], title: str, grace: float, delay: float) -> int:
    """Serves, with what else a server in a shell needs, and returns the exit status."""
    async with trio.open_nursery() as nursery:
        if hasattr(signal, "SIGUSR1"):
            await nursery.start(dump_on_signal, listeners, name="SIGUSR1")
        if title == DEMO:
            nursery.start_soon(board.beat, listeners[0], name="the demo's beat")
        status = await attempt(listeners, title, grace, delay)
        nursery.cancel_scope.cancel(reason="the server has ended")
    return status


async def attempt(listeners: Sequence[Listener], title: str, grace: float, delay: float) -> int:
    """Serves; what comes of it becomes an exit status here, before a nursery makes a group of it."""
    banner = Banner(title)
    try:
        outcomes = await serve(*listeners, grace=grace, shutdown_delay=delay, on_stuck=give_up, task_status=banner)
    except OSError as exc:
        if banner.shown:
            raise
        return refuse(explain(exc))
    except StartupError as exc:
        return refuse(str(exc))
    except ShutdownError:  # it has been told
        return 1
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


async def dump_on_signal(
    listeners: Sequence[Listener], *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Prints every task to standard error whenever SIGUSR1 comes."""
    with trio.open_signal_receiver(signal.SIGUSR1) as received:
        task_status.started()
        async for _ in received:
            sys.stderr.write(render_tasks(connection_notes(listeners)))
            sys.stderr.flush()


def connection_notes(listeners: Sequence[Listener]) -> dict[trio.lowlevel.Task, str]:
    """What listeners know of the tasks that serve their connections."""
    connections = [each for listener in listeners for each in listener.connections()]
    return {each.task: describe(each) for each in connections if each.task is not None}


def describe(connection: ConnectionInfo) -> str:
    """A connection in a few words: ``idle, 12.1 s old, 47.9 s left, 3 requests``."""
    left = "no deadline" if connection.deadline == math.inf else f"{connection.deadline:.1f} s left"
    many = "" if connection.requests == 1 else "s"
    return f"{connection.phase}, {connection.age:.1f} s old, {left}, {connection.requests} request{many}"
