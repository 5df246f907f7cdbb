"""The compiled table finds what a scan of the routes, one after the other, would find."""

from __future__ import annotations

import re
from contextlib import suppress
from itertools import combinations
from urllib.parse import unquote

import pytest
from hypothesis import event, example, given
from hypothesis import strategies as st

import roadrunner_trio as rr
from roadrunner_trio.apps.router import Group, Route, Router
from roadrunner_trio.protocol.heads import Framing, RequestHead

METHODS = ["GET", "HEAD", "POST", "OPTIONS", "CONNECT", "BREW"]
COMMON = {"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"}


async def handler(request):
    return rr.Response()


# -- tables, requests ----------------------------------------------------------------------------

SEGMENT = st.sampled_from(["a", "b", ":", ":", "%61"])
END = st.sampled_from(["", "", "/", "*"])
LISTED = st.none() | st.lists(st.sampled_from(METHODS), min_size=1, max_size=3)
ROUTE = st.tuples(st.just("route"), st.lists(SEGMENT, max_size=3), END, LISTED)
ROUTES = st.lists(ROUTE, max_size=4)
PREFIX = st.tuples(st.lists(SEGMENT, max_size=1), st.sampled_from(["", "/"]))
GROUP = st.tuples(st.just("group"), PREFIX, ROUTES)
NESTED = st.tuples(st.just("group"), PREFIX, st.lists(ROUTE | GROUP, max_size=3))
TABLE = st.lists(ROUTE | NESTED, max_size=8)
PATH = st.lists(st.sampled_from(["a", "b", "a", "%61", "", "..", "%"]), max_size=4).map("/".join).map("/".__add__)
REQUEST = st.tuples(st.sampled_from(METHODS), PATH)


class Namer:
    """Gives the captures of a pattern names, none twice: a whole path must not have one twice."""

    def __init__(self):
        self.count = 0

    def path(self, segments, end=""):
        parts = [self.named(segment) for segment in segments]
        if end == "*" or (end and parts):
            parts.append(self.named("*") if end == "*" else "")
        return "/" + "/".join(parts)

    def named(self, segment):
        if segment not in (":", "*"):
            return segment
        self.count += 1
        return f"{segment}n{self.count}"


def same(one, other):
    """Whether of two routes with their whole paths the later would never be asked."""
    (path, first), (later_path, later) = one, other
    if shape(path) != shape(later_path):
        return False
    if first.methods is None:
        return later.methods is None or later.methods != {"CONNECT"}
    return later.methods is not None and bool(first.methods & later.methods)


def joined(prefix, path):
    """A path below a prefix."""
    return prefix.rstrip("/") + ("" if path == "/" else path) or "/"


def declare(table, namer, above="/", before=None):
    """The table as routes and groups, and beside it as a flat list of whole paths with their routes.

    Routes that are the same as one before them, which a router refuses, are left out; so a list for ``before``, all
    that came in the groups around, is needed within.
    """
    declared, flat = [], []
    before = [] if before is None else before
    for kind, segments, *more in table:
        if kind == "route":
            end, methods = more
            path = namer.path(segments, end)
            route = Route(path, handler, methods=methods)
            whole = (joined(above, path), route)
            if not any(same(other, whole) for other in before):
                before.append(whole)
                declared.append(route)
                flat.append((path, route))
        else:
            prefix = namer.path(*segments)
            inner, below = declare(more[0], namer, joined(above, prefix), before)
            declared.append(Group(prefix, inner))
            flat += [(joined(prefix, path), route) for path, route in below]
    return declared, flat


def request_for(method, target):
    raw = target.encode()
    head = RequestHead(method.encode(), raw, raw, (1, 1), (), b"h", Framing.NONE, 0, True, False, b"")
    return rr.Request(head, None, rr.Drain(), peer="", scheme="http", listener_name="")


# -- the law, told as simply as can be -----------------------------------------------------------


def bound(pattern, path):
    """What a pattern binds of a path, or None when it does not match: a path is what is written, or it is not."""
    written = re.sub(r"\*(\w+)", r"(?P<\1>.*)", re.sub(r":(\w+)", r"(?P<\1>[^/]+)", pattern))
    found = None if "//" in path else re.fullmatch(written, path)
    return None if found is None else found.groupdict()


def shape(pattern):
    return re.sub(r"([:*])\w+", r"\1", pattern)


def taken(flat, path, route):
    """The methods a route takes; None for all."""
    if route.methods is None:
        return None
    same = [other for pattern, other in flat if shape(pattern) == shape(path)]
    lists_head = any("HEAD" in (other.methods or ()) for other in same)
    return route.methods | ({"HEAD"} if "GET" in route.methods and not lists_head else set())


def scan(flat, method, target):
    """The route and its bindings; else a status, and what it allows."""
    path = target.partition("?")[0]
    allowed = set()
    matched = False
    for pattern, route in flat:
        methods = taken(flat, pattern, route)
        if method == "CONNECT":
            if methods is None or "CONNECT" not in methods:
                continue
        elif methods == {"CONNECT"}:
            continue
        bindings = bound(pattern, "/" + path if method == "CONNECT" else path)
        if bindings is None:
            continue
        if methods is None or method in methods:
            return route, bindings
        matched = True
        allowed |= methods - {"CONNECT"}
    if not matched:
        return 404, None
    return (204 if method == "OPTIONS" else 405), ", ".join(sorted(allowed | {"OPTIONS"}))


class Recorder:
    """An exchange that keeps what is answered."""

    def __init__(self, request):
        self.request = request

    async def respond(self, status, fields, body, *, reason=None):
        said = dict(fields)
        self.answer = status, said.get(b"allow", said.get(b"location", b"")).decode() or None


