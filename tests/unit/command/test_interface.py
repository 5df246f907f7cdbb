"""What ``app:app`` is taken for, and what is said of what cannot be served."""

from __future__ import annotations

import functools
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from roadrunner_trio.apps.asgi import asgi
from roadrunner_trio.apps.router import Router
from roadrunner_trio.command.cli import main, parsers
from roadrunner_trio.command.configuration import resolve
from roadrunner_trio.command.explain import LoadError
from roadrunner_trio.command.interface import host, interface_of
from roadrunner_trio.command.serving import prepare


async def native(request):
    pass


async def triple(scope, receive, send):
    pass


class Instance:
    async def __call__(self, scope, receive, send):
        pass


class Wrapped:
    """A decorator's object without a signature of its own."""

    def __init__(self, inner):
        self.__wrapped__ = inner

    def __call__(self, scope, receive, send):
        return self.__wrapped__(scope, receive, send)


class Triple:
    def __init__(self, scope, receive, send):
        pass


class Double:
    def __init__(self, scope):
        pass

    async def __call__(self, receive, send):
        pass


@functools.wraps(triple)
async def decorated(*args, **kwargs):
    await triple(*args, **kwargs)


def wsgi(environ, start_response):
    pass


async def pair(request, more):
    """Nothing: a handler has one parameter, and WSGI does not wait."""


async def anything(*args):
    pass


@pytest.mark.parametrize(
    ("thing", "kind"),
    [
        (native, "native"),
        (Router([]), "native"),
        (asgi(triple), "native"),
        (triple, "asgi"),
        (Instance(), "asgi"),
        (Wrapped(triple), "asgi"),
        (decorated, "asgi"),
        (Triple, "asgi"),
        (Double, "asgi"),
        (lambda scope, receive, send: triple(scope, receive, send), "asgi"),
    ],
)
def test_the_signature_decides(thing, kind):
    assert interface_of(thing, "app:app") == kind


@pytest.mark.parametrize(
    ("thing", "sentence"),
    [
        (wsgi, "app:app is a WSGI application: serve it with a WSGI server"),
        (anything, "app:app takes any number of arguments: say --interface asgi, or native"),
        (Instance, "app:app is a class: name an object of it"),
        (pair, "app:app(request, more) cannot be called with one argument: a handler is `async def"),
        (7, "app:app is an object of type int, which cannot be called"),
    ],
)
def test_what_is_neither_is_told_so(thing, sentence):
    with pytest.raises(LoadError) as caught:
        host(thing, "app:app", settings("app:app"))
    assert str(caught.value).startswith(sentence)


def settings(*argv):
    return resolve(parsers()[0].parse_args(["serve", *argv]), {}).server


def test_the_choice_is_said_and_may_be_made():
    assert host(native, "app:app", settings("app:app")) == (native, "native")
    made, kind = host(triple, "app:app", settings("app:app"))
    assert isinstance(made, asgi)
    assert kind == "asgi"
    assert host(decorated, "app:app", settings("app:app"))[1] == "asgi"
    assert host(anything, "a:b", settings("a:b", "--interface", "asgi"))[1] == "asgi"
    assert host(anything, "a:b", settings("a:b", "--interface", "native"))[1] == "native"


def test_a_choice_that_does_not_fit():
    with pytest.raises(LoadError, match="no ASGI application: that takes scope, receive and send"):
        host(native, "app:app", settings("app:app", "--interface", "asgi"))
    with pytest.raises(LoadError, match="cannot be called with one argument"):
        host(triple, "app:app", settings("app:app", "--interface", "native"))


@pytest.mark.parametrize("option", [["--root-path", "/x"], ["--lifespan", "on"], ["--lifespan-startup-timeout", "1"]])
def test_options_of_asgi_mean_nothing_to_a_handler(option):
    with pytest.raises(ValueError, match=f"{option[0]}: app:app is no ASGI application"):
        host(native, "app:app", settings("app:app", *option))


@pytest.mark.parametrize(
    ("module", "sentence"),
    [("django.core.handlers.asgi", "Django runs on"), ("quart.app", "QuartTrio of quart_trio has the same API")],
)
def test_what_is_known_to_need_asyncio_is_told_at_the_start(module, sentence, monkeypatch):
    monkeypatch.setattr(Instance, "__module__", module)
    with pytest.raises(LoadError, match=sentence):
        host(Instance(), "app:app", settings("app:app"))


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "some_asgi.py").write_text(
        "async def app(scope, receive, send):\n"
        "    if scope['type'] == 'lifespan':\n"
        "        await receive()\n"
        "        await send({'type': 'lifespan.startup.failed', 'message': 'no database'})\n"
    )
    return tmp_path


def prepared(folder: Path, *argv: str):
    argv = ("serve", "some_asgi:app", "--app-dir", str(folder), *argv)
    return prepare(resolve(parsers()[0].parse_args(argv), {}))


