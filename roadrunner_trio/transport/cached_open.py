"""Opening a file without a thread, when the kernel can do it without the disk; and beneath a folder, in any case.

``openat2`` with RESOLVE_CACHED (Linux 5.12) opens what its caches know the way to, and else says so at once. Python
does not have it, so it is called by number. To ask a thread costs a hundred microseconds when several are asked
together; this costs three. With RESOLVE_BENEATH (Linux 5.6) it is the kernel that sees to it that no way leads out of a
folder, whatever names, links and neighbours do in the meantime.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from functools import lru_cache
from typing import Any, Final

_OPENAT2: Final = 437
"""The same on every architecture."""
_AT_FDCWD: Final = -100
_RESOLVE_CACHED: Final = 0x20
RESOLVE_NO_MAGICLINKS: Final = 0x02
RESOLVE_NO_SYMLINKS: Final = 0x04
RESOLVE_BENEATH: Final = 0x08
_NOT_HERE: Final = frozenset({errno.ENOSYS, errno.EPERM, errno.EINVAL, errno.E2BIG})
"""An older kernel, or a sandbox that does not know the call."""


class _How(ctypes.Structure):
    """``struct open_how`` of openat2(2)."""

    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def _syscall(library: type[ctypes.CDLL]) -> Any:
    """libc's ``syscall``; None where there is none to call.

    Args:
        library: ``PyDLL`` calls it with the GIL held, which is right if it does not wait; ``CDLL`` without.
    """
    if not sys.platform.startswith("linux"):
        return None
    try:
        function = library(None, use_errno=True).syscall
    except (OSError, AttributeError):
        return None
    function.restype = ctypes.c_long
    function.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_size_t)
    return function


_call: Any = _syscall(ctypes.PyDLL)
_call_and_wait: Any = _syscall(ctypes.CDLL)
_works = False
_waits = False
ATTEMPTS: Final = 8
"""How often it is tried when somebody renames what lies on the way."""


def open_cached(path: str | bytes, flags: int, at: int = _AT_FDCWD, resolve: int = 0) -> int | None:
    """A descriptor; None when that would need the disk, or cannot be known.

    Args:
        path: without NUL.
        flags: as for ``os.open``; nothing is created.
        at: the descriptor of the folder that ``path`` begins in.
        resolve: where its way may lead: ``RESOLVE_BENEATH`` and the like.

    Raises:
        OSError: as ``os.open``; EXDEV or ELOOP when its way leads where it may not.
    """
    global _call, _works
    if _call is None:
        return None
    fd = _opened(_call, path, flags, at, resolve | _RESOLVE_CACHED)
    if fd >= 0:
        _works = True
        return fd
    number = -fd
    if number == errno.EAGAIN:
        return None
    if number in _NOT_HERE and not (_works and number == errno.EINVAL):  # that is a name which is none, then
        _call = None
        return None
    raise OSError(number, os.strerror(number), path)


def open_resolved(path: bytes, flags: int, at: int, resolve: int) -> int | None:
    """The same with the disk, so in a thread; None where the kernel cannot say where a way leads.

    Raises:
        OSError: as :func:`open_cached`.
    """
    global _call_and_wait, _waits
    if _call_and_wait is None:
        return None
    number = errno.EAGAIN
    for _ in range(ATTEMPTS):
        fd = _opened(_call_and_wait, path, flags, at, resolve)
        if fd >= 0:
            _waits = True
            return fd
        if (number := -fd) != errno.EAGAIN:
            break
    if number in _NOT_HERE and not (_waits and number == errno.EINVAL):
        _call_and_wait = None
        return None
    raise OSError(number, os.strerror(number), path)


def _opened(call: Any, path: str | bytes, flags: int, at: int, resolve: int) -> int:
    """A descriptor, or the number of an error, negative."""
    how = _how(flags, resolve)
    fd: int = call(_OPENAT2, at, os.fsencode(path), ctypes.addressof(how), ctypes.sizeof(how))
    return fd if fd >= 0 else -ctypes.get_errno()


@lru_cache(maxsize=64)
def _how(flags: int, resolve: int) -> _How:
    """Made once: the kernel only reads it."""
    return _How(flags, 0, resolve)
