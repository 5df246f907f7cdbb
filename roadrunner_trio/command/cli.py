"""``roadrunner-trio serve app:handler``: a server from the shell.

Reads the command line, finds the handler, serves until it has drained. What is wrong at the start is one line on
standard error that says what to do, and exit status 3; a drain ends with 0; a second signal with 128 and its number.
What it tells on the standard streams it tells by ``stdio``, so that none of it can end anything.
"""

from __future__ import annotations

import argparse
import atexit
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any, Final, TypeAlias

import trio

from .. import __version__
from ..answering.respond import Handler
from ..apps.asgi import asgi
from ..apps.made import made_by
from ..apps.router import Router
from ..apps.static import Static
from ..demo import board, demo
from ..errors import ShutdownError, StartupError
from ..journal import log
from ..messages.exchange import BodyMode
from ..processes.systemd import SERVICE, Announcement, Herald, around
from ..server.leaving import see_off
from ..server.listener import Listener
from ..server.serve import serve_watched
from ..server.services import Service
from ..server.shell import Banner, give_up, report
from ..server.signals import prepare as prepare_signals
from ..server.watchdog import Watchdog, outlast_to_the_end
from ..settings import Limits
from ..telemetry.log_lines import THIS
from ..telemetry.log_output import renewals, speak, spoken
from ..telemetry.observe import Observer
from ..transport.bind import Bindable, open_listeners
from ..transport.stdio import open_closed, settle, tell
from .configuration import Configuration, Values, render, resolve
from .door_options import bounds, doors, names, opened, places
from .dump import dump_on_signal
from .env_file import with_file
from .explain import PROGRAM, explain
from .flags import Parser, add_flags
from .folder import folder, names_folder, refuse_for_applications
from .interface import bounded, host
from .load import LoadError, Words, load_object, theirs
from .operation import begin, configure_logging, end_logging, measured, start_logging, told
from .supervise import is_supervised, kept_doors, supervise
from .window import window_into

BAD_START: Final = 3
DEMO: Final = "the demo"

DESCRIPTION: Final = """\
Serves `async def handler(request)`, or a folder; without either, a demo to look at in a browser.

  roadrunner-trio serve                                  the demo, on http://127.0.0.1:8000
  roadrunner-trio serve app:handler                      `async def handler(request)` in ./app.py
  roadrunner-trio serve ./public                         the files of a folder
  roadrunner-trio serve app:handler --port 8080          another port
  roadrunner-trio serve app:handler -b :80 -b [::1]:81   all addresses, and one of IPv6
  roadrunner-trio serve app:main --factory               `async def main(nursery)` starts what it needs, and returns
                                                         the handler; `def main()` will do, or an async context
  roadrunner-trio serve main:app                         an ASGI application that runs on Trio, such as one of FastAPI

Every option may also be a variable, ROADRUNNER_MAX_BODY=1M, and a line in a TOML file, max-body = "1M". A flag wins
over a variable, and that over a file.
"""

EPILOG: Final = """\
signals:
  SIGINT, SIGTERM  finish what has begun, within --grace, and exit with 0; once more: stop at once
                   (with --shutdown-delay: go on serving first; once more: finish; and again: stop at once)
  SIGHUP           renew certificates and logs; with --workers, all workers, one after the other
  SIGUSR1          print every task and where it waits, to standard error
  SIGUSR2          nothing; with --workers, become the program that is installed now
  SIGTTIN, SIGTTOU with --workers, one more, and one less

exit status:
  0 drained, 1 something was stuck or failed, 2 no such option, 3 a bad value, or it could not start,
  128+n stopped by signal n
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns the exit status.

    Args:
        argv: the arguments; None takes those of the process.

    Raises:
        SystemExit: a command line that nobody understands (2), ``--help``, ``--version``, or a second signal.
    """
    ours = argv is None  # the process, too
    if ours:
        prepare_signals(signal.SIGUSR1, signal.SIGUSR2)
        SERVICE.take(os.environ)
        atexit.register(outlast_to_the_end)
    open_closed()
    status = 1
    try:
        status = obey(argv)
        if ours:
            see_off(status)
        return status
    except SystemExit as exc:
        status = exc.code if isinstance(exc.code, int) else 1
        raise
    finally:
        if not settle():
            os._exit(status)


def obey(argv: Sequence[str] | None) -> int:
    """Does what the command line says; returns the exit status."""
    speak("text")
    THIS.call("")
    try:
        chosen = parsers()[0].parse_args(argv)
        chosen.words = sys.argv[1:] if argv is None else list(argv)
        configuration = resolve(chosen, with_file(chosen.env_file, os.environ))
        speak(configuration.server["log-format"])
        if SERVICE.wrong:
            return refuse(f"{SERVICE.wrong}: whoever has started this server has closed it before")
        for note in configuration.notes:
            tell(spoken(logging.WARNING, f"{PROGRAM}: {note}"))
        status: int = chosen.command(configuration, chosen)
        return status
    except LoadError as exc:
        return refuse(str(exc), exc.report)
    except ValueError as exc:
        return refuse(str(exc))
    except KeyboardInterrupt:  # before anybody listened for the signal
        return 128 + signal.SIGINT


