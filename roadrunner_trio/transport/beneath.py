"""A folder whose files are opened by names that strangers choose: no way leads out of it.

It is not a matter of names. A path is looked up below a descriptor of the folder, and where it leads is watched by the
kernel, link by link, at the moment in which the file is opened; so nobody who moves links about can be quicker. On
systems without ``openat2`` each folder on the way is opened by itself and no link is followed.

The folder itself may be a link that somebody switches to the next release: it is looked up anew every second.
"""

from __future__ import annotations

import errno
import os
from typing import Final, Literal, TypeAlias

import trio

from .cached_open import RESOLVE_BENEATH, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, open_cached, open_resolved
from .files import OpenFile, open_by

Links: TypeAlias = Literal["beneath", "none", "follow"]
"""Which symbolic links are followed: those that stay beneath the folder, none, or all."""

FRESH: Final = 1.0
"""Seconds after which a folder is looked up anew."""
_RESOLVE: Final[dict[Links, int]] = {
    "beneath": RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
    "none": RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS,
    "follow": 0,
}
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class _Root:
    """A descriptor of a folder, which closes with the last who uses it, be that a thread."""

    __slots__ = ("fd", "until")

    def __init__(self, path: str) -> None:
        self.fd = os.open(path, _FOLDER)
        self.until = trio.current_time() + FRESH

    def __del__(self) -> None:
        if hasattr(self, "fd"):
            os.close(self.fd)


class Folder:
    """A folder, and what lies beneath it.

    Attributes:
        path: absolute.

    Args:
        path: an existing folder.
        links: which symbolic links are followed on the way to a file. The folder itself may be one.

    Raises:
        NotADirectoryError, FileNotFoundError: there is none.
    """

    __slots__ = ("_links", "_resolve", "_root", "path")

    def __init__(self, path: str | os.PathLike[str], links: Links = "beneath") -> None:
        self.path = os.path.abspath(str(path))
        if not os.path.isdir(self.path):
            kind = NotADirectoryError if os.path.exists(self.path) else FileNotFoundError
            raise kind(f"there is no folder {self.path}")
        self._links: Links = links
        self._resolve = _RESOLVE[links]
        self._root: _Root | None = None

    async def open(self, path: bytes) -> OpenFile:
        """A regular file beneath the folder, in a thread unless the kernel's caches know it.

        Args:
            path: relative and without NUL, ``b"css/a.css"``.

        Raises:
            FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError, OSError: as
                :func:`~.files.open_file`; what lies elsewhere counts as not found.
        """
        root = self._here()

        def at_once(path: bytes, flags: int) -> int | None:
            return open_cached(path, flags, root.fd, self._resolve)

        def patiently(path: bytes, flags: int) -> int:
            return self._patiently(root, path, flags)

        return await open_by(path, at_once, patiently)

    def still_holds(self, path: bytes, status: os.stat_result) -> bool:
        """Whether a path leads to the file that has this status, and it has not changed. Not through a link at its end.

        To be asked of what was opened a moment ago, so it is in the kernel's caches.
        """
        try:
            now = os.stat(path, dir_fd=self._here().fd, follow_symlinks=False)
        except OSError:
            return False
        return _state(now) == _state(status)

    async def names(self, path: bytes, most: int) -> list[tuple[str, bool, int, int]]:
        """What lies in a folder beneath it, in no order: names, whether it is a folder, octets, and when it changed.

        Of links, and of what is neither a file nor a folder, nothing is said.

        Args:
            path: relative, ``b""`` for the folder itself.
            most: so many and no more.

        Raises:
            FileNotFoundError, NotADirectoryError, PermissionError, OSError: as ``os.scandir``.
        """
        root = self._here()

        def read() -> list[tuple[str, bool, int, int]]:
            fd = self._patiently(root, path or b".", _FOLDER)
            try:
                return _listed(fd, most)
            finally:
                os.close(fd)

        return await trio.to_thread.run_sync(read)

    def _patiently(self, root: _Root, path: bytes, flags: int) -> int:
        fd = open_resolved(path, flags, root.fd, self._resolve)
        if fd is not None:
            return fd
        if self._links == "follow":
            return os.open(path, flags, dir_fd=root.fd)
        return _walk(root.fd, path, flags)

    def _here(self) -> _Root:
        """The folder, as it was a moment ago. Opening what the kernel has in its caches is no wait to speak of."""
        root = self._root
        if root is None or trio.current_time() >= root.until:
            root = self._root = _Root(self.path)
        return root


def _state(status: os.stat_result) -> tuple[int, int, int, int, int]:
    return status.st_ino, status.st_dev, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _listed(fd: int, most: int) -> list[tuple[str, bool, int, int]]:
    found: list[tuple[str, bool, int, int]] = []
    with os.scandir(fd) as entries:
        for entry in entries:
            if len(found) == most:
                break
            folder = entry.is_dir(follow_symlinks=False)
            if folder or entry.is_file(follow_symlinks=False):
                try:
                    status = entry.stat(follow_symlinks=False)
                except OSError:  # gone in the meantime
                    continue
                found.append((entry.name, folder, status.st_size, int(status.st_mtime)))
    return found


def _walk(at: int, path: bytes, flags: int) -> int:
    """Opens ``path`` step by step, without following any link.

    Raises:
        OSError: as ``os.open``; ELOOP at a link, EXDEV for a step up.
    """
    *folders, name = path.split(b"/")
    if b".." in (*folders, name):
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), path)
    here = at
    try:
        for each in folders:
            below = os.open(each, _FOLDER | os.O_NOFOLLOW, dir_fd=here)
            if here != at:
                os.close(here)
            here = below
        return os.open(name, flags | os.O_NOFOLLOW, dir_fd=here)
    finally:
        if here != at:
            os.close(here)
