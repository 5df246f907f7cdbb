"""What a listener says of itself: its numbers, its connections, how its drain went."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import trio

from ..messages.request import doing
from ..transport.phases import Phase
from ..transport.streams import Address
from .carrier import Carrier
from .dormitory import Guest, Parked


@dataclass(frozen=True, slots=True)
class Drained:
    """How a drain went, in connections.

    Attributes:
        finished: ended by themselves, everything said; also when the deadline cut their lingering short.
        cut: ended by the deadline, or cancelled before it.
        stuck: still there a second later: in a thread, or shielded by the application; named in the log.
    """

    finished: int
    cut: int
    stuck: int


@dataclass(frozen=True, slots=True)
class ListenerInfo:
    """Numbers of a listener; all but ``active`` and ``buffered`` are cumulative.

    Attributes:
        active: connections now.
        max_connections: the cap.
        buffered: octets of bodies and WebSocket messages that wait for the application now.
        accepted: connections that got a slot.
        rejected: connections turned away at the cap.
        handshakes_failed: connections that ended before a request could come: TLS, or a PROXY header that was due.
        requests: request heads accepted (behaviour 1.8).
        refused: requests that broke the protocol or a limit.
        aborted: requests that broke off before the application was called: the peer left, or time ran out.
        throttled: requests turned away because too many were in the application.
        rate_limited: requests turned away because their peer asked too often.
        failed: requests in which the application raised.
        gone: requests whose peer left, or did not read, before their response had ended.
        timed_out: requests whose time ran out in the application.
        cancelled: requests that the end of the server cut off in the application.
        send_failed: responses whose first write failed.
        evicted: connections that made room for others: idle ones, and ones that kept the server waiting.
        acknowledged: drains acknowledged by handlers.
        cut: connections that a drain's deadline ended.
        accepts_failed: how often there was no connection to be had although one waited: the process or the machine had
            no descriptors or buffers left. Tried again ten times a second, and logged once a minute.
        streams_refused: requests of HTTP/2 that were refused, unseen, for their peer had too many at once or was told
            to open no more.
        streams_reset: requests of HTTP/2 that were reset before their answer was complete: by their peer, or for a rule
            that it broke.
        goaways: connections of HTTP/2 that ended for a rule that their peer broke.
    """

    active: int
    max_connections: int
    buffered: int
    accepted: int
    rejected: int
    handshakes_failed: int
    requests: int
    refused: int
    aborted: int
    throttled: int
    rate_limited: int
    failed: int
    gone: int
    timed_out: int
    cancelled: int
    send_failed: int
    evicted: int
    acknowledged: int
    cut: int
    accepts_failed: int
    streams_refused: int = 0
    streams_reset: int = 0
    goaways: int = 0


class ConnectionInfo(NamedTuple):  # there may be many, and a frozen dataclass takes three times as long to make
    """One connection, now.

    Attributes:
        peer: who is at the other end.
        phase: what it is doing, in words.
        age: seconds since it was accepted.
        deadline: seconds until its phase has had its time; ``math.inf`` without a bound.
        requests: how many it has served, the current one included.
        task: the Trio task that serves it; None where none does, for it is parked, or has yet to begin.
        protocol: what it speaks: ``"http/1.1"`` or ``"h2"``.
        streams: how many requests it has in hand now; never more than one with HTTP/1.
        doing: the method and the path of the request it is in, without a query; ``""`` between two.
    """

    peer: Address
    phase: str
    age: float
    deadline: float
    requests: int
    task: trio.lowlevel.Task | None
    protocol: str = "http/1.1"
    streams: int = 0
    doing: str = ""


def described(conn: Guest, now: float) -> ConnectionInfo:
    """What there is to say of a connection."""
    if isinstance(conn, Parked):
        age, left = now - conn.born, conn.deadline - now
        return ConnectionInfo(conn.peer, conn.phase.value, age, left, conn.served, None, conn.protocol)
    return ConnectionInfo(
        conn.peer,
        conn.doing,
        now - conn.born,
        conn.phase.ends - now,
        conn.served,
        conn.task,
        conn.protocol,
        conn.streams,
        _request_of(conn),
    )


def phase_of(conn: Guest) -> Phase:
    """Where a connection is."""
    return conn.phase if isinstance(conn, Parked) else conn.phase.phase


def _request_of(conn: Carrier) -> str:
    """The request of HTTP/1 that a connection is in, in two words; nothing between two."""
    if conn.phase.phase in (Phase.HANDSHAKE, Phase.IDLE, Phase.READ_REQUEST):
        return ""
    request = getattr(getattr(conn, "exchange", None), "request", None)  # given up before it leaves its drain
    return "" if request is None else doing(request)
