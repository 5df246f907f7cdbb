"""The command line as a process: real sockets, real signals, exit statuses. Every wait is bounded."""

from __future__ import annotations

import errno
import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from roadrunner_trio import __version__
from roadrunner_trio.server.watchdog import TWICE

MODULE = (sys.executable, "-m", "roadrunner_trio")
SCRIPT = (str(Path(sys.executable).with_name("roadrunner-trio")),)
PATIENCE = 30.0
"""Seconds for anything at all; only a broken server, or a very busy machine, takes so long."""

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals are POSIX")


class Server:
    """A running command line: its address, what it has printed, and its end."""

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self.out = self.err = ""
        self.ports: list[int] = []

    async def collect(self, stream: trio.abc.ReceiveStream, name: str) -> None:
        while piece := await stream.receive_some():
            setattr(self, name, getattr(self, name) + bytes(piece).decode())

    async def until(self, name: str, pattern: str) -> re.Match[str]:
        with trio.fail_after(PATIENCE):
            while (found := re.search(pattern, getattr(self, name), re.MULTILINE)) is None:
                if self.process.returncode is not None:
                    raise AssertionError(f"exited with {self.process.returncode}: {self.out}{self.err}")
                await trio.sleep(0.01)
        return found

    async def end(self) -> int:
        with trio.fail_after(PATIENCE):
            return await self.process.wait()

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def connect(self) -> trio.SocketStream:
        return await trio.open_tcp_stream("127.0.0.1", self.ports[0])

    async def ask(self, text: str) -> str:
        """Sends bytes, reads to the end of the connection."""
        async with await self.connect() as stream:
            await stream.send_all(text.encode())
            return await read_all(stream)


async def read_all(stream: trio.abc.ReceiveStream) -> str:
    answer = b""
    with trio.fail_after(PATIENCE):
        while piece := await stream.receive_some():
            answer += bytes(piece)
    return answer.decode()


async def read_until(stream: trio.abc.ReceiveStream, mark: str) -> str:
    answer = b""
    with trio.fail_after(PATIENCE):
        while mark.encode() not in answer:
            piece = await stream.receive_some()
            assert piece, answer
            answer += bytes(piece)
    return answer.decode()


@asynccontextmanager
async def running(
    *argv: str, cwd: Path | None = None, command: tuple[str, ...] = MODULE, addresses: int = 1
) -> AsyncGenerator[Server, None]:
    """A server on port 0; killed at the end of the block if it still runs."""
    bind = () if "-b" in argv else ("--port", "0")
    process = await trio.lowlevel.open_process(
        [*command, "serve", *argv, *bind], cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    server = Server(process)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.collect, process.stdout, "out")
            nursery.start_soon(server.collect, process.stderr, "err")
            await server.until("out", rf"(?s)(Serving .*){{{addresses}}}\n\Z")
            server.ports = [int(port) for port in re.findall(r"http://\S+:(\d+) ", server.out)]
            yield server
            if process.returncode is None:
                process.kill()
    finally:
        if process.returncode is None:
            process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


async def fails(*argv: str, cwd: Path | None = None) -> tuple[int, str, str]:
    """Runs to the end; status, standard output, standard error."""
    with trio.fail_after(PATIENCE):
        done = await trio.run_process([*MODULE, *argv], cwd=cwd, check=False, capture_stdout=True, capture_stderr=True)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(
        textwrap.dedent(
            """
            import time
            import trio
            from roadrunner_trio import Response, StreamResponse

            async def handler(request):
                return Response.text(f"{request.method} {request.target.decode()}")

            async def slow(request):
                await trio.sleep(0.5)
                return Response.text("slow but sure")

            async def endless(request):
                async def produce(send):
                    while True:
                        await send(b"x")
                        await trio.sleep(0.05)
                return StreamResponse(produce)

            async def stuck(request):
                await trio.to_thread.run_sync(time.sleep, 60)

            async def grumpy(request):
                raise LookupError("secret")

            def make():
                print("made", flush=True)
                return handler
            """
        )
    )
    return tmp_path


GET = "GET /{} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"


