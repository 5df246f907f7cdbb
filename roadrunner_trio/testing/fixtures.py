"""Fixtures for pytest with pytest-trio: ``server`` and ``client``.

They are there where a project asks for them, by naming what it tests in its settings for pytest::

    [tool.pytest.ini_options]
    trio_mode = true
    roadrunner_app = "shop.main:router"

or by saying ``pytest_plugins = ["roadrunner_trio.testing.fixtures"]`` in its ``conftest.py``, and overriding
``roadrunner_app``.
"""

from __future__ import annotations

import pkgutil
from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any, cast

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


@pytest.fixture
def roadrunner_app(pytestconfig: pytest.Config) -> Any:
    """What is served: a handler, a router, an application of ASGI. Override it for one module, or for one test."""
    try:
        named = pytestconfig.getini("roadrunner_app")
    except ValueError:  # the plugin that knows it has been switched off
        named = ""
    if not named:
        raise pytest.UsageError(
            "override the fixture `roadrunner_app`, or name the application in the setting of that name"
        )
    return pkgutil.resolve_name(str(named))


@pytest.fixture
def roadrunner_settings() -> dict[str, Any]:
    """What ``open_server`` is given beside the application, such as ``{"raise_app_exceptions": True}``."""
    return {}


@fixture
async def server(roadrunner_app: Any, roadrunner_settings: dict[str, Any]) -> AsyncGenerator[MemoryServer, None]:
    """The real server in memory; on a virtual clock, if the test asks for pytest-trio's ``autojump_clock`` as well."""
    async with open_server(roadrunner_app, **roadrunner_settings) as server:
        yield server


@fixture
async def client(server: MemoryServer) -> Client:
    """A client on a new connection."""
    return server.client()


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
