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
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from .. import __version__
from ..errors import StartupError
from ..processes.children import UPGRADE
from ..processes.systemd import SERVICE
from ..processes.upgrade import inherited, watch
from ..server.leaving import see_off
from ..server.signals import prepare as prepare_signals
from ..server.watchdog import outlast_to_the_end
from ..telemetry.log_lines import THIS
from ..telemetry.log_output import speak, spoken
from ..transport.stdio import open_closed, settle, tell
from .configuration import Configuration, render, resolve
from .env_file import with_file
from .explain import PROGRAM, LoadError, explain, put_out, refuse
from .flags import Parser, add_flags
from .operation import end_logging, start_logging
from .supervise import NO_SUPERVISOR, is_supervised, supervise, watched, would_upgrade

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
        if ours and (left := inherited()) is not None:  # nobody has taken it over
            status = watch(left)
        if ours:
            see_off(status)
        return status
    except SystemExit as exc:
        status = exc.code if isinstance(exc.code, int) else 1
        if ours and (left := inherited()) is not None:
            return (status := watch(left))
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
            status = supervise(configuration, chosen.words, partial(start_logging, serves=False), refuse)
            end_logging(status)
            return status
        except OSError as exc:
            return refuse(explain(exc))
    if UPGRADE in os.environ:
        return refuse(NO_SUPERVISOR)
    from .serving import serve_alone  # all that serves, of which a supervisor needs nothing

    os.environ.update(with_file(chosen.env_file, os.environ))
    return serve_alone(configuration)


def check_command(configuration: Configuration, chosen: argparse.Namespace) -> int:
    """Says where it would listen."""
    from .serving import check

    os.environ.update(with_file(chosen.env_file, os.environ))
    try:
        is_supervised(configuration.server)
        watched(configuration.server)
        would_upgrade(configuration)
    except StartupError as exc:
        return refuse(str(exc))
    except OSError as exc:
        return refuse(explain(exc))
    return check(configuration, binds=not chosen.no_bind)


def routes_command(configuration: Configuration, chosen: argparse.Namespace) -> int:
    """A line for each route."""
    from .serving import routes

    os.environ.update(with_file(chosen.env_file, os.environ))
    return put_out(routes(configuration))
