"""How each server is started, and one that runs."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from . import measure

ROOT: Final = Path(__file__).parent.parent
HOST: Final = "127.0.0.1"
START: Final = 20.0
"""Seconds a server has to listen in."""
STOP: Final = 3.0
KEEP_ALIVE: Final = 600


class StartError(Exception):
    """A server did not start; the message has the last of what it wrote."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What a scenario wants of a server beyond its defaults.

    Attributes:
        access_log: a line a request.
        crowd: connections at once, which stay idle; None leaves caps and keep-alive times alone.
        streaming: this server leaves request bodies to the handler, as ASGI always does.
        router: this server runs its router.
        tls: the files of a certificate and its key.
        file: what ``/file`` sends.
        websocket: every path is a WebSocket that echoes.
        frameworks: the applications are those of frameworks.
        http2: HTTP/2 is spoken.
    """

    access_log: bool = False
    crowd: int | None = None
    streaming: bool = False
    router: bool = False
    tls: tuple[Path, Path] | None = None
    file: Path | None = None
    websocket: bool = False
    frameworks: bool = False
    http2: bool = False


@dataclass(frozen=True, slots=True)
class Server:
    """A server there is.

    Attributes:
        name: on the command line.
        packages: what has to be installed, this project apart.
        command: its arguments, Python left out, for a setup and a port.
        extra: what to say of it beside the versions.
        speaks: some of ``http``, ``ws`` and ``asgi``, which is frameworks; of other scenarios it has no row.
        beside: packages that only some scenarios need.
        tree: the checkout whose ``roadrunner_trio`` runs; the applications are always those of this one.
    """

    name: str
    packages: tuple[str, ...]
    command: Callable[[Setup, int], list[str]]
    extra: str = ""
    speaks: str = "http"
    beside: tuple[str, ...] = ()
    tree: Path = ROOT

    def label(self, versions: dict[str, str]) -> str:
        """Its name with the versions of what it is made of."""
        parts = [f"{name} {versions[name]}" for name in (*self.packages, *self.beside) if name in versions]
        return f"{self.name} ({', '.join([*parts, *filter(None, [self.extra])])})"


# -- the commands --------------------------------------------------------------------------------

ASGI: Final = "bench.apps.asgi:app"
FRAMEWORKS: Final = "bench.apps.frameworks:app"


def asgi(setup: Setup) -> str:
    """The application of ASGI that a scenario wants."""
    return FRAMEWORKS if setup.frameworks else ASGI


def ours(setup: Setup, port: int) -> list[str]:
    """This server, from its shell command; TLS needs a program."""
    if setup.tls is not None:
        return ["bench.apps.native", str(port), *map(str, setup.tls)]
    factory = "make_router" if setup.router else "make_websocket" if setup.websocket else ""
    app = [f"bench.apps.native:{factory}", "--factory"] if factory else ["bench.apps.native:handler"]
    options = ["--access-log"] if setup.access_log else ["--no-access-log", "--log-level", "warning"]
    if setup.streaming:
        options += ["--body", "streaming"]
    if setup.crowd is not None:
        options += ["--max-connections", str(setup.crowd), "--timeout-keep-alive", str(KEEP_ALIVE)]
    return ["roadrunner_trio", "serve", *app, "--bind", f"{HOST}:{port}", *options]


def ours_asgi(setup: Setup, port: int) -> list[str]:
    """This server with the application that its peers have."""
    options = ["--access-log"] if setup.access_log else ["--no-access-log", "--log-level", "warning"]
    if setup.tls is not None:
        options += ["--tls-cert", str(setup.tls[0]), "--tls-key", str(setup.tls[1])]
    if setup.crowd is not None:
        options += ["--max-connections", str(setup.crowd), "--timeout-keep-alive", str(KEEP_ALIVE)]
    app = FRAMEWORKS if setup.frameworks else "bench.apps.hosted:app"
    return ["roadrunner_trio", "serve", app, "--bind", f"{HOST}:{port}", *options]


def uvicorn(loop: str, parser: str, ws: str = "auto") -> Callable[[Setup, int], list[str]]:
    """uvicorn on a loop and a parser; ``ws`` is who does its WebSockets."""

    def command(setup: Setup, port: int) -> list[str]:
        options = ["--host", HOST, "--port", str(port), "--loop", loop, "--http", parser, "--ws", ws]
        options += ["--access-log"] if setup.access_log else ["--no-access-log", "--log-level", "warning"]
        if setup.tls is not None:
            options += ["--ssl-certfile", str(setup.tls[0]), "--ssl-keyfile", str(setup.tls[1])]
        if setup.crowd is not None:
            options += ["--timeout-keep-alive", str(KEEP_ALIVE)]
        return ["uvicorn", *options, asgi(setup)]

    return command


def granian(setup: Setup, port: int) -> list[str]:
    """granian with one worker; uvloop, as the others."""
    options = ["--interface", "asgi", "--host", HOST, "--port", str(port), "--workers", "1", "--loop", "uvloop"]
    options += ["--access-log"] if setup.access_log else ["--log-level", "warning"]
    if setup.tls is not None:
        options += ["--ssl-certificate", str(setup.tls[0]), "--ssl-keyfile", str(setup.tls[1])]
    if setup.crowd is not None:
        options += ["--backpressure", str(setup.crowd)]
    if setup.http2:
        options += ["--http", "2"]
    return ["granian", *options, asgi(setup)]


def hypercorn(loop: str) -> Callable[[Setup, int], list[str]]:
    """hypercorn on a loop, without a process above it."""

    def command(setup: Setup, port: int) -> list[str]:
        options = ["--bind", f"{HOST}:{port}", "--worker-class", loop, "--workers", "0", "--log-level", "warning"]
        if setup.access_log:
            options += ["--access-logfile", "-"]
        if setup.tls is not None:
            options += ["--certfile", str(setup.tls[0]), "--keyfile", str(setup.tls[1])]
        if setup.crowd is not None:
            options += ["--keep-alive", str(KEEP_ALIVE)]
        return ["hypercorn", *options, asgi(setup)]

    return command


def trio_websocket(setup: Setup, port: int) -> list[str]:
    """trio-websocket by itself, which is no HTTP server and has no caps."""
    return ["bench.apps.trio_ws", str(port)]


EVERYTHING: Final = "http ws asgi"
SERVERS: Final = (
    Server("ours", ("roadrunner-trio", "trio", "h11"), ours, speaks="http ws", beside=("wsproto",)),
    Server(
        "uvicorn",
        ("uvicorn", "uvloop", "httptools"),
        uvicorn("uvloop", "httptools", "websockets-sansio"),
        speaks=EVERYTHING,
        beside=("websockets",),
    ),
    Server("uvicorn-h11", ("uvicorn", "h11"), uvicorn("asyncio", "h11"), "asyncio"),
    Server(
        "uvicorn-wsproto",
        ("uvicorn", "uvloop", "httptools", "wsproto"),
        uvicorn("uvloop", "httptools", "wsproto"),
        speaks="ws",
    ),
    Server("granian", ("granian", "uvloop"), granian, speaks=EVERYTHING),
    Server("hypercorn-trio", ("hypercorn", "trio", "h11"), hypercorn("trio"), speaks=EVERYTHING, beside=("wsproto",)),
    Server("hypercorn-asyncio", ("hypercorn", "h11"), hypercorn("asyncio"), "asyncio"),
    Server("trio-websocket", ("trio-websocket", "trio", "wsproto"), trio_websocket, speaks="ws"),
    Server("ours-asgi", ("roadrunner-trio", "trio", "h11"), ours_asgi, "ASGI", speaks=EVERYTHING, beside=("wsproto",)),
)


# -- one that runs -------------------------------------------------------------------------------


@dataclass(slots=True)
class Running:
    """A server in a process of its own.

    Attributes:
        port: where it listens on :data:`HOST`.
    """

    server: Server
    port: int
    process: subprocess.Popen[bytes]
    log: Path
    _group: int = field(init=False)

    def __post_init__(self) -> None:
        self._group = self.process.pid  # it leads a session, and so a group, of its own

    def cpu_seconds(self) -> float:
        """CPU time so far, of the process and its descendants."""
        return measure.cpu_seconds(self.process.pid)

    def memory(self) -> int:
        """Resident octets now."""
        return measure.memory(self.process.pid, "VmRSS")

    def peak(self) -> int:
        """Resident octets at most, so far."""
        return measure.memory(self.process.pid, "VmHWM")

    def wait_until_listening(self) -> None:
        """Returns when it accepts a connection.

        Raises:
            StartError: it ended, or time did.
        """
        deadline = time.monotonic() + START
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise StartError(f"it ended with {self.process.returncode}: {self.last_words()}")
            with suppress(OSError), socket.create_connection((HOST, self.port), timeout=1):
                return
            time.sleep(0.02)
        raise StartError(f"it did not listen within {START:g} s: {self.last_words()}")

    def last_words(self) -> str:
        """The end of what it wrote, on one line."""
        return " / ".join(self.log.read_text("utf-8", "replace").splitlines()[-3:]) or "(it wrote nothing)"

    def stop(self) -> None:
        """Ends it and all that it started: politely, then at once."""
        with suppress(ProcessLookupError):
            os.killpg(self._group, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(STOP)
        with suppress(ProcessLookupError):
            os.killpg(self._group, signal.SIGKILL)
        self.process.wait()


@contextmanager
def running(server: Server, setup: Setup, python: str) -> Generator[Running]:
    """Starts a server on a free port, and ends it.

    Raises:
        StartError: it did not start.
    """
    port = free_port()
    # Should this process be killed, so is the server: an exec, not one process more.
    tied = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
    with place(server.tree) as folder, (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*tied, python, "-m", *server.command(setup, port)],
            cwd=folder,
            env=environment(setup, folder),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        each = Running(server, port, process, folder / "log")
        try:
            each.wait_until_listening()
            yield each
        finally:
            each.stop()


@contextmanager
def place(tree: Path) -> Generator[Path]:
    """A folder to start a server in: the package of that checkout is in it, and nothing else."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        (Path(name) / "roadrunner_trio").symlink_to(tree.resolve() / "roadrunner_trio")
        yield Path(name)


def environment(setup: Setup, folder: Path) -> dict[str, str]:
    """That of this process, with the package in ``folder`` and then this checkout on the path, and the file to send."""
    paths = [str(folder), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    found = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    return found if setup.file is None else {**found, "BENCH_FILE": str(setup.file)}


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as sock:
        sock.bind((HOST, 0))
        port: int = sock.getsockname()[1]
        return port


def probe(python: str, tree: Path = ROOT) -> dict[str, Any]:
    """What a Python has: its version, ``packages`` with theirs, ``features`` of this server in that checkout.

    Raises:
        StartError: it cannot run this project.
    """
    try:
        with place(tree) as folder:
            done = subprocess.run(
                [python, "-m", "bench.probe"],
                cwd=folder,
                env=environment(Setup(), folder),
                capture_output=True,
                text=True,
                timeout=START,
                check=False,
            )
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise StartError(f"{python} cannot be run: {exc}") from None
    if done.returncode:
        raise StartError(f"{python} cannot run this project: {done.stderr.strip().splitlines()[-1]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found
