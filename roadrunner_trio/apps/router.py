"""A router: which handler answers which path and method.

How the answer is found is the table's affair (:mod:`.table`). Which listener it serves, how a body is read and how a
response is written are not its business.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any, Final, TypeAlias, TypedDict, TypeVar, Unpack, cast
from weakref import WeakSet

from ..answering.callables import ON_ERROR, check
from ..answering.faults import essence
from ..answering.middleware import CallNext, Middleware, checked, compose, early_of
from ..answering.respond import Handler, default_plan, lifetime_of, native, respond, serves_websockets
from ..errors import HTTPError, ProtocolError
from ..messages.exchange import App, BodyMode, Exchange, Lasting, Plan
from ..messages.request import Request
from ..messages.response import AnyResponse, Response
from ..protocol.codec.uri import percent_encode
from ..settings import Limits, Timeouts
from ..transport.gone import BodyTimeout, PeerGone
from ..units import Duration, Size
from .routes import INHERIT, Group, Inherit, Kind, Route, Segment, several, shown
from .table import Endpoint, Entry, Table

__all__ = ["INHERIT", "Endpoint", "Group", "Inherit", "OnError", "Route", "RouteSettings", "Router"]


OnError: TypeAlias = Callable[[Request, HTTPError], Awaitable[AnyResponse]]
"""``async def on_error(request, error)``: the response in place of the plain one that says no more than the error."""

CLOSE: Final = (b"connection", b"close")

Decorated = TypeVar("Decorated", bound=Handler)


class RouteSettings(TypedDict, total=False):
    """What :class:`Route` takes beside path, handler and methods."""

    name: str | None
    middlewares: Sequence[Middleware]
    body: BodyMode | None
    max_body: Size | Inherit | None
    timeout: Duration | None
    disconnect_grace: Duration | None
    state: Any


def _call_endpoint(request: Request) -> Awaitable[AnyResponse]:
    return request.endpoint.call(request)  # type: ignore[no-any-return]


def _saying(on_error: OnError) -> CallNext:
    """The endpoint's answer; where that is the router's own no, what ``on_error`` makes of it."""

    async def call(request: Request) -> AnyResponse:
        response: AnyResponse = await request.endpoint.call(request)
        if request.endpoint.route is None and isinstance(response, Response) and response.status >= 400:
            fields = [field for field in response.fields if field[0] == b"allow"]
            response = await _said(on_error, request, HTTPError(response.status, fields=fields))
        return response

    return call


async def _said(on_error: OnError, request: Request, error: HTTPError) -> AnyResponse:
    """What is said of an error, with the fields that it needs: Allow, Retry-After, WWW-Authenticate."""
    response = await on_error(request, error)
    said = {name for name, _ in response.fields}
    response.fields += [field for field in error.fields if field[0] not in said or field == CLOSE]
    return response


class _Mounted(native):
    """A router as one listener serves it: with that listener's defaults, inside of its middlewares."""

    __slots__ = ("__weakref__", "_on_error", "_plans", "_wrapped", "defaults", "table")

    def __init__(
        self, table: Table, defaults: Plan, middlewares: Sequence[Middleware], on_error: OnError | None
    ) -> None:
        # Nobody reads a body only to say 404: for what the router answers itself it streams, and is skipped.
        refuse = None if on_error is None else self._refuse
        self.defaults = replace(defaults, early=early_of(middlewares), refuse=refuse)
        innermost = _call_endpoint if on_error is None else _saying(on_error)
        super().__init__(compose(middlewares, innermost), replace(self.defaults, body="streaming"))
        self._on_error = on_error
        self._wrapped = len(middlewares) > len(self.defaults.early)
        self.adopt(table, self.plans(table))

    def plans(self, table: Table) -> dict[Entry, Plan]:
        """What is done with the requests of each route here."""
        return {each: each.route.plan(self.defaults, each.early) for each in table.endpoints if each.route}

    def adopt(self, table: Table, plans: Mapping[Entry, Plan]) -> None:
        """Serves ``table`` from the next request on."""
        self.table, self._plans = table, plans

    def plan(self, request: Request) -> Plan:
        """Finds the endpoint, and says what its route wants done with the body."""
        endpoint = self.table.resolve(request)
        request.endpoint, request.state = endpoint, endpoint.state
        return self._plans.get(endpoint, self._plan)

    async def answer(self, exchange: Exchange) -> Lasting | None:
        """Runs the handler inside of the middlewares, and writes what comes of it, unless that lasts.

        Raises:
            TypeError: that is no response.
        """
        if self._on_error is None:
            return await super().answer(exchange)
        try:
            response = await self.handler(exchange.request)
        except BaseException as exc:
            error, _ = essence(exc, peer_gone=exchange.gone_now)
            if error is None or exchange.started or isinstance(error, PeerGone | BodyTimeout):
                raise
            await self._confess(exchange, error, self._on_error)
            if not isinstance(error, HTTPError | ProtocolError):
                raise  # it is told and logged as ever
            return None
        return await self.written(exchange, response)

    async def _confess(self, exchange: Exchange, error: BaseException, on_error: OnError) -> None:
        """Answers an error with what ``on_error`` makes of it."""
        match error:
            case HTTPError():
                known = error
            case ProtocolError():  # what is left of the body is no request
                known = HTTPError(error.status, fields=[CLOSE])
            case _:
                known = HTTPError(500, fields=[CLOSE])
        if known is not error:
            known.__cause__ = error
        await respond(exchange, await _said(on_error, exchange.request, known), on_error)

    async def _refuse(self, exchange: Exchange, error: ProtocolError) -> None:
        """Answers what the server refuses to read for the handler; that is told and logged as ever."""
        if self._on_error is not None:
            await self._confess(exchange, error, self._on_error)

    def author(self, request: Request) -> object:
        """The outermost middleware, or the handler."""
        return self.handler if self._wrapped else request.endpoint.call


