"""``python -m bench``: compares servers; ``ab`` compares commits, ``profile`` says where the time goes."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Final, NoReturn

from .ab import ab
from .compare import compare
from .load import LoadError, find_wrk
from .options import allow_descriptors
from .profiling import profile
from .scenarios import IDLE
from .servers import StartError

DESCRIPTORS: Final = IDLE + 1000
COMMANDS: Final[dict[str, Callable[[Sequence[str]], int]]] = {"ab": ab, "profile": profile}


def main(argv: Sequence[str]) -> int:
    """Returns the exit status: that of the command, 2 when nothing can run."""
    command, arguments = COMMANDS.get(argv[0] if argv else ""), argv[1:]
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, leave)
    try:
        find_wrk()
        allow_descriptors(DESCRIPTORS)
        return compare(argv) if command is None else command(arguments)
    except (LoadError, StartError) as exc:
        sys.stderr.write(f"bench: {exc}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("bench: stopped, and so are all servers\n")
        return 128 + signal.SIGINT


def leave(number: int, _: FrameType | None) -> NoReturn:
    """A signal ends the run as an exception does, so that servers are ended too."""
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
