"""A plugin for pytest that does nothing, and imports nothing, unless a project asks for it.

It lies outside of the package because pytest imports the plugins of everything that is installed, in every project: to
import the package would cost those that have never heard of it a third of a second, and fixtures with names such as
``client`` would be in their way. A project asks by naming what it tests: ``roadrunner_app = "shop.main:router"``.
"""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Makes the setting known."""
    parser.addini("roadrunner_app", "what the fixtures `server` and `client` of roadrunner-trio serve: module:name")


def pytest_configure(config: pytest.Config) -> None:
    """Brings the fixtures, where they are asked for."""
    if config.getini("roadrunner_app"):
        from roadrunner_trio.testing import fixtures

        config.pluginmanager.register(fixtures, "roadrunner_trio.testing.fixtures")
