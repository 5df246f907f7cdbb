"""Opening a file without a thread, when the kernel can do it without the disk.

``openat2`` with RESOLVE_CACHED (Linux 5.12) opens what its caches know the way to, and else says so at once. Python
does not have it, so it is called by number. To ask a thread costs a hundred microseconds when several are asked
together; this costs three.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from typing import Any, Final

_OPENAT2: Final = 437
"""The same on every architecture."""
_AT_FDCWD: Final = -100
_RESOLVE_CACHED: Final = 0x20
_NOT_HERE: Final = frozenset({errno.ENOSYS, errno.EPERM, errno.EINVAL, errno.E2BIG})
"""An older kernel, or a sandbox that does not know the call."""


class _How(ctypes.Structure):
    """``struct open_how`` of openat2(2)."""

    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def _syscall() -> Any:
    """libc's ``syscall``, called with the GIL held: it does not wait. None where there is none to call."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        function = ctypes.PyDLL(None, use_errno=True).syscall
    except (OSError, AttributeError):
        return None
    function.restype = ctypes.c_long
    return function


_call: Any = _syscall()
_works = False


def open_cached(path: str, flags: int) -> int | None:
    """A descriptor; None when that would need the disk, or cannot be known.

    Args:
        path: without NUL.
        flags: as for ``os.open``; nothing is created.

    Raises:
        OSError: as ``os.open``.
    """
    global _call, _works
    if _call is None:
        return None
    how = _How(flags, 0, _RESOLVE_CACHED)
    call = (ctypes.c_long(_OPENAT2), ctypes.c_long(_AT_FDCWD), ctypes.c_char_p(os.fsencode(path)))
    fd: int = _call(*call, ctypes.byref(how), ctypes.c_size_t(ctypes.sizeof(how)))
    if fd >= 0:
        _works = True
        return fd
    number = ctypes.get_errno()
    if number == errno.EAGAIN:
        return None
    if number in _NOT_HERE and not (_works and number == errno.EINVAL):  # that is a name which is none, then
        _call = None
        return None
    raise OSError(number, os.strerror(number), path)
