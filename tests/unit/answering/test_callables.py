"""What a server is given to call is looked at when the server is made."""

from __future__ import annotations

import functools
import gc
import types
from unittest import mock

import pytest
import trio
import trio_websocket

import roadrunner_trio as rr
from roadrunner_trio.answering.callables import gives_awaitable
from roadrunner_trio.apps.router import Group, Route, Router
from roadrunner_trio.testing import open_server


async def hello(request):
    return rr.Response.text("hello")


def plain(request):
    return rr.Response.text("hello")


async def yielding(request):
    yield b"hello"


def generating(request):
    yield b"hello"


async def chat(request: rr.WebSocketRequest):
    """An unwrapped WebSocket handler."""


async def old_chat(request: trio_websocket.WebSocketRequest):
    """One that was written for trio-websocket."""


async def of_two(request, other):
    """Takes more than it is given, unless some of it is given before."""
    return rr.Response.text("two")


class Site:
    """Objects that can be called."""

    def __init__(self, inner=None):
        self.inner = inner

    async def __call__(self, request):
        return rr.Response.text("site")

    async def page(self, request):
        return rr.Response.text("page")

    def old_page(self, request):
        return rr.Response.text("page")

    def passing(self, request):
        return self.inner(request)

    @classmethod
    async def of_class(cls, request):
        return rr.Response.text("class")

    @staticmethod
    async def static(request):
        return rr.Response.text("static")


class PlainSite:
    def __call__(self, request):
        return rr.Response.text("site")


class Delegate:
    def __init__(self, inner):
        self.inner = inner

    def __call__(self, request):
        return self.inner(request)


class Awaitable:
    """A class whose instances can be awaited: calling it is as good as calling an async function."""

    def __init__(self, request):
        self.request = request

    def __await__(self):
        return hello(self.request).__await__()


def wrapped(function):
    @functools.wraps(function)
    def inner(*args):
        return function(*args)

    return inner


def wrapped_without_wraps(function):
    def inner(*args):
        return function(*args)

    return inner


def promising(request) -> rr.CallNext:
    """Not async, and says so: no."""


def annotated(request) -> types.CoroutineType:
    return globals()["hel" + "lo"](request)


@types.coroutine
def old_style(request):
    yield from hello(request).__await__()
    return rr.Response.text("old")


REFUSED = [
    (plain, "plain is a plain function"),
    (lambda request: rr.Response(), "<lambda> is a plain function"),
    (functools.partial(plain), "plain is a plain function"),
    (functools.partial(functools.partial(plain)), "plain is a plain function"),
    (Site().old_page, "Site.old_page is a plain function"),
    (PlainSite(), "PlainSite.__call__ is a plain function"),
    (wrapped(plain), "plain is a plain function"),
    (promising, "promising is a plain function"),
    (Site, "Site is a class"),
    (rr.Response, "Response is a class"),
    (Router, "Router is a class"),
    (yielding, "yielding is a generator function"),
    (generating, "generating is a generator function"),
    (functools.partial(yielding), "yielding is a generator function"),
    (chat, r"chat takes a WebSocketRequest, so it is a WebSocket handler: write websocket\(chat\)"),
    (old_chat, "old_chat takes a WebSocketRequest, so it is a WebSocket handler"),
    (of_two, r"of_two\(request, other\) cannot be called as a handler is"),
    (Site.page, r"Site.page\(self, request\) cannot be called as a handler is"),
    (None, "not None"),
    ("app:handler", "not 'app:handler'"),
    (types, "not <module 'types'"),
]

ACCEPTED = [
    hello,
    Site(),
    Site().page,
    Site.of_class,
    Site.static,
    Awaitable,
    functools.partial(of_two, other=1),
    functools.partial(wrapped_without_wraps(of_two), None),
    wrapped(hello),
    wrapped_without_wraps(hello),
    wrapped_without_wraps(wrapped_without_wraps(hello)),
    lambda request: hello(request),
    Site(hello).passing,
    Delegate(hello),
    Delegate(Site()),
    annotated,
    old_style,
    mock.AsyncMock(spec=hello, return_value=rr.Response()),
    rr.websocket(chat),
]


def called(thing):
    return getattr(thing, "__qualname__", repr(thing))


async def takes_it(handler, *, by):
    """Gives a handler to one who takes handlers."""
    match by:
        case "Listener":
            rr.Listener(handler)
        case "run":
            await trio.to_thread.run_sync(rr.run, handler, "127.0.0.1:0")
        case "serve_connection":
            await rr.serve_connection(trio.testing.memory_stream_pair()[0], handler)
        case "open_server":
            async with open_server(handler):
                pass
        case "Route":
            Route("/x", handler)
        case "reload":
            Router([]).reload([Group("/a", [Route("/x", handler)])])


