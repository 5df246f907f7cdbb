"""What signals mean, and that it comes to pass: also when the loop does not turn, or does not end.

The first signal begins the end, the next one hastens it, and what does not end in time goes with the process. All of
this is told to the loop, which does it politely; here is who looks whether it did.
"""

from __future__ import annotations

import enum
import faulthandler
import math
import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any, Final, NoReturn, Protocol, TypeAlias

from ..transport.dump import step_of_loop
from .leaving import leave, main_stack, see_off
from .signals import EARS, ENDING, HEARD, IGNORED, RENEWING, telling, terminal_has_gone

TWICE: Final = 0.3
"""Seconds in which a signal that comes again is the same: `timeout` sends its signal to a child and to its group."""
AT_ONCE: Final = 1.0
"""Seconds that "at once" may take."""
PATIENCE: Final = 1.0
"""Seconds past the deadline of a drain at which everything is over."""
PROBE: Final = 0.5
"""Seconds before that the loop is asked whether it turns; and, if it does, how much longer it has to end by itself."""
BUSY: Final = 3.0
"""Seconds past the deadline that a loop has which only has much to do, on a machine that has, too."""
NET: Final = 2.0
"""Seconds after all that, in which the process should have been left, until it is left without a word."""

Post: TypeAlias = Callable[[Callable[[], None]], None]


class Stage(enum.IntEnum):
    """How far the end has come."""

    SERVING = 0
    RETIRING = 1
    DRAINING = 2
    STOPPING = 3


class Leave(Protocol):
    """Ends the process."""

    def __call__(self, status: int, why: str = "") -> NoReturn:
        """With this status, saying why."""
        ...