def ask(router, request):
    """What a router does with a request: as ``scan``."""
    router.plan(request)
    if (route := request.endpoint.route) is not None:
        return route, {name: value.decode() for name, value in request.raw_bindings.items()}
    assert request.bindings == {}
    exchange = Recorder(request)
    with suppress(StopIteration):
        router(exchange).send(None)  # nothing in it waits
    return exchange.answer


@given(TABLE, st.lists(REQUEST, min_size=1, max_size=8))
@example([("route", ["a"], "", ["GET"]), ("route", [":"], "", None)], [("HEAD", "/a"), ("POST", "/a"), ("GET", "/a/")])
@example([("route", ["a"], "*", ["GET"]), ("route", ["a"], "", ["HEAD"])], [("HEAD", "/a"), ("BREW", "/a/b")])
@example([("route", ["a"], "", ["GET", "BREW"]), ("route", ["a"], "", ["GET"])], [("GET", "/a")])
@example([("route", ["a"], "", ["CONNECT"])], [("GET", "/a"), ("CONNECT", "a")])
@example([("route", [":"], "", ["CONNECT"]), ("route", [":"], "", ["POST"])], [("CONNECT", "a"), ("GET", "/a")])
@example([("route", [":"], "/", None), ("route", [], "*", None)], [("GET", "/"), ("GET", "//"), ("GET", "/a/")])
@example(
    [("group", (["a"], "/"), [("route", [], "", None), ("route", ["b"], "/", None)])], [("GET", "/a"), ("GET", "/a/b/")]
)
def test_the_compiled_table_finds_what_a_scan_finds(table, requests):
    declared, flat = declare(table, Namer())
    router = Router(declared)
    for method, path in requests:
        target = (path.replace("/", "") or "h") if method == "CONNECT" else path
        expected = scan(flat, method, target)
        event("a route" if isinstance(expected[0], Route) else f"{expected[0]}")
        assert ask(router, request_for(method, target)) == expected


@given(st.lists(ROUTE, max_size=4))
@example([("route", [":"], "", None), ("route", [":"], "", ["CONNECT"])])
def test_routes_are_refused_if_one_would_never_be_asked(table):
    namer = Namer()
    flat = [(path, Route(path, handler, methods=m)) for _, s, rest, m in table for path in [namer.path(s, rest)]]
    if any(same(one, other) for one, other in combinations(flat, 2)):
        event("refused")
        with pytest.raises(ValueError, match="two routes are the same"):
            Router([route for _, route in flat])
    else:
        assert len(Router([route for _, route in flat]).endpoints) == len(table)


@given(TABLE, PATH, st.sampled_from(["GET", "HEAD", "POST", "OPTIONS", "BREW"]))
@example([("route", ["a"], "", ["GET"])], "/a/", "HEAD")
@example([("route", ["a"], "*", None)], "/a", "GET")
@example([("route", [":"], "", None)], "//a/", "GET")
@example([("route", [], "", None)], "//", "GET")
def test_a_redirect_leads_to_a_route_by_one_slash_and_nothing_else_changes(table, path, method):
    declared, flat = declare(table, Namer())
    strict = ask(Router(declared), request_for(method, path))
    status, location = ask(Router(declared, redirect_slashes=True), request_for(method, path + "?q=//x/"))
    if (status, location) == strict:
        return
    other = path[:-1] if path.endswith("/") else path + "/"
    assert (strict[0], status, location) == (404, 308, other + "?q=//x/")
    assert isinstance(scan(flat, method, other)[0], Route)
    assert method in ("GET", "HEAD")
    assert not location.startswith("//")


@given(TABLE)
def test_the_server_allows_what_its_routes_take(table):
    declared, flat = declare(table, Namer())
    every = {"OPTIONS"}.union(*(taken(flat, path, route) or COMMON for path, route in flat))
    assert ask(Router(declared), request_for("OPTIONS", "*")) == (204, ", ".join(sorted(every)))


@given(TABLE, TABLE, REQUEST)
def test_after_a_reload_it_is_as_if_made_so(before, after, request):
    method, path = request
    router = Router(declare(before, Namer())[0])
    ask(router, request_for("GET", path))
    declared, flat = declare(after, Namer())
    router.reload(declared)
    target = (path.replace("/", "") or "h") if method == "CONNECT" else path
    assert ask(router, request_for(method, target)) == scan(flat, method, target)


# -- names ---------------------------------------------------------------------------------------

DOTS = (".", "..")
VALUE = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6).filter(lambda text: text not in DOTS)
SLASHLESS = VALUE.map(lambda text: text.replace("/", "x"))


@given(st.lists(st.sampled_from(["a", "b%20c", ":"]), max_size=5), END, st.data())
def test_a_path_that_was_made_leads_back_with_the_values_it_was_made_of(segments, end, data):
    path = Namer().path(segments, end)
    names = re.findall(r"[:*]\w+", path)
    values = {
        name[1:]: "/".join(data.draw(st.lists(SLASHLESS, max_size=3))) if name[0] == "*" else data.draw(VALUE)
        for name in names
    }
    router = Router([Route(path, handler, name="it")])
    url = router.url_for("it", **values)
    request = request_for("GET", url)
    router.plan(request)
    assert request.endpoint.route is router.endpoints[0].route
    assert request.bindings == values
    assert {name: unquote(raw.decode()) for name, raw in request.raw_bindings.items()} == values
    assert url.isascii()
    assert not set(url) & set(' ?#<>{}"\\')
