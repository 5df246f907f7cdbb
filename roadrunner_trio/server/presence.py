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
from typing import Final

import trio

from ..answering.context import ServerContext
from ..messages.request import Request
from ..protocol.http1.engine import Http1Engine
from ..transport.phases import Phase
from ..transport.streams import Address
from .http1_exchange import Http1Exchange

EPOLLERR: Final = getattr(select, "EPOLLERR", 8)
"""A reset. EPOLLHUP alone is a Unix socket whose peer has closed, which TCP would call an end."""


class Grace:
    """The time that the request in hand still has: a timer on the listener's clock, one a connection, made on demand.

    Nobody takes it off the clock when its request is over; it looks for itself.
    """

    __slots__ = ("armed", "deadline", "exchange", "request", "sent")

    def __init__(self, exchange: Attended) -> None:
        self.exchange = exchange
        self.armed = self.deadline = math.inf

    def begin(self) -> None:
        """Counts from now, for the request that the exchange is about."""
        exchange = self.exchange
        self.request: Request = exchange.request
        self.sent = exchange.sent
        self.deadline = exchange.phase.now() + exchange.plan.disconnect_grace
        if self.deadline < self.armed:
            exchange.context.clock.arm(self)

    def fire(self) -> None:
        """The clock's word."""
        exchange = self.exchange
        if exchange.request is not self.request or not exchange.in_handler():
            return
        takes = exchange.sent != self.sent or exchange.phase.phase is Phase.RESPOND
        if takes and not exchange.was_reset:
            self.begin()
        else:
            exchange.give_up(f"the peer left {exchange.plan.disconnect_grace:g} seconds ago")


class Attended(Http1Exchange):
    """An exchange that learns from its wire when the peer leaves, where there is a poller.

    Attributes:
        hung_up: the peer has ended what it sends, or is gone altogether.
        was_reset: the latter.
    """

    __slots__ = ("_grace", "_polled", "_waiting", "hung_up", "was_reset")

    def __init__(self, stream: trio.abc.Stream, engine: Http1Engine, context: ServerContext, peer: Address) -> None:
        super().__init__(stream, engine, context, peer)
        self.hung_up = False
        self.was_reset = False
        self._grace: Grace | None = None
        self._waiting: trio.lowlevel.ParkingLot | None = None
        self._polled = self.wire is not None and self.wire.polled
        if self.wire is not None:
            self.wire.attendant = self  # also when TLS comes between

    async def disconnected(self) -> None:
        """Returns when the peer has gone: a reset, or the end of what it sends."""
        if not self._polled:
            await super().disconnected()
        elif not (self.hung_up or self.gone or self.engine.ended):
            self._waiting = self._waiting or trio.lowlevel.ParkingLot()
            await self._waiting.park()

    def hang_up(self, events: int) -> None:
        """The wire's word, from the poller's task: once or twice in a connection's life."""
        self.hung_up = True
        self.was_reset = self.was_reset or bool(events & EPOLLERR)
        if self._waiting is not None:
            self._waiting.unpark_all()  # before any cancellation: who waits for the end is to learn of it
        if self.in_handler():
            self.miss()

    def in_handler(self) -> bool:
        """Whether a request is in its handler and its response not complete."""
        return self.phase.phase in (Phase.DISPATCH, Phase.RESPOND) and not (self.ended or self.request.over)

    def miss(self) -> None:
        """The peer of the request in hand has hung up: ends it at once, or begins its grace.

        A write under way is left to fail by itself. A loop response has its grace after a reset too, for its last
        message.
        """
        if self.plan.disconnect_grace == math.inf:
            return
        if self.was_reset and self.phase.phase is Phase.DISPATCH and self.kind != "loop":
            self.give_up("the peer has reset the connection")
            return
        self._grace = self._grace or Grace(self)
        self._grace.begin()

    def give_up(self, reason: str) -> None:
        """Cancels the request in hand, to which nothing will be written any more, and so ends the connection."""
        if not self.phase.scope.cancel_called:
            self.gone = self.broken = True
            self.phase.deadline = math.inf  # time that runs out while the handler cleans up is no timeout
            self.phase.end(reason)

    def look_away(self) -> None:
        """Takes the grace off the clock: the connection closes."""
        if self._grace is not None:
            self.context.clock.disarm(self._grace)
            self._grace = None
