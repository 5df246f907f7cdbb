"""A router: which handler answers which path and method.

Routes match in the order in which they are declared: the first match wins, and none is ranked by how specific it is.
For speed they are compiled into a tree with a level for each segment of a path. A request walks down all branches that
fit, seldom more than one, and of the routes at their ends takes the earliest. That is what a scan of the whole table
would find, at a cost that hardly depends on the number of routes. The tree never changes; a reload builds another.

Which listener it serves, how a body is read and how a response is written are not its business.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final, NamedTuple, cast
from weakref import WeakSet

from ..answering.middleware import CallNext, Middleware, checked, compose, early_of
from ..answering.respond import default_plan, lifetime_of, native
from ..errors import phrase
from ..messages.exchange import App, Check, Exchange, Plan
from ..messages.request import NO_BINDINGS, Request
from ..messages.response import AnyResponse, Response
from ..protocol.codec.uri import percent_decode, percent_encode
from ..settings import Limits, Timeouts
from .routes import COMMON_METHODS, INHERIT, Group, Inherit, Kind, Pattern, Route, Segment, shown, whole

__all__ = ["INHERIT", "Endpoint", "Group", "Inherit", "Route", "Router"]

REMEMBERED: Final = 1024
"""Methods and paths that a table keeps the answer for; then it forgets them all and begins anew."""
REMEMBERED_PATH: Final = 128
"""Octets of the longest path that is kept."""

# -- what is compiled ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Endpoint:
    """What a router found for a request: ``request.endpoint``. There is one for each route, so logs and metrics can be
    kept by it.

    Attributes:
        route: as declared; None for what the router answers itself.
        pattern: the path with the prefixes of groups, ``"/users/:id"``; ``""`` for what the router answers itself.
        methods: those it takes, HEAD that came with GET included; None for all.
        name: with those of groups, or None.
    """

    route: Route | None = None
    pattern: str = ""
    methods: frozenset[str] | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class _Entry(Endpoint):
    """An endpoint with what the router needs.

    Attributes:
        call: the handler inside of the middlewares of its route and groups.
        early: what those of them that judge by the head ask.
        order: its place in the table.
        state: for ``request.state``.
        captures: names, and which of the segments each has.
    """

    call: CallNext
    early: tuple[Check, ...] = ()
    order: int = -1
    state: Any = None
    captures: tuple[tuple[str, slice], ...] = ()


class _Found(NamedTuple):
    """What a method and a path come to. Requests share it, so the bindings cannot be changed."""

    endpoint: _Entry
    bindings: Mapping[str, str] = NO_BINDINGS
    raw_bindings: Mapping[str, bytes] = NO_BINDINGS


class _Declared(NamedTuple):
    """A route with all that the groups around it say."""

    route: Route
    pattern: Pattern
    middlewares: tuple[Middleware, ...]
    name: str | None

    @property
    def shape(self) -> tuple[str | Kind, ...]:
        """What the pattern matches: equal for two that differ only in names."""
        return tuple(text if kind is Kind.LITERAL else kind for kind, text in self.pattern)


def _flat(
    routes: Iterable[Route | Group], prefix: Pattern = (), around: tuple[Middleware, ...] = (), name: str = ""
) -> Iterator[_Declared]:
    for each in routes:
        match each:
            case Route():
                pattern = whole(prefix + each.pattern, shown(prefix + each.pattern))
                yield _Declared(each, pattern, around + each.middlewares, each.name and name + each.name)
            case Group():
                inner = f"{name}{each.name}." if each.name else name
                yield from _flat(each.routes, prefix + each.pattern, around + each.middlewares, inner)
            case _:
                raise TypeError(f"a table of routes holds Route and Group, not {each!r}")


class _Leaf:
    """The end of a pattern: the first route for each method, and the first for all others."""

    __slots__ = ("other", "takes")

    def __init__(self) -> None:
        self.takes: dict[bytes, _Entry] = {}
        self.other: _Entry | None = None

    def add(self, endpoint: _Entry, methods: frozenset[str] | None) -> None:
        if self.other is not None:
            return  # the first route for all methods leaves nothing to those after it
        if methods is None:
            self.other = endpoint
        else:
            for method in methods:
                self.takes.setdefault(method.encode("ascii"), endpoint)


class _Node:
    """A place in a path, and where one goes from there."""

    __slots__ = ("leaf", "literals", "one", "rest")

    def __init__(self) -> None:
        self.literals: dict[bytes, _Node] = {}
        self.one: _Node | None = None
        self.leaf: _Leaf | None = None
        self.rest: _Leaf | None = None

    def place(self, pattern: Pattern) -> _Leaf:
        """The leaf for a pattern, made if need be."""
        node = self
        for kind, text in pattern:
            match kind:
                case Kind.REST:
                    node.rest = node.rest or _Leaf()
                    return node.rest
                case Kind.ONE:
                    node.one = node.one or _Node()
                    node = node.one
                case Kind.LITERAL:
                    node = node.literals.setdefault(text.encode("ascii"), _Node())
        node.leaf = node.leaf or _Leaf()
        return node.leaf

    def leaves(self, segments: Sequence[bytes]) -> list[_Leaf]:
        """The ends of all patterns that match; at most as many steps as there are nodes, whatever the path."""
        found: list[_Leaf] = []
        nodes = [self]
        for segment in segments:
            found += [node.rest for node in nodes if node.rest]
            nodes = [below for node in nodes for below in (node.literals.get(segment), node.one) if below]
            if not nodes:
                return found
        return found + [end for node in nodes for end in (node.rest, node.leaf) if end]


class Table:
    """A compiled table of routes. It never changes.

    Attributes:
        endpoints: one for each route, in order.
        names: the pattern of each route that has a name.

    Raises:
        ValueError: two routes have one name, or a path is not possible below its group's prefix.
        TypeError: something in it is neither a route nor a group.
    """

    def __init__(self, routes: Iterable[Route | Group]) -> None:
        declared = list(_flat(routes))
        listed: dict[tuple[str | Kind, ...], set[str]] = {}
        for each in declared:
            listed.setdefault(each.shape, set()).update(each.route.methods or ())
        self._paths, self._authorities = _Node(), _Node()
        self._recent: dict[tuple[bytes, bytes], _Found] = {}
        self.names: dict[str, Pattern] = {}
        self.endpoints = tuple(
            self._declare(each, order, "HEAD" not in listed[each.shape]) for order, each in enumerate(declared)
        )
        everything = (endpoint.methods or COMMON_METHODS for endpoint in self.endpoints)
        self._server_wide = _allowing(204, {"OPTIONS"}.union(*everything))

    def _declare(self, declared: _Declared, order: int, automatic_head: bool) -> _Entry:
        route, pattern, middlewares, name = declared
        if name is not None:
            if name in self.names:
                raise ValueError(f"two routes are called {name!r}: {shown(self.names[name])} and {shown(pattern)}")
            self.names[name] = pattern
        methods = route.methods
        if methods is not None and "GET" in methods and automatic_head:
            methods |= {"HEAD"}
        endpoint = _Entry(
            route=route,
            pattern=shown(pattern),
            methods=methods,
            name=name,
            call=compose(middlewares, route.handler),
            early=early_of(middlewares),
            order=order,
            state=route.state,
            captures=tuple(
                (text, slice(at, None if kind is Kind.REST else at + 1))
                for at, (kind, text) in enumerate(pattern)
                if kind is not Kind.LITERAL
            ),
        )
        if methods is not None and "CONNECT" in methods:
            self._authorities.place(pattern).add(endpoint, frozenset({"CONNECT"}))
        if methods is None or methods - {"CONNECT"}:
            self._paths.place(pattern).add(endpoint, methods and methods - {"CONNECT"})
        return endpoint

    def resolve(self, request: Request) -> _Entry:
        """Who answers a request; what the path binds is put on it. Paths that were asked for lately are remembered."""
        method, path = key = request.head.method, request.head.path.partition(b"?")[0]
        if (found := self._recent.get(key)) is None:
            found = self._search(method, path)
            if found.endpoint.route is not None and len(path) <= REMEMBERED_PATH:
                if len(self._recent) == REMEMBERED:
                    self._recent.clear()
                self._recent[key] = found
        if found.endpoint.captures:
            request.bindings, request.raw_bindings = found.bindings, found.raw_bindings
        return found.endpoint

    def _search(self, method: bytes, path: bytes) -> _Found:
        segments = list(filter(None, path.split(b"/")))
        if path.startswith(b"/"):
            leaves = self._paths.leaves(segments)
        elif method == b"CONNECT":  # its target is an authority (RFC 9110 section 9.3.6)
            leaves = self._authorities.leaves(segments)
        else:  # N14: "OPTIONS *" asks about the server (RFC 9110 section 9.3.7)
            return _Found(self._server_wide)
        best = None
        for leaf in leaves:
            endpoint = leaf.takes.get(method, leaf.other)
            if endpoint is not None and (best is None or endpoint.order < best.order):
                best = endpoint
        if best is None:
            return _Found(_refusing(method, leaves))
        return _bound(best, segments) if best.captures else _Found(best)


def _refusing(method: bytes, leaves: Sequence[_Leaf]) -> _Entry:
    if not leaves:
        return NOT_FOUND
    allowed = {"OPTIONS"}.union(*([name.decode("ascii") for name in leaf.takes] for leaf in leaves))
    return _allowing(204 if method == b"OPTIONS" else 405, allowed)


def _bound(endpoint: _Entry, segments: Sequence[bytes]) -> _Found:
    raw = {name: b"/".join(segments[part]) for name, part in endpoint.captures}
    text = {name: _text(value) for name, value in raw.items()}
    return _Found(endpoint, MappingProxyType(text), MappingProxyType(raw))


def _text(raw: bytes) -> str:
    """Percent-decoded; what is no UTF-8 then stays as it was sent, as in a query."""
    if b"%" in raw:
        try:
            return percent_decode(raw).decode()
        except ValueError:
            pass
    return raw.decode("ascii")


# -- what the router answers itself: ordinary responses on a connection that goes on (N1, N2) ----


def _allowing(status: int, methods: Iterable[str]) -> _Entry:
    allow = [("allow", ", ".join(sorted(methods)))]

    async def call(request: Request) -> Response:
        return Response.no_content(fields=allow) if status == 204 else _plain(status, allow)

    return _Entry(call=call)


async def _not_found(request: Request) -> Response:
    return _plain(404)


def _plain(status: int, fields: Sequence[tuple[str, str]] = ()) -> Response:
    return Response.text(phrase(status), status=status, fields=fields)


NOT_FOUND: Final = _Entry(call=_not_found)


# -- the app -------------------------------------------------------------------------------------


def _call_endpoint(request: Request) -> Awaitable[AnyResponse]:
    return request.endpoint.call(request)  # type: ignore[no-any-return]


class _Mounted(native):
    """A router as one listener serves it: with that listener's defaults, inside of its middlewares."""

    __slots__ = ("__weakref__", "_plans", "_wrapped", "defaults", "table")

    def __init__(self, table: Table, defaults: Plan, middlewares: Sequence[Middleware]) -> None:
        # Nobody reads a body only to say 404: for what the router answers itself it streams, and is skipped.
        self.defaults = replace(defaults, early=early_of(middlewares))
        super().__init__(compose(middlewares, _call_endpoint), replace(self.defaults, body="streaming"))
        self._wrapped = len(middlewares) > len(self.defaults.early)
        self.adopt(table, self.plans(table))

    def plans(self, table: Table) -> dict[_Entry, Plan]:
        """What is done with the requests of each route here."""
        return {each: each.route.plan(self.defaults, each.early) for each in table.endpoints if each.route}

    def adopt(self, table: Table, plans: Mapping[_Entry, Plan]) -> None:
        """Serves ``table`` from the next request on."""
        self.table, self._plans = table, plans

    def plan(self, request: Request) -> Plan:
        """Finds the endpoint, and says what its route wants done with the body."""
        endpoint = self.table.resolve(request)
        request.endpoint, request.state = endpoint, endpoint.state
        return self._plans.get(endpoint, self._plan)

    def author(self, request: Request) -> object:
        """The outermost middleware, or the handler."""
        return self.handler if self._wrapped else request.endpoint.call


