"""Several workers beside one, and beside uvicorn's: ``python -m bench.workers``.

*uneven*: three clients, a connection for each request, of which one in a hundred keeps a processor busy for 50 ms: who
waits behind that while another worker is idle? *scaling*: the server CPU of a hello, and answers a second where each
costs 100 µs, of two workers and of one process. *storm*: a connection for each request, fifty at a time. *memory*: four
preloaded workers of an application of FastAPI beside four of uvicorn, after the collector has looked at everything in
each (PSS: what is shared is counted once).

Servers are loaded in turns, and the best turn of each counts, so a busy machine does little harm.
"""

from __future__ import annotations

import argparse
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Final, TypeAlias

from .load import command, run_wrk
from .measure import cpu_seconds, proportional, tree

PATIENCE: Final = 60.0
CLIENTS: Final = 3
RARE: Final = 100
"""One request in so many is a costly one."""
FEW: Final = 12
MANY: Final = 50
"""Connections."""
WORKERS: Final = 4


def ours(app: str, *words: str) -> list[str]:
    """The command of this server."""
    return [sys.executable, "-m", "roadrunner_trio", "serve", app, "--no-access-log", "--log-level", "warning", *words]


def uvicorn(app: str, *words: str) -> list[str]:
    """That of uvicorn, with what it can have of uvloop and httptools."""
    return [sys.executable, "-m", "uvicorn", app, "--no-access-log", "--log-level", "warning", *words]


