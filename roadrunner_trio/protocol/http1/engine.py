"""The contract of an HTTP/1 reader: bytes in, heads and body pieces out, no input or output of its own.

An engine splits bytes and lets :mod:`.head` judge them; it never writes. There is one per connection. Anything the
peer gets wrong leaves an engine as :class:`~roadrunner_trio.errors.ProtocolError`, and after that the engine is
finished.
"""

from __future__ import annotations

import enum
from typing import Final, Protocol

from ...fields import Fields
from ..heads import RequestHead


class Signal(enum.Enum):
    """What an engine answers when it has no value to give."""

    NEED_DATA = "need data"
    END = "end of the body"
    CLOSED = "the peer closed"


NEED_DATA: Final = Signal.NEED_DATA
END: Final = Signal.END
CLOSED: Final = Signal.CLOSED


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

    @property
    def empty(self) -> bool:
        """Whether it holds nothing, so that between two messages another could go on in its place."""
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


class _Spent:
    """The engine of a connection whose stream is somebody else's: nothing comes to it. One for all such."""

    __slots__ = ()

    buffered = body_taken = 0
    ended = False
    empty = True

    def receive(self, data: bytes) -> None:
        """Nobody asks for what comes now."""

    def next_head(self) -> Signal:
        """There is none."""
        return CLOSED

    def limit_body(self, most: int | None) -> None:
        """There is none."""

    def next_body(self) -> Signal:
        """There is none."""
        return CLOSED

    def trailers(self) -> Fields:
        """There are none."""
        return ()

    def next_cycle(self) -> None:
        """There is none."""

    def release(self) -> bytes:
        """Nothing is kept."""
        return b""


SPENT: Final[Http1Engine] = _Spent()
