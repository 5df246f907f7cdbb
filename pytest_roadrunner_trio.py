"""A plugin for pytest that does nothing, and imports nothing, unless a project asks for it.

It lies outside of the package because pytest imports the plugins of everything that is installed, in every project: to
import the package would cost those that have never heard of it a third of a second, and fixtures with names such as
``client`` would be in their way. A project asks by naming what it tests: ``roadrunner_app = "shop.main:router"``.
"""

from __future__ import annotations

import pytest

HTTP2 = ("no", "yes", "both")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Makes the settings known."""
    parser.addini("roadrunner_app", "what the fixtures `server` and `client` of roadrunner-trio serve: module:name")
    parser.addini("roadrunner_http2", "whether the fixture `client` speaks HTTP/2: no, yes, or both, each test twice")
    group = parser.getgroup("roadrunner-trio")
    group.addoption("--roadrunner-http2", choices=HTTP2, help="the same, for once")


def pytest_configure(config: pytest.Config) -> None:
    """Brings the fixtures, where they are asked for."""
    config.addinivalue_line(
        "markers",
        "roadrunner(app, *, http2, **settings): what the fixtures of roadrunner-trio serve in this test, whether "
        "`client` speaks HTTP/2, and what `open_server` is given as well",
    )
    if config.getini("roadrunner_app"):
        from roadrunner_trio.testing import fixtures

        config.pluginmanager.register(fixtures, "roadrunner_trio.testing.fixtures")
