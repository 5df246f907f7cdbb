"""What the system said, in words that help."""

from __future__ import annotations

import errno
from typing import Final

PROGRAM: Final = "roadrunner-trio"


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
