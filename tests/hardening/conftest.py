"""The toll of all attacks by family, printed at the end of a run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from siege_tools import Toll

from roadrunner_trio.server import spares

_tolls = pytest.StashKey[dict[str, Toll]]()


class Tolls:
    """Takes the toll of a family of attacks, and insists that nothing was harmed."""

    def __init__(self, by_family: dict[str, Toll]) -> None:
        self._by_family = by_family

    def take(self, family: str, toll: Toll) -> None:
        """Adds ``toll`` to the family's; fails the test if it is not clean."""
        total = self._by_family.setdefault(family, Toll())
        total += toll
        assert toll.clean, toll


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_tolls] = {}


@pytest.fixture(scope="session")
def tolls(pytestconfig: pytest.Config) -> Tolls:
    return Tolls(pytestconfig.stash.setdefault(_tolls, {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    by_family = config.stash.get(_tolls, {})
    if not by_family:
        return
    terminalreporter.section("hostile inputs")
    columns = ("inputs", "refused", "crashes", "leaks", "hangs")
    terminalreporter.write_line(f"{'family':34}" + "".join(f"{column:>10}" for column in columns))
    total = Toll()
    for family, toll in sorted(by_family.items()):
        total += toll
        terminalreporter.write_line(_row(family, toll))
    terminalreporter.write_line(_row("all", total))


def _row(family: str, toll: Toll) -> str:
    counts = (toll.inputs, toll.refused, toll.crashes, toll.leaks, toll.hangs)
    return f"{family:34}" + "".join(f"{count:10}" for count in counts)


@pytest.fixture(autouse=True, scope="module")
def no_task_rests() -> Iterator[None]:
    """Tasks are counted here, and one that rests for the next who wakes is not lost."""
    before, spares.KEPT = spares.KEPT, 0  # type: ignore[misc]
    yield
    spares.KEPT = before  # type: ignore[misc]
