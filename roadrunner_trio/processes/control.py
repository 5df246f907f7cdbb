"""What a supervisor and a worker say to each other: lines of JSON on a pair of sockets.

The end of the other side is an end of file, whatever it died of. A line that is no JSON is a worker's stack: the only
thing that can still write when its loop does not turn, :mod:`faulthandler`, writes as it likes.

Lines are short and rare, so none waits for room: a peer that does not read is ended by its deadline, not by a message.
"""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final, cast

PULSE: Final = 1.0
"""Seconds between two looks at the board; a worker writes there as often."""
ASK: Final[int | None] = getattr(signal, "SIGRTMIN", None)
"""What makes a worker write its stack, whatever it is at. Where there is no such signal, there is no stack."""
RECEIVE: Final = 65536
LONGEST: Final = 1 << 20
"""Octets of a line."""
HANDS: Final = 4
"""Sockets that are taken at once."""
WORDS: Final = 200
LONGEST_WORD: Final = 1000
"""Lines that are no messages, and characters of each, that are kept: :mod:`faulthandler` writes half as many of a
stack, and who writes without end is not to fill the memory of who reads."""


class Lines:
    """Takes messages, and lines that are none, out of what has come."""

    def __init__(self, rest: bytes = b"") -> None:
        self.rest = rest

    def feed(self, data: bytes) -> Iterator[dict[str, Any] | str]:
        """The whole lines that are there now.

        Raises:
            ValueError: a line has no end.
        """
        *lines, self.rest = (self.rest + data).split(b"\n")
        if len(self.rest) > LONGEST:
            raise ValueError(f"a line of more than {LONGEST} octets")
        for line in lines:
            yield _read(line)


def _read(line: bytes) -> dict[str, Any] | str:
    with suppress(ValueError, RecursionError):
        message: object = json.loads(line)
        if isinstance(message, dict):
            return cast("dict[str, Any]", message)
    return line.decode("utf-8", "replace")


def encode(**message: Any) -> bytes:
    """A message as it is sent."""
    return json.dumps(message).encode() + b"\n"


def tell(sock: socket.socket, **message: Any) -> bool:
    """Sends a message if the other side is there and there is room; whether it went out."""
    try:
        return sock.send(encode(**message), getattr(socket, "MSG_NOSIGNAL", 0)) > 0
    except OSError:
        return False


def hand(sock: socket.socket, far: socket.socket, **message: Any) -> bool:
    """Sends a message with a socket, which stays the caller's to close; whether it went out."""
    try:
        return socket.send_fds(sock, [encode(**message)], [far.fileno()]) > 0
    except OSError:
        return False


def receive(sock: socket.socket) -> tuple[bytes, list[socket.socket]]:
    """What has come, and the sockets that came with it, which are the caller's to close.

    Raises:
        OSError: as :meth:`socket.socket.recv`.
    """
    data, descriptors, *_ = socket.recv_fds(sock, RECEIVE, HANDS, getattr(socket, "MSG_CMSG_CLOEXEC", 0))
    found = [socket.socket(fileno=descriptor) for descriptor in descriptors]
    for each in found:
        each.set_inheritable(False)  # where the system has no such flag
    return data, found


def pair() -> tuple[socket.socket, socket.socket]:
    """Both ends: neither is inherited unless somebody says so."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    return ours, theirs
