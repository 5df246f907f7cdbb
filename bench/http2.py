"""``python -m bench.http2``: this server beside its peers over HTTP/2, loaded by ``h2load``.

The figure is server CPU a request, and its ratio to granian's. Servers run at the same time and are loaded in turn; the
least of the rounds counts, which a busy machine disturbs least.
"""

from __future__ import annotations

import argparse
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from .run import certificate
from .scenarios import BROWSER
from .servers import HOST, SERVERS, Running, Setup, StartError, running

PEERS: Final = ("ours", "ours-asgi", "granian", "hypercorn-asyncio")
BASE: Final = "granian"
PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
IDLE: Final = 200
PATHS: Final = 997
"""Paths of a browser: as many as make each new to a table that remembers."""

_counts = re.compile(r"(\d+) succeeded, (\d+) failed, (\d+) errored").search


@dataclass(frozen=True, slots=True)
class Load:
    """One way to ask.

    Attributes:
        arguments: of h2load, its requests and its address left out.
        requests: how many. Hypercorn answers no more than a thousand on a connection.
        path: what is asked for.
        post: octets of a body.
        browser: with the fields of a browser, and another path each time.
        tls: over TLS.
    """

    arguments: Sequence[str]
    requests: int
    path: str = "/hello"
    post: int = 0
    browser: bool = False
    tls: bool = False


LOADS: Final = {
    "hello": Load(("-c10", "-m10"), 10_000),
    "browser": Load(("-c10", "-m10"), 10_000, browser=True),
    "single": Load(("-c50", "-m1"), 10_000),
    "tls": Load(("-c10", "-m10"), 10_000, tls=True),
    "post": Load(("-c4", "-m4"), 1_500, "/upload", post=100_000),
}


class LoadError(Exception):
    """The load could not be made, or not all of it was answered."""


def load(each: Load, port: int, folder: Path) -> None:
    """Runs h2load to its end.

    Raises:
        LoadError: not every request was answered.
    """
    base = f"{'https' if each.tls else 'http'}://{HOST}:{port}"
    command = ["h2load", "-n", str(each.requests), *each.arguments]
    if each.post:
        body = folder / "body"
        body.write_bytes(b"0123456789" * (each.post // 10))
        command += ["-d", str(body)]
    if each.browser:
        for name, value in BROWSER[1:]:
            command += ["-H", f"{name.lower()}: {value}"]
        paths = folder / f"paths-{port}"
        paths.write_text("".join(f"{base}{each.path}?page={n}&of={n * 7}\n" for n in range(PATHS)))
        command += ["-i", str(paths)]
    else:
        command.append(base + each.path)
    said = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False).stdout
    counts = _counts(said)
    if counts is None or int(counts[1]) != each.requests:
        raise LoadError(f"not all was answered: {said.strip().splitlines()[-6:]}")


def idle(server: Running) -> float:
    """Octets of memory for a connection that has greeted and asks for nothing."""
    before = 0
    with ExitStack() as stack:
        for at in range(2 * IDLE):
            if at == IDLE:
                time.sleep(0.5)
                before = server.memory()
            connection = stack.enter_context(socket.create_connection((HOST, server.port)))
            connection.sendall(PREFACE)
        time.sleep(0.5)
        return (server.memory() - before) / IDLE


def measured(names: Sequence[str], load_name: str, rounds: int, python: str) -> dict[str, float]:
    """Microseconds of CPU a request, the least of all rounds; of ``idle``, octets a connection."""
    each = LOADS.get(load_name)
    found: dict[str, float] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-http2-")))
        tls = certificate(folder) if each is not None and each.tls else None
        servers = dict[str, Running]()
        for server in SERVERS:
            if server.name in names:
                try:
                    servers[server.name] = stack.enter_context(running(server, Setup(tls=tls, http2=True), python))
                except StartError as exc:
                    print(f"{server.name} is left out: {exc}", file=sys.stderr)
        for _ in range(rounds if each is not None else 1):
            for name, there in servers.items():
                if each is None:
                    found[name] = idle(there)
                    continue
                before = there.cpu_seconds()
                load(each, there.port, folder)
                cost = (there.cpu_seconds() - before) / each.requests * 1e6
                found[name] = min(found.get(name, cost), cost)
    return found


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m bench.http2", description="HTTP/2 beside the peers, by h2load.")
    add = parser.add_argument
    add("--scenario", action="append", choices=[*LOADS, "idle"], help="which; again for more (default: all)")
    add("--server", action="append", choices=PEERS, help="which; again for more (default: all)")
    add("--rounds", type=int, default=5, help="interleaved (default 5)")
    add("--python", default=sys.executable, metavar="PATH", help="what runs the servers")
    options = parser.parse_args()
    if shutil.which("h2load") is None:
        parser.error("h2load is not on the path: it makes the load (Debian and Ubuntu: apt-get install nghttp2-client)")
    for name in options.scenario or [*LOADS, "idle"]:
        figures = measured(options.server or PEERS, name, options.rounds, options.python)
        base = figures.get(BASE)
        unit = "octets a connection" if name == "idle" else "µs"
        for server, figure in figures.items():
            ratio = f" [{figure / base:.2f}]" if base else ""
            print(f"{name:10} {server:20} {figure:10.1f} {unit}{ratio}")


if __name__ == "__main__":
    main()
