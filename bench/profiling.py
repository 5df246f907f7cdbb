"""``python -m bench profile SCENARIO``: where the time of a request goes.

The server is loaded alone, for what a request costs; then watched by py-spy, and by perf if it is there.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from . import measure
from .flame import flame
from .load import LoadError
from .options import add_common, natural, tell
from .parts import parts_chart
from .run import Plan, Result, checked, loaded, one_round, prepared
from .samples import Kernel, label, named, package, read_kernel, read_stacks, self_times, steps, user_only
from .scenarios import SCENARIOS, Scenario
from .servers import ROOT, SERVERS, Running, StartError, probe

LEAD: Final = 1
"""Seconds that load goes on before and after a profiler looks."""
FUNCTIONS: Final = 30
SYMBOLS: Final = 30
HERTZ: Final = 500
SECONDS: Final = 10


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = argparse.ArgumentParser(prog="python -m bench profile", description="Where the time of a request goes.")
    add = found.add_argument
    names = [each.name for each in SCENARIOS if each.kind in ("closed", "echo")]
    add("scenario", choices=names, metavar="SCENARIO", help=f"one of: {' '.join(names)}")
    add(
        "--server", default="ours", choices=[each.name for each in SERVERS], metavar="NAME", help="whose (default ours)"
    )
    add("--hertz", type=natural, default=HERTZ, help=f"samples a second that py-spy takes (default {HERTZ})")
    add("--out", type=Path, default=ROOT / "build" / "profile", metavar="DIR", help="where SCENARIO.svg, .md, .json go")
    add_common(found, SECONDS)
    return found


def profile(argv: Sequence[str]) -> int:
    """Runs, prints the table, and writes it beside the flame graph. Returns the exit status.

    Raises:
        LoadError, StartError: nothing can run.
    """
    chosen = parser().parse_args(argv)
    scenario = next(each for each in SCENARIOS if each.name == chosen.scenario)
    server = replace(next(each for each in SERVERS if each.name == chosen.server), tree=chosen.tree)
    about = probe(chosen.python, chosen.tree)
    if scenario.needs and not about["features"][scenario.needs]:
        raise StartError(f"this server has no {scenario.needs}")
    plan, result = Plan((scenario,), (server,), 1, chosen.seconds, chosen.python, {}), Result(server.name)
    with prepared(scenario) as ready, checked(server, ready, plan, result, tell) as each:
        if each is None:
            return 1
        found = looked_at(ready, plan, each, chosen.hertz)
    found["python"] = about["python"]
    text = report(scenario, server.name, found)
    print(text)
    write(chosen.out, scenario.name, text, found)
    return 0


def looked_at(scenario: Scenario, plan: Plan, each: Running, hertz: int) -> dict[str, Any]:
    """All figures of a server that runs.

    Raises:
        LoadError: load could not be made, or a profiler does not run.
    """
    loaded(scenario, each, LEAD, 0)
    before = measure.ticks(each.process.pid)
    alone = [one_round(scenario, plan, each, 0) for _ in range(3)]
    user, system = (after - earlier for after, earlier in zip(measure.ticks(each.process.pid), before, strict=True))
    cpu = measure.median([found.cpu for found in alone if found.cpu is not None])
    if cpu is None:
        raise LoadError(f"{scenario.name}: {alone[0].void}")
    tell("py-spy looks at Python")
    stacks = user_only(by_spy(scenario, plan, each, hertz))
    if not stacks:
        raise LoadError("py-spy has seen nothing but system calls")
    tell("perf looks at the kernel")
    watched, symbols = by_perf(scenario, plan, each)
    kernel = watched or Kernel(system / ((user + system) or 1), {})
    return {
        "scenario": scenario.name,
        "cpu": cpu,
        "samples": sum(stacks.values()),
        "kernel": kernel.share,
        "kernel_by": "perf" if watched else "/proc",
        "steps": {name: share * cpu for name, share in steps(stacks, kernel).items()},
        "functions": {name: share * (1 - kernel.share) * cpu for name, share in self_times(stacks).items()},
        "symbols": symbols,
        "stacks": stacks,
    }


# -- the profilers -------------------------------------------------------------------------------


def by_spy(scenario: Scenario, plan: Plan, each: Running, hertz: int) -> dict[Any, int]:
    """What py-spy saw.

    Raises:
        LoadError: it is not there, or may not look.
    """
    beside = Path(sys.executable).with_name("py-spy")
    program = str(beside) if beside.exists() else shutil.which("py-spy")
    if program is None:
        raise LoadError("py-spy is not there (pip install py-spy)")
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        file = Path(name) / "stacks"
        options = ["--pid", str(each.process.pid), "--rate", str(hertz), "--duration", str(plan.seconds)]
        spy = [program, "record", *options, "--format", "raw", "--full-filenames", "--output", str(file)]
        watch(spy, scenario, plan, each)
        return read_stacks(file.read_text("utf-8"))


def by_perf(scenario: Scenario, plan: Plan, each: Running) -> tuple[Kernel | None, list[str]]:
    """What perf saw: the kernel, and the functions of C that took most; None when it is not there or may not look."""
    program = shutil.which("perf")
    if program is None:
        tell("perf is not there (Debian: apt-get install linux-perf): the kernel is one row, as /proc has it")
        return None, []
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        file = str(Path(name) / "perf.data")
        record = [program, "record", "-F", "1999", "-g", "-o", file, "-p", str(each.process.pid)]
        try:
            watch([*record, "--", "sleep", str(plan.seconds)], scenario, plan, each)
            by_file, inclusive, symbols = (
                perf_report(program, file, *options)
                for options in (("--no-children", "dso"), ("--children", "sym"), ("--no-children", "dso,sym"))
            )
        except LoadError as exc:
            tell(f"perf does not work here: {exc}")
            return None, []
    lines = [line for line in symbols.splitlines() if line.strip() and not line.startswith("#")]
    return read_kernel(by_file, inclusive), lines[:SYMBOLS]


def perf_report(program: str, file: str, children: str, order: str) -> str:
    """A table of perf's.

    Raises:
        LoadError: it failed.
    """
    options = ["-i", file, children, "--sort", order, "--stdio", "-g", "none"]
    done = subprocess.run([program, "report", *options], capture_output=True, text=True, check=False)
    if done.returncode:
        raise LoadError(f"perf report: {done.stderr.strip()}")
    return done.stdout


def watch(command: Sequence[str], scenario: Scenario, plan: Plan, each: Running) -> None:
    """Runs a profiler while there is load.

    Raises:
        LoadError: it failed, or load could not be made.
    """
    profiler = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        loaded(scenario, each, plan.seconds + 2 * LEAD, 0)
        said = profiler.communicate(timeout=plan.seconds + 20)[0]
    except subprocess.TimeoutExpired:
        raise LoadError(f"{command[0]} did not end") from None
    finally:
        profiler.kill()
        profiler.wait()
    if profiler.returncode:
        raise LoadError(f"{Path(command[0]).name} failed: {(said.strip() or 'it said nothing').splitlines()[0]}")


# -- what is shown -------------------------------------------------------------------------------


def report(scenario: Scenario, server: str, found: dict[str, Any]) -> str:
    """The tables, in Markdown."""
    cpu, kernel = found["cpu"], found["kernel"]
    lines = [
        f"# {scenario.name}: {scenario.what}",
        "",
        f"{server}, Python {found['python']}: {cpu:.1f} µs of server CPU a request when nobody looks. Of that the "
        f"kernel has {kernel:.0%} ({found['kernel_by']}), {kernel * cpu:.1f} µs; Python has {1 - kernel:.0%}.",
        "",
        *rows("part", found["steps"], cpu),
        "",
        *rows("function, by itself", dict(list(found["functions"].items())[:FUNCTIONS]), cpu),
    ]
    if found["symbols"]:
        lines += ["", "```text", *found["symbols"], "```"]
    return "\n".join(lines)


def rows(what: str, values: dict[str, float], cpu: float) -> list[str]:
    """A table of microseconds."""
    lines = [f"| {what} | µs | share |", "| --- | ---: | ---: |"]
    return lines + [f"| {name} | {value:.2f} | {value / cpu:.1%} |" for name, value in values.items()]


def write(folder: Path, name: str, text: str, found: dict[str, Any]) -> None:
    """The two pictures, the tables, and all of it for programs."""
    stacks = found.pop("stacks")
    folder.mkdir(parents=True, exist_ok=True)
    packages = {label(frame): package(frame) for stack in stacks for frame in stack}
    merged: Counter[tuple[str, ...]] = Counter()
    for stack, count in stacks.items():
        merged[named(stack)] += count
    title = f"{name}: the part of a request that is Python, {(1 - found['kernel']) * found['cpu']:.1f} µs"
    (folder / f"{name}.svg").write_text(flame(merged, title, packages), "utf-8")
    heading = f"Server CPU of {name}: {found['cpu']:.1f} µs, of which the kernel has {found['kernel']:.0%}"
    (folder / f"{name}-parts.svg").write_text(parts_chart(found["steps"], heading), "utf-8")
    (folder / f"{name}.md").write_text(text + "\n", "utf-8")
    (folder / f"{name}.json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", "utf-8")
    tell(f"{folder / name}.svg, -parts.svg, .md and .json")