# -- serving -------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [MODULE, SCRIPT], ids=["python -m", "script"])
async def test_serves_an_app_and_exits_0_after_sigterm(folder: Path, command: tuple[str, ...]) -> None:
    async with running("app:handler", cwd=folder, command=command) as server:
        assert re.fullmatch(
            r"Serving app:handler on http://127\.0\.0\.1:\d+ \(Ctrl-C drains, twice stops\)\n", server.out
        )
        assert (await server.ask(GET.format("path?q"))).endswith("\r\n\r\nGET /path?q")
        server.signal(signal.SIGTERM)
        assert await server.end() == 0
    assert "SIGTERM: draining for at most 10 s" in server.err
    assert re.search(r"drained: \d+ finished, 0 cut, 0 stuck", server.err)


async def test_serves_the_demo_without_an_app() -> None:
    async with running() as server:
        assert server.out.startswith("Serving the demo on http://127.0.0.1:")
        answer = await server.ask(GET.format(""))
        assert "<h1>One connection,<br>one task.</h1>" in answer
        async with await server.connect() as stream:
            await stream.send_all(b"GET /events HTTP/1.1\r\nhost: x\r\n\r\n")
            assert '"status":"accepting"' in await read_until(stream, "event: beat")
            server.signal(signal.SIGINT)
            assert "\nretry: " in await read_all(stream)
        assert await server.end() == 0


async def test_factory_and_app_dir(folder: Path) -> None:
    async with running("app:make", "--factory", "--app-dir", str(folder), cwd=Path("/")) as server:
        assert server.out.startswith("made\nServing app:make on ")
        assert (await server.ask(GET.format("x"))).endswith("GET /x")


async def test_several_addresses(folder: Path) -> None:
    async with running("app:handler", "-b", "127.0.0.1:0", "-b", "localhost:0", cwd=folder, addresses=2) as server:
        assert len(server.ports) >= 2
        for port in server.ports[:2]:
            async with await trio.open_tcp_stream("localhost", port) as stream:
                await stream.send_all(GET.format("x").encode())
                assert (await read_all(stream)).endswith("GET /x")


async def test_settings_reach_the_server(folder: Path) -> None:
    async with running("app:handler", "--max-request-line", "64", "--timeout-request", "200ms", cwd=folder) as server:
        assert (await server.ask(GET.format("x" * 64))).startswith("HTTP/1.1 414 ")
        assert (await server.ask("GET / HT")).startswith("HTTP/1.1 408 ")


# -- logs ----------------------------------------------------------------------------------------


async def test_access_log(folder: Path) -> None:
    async with running("app:handler", cwd=folder) as server:
        await server.ask(GET.format("logged"))
        await server.until("err", r'INFO 127\.0\.0\.1:\d+ "GET /logged HTTP/1\.1" 200 0 11 ')


async def test_no_access_log(folder: Path) -> None:
    async with running("app:handler", "--no-access-log", cwd=folder) as server:
        await server.ask(GET.format("unlogged"))
        server.signal(signal.SIGTERM)
        assert await server.end() == 0
    assert "unlogged" not in server.err


async def test_log_level_error_keeps_the_tracebacks_alone(folder: Path) -> None:
    async with running("app:grumpy", "--log-level", "error", cwd=folder) as server:
        assert "secret" not in await server.ask(GET.format(""))
        server.signal(signal.SIGTERM)
        assert await server.end() == 0
    assert 'raise LookupError("secret")' in server.err
    assert "INFO" not in server.err


# -- signals -------------------------------------------------------------------------------------


async def test_a_drain_waits_for_what_has_begun(folder: Path) -> None:
    async with running("app:slow", cwd=folder) as server, await server.connect() as stream:
        await stream.send_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        await trio.sleep(0.1)
        server.signal(signal.SIGTERM)
        answer = await read_all(stream)
        assert answer.endswith("\r\n\r\nslow but sure")
        assert "connection: close" in answer
        assert await server.end() == 0


async def test_grace_cuts_what_does_not_end(folder: Path) -> None:
    async with running("app:endless", "--grace", "200ms", cwd=folder) as server, await server.connect() as stream:
        await stream.send_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        await read_until(stream, "x\r\n")
        server.signal(signal.SIGTERM)
        assert await server.end() == 0
    assert "drained: 0 finished, 1 cut, 0 stuck" in server.err


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_stops_at_once(folder: Path, second: signal.Signals) -> None:
    async with running("app:endless", "--grace", "none", cwd=folder) as server, await server.connect() as stream:
        await stream.send_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        await read_until(stream, "x\r\n")
        server.signal(signal.SIGTERM)
        await server.until("err", "SIGTERM: draining")
        await trio.sleep(TWICE)
        server.signal(second)
        assert await server.end() == 128 + second
    assert "Traceback" not in server.err


