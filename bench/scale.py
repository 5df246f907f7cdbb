"""``python -m bench.scale``: what a crowd of idle connections costs, here, on uvicorn and on granian.

One server after another is given more and more connections, each of which has had one answer. At each number it is
measured what they hold (the proportional set size of its processes, less that without them), how fast the last ones
came in, and how long one that is awake waits for its answers beside them. Then the server is told to end with all of
them there. Connections come from several loopback addresses, so that ports do not run out; as many as descriptors
allow, of which a process has so many as ``ulimit -Hn`` says.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, NamedTuple

from .client import ask_again
from .lines import picture
from .measure import percentile, proportional, tree
from .options import allow_descriptors, natural, tell
from .servers import SERVERS, Running, Server, Setup, running

PARK_AFTER: Final = 1.0
SETTLE: Final = 2.5
"""Seconds until the last one has been parked, and beyond."""
WARMING: Final = 200
SPARE: Final = 300
"""Descriptors that are no connections."""
SOURCES: Final = 8
"""Loopback addresses that they come from."""
ASKED: Final = 900
"""Answers that one waits for who is awake; fewer than a connection may have."""
PATIENCE: Final = 120.0
OURS: Final = "roadrunner-trio"


class Row(NamedTuple):
    """What was seen with so many connections there.

    Attributes:
        server: whose they are.
        connections: how many.
        octets: that each of them holds.
        opened: a second, of the last ones, each with an answer.
        cpu: microseconds of the server's for each of these.
        middle: microseconds, half of the answers to one who is awake.
        slow: microseconds, all but one in a hundred.
        listing: milliseconds of ``connections()``; None of others.
    """

    server: str
    connections: int
    octets: float
    opened: float
    cpu: float
    middle: float
    slow: float
    listing: float | None


def ours() -> Server:
    """This server, with connections that are parked soon."""

    def command(setup: Setup, port: int) -> list[str]:
        return ["bench.apps.crowd", str(port), str(setup.crowd), str(PARK_AFTER)]

    return Server(OURS, (), command)


def opened(port: int, number: int) -> socket.socket:
    """A connection that has had one answer."""
    sock = socket.create_connection(("127.0.0.1", port), PATIENCE, (f"127.0.0.{2 + number % SOURCES}", 0))
    ask_again(sock, "/hello")
    return sock


def look(each: Running, there: int, empty: int, opening: tuple[float, float]) -> Row:
    """What is to be seen now."""
    octets = (proportional(tree(each.process.pid)) - empty) / there
    waits = list[float]()
    listing = None
    with socket.create_connection(("127.0.0.1", each.port), PATIENCE) as awake:
        for _ in range(ASKED):
            began = time.perf_counter()
            ask_again(awake, "/hello")
            waits.append((time.perf_counter() - began) * 1e6)
            time.sleep(0.0005)
        if each.server.name == OURS:
            said: list[Any] = json.loads(ask_again(awake, "/connections").partition(b"\r\n\r\n")[2])
            listing = said[1] * 1e3
    waits.sort()
    opened_, cpu = opening
    return Row(each.server.name, there, octets, opened_, cpu, percentile(waits, 0.5), percentile(waits, 0.99), listing)


def grow(each: Running, counts: list[int], stack: ExitStack) -> list[Row]:
    """Gives it more and more connections, which stay until the stack is left."""
    with ExitStack() as first:
        for number in range(WARMING):
            first.enter_context(opened(each.port, number))
        time.sleep(SETTLE)
    time.sleep(0.5)
    empty, there, rows = proportional(tree(each.process.pid)), 0, list[Row]()
    for count in counts:
        began, before, more = time.perf_counter(), each.cpu_seconds(), count - there
        for number in range(there, count):
            stack.enter_context(opened(each.port, number))
        seconds, cpu = time.perf_counter() - began, each.cpu_seconds() - before
        there = count
        time.sleep(SETTLE)
        rows.append(look(each, there, empty, (more / seconds, cpu / more * 1e6)))
        tell(" ".join(f"{name}={value}" for name, value in rows[-1]._asdict().items()))
    return rows


def end(each: Running) -> float | None:
    """Tells it to end, and says how many seconds that took; None when it did not."""
    began = time.perf_counter()
    os.kill(each.process.pid, signal.SIGTERM)
    try:
        each.process.wait(60)
    except subprocess.TimeoutExpired:
        return None
    return time.perf_counter() - began


def draw(folder: Path, rows: list[Row], about: str) -> None:
    """Two pictures: memory and waiting."""
    kinds: list[tuple[str, str, str, Callable[[Row], float]]] = [
        ("scale-memory.svg", "What an idle connection holds", "kB of memory", lambda row: row.octets / 1000),
        ("scale-waiting.svg", "What one waits who is awake (p99)", "milliseconds", lambda row: row.slow / 1000),
    ]
    for file, heading, unit, of in kinds:
        found: dict[str, list[tuple[float, float]]] = {
            name: [(row.connections, round(of(row), 3)) for row in rows if row.server == name]
            for name in dict.fromkeys(row.server for row in rows)
        }
        (folder / file).write_text(picture(heading, about, unit, found), "utf-8")


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description=__doc__)
    add = parser.add_argument
    most = min(100_000, resource.getrlimit(resource.RLIMIT_NOFILE)[1] - SPARE)
    add("--most", type=natural, default=most, help=f"connections (default {most})")
    add("--servers", nargs="+", default=[OURS, "uvicorn", "granian"], help="which (default all three)")
    add("--draw", type=Path, metavar="FOLDER", help="where two pictures are to go")
    add("--python", default=sys.executable, metavar="PATH", help="what runs the servers")
    options = parser.parse_args()
    allow_descriptors(options.most + SPARE)
    counts = sorted({max(1, options.most * part // 20) for part in (1, 5, 10, 15, 20)})
    known = {OURS: ours(), **{server.name: server for server in SERVERS}}
    rows, ends = list[Row](), dict[str, float | None]()
    for name in options.servers:
        with ExitStack() as stack:
            each = stack.enter_context(running(known[name], Setup(crowd=options.most + WARMING), options.python))
            rows += grow(each, counts, stack)
            ends[name] = end(each)
    print(
        f"{'server':16}{'there':>8}{'octets':>9}{'opened/s':>10}{'us CPU':>8}{'p50 us':>8}{'p99 us':>8}{'list ms':>9}"
    )
    for row in rows:
        listing = "-" if row.listing is None else f"{row.listing:.1f}"
        figures = f"{row.octets:9.0f}{row.opened:10.0f}{row.cpu:8.1f}{row.middle:8.0f}{row.slow:8.0f}{listing:>9}"
        print(f"{row.server:16}{row.connections:8}{figures}")
    for name, seconds in ends.items():
        print(f"{name} ended within {seconds:.2f} s" if seconds is not None else f"{name} had not ended within 60 s")
    if options.draw is not None:
        draw(options.draw, rows, f"Python {platform.python_version()}, Linux, loopback, one process")


if __name__ == "__main__":
    main()
