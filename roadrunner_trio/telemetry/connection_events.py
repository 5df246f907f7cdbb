"""What observers are told of connections and listeners. Who they are, and what of requests, is in :mod:`.observe`.

Events are named tuples: they cannot be changed, and cost a quarter of what a frozen dataclass costs to build.
"""

from __future__ import annotations

from typing import NamedTuple

from ..transport.streams import Address


class ConnectionAccepted(NamedTuple):
    """A connection was accepted, and its peer is known.

    Attributes:
        listener: the name of the listener.
        peer: host and port, or the path of a Unix socket.
        system_time: when.
    """

    listener: str
    peer: Address
    system_time: float


class ConnectionEnded(NamedTuple):
    """A connection is over.

    Attributes:
        listener: the name of the listener.
        peer: as in :class:`ConnectionAccepted`.
        duration: seconds since it was accepted.
        requests: how many request heads it brought.
        protocol: what it spoke, ``"http/1.1"`` or ``"h2"``.
    """

    listener: str
    peer: Address
    duration: float
    requests: int
    protocol: str = "http/1.1"


class ConnectionBroken(NamedTuple):
    """A peer has broken a rule of HTTP/2 for which its whole connection ends (RFC 9113 section 5.4.1).

    Attributes:
        listener: the name of the listener.
        peer: as in :class:`ConnectionAccepted`.
        code: of the GOAWAY, such as 1, PROTOCOL_ERROR, or 11, ENHANCE_YOUR_CALM.
        reason: which rule, as a short lower-case token.
        system_time: when.
    """

    listener: str
    peer: Address
    code: int
    reason: str
    system_time: float


class ConnectionRejected(NamedTuple):
    """A connection was turned away before it became one (N69). Who wanted it is not told, on purpose.

    Attributes:
        listener: the name of the listener.
        reason: ``"max_connections"``, or ``"max_connections_per_peer"``.
        system_time: when.
    """

    listener: str
    reason: str
    system_time: float


class ListenerRetiring(NamedTuple):
    """A listener is about to drain: balancers are told so, and nothing else has changed.

    Attributes:
        listener: its name.
        system_time: when.
    """

    listener: str
    system_time: float


class ListenerDraining(NamedTuple):
    """A listener has begun to drain.

    Attributes:
        listener: its name.
        deadline: by when everything has to be over.
        system_time: when.
    """

    listener: str
    deadline: float
    system_time: float


class ListenerClosed(NamedTuple):
    """A listener has served its last connection, by a drain or because it was cancelled.

    Attributes:
        listener: its name.
        system_time: when.
    """

    listener: str
    system_time: float
