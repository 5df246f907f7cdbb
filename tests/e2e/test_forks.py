"""A server whose handlers fork: no child keeps a connection, or a port, that the server has closed."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

import pytest
import trio
from process_tools import command_line
from socket_tools import PATIENCE, Peer

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")

APP = """
import os, time
from roadrunner_trio import Response, StreamResponse

def fork():
    if os.fork() == 0:
        time.sleep(10)
        os._exit(0)

async def whole(send):
    await send(b"the end of this is the end of the connection")

async def cut(send):
    await send(b"half of it")
    raise RuntimeError("no more")

async def handler(request):
    fork()
    if request.path == "/cut":
        return StreamResponse(cut)
    return StreamResponse(whole) if request.path == "/whole" else Response("hi")
"""
SOON = 4.0
"""Seconds: less than a child lives."""


@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_case_12_a_peer_sees_the_end_although_a_child_holds_the_connection(tmp_path: Path, version: str) -> None:
    async with command_line(APP, tmp_path) as server:
        with await Peer.connect(server.port) as peer:
            await peer.send(f"GET /whole HTTP/{version}\r\nHost: test\r\nConnection: close\r\n\r\n".encode())
            assert await peer.end(SOON)
            assert b"the end of this is the end of the connection" in peer.received


@pytest.mark.skipif(not hasattr(socket, "SO_PEERCRED"), reason="Linux alone resets what others hold")
async def test_a_response_that_was_cut_is_a_reset_although_a_child_holds_the_connection(tmp_path: Path) -> None:
    """An end would say that this was all of it."""
    async with command_line(APP, tmp_path) as server:
        with await Peer.connect(server.port) as peer, trio.fail_after(SOON):
            await peer.send(b"GET /cut HTTP/1.0\r\n\r\n")
            with pytest.raises(ConnectionResetError):
                await peer.answer()


@pytest.mark.parametrize("kind", ["tcp", "unix"])
async def test_a_port_is_free_although_a_child_holds_it(tmp_path: Path, kind: str) -> None:
    more = ["--bind", f"unix:{tmp_path / 's'}"] if kind == "unix" else []
    async with command_line(APP, tmp_path, *more) as server:
        with await Peer.connect(server.port) as peer:
            assert (await peer.get()).status == 200
        server.terminate()
        assert await server.end(PATIENCE) == 0
        with socket.socket() as late:
            assert late.connect_ex(("127.0.0.1", server.port)) == errno.ECONNREFUSED
        with socket.create_server(("127.0.0.1", server.port)):
            pass
