"""What a table of routes is made of: path patterns, routes and groups, all checked when they are built."""

from __future__ import annotations

import enum
import inspect
import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final, NamedTuple, TypeAlias, cast
from urllib.parse import quote

from ..answering.callables import HANDLER, complaint
from ..answering.middleware import Middleware, checked
from ..answering.respond import Handler
from ..fields import is_token
from ..messages.exchange import BodyMode, Check, Plan
from ..units import Duration, Size, optional_octets, optional_seconds

COMMON_METHODS: Final = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})

UNLIMITED: Final = "buffered bodies need a limit; give the route max_body, or body='streaming'"

_PATH: Final = "-._~!$&'()*+,;=:@%"
"""What a segment may hold beside letters and digits (RFC 3986 section 3.3)."""


class Inherit(enum.Enum):
    """The value of a setting that a route leaves to its listener, where None means something else."""

    INHERIT = "inherit"

    def __repr__(self) -> str:
        return self.name


INHERIT: Final = Inherit.INHERIT


# -- patterns ------------------------------------------------------------------------------------


class Kind(enum.Enum):
    """What a segment of a pattern matches."""

    LITERAL = ""
    ONE = ":"
    REST = "*"


class Segment(NamedTuple):
    """A segment of a pattern: its text for a literal, else the name of what it captures."""

    kind: Kind
    text: str


Pattern: TypeAlias = tuple[Segment, ...]


def parse(path: str) -> Pattern:
    """The segments of a path pattern: none for ``"/"``, and an empty one for a slash at the end of a longer path.

    Raises:
        TypeError: it is no text.
        ValueError: it could not match what it seems to mean. The original accepts such a pattern, and it matches
            something else or nothing (behaviour 8.2): an empty name, a name twice, ``*`` before the end, ``//``.
    """
    if not isinstance(path, str):  # pyright: ignore[reportUnnecessaryIsInstance]  # Route(handler, "/")
        raise TypeError(f"a path is text that begins with a slash, and comes first, not {path!r}")
    if not path.startswith("/"):
        raise ValueError(f"{path!r}: a path begins with a slash; write {'/' + path!r}")
    if "//" in path:
        raise ValueError(f"{path!r}: an empty segment matches nothing; write {re.sub('//+', '/', path)!r}")
    return () if path == "/" else whole(tuple(_segment(text, path) for text in path[1:].split("/")), path)


def _segment(text: str, path: str) -> Segment:
    if text[:1] in (":", "*"):
        if not text[1:].isidentifier():
            raise ValueError(
                f"{path!r}: {text[0]!r} is followed by a name of letters, digits and underscores, "
                f"as in {text[0] + 'name'!r}, not by {text[1:]!r}"
            )
        return Segment(Kind(text[0]), text[1:])
    right = quote(text, safe=_PATH)
    if text != right:
        raise ValueError(f"{path!r}: a path cannot hold {text!r}; write {right!r}, or ':name' to capture a segment")
    return Segment(Kind.LITERAL, text)


def whole(pattern: Pattern, path: str) -> Pattern:
    """``pattern``, which is whole.

    Raises:
        ValueError: two segments have one name, or something follows ``*name``.
    """
    for segment in pattern[:-1]:
        if segment.kind is Kind.REST:
            raise ValueError(f"{path!r}: '*{segment.text}' takes the rest of the path, so it can only come last")
    names = Counter(segment.text for segment in pattern if segment.kind is not Kind.LITERAL)
    for name, times in names.items():
        if times > 1:
            raise ValueError(f"{path!r}: {times} segments are called {name!r}; give each a name of its own")
    return pattern


def shown(pattern: Pattern) -> str:
    """The pattern as text."""
    return "/" + "/".join(segment.kind.value + segment.text for segment in pattern)


# -- what is declared ----------------------------------------------------------------------------