@pytest.mark.parametrize(
    ("argv", "max_body", "grace"),
    [
        ([], None, float("inf")),
        (["--max-body", "1K"], 1024, float("inf")),
        (["--max-body", "none", "--timeout-disconnect-grace", "5s"], None, 5.0),
    ],
)
def test_an_application_has_the_bounds_that_are_said(argv, max_body, grace, folder):
    [listener], title = prepared(folder, *argv, "--timeout-handler", "7s")
    plan = listener._context.app.plan(None)
    assert (plan.body, plan.max_body, plan.timeout, plan.disconnect_grace) == ("streaming", max_body, 7.0, grace)
    assert title == "some_asgi:app (ASGI)"


def test_its_bodies_are_never_buffered(folder):
    with pytest.raises(ValueError, match="--body: an ASGI application reads its bodies itself"):
        prepared(folder, "--body", "buffered")
    assert prepared(folder, "--body", "streaming")


def test_asgi_l3_a_start_up_that_fails_is_exit_3_and_one_line(folder):
    command = [
        sys.executable,
        "-m",
        "roadrunner_trio",
        "serve",
        "some_asgi:app",
        "--app-dir",
        str(folder),
        "--port",
        "0",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.splitlines()[-1] == "roadrunner-trio: no database"


# -- what is made when the server runs --------------------------------------------------------------

LIVES = """
from contextlib import asynccontextmanager

import trio

from roadrunner_trio import Response


async def hello(request):
    return Response.text("hello\\n")


async def with_nursery(nursery):
    nursery.start_soon(trio.sleep_forever)
    return hello


@asynccontextmanager
async def context():
    print("up", flush=True)
    yield hello
    print("down", flush=True)


async def asgi_app():
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": scope["root_path"].encode()})

    return app


async def broken():
    raise LookupError("no database")


async def seven():
    return 7


def generator():
    yield hello
"""


@pytest.fixture
def lives(tmp_path):
    (tmp_path / "some_lives.py").write_text(LIVES)
    return tmp_path


def made(folder: Path, *argv: str):
    command = ("serve", argv[0], "--app-dir", str(folder), "--factory", *argv[1:])
    return prepare(resolve(parsers()[0].parse_args(command), {}))


@pytest.mark.parametrize(
    ("name", "options", "body"),
    [("with_nursery", [], "hello\n"), ("context", [], "hello\n"), ("asgi_app", ["--root-path", "/x"], "/x")],
)
async def test_a_factory_may_wait_for_the_server(name, options, body, lives, quiet_logging):
    [listener], title = made(lives, f"some_lives:{name}", "--port", "0", *options)
    assert title == f"some_lives:{name}"
    async with trio.open_nursery() as nursery:
        await nursery.start(listener.serve)
        async with await trio.open_tcp_stream("127.0.0.1", listener.port) as peer:
            await peer.send_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            assert b"".join([piece async for piece in peer]).decode().endswith("\r\n\r\n" + body)
        await listener.drain(1)


async def test_bounds_apply_to_what_is_made(lives, quiet_logging):
    [listener], _ = made(lives, "some_lives:asgi_app", "--port", "0", "--max-body", "1K", "--timeout-handler", "7s")
    async with trio.open_nursery() as nursery:
        await nursery.start(listener.serve)
        plan = listener._context.app.plan(None)
        assert (plan.body, plan.max_body, plan.timeout) == ("streaming", 1024, 7.0)
        await listener.drain(1)


def test_what_cannot_be_a_factory_is_told_so(lives, quiet_logging):
    with pytest.raises(LoadError, match=r"some_lives:generator yields: put @contextlib.asynccontextmanager above it"):
        made(lives, "some_lives:generator")
    for name, what in ("with_nursery", "takes a nursery"), ("context", "is a context"):
        with pytest.raises(LoadError, match=f"some_lives:{name} {what}, so it makes a handler: add --factory"):
            prepare(resolve(parsers()[0].parse_args(("serve", f"some_lives:{name}", "--app-dir", str(lives))), {}))


@pytest.mark.parametrize(
    ("name", "options", "last"),
    [
        ("broken", [], "the application raised LookupError('no database') before its start-up was complete"),
        ("seven", [], "what seven has made cannot be served: some_lives:seven() is an object of type int, which"),
        ("with_nursery", ["--root-path", "/x"], "what with_nursery has made cannot be served: --root-path: some_lives"),
    ],
)
def test_a_factory_that_fails_is_exit_3_and_says_why(name, options, last, lives):
    command = [sys.executable, "-m", "roadrunner_trio", "serve", f"some_lives:{name}", "--factory", "--port", "0"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, timeout=30, cwd=lives)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.splitlines()[-1].startswith(f"roadrunner-trio: {last}")
    if name == "broken":
        assert done.stderr.splitlines()[:2] == [
            "Traceback (most recent call last):",
            f'  File "{lives}/some_lives.py", line 34, in broken',
        ]


def test_routes_of_what_is_not_made_yet(lives, capsys, quiet_logging):
    assert main(["routes", "some_lives:with_nursery", "--factory", "--app-dir", str(lives)]) == 3
    assert "is made when the server starts: its routes are not known before" in capsys.readouterr().err
