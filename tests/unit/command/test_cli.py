"""The command line: values, flags, finding the handler, and every line of refusal."""

from __future__ import annotations

import dataclasses
import errno
import logging
import re
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import roadrunner_trio
from roadrunner_trio import Limits, Timeouts
from roadrunner_trio.apps.made import made_by
from roadrunner_trio.command import serving
from roadrunner_trio.command.cli import main, parsers
from roadrunner_trio.command.configuration import Configuration, resolve
from roadrunner_trio.command.door_options import bounds
from roadrunner_trio.command.explain import LoadError, explain
from roadrunner_trio.command.load import load_handler
from roadrunner_trio.command.serving import prepare
from roadrunner_trio.command.setting_table import OPTIONS, Option

Write = Callable[[str], None]

EVERY_SETTING = [option for option in OPTIONS if option.field]


def parse(*argv: str) -> Configuration:
    return resolve(parsers()[0].parse_args(["serve", *argv]), {})


def settings(configuration: Configuration) -> tuple[Timeouts, Limits]:
    return bounds(configuration.server)


@pytest.mark.parametrize("more", [["--host", "::1"], ["--port", "0"]])
def test_two_ways_to_say_an_address_are_one_too_many(more: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "-b", ":80", *more]) == 3
    assert "leave out --host and --port" in capsys.readouterr().err


# -- flags ---------------------------------------------------------------------------------------


def test_without_flags_the_defaults_are_the_dataclasses_own() -> None:
    assert settings(parse()) == (Timeouts(), Limits())


@pytest.mark.parametrize("setting", EVERY_SETTING, ids=lambda setting: setting.name)
def test_every_setting_has_a_flag(setting: Option) -> None:
    kind, name = setting.field or (object, "")
    value = max(77, next(each.metadata.get("least", 0) for each in dataclasses.fields(kind) if each.name == name))
    mine: Any = next(each for each in settings(parse(setting.flag, str(value))) if isinstance(each, kind))
    assert getattr(mine, name) == value
    default = kind()
    assert dataclasses.replace(mine, **{name: getattr(default, name)}) == default


@pytest.mark.parametrize("setting", EVERY_SETTING, ids=lambda setting: setting.name)
def test_help_tells_every_setting_with_its_default(setting: Option, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["serve", "--help"])
    assert caught.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    assert re.search(rf"{setting.flag}[ ,]", text)
    assert setting.help in text


def test_help_shows_defaults_in_units(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["serve", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    for default in ("(default 10M)", "(default 75s)", "(default none)", "(default 10s)", "(default 127.0.0.1)"):
        assert default in text


def test_aliases() -> None:
    chosen = parse("--keep-alive", "5m", "--graceful-timeout", "1.5s")
    assert settings(chosen)[0].keep_alive == 300
    assert chosen.server["grace"] == 1.5


def test_units_reach_the_settings() -> None:
    timeouts, limits = settings(parse("--timeout-handler", "250ms", "--max-body", "none", "--max-request-line", "4K"))
    assert (timeouts.handler, limits.max_body, limits.max_request_line) == (0.25, None, 4096)


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["start"],
        ["serve", "--port"],
        ["serve", "--time", "3"],
        ["serve", "app:handler", "other:handler"],
    ],
)
def test_bad_usage_is_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(argv)
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("usage: roadrunner-trio ")


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("--timeout-body", "soon"),
        ("--max-fields", "64K"),
        ("--max-request-line", "none"),
        ("--grace", "-1"),
        ("--port", "http"),
        ("--port", "99999"),
        ("--body", "whole"),
        ("--log-level", "loud"),
        ("--workers", "0"),
    ],
)
def test_a_bad_value_is_3_wherever_it_stands(
    flag: str, value: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["serve", flag, value]) == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"roadrunner-trio: {flag}")
    variable = "ROADRUNNER_" + flag.removeprefix("--").replace("-", "_").upper()
    monkeypatch.setenv(variable, value)
    assert main(["serve"]) == 3
    (again,) = capsys.readouterr().err.splitlines()
    assert again == line.replace(flag, variable)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"roadrunner-trio {roadrunner_trio.__version__}\n"


# -- refusals before there is a server ------------------------------------------------------------


