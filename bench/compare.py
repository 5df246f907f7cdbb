"""``python -m bench``: the servers side by side; prints the table, writes JSON and the chart."""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from .chart import chart
from .options import add_common, natural, tell
from .report import as_json, at_a_glance, markdown
from .run import Outcome, Plan, run, speakers, with_again
from .scenarios import SCENARIOS, Scenario
from .servers import ROOT, SERVERS, Server, probe

Chosen = TypeVar("Chosen", Scenario, Server)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = argparse.ArgumentParser(
        prog="python -m bench",
        description="This server beside its peers, in one run.",
        epilog="Other commands, each with a --help: python -m bench ab, python -m bench profile.",
    )
    add = found.add_argument
    some: dict[str, Any] = {"action": "extend", "nargs": "+", "metavar": "NAME"}
    names = [each.name for each in SCENARIOS]
    add("--scenarios", "--scenario", choices=names, **some, help=f"which (all): {' '.join(names)}")
    names = [each.name for each in SERVERS]
    add("--servers", "--server", choices=names, **some, help=f"which (all): {' '.join(names)}")
    add("--rounds", type=natural, default=5, help="how often each server has its turn (default 5)")
    add(
        "--rate",
        type=natural,
        help="requests/s of the scenario latency; default 60 %% of what the slower of us and uvicorn can",
    )
    add("--aa", action="store_true", help="this server twice: their ratio is the noise")
    add("--out", type=Path, default=ROOT / "bench", metavar="DIR", help="where results.json and results.svg go")
    add_common(found)
    return found


def compare(argv: Sequence[str]) -> int:
    """Returns the exit status: 1 when a server answered wrongly or this one did not start.

    Raises:
        LoadError, StartError: nothing can run.
    """
    chosen = parser().parse_args(argv)
    outcomes = measured(chosen, probe(chosen.python, chosen.tree))
    return int(any(result.failed for outcome in outcomes for result in outcome.results))


def measured(chosen: argparse.Namespace, found: dict[str, Any]) -> list[Outcome]:
    """Runs, and reports as it goes; what is done is kept whatever happens to the rest."""
    scenarios = pick(SCENARIOS, chosen.scenarios)
    useful = [each for each in pick(SERVERS, chosen.servers) if any(speakers([each], one) for one in scenarios)]
    servers = available([replace(each, tree=chosen.tree) for each in useful], found["packages"])
    plan = Plan(
        scenarios,
        with_again(servers) if chosen.aa else servers,
        chosen.rounds,
        chosen.seconds,
        chosen.python,
        found["features"],
        chosen.rate,
    )
    about = circumstances(plan, found)
    outcomes: list[Outcome] = []
    try:
        for outcome in run(plan, tell):
            outcomes.append(outcome)
    finally:
        if outcomes:
            report(outcomes, about, chosen.out)
    return outcomes


def pick(table: Sequence[Chosen], names: Sequence[str] | None) -> tuple[Chosen, ...]:
    """Those named, in the order of the table; all when none is."""
    return tuple(each for each in table if names is None or each.name in names)


def available(servers: Sequence[Server], packages: dict[str, str]) -> tuple[Server, ...]:
    """Those whose packages are there; the others are told of."""
    found: list[Server] = []
    for server in servers:
        missing = [name for name in server.packages if name not in packages]
        if missing:
            tell(f"{server.name} is left out: {', '.join(missing)} not installed")
        else:
            found.append(server)
    return tuple(found)


def circumstances(plan: Plan, found: dict[str, Any]) -> dict[str, Any]:
    """Under what the figures were taken."""
    return {
        "python": found["python"],
        "servers": {each.name: each.label(found["packages"]) for each in plan.servers},
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cores": os.cpu_count(),
        "load_before": os.getloadavg()[0],
        "rounds": plan.rounds,
        "seconds": plan.seconds,
    }


def report(outcomes: Sequence[Outcome], about: dict[str, Any], folder: Path) -> None:
    """Prints the table; writes the rest."""
    line = (
        f"Python {about['python']}, {about['system']}, {about['cores']} cores; {about['rounds']} interleaved rounds of "
        f"{about['seconds']} s, medians"
    )
    print(f"{line}; load average before: {about['load_before']:.2f}\n")
    print(*(f"- {label}" for label in about["servers"].values()), sep="\n")
    print(f"\n{markdown(outcomes)}\n{at_a_glance(outcomes)}", end="")
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(as_json(outcomes, about), indent=1, ensure_ascii=False)
    (folder / "results.json").write_text(text + "\n", "utf-8")
    (folder / "results.svg").write_text(chart(outcomes, line), "utf-8")
