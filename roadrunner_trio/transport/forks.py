"""What a fork leaves behind: children that hold copies of this process's sockets.

A connection ends when the last copy of its descriptor is closed. A child that was forked while it was open, as
``multiprocessing`` does on Linux before Python 3.14, holds one for as long as it lives, and the peer waits for an end
that its server believes to have sent. So a process that has forked ends the *connection* before it closes the
descriptor. That is a system call of about 1 µs, which others need not make; and a child that closes its copies, because
an exception leaves its part of the program, must not end its parent's connections.
"""

from __future__ import annotations

import ctypes
import os
import socket
import sys
from contextlib import suppress
from typing import Any

_forked = False
"""Whether this process has a child, or had one, that may hold copies; not whether it is one."""


def _note(forked: bool) -> None:
    global _forked
    _forked = forked


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_parent=lambda: _note(True), after_in_child=lambda: _note(False))


def end(sock: socket.socket) -> None:
    """Ends a connection, or listening, for all who hold a copy; to be called before ``sock`` is closed."""
    if _forked:
        with suppress(OSError):  # it is at its end already
            sock.shutdown(socket.SHUT_RDWR)


def abort(sock: socket.socket) -> None:
    """The same with a reset, where the system can do that: ``shutdown`` would tell the peer that it has the whole."""
    if not _forked:
        return
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        end(sock)  # a reset is TCP's
    elif sys.platform == "linux":
        _disconnect(sock.fileno())


class _Nowhere(ctypes.Structure):
    """``struct sockaddr`` of AF_UNSPEC: connecting there takes a connection apart (connect(2)), for which Python has no
    word."""

    _fields_ = (("family", ctypes.c_uint16), ("nothing", ctypes.c_char * 14))


def _disconnect(fd: int) -> None:
    with suppress(OSError, AttributeError):
        connect: Any = ctypes.PyDLL(None).connect
        connect(ctypes.c_int(fd), ctypes.byref(_Nowhere()), ctypes.c_uint32(ctypes.sizeof(_Nowhere)))
