"""The contract of an HTTP/1 reader: bytes in, heads and body pieces out, no input or output of its own.

An engine splits bytes and lets :mod:`.head` judge them; it never writes. There is one per connection. Anything the
peer gets wrong leaves an engine as :class:`~roadrunner_trio.errors.ProtocolError`, and after that the engine is
finished.
"""

from __future__ import annotations

import enum
from typing import Final, NamedTuple, Protocol

from ...fields import Fields


class Signal(enum.Enum):
    """What an engine answers when it has no value to give."""

    NEED_DATA = "need data"
    END = "end of the body"
    CLOSED = "the peer closed"


NEED_DATA: Final = Signal.NEED_DATA
END: Final = Signal.END
CLOSED: Final = Signal.CLOSED


class Framing(enum.Enum):
    """How a request body is delimited (RFC 9112 section 6.3)."""

    NONE = "none"
    LENGTH = "content-length"
    CHUNKED = "chunked"


class RequestHead(NamedTuple):
    """A request head that has passed the house's verdict (:func:`.head.judge`). A tuple, as the cheapest to build."""

    method: bytes
    """Any token, as sent (N13)."""
    target: bytes
    """The request target as sent: origin, absolute, authority or asterisk form (RFC 9112 section 3.2)."""
    path: bytes
    """The path and query that the target names; ``b"*"`` for ``OPTIONS *``, the authority for CONNECT."""
    version: tuple[int, int]
    """(1, 0) or (1, 1); a higher minor version is read as (1, 1) (RFC 9110 section 2.5)."""
    fields: Fields
    host: bytes
    """Host, or the authority of an absolute-form target, which wins (RFC 9112 section 3.2.2); may be empty."""
    framing: Framing
    content_length: int
    """Octets of the body with :attr:`Framing.LENGTH`, else 0."""
    keep_alive: bool
    """Whether the peer would go on with the connection (RFC 9112 section 9.3)."""
    expects_continue: bool
    """Whether the peer waits for 100 Continue: 1.1, with a body, ``expect: 100-continue`` (N17)."""
    raw: bytes
    """The head as it came, with the empty line that ends it."""


class Http1Engine(Protocol):
    """Reads the requests of one connection, one after another."""

    @property
    def buffered(self) -> int:
        """Octets received and not given out yet; of a next head too, but not an empty line before it."""
        ...

    @property
    def ended(self) -> bool:
        """Whether the peer has finished sending."""
        ...

    def receive(self, data: bytes) -> None:
        """Takes what came from the peer; ``b""`` is its end."""
        ...

    def next_head(self) -> RequestHead | Signal:
        """The next head, NEED_DATA, or CLOSED when the peer finished before a whole head.

        Raises:
            ProtocolError: what has come cannot become an acceptable head.
        """
        ...

    def limit_body(self, most: int | None) -> None:
        """Caps the body of the current message, in octets; None lifts the cap.

        Raises:
            ProtocolError: 413, at once, when the declared length is above it.
        """
        ...

    def next_body(self) -> bytes | Signal:
        """The next piece of the body, NEED_DATA, END, or CLOSED when the peer finished inside it.

        Raises:
            ProtocolError: bad chunking, or a body above the cap (413, before the data of that chunk: N7).
        """
        ...

    @property
    def body_taken(self) -> int:
        """Octets of content of the current message that ``next_body`` has given out."""
        ...

    def trailers(self) -> Fields:
        """The trailer fields, once ``next_body`` has answered END (RFC 9110 section 6.5)."""
        ...

    def next_cycle(self) -> None:
        """Forgets the current message, whose body has ended, keeps what came after it, and expects a head."""
        ...

    def release(self) -> bytes:
        """Gives up what came too early, for a hand-off; the engine is not used afterwards."""
        ...
