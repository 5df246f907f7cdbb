"""Puts the figures of ``docs/_data/performance.json`` into the page about performance, and draws its pictures.

A test says when page and data do not agree. After a change to the data, or with what has been measured anew::

    python docs/_ext/performance_page.py
    python docs/_ext/performance_page.py --results bench/results.json --profile build/profile/hello.json

What stands between ``.. begin NAME`` and ``.. end NAME`` is written here; the rest of the page is prose.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent.parent
sys.path.append(str(DOCS.parent))  # the benchmarks are no package that is installed

from bench.chart import chart  # noqa: E402
from bench.parts import parts_chart  # noqa: E402
from bench.report import NOTHING, from_json, least, middle, title  # noqa: E402
from bench.run import Outcome, Result, Round  # noqa: E402
from bench.scenarios import SCENARIOS  # noqa: E402
from bench.servers import SERVERS  # noqa: E402

DATA = DOCS / "_data" / "performance.json"
PAGE = DOCS / "explanation" / "performance.rst"
PARTS = DOCS / "explanation" / "performance-parts.svg"
BARS = DOCS / "explanation" / "performance-servers.svg"
WIDTH = 120
FIGURES = ("cpu", "rate", "p50", "p99", "p999", "connection")
PROTOCOL = {each.name: each.protocol for each in SCENARIOS}
CPU = ("cpu", "CPU, µs", 1)
OCTETS = ("connection", "octets", 0)
SHOWN = {"latency": [("p99", "p99, ms", 2), CPU], "idle": [OCTETS], "tlsidle": [OCTETS], "wsidle": [OCTETS]}
"""What the page shows of a scenario, when it is not CPU time alone."""


# -- what was measured ---------------------------------------------------------------------------


def take_results(data: dict[str, Any], results: dict[str, Any]) -> None:
    """Takes the medians of a run of ``python -m bench``; scenarios that it did not have stay as they were."""
    kept = data["servers"]
    about = dict(results["about"])
    kept["versions"] |= about.pop("servers")
    kept["about"] = {name: about[name] for name in ("python", "system", "cores", "rounds", "seconds")}
    for outcome in from_json(results):
        figures = {each.server: figures_of(each) for each in outcome.results if not each.left_out}
        if figures:
            kept["scenarios"][outcome.scenario] = {"what": outcome.what, "figures": figures}
    kept["scenarios"] = {name: kept["scenarios"][name] for name in PROTOCOL if name in kept["scenarios"]}


def figures_of(result: Result) -> dict[str, float]:
    """The medians of a server, its least CPU time, and its memory in octets."""
    found = {name: middle(result, name) for name in FIGURES} | {"cpu_least": least(result, "cpu")}
    there = {name: round(value, 3) for name, value in found.items() if value is not None}
    return {**there, "idle": result.idle, "peak": result.peak}


def take_profile(data: dict[str, Any], found: dict[str, Any]) -> None:
    """Takes the parts of a request from ``python -m bench profile hello``."""
    data["hello"] = {
        "python": found["python"],
        "cpu": round(found["cpu"], 2),
        "kernel": round(found["kernel"], 3),
        "parts": {name: round(value, 2) for name, value in found["steps"].items()},
    }


# -- the page ------------------------------------------------------------------------------------


def page(text: str, data: dict[str, Any]) -> str:
    """``text`` with all that is written here as ``data`` has it.

    Raises:
        ValueError: the page has a mark that nobody writes at, or lacks one.
    """
    written = {name: "\n".join(lines).strip("\n") for name, lines in sections(data)}
    marks = re.findall(r"^\.\. begin (\S+)$", text, re.MULTILINE)
    if sorted(marks) != sorted(written):
        raise ValueError(f"the page has marks for {marks}, and there are {sorted(written)}")

    def fill(match: re.Match[str]) -> str:
        return f".. begin {match[1]}\n\n{written[match[1]]}\n\n.. end {match[1]}\n"

    return re.sub(r"^\.\. begin (\S+)\n.*?^\.\. end \1\n", fill, text, flags=re.MULTILINE | re.DOTALL)


def sections(data: dict[str, Any]) -> Iterator[tuple[str, Sequence[str]]]:
    """What is written, by the name of its marks."""
    yield "circumstances", list(circumstances(data))
    yield "hello", list(hello(data["hello"]))
    yield (
        "floors",
        list(table(("What a request does", "µs"), [(e["what"], f"{e['us']:.1f}") for e in data["floors"]], "80 20")),
    )
    for name in ("http", "ws"):
        yield name, list(servers(data["servers"]["scenarios"], name))
    for name in ("helped", "did-not-help"):
        rows = [(each["what"], each["figures"]) for each in data[name]]
        yield name, list(table(("What", "Figures"), rows, "60 40"))


def circumstances(data: dict[str, Any]) -> Iterator[str]:
    """Where, when and with what."""
    about, versions = data["servers"]["about"], data["servers"]["versions"]
    yield from wrapped(
        f"{data['note']} Python {about['python']}, {about['system']}, {about['cores']} cores, commit {data['commit']}; "
        f"{about['rounds']} interleaved rounds of {about['seconds']} s."
    )
    yield ""
    for name in dict.fromkeys([*(each.name for each in SERVERS), *versions]):
        if name in versions:
            yield from wrapped(versions[name].replace("ours (", f"{title('ours')} (", 1), "* ")


def hello(found: dict[str, Any]) -> Iterator[str]:
    """The parts of a request, and their sum."""
    cpu = found["cpu"]
    rows = [(name[:1].upper() + name[1:], f"{us:.1f}", f"{us / cpu:.0%}") for name, us in found["parts"].items()]
    yield from table(("Part", "µs", "Share"), [*rows, ("*A request*", f"*{cpu:.1f}*", "*100%*")], "70 15 15")


def servers(scenarios: dict[str, Any], protocol: str) -> Iterator[str]:
    """The table of all servers that speak it."""
    chosen = {name: each["figures"] for name, each in scenarios.items() if PROTOCOL[name] == protocol}
    names = [each.name for each in SERVERS if any(each.name in figures for figures in chosen.values())]
    rows = [row for name, figures in chosen.items() for row in rows_of(name, figures, names)]
    yield from table(("Scenario", "Of", *map(title, names)), rows, " ".join(["12", "10", *["13"] * len(names)]))


def rows_of(scenario: str, figures: dict[str, Any], names: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """One scenario: each server's figure, and in brackets ours in multiples of it."""
    for figure, unit, digits in SHOWN.get(scenario, [CPU]):
        yield (f"``{scenario}``", unit, *(cell(figures, figure, digits, name) for name in names))


