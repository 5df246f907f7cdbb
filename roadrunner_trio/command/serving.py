"""From settings to listeners that serve: what one process alone and every worker does, and a supervisor does not."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Final

import trio

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
from ..server.listener import Listener
from ..server.serve import serve_watched
from ..server.services import Service
from ..server.shell import Banner, give_up, report
from ..server.watchdog import Watchdog
from ..settings import Limits
from ..telemetry.log_output import renewals
from ..telemetry.observe import Observer
from ..transport.bind import Bindable, open_listeners
from ..transport.stdio import tell
from .configuration import Configuration, Values
from .door_options import bounds, doors, names, opened, places
from .dump import dump_on_signal
from .explain import LoadError, Refuse, explain, refuse
from .folder import folder, names_folder, refuse_for_applications
from .interface import bounded, host
from .load import Words, load_object, reach, theirs
from .operation import begin, configure_logging, end_logging, measured, start_logging, told
from .supervise import kept_doors
from .window import window_into

DEMO: Final = "the demo"


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
        LoadError, ValueError: there is no such handler, or an address or a setting is bad.
    """
    server = configuration.server
    binds = [places(values) for values in configuration.listeners]
    if server["log-config"] is not None:
        reach(server["app-dir"])  # formatters and handlers may be the application's
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


# -- one process alone ---------------------------------------------------------------------------


def serve_alone(configuration: Configuration) -> int:
    """Serves until it has drained; returns the exit status.

    Raises:
        LoadError: there is no such handler.
        ValueError: an address or a setting is bad.
    """
    server = configuration.server
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


# -- what there would be -------------------------------------------------------------------------


def check(configuration: Configuration, *, binds: bool) -> int:
    """Says where it would listen; returns the exit status.

    Args:
        binds: looks whether the addresses are to be had, too.

    Raises:
        LoadError: there is no such handler.
        ValueError: an address or a setting is bad.
    """
    metrics = measured(configuration.server)
    if not binds:
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


def routes(configuration: Configuration) -> str:
    """A line for each route.

    Raises:
        LoadError: there is no such handler.
        ValueError: it has no routes, or they are not known yet.
    """
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
    return "\n".join(lines) + "\n"


def called(handler: object) -> str:
    """A handler by its name, with its module."""
    name = getattr(handler, "__qualname__", None)
    return f"{getattr(handler, '__module__', '?')}.{name}" if name else repr(handler)