Refuse: TypeAlias = Callable[..., int]
"""Says why there is no server, in one line, after a traceback if there is one; gives the exit status."""


def refuse(message: str, report: str = "") -> int:
    """Says why there is no server; returns the exit status."""
    tell(spoken(logging.CRITICAL, f"{PROGRAM}: {message}", report))
    return BAD_START


CHECK_EPILOG: Final = """\
exit status:
  0 it would start, 2 no such option, 3 it would not, and why
"""

# -- the command line ----------------------------------------------------------------------------


def parsers() -> tuple[argparse.ArgumentParser, argparse.ArgumentParser]:
    """The parser of the whole command line, and that of ``serve``."""
    parser = Parser(
        prog=PROGRAM,
        description="An HTTP server for Trio: of handlers, applications of ASGI, and files.",
        epilog=f"`{PROGRAM} serve --help` has the rest.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    commands = parser.add_subparsers(title="commands", required=True)
    serving = _command(
        commands, "serve", "serve a handler, an application, a folder, or the demo", DESCRIPTION, EPILOG, serve_command
    )
    about = "Does all that `serve` does before it serves: reads the settings, imports the application, binds."
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
    parser.add_argument("--env-file", metavar="FILE", help="variables for the application, and settings, NAME=value")
    add_flags(parser)
    if name == "check":
        parser.add_argument("--no-bind", action="store_true", help="leave the addresses to a server that runs already")
    if name == "serve":
        parser.add_argument("--print-config", action="store_true", help="print every setting and where it is from")
    return parser


# -- the commands --------------------------------------------------------------------------------


def serve_command(configuration: Configuration, chosen: argparse.Namespace) -> int:
    """Serves until it has drained."""
    if chosen.print_config:
        return put_out(render(configuration))
    server = configuration.server
    if is_supervised(server):
        try:
            status = supervise(configuration, chosen.words, start_logging, refuse)
            end_logging(status)
            return status
        except OSError as exc:
            return refuse(explain(exc))
    os.environ.update(with_file(chosen.env_file, os.environ))
    metrics = measured(server)
    herald = Herald(SERVICE, server["grace"] + server["shutdown-delay"])
    try:
        doors = kept_doors(configuration)
    except OSError as exc:
        return refuse(explain(exc))
    listeners, title = prepare(configuration, [herald, *metrics.observers], None if doors is None else doors.of)
    banner = Announcement(title, None if doors is None else doors.by_address())
    window = window_into(server, listeners)
    watchdog, status = Watchdog(server["grace"], server["shutdown-delay"], owner=True), 1
    try:
        beside = [*metrics.listeners, *window]
        status = trio.run(partial(serve_until_drained, listeners, title, watchdog, beside=beside, banner=banner))
    finally:
        end_logging(status)
        watchdog.finish(status, at_exit=True)
    return status


def check_command(configuration: Configuration, chosen: argparse.Namespace) -> int:
    """Says where it would listen."""
    os.environ.update(with_file(chosen.env_file, os.environ))
    metrics = measured(configuration.server)
    if chosen.no_bind:
        _, title = prepare(configuration, sockets=lambda name: ["127.0.0.1:0"])
        tell(f"{title} can be served\n", to="stdout")
        return 0
    listeners, title = prepare(configuration)
    beside = [*metrics.listeners, *window_into(configuration.server, listeners)]
    shared = [values["reuse-port"] for values in configuration.listeners]
    try:
        trio.run(bind_and_let_go, [*listeners, *beside], [*shared, *(False for _ in beside)])
    except OSError as exc:
        return refuse(explain(exc))
    for listener in listeners:
        tell(f"{title} can be served on {', '.join(map(str, listener.bind))}\n", to="stdout")
    return 0


def routes_command(configuration: Configuration, chosen: argparse.Namespace) -> int:
    """A line for each route."""
    os.environ.update(with_file(chosen.env_file, os.environ))
    handler: object
    handler, title = application(configuration.server)
    if isinstance(handler, made_by):
        raise ValueError(f"{title} is made when the server starts: its routes are not known before")
    if not isinstance(handler, Router):  # pyright: ignore[reportUnnecessaryIsInstance]  # apps are loaded as well
        raise ValueError(f"{title} is a handler and no Router, so it has no routes: it is asked for every path")
    rows = [("METHODS", "PATH", "NAME", "HANDLER")]
    for endpoint in handler.endpoints:
        methods = "any" if endpoint.methods is None else ",".join(sorted(endpoint.methods))
        rows.append(
            (methods, endpoint.pattern, endpoint.name or "-", called(endpoint.route and endpoint.route.handler))
        )
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]]) for row in rows
    ]
    return put_out("\n".join(lines) + "\n")


