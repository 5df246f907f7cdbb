"""``python -m bench.parked``: idle connections with their tasks and without; what they hold, and what waking one costs.

Two servers run beside each other, one of which never parks a connection. Memory is the proportional set size of the
server's process with all connections there, less that with the first of them, divided by the number of the others: what
tasks that have ended leave behind is in both. The CPU of a request is that of one on each of some connections, one
after another, all of which have been idle: nothing is warm.

Under TLS a third process shows what OpenSSL itself needs: see :mod:`.apps.bare_tls`.
"""

from __future__ import annotations

import argparse
import socket
import ssl
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from .client import ClientError, answered, ask_again, trusting
from .measure import proportional
from .options import allow_descriptors, natural
from .run import certificate
from .servers import HOST, Running, Server, Setup, running

NEVER: Final = "never parked"
BARE: Final = "OpenSSL alone"
VERSIONS: Final = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
PARK_AFTER: Final = 1.0
"""Seconds that a connection keeps its task here: less than all of them take to ask."""
SETTLE: Final = 2.0
"""Seconds until the last one has been parked, and beyond."""
EARLY: Final = 5
"""One in so many connections has come before memory is first read."""
SPARE: Final = 200
"""Descriptors that are no connections."""
BLOCK: Final = 20
"""Requests that are timed together: the least of many short times is what a busy machine has disturbed least."""


def server(park_after: float | None) -> Server:
    """This server, which parks connections after so many seconds, or never."""
    after = "none" if park_after is None else str(park_after)

    def command(setup: Setup, port: int) -> list[str]:
        options = ["--no-access-log", "--log-level", "warning", "--timeout-keep-alive", "600"]
        options += ["--max-connections", str(setup.crowd), "--timeout-park-after", after]
        if setup.tls is not None:
            options += ["--tls-cert", str(setup.tls[0]), "--tls-key", str(setup.tls[1])]
        return ["roadrunner_trio", "serve", "bench.apps.native:handler", "--bind", f"{HOST}:{port}", *options]

    return Server(NEVER if park_after is None else "parked", (), command)


def bare() -> Server:
    """OpenSSL in a process of its own."""

    def command(setup: Setup, port: int) -> list[str]:
        if setup.tls is None:
            raise ValueError("there is nothing to it without TLS")
        return ["bench.apps.bare_tls", str(port), *map(str, setup.tls)]

    return Server(BARE, (), command)


def pss(each: Running) -> int:
    """Octets of memory, of pages shared with others its part."""
    octets = proportional([each.process.pid])
    if not octets:
        raise ClientError("the kernel does not tell the proportional set size")
    return octets


def crowd(each: Running, count: int, rate: int, tls: bool, stack: ExitStack) -> tuple[list[socket.socket], float]:
    """Opens connections, so many a second, and says what each holds when all have been idle for a while."""
    connections, held = list[socket.socket](), list[int]()
    early = count // EARLY
    for some in (early, count - early):
        began = time.monotonic()
        for at in range(some):
            connections.append(stack.enter_context(answered(each.port, "/hello", tls=tls)))
            time.sleep(max(0.0, began + at / rate - time.monotonic()))
        time.sleep(PARK_AFTER + SETTLE)
        held.append(pss(each))
    return connections, (held[1] - held[0]) / (count - early)


def cost(each: Running, connections: Sequence[socket.socket]) -> float:
    """Microseconds of server CPU for a request on each, one after another."""
    before = each.cpu_seconds()
    for sock in connections:
        ask_again(sock, "/hello")
    return (each.cpu_seconds() - before) / len(connections) * 1e6


def costs(there: Sequence[tuple[Running, list[socket.socket]]], turns: int) -> dict[str, list[float]]:
    """The same in blocks, the servers in turn, and all connections once in each turn, of which the first counts not."""
    found: dict[str, list[float]] = {}
    for turn in range(turns + 1):
        for at in range(0, len(there[0][1]), BLOCK):
            for process, connections in there:
                figure = cost(process, connections[at : at + BLOCK])
                if turn:
                    found.setdefault(process.server.name, []).append(figure)
    return found


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m bench.parked", description="Parked connections beside idle ones.")
    add = parser.add_argument
    add("--connections", type=natural, default=9_000, help="to each server (default 9000)")
    add("--rate", type=natural, default=1_000, help="connections a second (default 1000)")
    add("--turns", type=natural, default=2, help="in which every connection asks once (default 2)")
    add("--tls", nargs="?", const="1.3", choices=VERSIONS, help="encrypted, by this version (1.3)")
    add("--python", default=sys.executable, metavar="PATH", help="what runs the servers")
    options = parser.parse_args()
    allow_descriptors(2 * options.connections + SPARE)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-parked-")))
        tls = certificate(folder) if options.tls else None
        setup = Setup(crowd=options.connections, tls=tls)

        def filled(each: Server, stack: ExitStack) -> tuple[Running, list[socket.socket]]:
            process = stack.enter_context(running(each, setup, options.python))
            connections, octets = crowd(process, options.connections, options.rate, bool(options.tls), stack)
            print(f"{each.name:14} {octets:8.0f} octets a connection", flush=True)
            return process, connections

        if options.tls:
            trusting().minimum_version = trusting().maximum_version = VERSIONS[options.tls]
            with ExitStack() as first:
                filled(bare(), first)
        there = [filled(each, stack) for each in (server(PARK_AFTER), server(None))]
        figures = costs(there, options.turns)
        base = sorted(figures[NEVER])
        for name, blocks in figures.items():
            found = sorted(blocks)
            for what, at in (("least", 0), ("median", len(found) // 2)):
                print(f"{name:14} {found[at]:8.1f} us of server CPU for a request, {what}: {found[at] / base[at]:.2f}")


if __name__ == "__main__":
    main()
