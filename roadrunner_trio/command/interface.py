"""What kind of thing ``app:app`` is: a handler, an app of this server, an application of ASGI, or none that runs here.

An application says by its signature what it is: a handler takes a request; an ASGI application takes scope, receive and
send. What cannot be told is asked for, and what cannot run is told so, in one sentence and at the start.
"""

from __future__ import annotations

import inspect
import math
from typing import Any, Final, Literal, TypeAlias, cast

from ..answering.callables import gives_awaitable, takes
from ..answering.respond import Handler
from ..apps.asgi import WebSocketOptions, asgi, is_double
from ..apps.made import made_by
from ..journal import log
from ..messages.exchange import App
from ..settings import Limits, Timeouts
from .configuration import Values
from .explain import LoadError
from .load import WORDS, Later, Words, check_handler, kind_of
from .setting_table import WEBSOCKETS

Interface: TypeAlias = Literal["native", "asgi"]

ASYNCIO_ONLY: Final = {
    "channels.routing": "Channels runs on asyncio alone",
    "django.core.handlers.asgi": "Django runs on asyncio alone",
    "quart.app": "Quart runs on asyncio alone; QuartTrio of quart_trio has the same API",
}
"""Modules whose applications fail at their first request here, and at nothing before."""
ASGI_ALONE: Final = ("root-path", "lifespan", *(option.name for option in WEBSOCKETS))
LIFE: Final = ("lifespan-startup-timeout", "lifespan-shutdown-timeout")
SERVERS: Final = "serve it with an asyncio server"


def interface_of(thing: Any, target: str, words: Words = WORDS) -> Interface:
    """Decides by the signature.

    Raises:
        LoadError: it is something else, or could be either.
    """
    if hasattr(thing, "plan"):
        return "native"
    if not callable(thing):
        check_handler(thing, target, words, factory=False)
    if inspect.isclass(thing):
        return _class_of(thing, target, words)
    if _takes_any_number(thing):
        raise LoadError(f"{target} takes any number of arguments: say {words.interface} asgi, or native")
    if takes(thing, 1, declared=True):
        return "native"  # one that is not async is told what a handler is
    if takes(thing, 3, declared=True):
        return "asgi"
    if takes(thing, 2, declared=True) and not gives_awaitable(thing):
        raise LoadError(
            f"{target} is a WSGI application: serve it with a WSGI server, for none of the bridges to ASGI runs on Trio"
        )
    return "native"


def _class_of(thing: Any, target: str, words: Words) -> Interface:
    if takes(thing, 3) or is_double(thing):
        return "asgi"
    raise LoadError(
        f"{target} is {kind_of(thing)}: name an object of it, or add {words.factory} if it takes no arguments"
    )


def _takes_any_number(thing: Any) -> bool:
    try:
        parameters = inspect.signature(thing).parameters.values()
    except (TypeError, ValueError):
        return False
    return any(each.kind is each.VAR_POSITIONAL for each in parameters)


def host(
    thing: Any, target: str, server: Values, words: Words = WORDS, *, lives: bool = False
) -> tuple[Handler, Interface]:
    """What a listener serves, and what it is.

    Args:
        target: what it is called on the command line.
        words: what the settings are called.
        lives: it has been made by what is started up and shut down, whatever it is itself.

    Raises:
        LoadError: it cannot be served.
        ValueError: an option has no meaning for it.
    """
    if isinstance(thing, Later):
        return cast("Handler", _later(thing.make, target, server, words)), "native"
    chosen: str = server["interface"]
    kind: Interface = interface_of(thing, target, words) if chosen == "auto" else cast("Interface", chosen)
    if kind == "native":
        _check_unused(server, target, ASGI_ALONE if lives else (*ASGI_ALONE, *LIFE))
        check_handler(thing, target, words, factory=server["factory"])
        return cast("Handler", thing), "native"
    _check_runs(thing, target)
    made = asgi(
        thing,
        root_path=server["root-path"],
        lifespan=server["lifespan"],
        startup_timeout=server["lifespan-startup-timeout"],
        shutdown_timeout=server["lifespan-shutdown-timeout"],
        websocket=_sessions(server),
    )
    return cast("Handler", made), "asgi"


def _sessions(server: Values) -> WebSocketOptions:
    interval, timeout = server["ws-ping-interval"], server["ws-ping-timeout"]
    return WebSocketOptions(
        max_message=server["ws-max-size"],
        max_queue=server["ws-max-queue"],
        ping_interval=None if interval == math.inf else interval,
        ping_timeout=None if timeout == math.inf else timeout,
        compression=server["ws-per-message-deflate"],
    )


def _later(make: Any, target: str, server: Values, words: Words) -> made_by:
    def adapt(found: Any) -> Handler | App:
        try:
            app, kind = host(found, target, server, words, lives=True)
        except LoadError as exc:
            raise ValueError(str(exc)) from None
        log.info("%s is %s", target, "an ASGI application" if kind == "asgi" else "native")
        return app

    up, down = server["lifespan-startup-timeout"], server["lifespan-shutdown-timeout"]
    return made_by(make, startup_timeout=up, shutdown_timeout=down, adapt=adapt)


def _check_unused(server: Values, target: str, names: tuple[str, ...]) -> None:
    for name in names:
        if server.has(name):
            raise ValueError(f"{server.where(name)}: {target} is no ASGI application, for which alone that is")


def _check_runs(thing: Any, target: str) -> None:
    if not callable(thing) or not (takes(thing, 3) or is_double(thing)):
        raise LoadError(f"{target} is {kind_of(thing)}, and no ASGI application: that takes scope, receive and send")
    if gives_awaitable(thing) is False and inspect.isgeneratorfunction(thing):
        raise LoadError(f"{target} is a generator function, and no ASGI application")
    kind: type = type(cast("object", thing))
    for base in kind.__mro__:
        for module, why in ASYNCIO_ONLY.items():
            if base.__module__.startswith(module) and not kind.__module__.startswith("quart_trio"):
                raise LoadError(f"{target} needs asyncio, and this server runs Trio: {why}, else {SERVERS}")


def bounded(handler: Handler, values: Values, timeouts: Timeouts, limits: Limits) -> Handler:
    """What a listener serves, with the bounds of an ASGI application that have been said; unsaid, it has none.

    Raises:
        ValueError: bodies are to be buffered, which an ASGI application's never are.
    """
    app: object = handler
    if isinstance(app, made_by):  # pyright: ignore[reportUnnecessaryIsInstance]
        return cast("Handler", app.narrowed(lambda made: bounded(cast("Handler", made), values, timeouts, limits)))
    if not isinstance(app, asgi):  # pyright: ignore[reportUnnecessaryIsInstance]  # apps are loaded as well
        return handler
    if values.has("body") and values["body"] != "streaming":
        raise ValueError(f"{values.where('body')}: an ASGI application reads its bodies itself, as they come")
    most = limits.max_body if values.has("max-body") else None
    grace = timeouts.disconnect_grace if values.has("timeout-disconnect-grace") else None
    return cast("Handler", app.bounded(most, grace))
