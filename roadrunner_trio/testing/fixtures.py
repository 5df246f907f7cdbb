"""Fixtures for pytest with pytest-trio: ``server`` and ``client``.

They are there where a project asks for them, by naming what it tests in its settings for pytest::

    [tool.pytest.ini_options]
    trio_mode = true
    roadrunner_app = "shop.main:router"

or by saying ``pytest_plugins = ["roadrunner_trio.testing.fixtures"]`` in its ``conftest.py``, and overriding
``roadrunner_app``.

With ``roadrunner_http2 = "yes"`` the client speaks HTTP/2; with ``"both"`` each test that has a client runs twice, in
HTTP/1.1 and in HTTP/2. ``pytest --roadrunner-http2 both`` does so for once. A mark says it of one test, or of a class
or a module of them::

    @pytest.mark.roadrunner(http2=True, raise_app_exceptions=True)
    async def test_it(client): ...

Its first argument, if it has one, is what is served; what else it names is given to ``open_server``.
"""

from __future__ import annotations

import pkgutil
from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any, NamedTuple, cast

import pytest

from ..answering.faults import leaves
from .client import Client
from .memory import MemoryServer, open_server

try:
    from pytest_trio import (  # type: ignore[import-untyped]  # pyright: ignore[reportMissingTypeStubs]
        trio_fixture,  # pyright: ignore[reportUnknownVariableType]
    )
except ImportError as exc:  # pragma: no cover
    raise ImportError("these fixtures need pytest-trio: pip install 'roadrunner-trio[testing]'") from exc

fixture = cast("Callable[[Callable[..., Any]], Any]", trio_fixture)


class Marked(NamedTuple):
    """What the marks of a test say.

    Attributes:
        app: what is served; None where none says so.
        http2: whether the client speaks HTTP/2; likewise.
        settings: of the server.
    """

    app: Any
    http2: bool | None
    settings: dict[str, Any]


def marks_of(node: pytest.Item) -> Marked:
    """What is said of one test: by itself, else by its class, else by its module.

    Raises:
        pytest.UsageError: a mark says what none can.
    """
    app, settings = None, dict[str, Any]()
    for mark in reversed(list(node.iter_markers("roadrunner"))):
        if len(mark.args) > 1:
            raise pytest.UsageError("the mark `roadrunner` has one argument, the application; the others have names")
        app = mark.args[0] if mark.args else app
        settings |= mark.kwargs
    http2 = settings.pop("http2", None)
    if not isinstance(http2, bool | None):
        raise pytest.UsageError(f"http2 of the mark `roadrunner` is True or False, not {http2!r}")
    return Marked(app, http2, settings)


def _setting(config: pytest.Config, name: str) -> str:
    """What a project says; ``""`` where the plugin that knows the setting has been switched off."""
    try:
        return str(config.getini(name))
    except ValueError:
        return ""


def _http2(config: pytest.Config) -> str:
    said = str(config.getoption("--roadrunner-http2", None) or _setting(config, "roadrunner_http2") or "no")
    if said not in ("no", "yes", "both"):
        raise pytest.UsageError(f"roadrunner_http2 is no, yes or both, not {said!r}")
    return said


def pytest_configure(config: pytest.Config) -> None:
    """Makes the mark known, also where a ``conftest.py`` brings these fixtures."""
    config.addinivalue_line("markers", "roadrunner(app, *, http2, **settings): see roadrunner_trio.testing.fixtures")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Makes two of each test that has a client, where both versions of HTTP are wanted."""
    if "roadrunner_http2" not in metafunc.fixturenames or marks_of(metafunc.definition).http2 is not None:
        return
    if _http2(metafunc.config) == "both":
        metafunc.parametrize("roadrunner_http2", [False, True], ids=["http/1.1", "h2"])


@pytest.fixture
def roadrunner_app(request: pytest.FixtureRequest) -> Any:
    """What is served: a handler, a router, an application of ASGI. Override it for one module, or for one test."""
    if (marked := marks_of(request.node).app) is not None:
        return marked
    named = _setting(request.config, "roadrunner_app")
    if not named:
        raise pytest.UsageError(
            "override the fixture `roadrunner_app`, or name the application in the setting of that name"
        )
    return pkgutil.resolve_name(named)


@pytest.fixture
def roadrunner_settings() -> dict[str, Any]:
    """What ``open_server`` is given beside the application, such as ``{"raise_app_exceptions": True}``."""
    return {}


@pytest.fixture
def roadrunner_http2(request: pytest.FixtureRequest) -> bool:
    """Whether the client speaks HTTP/2."""
    marked = marks_of(request.node).http2
    return _http2(request.config) == "yes" if marked is None else marked


@fixture
async def server(
    request: pytest.FixtureRequest, roadrunner_app: Any, roadrunner_settings: dict[str, Any]
) -> AsyncGenerator[MemoryServer, None]:
    """The real server in memory; on a virtual clock, if the test asks for pytest-trio's ``autojump_clock`` as well."""
    marked = marks_of(request.node)
    app = roadrunner_app if marked.app is None else marked.app
    async with open_server(app, **{**roadrunner_settings, **marked.settings}) as server:
        yield server


@fixture
async def client(server: MemoryServer, roadrunner_http2: bool) -> Client:
    """A client on a new connection."""
    return server.client(http2=roadrunner_http2)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """A test that fails in one way is shown to fail in that way, not in a group of one that nurseries have made."""
    try:
        return (yield)
    except BaseExceptionGroup as group:
        (only, *others) = leaves(group)
        if others:
            raise
    raise only
