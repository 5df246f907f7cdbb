"""What stands on the server against the same on another: ``python -m bench.wing``.

Files, a 304, JSON through gzip and a form of 10 MB, here and with Starlette on uvicorn; a file from granian besides,
where that is installed. One connection asks them in turns, and the least server CPU of all turns counts, so a busy
machine does little harm. A form is in here, of which wrk knows nothing, and answers differ in their octets, so this
is not one of the scenarios.
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from .measure import cpu_seconds, ratio

PATIENCE: Final = 20.0
SMALL: Final = 4096
UPLOAD: Final = 10_000_000
BOUNDARY: Final = "----WebKitFormBoundary7MA4YWxkTrZu0gWq"
"""As long as those of browsers: the search for it is quicker the longer it is."""
OURS, THEIRS, GRANIAN = "roadrunner-trio", "uvicorn+starlette", "granian"
PROGRAMS: Final = {OURS: "bench.apps.wing_native", THEIRS: "bench.apps.wing_starlette", GRANIAN: "granian"}
FILES: Final = "4 kB from a folder"
"""All that granian does by itself."""


def command(server: str, port: int, folder: Path) -> list[str]:
    """What starts a server."""
    program = [sys.executable, "-m", PROGRAMS[server]]
    if server != GRANIAN:
        return [*program, str(port), str(folder)]
    static = ["--static-path-route", "/static", "--static-path-mount", str(folder)]
    options = ["--interface", "asgi", "--loop", "uvloop", "--no-ws", "--log-level", "error", "--port", str(port)]
    return [*program, *options, *static, "bench.apps.asgi:app"]


class Case(NamedTuple):
    """A thing to be asked for.

    Attributes:
        name: on the report.
        path: what is asked for.
        status: of the right answer.
        times: requests a turn; fewer than a connection may have.
        fields: lines of the request.
        body: of the request.
    """

    name: str
    path: str
    status: int
    times: int
    fields: str = ""
    body: bytes = b""


def upload() -> bytes:
    """A form with one file."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\n'.encode()
    return head + os.urandom(UPLOAD) + f"\r\n--{BOUNDARY}--\r\n".encode()


def cases(tag: str) -> tuple[Case, ...]:
    """All of them, where a small file has this tag."""
    body = upload()
    form = f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\nContent-Length: {len(body)}\r\n"
    return (
        Case("hello", "/hello", 200, 600),
        Case(FILES, "/static/small.txt", 200, 500),
        Case("304", "/static/small.txt", 304, 500, f"If-None-Match: {tag}\r\n"),
        Case("19 kB of JSON, gzip", "/json", 200, 200, "Accept-Encoding: gzip\r\n"),
        Case("form of 10 MB", "/form", 200, 5, form, body),
    )


@contextmanager
def running(server: str, folder: Path) -> Generator[tuple[int, int]]:
    """A server in a process of its own: its process id and port."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    process = subprocess.Popen(command(server, port, folder), stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit(f"{server} does not listen") from None
                time.sleep(0.05)
        yield process.pid, port
    finally:
        process.terminate()
        process.wait()


def ask(sock: socket.socket, case: Case) -> tuple[int, bytes]:
    """One request; the status and head of its answer, which is read to its end."""
    method = "POST" if case.body else "GET"
    sock.sendall(f"{method} {case.path} HTTP/1.1\r\nHost: h\r\n{case.fields}\r\n".encode() + case.body)
    data = b""
    while b"\r\n\r\n" not in data:
        data += receive(sock)
    head, _, rest = data.partition(b"\r\n\r\n")
    status = int(head.split(b" ", 2)[1])
    lengths = [int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    if b"\r\ntransfer-encoding: chunked" in head.lower():  # no body holds what looks like the end of its chunks
        while not rest.endswith(b"\r\n0\r\n\r\n"):
            rest += receive(sock)
        return status, head
    left = (lengths[0] if lengths and status != 304 else 0) - len(rest)
    while left > 0:
        left -= len(receive(sock))
    return status, head


def receive(sock: socket.socket) -> bytes:
    """What comes next.

    Raises:
        SystemExit: the server has closed.
    """
    data = sock.recv(262144)
    if not data:
        raise SystemExit("the server has closed the connection")
    return data


def turn(pid: int, port: int, case: Case) -> float:
    """Microseconds of server CPU a request."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as sock:
        status, _ = ask(sock, case)
        if status != case.status:
            raise SystemExit(f"{case.name}: {status}, not {case.status}")
        before = cpu_seconds(pid)
        for _ in range(case.times):
            ask(sock, case)
        return (cpu_seconds(pid) - before) / case.times * 1e6


def tag_of(port: int) -> str:
    """The tag that a server gives a small file."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as sock:
        _, head = ask(sock, Case("tag", "/static/small.txt", 200, 1))
    lines = [line for line in head.split(b"\r\n") if line.lower().startswith(b"etag:")]
    return lines[0].partition(b":")[2].strip().decode("latin-1")


def measure(folder: Path, turns: int) -> dict[tuple[str, str], float]:
    """Microseconds of server CPU, the least of all turns, by case and server."""
    best: dict[tuple[str, str], float] = {}
    with ExitStack() as stack:
        servers: list[tuple[str, int, int, tuple[Case, ...]]] = []
        for server in PROGRAMS:
            if server == GRANIAN and importlib.util.find_spec("granian") is None:
                continue
            pid, port = stack.enter_context(running(server, folder))
            known = cases("" if server == GRANIAN else tag_of(port))
            servers.append(
                (server, pid, port, tuple(case for case in known if server != GRANIAN or case.name == FILES))
            )
        for _ in range(turns):
            for name in [case.name for case in servers[0][3]]:
                for server, pid, port, asked in servers:
                    for case in asked:
                        if case.name == name:
                            key = name, server
                            best[key] = min(best.get(key, math.inf), turn(pid, port, case))
    return best


def main() -> None:
    """Measures, and prints a line for each case."""
    parser = argparse.ArgumentParser(prog="python -m bench.wing", description=__doc__)
    parser.add_argument("--turns", type=int, default=5, help="of each server for each case (default 5)")
    turns: int = parser.parse_args().turns
    with tempfile.TemporaryDirectory() as name:
        small = Path(name, "small.txt")
        small.write_bytes(b"x" * SMALL)
        os.utime(small, (1_700_000_000, 1_700_000_000))
        best = measure(Path(name), turns)
    hello = best["hello", OURS]
    print(f"{'server CPU, µs a request':28}{OURS:>18}{THEIRS:>20}{'ratio':>8}{GRANIAN:>10}{'ratio':>8}{'hellos':>8}")
    for name in dict.fromkeys(case for case, _ in best):
        ours, theirs, granian = (best.get((name, server)) for server in (OURS, THEIRS, GRANIAN))
        cells = [f"{name:28}{_cell(ours, 18)}"]
        for other, width in ((theirs, 20), (granian, 10)):
            cells.append(_cell(other, width) + _cell(ratio(ours, other), 8, 2))
        print("".join(cells) + _cell(ratio(ours, hello), 8, 2))


def _cell(value: float | None, width: int, digits: int = 1) -> str:
    return " " * (width - 1) + "-" if value is None else f"{value:{width}.{digits}f}"


if __name__ == "__main__":
    main()
