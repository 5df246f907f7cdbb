"""One stream of a connection: what its owner may look at, and what it is told (RFC 9113 section 5)."""

from __future__ import annotations

from typing import Protocol

from ...errors import ProtocolError
from ...fields import Fields
from ..heads import RequestHead


class Owner(Protocol):
    """Who has taken a stream. Called from inside of the engine: it only takes a note and wakes somebody.

    None of these may raise, or call the engine.
    """

    def body_arrived(self) -> None:
        """Something of the body has come, or its end, or what is wrong with it: look at the stream."""
        ...

    def window_opened(self) -> None:
        """The stream's own window was shut, and lets something through now. The connection's may still be shut."""
        ...

    def stream_lost(self, code: int, reason: str) -> None:
        """The stream is over before its time; nothing more can be sent or will come. ``stream.lost`` is True.

        Args:
            code: of the RST_STREAM, from the peer or ours (RFC 9113 section 7).
            reason: ``"peer_reset"``, or which rule the peer has broken.
        """
        ...


class Stream:
    """A request that is on its way, and the state of its stream.

    Without slots: what most streams never need costs nothing to set, which is half of what it takes to make one.

    Args:
        id: the stream's number.
        head: the judged head; None only with ``error``.
        error: what the peer is to be answered with instead: 413, 414, 431 or 501. It is never raised itself, for then
            it would hold on to what was being done, and to what that has in hand.
    """

    owner: Owner | None = None
    """Who is told what happens; set by whoever takes the stream from ``next_ready``."""
    body: bytes | bytearray = b""
    """Octets of content that have come and not been taken; of a tunnel those of what is spoken in it."""
    received: int = 0
    """Octets of content that have come in all."""
    expected: int | None = None
    """Octets that Content-Length says; None is any number."""
    most: int | None = None
    """Octets that its content may have; None is any number."""
    ended: bool = False
    """The peer has sent everything: the content, and ``trailers``."""
    trailers: Fields = ()
    """The trailer fields, judged, once ``ended``."""
    gathered: bool = False
    """Its content is wanted as a whole, and may come as fast as it can."""
    answered: bool = False
    """The final head of the response is out."""
    finished: bool = False
    """END_STREAM is out: the response is complete."""
    complete: bool = False
    """Both sides have sent everything."""
    lost: bool = False
    """It was reset, by either side, or its connection has failed."""
    released: bool = False
    """Nobody has it any more."""
    tunnel: bool = False
    """It is a CONNECT: its octets are another protocol's (RFC 9113 section 8.5, RFC 8441)."""
    urgency: int = 3
    """0 to 7, the lower the sooner (RFC 9218 section 4.1)."""
    incremental: bool = False
    """Whether pieces of the response are of use (RFC 9218 section 4.2)."""
    window_in: int = 0
    """What the peer may send above the base of all streams, or below it."""
    window_out: int = 0
    """What we may send above the base of all streams, or below it."""
    credit_due: int = 0
    """Octets that were consumed, and of which the peer does not know yet."""
    crumbs: float = 0.0
    """What its smallest frames have cost, which is given back when it is read."""

    def __init__(self, id: int, head: RequestHead | None, error: ProtocolError | None = None) -> None:
        self.id = id
        self.head = head
        self.error = error
