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

    Attributes:
        id: the stream's number.
        head: the judged head; None only with ``error``.
        error: what the peer is to be answered with instead: 413, 414, 431, 501, a status and a reason.
        owner: who is told what happens; set by whoever takes the stream from ``next_ready``.
        body: octets of content that have come and not been taken.
        received: octets of content that have come in all.
        ended: the peer has sent everything: content, and ``trailers``.
        trailers: the trailer fields, judged, once ``ended``.
        answered: the final head of the response is out.
        finished: END_STREAM is out: the response is complete.
        lost: it was reset by either side.
        urgency: 0 to 7, the lower the sooner (RFC 9218 section 4.1).
        incremental: whether pieces of it are of use (RFC 9218 section 4.2).
    """

    __slots__ = (
        "answered",
        "body",
        "credit_due",
        "ended",
        "error",
        "finished",
        "gathered",
        "head",
        "id",
        "incremental",
        "lost",
        "most",
        "owner",
        "received",
        "released",
        "trailers",
        "urgency",
        "window_in",
        "window_out",
    )

    def __init__(self, id: int, head: RequestHead | None, error: ProtocolError | None = None) -> None:
        self.id = id
        self.head = head
        self.error = error
        self.owner: Owner | None = None
        self.body = b""
        self.received = 0
        self.ended = False
        self.trailers: Fields = ()
        self.answered = False
        self.finished = False
        self.lost = False
        self.urgency = 3
        self.incremental = False
        self.most: int | None = None
        """Octets that its body may have; None is any number."""
        self.gathered = False
        self.released = False
        self.window_in = 0
        self.window_out = 0
        self.credit_due = 0
