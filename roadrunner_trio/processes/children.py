"""Processes as a supervisor has them: begun, signalled, awaited to their end; by number, whoever has begun them.

A program that has replaced itself by ``exec`` has the same children, and no objects for them. Where the system gives a
descriptor for a process (pidfd_open(2)), its end is an event, and no signal can reach another that has its number
since.
"""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final, cast

import trio

UPGRADE: Final = "_ROADRUNNER_UPGRADE"
"""The environment has the descriptor of what a program leaves to the one that it becomes."""
UNKNOWN: Final = -255
"""The status of a process whose end somebody else has seen."""


class Child:
    """A process.

    Args:
        pid: its number.
        ours: whether it is a child of this process, which then asks for its status.
    """

    def __init__(self, pid: int, *, ours: bool = True) -> None:
        self.pid = pid
        self.status: int | None = None
        self.ours = ours
        self._descriptor = -1
        if hasattr(os, "pidfd_open"):
            try:
                self._descriptor = os.pidfd_open(pid)
            except OSError as exc:
                if exc.errno not in (errno.ESRCH, errno.ENOSYS):
                    raise
                if exc.errno == errno.ESRCH:
                    self.status = UNKNOWN

    @property
    def has_descriptor(self) -> bool:
        """Whether its end is an event here."""
        return self._descriptor >= 0

    async def wait(self) -> int:
        """Its status: that of its exit, or the number of a signal, below 0."""
        if self.status is None and self._descriptor >= 0:
            await trio.lowlevel.wait_readable(self._descriptor)
            self.status = self._reap()
        elif self.status is None:
            self.status = await trio.to_thread.run_sync(self._reap, abandon_on_cancel=True)
        return self.status

    def _reap(self) -> int:
        if not self.ours:
            return UNKNOWN
        try:
            return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        except ChildProcessError:
            return UNKNOWN

    def send(self, number: int) -> None:
        """Signals it, if it is still there."""
        if self.status is not None:
            return
        with suppress(ProcessLookupError):
            if self._descriptor >= 0:
                signal.pidfd_send_signal(self._descriptor, number)
            else:
                os.kill(self.pid, number)

    def close(self) -> None:
        """Lets go of it; it is not ended."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def python(module: str, *arguments: str) -> list[str]:
    """The command that runs a module by the interpreter that runs here, and in the same way.

    A program that was installed does not look for modules where it was started, and nor do its children.
    """
    flags = cast("list[str]", getattr(subprocess, "_args_from_interpreter_flags")())  # noqa: B009  # as multiprocessing
    main = sys.modules.get("__main__")
    if getattr(main, "__spec__", None) is None and "-P" not in flags:
        flags.append("-P")
    return [sys.executable, *flags, "-m", module, *arguments]


def start(command: Sequence[str], descriptors: Sequence[int], *, folder: str | None, env: Mapping[str, str]) -> Child:
    """Begins a process, which inherits these descriptors under their numbers, and has nothing to read.

    Raises:
        OSError: it cannot be begun.
    """
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=descriptors, cwd=folder, env=env)
    try:
        child = Child(process.pid)
    except OSError:  # there is no descriptor to be had: nobody could attend to it
        process.kill()
        process.wait()
        raise
    process.returncode = 0  # whoever waits for it is not this object
    return child


def ended(status: int) -> str:
    """A status in words: ``"has ended with status 1"``, ``"was killed by SIGSEGV"``."""
    if status == UNKNOWN:
        return "has ended"
    if status >= 0:
        return f"has ended with status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    return f"was killed by {name}"


def is_stopped(pid: int) -> bool:
    """Whether a process has been stopped by a signal, or by a debugger; False where that cannot be known."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] in ("T", "t")
    except (OSError, IndexError):
        return False