class Router:
    """An app made of routes: give it to a listener in place of a handler, or to several.

    The first route that matches path and method answers. Without one, what the router answers is an ordinary response,
    and goes through the middlewares of the router and the listener: 404 when no path matches, and when the methods of
    those that do are others, 204 to OPTIONS and else 405, both with ``Allow``. ``OPTIONS *`` is answered 204.

    A path is matched as it was sent: not decoded, its dots not resolved, with no empty segment and with or without a
    slash at its end as the route has it. So what a proxy or a middleware has judged is what is served.

    Args:
        routes: :class:`Route` and :class:`Group`, in order.
        middlewares: around all of them, inside of the listener's, the first outermost.
        on_error: makes the response where there would be a plain one: to 404 and 405, for an HTTPError that nobody has
            caught, for a body that cannot be read (400, 413), and for any other exception (500), which is its
            ``__cause__``, and is logged and told as ever. Fields of the error that it leaves out are added.
        redirect_slashes: answer GET and HEAD 308 in place of 404 where a route takes them with one slash more or less
            at the end of the path; the query is kept. What comes with other methods is not to be sent twice: 404.

    Raises:
        ValueError, TypeError: a table that is not possible; the message says what would be.
    """

    def __init__(
        self,
        routes: Iterable[Route | Group] = (),
        *,
        middlewares: Sequence[Middleware] = (),
        on_error: OnError | None = None,
        redirect_slashes: bool = False,
    ) -> None:
        self.middlewares = checked(middlewares)
        self.on_error = on_error
        if on_error is not None:
            check(on_error, ON_ERROR)
        self.redirect_slashes = redirect_slashes
        self._routes = several(routes)
        self._made: Table | None = Table(self._routes, redirect_slashes=redirect_slashes)
        self._mounted: WeakSet[_Mounted] = WeakSet()
        self._own: App | None = None

    @property
    def _table(self) -> Table:
        """All routes, compiled when they are needed: decorators add one at a time."""
        if self._made is None:
            self._made = Table(self._routes, redirect_slashes=self.redirect_slashes)
        return self._made

    def add(self, *routes: Route | Group) -> None:
        """Adds routes behind those that there are.

        Raises:
            ValueError, TypeError: the table is not possible with them, and stays as it was; said here if a listener
                serves it already, and else when that is made.
        """
        together = (*self._routes, *routes)
        if self._mounted:
            return self.reload(together)
        self._routes, self._made = together, None
        return None

    def route(
        self, path: str, *, methods: Collection[str] | None = None, **settings: Unpack[RouteSettings]
    ) -> Callable[[Decorated], Decorated]:
        """A decorator that adds a handler as a :class:`Route`, and leaves it as it is.

        Raises:
            ValueError, TypeError: as :class:`Route`.
        """

        def decorate(handler: Decorated) -> Decorated:
            self.add(Route(path, handler, methods=methods, **settings))
            return handler

        return decorate

    def get(self, path: str, **settings: Unpack[RouteSettings]) -> Callable[[Decorated], Decorated]:
        """:meth:`route` for GET, and HEAD."""
        return self.route(path, methods=["GET"], **settings)

    def post(self, path: str, **settings: Unpack[RouteSettings]) -> Callable[[Decorated], Decorated]:
        """:meth:`route` for POST."""
        return self.route(path, methods=["POST"], **settings)

    def put(self, path: str, **settings: Unpack[RouteSettings]) -> Callable[[Decorated], Decorated]:
        """:meth:`route` for PUT."""
        return self.route(path, methods=["PUT"], **settings)

    def patch(self, path: str, **settings: Unpack[RouteSettings]) -> Callable[[Decorated], Decorated]:
        """:meth:`route` for PATCH."""
        return self.route(path, methods=["PATCH"], **settings)

    def delete(self, path: str, **settings: Unpack[RouteSettings]) -> Callable[[Decorated], Decorated]:
        """:meth:`route` for DELETE."""
        return self.route(path, methods=["DELETE"], **settings)

    @property
    def endpoints(self) -> Sequence[Endpoint]:
        """One for each route, in order."""
        return self._table.endpoints

    @property
    def serves_websockets(self) -> bool:
        """Whether one of its routes may make a WebSocket of a request."""
        return any(each.route is not None and serves_websockets(each.route.handler) for each in self.endpoints)

    def reload(self, routes: Iterable[Route | Group]) -> None:
        """Replaces all routes from the next request on; requests that have been routed keep what they have.

        Raises:
            ValueError, TypeError: as when it was made; the routes stay as they are (N51).
        """
        found = several(routes)
        table = Table(found, redirect_slashes=self.redirect_slashes)
        ready = [(mounted, mounted.plans(table)) for mounted in self._mounted]
        self._routes, self._made = found, table
        for mounted, plans in ready:
            mounted.adopt(table, plans)

    def url_for(self, name: str, /, **bindings: str | int) -> str:
        """The path of the route called ``name``, with what it captures percent-encoded.

        What ``*name`` captures may be a path: its slashes are kept, and its empty segments dropped but for a slash at
        its end.

        Raises:
            LookupError: no route has that name.
            ValueError: a binding is missing, unknown, or cannot be a segment: empty, ``"."``, ``".."``.
            TypeError: a binding is neither text nor a number.
        """
        if (pattern := self._table.names.get(name)) is None:
            raise LookupError(f"no route is called {name!r}; there are {sorted(self._table.names)}")
        wanted = {segment.text for segment in pattern if segment.kind is not Kind.LITERAL}
        if wanted != bindings.keys():
            raise ValueError(f"{name!r} ({shown(pattern)}) needs {sorted(wanted)}, not {sorted(bindings)}")
        return "/" + "/".join(_filled(segment, bindings) for segment in pattern)

    def for_listener(self, defaults: Plan, middlewares: Sequence[Middleware]) -> App:
        """Itself with a listener's defaults, for what its routes leave open, and inside of its middlewares."""
        mounted = _Mounted(self._table, defaults, (*middlewares, *self.middlewares), self.on_error)
        self._mounted.add(mounted)
        return mounted

    @asynccontextmanager
    async def lifetime(self, failed: Callable[[], None] | None = None) -> AsyncGenerator[None]:
        """A block in which the applications that are mounted in it are started up; those it has when the block begins.

        Args:
            failed: called when one of them ends by itself in the meantime.
        """
        async with AsyncExitStack() as lives:
            for endpoint in self.endpoints:
                handler = None if endpoint.route is None else endpoint.route.handler
                await lives.enter_async_context(lifetime_of(cast("Any", handler), failed))
            yield

    def plan(self, request: Request) -> Plan:
        """As an app on its own, inside of another: with the default limits."""
        return self._alone().plan(request)

    async def __call__(self, exchange: Exchange) -> None:
        """Answers an exchange whose request has been planned."""
        await self._alone()(exchange)

    def _alone(self) -> App:
        if self._own is None:
            self._own = self.for_listener(default_plan("buffered", Limits(), Timeouts()), ())
        return self._own


def _filled(segment: Segment, bindings: Mapping[str, Any]) -> str:
    if segment.kind is Kind.LITERAL:
        return segment.text
    given = bindings[segment.text]
    if not isinstance(given, str | int):
        raise TypeError(f"{segment.text!r} is text or a number, not {given!r}")
    text = str(given)
    parts = [text] if segment.kind is Kind.ONE else [part for part in text.split("/") if part]
    if not all(parts) or {".", ".."} & set(parts):  # clients resolve dots away (RFC 3986 section 5.2.4)
        raise ValueError(f"{text!r} for {segment.text!r} cannot be part of a URL: a segment is not empty, '.' or '..'")
    if segment.kind is Kind.REST and parts and text.endswith("/"):
        parts.append("")
    return "/".join(percent_encode(part.encode()) for part in parts)