@pytest.mark.usefixtures("quiet_logging")
@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["-b", "localhost"], "'localhost' is no address; write host:port"),
        (["-b", "::1:80"], "'::1:80' is no address"),
        (["--port", "65536"], "--port must be 0 to 65535, not 65536"),
        (["--timeout-keep-alive", "0"], "--timeout-keep-alive must be a positive number of seconds, not 0.0"),
        (["--shutdown-delay", "none"], "--shutdown-delay must be a finite time, not none"),
        (["--max-connections", "0"], "--max-connections must be a whole number, at least 1, not 0"),
        (["--max-body", "none", "--body", "buffered"], "--max-body none needs --body streaming"),
        (["--factory"], "--factory needs an app: app:make_handler"),
        (["--access-log-format", "fancy"], "--access-log-format: an access log is text, json, logfmt or a template"),
        (["nowhere_to_be_found:handler"], "no module named 'nowhere_to_be_found' in "),
    ],
)
def test_a_bad_start_is_3_and_one_line(argv: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", *argv]) == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"roadrunner-trio: {message}")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EADDRINUSE, "127.0.0.1:80 is in use: stop what listens there, or choose another port"),
        (errno.EACCES, "127.0.0.1:80 needs a privilege: choose a port from 1024 up"),
        (errno.EADDRNOTAVAIL, "127.0.0.1:80 is not an address of this machine"),
        (-2, "cannot listen on 127.0.0.1:80: the reason"),
    ],
)
def test_what_to_do_about_an_address(number: int, words: str) -> None:
    assert explain(OSError(number, "the reason", "127.0.0.1:80")).startswith(words)


@pytest.mark.usefixtures("quiet_logging")
def test_the_demo_streams_unless_told_otherwise_and_an_app_does_not(app: Write) -> None:
    app("async def handler(request): ...")
    assert prepare(parse())[0][0]._context.app.plan(None).body == "streaming"  # type: ignore[attr-defined, arg-type]
    (listener,), title = prepare(parse("some_app:handler"))
    assert title == "some_app:handler"
    assert listener._context.app.plan(None).body == "buffered"  # type: ignore[attr-defined, arg-type]


@pytest.mark.usefixtures("quiet_logging")
@pytest.mark.parametrize(("argv", "observed"), [([], True), (["--access-log"], True), (["--no-access-log"], False)])
def test_the_access_log_is_an_observer(argv: list[str], observed: bool) -> None:
    (listener,), _ = prepare(parse(*argv))
    assert bool(listener._context.observers.request_stop) is observed


@pytest.mark.usefixtures("quiet_logging")
def test_log_level() -> None:
    prepare(parse("--log-level", "warning"))
    assert logging.getLogger("roadrunner_trio").level == logging.WARNING


# -- finding the handler -------------------------------------------------------------------------


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Writes ``some_app.py`` in a directory of its own, which is the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = set(sys.modules)

    def write(source: str) -> None:
        (tmp_path / "some_app.py").write_text(textwrap.dedent(source))

    yield write
    for name in set(sys.modules) - before:
        if name.startswith("some_"):
            del sys.modules[name]


HANDLERS = """
    import functools
    import types

    async def handler(request): return "answer"

    def wrapped(function):
        @functools.wraps(function)
        def inner(request): return function(request)
        return inner

    decorated = wrapped(handler)

    def wrapped_without_wraps(function):
        def inner(request): return function(request)
        return inner

    plainly_decorated = wrapped_without_wraps(handler)

    async def chat(request: "roadrunner_trio.WebSocketRequest"): ...

    async def two(suffix, request): return suffix

    partial = functools.partial(two, "x")

    class Site:
        async def __call__(self, request): ...
        async def page(self, request): ...

    site = Site()
    defaulted = lambda: None

    async def with_default(request, depth=3): ...
    def make(): return handler
    def make_once(): return handler(None)
    def make_nothing(): return None
    def broken(): raise LookupError("no such table\\nand more")
    async def async_make(): return handler
    async def none(): ...
    async def three(scope, receive, send): ...
    def plain(request): ...
    number = 5
    nested = types.SimpleNamespace(deep=types.SimpleNamespace(handler=handler))
"""


@pytest.mark.parametrize(
    "name",
    [
        "handler",
        "decorated",
        "plainly_decorated",
        "partial",
        "site",
        "site.page",
        "with_default",
        "nested.deep.handler",
    ],
)
def test_a_handler(app: Write, name: str) -> None:
    app(HANDLERS)
    assert callable(load_handler(f"some_app:{name}"))


