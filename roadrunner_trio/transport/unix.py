"""Unix sockets by path: who may connect, what a crash left behind, and nothing left behind by us.

A path that exists is looked at before it is taken. A socket that nobody listens on is a stale one, left by a process
that died, and is removed; one that somebody listens on, and anything that is no socket, is refused.

Abstract ones (Linux, unix(7)) have a name and no file. There is nothing to be left behind, and nothing that says who
may connect: everybody in the network namespace may.
"""

from __future__ import annotations

import errno
import os
import re
import socket
import stat
import sys
from typing import Final, NamedTuple

from . import forks
from .streams import ABSTRACT

DEFAULT_MODE: Final = 0o600
LONGEST_PATH: Final = 107
"""Octets (sockaddr_un, unix(7))."""

_written = re.compile(r"(?P<path>[^?\0]+)(?:\?mode=(?P<mode>[0-7]{3,4}))?", re.ASCII).fullmatch


class UnixAddress(NamedTuple):
    """Where to listen, and the permissions of the socket file: to connect is to write (unix(7)); None has no file."""

    path: str
    mode: int | None


def parse_unix(text: str) -> UnixAddress:
    """What stands after ``unix:``: a path, and perhaps ``?mode=660``, octal; without it only the owner may connect.

    ``@name`` is an abstract name; a file that is called so is ``./@name``.

    Raises:
        ValueError: it is something else; the message says what would be right.
    """
    found = _written(text)
    if found is None or text == ABSTRACT:
        raise ValueError(f"'unix:{text}' is no Unix socket; write unix:/run/app.sock or unix:/run/app.sock?mode=660")
    path, mode = found["path"], found["mode"]
    octets = len(os.fsencode(path))
    if path.startswith(ABSTRACT):
        _check_abstract(path, mode, octets)
        return UnixAddress(path, None)
    if octets > LONGEST_PATH:
        raise ValueError(f"the path of a Unix socket has at most {LONGEST_PATH} octets, not {octets}: {path}")
    return UnixAddress(path, int(mode, 8) if mode else DEFAULT_MODE)


def _check_abstract(name: str, mode: str | None, octets: int) -> None:
    if sys.platform != "linux":
        raise ValueError(f"only Linux has abstract Unix sockets; a file of that name is unix:./{name}")
    if mode is not None:
        raise ValueError(f"unix:{name} has no file and so no mode: whoever is in the network namespace may connect")
    if octets - 1 > LONGEST_PATH:
        raise ValueError(f"an abstract name has at most {LONGEST_PATH} octets, not {octets - 1}: {name}")


class OwnSocket(socket.socket):
    """A listening socket that this process has opened, so that nobody else has a right to go on listening on it."""

    def close(self) -> None:
        """Closes the socket, and its port or name is free although a forked child has a copy."""
        if self.fileno() != -1:
            forks.end(self)
        super().close()


class UnixSocket(OwnSocket):
    """A socket bound to a path, which goes when the socket is closed by the process that bound it.

    The file is removed only while it is still the one that was made: a successor may have taken the path.
    """

    def __init__(self, path: str, mode: int) -> None:
        super().__init__(socket.AF_UNIX, socket.SOCK_STREAM)
        self._path = os.path.abspath(path)
        self._owner = os.getpid()
        self._made: tuple[int, int] | None = None
        try:
            self.bind(path)
            self._made = _identity(self._path)
            # Nobody can connect before listen(), so nobody slips in with the permissions that the umask left.
            os.chmod(self._path, mode)
        except BaseException:
            self.close()
            raise

    @classmethod
    def adopt(cls, descriptor: int, path: str) -> UnixSocket:
        """The same, of a socket that is open and bound already: its file is the one that is there."""
        sock = cls.__new__(cls)
        socket.socket.__init__(sock, fileno=descriptor)
        sock._path, sock._owner = os.path.abspath(path), os.getpid()
        sock._made = _identity(sock._path)
        return sock

    @property
    def file(self) -> tuple[int, int] | None:
        """Device and inode of the file that is removed when the socket is closed; None when there is none."""
        return self._made

    def lose(self) -> None:
        """The file at the path is somebody else's."""
        self._made = None

    def close(self) -> None:
        """Closes the socket and removes its file."""
        made, self._made = self._made, None
        if made is not None and self._owner == os.getpid() and _identity(self._path) == made:
            os.unlink(self._path)
        super().close()


def open_unix(text: str) -> OwnSocket:
    """A socket bound to what :func:`parse_unix` reads, not yet listening.

    Raises:
        ValueError: as :func:`parse_unix`.
        OSError: the path is in use (EADDRINUSE), is no socket (EEXIST), or cannot be had.
    """
    path, mode = parse_unix(text)
    if mode is None:
        return _open_abstract(path)
    _make_way(path)
    return UnixSocket(path, mode)


def _open_abstract(name: str) -> OwnSocket:
    sock = OwnSocket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind("\0" + name.removeprefix(ABSTRACT))
    except BaseException:
        sock.close()
        raise
    return sock


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _make_way(path: str) -> None:
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise OSError(errno.EEXIST, "it exists and is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        verdict = probe.connect_ex(path)
    if verdict == errno.ECONNREFUSED:
        os.unlink(path)
    elif verdict in (0, errno.EAGAIN):  # EAGAIN: its accept queue is full, so somebody has one
        raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
    elif verdict != errno.ENOENT:
        raise OSError(verdict, os.strerror(verdict))
