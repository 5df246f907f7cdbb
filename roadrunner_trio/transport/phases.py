"""The phases of a connection, and the one cancel scope that bounds them.

Entering a phase names it and stores an absolute deadline; arriving bytes never extend it. The scope itself has no
deadline (one that fired could not be armed again): the listener's clock cancels it when a phase's time has really
come, with a reason. After that the connection is over.
"""

from __future__ import annotations

import enum
import math
from typing import Final, Protocol

import trio

from .clock import Clock
from .patience import SPARED


class Phase(enum.Enum):
    """Where a connection is. The value is what a person reads in a task dump."""

    HANDSHAKE = "handshake"
    IDLE = "idle"
    READ_REQUEST = "reading a request"
    READ_BODY = "reading a body"
    DISPATCH = "in the handler"
    SERVING = "serving"
    RESPOND = "writing to a slow peer"
    FINISH = "finishing"
    HANDED_OFF = "handed off"


BUSY: Final = frozenset({Phase.READ_BODY, Phase.DISPATCH, Phase.RESPOND, Phase.HANDED_OFF})
"""Phases in which there is a request in hand."""
WAITING: Final = frozenset({Phase.HANDSHAKE, Phase.IDLE, Phase.READ_REQUEST, Phase.READ_BODY, Phase.FINISH})
"""Phases in which it is the peer's turn."""

NO_REST: Final = -math.inf
TOGETHER: Final = 1 / 64
"""Seconds by which a connection may be parked later, with others in one step of the clock, each of which is 15 µs."""


class Source(Protocol):
    """What a peer's octets come from, where that can be asked."""

    def pending(self) -> bool:
        """Whether something has arrived that nobody has taken yet."""
        ...


class Sleeper(Protocol):
    """A connection that can wait without a task."""

    def park(self) -> bool:
        """It has been idle for long: whether it gives up its task. Then its scope has been ended. Synchronous."""
        ...


class PhaseScope:
    """One connection's cancel scope and the deadline of the phase it is in.

    The scope belongs to the task that serves the connection; the deadline belongs to the connection, which may wait
    without a task.
    """

    __slots__ = (
        "armed",
        "clock",
        "deadline",
        "end_of_rest",
        "expired",
        "now",
        "over",
        "phase",
        "scope",
        "since",
        "sleeper",
        "source",
        "spared",
    )

    def __init__(self, clock: Clock, source: Source | None = None) -> None:
        self.clock = clock
        self.source = source
        """Asked before the peer is called late: it judges what the peer did, not what we were kept from seeing."""
        self.now = clock.time
        self.scope = trio.CancelScope()
        self.phase = Phase.HANDSHAKE
        self.deadline = math.inf
        self.armed = math.inf
        self.sleeper: Sleeper | None = None
        """Asked when it has been idle for long."""
        self.end_of_rest = NO_REST
        """While it is idle, its deadline, if the one above is only the time for that question."""
        self.since = -math.inf
        """When it last began to be idle."""
        self.spared: float = math.inf
        """The deadline that was put off because something had arrived: once, or a drip could go on for ever."""
        self.expired = False
        """Whether the phase's time ran out, as opposed to a drain's word."""
        self.over = False
        """Whether the scope has been cancelled, by either; a plain flag, for the scope itself looks at the time."""

    def enter(self, phase: Phase, seconds: float) -> None:
        """Begins ``phase``, which may last ``seconds`` from now."""
        self.phase = phase
        if seconds == math.inf:
            self.deadline = math.inf
            self.end_of_rest = NO_REST
            return
        self.deadline = deadline = self.now() + seconds
        if deadline < self.armed:
            self.clock.arm(self)

    def rest(self, seconds: float, awake: float | None) -> None:
        """Begins to be idle, for ``seconds``, and for ``awake`` of them with a task; goes on with it after a wake."""
        if self.phase is Phase.IDLE:
            return
        self.phase = Phase.IDLE
        self.since = now = self.now()
        self.end_of_rest = deadline = now + seconds
        if awake is not None and awake < seconds and self.sleeper is not None:
            deadline = min(deadline, now + awake - (now + awake) % -TOGETHER)
        self.deadline = deadline
        if deadline < self.armed:
            self.clock.arm(self)

    def wake(self, since: float, end: float, awake: float | None) -> None:
        """Goes on with a rest that was no task's, or was interrupted, and ends at ``end``."""
        self.phase = Phase.IDLE
        self.since = since
        self.end_of_rest = end
        self.deadline = end if awake is None else min(end, self.now() + awake)
        if self.deadline < self.armed:
            self.clock.arm(self)

    def suspend(self) -> None:
        """There is no connection, and nobody is waited for."""
        self.phase = Phase.IDLE
        self.deadline = self.end_of_rest = self.spared = math.inf

    def renew(self, seconds: float, awake: float | None) -> None:
        """There is another, which rests as :meth:`rest` says."""
        self.phase = Phase.HANDSHAKE
        self.rest(seconds, awake)

    @property
    def ends(self) -> float:
        """When the phase has had its time, whatever the clock is to look at before."""
        return max(self.deadline, self.end_of_rest) if self.phase is Phase.IDLE else self.deadline

    def shorten(self, deadline: float) -> None:
        """Brings the deadline forward to ``deadline``, if it is earlier."""
        if deadline < self.ends:
            self.deadline = self.end_of_rest = deadline
            if deadline < self.armed:
                self.clock.arm(self)

    def fire(self) -> None:
        """The clock's word: the phase has had its time, unless what the peer owes is here and waits to be read."""
        if self.phase is Phase.IDLE and self.deadline < self.end_of_rest:
            self.deadline = self.end_of_rest
            if (self.sleeper is None or not self.sleeper.park()) and self.deadline < self.armed:
                self.clock.arm(self)
            return
        late = self.phase in WAITING and self.deadline != self.spared
        if late and self.source is not None and self.source.pending():
            self.deadline = self.spared = self.now() + SPARED
            self.clock.arm(self)
            return
        self.expired = self.over = True
        self.scope.cancel(reason=f"time is up for a connection that is {self.phase.value}")

    def end(self, reason: str) -> None:
        """Ends the connection now, as a drain does to an idle one."""
        self.over = True
        self.scope.cancel(reason=reason)

    def close(self) -> None:
        """Takes the deadline off the clock: it is over."""
        self.over = True
        self.sleeper = None  # each of the two holds the other
        self.clock.disarm(self)