def test_a_factory(app: Write) -> None:
    app(HANDLERS)
    handler = load_handler("some_app:make", factory=True)
    assert handler.__name__ == "handler"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (
            "some_app",
            "'some_app' does not name a handler: write some_app:handler for the function `handler` in some_app.py",
        ),
        ("some_app.handler", "'some_app.handler' does not name a handler: write some_app:handler for the function"),
        ("package.some_app", "'package.some_app' does not name a handler: write package.some_app:handler for the"),
        ("some_app:", "'some_app:' does not name a handler"),
        (":handler", "':handler' does not name a handler"),
        ("some app:handler", "'some app:handler' does not name a handler: write app:handler for the function"),
        (
            "some_app.py:main",
            "'some_app.py:main' names a file, not a module: write some_app:main for the function `main`",
        ),
        ("some_app.py", "'some_app.py' names a file, not a module: write some_app:handler for the function `handler`"),
        (
            "./some_app:handler",
            "'./some_app:handler' names a file, not a module: write some_app:handler for the function",
        ),
        ("src/a.py:app", "'src/a.py:app' names a file, not a module: write a:app, and --app-dir src for the function"),
        ("some_app.sub:handler", "no module named 'some_app.sub' in "),
        ("some_app:handle", "'some_app' has no 'handle': did you mean 'handler'?"),
        ("some_app:xyzzy", "'some_app' has no 'xyzzy': look in "),
        ("some_app:site.pag", "'some_app.site' has no 'pag': did you mean 'page'?"),
        ("some_app:number", "some_app:number is an object of type int, which cannot be called"),
        ("some_app:types", "some_app:types is a module, which cannot be called"),
        ("some_app:Site", "some_app:Site is a class, not an async function"),
        ("some_app:plain", "some_app:plain is a plain function, not an async function: a handler is `async def"),
        ("some_app:make", "some_app:make is a plain function, not an async function: a handler is `async def"),
        (
            "some_app:chat",
            "some_app:chat takes a WebSocketRequest, so it is a WebSocket handler: write websocket(chat)",
        ),
        ("some_app:none", "some_app:none() cannot be called with one argument"),
        ("some_app:three", "some_app:three(scope, receive, send) cannot be called with one argument"),
    ],
)
def test_no_handler(app: Write, tmp_path: Path, target: str, message: str) -> None:
    app(HANDLERS)
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "some_app.py").touch()
    with pytest.raises(LoadError) as caught:
        load_handler(target)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
    assert caught.value.report == ""


def test_something_that_may_be_a_factory_says_so(app: Write) -> None:
    app(HANDLERS)
    with pytest.raises(LoadError, match="if it makes the handler, add --factory"):
        load_handler("some_app:make")
    with pytest.raises(LoadError) as caught:
        load_handler("some_app:plain")
    assert "--factory" not in str(caught.value)


def test_an_async_factory_waits_for_the_server(app: Write) -> None:
    app(HANDLERS)
    assert isinstance(load_handler("some_app:async_make", factory=True), made_by)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("some_app:number", "some_app:number is an object of type int, which cannot be called: leave out --factory"),
        ("some_app:three", r"some_app:three\(scope, receive, send\) is no factory: .*; for a handler leave out --fac"),
        ("some_app:make_once", r"some_app:make_once\(\) is an object of type coroutine, which cannot be called"),
        ("some_app:make_nothing", r"some_app:make_nothing\(\) is an object of type NoneType, which cannot be called"),
    ],
)
def test_no_factory(app: Write, target: str, message: str) -> None:
    app(HANDLERS)
    with pytest.raises(LoadError, match=message):
        load_handler(target, factory=True)


def test_app_dir(app: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app(HANDLERS)
    monkeypatch.chdir("/")
    with pytest.raises(LoadError, match="start where it is, or name its directory with --app-dir"):
        load_handler("some_app:handler")
    assert callable(load_handler("some_app:handler", str(tmp_path)))
    with pytest.raises(LoadError, match="--app-dir nowhere: there is no such directory"):
        load_handler("some_app:handler", "nowhere")


# -- the application's own mistakes keep their traceback ------------------------------------------


@pytest.mark.parametrize(
    ("source", "message", "report"),
    [
        (
            "import some_missing_thing",
            "ModuleNotFoundError: No module named 'some_missing_thing'",
            "import some_missing",
        ),
        (
            "from os import nothing_such",
            "ImportError: cannot import name 'nothing_such'",
            "from os import nothing_such",
        ),
        ("def f():\n  1 / 0\nf()", "ZeroDivisionError: division by zero", "some_app.py"),
        ("def f(:", "SyntaxError: ", "some_app.py"),
        (
            "import some_app.missing",
            "ModuleNotFoundError: No module named 'some_app.missing'",
            "import some_app.missing",
        ),
    ],
)
def test_a_module_that_fails_to_import(app: Write, source: str, message: str, report: str) -> None:
    app(source)
    with pytest.raises(LoadError) as caught:
        load_handler("some_app:handler")
    assert str(caught.value).startswith(f"importing 'some_app' failed: {message}")
    assert report in caught.value.report
    assert "load.py" not in caught.value.report
    assert "importlib" not in caught.value.report


def test_a_factory_that_fails(app: Write) -> None:
    app(HANDLERS)
    with pytest.raises(LoadError) as caught:
        load_handler("some_app:broken", factory=True)
    assert str(caught.value).startswith("the factory some_app:broken failed: LookupError: no such table")
    assert "\n" not in str(caught.value)
    assert "in broken" in caught.value.report
    assert "load.py" not in caught.value.report


def test_the_traceback_comes_before_the_line(app: Write, capsys: pytest.CaptureFixture[str]) -> None:
    app("import some_missing_thing")
    assert main(["serve", "some_app:handler"]) == 3
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[-1].startswith("roadrunner-trio: importing 'some_app' failed: ModuleNotFoundError")


def test_an_interrupt_before_the_signals_are_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*args: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(serving.trio, "run", interrupted)
    monkeypatch.setattr(serving, "start_logging", lambda server: None)
    assert main(["serve"]) == 130
