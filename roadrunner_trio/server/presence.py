"""Whether the peer is still there, as the poller tells it: without a task, without a read, and for nothing while it is.

A *reset* says that nobody will have the answer: the handler is cancelled at once. An *end* is ambiguous. Who closes and
who only has nothing more to send look the same (RFC 9112 section 9.6), and the one who only half-closes waits for
answers, also to requests sent ahead. So the handler of each has ``disconnect_grace``. A peer that takes what is sent to
it is there, whatever it has ended: had it closed, it would answer with a reset. So while content goes out the grace
begins anew.

To be cancelled for it, a request has to be in its handler. What reads a head or a body meets the end by itself, what
writes meets a reset, and a stream that was handed off belongs to another.
"""

from __future__ import annotations

import math
import select
from typing import Final, Protocol

from ..messages.exchange import Plan
from ..messages.request import Request
from ..transport.clock import Clock
from ..transport.phases import Phase, PhaseScope

RESET: Final = getattr(select, "EPOLLERR", 8)
"""EPOLLHUP alone is a Unix socket whose peer has closed, which TCP would call an end."""


class Attended(Protocol):
    """An exchange whose handler is not to work for a peer that has left."""

    phase: PhaseScope
    plan: Plan
    request: Request
    kind: str
    sent: int
    ended: bool
    grace: Grace | None

    @property
    def clock(self) -> Clock:
        """Where its grace is counted."""
        ...

    @property
    def was_reset(self) -> bool:
        """Whether the peer is gone altogether."""
        ...

    def give_up(self, reason: str) -> None:
        """Cancels the request, to which nothing will be written any more."""
        ...


class Grace:
    """The time that the request in hand still has: a timer on the listener's clock, one an exchange, made on demand.

    Nobody takes it off the clock when its request is over; it looks for itself.
    """

    __slots__ = ("armed", "deadline", "exchange", "request", "sent")

    def __init__(self, exchange: Attended) -> None:
        self.exchange = exchange
        self.armed = self.deadline = math.inf

    def begin(self) -> None:
        """Counts from now, for the request that the exchange is about."""
        exchange = self.exchange
        self.request = exchange.request
        self.sent = exchange.sent
        self.deadline = exchange.phase.now() + exchange.plan.disconnect_grace
        if self.deadline < self.armed:
            exchange.clock.arm(self)

    def fire(self) -> None:
        """The clock's word."""
        exchange = self.exchange
        if exchange.request is not self.request or not in_handler(exchange):
            return
        takes = exchange.sent != self.sent or exchange.phase.phase is Phase.RESPOND
        if takes and not exchange.was_reset:
            self.begin()
        else:
            exchange.give_up(f"the peer left {exchange.plan.disconnect_grace:g} seconds ago")


def in_handler(exchange: Attended) -> bool:
    """Whether a request is in its handler and its response not complete."""
    return exchange.phase.phase in (Phase.DISPATCH, Phase.RESPOND) and not (exchange.ended or exchange.request.over)


def miss(exchange: Attended) -> None:
    """The peer of a request that is in its handler has hung up: ends it at once, or begins its grace.

    A write under way is left to fail by itself. A loop response has its grace after a reset too, for its last message.
    """
    if exchange.plan.disconnect_grace == math.inf:
        return
    if exchange.was_reset and exchange.phase.phase is Phase.DISPATCH and exchange.kind != "loop":
        exchange.give_up("the peer has reset the connection")
        return
    exchange.grace = exchange.grace or Grace(exchange)
    exchange.grace.begin()


def look_away(exchange: Attended) -> None:
    """Takes the grace off the clock: the exchange is over for good."""
    if exchange.grace is not None:
        exchange.clock.disarm(exchange.grace)
        exchange.grace = None
