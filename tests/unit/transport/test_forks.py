"""Ending a connection before closing it: only in a process that has forked, and never in its child."""

from __future__ import annotations

import os
import socket
import struct
import warnings

import pytest
from stream_tools import tcp_pair

from roadrunner_trio.transport import forks
from roadrunner_trio.transport.unix import OwnSocket
from roadrunner_trio.transport.wire import SocketWire


@pytest.fixture
def forked(monkeypatch):
    monkeypatch.setattr(forks, "_forked", True)


@pytest.fixture(params=[tcp_pair, socket.socketpair], ids=["tcp", "unix"])
def ends(request):
    """A wire, another's copy of its socket, and the peer."""
    ours, theirs = request.param()
    theirs.settimeout(5)
    with theirs, socket.socket(fileno=os.dup(ours.fileno())) as copy:
        yield SocketWire(ours), copy, theirs


async def test_a_close_is_an_end_for_all_copies(ends, forked):
    wire, _, peer = ends
    wire.close()
    assert peer.recv(1) == b""


async def test_who_has_not_forked_does_not_make_sure(ends, monkeypatch):
    monkeypatch.setattr(forks, "_forked", False)
    wire, copy, peer = ends
    wire.close()
    copy.sendall(b"still there")
    assert peer.recv(20) == b"still there"


async def test_a_reset_is_one_for_all_copies(forked):
    ours, theirs = tcp_pair()
    theirs.settimeout(5)
    with theirs, socket.socket(fileno=os.dup(ours.fileno())):
        SocketWire(ours).reset()
        with pytest.raises(ConnectionResetError):
            theirs.recv(1)


async def test_a_reset_on_a_unix_socket_is_an_end(forked):
    ours, theirs = socket.socketpair()
    theirs.settimeout(5)
    with theirs, socket.socket(fileno=os.dup(ours.fileno())):
        SocketWire(ours).reset()
        assert theirs.recv(1) == b""


async def test_where_no_connection_can_be_taken_apart_no_end_is_made_up(forked, monkeypatch):
    """The peer would take what it has for the whole. The last copy that is closed will be the reset."""
    monkeypatch.setattr(forks.sys, "platform", "darwin")
    ours, theirs = tcp_pair()
    theirs.settimeout(0.2)
    with theirs:
        with socket.socket(fileno=os.dup(ours.fileno())):
            SocketWire(ours).reset()
            with pytest.raises(TimeoutError):
                theirs.recv(1)
        theirs.settimeout(5)
        with pytest.raises(ConnectionResetError):
            theirs.recv(1)


async def test_who_has_gone_needs_no_end(ends, forked):
    wire, copy, peer = ends
    if copy.family == socket.AF_INET:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()
    wire.close()


async def test_what_we_opened_is_free_whoever_has_a_copy(forked):
    with OwnSocket() as ours:
        ours.bind(("127.0.0.1", 0))
        ours.listen()
        address = ours.getsockname()
        copy = socket.socket(fileno=os.dup(ours.fileno()))
    with copy, socket.socket() as late:
        assert late.connect_ex(address) != 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_fork_is_noticed_by_the_parent_alone(monkeypatch):
    monkeypatch.setattr(forks, "_forked", False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads that the child will not have
        child = os.fork()
    if child == 0:
        os._exit(1 if forks._forked else 0)
    assert os.waitpid(child, 0)[1] == 0
    assert forks._forked