class Route:
    """A path, the methods it takes, and the handler that answers.

    In a path, ``:name`` captures one segment, never an empty one, and ``*name``, which can only come last, whatever
    stands behind the slash before it, perhaps nothing. Everything else is literal: it matches octet by octet, and is
    not percent-decoded. A path with an empty segment (``//``) matches no route, and ``/a/`` is another path than
    ``/a``: a route has the slash at its end, or has not.

    Args:
        path: begins with a slash; below the prefixes of the groups it is in.
        handler: ``async def handler(request)``.
        methods: those it takes; HEAD comes with GET unless a route with the same path lists it. None takes all,
            apart from CONNECT, which has no path: a route that lists it is given the authority as its one segment.
        name: for :meth:`Router.url_for`.
        middlewares: around this handler, the first outermost.
        body: ``"buffered"`` or ``"streaming"``; None is what the listener does.
        max_body: octets, or ``"10M"``; None lifts the limit and needs ``body="streaming"``. The listener's if it is
            left out.
        timeout: seconds, or ``"5s"``, for the handler and its response, ``math.inf`` without end; None is the
            listener's.
        disconnect_grace: likewise for a handler whose peer has left, ``math.inf`` so that it is never cancelled for
            that; None is the listener's.
        state: found as ``request.state`` by the middlewares and the handler.

    Raises:
        ValueError: the path, a method or a setting is not possible; the message says what would be.
        TypeError: the handler or a middleware is no async function of its arguments, or ``methods`` is a string.
    """

    def __init__(
        self,
        path: str,
        handler: Handler,
        *,
        methods: Collection[str] | None = None,
        name: str | None = None,
        middlewares: Sequence[Middleware] = (),
        body: BodyMode | None = None,
        max_body: Size | Inherit | None = INHERIT,
        timeout: Duration | None = None,
        disconnect_grace: Duration | None = None,
        state: Any = None,
    ) -> None:
        self.pattern = parse(path)
        if (wrong := _complaint(handler)) is not None:
            raise TypeError(f"{path!r}: {wrong}")
        self.path = path
        self.handler = handler
        self.methods = None if methods is None else _methods(methods, path)
        self.name = name
        self.middlewares = checked(middlewares)
        if body not in (None, "buffered", "streaming"):
            raise ValueError(f"{path!r}: body is 'buffered' or 'streaming', not {body!r}")
        self.body: BodyMode | None = body
        self.max_body = (
            max_body if isinstance(max_body, Inherit) else optional_octets(f"{path!r}: max_body", max_body, least=0)
        )
        if body == "buffered" and self.max_body is None:
            raise ValueError(f"{path!r}: {UNLIMITED}")
        self.timeout = optional_seconds(f"{path!r}: timeout", timeout)
        self.disconnect_grace = optional_seconds(f"{path!r}: disconnect_grace", disconnect_grace)
        self.state = state

    def __repr__(self) -> str:
        return f"<Route {' '.join(sorted(self.methods)) + ' ' if self.methods else ''}{self.path}>"

    def plan(self, defaults: Plan, early: tuple[Check, ...] = ()) -> Plan:
        """What is done with its requests, on a listener with these defaults, after its own early middlewares.

        Raises:
            ValueError: bodies would be buffered without a limit.
        """
        body = defaults.body if self.body is None else self.body
        max_body = defaults.max_body if isinstance(self.max_body, Inherit) else self.max_body
        if body == "buffered" and max_body is None:
            raise ValueError(f"{self.path!r}: {UNLIMITED}")
        timeout = defaults.timeout if self.timeout is None else self.timeout
        grace = defaults.disconnect_grace if self.disconnect_grace is None else self.disconnect_grace
        return Plan(body, max_body, timeout, grace, defaults.early + early, defaults.refuse)


def _complaint(handler: object) -> str | None:
    is_app = hasattr(handler, "plan") and not inspect.isclass(handler)
    if is_app or not (callable(handler) or inspect.iscoroutine(handler)):
        return f"a route needs a handler, an async function of one request, not {handler!r}"
    return complaint(handler, HANDLER)


def _methods(methods: Collection[str], path: str) -> frozenset[str]:
    if isinstance(methods, str):
        raise TypeError(f"{path!r}: methods is a list; write [{methods!r}]")
    listed: tuple[Any, ...] = tuple(methods)
    if not listed:
        raise ValueError(f"{path!r}: an empty list of methods takes none; leave it out to take all")
    for method in listed:
        if not isinstance(method, str):
            raise TypeError(f"{path!r}: a method is text, not {method!r}")
        if not is_token(method.encode()):
            raise ValueError(f"{path!r}: {method!r} is no method (RFC 9110 section 9.1)")  # N13: any token is
        if method not in COMMON_METHODS and method.upper() in COMMON_METHODS:
            raise ValueError(f"{path!r}: methods are case-sensitive; write {method.upper()!r}, not {method!r}")
    return frozenset(listed)


class Group:
    """Routes below one prefix and inside of the same middlewares. Groups nest.

    Args:
        prefix: begins with a slash; may capture segments, but not the rest. A slash at its end is that between it and
            the paths below: with either, ``"/"`` below it is the prefix itself.
        routes: routes and groups.
        middlewares: around those of the routes, the first outermost.
        name: goes before the names of the routes, with a dot: ``"admin.users"``.

    Raises:
        ValueError: the prefix is not possible; the message says what would be.
        TypeError: ``routes`` is no list, or a middleware is no async function of a request and the next call.
    """

    def __init__(
        self,
        prefix: str,
        routes: Iterable[Route | Group],
        *,
        middlewares: Sequence[Middleware] = (),
        name: str | None = None,
    ) -> None:
        self.pattern = parse(prefix)
        if self.pattern and self.pattern[-1].kind is Kind.REST:
            raise ValueError(f"{prefix!r}: nothing can follow '*{self.pattern[-1].text}'; a prefix ends before it")
        if self.pattern and not self.pattern[-1].text:
            self.pattern = self.pattern[:-1]
        self.prefix = prefix
        self.routes = several(routes)
        self.middlewares = checked(middlewares)
        self.name = name

    def __repr__(self) -> str:
        return f"<Group {self.prefix} of {len(self.routes)}>"


def several(routes: Any) -> tuple[Route | Group, ...]:
    """A list of routes; what is in it is looked at by the router.

    Raises:
        TypeError: it is no list.
    """
    if isinstance(routes, Route | Group):
        raise TypeError(f"routes is a list; write [{routes!r}]")
    if isinstance(routes, str) or not isinstance(routes, Iterable):
        raise TypeError(f"routes is a list of Route and Group, not {routes!r}")
    return tuple(cast("Iterable[Route | Group]", routes))
