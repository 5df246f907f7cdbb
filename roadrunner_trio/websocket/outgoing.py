"""What has been sent and has not reached the peer: a slow reader is known by it from one that is gone.

A large message lies in the kernel, up to some megabytes of it, and what is sent behind it, a ping, waits until the peer
has taken that. The kernel can be asked how much of it is left.
"""

from __future__ import annotations

import struct
from importlib import import_module
from typing import Any, cast

import trio

from ..transport.tls_stream import TLSStream
from ..transport.wire import SocketWire

_control: Any
_question = 0
try:
    _control, _question = import_module("fcntl").ioctl, import_module("termios").TIOCOUTQ
except (ImportError, AttributeError):  # not a Unix, or not every word of one
    _control = None


def unacknowledged(stream: trio.abc.Stream) -> int:
    """Octets in the send buffer of the socket under ``stream`` that the other end has not confirmed; else 0."""
    sock: Any = _socket(stream)
    if sock is None or _control is None:
        return 0
    try:
        found: int = struct.unpack("i", _control(sock.fileno(), _question, bytes(4)))[0]
    except (OSError, ValueError):  # it has been closed, or this system does not tell
        return 0
    return found


def _socket(stream: trio.abc.Stream) -> object:
    if isinstance(stream, TLSStream):
        stream = stream.transport
    elif isinstance(stream, trio.SSLStream):
        stream = cast("trio.SSLStream[trio.abc.Stream]", stream).transport_stream
    return stream.socket if isinstance(stream, SocketWire | trio.SocketStream) else None
