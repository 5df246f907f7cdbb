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
from ..server.dormitory import Guest, Parked
from ..server.listener import Listener, insides
from ..telemetry.observe import Meter, Observer, RequestThrottled, WebSocketClosed, WebSocketOpened

LAST: Final = 16
"""Requests that are kept of each connection."""
MOST: Final = 1024
"""Connections of which any are kept: those that were shown last."""
BUDGET: Final = 4000
"""Requests from one look to the next of which it is asked whether they are to be kept."""
NEW: Final = 256
"""Connections of which requests are kept although they have yet to be shown: new ones, and such as were parked."""
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


class Socket:
    """A WebSocket that was opened while somebody looked.

    Attributes:
        key: of its request, while it is open.
        about: what is said of it at once.
        counts: messages in, and out.
        end: what is said of its end; None while it is open.
    """

    __slots__ = ("about", "counts", "end", "key")

    def __init__(self, event: WebSocketOpened) -> None:
        self.key = id(event.request)
        self.about: Row = {
            "target": brief(event.path),
            "since": round(trio.current_time(), 2),
            "subprotocol": event.subprotocol and brief(event.subprotocol),
            "compressed": event.compressed,
        }
        self.counts = event.counts
        self.end: Row | None = None

    def row(self) -> Row:
        """As JSON can carry it."""
        received, sent = self.counts
        return {**self.about, "received": received, "sent": sent, "end": self.end}


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
        self._shown: dict[Guest, Shown] = {}
        self._sockets: dict[Guest, deque[Socket]] = {}
        self._meter = _Gauge(self._shown)
        self._next = itertools.count(1)

    def look(self, conns: Sequence[Guest]) -> list[Shown]:
        """These are shown now, each under its id: what they ask from now on is kept, within a new budget.

        One that goes on as another, as HTTP/2, or with a task or without, is still the same.
        """
        shown = self._shown
        over = [conn for conn in shown if is_over(conn)]
        before = {(conn.born, conn.peer): shown.pop(conn) for conn in over}
        for conn in conns:
            known = shown.pop(conn, None) or before.get((conn.born, conn.peer)) or Shown(f"c{next(self._next)}")
            known.past.extend(self._meter.new.get(conn, ()))
            shown[conn] = known
        self._meter.new.clear()
        found = [shown[conn] for conn in conns]
        for conn in list(shown)[: max(0, len(shown) - MOST)]:
            del shown[conn]
        now = {(conn.born, conn.peer): conn for conn in conns}
        went_on = [
            (now.get((conn.born, conn.peer)) if is_over(conn) else conn, each) for conn, each in self._sockets.items()
        ]
        self._sockets = {conn: sockets for conn, sockets in went_on if conn is not None}
        for listener in self._listeners:
            told = insides(listener)[1]
            told.join(self)
            if self._meter.left <= 0:
                told.join(self._meter)
        self._meter.left = BUDGET
        return found

    def close(self) -> None:
        """Nobody looks any more: forgets all, and the listeners forget this."""
        self._shown.clear()
        self._sockets.clear()
        self._meter.left = 0
        self._meter.new.clear()
        for listener in self._listeners:
            told = insides(listener)[1]
            told.part(self)
            told.part(self._meter)

    def find(self, wanted: str) -> Guest | None:
        """The connection of that id; None when it is over, or was none."""
        return next((conn for conn, shown in self._shown.items() if shown.id == wanted and not is_over(conn)), None)

    def of(self, conn: Guest) -> list[Row]:
        """The last requests of a connection, the last first."""
        shown = self._shown.get(conn)
        return [] if shown is None else [_row(past) for past in reversed(shown.past)]

    def sockets_of(self, conn: Guest) -> list[Row]:
        """The WebSockets that were opened on a connection, the last first."""
        return [each.row() for each in reversed(self._sockets.get(conn, ()))]

    # -- what listeners tell -------------------------------------------------------------------------

    def websocket_open(self, event: WebSocketOpened) -> None:
        """One was accepted; its connection need not have been shown yet."""
        conn = getattr(event.request.source, "conn", None)
        if isinstance(conn, Carrier):
            if conn not in self._sockets and len(self._sockets) >= MOST:
                del self._sockets[next(iter(self._sockets))]
            self._sockets.setdefault(conn, deque(maxlen=LAST)).append(Socket(event))

    def websocket_close(self, event: WebSocketClosed) -> None:
        """One is over."""
        conn: Any = getattr(event.request.source, "conn", None)
        for each in self._sockets.get(conn, ()):
            if each.end is None and each.key == id(event.request):
                each.end = {"code": event.code, "reason": brief(event.reason), "by": event.by}
                each.counts = event.received, event.sent

    def request_throttled(self, event: RequestThrottled) -> None:
        """One was answered without the application, in the task of its connection or of its stream."""
        task = trio.lowlevel.current_task()
        above = task.parent_nursery
        around = (task, above.parent_task if above is not None else None)
        if (shown := next((shown for conn, shown in self._shown.items() if conn.task in around), None)) is not None:
            target, now = event.request.target[:LONGEST], trio.current_time()
            shown.past.append(Past(event.method, target, event.status, True, 0, 0, 0.0, now))


class _Gauge(Meter):
    """Keeps requests that the application has had, until it has been told of as many as it may before the next look.

    Attributes:
        left: how many it may.
        new: those of connections that have yet to be shown.
    """

    def __init__(self, shown: dict[Guest, Shown]) -> None:
        self._shown = shown
        self.new: dict[Guest, deque[Past]] = {}
        self.left = 0

    def attach(self, listener: object) -> None:
        """Nothing is asked of a listener."""

    def measure(self, exchange: Any, request: Request, duration: float) -> None:
        """The application has done with a request."""
        shown = self._shown.get(exchange.conn)
        if shown is not None or len(self.new) < NEW or exchange.conn in self.new:
            past = self.new.setdefault(exchange.conn, deque(maxlen=LAST)) if shown is None else shown.past
            target, now = request.target[:LONGEST], exchange.phase.now()
            received, sent = exchange.received, exchange.sent
            past.append(Past(request.method, target, exchange.status, exchange.ended, received, sent, duration, now))
        self.left -= 1
        if self.left <= 0:
            exchange.context.observers.part(self)  # those of other listeners find out by themselves


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


def is_over(conn: Guest) -> bool:
    """Whether a connection has ended, or goes on as another."""
    return conn.is_over if isinstance(conn, Parked) else conn.closed


def brief(text: str) -> str:
    """Somebody else's text, as it can be shown on a line: what is longer is cut, and ends in three dots."""
    return visible(text if len(text) <= LONGEST else text[: LONGEST - 3] + "...")
