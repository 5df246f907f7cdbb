"""The configurations that the documentation gives for proxies, run by the proxies, word for word but for ports."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
import trio
from ports import free_port
from process_tools import command_line
from socket_tools import PATIENCE

PAGES = Path(__file__).parents[2] / "docs" / "howto"
APP = """
import trio
from roadrunner_trio import EventStream, Response, ServerSentEvent, websocket

async def events():
    yield ServerSentEvent("first")
    await trio.sleep(60)

@websocket
async def echo(request):
    async with await request.accept() as ws:
        await ws.send_message(await ws.get_message())

async def handler(request):
    if request.path == "/events":
        return EventStream(request, events())
    if request.path == "/ws":
        return await echo(request)
    peer = request.peer[0] if isinstance(request.peer, tuple) else request.peer
    return Response.text(f"{peer} {request.scheme} {len(await request.read())}")
"""


POST = (
    b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nConnection: close\r\n"
    b"X-Forwarded-For: 6.6.6.6\r\n\r\nabc"  # who says so is not believed
)


UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


class Page(NamedTuple):
    """A page about a proxy.

    Attributes:
        name: of the page, and of the program.
        command: runs it with the file of its configuration.
        changes: what a machine of tests needs to be different.
    """

    name: str
    command: Callable[[Path], list[str]]
    changes: dict[str, str]


NGINX = Page(
    "nginx",
    lambda file: ["nginx", "-c", str(file), "-g", "daemon off; error_log stderr;"],
    {"worker_processes auto": "worker_processes 1", "/run/nginx.pid": "FOLDER/nginx.pid", "listen 80": "listen PORT"},
)
HAPROXY = Page("haproxy", lambda file: ["haproxy", "-db", "-f", str(file)], {"bind :80": "bind 127.0.0.1:PORT"})
CADDY = Page(
    "caddy",
    lambda file: ["caddy", "run", "--adapter", "caddyfile", "--config", str(file)],
    {"example.org {": "{\n    admin off\n}\nhttp://:PORT {"},
)


def blocks(page: Page) -> tuple[list[str], str]:
    """The options of our command that a page gives, and the proxy's configuration."""
    text = (PAGES / f"{page.name}.rst").read_text("utf-8")
    found = re.findall(r"^\.\. code-block:: text\n\n((?:(?:   .*)?\n)+)", text, re.MULTILINE)
    command, configuration = (re.sub("^   ", "", each, flags=re.MULTILINE) for each in found)
    words = command.replace("\\\n", " ").split()
    return words[words.index("--proxy-headers") :], configuration


@asynccontextmanager
async def proxied(page: Page, folder: Path) -> AsyncGenerator[int]:
    """Our server with the proxy before it; gives the proxy's port."""
    if shutil.which(page.name) is None:
        pytest.skip(f"this machine has no {page.name}")
    options, text = blocks(page)
    port = free_port()
    async with command_line(APP, folder, *options, "--grace", "1") as server:
        for ours, theirs in page.changes.items():
            assert text.count(ours) == 1, ours
            text = text.replace(ours, theirs.replace("PORT", str(port)).replace("FOLDER", str(folder)))
        text = re.sub(r"\b8000\b", str(server.port), text)
        (file := folder / "proxy.conf").write_text(text)
        env = {"HOME": str(folder), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
        with (folder / "proxy.log").open("wb") as log:
            process = await trio.lowlevel.open_process(
                page.command(file), stdout=log, stderr=subprocess.STDOUT, env=env
            )
        try:
            await answers(port, folder / "proxy.log", process)
            yield port
        finally:
            process.terminate()
            with trio.CancelScope(shield=True):
                with trio.move_on_after(5):
                    await process.wait()
                process.kill()
                await process.wait()


async def answers(port: int, log: Path, process: trio.Process) -> None:
    """Waits until the proxy passes a request on."""
    with trio.move_on_after(PATIENCE):
        while process.returncode is None:
            try:
                if b" 200 " in (await ask(port, b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"))[:20]:
                    return
            except (OSError, trio.BrokenResourceError):
                pass
            await trio.sleep(0.1)
    pytest.fail(await trio.Path(log).read_text())


async def ask(port: int, request: bytes) -> bytes:
    """From another address than the proxy has towards the server."""
    async with await trio.open_tcp_stream("127.0.0.1", port, local_address="127.0.0.2") as stream:
        await stream.send_all(request)
        return b"".join([piece async for piece in stream])


@pytest.mark.parametrize("page", [NGINX, HAPROXY, CADDY], ids=lambda page: page.name)
async def test_a_page_about_a_proxy(page: Page, tmp_path: Path) -> None:
    async with proxied(page, tmp_path) as port:
        with trio.fail_after(PATIENCE):
            answer = await ask(port, POST)
            assert answer.endswith(b"\r\n127.0.0.2 http 3"), answer

            async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                await stream.send_all(b"GET /events HTTP/1.1\r\nHost: h\r\n\r\n")
                await until(stream, b"data: first")  # at once, and not when there is more of it

            async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                await stream.send_all(UPGRADE)
                await until(stream, b"\r\n\r\n")
                await stream.send_all(b"\x81\x85\0\0\0\0hello")
                await until(stream, b"\x81\x05hello")


async def until(stream: trio.SocketStream, end: bytes) -> None:
    """Receives until this has come."""
    received = b""
    while end not in received:
        piece = await stream.receive_some()
        assert piece, received
        received += piece