class Watchdog:
    """Of one ``serve``.

    Args:
        grace: seconds of the drain.
        delay: seconds before it.
        owner: the process is ours: it is left a second after the drain's deadline. In one that is not it is only left
            when a second signal has not ended everything within a second.
        leave: how.
        gone: whether SIGHUP is the end of a terminal, and so that of the server.

    Attributes:
        stage: how far the end has come.
        number: the last signal.
        deadline: that of the drain, in ``time.monotonic()``.
        until: when it wants to be woken.
    """

    def __init__(
        self,
        grace: float,
        delay: float = 0.0,
        *,
        owner: bool = False,
        leave: Leave = leave,
        gone: Callable[[], bool] = terminal_has_gone,
    ) -> None:
        self.grace = grace
        self.delay = delay
        self.stage = Stage.SERVING
        self.number = 0
        self.deadline = math.inf
        self.until = math.inf
        self._owner = owner
        self._leave = leave
        self._gone = gone
        self._heard_at = -math.inf
        self._drains_at = math.inf
        self._open = False
        self._has_turned = True
        self._answer: bool | None = None
        self._step: FrameType | None = None
        self._net = -1
        self._before: dict[int, Any] = {number: signal.getsignal(number) for number in HEARD}

    # -- the loop's side -------------------------------------------------------------------------

    def open(self, post: Post, told: Callable[[Stage, signal.Signals], None]) -> bool:
        """Hears signals from now on; False outside of the main thread, where there are none.

        Args:
            post: has the loop call something soon; from any thread, and within a signal's handler.
            told: called so, with what a signal means; :data:`Stage.SERVING` is one that means nothing.
        """
        self._post, self._told = post, told
        with suppress(ValueError):
            EARS.open(self, self._before)
            self._open = True
        return self._open

    def drains(self) -> None:
        """The loop has begun the drain, the delay being over."""
        if self.stage is Stage.RETIRING:
            self._drain(time.monotonic())
            EARS.look_again()

    @property
    def remaining(self) -> float:
        """Seconds until the drain's deadline, never below 0: they count from the signal, heard at once or not."""
        return max(0.0, self.deadline - time.monotonic())

    def close(self) -> None:
        """Everything that served has ended. An owner goes on looking, until :meth:`finish`."""
        if self._owner and self._open:
            EARS.leave_trio()
        else:
            EARS.close(self)

    def finish(self, status: int | None, *, at_exit: bool = False) -> None:
        """The loop has ended; an owner is about to end its process with ``status``, or, if that is None, to go on.

        After a second signal nothing changes: within a second the process is over.

        Args:
            at_exit: what :mod:`atexit` has to do is bounded, too.
        """
        if not self._open or self.stage is Stage.STOPPING:
            return
        EARS.close(self)
        if self._net >= 0:
            faulthandler.cancel_dump_traceback_later()
        if self.has_just_heard():
            self._outlast_the_same()
        if status is not None:
            drained = self.stage is not Stage.SERVING
            see_off(status, self.deadline if drained else None, at_exit=at_exit)

    def has_just_heard(self) -> bool:
        """Whether a signal that comes now may be the last one still."""
        return time.monotonic() - self._heard_at < TWICE

    def _outlast_the_same(self) -> None:
        """A signal that comes again is the same one still; any other does what it did before."""

        def late(number: int, frame: FrameType | None) -> None:
            if not self._is_the_same(number, time.monotonic()):
                signal.signal(number, self._before[number] or signal.SIG_DFL)
                signal.raise_signal(number)

        global _outlasting
        _outlasting = self
        for number in ENDING:
            if signal.getsignal(number) == self._before[number] != signal.SIG_IGN:
                signal.signal(number, late)

    # -- the signals' side: any thread -----------------------------------------------------------

    def heard(self, number: int, now: float) -> None:
        """A signal: the next stage."""
        if number == IGNORED or (number == RENEWING and not self._gone()):
            self._post(lambda: self._told(Stage.SERVING, signal.Signals(number)))
            return
        if self._is_the_same(number, now):
            return
        self.number, self._heard_at = number, now
        if self.stage is Stage.RETIRING and now >= self._drains_at:
            self.stage = Stage.DRAINING  # although the loop has not said so
        turns, self._has_turned = self._has_turned, False
        if self.stage is Stage.STOPPING:
            self._leave(128 + number)
        elif self.stage is Stage.DRAINING:
            self._stop(now, turns=turns)
        elif self.stage is Stage.SERVING and self.delay:
            self.stage, self._drains_at = Stage.RETIRING, now + self.delay
            self._promise(now, self._drains_at + self.grace)
        else:
            self._drain(now)
        self._post(self._telling(self.stage, signal.Signals(number)))

    def late(self, now: float) -> None:
        """It is time that something were over: the loop is asked whether it turns, and the process is left."""
        if self.stage is Stage.STOPPING:
            self._leave(128 + self.number, f"{AT_ONCE:g} s after a second signal something has not ended, and is left")
        elif self._answer is None:
            self._answer, self._step = False, step_of_loop(threading.main_thread())
            self._post(self._hear_answer)
            self.until = self.deadline + PATIENCE
        elif self._answer:
            self._answer, self._step = False, None  # it has found out by itself what is stuck, and is about to leave
            self.until = now + PROBE
        elif now < self.deadline + BUSY and self._goes_on():
            self.until = now + PROBE
        else:
            where = main_stack(EARS.interrupted)
            self._leave(1, f"past the drain's deadline the loop does not turn, or does not end: {where}")

    def _goes_on(self) -> bool:
        """Whether the loop, which has not answered, is at something else than it was: there is much to be cancelled."""
        before, self._step = self._step, step_of_loop(threading.main_thread())
        return before is not None and self._step is not before

    def _is_the_same(self, number: int, now: float) -> bool:
        """Whether a signal is the last one once more; a terminal that closes, or systemd, sends SIGHUP beside it."""
        same = number == self.number or signal.SIGHUP in (number, self.number)
        return same and now - self._heard_at < TWICE

    def _drain(self, now: float) -> None:
        self.stage = Stage.DRAINING
        self._promise(now, now + self.grace)

    def _promise(self, now: float, deadline: float) -> None:
        self.deadline = deadline
        if self._owner:
            self._answer, self.until = None, deadline + PATIENCE - PROBE
            self._spread_net(deadline + BUSY + NET - now)

    def _stop(self, now: float, *, turns: bool) -> None:
        self.stage = Stage.STOPPING
        if not turns:
            where = main_stack(EARS.interrupted)
            self._leave(128 + self.number, f"stopped, although the loop does not turn: {where}")
        self.until = now + AT_ONCE
        if self._owner:
            self._spread_net(AT_ONCE + NET)

    def _telling(self, stage: Stage, number: signal.Signals) -> Callable[[], None]:
        def tell() -> None:
            self._has_turned = True
            self._told(stage, number)

        return tell

    def _hear_answer(self) -> None:
        self._answer = True

    def _spread_net(self, seconds: float) -> None:
        """Below all this: a thread that needs no interpreter, for code that does not let go of it. It exits with 1."""
        if seconds < threading.TIMEOUT_MAX:
            if self._net < 0:
                self._net = _patient_stderr()
            faulthandler.dump_traceback_later(seconds, exit=True, file=self._net)


_outlasting: Watchdog | None = None


def outlast_to_the_end() -> None:
    """To be called last of all before the interpreter goes down: it gives every signal its default action back.

    So the same signal once more would kill a process that is about to exit with 0, and so would one that only tells.
    """
    for number in telling():
        signal.signal(number, signal.SIG_IGN)
    if _outlasting is not None and _outlasting.has_just_heard():
        for number in ENDING:
            signal.signal(number, signal.SIG_IGN)


def _patient_stderr() -> int:
    """A descriptor of standard error that never waits for a reader; or of nothing, where there is no such thing."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_NOCTTY
    try:
        return os.open("/proc/self/fd/2", flags)
    except OSError:  # it is a socket, or somebody else's file
        return os.open(os.devnull, flags)