@pytest.mark.parametrize("by", ["Listener", "run", "serve_connection", "open_server", "Route", "reload"])
@pytest.mark.parametrize(("handler", "complaint"), REFUSED, ids=called)
async def test_what_is_no_handler_is_said_before_it_runs(handler, complaint, by):
    with pytest.raises(TypeError, match=complaint) as caught:
        await takes_it(handler, by=by)
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert "async function of one request" in sentence or "write websocket(" in sentence
    assert sentence.startswith("'/x': ") is (by in ("Route", "reload"))


@pytest.mark.parametrize("handler", ACCEPTED, ids=called)
async def test_what_gives_something_to_await_passes(handler):
    assert gives_awaitable(handler) is not False
    Route("/x", handler)
    async with open_server(handler) as server:
        assert (await server.client().get("/")).status in (200, 426)


@pytest.mark.parametrize("by", ["Listener", "serve_connection", "Route"])
async def test_a_coroutine_is_not_the_function_and_is_closed_quietly(by, recwarn):
    with pytest.raises(TypeError, match=r"hello has been called already: a .* is the function itself, hello without"):
        await takes_it(hello(None), by=by)
    gc.collect()
    assert list(recwarn) == []


async def test_what_only_a_call_can_tell_is_told_then(caplog):
    broken = wrapped_without_wraps(hello)
    broken.__closure__[0].cell_contents = plain
    async with open_server(lambda request: broken(request) if hello else None) as server:
        assert (await server.client().get("/")).status == 500
    (record,) = caplog.records
    assert "<lambda> returned <Response 200 OK>, which cannot" in str(record.exc_info[1])
    assert "be awaited: a handler is an async function of one request" in str(record.exc_info[1])


async def forgetful(request):
    return hello(request)


async def forgetful_middleware(request, call_next):
    return call_next(request)


@pytest.mark.parametrize(
    ("handler", "middlewares", "culprit"),
    [(forgetful, (), "forgetful"), (hello, (forgetful_middleware,), "forgetful_middleware")],
)
async def test_a_forgotten_await_is_named_and_python_warns_of_nothing(handler, middlewares, culprit, caplog, recwarn):
    app = Router([Route("/", handler)])
    for served in (handler, app):
        caplog.clear()
        async with open_server(served, middlewares=middlewares) as server:
            assert (await server.client().get("/")).status == 500
        (record,) = caplog.records
        assert f"{culprit} returned <coroutine object" in str(record.exc_info[1])
        assert str(record.exc_info[1]).endswith("which is not a response (forgot await?)")
    del record
    caplog.clear()
    gc.collect()
    assert list(recwarn) == []


# -- middlewares and WebSocket handlers ------------------------------------------------------------


@pytest.mark.parametrize(
    ("middlewares", "complaint"),
    [
        ([hello], r"hello\(request\) cannot be called as a middleware is, an async function of a request and the next"),
        ([Site], "Site is a class"),
        ([yielding], "yielding is a generator function"),
        ([of_two, None], "a middleware is an async function of a request and the next call, not None"),
        (of_two, r"middlewares is a list, the outermost first; write \[of_two\]"),
        ("auth", "middlewares is a list of functions, the outermost first, not 'auth'"),
        (None, "middlewares is a list of functions, the outermost first, not None"),
        (5, "middlewares is a list of functions, the outermost first, not 5"),
    ],
)
def test_what_is_no_middleware_is_said_before_it_runs(middlewares, complaint):
    for make in (
        lambda: rr.Listener(hello, middlewares=middlewares),
        lambda: Route("/", hello, middlewares=middlewares),
        lambda: Group("/", [], middlewares=middlewares),
        lambda: Router([], middlewares=middlewares),
    ):
        with pytest.raises(TypeError, match=complaint):
            make()


async def test_a_plain_middleware_may_pass_on_what_comes_next_and_no_more(caplog):
    def passes(request, call_next):
        return call_next(request) if request.path == "/" else rr.Response()

    async with open_server(hello, middlewares=iter([passes])) as server:
        assert (await server.client().get("/")).text == "hello"
        assert (await server.client().get("/x")).status == 500
    (record,) = caplog.records
    assert "passes returned <Response 200 OK>, which cannot be awaited: a middleware is" in str(record.exc_info[1])


@pytest.mark.parametrize(
    ("handler", "complaint"),
    [
        (Site, "Site is a class: a WebSocket handler is an async function of one request"),
        (yielding, "yielding is a generator function"),
        (of_two, "cannot be called as a WebSocket handler is"),
        (rr.websocket(chat), "websocket takes a Request: a WebSocket handler takes a WebSocketRequest"),
        (None, "a WebSocket handler is an async function of one request, not None"),
    ],
)
def test_what_is_no_websocket_handler_is_said_before_it_runs(handler, complaint):
    with pytest.raises(TypeError, match=complaint):
        rr.websocket(handler)
