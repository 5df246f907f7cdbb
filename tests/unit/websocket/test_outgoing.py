"""What lies in the kernel of what was sent."""

from __future__ import annotations

import socket
import sys
from types import SimpleNamespace

import pytest
import trio
from stream_tools import fill, tcp_pair
from trio.testing import memory_stream_pair

from roadrunner_trio.transport.tls_stream import TLSStream
from roadrunner_trio.transport.wire import SocketWire
from roadrunner_trio.websocket import outgoing
from roadrunner_trio.websocket.outgoing import unacknowledged

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="another kernel counts otherwise, or does not tell")


@needs_linux
@pytest.mark.parametrize("pair", [tcp_pair, socket.socketpair])
async def test_what_the_peer_has_not_taken_is_told_whatever_is_on_the_socket(pair):
    ours, theirs = pair()
    with ours, theirs:
        wire = SocketWire(ours)
        tls = TLSStream(wire, SimpleNamespace())
        assert unacknowledged(wire) == unacknowledged(tls) == 0
        fill(ours)
        full = unacknowledged(wire)
        assert full > 65536
        assert unacknowledged(tls) == full
        theirs.setblocking(True)
        theirs.recv(65536, socket.MSG_WAITALL)
        with trio.fail_after(5):
            while unacknowledged(wire) == full:
                theirs.recv(65536)
                await trio.sleep(0.01)
        wire.close()
        assert unacknowledged(wire) == 0


@needs_linux
async def test_on_streams_of_trios():
    ours, theirs = tcp_pair()
    with theirs:
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(ours))
        fill(ours)
        assert unacknowledged(stream) > 65536
        encrypted = trio.SSLStream(stream, SimpleNamespace(wrap_bio=lambda *_, **__: SimpleNamespace()))
        assert unacknowledged(encrypted) == unacknowledged(stream)
        await trio.aclose_forcefully(stream)
        assert unacknowledged(stream) == 0


async def test_elsewhere_nothing_is_known(monkeypatch):
    ours, _ = memory_stream_pair()
    await ours.send_all(b"x" * 1000)
    assert unacknowledged(ours) == 0
    one, other = socket.socketpair()
    with one, other:
        one.send(b"x" * 1000)
        monkeypatch.setattr(outgoing, "_control", None)
        assert unacknowledged(SocketWire(one)) == 0
