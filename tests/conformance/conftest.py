"""A table of grades per category, printed at the end of a run."""

from __future__ import annotations

from collections import Counter

import pytest

GRADES = ("strict", "lenient", "failed")


class Tally:
    """Counts grades by suite and category."""

    def __init__(self) -> None:
        self._counts: dict[str, dict[str, Counter[str]]] = {}

    def add(self, suite: str, category: str, grade: str | None) -> None:
        """Counts one vector; ``grade`` None is a failure."""
        self._counts.setdefault(suite, {}).setdefault(category, Counter())[grade or "failed"] += 1

    def lines(self) -> list[str]:
        out: list[str] = []
        for suite, categories in self._counts.items():
            total: Counter[str] = sum(categories.values(), Counter())
            out.append(f"{suite:24}" + "".join(f"{grade:>9}" for grade in GRADES))
            for category, counts in [*sorted(categories.items()), ("all", total)]:
                out.append(f"  {category:22}" + "".join(f"{counts[grade]:9}" for grade in GRADES))
        return out


_tally = pytest.StashKey[Tally]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_tally] = Tally()


@pytest.fixture(scope="session")
def tally(pytestconfig: pytest.Config) -> Tally:
    return pytestconfig.stash.setdefault(_tally, Tally())


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    lines = config.stash[_tally].lines() if _tally in config.stash else []
    if lines:
        terminalreporter.section("protocol vectors")
        for line in lines:
            terminalreporter.write_line(line)
