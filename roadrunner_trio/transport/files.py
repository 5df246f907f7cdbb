"""A file being sent: opened and read in threads, because a disk can stall and the loop must not.

A thread cannot be cancelled, so a read that a deadline abandons goes on in its thread; the descriptor is closed by
whoever is last, the reader or the owner, and is never reused under a running read.

Some files are made up by the kernel while they are read, in ``/proc``, ``/sys`` and the like: they say that they have
no octets, or a page, and have others. What such a file holds is read when it is opened, into a file in memory that
takes its place, so that whoever sends it knows how much there is.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
import sys
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self, TypeVar

import trio

from .cached_open import open_cached

READ_SIZE: Final = 65536
SLICE: Final = 262144
"""Octets given to the kernel at once: small enough that one slow peer, or one cold page, holds nobody up."""

MOST_MADE_UP: Final = 1024 * 1024
"""Octets of a made-up file that are kept; one with more is refused."""

FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY | getattr(os, "O_BINARY", 0)
NO_FILE: Final = frozenset(
    {
        errno.ENXIO,  # a socket, a terminal that is nobody's
        errno.EOPNOTSUPP,  # a socket, on some systems
        errno.ENODEV,  # a device that nothing drives
        errno.ELOOP,  # symbolic links in a circle, or where none may be
        errno.EXDEV,  # a way out of the folder that it has to stay in
        errno.ENAMETOOLONG,
        errno.EINVAL,  # a name that the file system does not take for one
        errno.EILSEQ,
    }
)
"""What is said of a path that leads to no file. That one may not read a file (EACCES) is another matter."""

Descriptor = TypeVar("Descriptor", int, int | None)

_RWF_NOWAIT: Final = getattr(os, "RWF_NOWAIT", 0)


class OpenFile:
    """A regular file open for reading. Use :func:`open_file`, and ``with`` to close it.

    Attributes:
        fd: the descriptor.
        size: octets when it was opened.
        modified: nanoseconds since 1970 when it was changed last, as of then; 0 where nobody knows.
        in_doubt: the size may not be what it holds.
    """

    __slots__ = ("_closing", "_lock", "_readers", "fd", "in_doubt", "modified", "size")

    def __init__(self, fd: int, size: int, modified: int = 0, *, in_doubt: bool = False) -> None:
        self.fd = fd
        self.size = size
        self.modified = modified
        self.in_doubt = in_doubt
        self._lock = threading.Lock()
        self._readers = 0
        self._closing = False

    async def read(self, offset: int, count: int) -> bytes:
        """Up to ``count`` octets from ``offset``, read in a thread; fewer only at the end of the file.

        Raises:
            OSError: the file cannot be read.
            trio.ClosedResourceError: it is closed.
        """
        return await trio.to_thread.run_sync(self._read, offset, count, abandon_on_cancel=True)

    def is_cached(self, offset: int, count: int) -> bool:
        """Whether the first and the last octet of a range can be had without the disk; False where nobody can say."""
        if not _RWF_NOWAIT:
            return False
        octet = bytearray(1)
        try:
            return all(os.preadv(self.fd, [octet], at, _RWF_NOWAIT) for at in (offset, offset + count - 1))
        except OSError:
            return False

    def read_cached(self, offset: int, count: int) -> bytes | None:
        """``count`` octets from ``offset`` where they can be had without the disk; None else, or if nobody can say."""
        if not _RWF_NOWAIT:
            return None
        octets = bytearray(count)
        try:
            return bytes(octets) if os.preadv(self.fd, [octets], offset, _RWF_NOWAIT) == count else None
        except OSError:
            return None

    def send_cached(self, to: socket.socket, offset: int, count: int) -> int:
        """Sends octets of it that can be had without the disk, as many as a socket takes without waiting; not a
        checkpoint.

        Returns:
            How many were sent. 0 is any reason not to: whoever then waits for the socket learns which it is.
        """
        if not self.is_cached(offset, count):
            return 0
        try:
            return os.sendfile(to.fileno(), self.fd, offset, count)
        except OSError:
            return 0

    def _read(self, offset: int, count: int) -> bytes:
        with self._lock:
            if self._closing:  # abandoned while it waited for a thread, so the owner has closed already
                raise trio.ClosedResourceError("this file is closed")
            self._readers += 1
        try:
            return _read_whole(self.fd, offset, count)
        finally:
            with self._lock:
                self._readers -= 1
                last = self._closing and not self._readers
            if last:
                os.close(self.fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if not self._closing:  # of a response that nobody came to write
            self.close()

    def close(self) -> None:
        """Closes the descriptor, once nobody reads; to be called once."""
        with self._lock:
            self._closing = True
            idle = not self._readers
        if idle:
            os.close(self.fd)


def _read_whole(fd: int, offset: int, count: int) -> bytes:
    """Up to ``count`` octets; a file system may give fewer at a time, and that is no end yet."""
    data = os.pread(fd, count, offset)
    while 0 < len(data) < count and (more := os.pread(fd, count - len(data), offset + len(data))):
        data += more
    return data


async def open_file(path: str | os.PathLike[str]) -> OpenFile:
    """Opens a regular file for reading, in a thread unless the kernel's caches know it.

    Raises:
        FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError, OSError: as ``open``; a device, a
            FIFO or a socket counts as not found, for reading one could block for ever, and so does what no file can
            be called, and a circle of symbolic links. EFBIG: the kernel makes it up, and more than
            :data:`MOST_MADE_UP` of it.
    """
    name = os.fspath(path)
    if "\0" in name:
        raise FileNotFoundError(f"{name!r} holds NUL, as no file's name does")
    return await open_by(name, open_cached, os.open)


Name = TypeVar("Name", str, bytes)


async def open_by(
    path: Name, at_once: Callable[[Name, int], int | None], patiently: Callable[[Name, int], int]
) -> OpenFile:
    """As :func:`open_file`, in a way of the caller's.

    Args:
        path: without NUL.
        at_once: is given the path and flags, and gives a descriptor, or None when it would have to wait.
        patiently: the same, and waits; called in a thread.
    """
    await trio.lowlevel.checkpoint_if_cancelled()
    fd = _opened(path, at_once)
    if fd is not None:
        file = _regular(path, fd)
        if _says_true(file, at_once=True):
            return file
        file.close()
    return await trio.to_thread.run_sync(_open, path, patiently)


def _open(path: Name, patiently: Callable[[Name, int], int]) -> OpenFile:
    file = _regular(path, _opened(path, patiently))
    if _says_true(file, at_once=False):
        return file
    with file:
        return _copied(path, file.fd)


def _opened(path: Name, how: Callable[[Name, int], Descriptor]) -> Descriptor:
    try:
        return how(path, FLAGS)
    except OSError as error:
        if error.errno in NO_FILE:
            raise FileNotFoundError(f"{path!r} is no file: {error.strerror}") from error
        raise
    except UnicodeEncodeError as error:
        raise FileNotFoundError(f"{path!r} cannot be written in the file system's encoding") from error


def _regular(path: str | bytes, fd: int) -> OpenFile:
    try:
        status = os.fstat(fd)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(f"{path!r} is a directory")
        if not stat.S_ISREG(status.st_mode):
            raise FileNotFoundError(f"{path!r} is not a regular file")
    except BaseException:
        os.close(fd)
        raise
    in_doubt = not (status.st_size and getattr(status, "st_blocks", 1))
    return OpenFile(fd, status.st_size, status.st_mtime_ns, in_doubt=in_doubt)


def _says_true(file: OpenFile, *, at_once: bool) -> bool:
    """Whether a file holds as much as it says; for one whose size is in doubt its last octet is looked for.

    A size is in doubt that takes no room on a disk. Most such files are empty, all hole, or not on the disk yet.

    Args:
        at_once: with False for an answer where one would have to wait for it; made-up files always want that.
    """
    if not file.in_doubt:
        return True
    if at_once and not _RWF_NOWAIT:
        return False
    last, octet = max(0, file.size - 1), bytearray(1)
    try:
        there = os.preadv(file.fd, [octet], last, _RWF_NOWAIT) if at_once else len(os.pread(file.fd, 1, last))
    except OSError:
        return False
    return there == min(1, file.size)


def _copied(path: str | bytes, fd: int) -> OpenFile:
    """What the kernel makes up, in memory.

    Raises:
        OSError: it cannot be read, or there is too much of it, or no memory to be had as a file.
    """
    content = b""
    while piece := os.pread(fd, READ_SIZE, len(content)):
        content += piece
        if len(content) > MOST_MADE_UP:
            raise OSError(errno.EFBIG, f"made up by the kernel, and more than {MOST_MADE_UP} octets", path)
    if sys.platform != "linux":
        raise OSError(errno.EOPNOTSUPP, "its size is not what it holds", path)
    copy = OpenFile(os.memfd_create("made up"), len(content))
    try:
        with open(copy.fd, "wb", closefd=False) as memory:
            memory.write(content)
    except BaseException:
        copy.close()
        raise
    return copy
