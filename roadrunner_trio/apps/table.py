"""A table of routes, compiled into a tree, and what it finds.

Routes match in the order in which they are declared: the first match wins, and none is ranked by how specific it is.
For speed they are compiled into a tree with a level for each segment of a path. A request walks down all branches that
fit, seldom more than one, and of the routes at their ends takes the earliest. That is what a scan of the whole table
would find, at a cost that hardly depends on the number of routes. The tree never changes; a reload builds another.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from ..answering.callables import HANDLER, guarded
from ..answering.middleware import CallNext, Middleware, compose, early_of
from ..errors import phrase
from ..messages.exchange import Check
from ..messages.request import NO_BINDINGS, Request
from ..messages.response import Response
from ..protocol.codec.uri import percent_decode
from .routes import COMMON_METHODS, Group, Kind, Pattern, Route, several, shown, whole

REMEMBERED: Final = 1024
"""Methods and paths that a table keeps the answer for; then it forgets them all and begins anew."""
REMEMBERED_PATH: Final = 128
"""Octets of the longest path that is kept."""


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
class Entry(Endpoint):
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

    endpoint: Entry
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


def _distinct(declared: Iterable[_Declared]) -> None:
    """Looks for routes of which the second would never be asked.

    One that takes all methods, after others with its path that take some, is no such: it has the rest.

    Raises:
        ValueError: two are the same.
    """
    before: dict[tuple[str | Kind, ...], list[_Declared]] = {}
    for each in declared:
        alike = before.setdefault(each.shape, [])
        for first in alike:
            if shared := _shared(first.route.methods, each.route.methods):
                raise ValueError(
                    f"two routes are the same, {shown(first.pattern)} and {shown(each.pattern)}, for {shared}: "
                    "the second would never be asked"
                )
        alike.append(each)


def _shared(first: frozenset[str] | None, later: frozenset[str] | None) -> str:
    """What a route takes that an earlier one with its path has taken, in words."""
    if later is None:
        return "all methods" if first is None else ""
    return ", ".join(sorted(later - {"CONNECT"} if first is None else later & first))


class _Leaf:
    """The end of a pattern: the route for each method, and the one for all others."""

    __slots__ = ("other", "takes")

    def __init__(self) -> None:
        self.takes: dict[bytes, Entry] = {}
        self.other: Entry | None = None

    def add(self, endpoint: Entry, methods: frozenset[str] | None) -> None:
        if methods is None:
            self.other = endpoint
        else:
            self.takes.update((method.encode("ascii"), endpoint) for method in methods)


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
        """The ends of all patterns that match; at most as many steps as there are nodes, whatever the path.

        Args:
            segments: what stands between and behind the slashes; only the last may be empty, and it is then matched by
                a slash at the end of a pattern, or by ``*name``.
        """
        found: list[_Leaf] = []
        nodes = [self]
        for segment in segments:
            found += [node.rest for node in nodes if node.rest]
            nodes = [below for node in nodes for below in (node.literals.get(segment), segment and node.one) if below]
            if not nodes:
                return found
        return found + [node.leaf for node in nodes if node.leaf]


class Table:
    """A compiled table of routes. It never changes.

    Attributes:
        endpoints: one for each route, in order.
        names: the pattern of each route that has a name.

    Args:
        routes: routes and groups, in order.
        redirect_slashes: as for :class:`Router`.

    Raises:
        ValueError: two routes are the same or have one name, or a path is not possible below its group's prefix.
        TypeError: something in it is neither a route nor a group.
    """

    def __init__(self, routes: Iterable[Route | Group], *, redirect_slashes: bool = False) -> None:
        self._redirects = redirect_slashes
        declared = list(_flat(several(routes)))
        _distinct(declared)
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

    def _declare(self, declared: _Declared, order: int, automatic_head: bool) -> Entry:
        route, pattern, middlewares, name = declared
        if name is not None:
            if name in self.names:
                raise ValueError(f"two routes are called {name!r}: {shown(self.names[name])} and {shown(pattern)}")
            self.names[name] = pattern
        methods = route.methods
        if methods is not None and "GET" in methods and automatic_head:
            methods |= {"HEAD"}
        endpoint = Entry(
            route=route,
            pattern=shown(pattern),
            methods=methods,
            name=name,
            call=compose(middlewares, guarded(route.handler, HANDLER)),
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

    def resolve(self, request: Request) -> Entry:
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
        if path.startswith(b"/"):
            segments = path[1:].split(b"/")
            leaves = self._leaves(path, segments)
        elif method == b"CONNECT":  # its target is an authority (RFC 9110 section 9.3.6)
            segments = [path]
            leaves = self._authorities.leaves(segments)
        else:  # N14: "OPTIONS *" asks about the server (RFC 9110 section 9.3.7)
            return _Found(self._server_wide)
        if not leaves and self._redirects and self._has_other_spelling(method, path):
            return _Found(REDIRECT)
        best = None
        for leaf in leaves:
            endpoint = leaf.takes.get(method, leaf.other)
            if endpoint is not None and (best is None or endpoint.order < best.order):
                best = endpoint
        if best is None:
            return _Found(_refusing(method, leaves))
        return _bound(best, segments) if best.captures else _Found(best)

    def _leaves(self, path: bytes, segments: Sequence[bytes]) -> list[_Leaf]:
        """The ends of the patterns that match a path, as it is: whoever stands in front has judged it by its octets."""
        if b"//" in path:
            return []
        if path == b"/":
            return [end for end in (self._paths.rest, self._paths.leaf) if end]
        return self._paths.leaves(segments)

    def _has_other_spelling(self, method: bytes, path: bytes) -> bool:
        """Whether a route takes GET there with a slash more or less at the end, and HEAD and GET ask for that."""
        if method not in (b"GET", b"HEAD") or b"//" in path:  # "//" is no spelling of "/"
            return False
        other = _other_spelling(path)
        leaves = self._leaves(other, other[1:].split(b"/"))
        return any(leaf.takes.get(method, leaf.other) for leaf in leaves)


def _other_spelling(path: bytes) -> bytes:
    return path[:-1] if path.endswith(b"/") else path + b"/"


def _refusing(method: bytes, leaves: Sequence[_Leaf]) -> Entry:
    if not leaves:
        return NOT_FOUND
    allowed = {"OPTIONS"}.union(*([name.decode("ascii") for name in leaf.takes] for leaf in leaves))
    return _allowing(204 if method == b"OPTIONS" else 405, allowed)


def _bound(endpoint: Entry, segments: Sequence[bytes]) -> _Found:
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


def _allowing(status: int, methods: Iterable[str]) -> Entry:
    allow = [("allow", ", ".join(sorted(methods)))]

    async def call(request: Request) -> Response:
        return Response.no_content(fields=allow) if status == 204 else _plain(status, allow)

    return Entry(call=call)


async def _not_found(request: Request) -> Response:
    return _plain(404)


async def _redirect(request: Request) -> Response:
    # The path has no empty segment, so its other spelling cannot be taken for a host; and no backslash is left, which
    # browsers take for a slash.
    path, question_mark, query = request.head.path.partition(b"?")
    location = _other_spelling(path) + question_mark + query
    return Response.redirect(location.decode("ascii"), status=308)


def _plain(status: int, fields: Sequence[tuple[str, str]] = ()) -> Response:
    return Response.text(phrase(status), status=status, fields=fields)


NOT_FOUND: Final = Entry(call=_not_found)
REDIRECT: Final = Entry(call=_redirect)
