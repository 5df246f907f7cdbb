"""Other people's programs: whether they are here, what they print, what they are given."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trustme
from ports import free_port
from socket_tools import PATIENCE


def needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"this machine has no {program}")


class Files:
    """Certificates of a test's own authority, in files."""

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        self.server, self.client, self.authority = folder / "server.pem", folder / "client.pem", folder / "ca.pem"
        authority.issue_cert("localhost", "127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(self.server))
        authority.issue_cert("alice@example.org").private_key_and_cert_chain_pem.write_to_path(str(self.client))
        authority.cert_pem.write_to_path(str(self.authority))


async def ask(*command: object, stdin: bytes = b"", check: bool = True) -> str:
    """What a program prints."""
    with trio.fail_after(PATIENCE):
        done = await trio.run_process(
            [str(word) for word in command], stdin=stdin, capture_stdout=True, capture_stderr=True, check=False
        )
    if check:
        assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode(errors="replace") + ("" if check else done.stderr.decode(errors="replace"))


@asynccontextmanager
async def haproxy(folder: Path, *backend: str, mode: str = "tcp", bind: str = "") -> AsyncIterator[int]:
    """HAProxy in front of the server that the lines of ``backend`` name; its port."""
    port = free_port()
    lines = ["defaults", f" mode {mode}", " timeout connect 5s", " timeout client 30s", " timeout server 30s"]
    lines += ["frontend f", f" bind 127.0.0.1:{port} {bind}", " default_backend b", "backend b", *backend, ""]
    config = folder / "haproxy.cfg"
    config.write_text("\n".join(lines))
    async with trio.open_nursery() as nursery:
        process = await nursery.start(trio.run_process, ["haproxy", "-db", "-q", "-f", str(config)])
        with trio.fail_after(PATIENCE):
            while True:
                try:
                    (await trio.open_tcp_stream("127.0.0.1", port)).socket.close()
                    break
                except OSError:
                    await trio.sleep(0.05)
        yield port
        nursery.cancel_scope.cancel()
        assert process.returncode is None