def put_out(text: str) -> int:
    """Writes what was asked for, to standard output; returns the exit status."""
    if tell(text, to="stdout"):
        return 0
    tell(f"{PROGRAM}: standard output does not take it\n")
    return 1


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
    if names_folder(target):
        return folder(target, server), target
    refuse_for_applications(target, server)
    factory: bool = server["factory"]
    said = [
        server.where(name) if server.has(name) else server.spell(name, like="app")
        for name in ("app-dir", "factory", "interface")
    ]
    words = Words(*said)
    try:
        found = load_object(target, server["app-dir"], factory=factory, words=words)
        handler, kind = host(found, target + "()" if factory else target, server, words)
    except LoadError as exc:
        given = server.given("app")
        if given.source == "flag":  # it is there to be seen
            raise
        raise LoadError(f"{given.where}: {exc}", exc.report) from None
    return handler, f"{target} (ASGI)" if kind == "asgi" else target


def prepare(
    configuration: Configuration,
    beside: Sequence[Observer] = (),
    sockets: Callable[[str], Sequence[Bindable]] | None = None,
) -> tuple[list[Listener], str]:
    """The listeners that were asked for, and the name of what they serve.

    Args:
        beside: observers that all of them have.
        sockets: gives those of a listener by its name, which are then listened on instead of its addresses.

    Raises:
        LoadError: there is no such handler.
        ValueError: an address or a setting is bad.
    """
    server = configuration.server
    binds = [places(values) for values in configuration.listeners]
    configure_logging(server)
    handler, title = application(server)
    start_logging(server)
    observers = [*told(server), *beside]
    made: list[Listener] = []
    for values, bind, name in zip(configuration.listeners, binds, names(configuration.listeners), strict=True):
        timeouts, limits = bounds(values)
        served = bounded(handler, values, timeouts, limits)
        body = reader(values, limits, itself=title == DEMO or isinstance(served, (asgi, Static)))
        made.append(
            Listener(
                served,
                bind=opened(bind) if sockets is None else sockets(name),
                name=name,
                timeouts=timeouts,
                limits=limits,
                body=body,
                observers=observers,
                **doors(values),
            )
        )
    return made, title


def reader(values: Values, limits: Limits, *, itself: bool) -> BodyMode:
    """Who reads bodies, if nobody says so: the application ``itself``, or the server.

    Raises:
        ValueError: the server is to read bodies without a bound.
    """
    body: BodyMode = values["body"] or ("streaming" if itself else "buffered")
    if body == "buffered" and limits.max_body is None:
        raise ValueError(
            f"{values.where('max-body')} none needs {values.spell('body', like='max-body')} streaming: "
            "a buffered body must have a bound"
        )
    return body


async def bind_and_let_go(listeners: Sequence[Listener], reuse_port: Sequence[bool]) -> None:
    """Binds all the addresses together.

    Raises:
        OSError: one cannot be had; ``filename`` says which.
    """
    with ExitStack() as opened:
        for listener, reuse in zip(listeners, reuse_port, strict=False):
            for each in await open_listeners(listener.bind, 1, reuse_port=reuse):
                if isinstance(each, socket.socket):
                    opened.enter_context(each)


async def serve_until_drained(
    listeners: Sequence[Listener],
    title: str,
    watchdog: Watchdog,
    beside: Sequence[Listener] = (),
    *,
    banner: Banner | None = None,
    refuse: Refuse = refuse,
) -> int:
    """Serves, with what else a server in a shell needs, and returns the exit status.

    Args:
        beside: listeners that are there before the others, and until all of those have closed: a drain can be watched.
        banner: told when it listens.
        refuse: told why it does not.
    """
    async with trio.open_nursery() as nursery:
        if hasattr(signal, "SIGUSR1"):
            await nursery.start(dump_on_signal, listeners, name="SIGUSR1")
        status = await begin(beside, nursery, refuse)
        status = status or await attempt(listeners, title, watchdog, banner or Announcement(title), refuse)
        nursery.cancel_scope.cancel(reason="the server has ended")
    return status


async def attempt(
    listeners: Sequence[Listener], title: str, watchdog: Watchdog, banner: Banner, refuse: Refuse = refuse
) -> int:
    """Serves; what comes of it becomes an exit status here, before a nursery makes a group of it."""
    services: list[Service] = [SERVICE.say_alive]
    if title == DEMO:
        services.append(partial(board.beat, listeners[0]))
    try:
        outcomes = await serve_watched(
            watchdog, *listeners, services=services, on_stuck=give_up, renewals=around(renewals()), task_status=banner
        )
        report(outcomes)
    except OSError as exc:
        return ended(exc) if banner.shown else refuse(explain(exc))
    except StartupError as exc:
        return refuse(str(exc), theirs(exc.__cause__) if exc.__cause__ is not None else "")
    except ShutdownError:  # it has been told
        return 1
    except SystemExit as exc:
        return exc.code if isinstance(exc.code, int) else 1
    except KeyboardInterrupt as exc:  # a handler's
        return ended(exc, 128 + signal.SIGINT)
    except (Exception, BaseExceptionGroup) as exc:
        return ended(exc)
    return 0


def ended(exc: BaseException, status: int = 1) -> int:
    """Says that the server is no more, although nobody has asked for its end; returns the exit status."""
    log.critical("the server has ended, and nobody has asked for it", exc_info=exc)
    return status