@contextmanager
def running(command: list[str], path: str = "/") -> Generator[tuple[int, int]]:
    """A server in a process of its own: its process id and port."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        port = door.getsockname()[1]
    server = subprocess.Popen([*command, "--port", str(port)], stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + PATIENCE
        while not _answers(port, path):
            if server.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{' '.join(command)} does not answer")
            time.sleep(0.1)
        time.sleep(1)  # the other workers
        yield server.pid, port
    finally:
        server.terminate()
        server.wait()


def _answers(port: int, path: str) -> bool:
    try:
        return ask(port, path)[0] == 200
    except OSError:
        return False


def ask(port: int, path: str) -> tuple[int, bytes]:
    """One request on a connection of its own: the status, and the content.

    Raises:
        OSError: there was no whole answer.
    """
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as sock:
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".encode())
        data = b""
        while piece := sock.recv(65536):
            data += piece
    head, blank, body = data.partition(b"\r\n\r\n")
    if not blank:
        raise OSError("there is no answer")
    return int(head.split(b" ", 2)[1]), body


def uneven(port: int, seconds: int) -> float:
    """Answers a second."""
    counts, end = [0] * CLIENTS, time.monotonic() + seconds

    def client(at: int) -> None:
        while time.monotonic() < end:
            ask(port, "/" if (counts[at] + at * RARE // CLIENTS) % RARE else "/50ms")
            counts[at] += 1

    threads = [threading.Thread(target=client, args=(at,)) for at in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / seconds


Better: TypeAlias = Callable[[float, float], float]


def best_of(turns: int, measures: Mapping[str, Callable[[], float]], better: Better) -> list[float]:
    """The best that each comes to, in turns."""
    found: dict[str, float] = {}
    for _ in range(turns):
        for name, measure in measures.items():
            value = measure()
            found[name] = better(found.get(name, value), value)
    return list(found.values())


def compare_uneven(turns: int, seconds: int) -> None:
    """Prints what the uneven load comes to."""
    app, words = "bench.apps.work", ("--workers", "2")
    with running(ours(f"{app}:handler", *words)) as (_, own), running(uvicorn(f"{app}:app", *words)) as (_, their):
        measures = {"ours": lambda: uneven(own, seconds), "uvicorn": lambda: uneven(their, seconds)}
        one, other = best_of(turns, measures, max)
    print(f"uneven load, answers a second: {one:.0f}, uvicorn {other:.0f}, ratio {one / other:.2f}")


def load(port: int, path: str, seconds: int) -> int:
    """How many were answered on a few connections."""
    url = f"http://127.0.0.1:{port}{path}"
    return run_wrk(command(url, seconds=seconds, connections=FEW), seconds).requests


def hello_cpu(pid: int, port: int, seconds: int) -> float:
    """Microseconds of server CPU a hello."""
    before = cpu_seconds(pid)
    answers = load(port, "/", seconds)
    return (cpu_seconds(pid) - before) / answers * 1e6


def compare_scaling(turns: int, seconds: int) -> None:
    """Prints what a second worker comes to."""
    app = "bench.apps.work:handler"
    with ExitStack() as stack:
        (pid, one), (pids, two) = (
            stack.enter_context(running(ours(app, *words))) for words in ((), ("--workers", "2"))
        )
        cpu = {"one": lambda: hello_cpu(pid, one, seconds), "two": lambda: hello_cpu(pids, two, seconds)}
        alone, both = best_of(turns, cpu, min)
        print(f"hello, server CPU: one process {alone:.1f} µs, two workers {both:.1f} µs, ratio {both / alone:.2f}")
        ports = {"one": one, "two": two}
        rates = {name: partial(load, port, "/100us", seconds) for name, port in ports.items()}
        alone, both = (count / seconds for count in best_of(turns, rates, max))
        told = f"one process {alone:.0f}, two workers {both:.0f}, ratio {both / alone:.2f}"
        print(f"100 µs each, answers a second: {told}")


def storm_cpu(pid: int, port: int, seconds: int) -> float:
    """Microseconds of server CPU for a connection with one request."""
    before, words = cpu_seconds(pid), [("Connection", "close")]
    url = f"http://127.0.0.1:{port}/"
    answers = run_wrk(command(url, seconds=seconds, connections=MANY, fields=words), seconds).requests
    return (cpu_seconds(pid) - before) / answers * 1e6


def compare_storm(turns: int, seconds: int) -> None:
    """Prints what connections for one request each cost."""
    app, words = "bench.apps.work", ("--workers", "2")
    with running(ours(f"{app}:handler", *words)) as own, running(uvicorn(f"{app}:app", *words)) as their:
        measures = {"ours": lambda: storm_cpu(*own, seconds), "uvicorn": lambda: storm_cpu(*their, seconds)}
        one, other = best_of(turns, measures, min)
    print(f"storm, server CPU of two workers: {one:.1f} µs, uvicorn {other:.1f} µs, ratio {one / other:.2f}")


def shared(pids: Iterable[int]) -> float:
    """MiB of processes, what they share being counted once."""
    return proportional(pids) / 1024**2


def collected(pid: int, port: int) -> tuple[float, float]:
    """MiB of the workers, and of all that there is, when every worker has collected."""
    seen: set[int] = set()
    deadline = time.monotonic() + PATIENCE
    while len(seen) < WORKERS:
        threads = [threading.Thread(target=lambda: seen.add(int(ask(port, "/collect")[1]))) for _ in range(4 * WORKERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if time.monotonic() > deadline:
            raise SystemExit(f"only {len(seen)} of {WORKERS} workers answer")
    return shared(seen), shared(tree(pid))


def compare_memory() -> None:
    """Prints what four workers take."""
    app, words = "bench.apps.models:app", ("--workers", str(WORKERS))
    with running(ours(app, *words, "--preload"), "/collect") as (pid, port):
        own = collected(pid, port)
    with running(uvicorn(app, *words), "/collect") as (pid, port):
        their = collected(pid, port)
    for what, one, other in zip(("alone", "and who keeps them"), own, their, strict=True):
        print(f"{WORKERS} workers {what}, PSS: {one:.0f} MiB, uvicorn {other:.0f} MiB, ratio {one / other:.2f}")


def main() -> None:
    """Measures what is asked for, and prints a line for each figure."""
    parser = argparse.ArgumentParser(prog="python -m bench.workers", description=__doc__)
    parser.add_argument("what", nargs="*", help="uneven, scaling, storm, memory; all of them, if none is said")
    parser.add_argument("--turns", type=int, default=5, help="of each server (default 5)")
    parser.add_argument("--seconds", type=int, default=3, help="of each turn (default 3)")
    chosen = parser.parse_args()
    what = chosen.what or ["uneven", "scaling", "storm", "memory"]
    if "uneven" in what:
        compare_uneven(chosen.turns, chosen.seconds)
    if "scaling" in what:
        compare_scaling(chosen.turns, chosen.seconds)
    if "storm" in what:
        compare_storm(chosen.turns, chosen.seconds)
    if "memory" in what:
        compare_memory()


if __name__ == "__main__":
    main()