def cell(figures: dict[str, Any], figure: str, digits: int, name: str) -> str:
    """One server's."""
    own, value = (figures.get(each, {}).get(figure) for each in ("ours", name))
    if value is None:
        return NOTHING
    return f"{value:,.{digits}f}" + ("" if own is None or name == "ours" else f" ({own / value:.2f})")


def table(head: Sequence[str], rows: Sequence[Sequence[str]], widths: str) -> Iterator[str]:
    """A list-table."""
    yield from (".. list-table::", "   :header-rows: 1", f"   :widths: {widths}", "")
    for first, *others in (head, *rows):
        yield from wrapped(first, "   * - ")
        for other in others:
            yield from wrapped(other, "     - ")


def wrapped(text: str, mark: str = "") -> list[str]:
    """Lines of a paragraph, or of an item."""
    indent = " " * len(mark)
    return textwrap.wrap(
        text, WIDTH, initial_indent=mark, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


# -- the pictures --------------------------------------------------------------------------------


def parts(data: dict[str, Any]) -> str:
    """The picture of a request."""
    found = data["hello"]
    return parts_chart(
        found["parts"], f"Server CPU of a hello: {found['cpu']:.1f} µs, of which the kernel has {found['kernel']:.0%}"
    )


def bars(data: dict[str, Any]) -> str:
    """The picture of all servers."""
    outcomes = [
        Outcome(
            name,
            each["what"],
            [Result(server, [Round(1, cpu=one.get("cpu"))]) for server, one in each["figures"].items()],
        )
        for name, each in data["servers"]["scenarios"].items()
    ]
    about = data["servers"]["about"]
    return chart(
        outcomes, f"Python {about['python']}, {about['cores']} cores; medians of {about['rounds']} interleaved rounds"
    )


def main() -> None:
    """Takes what was measured, if anything, and writes page and pictures."""
    parser = argparse.ArgumentParser(description="Writes docs/explanation/performance.rst and its pictures.")
    parser.add_argument("--results", type=Path, action="append", default=[], help="of python -m bench; again for more")
    parser.add_argument("--profile", type=Path, help="of python -m bench profile hello")
    parser.add_argument("--commit", help="what was measured")
    chosen = parser.parse_args()
    data = json.loads(DATA.read_text("utf-8"))
    for file in chosen.results:
        take_results(data, json.loads(file.read_text("utf-8")))
    if chosen.profile is not None:
        take_profile(data, json.loads(chosen.profile.read_text("utf-8")))
    if chosen.commit is not None:
        data["commit"] = chosen.commit
    DATA.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", "utf-8")
    PAGE.write_text(page(PAGE.read_text("utf-8"), data), "utf-8")
    PARTS.write_text(parts(data), "utf-8")
    BARS.write_text(bars(data), "utf-8")


if __name__ == "__main__":
    main()
