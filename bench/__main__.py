"""``python -m bench``: runs what is asked for, prints the table, writes JSON and the chart."""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, TypeVar

from .chart import chart
from .load import LoadError, find_wrk
from .report import as_json, markdown
from .run import Outcome, Plan, run, with_again
from .scenarios import IDLE, SCENARIOS, Scenario
from .servers import ROOT, SERVERS, Server, StartError, probe

Chosen = TypeVar("Chosen", Scenario, Server)

DESCRIPTORS = IDLE + 1000


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = argparse.ArgumentParser(prog="python -m bench", description="This server beside its peers, in one run.")
    add = found.add_argument
    names = [each.name for each in SCENARIOS]
    add("--scenario", action="append", choices=names, metavar="NAME", help=f"again for more (all): {' '.join(names)}")
    names = [each.name for each in SERVERS]
    add("--server", action="append", choices=names, metavar="NAME", help=f"again for more (all): {' '.join(names)}")
    add("--rounds", type=natural, default=5, help="how often each server has its turn (default 5)")
    add("--seconds", type=natural, default=2, help="of load in each turn (default 2)")
    add("--rate", type=natural, help="requests/s of the scenario latency; default 60 %% of each server's saturation")
    add("--aa", action="store_true", help="this server twice: their ratio is the noise")
    add("--python", default=sys.executable, help="the Python that the servers run in (default this one)")
    add("--out", type=Path, default=ROOT / "bench", metavar="DIR", help="where results.json and results.svg go")
    return found


def natural(text: str) -> int:
    """A whole number from 1 up.

    Raises:
        argparse.ArgumentTypeError: ``text`` is none.
    """
    if not text.isascii() or not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 up")
    return int(text)


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit status: 1 when a server answered wrongly or this one did not start, 2 when nothing can run."""
    chosen = parser().parse_args(argv)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, leave)
    try:
        find_wrk()
        allow_descriptors(DESCRIPTORS)
        found = probe(chosen.python)
        outcomes = measured(chosen, found)
    except (LoadError, StartError) as exc:
        sys.stderr.write(f"bench: {exc}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("bench: stopped, and so are all servers\n")
        return 128 + signal.SIGINT
    return int(any(result.failed for outcome in outcomes for result in outcome.results))


def leave(number: int, _: FrameType | None) -> NoReturn:
    """A signal ends the run as an exception does, so that servers are ended too."""
    raise SystemExit(128 + number)


def allow_descriptors(count: int) -> None:
    """Raises the limit for this process and the servers it starts.

    Raises:
        LoadError: the hard limit is below.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count:
        raise LoadError(f"{count} descriptors are needed, and the hard limit is {hard} (ulimit -Hn)")
    if soft != resource.RLIM_INFINITY and soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))


def measured(chosen: argparse.Namespace, found: dict[str, Any]) -> list[Outcome]:
    """Runs, and reports as it goes; what is done is kept whatever happens to the rest."""
    servers = available(pick(SERVERS, chosen.server), found["packages"])
    plan = Plan(
        pick(SCENARIOS, chosen.scenario),
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


def tell(line: str) -> None:
    """Progress, beside the result."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def report(outcomes: Sequence[Outcome], about: dict[str, Any], folder: Path) -> None:
    """Prints the table; writes the rest."""
    line = (
        f"Python {about['python']}, {about['system']}, {about['cores']} cores; {about['rounds']} interleaved rounds of "
        f"{about['seconds']} s, medians"
    )
    print(f"{line}; load average before: {about['load_before']:.2f}\n")
    print(*(f"- {label}" for label in about["servers"].values()), sep="\n")
    print(f"\n{markdown(outcomes)}")
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(as_json(outcomes, about), indent=1, ensure_ascii=False)
    (folder / "results.json").write_text(text + "\n", "utf-8")
    (folder / "results.svg").write_text(chart(outcomes, line), "utf-8")


if __name__ == "__main__":
    sys.exit(main())
