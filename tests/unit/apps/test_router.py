"""The router: which route answers, what it binds, what it says when none does, and how it is replaced."""

from __future__ import annotations

import gc
import math

import pytest
import trio

import roadrunner_trio as rr
from roadrunner_trio.apps.router import Endpoint, Group, Route, Router
from roadrunner_trio.testing import open_server


def saying(name):
    """A handler that answers with ``name`` and what was bound."""

    async def say(request):
        bound = "".join(f" {key}={value}" for key, value in request.bindings.items())
        return rr.Response.text(name + bound)

    return say


async def hello(request):
    return rr.Response.text("hello")


async def texts(app, *targets, method="GET"):
    """What a router answers to each of these on one connection; the status where it is not 200."""
    async with open_server(app) as server:
        client = server.client()
        responses = [await client.request(method, target) for target in targets]
    return [response.text if response.status == 200 else response.status for response in responses]


async def allowed(app, method, target="/x"):
    """Status and Allow."""
    async with open_server(app) as server:
        response = await server.client().request(method, target)
    return response.status, response.header("allow")


# -- paths ---------------------------------------------------------------------------------------


async def test_literals_match_octet_by_octet():
    app = Router([Route("/a/b", saying("ab")), Route("/a%20b", saying("space"))])
    assert await texts(app, "/a/b", "/A/b", "/a%2Fb", "/a/%62", "/a%20b") == ["ab", 404, 404, 404, "space"]


async def test_the_query_is_no_part_of_the_path():
    app = Router([Route("/a/:b", saying("ab"))])
    assert await texts(app, "/a/b?c/d", "/a/?b") == ["ab b=b", 404]


async def test_dots_are_ordinary_segments():
    assert await texts(Router([Route("/a/:b/c", saying("ok"))]), "/a/../c", "/c") == ["ok b=..", 404]


async def test_one_segment_is_captured_and_never_an_empty_one():
    app = Router([Route("/users/:id", saying("user"))])
    assert await texts(app, "/users/7", "/users/", "/users", "/users/7/8") == ["user id=7", 404, 404, 404]


async def test_the_rest_is_what_stands_behind_the_slash_and_may_be_nothing():
    app = Router([Route("/files/*path", saying("file"))])
    targets = "/files/", "/files/a", "/files/a/b/c/", "/files", "/file"
    assert await texts(app, *targets) == ["file path=", "file path=a", "file path=a/b/c/", 404, 404]


async def test_absolute_form_is_matched_by_its_path():
    app = Router([Route("/", saying("root")), Route("/a", saying("a"))])
    assert await texts(app, "http://elsewhere/a", "http://elsewhere") == ["a", "root"]  # N14


async def test_bindings_are_decoded_and_raw_ones_are_not():
    seen = []

    async def handler(request):
        seen.append((dict(request.bindings), dict(request.raw_bindings)))
        return rr.Response()

    async with open_server(Router([Route("/:a/*rest", handler)])) as server:
        client = server.client()
        for target in ("/gr%C3%BC%C3%9Fe/x%2Fy/%2e%2e", "/100%/a%FFb", "/+/"):
            await client.get(target)
    assert seen == [
        ({"a": "grüße", "rest": "x/y/.."}, {"a": b"gr%C3%BC%C3%9Fe", "rest": b"x%2Fy/%2e%2e"}),
        ({"a": "100%", "rest": "a%FFb"}, {"a": b"100%", "rest": b"a%FFb"}),  # what cannot be decoded stays
        ({"a": "+", "rest": ""}, {"a": b"+", "rest": b""}),
    ]


async def test_without_captures_or_without_a_router_there_are_no_bindings():
    async def handler(request):
        return rr.Response.json([dict(request.bindings), list(request.raw_bindings), request.endpoint is None])

    assert await texts(Router([Route("/", handler)]), "/") == ["[{},[],false]"]
    assert await texts(handler, "/") == ["[{},[],true]"]


