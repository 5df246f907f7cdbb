"""``python -m bench ab --base COMMIT``: this checkout beside an earlier one, and the earlier one beside itself.

What differs between two processes that run the same code, such as the layout of their memory and the seed of their
hashes, stays as long as they do. So every round has fresh processes, and the order of turns changes from round to
round. The difference of the base to a second copy of itself is then what a difference is worth here and now.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from .measure import median
from .options import add_common, natural, tell
from .run import Outcome, Plan, Result, Round, measure, prepared
from .scenarios import SCENARIOS, Scenario
from .servers import SERVERS, Server, StartError, probe

LEAST: Final = 0.02
"""A difference below this share is none, however quiet the machine is."""
BASE: Final = "base"
HERE: Final = "here"
AGAIN: Final = "base again"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = argparse.ArgumentParser(prog="python -m bench ab", description="This checkout beside an earlier commit.")
    add = found.add_argument
    names = [each.name for each in SCENARIOS]
    add("--base", required=True, metavar="COMMIT", help="what to compare with, as git names it")
    add("--scenario", default="hello", choices=names, metavar="NAME", help="which (default hello); see python -m bench")
    add("--rounds", type=natural, default=10, help="of fresh processes (default 10)")
    add_common(found)
    return found


def ab(argv: Sequence[str]) -> int:
    """Runs, and prints. Returns the exit status.

    Raises:
        LoadError, StartError: nothing can run.
    """
    chosen = parser().parse_args(argv)
    scenario = next(each for each in SCENARIOS if each.name == chosen.scenario)
    with checkout(chosen.tree, chosen.base) as base:
        servers = contestants(base, chosen.tree)
        for tree in (base, chosen.tree):
            if scenario.needs and not probe(chosen.python, tree)["features"][scenario.needs]:
                raise StartError(f"one of the two has no {scenario.needs}")
        plan = Plan((scenario,), servers, 1, chosen.seconds, chosen.python, {})
        outcome = rounds(scenario, plan, chosen.rounds)
    print(compared(outcome, "connection" if scenario.kind == "idle" else "cpu"))
    return int(any(each.left_out for each in outcome.results))


@contextmanager
def checkout(repository: Path, commit: str) -> Generator[Path]:
    """A worktree of that commit, in a temporary folder.

    Raises:
        StartError: git does not know it, or there is no git.
    """
    with tempfile.TemporaryDirectory(prefix="bench-base-") as name:
        folder = str(Path(name) / BASE)
        git(repository, "worktree", "add", "--detach", folder, commit)
        try:
            yield Path(folder)
        finally:
            git(repository, "worktree", "remove", "--force", folder)


def git(repository: Path, *arguments: str) -> None:
    """Runs git.

    Raises:
        StartError: it is not there, or failed.
    """
    try:
        subprocess.run(["git", "-C", str(repository), *arguments], capture_output=True, check=True, text=True)
    except OSError as exc:
        raise StartError(f"git cannot be run: {exc}") from None
    except subprocess.CalledProcessError as exc:
        raise StartError(f"git {arguments[0]} {arguments[1]}: {exc.stderr.strip()}") from None


def contestants(base: Path, here: Path) -> tuple[Server, ...]:
    """Base, here, and base once more."""
    ours = SERVERS[0]
    trees = {BASE: base, HERE: here, AGAIN: base}
    return tuple(replace(ours, name=name, tree=tree) for name, tree in trees.items())


def rounds(scenario: Scenario, plan: Plan, count: int) -> Outcome:
    """All rounds, each with fresh processes, and each beginning with another of them."""
    outcome = Outcome(scenario.name, scenario.what, [Result(each.name) for each in plan.servers])
    by_name = {each.server: each for each in outcome.results}
    with prepared(scenario) as ready:
        for number in range(count):
            first = number % len(plan.servers)
            turned = replace(plan, servers=plan.servers[first:] + plan.servers[:first])
            tell(f"round {number + 1} of {count}")
            for result in measure(ready, turned, tell):
                found = by_name[result.server]
                found.rounds += result.rounds
                found.left_out = found.left_out or result.left_out
    return outcome


# -- the verdict ---------------------------------------------------------------------------------


def compared(outcome: Outcome, figure: str) -> str:
    """All rounds, the medians, the two differences, and what follows from them."""
    columns = {each.server: [value(found, figure) for found in each.rounds] for each in outcome.results}
    unit = "octets of an idle connection" if figure == "connection" else "server CPU, us a request"
    lines = [f"{outcome.scenario}: {unit}", "", *table(columns), ""]
    lines += [f"{each.server}: {each.left_out}" for each in outcome.results if each.left_out]
    lines += [
        f"{each.server}: a round is void: {found.void}"
        for each in outcome.results
        for found in each.rounds
        if found.void
    ]
    there = {name: [each for each in column if each is not None] for name, column in columns.items()}
    base, here, again = (median(there[name]) for name in (BASE, HERE, AGAIN))
    both = median([*there[BASE], *there[AGAIN]])
    if not (base and here and again and both) or any(each.left_out for each in outcome.results):
        return "\n".join([*lines, "verdict: none, for want of figures"])
    differs, noise = here / both - 1, again / base - 1
    lines += [f"A/B, here to both copies of base: {differs:+.1%}", f"A/A, base to itself: {noise:+.1%}"]
    return "\n".join([*lines, f"verdict: {verdict(differs, noise)}"])


def value(found: Round, figure: str) -> float | None:
    """A figure of a round; None of a void one."""
    number: float | None = None if found.void else getattr(found, figure)
    return number


def table(columns: dict[str, list[float | None]]) -> list[str]:
    """The rounds, and under them the least and the median."""

    def row(name: str, cells: Sequence[float | None]) -> str:
        return f"{name:>8}" + "".join(f"{'void' if each is None else format(each, '.2f'):>13}" for each in cells)

    lines = [f"{'round':>8}" + "".join(f"{name:>13}" for name in columns)]
    lines += [row(str(number), cells) for number, cells in enumerate(zip(*columns.values(), strict=False), 1)]
    there = [[each for each in column if each is not None] for column in columns.values()]
    return [
        *lines,
        row("least", [min(each, default=None) for each in there]),
        row("median", [median(e) for e in there]),
    ]


def verdict(differs: float, noise: float) -> str:
    """What a difference is worth beside that of the same code to itself; both are shares, 0.05 for 5 %."""
    bound = max(LEAST, 2 * abs(noise))
    if abs(differs) < bound:
        return f"differs by less than {bound:.1%}, which is {LEAST:.0%} or twice the A/A difference: no difference"
    return f"here takes {abs(differs):.1%} {'more' if differs > 0 else 'less'}, beyond {bound:.1%}: a difference"
