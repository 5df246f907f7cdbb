"""Middlewares: who wraps whom, what they may do, and what they never see."""

from __future__ import annotations

import pytest
import trio

import roadrunner_trio as rr
from roadrunner_trio.answering.middleware import checked, compose
from roadrunner_trio.answering.respond import as_app, native
from roadrunner_trio.apps.router import Group, Route, Router
from roadrunner_trio.messages.exchange import Plan
from roadrunner_trio.testing import Client, open_server


async def hello(request):
    return rr.Response.text("hello")


def marking(name):
    """A middleware that leaves its name in the request's state on the way in, and in a field on the way out."""

    async def mark(request, call_next):
        request.state = [*(request.state or []), name]
        response = await call_next(request)
        response.fields.append((b"x-out", name.encode()))
        return response

    return mark


async def trail(request):
    """Says which middlewares the request came through."""
    return rr.Response.text(" ".join(request.state or []))


def ways(response):
    """The way in and the way out."""
    return response.text.split(), [value.decode() for name, value in response.fields if name == b"x-out"]


async def test_the_first_is_the_outermost():
    async with open_server(trail, middlewares=[marking("a"), marking("b"), marking("c")]) as server:
        response = await server.client().get("/")
    assert ways(response) == (["a", "b", "c"], ["c", "b", "a"])


async def test_listener_wraps_router_wraps_group_wraps_route():
    table = [
        Group(
            "/one",
            [
                Group(
                    "/two",
                    [Route("/three", trail, middlewares=[marking("route"), marking("inmost")])],
                    middlewares=[marking("inner group")],
                )
            ],
            middlewares=[marking("group")],
        ),
        Route("/alone", trail),
    ]
    app = Router(table, middlewares=[marking("router")])
    async with open_server(app, middlewares=[marking("listener")]) as server:
        client = server.client()
        nested = await client.get("/one/two/three")
        alone = await client.get("/alone")
    order = ["listener", "router", "group", "inner group", "route", "inmost"]
    assert nested.text == " ".join(order)
    assert ways(nested)[1] == order[::-1]
    assert ways(alone) == (["listener", "router"], ["router", "listener"])


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("GET", "/nothing", 404),
        ("DELETE", "/thing", 405),
        ("OPTIONS", "/thing", 204),
        ("OPTIONS", "*", 204),
        ("CONNECT", "host:1", 404),
    ],
)
async def test_what_the_router_answers_goes_through_those_that_wrap_all_of_it(method, target, status):
    group = Group("/", [Route("/thing", hello, methods=["GET"])], middlewares=[marking("group")])
    app = Router([group], middlewares=[marking("router")])
    async with open_server(app, middlewares=[marking("listener")]) as server:
        response = await server.client().request(method, target)
    assert response.status == status
    assert ways(response)[1] == ["router", "listener"]


async def test_the_first_may_answer_itself():
    async def guard(request, call_next):
        if request.header("authorization") is None:
            return rr.Response.text("who are you?", status=401)
        return await call_next(request)

    ran = []

    async def handler(request):
        ran.append(request.path)
        return rr.Response.text("welcome")

    async with open_server(handler, middlewares=[guard]) as server:
        client = server.client()
        assert (await client.get("/a")).status == 401
        assert (await client.get("/b", fields={"authorization": "x"})).text == "welcome"
    assert ran == ["/b"]


async def test_they_may_change_any_kind_of_response():
    async def stream(request):
        async def produce(send):
            await send(b"piece")

        return rr.StreamResponse(produce)

    async with open_server(stream, middlewares=[marking("m")]) as server:
        response = await server.client().get("/")
    assert (response.body, response.header("x-out")) == (b"piece", "m")


async def test_they_may_replace_the_response():
    async def loud(request, call_next):
        response = await call_next(request)
        return rr.Response.text(response.body.decode().upper())

    async with open_server(hello, middlewares=[loud]) as server:
        assert (await server.client().get("/")).text == "HELLO"


async def test_the_response_is_written_after_the_outermost_has_returned():
    steps = []

    async def timing(request, call_next):
        response = await call_next(request)
        steps.append("middleware returned")
        return response

    async def handler(request):
        async def produce(send):
            steps.append("response written")
            await send(b"x")

        return rr.StreamResponse(produce)

    async with open_server(handler, middlewares=[timing]) as server:
        await server.client().get("/")
    assert steps == ["middleware returned", "response written"]


