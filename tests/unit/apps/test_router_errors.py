"""Errors as an application would have them said, and routes that are added by decorators."""

from __future__ import annotations

import json

import pytest
from story_tools import GET, loud, open_house, post

import roadrunner_trio as rr
from roadrunner_trio.apps.router import Group, Route, Router
from roadrunner_trio.testing import open_server


async def as_problem(request, error):
    return rr.Response.problem(error.status, detail=error.detail)


async def hello(request):
    return rr.Response("hello")


async def no(request):
    raise rr.HTTPError(401, "who are you?", fields={"www-authenticate": "Basic"})


async def crash(request):
    raise KeyError("secret")


async def read(request):
    return rr.Response(await request.read())


ROUTES = [
    Route("/hello", hello, methods=["GET"]),
    Route("/no", no),
    Route("/crash", crash),
    Route("/read", read, body="streaming", max_body=5),
]


async def asked(method, target, body=b"", **settings):
    async with open_server(Router(ROUTES, on_error=as_problem, **settings)) as server:
        return await server.client().request(method, target, body=body)


@pytest.mark.parametrize(
    ("method", "target", "status", "field"),
    [
        ("GET", "/nothing", 404, None),
        ("POST", "/hello", 405, ("allow", "GET, HEAD, OPTIONS")),
        ("GET", "/no", 401, ("www-authenticate", "Basic")),
    ],
)
async def test_an_error_is_said_as_the_application_has_it(method, target, status, field):
    response = await asked(method, target)
    assert (response.status, json.loads(response.body)["status"]) == (status, status)
    assert response.header("content-type") == "application/problem+json"
    if field:
        assert response.header(field[0]) == field[1]


async def test_what_is_no_error_is_left_alone():
    assert (await asked("GET", "/hello")).text == "hello"
    response = await asked("OPTIONS", "/hello")
    assert (response.status, response.body) == (204, b"")


async def test_a_body_that_cannot_be_read():
    response = await asked("POST", "/read", b"123456")
    assert response.status == 413


async def test_what_the_handler_did_not_mean_is_500_and_told_as_ever(caplog):
    async with open_house(Router(ROUTES, on_error=as_problem)) as house:
        peer = house.peer()
        await peer.say(GET.replace(b"/ ", b"/crash "))
        heard = await peer.end()
    head, _, body = heard.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 500 ")
    assert b"connection: close" in head
    assert json.loads(body) == {"title": "Internal Server Error", "status": 500, "detail": "Internal Server Error"}
    event = house.watch.only("exception")
    assert (event.outcome, event.status, type(event.error)) == ("error", 500, KeyError)
    assert len(loud(caplog)) == 1


async def test_the_cause_is_at_hand_and_the_peer_is_told_no_more_than_one_says():
    causes = []

    async def on_error(request, error):
        causes.append(error.__cause__)
        return rr.Response("sorry", status=503)

    async with open_server(Router(ROUTES, on_error=on_error)) as server:
        response = await server.client().get("/crash")
    assert (response.status, response.text) == (503, "sorry")
    assert isinstance(causes[0], KeyError)


async def test_middlewares_see_errors_as_ever(caplog):
    seen = []

    async def around(request, call_next):
        try:
            response = await call_next(request)
        except Exception as exc:
            seen.append(type(exc))
            raise
        seen.append(response.status)
        response.fields.append((b"x-around", b"1"))
        return response

    for target, sees in (("/nothing", 404), ("/no", rr.HTTPError), ("/crash", KeyError), ("/hello", 200)):
        response = await asked("GET", target, middlewares=[around])
        assert seen.pop() == sees
        assert (response.header("x-around") is not None) == isinstance(sees, int)


async def test_what_a_middleware_raises_is_said_too():
    async def locked(request, call_next):
        raise rr.HTTPError(423)

    assert json.loads((await asked("GET", "/hello", middlewares=[locked])).body)["status"] == 423


async def test_an_error_of_the_error_handler_is_500(caplog):
    async def broken(request, error):
        raise ValueError("broken")

    async with open_server(Router(ROUTES, on_error=broken)) as server:
        assert (await server.client().get("/nothing")).status == 500
    assert "broken" in caplog.text


async def test_nothing_is_said_behind_what_has_begun(caplog):
    async def produce(send):
        await send(b"begun")
        raise rr.HTTPError(400)

    async def stream(request):
        return rr.StreamResponse(produce)

    async with open_house(Router([Route("/", stream)], on_error=as_problem)) as house:
        peer = house.peer()
        await peer.say(GET)
        heard = await peer.end()
    assert b"begun" in heard
    assert b"problem" not in heard


async def test_a_peer_that_leaves_is_told_nothing(caplog):
    said = []

    async def on_error(request, error):
        said.append(error)
        return rr.Response()

    router = Router([Route("/", read, body="streaming")], on_error=on_error)
    async with open_house(router) as house:
        peer = house.peer()
        await peer.say(post(b"Content-Length: 5", body=b"12"))
        await peer.close()
        await house.empty()
    assert said == []
    assert house.watch.only("exception").outcome == "gone"


def test_what_is_no_error_handler():
    async def one(request):
        """Never called."""

    for wrong in (one, "x", lambda: None):
        with pytest.raises(TypeError):
            Router(on_error=wrong)


# -- decorators


async def test_routes_are_added_by_decorators():
    router = Router()

    @router.get("/a", name="a")
    async def get(request):
        return rr.Response("get")

    @router.post("/a", max_body=5)
    @router.put("/a")
    async def write(request):
        return rr.Response(request.method)

    @router.patch("/a")
    @router.delete("/a")
    @router.route("/b/:id")
    async def other(request):
        return rr.Response(f"{request.method} {dict(request.bindings)}")

    async with open_server(router) as server:
        client = server.client()
        assert (await client.get("/a")).text == "get"
        assert (await client.request("HEAD", "/a")).status == 200
        for method in ("POST", "PUT"):
            assert (await client.request(method, "/a")).text == method
        for method in ("PATCH", "DELETE"):
            assert (await client.request(method, "/a")).text == f"{method} {{}}"
        assert (await client.request("LOCK", "/b/7")).text == "LOCK {'id': '7'}"
    assert router.url_for("a") == "/a"
    assert len(router.endpoints) == 6
    assert await get(None) is not None


def test_what_cannot_be_a_route_is_said_at_its_line():
    router = Router()
    with pytest.raises(ValueError, match="begins with a slash"):
        router.get("a")(hello)
    with pytest.raises(TypeError, match="plain function"):
        router.get("/a")(plain)
    router.get("/a")(hello)
    router.get("/a")(hello)
    with pytest.raises(ValueError, match="the same"):
        router.url_for("x")


def plain(request):
    """No handler."""


async def test_routes_may_be_added_while_it_serves():
    router = Router([Route("/a", hello)])
    async with open_server(router) as server:
        client = server.client()
        assert (await client.get("/b")).status == 404
        router.add(Route("/b", hello), Group("/c", [Route("/d", hello)]))
        assert (await client.get("/b")).text == "hello"
        assert (await client.get("/c/d")).text == "hello"
        with pytest.raises(ValueError, match="the same"):
            router.add(Route("/b", hello))
        assert (await client.get("/b")).text == "hello"
        router.reload([Route("/e", hello)])
        assert (await client.get("/a")).status == 404
