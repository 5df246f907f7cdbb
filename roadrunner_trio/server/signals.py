"""Signals, heard although the loop does not turn.

Python runs the handler of a signal in the main thread, between two of its instructions; so never, as long as that
thread waits in C. What the interpreter does at once is to write the signal's number to a descriptor
(``signal.set_wakeup_fd``), and that is read by a thread here. Trio has such a descriptor of its own, to which
everything is passed on. Code in C that keeps the interpreter's lock stops that thread, too; some of it, such as
``re``, looks for signals, and then the handler reads in its place.

Whoever wants to hear also says when he wants to be woken, and is, by the same thread.
"""

from __future__ import annotations

import math
import os
import select
import signal
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import FrameType
from typing import Any, Final, NoReturn, Protocol

RENEWING: Final = signal.SIGHUP
"""Has certificates and logs renewed; or says that the terminal has gone, and then it ends a server, too."""
ENDING: Final = (signal.SIGINT, signal.SIGTERM, RENEWING)
"""Each ends a server, or may."""
IGNORED: Final = signal.SIGUSR2
"""Means something to other servers, and would kill this one."""
HEARD: Final = (*ENDING, IGNORED)
OPTIONAL: Final = (signal.SIGHUP, IGNORED)
"""Left alone where the process has something else in mind: `nohup` ignores SIGHUP, an application may reload."""

MOMENT: Final = 0.1
LONGEST: Final = 86400.0
"""Seconds of one wait: it is given to the kernel as an integer."""


class Hearer(Protocol):
    """Who is told. Is called by any thread, by one at a time; must not raise.

    Attributes:
        until: ``time.monotonic()`` at which to be woken.
    """

    until: float

    def heard(self, number: int, now: float) -> None:
        """A signal has come."""
        ...

    def late(self, now: float) -> None:
        """It is time; has to set ``until`` to something else."""
        ...


def has_terminal() -> bool:
    """Whether this process has a terminal that controls it."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True


_had_terminal: Final = has_terminal()


def terminal_has_gone() -> bool:
    """Whether there was one when the process began, and it has been closed: the same signal is an operator's else."""
    return _had_terminal and not has_terminal()


def end_at_once(number: int, frame: FrameType | None) -> NoReturn:
    """A handler that does what a signal without one does, for process 1, to which the kernel then passes nothing."""
    os._exit(128 + number)


def not_yet(number: int, frame: FrameType | None) -> None:
    """A handler that does nothing. Unlike ``SIG_IGN``, it is not inherited by programs that are started."""


def not_unless_hung_up(number: int, frame: FrameType | None) -> None:
    """A handler of SIGHUP that ends the process with its terminal, and else does nothing."""
    if terminal_has_gone():
        end_at_once(number, frame)


OURS: Final = (end_at_once, not_yet, not_unless_hung_up)
"""Handlers that are there only until somebody hears."""


def prepare(*numbers: signal.Signals) -> None:
    """Before there is a server: nobody is killed by ``numbers``, nor by SIGHUP, and process 1 can be ended.

    Does nothing outside of the main thread.
    """
    with suppress(ValueError):
        if os.getpid() == 1:
            _handle_by(end_at_once, *ENDING[1:])
        _handle_by(not_yet, *numbers)
        _handle_by(not_unless_hung_up, RENEWING)


def telling() -> list[int]:
    """The signals by which nobody was to be killed, as far as they still have no other handler."""
    return [number for number in signal.valid_signals() if signal.getsignal(number) in (not_yet, not_unless_hung_up)]


def _handle_by(handler: Callable[[int, FrameType | None], object], *numbers: signal.Signals) -> None:
    for number in numbers:
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, handler)


