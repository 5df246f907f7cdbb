"""What is said to whoever started the command: why there is no server, and what the system said, in words that help."""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable
from typing import Final, TypeAlias

from ..telemetry.log_output import spoken
from ..transport.stdio import tell

PROGRAM: Final = "roadrunner-trio"
BAD_START: Final = 3
Refuse: TypeAlias = Callable[..., int]
"""Says why there is no server, in one line, after a traceback if there is one; gives the exit status."""


class LoadError(Exception):
    """There is no handler by that name; the message says what to do.

    Args:
        message: one line.
        report: the traceback of the application's own exception, many lines, or ``""``.
    """

    def __init__(self, message: str, report: str = "") -> None:
        super().__init__(message)
        self.report = report


def refuse(message: str, report: str = "") -> int:
    """Says why there is no server; returns the exit status."""
    tell(spoken(logging.CRITICAL, f"{PROGRAM}: {message}", report))
    return BAD_START


def put_out(text: str) -> int:
    """Writes what was asked for, to standard output; returns the exit status."""
    if tell(text, to="stdout"):
        return 0
    tell(f"{PROGRAM}: standard output does not take it\n")
    return 1


def explain(exc: OSError) -> str:
    """What to do about an address that cannot be had."""
    where = exc.filename or "the address"
    match exc.errno:
        case errno.EADDRINUSE if where.startswith("unix:"):
            return f"{where} is in use: stop what listens there, or choose another path"
        case errno.EACCES if where.startswith("unix:"):
            return f"{where} cannot be made: the folder has to be writable for this user"
        case errno.EADDRINUSE:
            return f"{where} is in use: stop what listens there, or choose another port"
        case errno.EACCES:
            return f"{where} needs a privilege: choose a port from 1024 up, or grant CAP_NET_BIND_SERVICE"
        case errno.EADDRNOTAVAIL:
            return f"{where} is not an address of this machine: choose one that is, or :PORT for all of them"
        case _:
            return f"cannot listen on {where}: {exc.strerror or exc}"