# -- order ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", ["/a/b", "/a/:x", "/:x/b", "/:x/:y", "/*rest", "/a/*rest", "/:x/*rest"])
async def test_the_first_match_wins_however_specific_another_is(first):
    others = ["/a/b", "/a/:x", "/:x/b", "/:x/:y", "/*rest", "/a/*rest", "/:x/*rest"]
    others.remove(first)
    app = Router([Route(path, saying(path)) for path in (first, *others)])
    (text,) = await texts(app, "/a/b")
    assert text.split()[0] == first


async def test_a_later_route_gets_what_earlier_ones_do_not_match():
    app = Router([Route("/a/:x/c", saying("one")), Route("/:y/b/*z", saying("two")), Route("/*w", saying("three"))])
    assert await texts(app, "/a/b/c", "/a/b/d", "/a/c") == ["one x=b", "two y=a z=d", "three w=a/c"]


# -- methods -------------------------------------------------------------------------------------


async def test_without_methods_a_route_takes_all():
    app = Router([Route("/x", hello)])
    for method in ("GET", "POST", "OPTIONS", "M-SEARCH", "get"):
        assert await texts(app, "/x", method=method) == ["hello"]


async def test_a_wrong_method_is_405_with_all_that_the_path_takes():
    app = Router(
        [
            Route("/x", hello, methods=["PUT"]),
            Route("/:any", hello, methods=["GET", "PATCH"]),
            Route("/*rest", hello, methods=["M-SEARCH"]),  # N13: any token
            Route("/y", hello, methods=["DELETE"]),
        ]
    )
    assert await allowed(app, "POST") == (405, "GET, HEAD, M-SEARCH, OPTIONS, PATCH, PUT")
    assert await allowed(app, "get") == (405, "GET, HEAD, M-SEARCH, OPTIONS, PATCH, PUT")
    assert await allowed(app, "POST", "/") == (405, "M-SEARCH, OPTIONS")


async def test_a_wrong_method_goes_on_to_later_routes():
    app = Router([Route("/x", saying("get"), methods=["GET"]), Route("/:a", saying("all"))])
    assert await texts(app, "/x") == ["get"]
    assert await texts(app, "/x", method="POST") == ["all a=x"]
    assert await texts(app, "/x", method="OPTIONS") == ["all a=x"]


async def test_of_two_routes_with_one_path_each_has_its_methods_and_one_the_rest():
    app = Router(
        [
            Route("/:a", saying("first"), methods=["GET"]),
            Route("/:b", saying("second"), methods=["PUT"]),
            Route("/:c", saying("rest")),
        ]
    )
    assert await texts(app, "/x") == ["first a=x"]
    assert await texts(app, "/x", method="PUT") == ["second b=x"]
    assert await texts(app, "/x", method="POST") == ["rest c=x"]


async def test_a_route_for_all_methods_hides_later_ones():
    app = Router([Route("/:a", saying("all")), Route("/x", hello, methods=["GET"])])
    assert await texts(app, "/x", "/y") == ["all a=x", "all a=y"]


async def head_answered_by(app, target="/x"):
    """Which handler saw a HEAD request, told by a field since there is no content."""
    async with open_server(app) as server:
        stream = server.connect()
        await stream.send_all(b"HEAD %b HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n" % target.encode())
        head, end, content = b"".join([piece async for piece in stream]).partition(b"\r\n\r\n")
    assert (end, content) == (b"\r\n\r\n", b"")
    return [line for line in head.decode().split("\r\n") if line.startswith(("x-by", "content-length", "HTTP"))]


def signing(name):
    async def handler(request):
        return rr.Response(b"1234567", fields={"x-by": f"{name} {request.method}"})

    return handler


async def test_head_comes_with_get_and_has_no_content():
    app = Router([Route("/x", signing("get"), methods=["GET"])])
    assert await head_answered_by(app) == ["HTTP/1.1 200 OK", "x-by: get HEAD", "content-length: 7"]