class Router:
    """An app made of routes: give it to a listener in place of a handler, or to several.

    The first route that matches path and method answers. Without one, what the router answers is an ordinary response,
    and goes through the middlewares of the router and the listener: 404 when no path matches, and when the methods of
    those that do are others, 204 to OPTIONS and else 405, both with ``Allow``. ``OPTIONS *`` is answered 204.

    Args:
        routes: :class:`Route` and :class:`Group`, in order.
        middlewares: around all of them, inside of the listener's, the first outermost.

    Raises:
        ValueError, TypeError: a table that is not possible; the message says what would be.
    """

    def __init__(self, routes: Iterable[Route | Group], *, middlewares: Sequence[Middleware] = ()) -> None:
        self.middlewares = checked(middlewares)
        self._table = Table(routes)
        self._mounted: WeakSet[_Mounted] = WeakSet()
        self._own: App | None = None

    @property
    def endpoints(self) -> Sequence[Endpoint]:
        """One for each route, in order."""
        return self._table.endpoints

    def reload(self, routes: Iterable[Route | Group]) -> None:
        """Replaces all routes from the next request on; requests that have been routed keep what they have.

        Raises:
            ValueError, TypeError: as when it was made; the routes stay as they are (N51).
        """
        table = Table(routes)
        ready = [(mounted, mounted.plans(table)) for mounted in self._mounted]
        self._table = table
        for mounted, plans in ready:
            mounted.adopt(table, plans)

    def url_for(self, name: str, /, **bindings: str | int) -> str:
        """The path of the route called ``name``, with what it captures percent-encoded.

        What ``*name`` captures may be a path: its slashes are kept, and its empty segments dropped.

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
        return "/" + "/".join(filter(None, (_filled(segment, bindings) for segment in pattern)))

    def for_listener(self, defaults: Plan, middlewares: Sequence[Middleware]) -> App:
        """Itself with a listener's defaults, for what its routes leave open, and inside of its middlewares."""
        mounted = _Mounted(self._table, defaults, (*middlewares, *self.middlewares))
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
    return "/".join(percent_encode(part.encode()) for part in parts)
