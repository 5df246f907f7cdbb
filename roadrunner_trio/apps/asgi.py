"""Applications of ASGI: ``Listener(asgi(app))`` serves Starlette, FastAPI, Quart-Trio, Litestar and what else runs on
Trio.

The application is called in the connection's task, and what it sends goes the way that all responses go. No request
opens a task, a scope or a channel.
"""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager
from typing import Any, cast

from ..answering.callables import gives_awaitable, named, takes
from ..answering.middleware import Middleware
from ..fields import Field
from ..messages.exchange import App, Exchange, Plan
from ..messages.request import Request
from ..messages.response import AnyResponse, Upgrade
from ..settings import Limits, Timeouts
from ..units import Duration, Size, seconds
from ..websocket.handler import websocket
from ..websocket.offer import WebSocketRequest
from .asgi_faults import explain
from .asgi_http import DONE, Cycle, DrainEvents
from .asgi_lifespan import Lifespan, LifespanMode
from .asgi_messages import ASGIApp, Disconnected, Message, Receive, Scope, Send
from .asgi_routes import Endpoints
from .asgi_scope import Template
from .asgi_websocket import Conversation, WebSocketOptions
from .routes import Group, Route

__all__ = [
    "ASGIApp",
    "Disconnected",
    "DrainEvents",
    "LifespanMode",
    "Message",
    "Mount",
    "Receive",
    "Scope",
    "Send",
    "WebSocketOptions",
    "asgi",
]


class asgi:
    """The app that an ASGI application is (version 3.0; HTTP and WebSocket 2.5, lifespan 2.0).

    Args:
        app: ``async def app(scope, receive, send)``, or one of ASGI 2: ``app(scope)(receive, send)``.
        root_path: what a proxy has taken off the front of the path, such as ``"/api"``.
        lifespan: whether it is started up and shut down: ``"auto"``, if it knows of that; ``"on"``, it has to;
            ``"off"``, no.
        startup_timeout: seconds for its start-up, after which nothing is served.
        shutdown_timeout: seconds for its shut-down, after which it is cancelled.
        disconnect_grace: seconds until it is cancelled when its peer has left; at once after a reset. None, as other
            servers do: it is told by ``receive`` and ``send``, and never cancelled for that.
        drain_events: who that waits in ``receive`` is told ``http.disconnect`` when the server drains: ``"sse"``, event
            streams that were asked for with GET at once, and all others a little before the deadline; ``"deadline"``,
            all of them a little before it; ``"none"``, nobody.
        websocket: how its WebSockets are.
        max_body: octets of a request body, else 413; None is no limit: bodies are streamed.

    Raises:
        TypeError: the application cannot be called.
        ValueError: an argument is out of range.
    """

    serves_websockets = True

    def __init__(
        self,
        app: Any,
        *,
        root_path: str = "",
        lifespan: LifespanMode = "auto",
        startup_timeout: Duration = 60.0,
        shutdown_timeout: Duration = 10.0,
        disconnect_grace: Duration | None = None,
        drain_events: DrainEvents = "sse",
        websocket: WebSocketOptions | None = None,
        max_body: Size | None = None,
    ) -> None:
        if not callable(app):
            raise TypeError(f"an ASGI application is an async function of scope, receive and send, not {app!r}")
        _check("lifespan", lifespan, ("auto", "on", "off"))
        _check("drain_events", drain_events, ("sse", "deadline", "none"))
        if root_path and not root_path.startswith("/"):
            raise ValueError(f"root_path is a path such as '/api', not {root_path!r}")
        up, down = seconds("startup_timeout", startup_timeout), seconds("shutdown_timeout", shutdown_timeout)
        given: Any = app
        self.app: ASGIApp = _double(given) if is_double(given) else given
        self.root_path = root_path.rstrip("/")
        self._drain_events: DrainEvents = drain_events
        self._lifespan = Lifespan(self.app, lifespan, up, down)
        self._state = self._lifespan.state
        self._websocket = _handler(self, websocket or WebSocketOptions())
        self._plan = _bounds(max_body, disconnect_grace, math.inf)
        self._endpoints = Endpoints()

    def for_listener(self, defaults: Plan, middlewares: tuple[Middleware, ...]) -> App:
        """Itself, with the time that a listener gives its handlers.

        Raises:
            TypeError: there are middlewares, which an application cannot be inside of by itself.
        """
        if middlewares:
            raise TypeError("an ASGI application has middlewares of its own; ours go around Router([Mount('/', ...)])")
        served = copy.copy(self)
        served._plan = Plan("streaming", self._plan.max_body, defaults.timeout, self._plan.disconnect_grace)
        return served

    def inside(self, around: Callable[[ASGIApp], ASGIApp]) -> asgi:
        """Itself with its requests, WebSockets apart, going through ``around(app)``, and the same life."""
        served = copy.copy(self)
        served.app = around(self.app)
        return served

    def bounded(self, max_body: Size | None, disconnect_grace: Duration | None) -> asgi:
        """Itself with other bounds, and the same life.

        Raises:
            ValueError: one is out of range.
        """
        served = copy.copy(self)
        served._plan = _bounds(max_body, disconnect_grace, self._plan.timeout)
        return served

    def lifetime(self, failed: Callable[[], None] | None = None) -> AbstractAsyncContextManager[None]:
        """A block in which the application is started up; listeners and connections that serve it enter one.

        Args:
            failed: called when the application ends by itself in the meantime.
        """
        return self._lifespan.hold(failed)

    def plan(self, request: Request) -> Plan:
        """Bodies are streamed."""
        return self._plan

    async def __call__(self, exchange: Exchange, extra: Iterable[Field] = ()) -> None:
        """Calls the application for one request, or one WebSocket.

        Args:
            extra: fields of those who stand around the application, for whatever it answers.
        """
        template: Any = exchange.memo
        if template is None or not template.fits(self, exchange.request):
            template = Template(self, exchange, self.root_path)
            exchange.memo = None if template.websocket else template  # after one there are no more requests
        if template.websocket:
            upgrade = cast("Upgrade", await self._websocket(exchange.request))
            await upgrade.decide(exchange, [*extra])
            return
        cycle, scope = Cycle(exchange, self._drain_events, extra), template.make(self._state)
        request = exchange.request
        try:
            await self.app(scope, cycle.receive, cycle.send)
        except BaseException as exc:
            if not cycle.excuses(exc):
                cycle.state = DONE  # what it has left behind writes no more
                explain(exc)
                raise
        finally:
            if "route" in scope and request.endpoint is None:
                request.endpoint = self._endpoints.of(scope["route"])
        if cycle.state is not DONE:
            await cycle.conclude()

    async def converse(self, offer: WebSocketRequest) -> None:
        """Calls the application for a WebSocket."""
        talk = Conversation(offer)
        scope = Template(self, offer.exchange, self.root_path).make(self._state)
        try:
            await self.app(scope, talk.receive, talk.send)
        except Exception as exc:
            if not talk.excuses(exc):
                explain(exc)
                raise
        await talk.conclude()

    @property
    def handler(self) -> MountedApplication:
        """The application as a handler, for :class:`~roadrunner_trio.apps.router.Route`; see :func:`Mount`."""
        return MountedApplication(self)


