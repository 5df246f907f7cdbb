"""The last requests of connections, for as long as somebody looks at them.

While nobody does, no listener knows of this. While somebody does, each connection that has been shown has a ring of
its last requests, and what is spent on all rings is bounded by the look: of a server that answers more requests from
one look to the next than :data:`BUDGET`, only the first are kept; then the listeners are left alone until the next.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import trio

from ..messages.request import Request
from ..printable import visible
from ..server.carrier import Carrier
from ..server.listener import Listener, insides
from ..telemetry.observe import Meter, RequestThrottled

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


class Recent(Meter):
    """Keeps them.

    Args:
        listeners: whose.
    """

    def __init__(self, listeners: Sequence[Listener]) -> None:
        self._listeners = listeners
        self._rings: dict[Carrier, deque[Past]] = {}
        self._left = 0

    def look(self, shown: Iterable[Carrier]) -> None:
        """These are shown now: what they ask from now on is kept, within a new budget."""
        rings = {conn: ring for conn, ring in self._rings.items() if not conn.closed}
        for conn in shown:
            rings[conn] = rings.pop(conn) if conn in rings else deque(maxlen=LAST)
        for conn in list(rings)[: max(0, len(rings) - MOST)]:
            del rings[conn]
        self._rings = rings
        if self._left <= 0:
            for listener in self._listeners:
                insides(listener)[1].join(self)
        self._left = BUDGET

    def close(self) -> None:
        """Nobody looks any more: forgets all, and the listeners forget this."""
        self._rings = {}
        self._leave()

    def _leave(self) -> None:
        self._left = 0
        for listener in self._listeners:
            insides(listener)[1].part(self)

    def of(self, conn: Carrier) -> list[Row]:
        """Those of a connection, the last first."""
        return [_row(past) for past in reversed(self._rings.get(conn, ()))]

    # -- what listeners tell -------------------------------------------------------------------------

    def attach(self, listener: object) -> None:
        """Nothing is asked of a listener."""

    def measure(self, exchange: Any, request: Request, duration: float) -> None:
        """The application has done with a request."""
        if (ring := self._rings.get(exchange.conn)) is None:
            return
        ended, now = exchange.ended, exchange.phase.now()
        received, sent = exchange.received, exchange.sent
        target = request.target[:LONGEST]
        ring.append(Past(request.method, target, exchange.status, ended, received, sent, duration, now))
        self._left -= 1
        if self._left <= 0:
            self._leave()

    def request_throttled(self, event: RequestThrottled) -> None:
        """One was answered without the application, in the task of its connection or of its stream."""
        task = trio.lowlevel.current_task()
        above = task.parent_nursery
        around = (task, above.parent_task if above is not None else None)
        if (ring := next((ring for conn, ring in self._rings.items() if conn.task in around), None)) is not None:
            target, now = event.request.target[:LONGEST], trio.current_time()
            ring.append(Past(event.method, target, event.status, True, 0, 0, 0.0, now))


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
