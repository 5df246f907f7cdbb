"""The result of a run for people and for programs: one Markdown table, and JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, Final

from .measure import median, ratio
from .run import Outcome, Result, Round

REFERENCE: Final = "uvicorn"
OURS: Final = "ours"
MEGA: Final = 1e6
NOTHING: Final = "–"
TITLES: Final = {"ours": "roadrunner-trio", "ours-again": "the same again", "ours-asgi": "roadrunner-trio (ASGI)"}

HEADINGS: Final = (
    "scenario",
    "server",
    "CPU µs/request: least",
    "median",
    "requests/s",
    "p50 ms",
    "p99 ms",
    "p99.9 ms",
    "peak MB",
    "idle MB",
    "bytes/idle connection",
)


def reference(results: Sequence[Result]) -> Result | None:
    """What the others are compared with: uvicorn, or the first when it was not asked for.

    None when it was asked for and has no figures.
    """
    chosen = next((each for each in results if each.server == REFERENCE), results[0] if results else None)
    return chosen if chosen is not None and not chosen.left_out else None


def title(server: str) -> str:
    """What a server is called for people."""
    return TITLES.get(server, server)


def values(result: Result, figure: str) -> list[float]:
    """A figure of all rounds that count and have it."""
    found = [getattr(each, figure) for each in result.rounds if not each.void]
    return [value for value in found if value is not None]


def middle(result: Result, figure: str) -> float | None:
    """The median over the rounds."""
    return median(values(result, figure))


def least(result: Result, figure: str) -> float | None:
    """The smallest of the rounds: what the machine's other work has disturbed least."""
    return min(values(result, figure), default=None)


def cell(value: float | None, base: float | None, digits: int) -> str:
    """A figure with its ratio: ``14.0 (0.66×)``."""
    if value is None:
        return NOTHING
    times = ratio(value, base)
    return f"{value:,.{digits}f}" if times is None else f"{value:,.{digits}f} ({times:.2f}×)"


# -- the table -----------------------------------------------------------------------------------


def markdown(outcomes: Sequence[Outcome]) -> str:
    """One Markdown table of all that was measured, and a list of what was not."""
    rows = [row for outcome in outcomes for row in _rows(outcome)]
    lines = [f"| {' | '.join(HEADINGS)} |", f"|{' --- |' * 2}{' ---: |' * (len(HEADINGS) - 2)}"]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    remarks = [f"- {remark}" for outcome in outcomes for remark in _remarks(outcome)]
    return "\n".join([*lines, *([""] if remarks else []), *remarks]) + "\n"


def at_a_glance(outcomes: Sequence[Outcome]) -> str:
    """This server's figures in multiples of each peer's; empty when there is nothing to compare.

    The median of CPU a request; of ``latency`` the p99 too, of idle connections the memory.
    """
    names = list(dict.fromkeys(each.server for outcome in outcomes for each in outcome.results if each.server != OURS))
    rows = [[outcome.scenario, figure, *times] for outcome in outcomes for figure, times in _glance(outcome, names)]
    if not rows:
        return ""
    headings = ["scenario", f"{title(OURS)} in multiples of", *map(title, names)]
    lines = [f"| {' | '.join(headings)} |", f"|{' --- |' * 2}{' ---: |' * len(names)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)]) + "\n"


def _glance(outcome: Outcome, names: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    by_name = {each.server: each for each in outcome.results if not each.left_out}
    if OURS not in by_name or len(by_name) < 2:
        return
    figures = {"p99": "p99", "cpu": "CPU"} if outcome.scenario == "latency" else {"cpu": "CPU"}
    if middle(by_name[OURS], "connection") is not None:
        figures = {"connection": "memory"}
    for figure, shown in figures.items():
        own = middle(by_name[OURS], figure)
        found = [ratio(own, middle(by_name[name], figure)) if name in by_name else None for name in names]
        if any(each is not None for each in found):
            yield shown, [NOTHING if each is None else f"{each:.2f}×" for each in found]


def _rows(outcome: Outcome) -> list[list[str]]:
    base = reference(outcome.results)
    return [
        [outcome.scenario, title(each.server), *_figures(each, base)]
        for each in outcome.results
        if any(not found.void for found in each.rounds)
    ]


def _figures(result: Result, base: Result | None) -> list[str]:
    def both(function: Any, figure: str, digits: int) -> str:
        return cell(function(result, figure), None if base is None else function(base, figure), digits)

    def octets(figure: str) -> str:
        found, other = getattr(result, figure), None if base is None else getattr(base, figure)
        return cell(found / MEGA, None if other is None else other / MEGA, 1)

    return [
        both(least, "cpu", 1),
        both(middle, "cpu", 1),
        both(middle, "rate", 0),
        both(middle, "p50", 2),
        both(middle, "p99", 2),
        both(middle, "p999", 2),
        octets("peak"),
        octets("idle"),
        both(middle, "connection", 0),
    ]


def _remarks(outcome: Outcome) -> list[str]:
    if outcome.left_out:
        return [f"{outcome.scenario}: left out, {outcome.left_out}"]
    remarks = [f"{outcome.scenario}: {title(each.server)} {each.left_out}" for each in outcome.results if each.left_out]
    for each in outcome.results:
        void = [found.void for found in each.rounds if found.void]
        if void:
            reasons = "; ".join(dict.fromkeys(void))
            count = f"{len(void)} of {len(each.rounds)} rounds are void"
            remarks.append(f"{outcome.scenario}: {title(each.server)}: {count}: {reasons}")
    return remarks


# -- for programs --------------------------------------------------------------------------------


def as_json(outcomes: Sequence[Outcome], about: dict[str, Any]) -> dict[str, Any]:
    """All rounds, and under what they were measured."""
    return {"about": about, "scenarios": [dataclasses.asdict(each) for each in outcomes]}


def from_json(data: dict[str, Any]) -> list[Outcome]:
    """The outcomes of :func:`as_json`."""
    return [_outcome(dict(each)) for each in data["scenarios"]]


def _outcome(data: dict[str, Any]) -> Outcome:
    results = [_result(dict(each)) for each in data.pop("results")]
    return Outcome(results=results, **data)


def _result(data: dict[str, Any]) -> Result:
    rounds = [Round(**each) for each in data.pop("rounds")]
    return Result(rounds=rounds, **data)