async def test_exceptions_go_through_them_and_may_be_caught():
    seen = []

    async def watch(request, call_next):
        try:
            return await call_next(request)
        except rr.HTTPError as error:
            seen.append(error.status)
            raise

    async def explain(request, call_next):
        try:
            return await call_next(request)
        except rr.HTTPError as error:
            if error.status != 410:
                raise
            return rr.Response.text("long gone", status=410)

    async def handler(request):
        raise rr.HTTPError(int(request.path[1:]))

    async with open_server(handler, middlewares=[explain, watch]) as server:
        client = server.client()
        assert (await client.get("/410")).text == "long gone"
        assert (await client.get("/409")).text == "Conflict"
    assert seen == [410, 409]


async def test_a_crash_in_one_is_a_500(caplog):
    async def crash(request, call_next):
        await call_next(request)
        raise RuntimeError("no luck")

    async with open_server(hello, middlewares=[crash]) as server:
        response = await server.client().get("/")
    assert (response.status, response.header("connection")) == (500, "close")
    (record,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert str(record.exc_info[1]) == "no luck"


@pytest.mark.parametrize("where", ["listener", "router", "route", "handler"])
async def test_who_returns_no_response_is_named(where, caplog):
    async def forgetful(request, call_next):
        await call_next(request)

    async def forgetful_handler(request):
        pass

    around = {name: [forgetful] if name == where else [] for name in ("listener", "router", "route")}
    handler = forgetful_handler if where == "handler" else hello
    app = Router([Route("/", handler, middlewares=around["route"])], middlewares=around["router"])
    async with open_server(app, middlewares=around["listener"]) as server:
        assert (await server.client().get("/")).status == 500
    (record,) = [record for record in caplog.records if record.levelname == "ERROR"]
    culprit = "forgetful_handler" if where == "handler" else "forgetful"
    assert f".{culprit} returned None, which is not a response" in str(record.exc_info[1])


async def test_they_may_be_objects_with_a_call():
    class Counting:
        def __init__(self):
            self.count = 0

        async def __call__(self, request, call_next):
            self.count += 1
            return await call_next(request)

    counting = Counting()
    async with open_server(hello, middlewares=[counting]) as server:
        client = server.client()
        assert [(await client.get("/")).text for _ in range(3)] == ["hello"] * 3
    assert counting.count == 3


async def test_nothing_is_composed_again_for_a_request():
    given = []

    async def watch(request, call_next):
        given.append(call_next)
        return await call_next(request)

    app = Router([Route("/", hello, middlewares=[watch])], middlewares=[watch])
    async with open_server(app, middlewares=[watch]) as server:
        client = server.client()
        await client.get("/")
        await client.get("/")
    assert len(given) == 6
    assert given[:3] == given[3:]
    assert given[2] is hello


def test_without_middlewares_nothing_stands_before_the_handler():
    app = as_app(hello, "buffered", rr.Limits(), rr.Timeouts(), ())
    assert isinstance(app, native)
    assert app.handler is hello
    assert compose((), hello) is hello


async def test_a_single_connection_has_them_too():
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: rr.serve_connection(theirs, trail, middlewares=[marking("a")]))
        response = await Client(ours).get("/")
        await ours.aclose()
    assert ways(response) == (["a"], ["a"])


@pytest.mark.parametrize(
    "make",
    [
        lambda bad: rr.Listener(hello, middlewares=bad),
        lambda bad: Router([], middlewares=bad),
        lambda bad: Route("/", hello, middlewares=bad),
        lambda bad: Group("/", [], middlewares=bad),
    ],
)
def test_what_is_no_middleware_fails_when_it_is_given(make):
    with pytest.raises(
        TypeError, match=r"a middleware is an async function of a request and the next call, not 'gzip'"
    ):
        make(["gzip"])
    with pytest.raises(TypeError, match=r"middlewares is a list, the outermost first; write \[.*mark\]"):
        make(marking("alone"))


def test_a_generator_is_no_middleware():
    async def around(request, call_next):
        yield await call_next(request)

    with pytest.raises(TypeError, match=r"around is a generator function: a middleware is .* instead of yielding"):
        rr.Listener(hello, middlewares=[around])
    assert checked([lambda request, call_next: call_next(request)])


def test_any_sequence_will_do():
    one = marking("one")
    assert checked([one]) == checked((one,)) == (one,)


def test_an_app_that_writes_by_itself_has_none():
    class Bare:
        def plan(self, request):
            return Plan()

        async def __call__(self, exchange):
            await exchange.respond(200, (), b"")

    assert rr.Listener(Bare()).status == "new"
    with pytest.raises(TypeError, match="middlewares wrap handlers and routers"):
        rr.Listener(Bare(), middlewares=[marking("m")])
