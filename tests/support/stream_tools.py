"""Pairs of real sockets, and what tests of streams do with them."""

from __future__ import annotations

import gc
import os
import socket
from contextlib import contextmanager, suppress

import trio

from roadrunner_trio.transport.wire import SocketWire


def tcp_pair():
    """Two ends of a TCP connection over the loopback, blocking."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
    return ours, theirs


@contextmanager
def wire_and_peer(pair=tcp_pair, poller=None):
    """A wire, and the raw non-blocking socket at its other end; both closed at the end of the block."""
    ours, theirs = pair()
    theirs.setblocking(False)
    wire = SocketWire(ours, poller)
    try:
        yield wire, theirs
    finally:
        wire.close()
        theirs.close()


async def wires():
    """Two wires that are connected, as the checks of ``trio.testing`` want them made."""
    ours, theirs = socket.socketpair()
    return SocketWire(ours), SocketWire(theirs)


async def clogged_wires():
    """The same, with both directions full."""
    ours, theirs = socket.socketpair()
    fill(ours)
    fill(theirs)
    return SocketWire(ours), SocketWire(theirs)


def fill(sock):
    """Sends until the socket takes no more; says how many octets that took."""
    sock.setblocking(False)
    sent = 0
    with suppress(BlockingIOError):
        while True:
            sent += sock.send(b"x" * 65536)
    return sent


def reset(sock):
    """Closes with a reset, as a peer that crashed."""
    SocketWire(sock).reset()


async def read_exactly(sock, octets):
    """Reads ``octets`` from a raw non-blocking socket."""
    data = bytearray()
    while len(data) < octets:
        try:
            piece = sock.recv(octets - len(data))
        except BlockingIOError:
            await trio.lowlevel.wait_readable(sock)
            continue
        if not piece:
            raise EOFError(f"the stream ended after {len(data)} octets")
        data += piece
    return bytes(data)


def readable(sock):
    """Whether a byte lies in the socket's buffer."""
    try:
        return bool(sock.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return False


def has_ipv6():
    """Whether this machine has an IPv6 loopback; many containers have none."""
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


def descriptors():
    """How many descriptors this process has open, without those that only a collector would close."""
    gc.collect()
    return len(os.listdir("/dev/fd"))