class Ears:
    """The process's one thread that hears; there as long as somebody wants to hear.

    Attributes:
        interrupted: what the main thread was at, while its handler reads in the thread's place.
    """

    def __init__(self) -> None:
        self._hearers: list[Hearer] = []
        self._reading = threading.Lock()
        self._before: dict[int, Any] = {}
        self._thread: threading.Thread | None = None
        self._ends = (-1, -1)
        self._onward = -1
        self._knows_of_forks = False
        self._forking = threading.local()
        self.interrupted: FrameType | None = None

    def open(self, hearer: Hearer, before: Mapping[int, Any]) -> None:
        """Tells ``hearer`` of every signal of :data:`HEARD` from now on. To be called from within Trio.

        Args:
            before: the handlers that the process has when nobody hears.

        Raises:
            ValueError: this is not the main thread, to which signals belong.
        """
        if not self._hearers:
            self._install(dict(before))
        with self._reading:
            self._hearers.append(hearer)
        self.look_again()

    def close(self, hearer: Hearer) -> None:
        """Tells it no more; the last one leaves the handlers of the process as they were."""
        with self._reading:
            if hearer in self._hearers:
                self._hearers.remove(hearer)
        if not self._hearers:
            self._uninstall()

    def leave_trio(self) -> None:
        """Trio's own descriptor is about to be closed: nothing is passed on any more."""
        self._onward = -1

    def look_again(self) -> None:
        """Some hearer's ``until`` has become earlier."""
        if self._ends[1] >= 0:
            with suppress(BlockingIOError):
                os.write(self._ends[1], b"\0")

    # -- the process's handlers ------------------------------------------------------------------

    def _install(self, before: dict[int, Any]) -> None:
        if threading.current_thread() is not threading.main_thread():
            raise ValueError("signals are for the main thread")
        for optional in OPTIONAL:
            if before[optional] not in (signal.SIG_DFL, *OURS):
                del before[optional]
        self._ends = os.pipe()
        for end in self._ends:
            os.set_blocking(end, False)
        self._before = before
        self._onward = signal.set_wakeup_fd(self._ends[1], warn_on_full_buffer=False)
        for number in before:
            signal.signal(number, self._handle)
        if not self._knows_of_forks:
            self._knows_of_forks = True
            os.register_at_fork(before=self._before_fork, after_in_parent=self._forked, after_in_child=self._forget)
        self._thread = threading.Thread(target=self._listen, name="signals", daemon=True)
        self._thread.start()

    def _uninstall(self) -> None:
        if (thread := self._thread) is None:
            return
        self._thread = None
        self.look_again()
        thread.join()
        self._restore(self._before)
        for end in self._ends:
            os.close(end)
        self._ends = (-1, -1)

    def _restore(self, handlers: Mapping[int, Any]) -> None:
        """Puts back what there was, unless it is somebody else's meanwhile."""
        for number, handler in handlers.items():
            if signal.getsignal(number) == self._handle:
                signal.signal(number, signal.SIG_DFL if handler is None else handler)
        found = signal.set_wakeup_fd(self._onward)
        if found != self._ends[1]:
            signal.set_wakeup_fd(found)

    # A forked child shares the pipe, so what it is sent its parent would hear, until it has handlers of its own. What
    # comes in between is held back by the kernel.

    def _before_fork(self) -> None:
        if self._thread is not None:
            self._forking.mask = signal.pthread_sigmask(signal.SIG_BLOCK, HEARD)

    def _forked(self) -> None:
        if hasattr(self._forking, "mask"):
            signal.pthread_sigmask(signal.SIG_SETMASK, self._forking.mask)
            del self._forking.mask

    def _forget(self) -> None:
        if self._thread is not None:
            self._thread, self._onward = None, -1
            self._hearers.clear()
            self._reading = threading.Lock()
            usual: dict[int, Any] = dict.fromkeys(self._before, signal.SIG_DFL)
            with suppress(ValueError, OSError):
                self._restore(usual | {signal.SIGINT: signal.default_int_handler})
                for end in self._ends:
                    os.close(end)
            self._ends = (-1, -1)
        self._forked()

    # -- hearing ---------------------------------------------------------------------------------

    def _handle(self, number: int, frame: FrameType | None) -> None:
        # Waits a little, so that the thread can let go of what it holds: here it may have to wait for the interpreter.
        if self._reading.acquire(timeout=MOMENT):
            try:
                self.interrupted = frame
                self._hear()
            finally:
                self.interrupted = None
                self._reading.release()
            self.look_again()

    def _listen(self) -> None:
        poll = select.poll()
        poll.register(self._ends[0], select.POLLIN)
        while self._thread is not None:
            until = min((each.until for each in tuple(self._hearers)), default=math.inf)
            poll.poll(None if until == math.inf else 1000 * max(0.0, min(until - time.monotonic(), LONGEST)))
            with self._reading:
                self._hear()

    def _hear(self) -> None:
        numbers = b""
        with suppress(BlockingIOError):
            numbers = os.read(self._ends[0], 512)
        if self._onward >= 0 and (signals := numbers.replace(b"\0", b"")):
            with suppress(OSError):
                os.write(self._onward, signals)
        now = time.monotonic()
        for hearer in tuple(self._hearers):
            for number in numbers:
                if number in self._before:
                    hearer.heard(number, now)
            if now >= hearer.until:
                hearer.late(now)


EARS: Final = Ears()