async def test_a_route_that_lists_head_takes_it_wherever_it_stands_on_that_path():
    app = Router(
        [
            Route("/x", signing("get"), methods=["GET"]),
            Route("/*all", signing("elsewhere"), methods=["HEAD"]),
            Route("/x", signing("head"), methods=["HEAD"]),
        ]
    )
    assert "x-by: elsewhere HEAD" in await head_answered_by(app)  # the first of those that take it
    app = Router([Route("/:a", signing("get"), methods=["GET"]), Route("/:b", signing("head"), methods=["HEAD"])])
    assert "x-by: head HEAD" in await head_answered_by(app)
    app = Router([Route("/x", signing("get"), methods=["GET"]), Route("/*all", signing("any"))])
    assert "x-by: get HEAD" in await head_answered_by(app)  # a route for all methods lists none


async def test_options_is_answered_unless_it_is_taken():
    app = Router([Route("/x", hello, methods=["GET"]), Route("/y", saying("mine"), methods=["OPTIONS", "POST"])])
    assert await allowed(app, "OPTIONS") == (204, "GET, HEAD, OPTIONS")
    assert await texts(app, "/y", method="OPTIONS") == ["mine"]
    assert await allowed(app, "GET", "/y") == (405, "OPTIONS, POST")
    assert await allowed(app, "OPTIONS", "/z") == (404, None)


async def test_options_of_the_server_lists_what_any_route_takes():
    table = [Route("/x", hello, methods=["GET"]), Route("/y", hello, methods=["BREW"])]
    assert await allowed(Router(table), "OPTIONS", "*") == (204, "BREW, GET, HEAD, OPTIONS")
    every = [*table, Route("/z", hello)]
    common = "BREW, DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"
    assert await allowed(Router(every), "OPTIONS", "*") == (204, common)
    assert await allowed(Router([]), "OPTIONS", "*") == (204, "OPTIONS")


async def test_connect_is_for_routes_that_list_it():
    async def tunnel(request):
        return rr.Response.text(request.bindings["authority"], status=502)

    app = Router([Route("/:all", hello), Route("/:authority", tunnel, methods=["CONNECT"])])
    async with open_server(app) as server:
        response = await server.client().request("CONNECT", "host:443")
    assert (response.status, response.text) == (502, "host:443")
    only = Router([Route("/:authority", tunnel, methods=["CONNECT", "GET"]), Route("/y", hello, methods=["CONNECT"])])
    assert await allowed(only, "PUT") == (405, "GET, HEAD, OPTIONS")
    assert await allowed(Router([Route("/:all", hello)]), "CONNECT", "host:443") == (404, None)
    assert await allowed(Router([Route("/x", tunnel, methods=["CONNECT"])]), "GET") == (404, None)


# -- the router's own answers --------------------------------------------------------------------


class Watch(rr.Observer):
    def __init__(self):
        self.events = []

    def request_start(self, event):
        self.events.append(("start", event.request.path, event.request.endpoint.pattern))

    def request_stop(self, event):
        self.events.append(("stop", event.request.path, event.status))


async def test_404_and_405_are_ordinary_responses():
    watch = Watch()
    async with open_server(Router([Route("/x", hello, methods=["GET"])]), observers=[watch]) as server:
        client = server.client()  # N1, N2: one connection for all
        missing = await client.post("/nothing", b"content")
        wrong = await client.post("/x", b"content")
        right = await client.get("/x")
    assert [missing.status, wrong.status, right.status] == [404, 405, 200]
    for response, text in ((missing, "Not Found"), (wrong, "Method Not Allowed")):
        assert response.text == text
        assert response.header("date") is not None
        assert response.header("connection") is None
    assert watch.events == [
        ("start", "/nothing", ""), ("stop", "/nothing", 404), ("start", "/x", ""), ("stop", "/x", 405),
        ("start", "/x", "/x"), ("stop", "/x", 200),
    ]  # fmt: skip