async def test_what_is_stuck_is_named_and_left_with_1(folder: Path) -> None:
    async with running("app:stuck", "--grace", "100ms", cwd=folder) as server, await server.connect() as stream:
        await stream.send_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        await trio.sleep(0.2)
        server.signal(signal.SIGTERM)
        assert await server.end() == 1
    assert re.search(r"app\.py:\d+ in stuck", server.err)
    assert "leaving with exit status 1" in server.err


async def test_sigusr1_prints_every_task(folder: Path) -> None:
    async with running("app:endless", cwd=folder) as server:
        async with await server.connect() as idle, await server.connect() as busy:
            await busy.send_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            await read_until(busy, "x\r\n")
            server.signal(signal.SIGUSR1)
            await server.until("err", r"^\d+ tasks$")
            await server.until("err", r"^    signals @ ")
            dump = server.err
            await idle.aclose()
        assert re.search(r"^ +main: listener @ roadrunner_trio/server/listener\.py:\d+ in _serve$", dump, re.MULTILINE)
        assert re.search(r"^ +main: accept on 127\.0\.0\.1:\d+ @ ", dump, re.MULTILINE)
        assert re.search(r"^ +main: 127\.0\.0\.1:\d+ @ .*\[idle, .* s left, 0 requests\]$", dump, re.MULTILINE)
        assert re.search(
            r"^ +main: 127\.0\.0\.1:\d+ @ \S+/app\.py:\d+ in produce  \[in the handler, .* 1 request\]$",
            dump,
            re.MULTILINE,
        )
        assert server.process.returncode is None


# -- refusals ------------------------------------------------------------------------------------


async def test_an_address_in_use_is_3_and_one_line(folder: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        status, out, err = await fails("serve", "app:handler", "--port", str(port), cwd=folder)
    assert (status, out) == (3, "")
    assert err == (f"roadrunner-trio: 127.0.0.1:{port} is in use: stop what listens there, or choose another port\n")


async def test_an_address_of_another_machine(folder: Path) -> None:
    status, out, err = await fails("serve", "app:handler", "-b", "192.0.2.1:0", cwd=folder)
    assert (status, out) == (3, "")
    assert err.startswith("roadrunner-trio: 192.0.2.1:0 is not an address of this machine")
    assert err.count("\n") == 1


async def test_a_name_that_does_not_resolve(folder: Path) -> None:
    status, out, err = await fails("serve", "app:handler", "--host", "nowhere.invalid", cwd=folder)
    assert (status, out) == (3, "")
    assert err.startswith("roadrunner-trio: cannot listen on nowhere.invalid:8000: ")
    assert err.count("\n") == 1


def may_bind_low_ports() -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", 1))
        except OSError as exc:
            return exc.errno != errno.EACCES
    return True


@pytest.mark.skipif(may_bind_low_ports(), reason="this user may bind ports below 1024")
async def test_a_port_that_needs_a_privilege(folder: Path) -> None:
    status, _, err = await fails("serve", "app:handler", "--port", "1", cwd=folder)
    assert status == 3
    assert err.startswith("roadrunner-trio: 127.0.0.1:1 needs a privilege")


@pytest.mark.parametrize("target", ["nowhere:handler", "app:nothing", "app:make"])
async def test_no_handler_is_3_and_one_line(folder: Path, target: str) -> None:
    status, out, err = await fails("serve", target, "--port", "0", cwd=folder)
    assert (status, out) == (3, "")
    assert err.startswith("roadrunner-trio: ")
    assert err.count("\n") == 1


async def test_a_broken_app_shows_its_own_traceback(folder: Path) -> None:
    (folder / "broken.py").write_text("import app\nimport not_installed_anywhere\n")
    status, _, err = await fails("serve", "broken:handler", cwd=folder)
    assert status == 3
    assert "import not_installed_anywhere" in err
    assert "roadrunner_trio/" not in err
    assert err.splitlines()[-1] == (
        "roadrunner-trio: importing 'broken' failed: ModuleNotFoundError: No module named 'not_installed_anywhere'"
    )


async def test_version() -> None:
    assert await fails("--version") == (0, f"roadrunner-trio {__version__}\n", "")
