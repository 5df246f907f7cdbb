"""What a table of routes is made of: what is refused when it is made, and the paths its names give."""

from __future__ import annotations

import pytest

import roadrunner_trio as rr
from roadrunner_trio.apps.router import INHERIT, Group, Route, Router


async def hello(request):
    return rr.Response.text("hello")


# -- mistakes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("users", "begins with a slash; write '/users'"),
        ("", "begins with a slash; write '/'"),
        ("/users/:", "':' is followed by a name of letters, digits and underscores, as in ':name', not by ''"),
        ("/files/*", r"'\*' is followed by a name"),
        ("/:user-id", "not by 'user-id'"),
        ("/files/*.txt", "not by '.txt'"),
        ("/*rest/more", r"'\*rest' takes the rest of the path, so it can only come last"),
        ("/*rest/*more", r"'\*rest' takes the rest"),
        ("/:id/x/:id", "2 segments are called 'id'; give each a name of its own"),
        ("/:id/*id", "2 segments are called 'id'"),
        ("/café", "a path cannot hold 'café'; write 'caf%C3%A9'"),
        ("/a b", "write 'a%20b'"),
        ("/users/{id}", "a path cannot hold '{id}'; .* or ':name' to capture a segment"),
        ("/users/<int:id>", "':name' to capture a segment"),
        ("/search?q=:q", "a path cannot hold 'search\\?q=:q'"),
        ("//users", "'//users': an empty segment matches nothing; write '/users'"),
        ("/a///:b//", "an empty segment matches nothing; write '/a/:b/'"),
        ("//", "write '/'"),
        ("/*rest/", "takes the rest of the path, so it can only come last"),
    ],
)  # fmt: skip
def test_a_bad_path_fails_when_it_is_made(path, message):
    with pytest.raises(ValueError, match=message):
        Route(path, hello)
    with pytest.raises(ValueError, match=message):
        Group(path, [])


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"methods": []}, ValueError, "an empty list of methods takes none; leave it out to take all"),
        ({"methods": "GET"}, TypeError, r"methods is a list; write \['GET'\]"),
        ({"methods": iter([])}, ValueError, "an empty list of methods takes none"),
        ({"methods": [b"GET"]}, TypeError, "a method is text, not b'GET'"),
        ({"methods": ["get"]}, ValueError, "methods are case-sensitive; write 'GET', not 'get'"),
        ({"methods": ["GET "]}, ValueError, "'GET ' is no method"),
        ({"methods": [""]}, ValueError, "'' is no method"),
        ({"methods": ["GRÜßE"]}, ValueError, "is no method"),
        ({"body": "lazy"}, ValueError, "body is 'buffered' or 'streaming', not 'lazy'"),
        ({"body": "buffered", "max_body": None}, ValueError, "give the route max_body, or body='streaming'"),
        ({"max_body": -1}, ValueError, "must be a whole number, at least 0, not -1"),
        ({"max_body": "10X"}, ValueError, "must be a whole number, at least 0, not '10X': write 65536, \"64K\" or"),
        ({"timeout": 0}, ValueError, "must be a positive number of seconds, not 0"),
        ({"disconnect_grace": -1}, ValueError, "must be a positive number of seconds, not -1"),
    ],
)
def test_a_bad_setting_of_a_route_names_the_route(given, error, message):
    with pytest.raises(error, match=f"^'/x': .*{message}"):
        Route("/x", hello, **given)


def test_what_is_no_handler_is_refused():
    for handler in ("hello", Router([])):
        with pytest.raises(TypeError, match="'/x': a route needs a handler, an async function of one request, not"):
            Route("/x", handler)


def test_what_is_no_route_is_refused():
    with pytest.raises(TypeError, match="a table of routes holds Route and Group, not '/x'"):
        Router(["/x"])


def test_nothing_follows_the_rest_of_a_group():
    with pytest.raises(ValueError, match=r"nothing can follow '\*rest'"):
        Group("/files/*rest", [Route("/x", hello)])


def test_a_name_is_used_once_along_a_whole_path():
    with pytest.raises(ValueError, match="'/:id/posts/:id': 2 segments are called 'id'"):
        Router([Group("/:id", [Route("/posts/:id", hello)])])


def test_two_routes_do_not_share_a_name():
    with pytest.raises(ValueError, match=r"two routes are called 'api.x': /api/a and /api/b"):
        Router([Group("/api", [Route("/a", hello, name="x"), Route("/b", hello, name="x")], name="api")])


@pytest.mark.parametrize(
    ("routes", "complaint"),
    [
        ([Route("/a", hello), Route("/a", hello)], "/a and /a, for all methods"),
        ([Route("/u/:id", hello), Route("/u/:name", hello)], "/u/:id and /u/:name, for all methods"),
        ([Route("/*a", hello, methods=["GET"]), Route("/*b", hello, methods=["GET"])], r"/\*a and /\*b, for GET"),
        (
            [Route("/a", hello, methods=["GET", "PUT", "POST"]), Route("/a", hello, methods=["PUT", "DELETE", "GET"])],
            "/a and /a, for GET, PUT",
        ),
        ([Route("/a", hello), Route("/b", hello), Route("/a", hello, methods=["GET"])], "/a and /a, for GET"),
        ([Group("/g", [Route("/:a", hello)]), Group("/", [Route("/g/:b", hello)])], "/g/:a and /g/:b, for all"),
    ],
)
def test_two_routes_that_are_the_same_are_refused(routes, complaint):
    message = f"^two routes are the same, {complaint}.*: the second would never be asked$"
    with pytest.raises(ValueError, match=message):
        Router(routes)
    app = Router([Route("/before", hello)])
    for reload in (app.reload, rr.Listener(app).reload_routes):
        with pytest.raises(ValueError, match=message):
            reload(routes)
        assert [each.pattern for each in app.endpoints] == ["/before"]


