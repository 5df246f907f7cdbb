"""A file being sent: opened and read in threads, because a disk can stall and the loop must not.

A thread cannot be cancelled, so a read that a deadline abandons goes on in its thread; the descriptor is closed by
whoever is last, the reader or the owner, and is never reused under a running read.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self, TypeVar

import trio

from .cached_open import open_cached

READ_SIZE: Final = 65536
SLICE: Final = 262144
"""Octets given to the kernel at once: small enough that one slow peer, or one cold page, holds nobody up."""

FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | getattr(os, "O_BINARY", 0)

Descriptor = TypeVar("Descriptor", int, int | None)

_RWF_NOWAIT: Final = getattr(os, "RWF_NOWAIT", 0)


class OpenFile:
    """A regular file open for reading. Use :func:`open_file`, and ``with`` to close it.

    Attributes:
        fd: the descriptor.
        size: octets when it was opened.
    """

    __slots__ = ("_closing", "_lock", "_readers", "fd", "size")

    def __init__(self, fd: int, size: int) -> None:
        self.fd = fd
        self.size = size
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

    def _read(self, offset: int, count: int) -> bytes:
        with self._lock:
            if self._closing:  # abandoned while it waited for a thread, so the owner has closed already
                raise trio.ClosedResourceError("this file is closed")
            self._readers += 1
        try:
            return os.pread(self.fd, count, offset)
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
        with self._lock:
            self._closing = True
            idle = not self._readers
        if idle:
            os.close(self.fd)


async def open_file(path: str | os.PathLike[str]) -> OpenFile:
    """Opens a regular file for reading, in a thread unless the kernel's caches know it.

    Raises:
        FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError, OSError: as ``open``; a device, a
            FIFO or a socket counts as not found, for reading one could block for ever, and so does what no file can
            be called.
    """
    name = os.fspath(path)
    if "\0" in name:
        raise FileNotFoundError(f"{name!r} holds NUL, as no file's name does")
    await trio.lowlevel.checkpoint_if_cancelled()
    fd = _opened(name, open_cached)
    return await trio.to_thread.run_sync(_open, name) if fd is None else _regular(name, fd)


def _open(path: str) -> OpenFile:
    return _regular(path, _opened(path, os.open))


def _opened(path: str, how: Callable[[str, int], Descriptor]) -> Descriptor:
    try:
        return how(path, FLAGS)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise FileNotFoundError("a name that is longer than any file's") from error
        raise


def _regular(path: str, fd: int) -> OpenFile:
    try:
        status = os.fstat(fd)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(f"{path!r} is a directory")
        if not stat.S_ISREG(status.st_mode):
            raise FileNotFoundError(f"{path!r} is not a regular file")
    except BaseException:
        os.close(fd)
        raise
    return OpenFile(fd, status.st_size)