def _bounds(max_body: Size | None, disconnect_grace: Duration | None, timeout: float) -> Plan:
    limits, timeouts = Limits(max_body=max_body), Timeouts(disconnect_grace=disconnect_grace)
    grace = math.inf if timeouts.disconnect_grace is None else timeouts.disconnect_grace
    return Plan("streaming", limits.max_body, timeout, grace)


def _check(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"{name} is one of {', '.join(map(repr, known))}, not {value!r}")


def _handler(app: asgi, options: WebSocketOptions) -> websocket:
    names = WebSocketOptions.__dataclass_fields__
    return websocket(app.converse, **{name: getattr(options, name) for name in names})


def is_double(app: Any) -> bool:
    """Whether an application is one of ASGI 2: a class made with a scope, or a function of one argument, not async."""
    if not inspect.isclass(app) and gives_awaitable(app):
        return False
    return takes(app, 1, declared=True) and not takes(app, 3, declared=True)


def _double(app: Callable[[Scope], Callable[[Receive, Send], Any]]) -> ASGIApp:
    async def single(scope: Scope, receive: Receive, send: Send) -> None:
        await app(scope)(receive, send)

    return single


class MountedApplication:
    """A handler that answers with what an ASGI application says.

    Middlewares around it see an :class:`~roadrunner_trio.Upgrade`: the response is made while it is written, and what
    they add to its fields goes out with it.
    """

    serves_websockets = True

    __slots__ = ("app",)

    def __init__(self, app: asgi) -> None:
        self.app = app

    def __repr__(self) -> str:
        return f"<ASGI application {named(self.app.app)}>"

    async def __call__(self, request: Request) -> AnyResponse:
        """The response, which is yet to be made."""
        return Upgrade(self._decide)

    async def _decide(self, exchange: Exchange, fields: list[Field]) -> None:
        await self.app(exchange, fields)

    def lifetime(self, failed: Callable[[], None] | None = None) -> AbstractAsyncContextManager[None]:
        """The application's."""
        return self.app.lifetime(failed)


def Mount(prefix: str, app: asgi, *, middlewares: tuple[Middleware, ...] | list[Middleware] = ()) -> Group:
    """An application below a prefix: routes for a :class:`~roadrunner_trio.apps.router.Router`.

    The application is given whole paths, with the prefix as its ``root_path``. A path with an empty segment (``//``)
    goes nowhere in a router, and so not to the application.

    Args:
        prefix: ``"/"``, or a path, such as ``"/api"``.
        app: what answers all below it.
        middlewares: around it, the first outermost.
    """
    plan = app.plan(cast("Request", None))
    grace = plan.disconnect_grace
    handler = app.handler
    routes = [
        Route(path, handler, body="streaming", max_body=plan.max_body, disconnect_grace=grace)
        for path in ("/", "/*rest")  # "/api" is what "/api/" is: a prefix and nothing
    ]
    return Group(prefix, routes, middlewares=middlewares)