def test_routes_that_differ_in_something_are_not_the_same():
    Router(
        [
            Route("/a", hello, methods=["GET"]),
            Route("/a", hello, methods=["HEAD", "PUT"]),
            Route("/a", hello),
            Route("/:x", hello),
            Route("/*x", hello),
            Route("/:x", hello, methods=["CONNECT"]),  # which the one for all does not take
        ]
    )


@pytest.mark.parametrize(
    ("routes", "complaint"),
    [
        (Route("/x", hello), r"routes is a list; write \[<Route /x>\]"),
        (Group("/x", []), r"routes is a list; write \[<Group /x of 0>\]"),
        ("/x", "routes is a list of Route and Group, not '/x'"),
        (None, "routes is a list of Route and Group, not None"),
        (hello, "routes is a list of Route and Group, not <function hello"),
        ([hello], "a table of routes holds Route and Group, not <function hello"),
    ],
)
def test_what_is_no_table_of_routes_is_refused(routes, complaint):
    for make in (Router, Router([]).reload, lambda routes: Group("/g", routes)):
        with pytest.raises(TypeError, match=complaint):
            Router([make(routes)])


def test_arguments_of_a_route_in_the_wrong_order_are_told():
    with pytest.raises(TypeError, match="a path is text that begins with a slash, and comes first, not <function"):
        Route(hello, "/")


def test_a_route_without_a_limit_needs_a_listener_that_streams():
    app = Router([Route("/x", hello, max_body=None)])
    with pytest.raises(ValueError, match="'/x': buffered bodies need a limit"):
        rr.Listener(app)
    assert rr.Listener(app, body="streaming").status == "new"
    with pytest.raises(ValueError, match="'/y': buffered bodies need a limit"):
        rr.Listener(Router([Route("/y", hello, body="buffered")]), body="streaming", limits=rr.Limits(max_body=None))


def test_what_is_shown_of_them_says_what_they_are():
    route = Route("/x", hello, methods=["PUT", "GET"])
    assert repr(route) == "<Route GET PUT /x>"
    assert repr(Route("/x", hello)) == "<Route /x>"
    assert repr(Group("/a", [route])) == "<Group /a of 1>"
    assert repr(INHERIT) == "INHERIT"


# -- names ---------------------------------------------------------------------------------------


NAMED = Router(
    [
        Route("/", hello, name="home"),
        Route("/x%20y/:name", hello, name="one"),
        Group(
            "/admin/:org/", [Route("/files/*path", hello, name="file"), Route("/", hello, name="home")], name="admin"
        ),
        Group("/plain", [Route("/y", hello, name="y"), Route("/z", hello)]),
        Route("/plain/:x/", hello, name="slash"),
    ]
)


def test_url_for_fills_in_what_the_path_captures():
    assert NAMED.url_for("home") == "/"
    assert NAMED.url_for("one", name="a b/ü?") == "/x%20y/a%20b%2F%C3%BC%3F"
    assert NAMED.url_for("one", name=7) == "/x%20y/7"
    assert NAMED.url_for("admin.file", org="o", path="a/b c") == "/admin/o/files/a/b%20c"
    assert NAMED.url_for("admin.file", org="o", path="/a//b/") == "/admin/o/files/a/b/"
    assert NAMED.url_for("admin.file", org="o", path="//") == "/admin/o/files/"
    assert NAMED.url_for("admin.file", org="o", path="") == "/admin/o/files/"
    assert NAMED.url_for("slash", x="y") == "/plain/y/"
    assert NAMED.url_for("admin.home", org="o") == "/admin/o"
    assert NAMED.url_for("y") == "/plain/y"


@pytest.mark.parametrize(
    ("name", "bindings", "error", "message"),
    [
        ("nobody", {}, LookupError, r"no route is called 'nobody'; there are \['admin.file', 'admin.home', 'home'"),
        ("one", {}, ValueError, r"'one' \(/x%20y/:name\) needs \['name'\], not \[\]"),
        ("one", {"name": "a", "more": 1}, ValueError, r"needs \['name'\], not \['more', 'name'\]"),
        ("home", {"name": "a"}, ValueError, r"needs \[\], not \['name'\]"),
        ("one", {"name": ""}, ValueError, "'' for 'name' cannot be part of a URL"),
        ("one", {"name": ".."}, ValueError, "'..' for 'name' cannot be part of a URL"),
        ("admin.file", {"org": "o", "path": "a/../b"}, ValueError, "'a/../b' for 'path' cannot be part of a URL"),
        ("one", {"name": None}, TypeError, "'name' is text or a number, not None"),
    ],
)
def test_url_for_says_what_is_wrong(name, bindings, error, message):
    with pytest.raises(error, match=message):
        NAMED.url_for(name, **bindings)
