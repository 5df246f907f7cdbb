"""The last requests of connections, for as long as somebody looks at them.

While nobody does, no listener knows of this. While somebody does, each connection that has been shown has a ring of
its last requests, and what is spent on all rings is bounded by the look: of a server that answers more requests from
one look to the next than :data:`BUDGET`, only the first are kept; then the listeners are left alone until the next.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import trio

from ..messages.request import Request
from ..printable import visible
from ..server.carrier import Carrier
from ..server.listener import Listener, insides
from ..telemetry.observe import Meter, Observer, RequestThrottled

LAST: Final = 16
"""Requests that are kept of each connection."""
MOST: Final = 1024
"""Connections of which any are kept: those that were shown last."""
BUDGET: Final = 4000
"""Requests that are kept from one look to the next."""
LONGEST: Final = 200
"""Characters of a target, and of any other text of somebody else's."""

Row = dict[str, Any]


class Past(NamedTuple):
    """A request that is over.

    Attributes:
        method: as sent.
        target: its beginning, as sent.
        status: of the response; 0 when there was none.
        ended: the response was complete.
        received: octets of content that were read.
        sent: octets of content that were written.
        seconds: that the application had it for.
        at: when it was over, on Trio's clock.
    """

    method: str
    target: bytes
    status: int
    ended: bool
    received: int
    sent: int
    seconds: float
    at: float


class Shown:
    """A connection that has been shown, for as long as it is remembered.

    Attributes:
        id: what it is called.
        past: its last requests.
    """

    __slots__ = ("id", "past")

    def __init__(self, own: str) -> None:
        self.id = own
        self.past: deque[Past] = deque(maxlen=LAST)


class Recent(Observer):
    """Keeps them.

    Args:
        listeners: whose.
    """

    def __init__(self, listeners: Sequence[Listener]) -> None:
        self._listeners = listeners
        self._shown: dict[Carrier, Shown] = {}
        self._meter = _Gauge(self._shown)
        self._next = itertools.count(1)

    def look(self, conns: Sequence[Carrier]) -> list[Shown]:
        """These are shown now, each under its id: what they ask from now on is kept, within a new budget.

        One that goes on as another, as HTTP/2 or in another task, is still the same.
        """
        shown = self._shown
        over = [conn for conn in shown if conn.closed]
        before = {(conn.born, conn.peer): shown.pop(conn) for conn in over}
        for conn in conns:
            known = shown.pop(conn, None) or before.get((conn.born, conn.peer))
            shown[conn] = known or Shown(f"c{next(self._next)}")
        for conn in list(shown)[: max(0, len(shown) - MOST)]:
            del shown[conn]
        for listener in self._listeners:
            told = insides(listener)[1]
            told.join(self)
            if self._meter.left <= 0:
                told.join(self._meter)
        self._meter.left = BUDGET
        return [shown[conn] for conn in conns]

    def close(self) -> None:
        """Nobody looks any more: forgets all, and the listeners forget this."""
        self._shown.clear()
        self._meter.left = 0
        for listener in self._listeners:
            told = insides(listener)[1]
            told.part(self)
            told.part(self._meter)

    def find(self, wanted: str) -> Carrier | None:
        """The connection of that id; None when it is over, or was none."""
        return next((conn for conn, shown in self._shown.items() if shown.id == wanted and not conn.closed), None)

    def of(self, conn: Carrier) -> list[Row]:
        """The last requests of a connection, the last first."""
        shown = self._shown.get(conn)
        return [] if shown is None else [_row(past) for past in reversed(shown.past)]

    def request_throttled(self, event: RequestThrottled) -> None:
        """One was answered without the application, in the task of its connection or of its stream."""
        task = trio.lowlevel.current_task()
        above = task.parent_nursery
        around = (task, above.parent_task if above is not None else None)
        if (shown := next((shown for conn, shown in self._shown.items() if conn.task in around), None)) is not None:
            target, now = event.request.target[:LONGEST], trio.current_time()
            shown.past.append(Past(event.method, target, event.status, True, 0, 0, 0.0, now))


class _Gauge(Meter):
    """Keeps requests that the application has had, until it has kept as many as it may before the next look.

    Attributes:
        left: how many it may.
    """

    def __init__(self, shown: dict[Carrier, Shown]) -> None:
        self._shown = shown
        self.left = 0

    def attach(self, listener: object) -> None:
        """Nothing is asked of a listener."""

    def measure(self, exchange: Any, request: Request, duration: float) -> None:
        """The application has done with a request."""
        if (shown := self._shown.get(exchange.conn)) is None:
            return
        ended, now = exchange.ended, exchange.phase.now()
        received, sent = exchange.received, exchange.sent
        target = request.target[:LONGEST]
        shown.past.append(Past(request.method, target, exchange.status, ended, received, sent, duration, now))
        self.left -= 1
        if self.left <= 0:
            exchange.context.observers.part(self)  # others find out by themselves: each keeps one more


def _row(past: Past) -> Row:
    """As JSON can carry it. A query is nobody's affair."""
    return {
        "method": brief(past.method),
        "target": brief(past.target.partition(b"?")[0].decode("latin-1")),
        "status": past.status,
        "ended": past.ended,
        "received": past.received,
        "sent": past.sent,
        "seconds": round(past.seconds, 6),
        "at": round(past.at, 2),
    }


def brief(text: str) -> str:
    """Somebody else's text, as it can be shown on a line: what is longer is cut, and ends in three dots."""
    return visible(text if len(text) <= LONGEST else text[: LONGEST - 3] + "...")