async def test_nobody_waits_for_a_body_to_say_404(autojump_clock):
    async with open_server(Router([Route("/x", hello, methods=["GET"])])) as server:
        for target, status in ((b"/nothing", b"404"), (b"/x", b"405")):
            stream = server.connect()
            start = trio.current_time()
            await stream.send_all(b"POST %b HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nfour" % target)
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 " + status)
            assert trio.current_time() == start


async def test_nobody_is_asked_to_send_a_body_for_a_404():
    async with open_server(Router([])) as server:
        stream = server.connect()
        await stream.send_all(b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        response = b"".join([piece async for piece in stream])
    assert response.startswith(b"HTTP/1.1 404 Not Found\r\n")
    assert b"\r\nconnection: close\r\n" in response


async def test_a_middleware_that_changes_a_404_changes_that_one_alone():
    async def stamp(request, call_next):
        response = await call_next(request)
        response.fields.append((b"x-stamp", request.path.encode()))
        return response

    async with open_server(Router([Route("/x", hello, methods=["PUT"])]), middlewares=[stamp]) as server:
        client = server.client()
        for target in ("/a", "/b", "/x", "/x"):
            response = await client.get(target)
            assert [value for name, value in response.fields if name == b"x-stamp"] == [target.encode()]


# -- what a route says of itself -----------------------------------------------------------------


async def test_the_endpoint_is_one_object_a_route():
    seen = []

    async def handler(request):
        seen.append(request.endpoint)
        return rr.Response()

    route = Route("/:id", handler, methods=["GET"], name="one")
    app = Router([Group("/users/", [route], name="users")])
    await texts(app, "/users/1", "/users/2")
    assert seen[0] is seen[1]
    assert isinstance(seen[0], Endpoint)
    assert (seen[0].pattern, seen[0].name, seen[0].route) == ("/users/:id", "users.one", route)
    assert seen[0].methods == {"GET", "HEAD"}
    assert app.endpoints == (seen[0],)


async def test_the_state_of_a_route_is_there_before_any_middleware():
    seen = []

    async def watch(request, call_next):
        seen.append(request.state)
        return await call_next(request)

    state = {"dir": "/srv"}
    async with open_server(Router([Route("/x", hello, state=state)]), middlewares=[watch]) as server:
        client = server.client()
        await client.get("/x")
        await client.get("/y")
    assert seen[0] is state
    assert seen[1] is None


async def test_a_route_may_have_a_body_limit_of_its_own():
    async def size(request):
        return rr.Response.text(str(len(await request.read())))

    app = Router([Route("/small", size, max_body=3), Route("/large", size, max_body=12), Route("/as-is", size)])
    async with open_server(app, limits=rr.Limits(max_body=6)) as server:
        for target, octets, status in (
            ("/small", 3, 200), ("/small", 4, 413), ("/large", 12, 200), ("/large", 13, 413), ("/as-is", 6, 200),
            ("/as-is", 7, 413), ("/nothing", 7, 413), ("/nothing", 6, 404),
        ):  # fmt: skip
            response = await server.client().post(target, b"x" * octets)
            assert (target, octets, response.status) == (target, octets, status)


async def test_a_route_may_stream_its_body_without_a_limit():
    async def first(request):
        async for piece in request.stream():
            return rr.Response.text(piece.decode())
        return rr.Response.text("nothing")

    app = Router([Route("/x", first, body="streaming", max_body=None)])
    async with open_server(app, limits=rr.Limits(max_body=6)) as server:
        stream = server.connect()
        await stream.send_all(b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\nfirst")
        assert (await stream.receive_some()).endswith(b"\r\n\r\nfirst")


async def test_a_route_may_have_a_time_limit_of_its_own(autojump_clock):
    async def slow(request):
        await trio.sleep(8)
        return rr.Response.text("slow")

    app = Router([Route("/a", slow, timeout=5), Route("/b", slow), Route("/c", slow, timeout=math.inf)])
    async with open_server(app, timeouts=rr.Timeouts(handler=7)) as server:
        for target, status, seconds in (("/a", 503, 5), ("/b", 503, 7), ("/c", 200, 8)):
            start = trio.current_time()
            assert (await server.client().get(target)).status == status
            assert trio.current_time() - start == seconds


async def test_one_router_on_two_listeners_has_the_limits_of_each():
    app = Router([Route("/x", hello)])
    async with (
        open_server(app, limits=rr.Limits(max_body=1)) as tight,
        open_server(app, limits=rr.Limits(max_body=9)) as wide,
    ):
        assert (await tight.client().post("/x", b"12")).status == 413
        assert (await wide.client().post("/x", b"12")).status == 200
        app.reload([Route("/y", hello)])
        assert (await tight.client().post("/y", b"12")).status == 413
        assert (await wide.client().post("/y", b"12")).status == 200
        assert (await wide.client().get("/x")).status == 404


async def test_inside_of_another_app_it_has_the_default_limits():
    class Counting:
        def __init__(self, inner):
            self.inner, self.count = inner, 0

        def plan(self, request):
            self.count += 1
            return self.inner.plan(request)

        async def __call__(self, exchange):
            await self.inner(exchange)

    app = Counting(Router([Route("/:x", saying("x"))]))
    assert await texts(app, "/1", "/", "/3") == ["x x=1", 404, "x x=3"]
    assert app.count == 3


# -- reload --------------------------------------------------------------------------------------


async def test_reload_replaces_all_routes_for_requests_to_come(autojump_clock):
    async def slow(request):
        await trio.sleep(2)
        return rr.Response.text(f"old {request.bindings['x']} {request.endpoint.pattern}")

    async with open_server(Router([Route("/a/:x", slow, name="a")])) as server, trio.open_nursery() as nursery:
        answers = []

        async def ask():
            answers.append((await server.client().get("/a/1")).text)

        nursery.start_soon(ask)
        await trio.sleep(1)
        server.listener.reload_routes([Route("/b/:x", saying("new"), name="b")])
        client = server.client()
        assert (await client.get("/a/1")).status == 404
        assert (await client.get("/b/1")).text == "new x=1"
        assert answers == []
    assert answers == ["old 1 /a/:x"]  # routed before the reload: it keeps what it has


async def test_a_connection_sees_the_new_routes_with_its_next_request():
    app = Router([Route("/x", saying("old"))])
    async with open_server(app) as server:
        client = server.client()
        assert (await client.get("/x")).text == "old"
        app.reload([Route("/x", saying("new"), max_body=1)])
        assert (await client.get("/x")).text == "new"
        assert (await client.post("/x", b"12")).status == 413


async def test_middlewares_of_the_listener_stay_around_new_routes():
    async def stamp(request, call_next):
        response = await call_next(request)
        response.fields.append((b"x-stamp", b"1"))
        return response

    app = Router([])
    async with open_server(app, middlewares=[stamp]) as server:
        server.listener.reload_routes([Route("/x", hello)])
        response = await server.client().get("/x")
    assert (response.text, response.header("x-stamp")) == ("hello", "1")


def test_only_a_router_has_routes_to_reload():
    listener = rr.Listener(hello, name="plain")
    with pytest.raises(RuntimeError, match=r"listener 'plain' serves .*hello.*, which is no router and has no routes"):
        listener.reload_routes([Route("/x", hello)])


def test_listeners_that_are_gone_have_no_say():
    app = Router([Route("/x", hello)])
    rr.Listener(app)
    gc.collect()
    app.reload([Route("/x", hello, max_body=None)])  # no listener is left that buffers
    assert [endpoint.route.max_body for endpoint in app.endpoints] == [None]
