"""Flow control (RFC 9113 section 5.2): what may be sent, what the peer may send, and when it is told of more.

The windows of all streams stand on one base, the initial size that the other side has announced: a stream has only its
own balance above or below it. So a change of the base is one assignment, however many streams there are.
"""

from __future__ import annotations

from typing import Final

from .frames import DEFAULT_WINDOW, MAX_WINDOW
from .stream import Stream

SHARE: Final = 2
"""The part of a window that has to be consumed before the peer is told: a half, so one frame for many."""


class Outgoing:
    """What the peer lets us send.

    Attributes:
        base: the initial window of a stream, as the peer has said.
        connection: what is left of the window of all streams together.
    """

    __slots__ = ("base", "connection")

    def __init__(self) -> None:
        self.base = DEFAULT_WINDOW
        self.connection = DEFAULT_WINDOW

    def sendable(self, stream: Stream) -> int:
        """Octets that both windows let through; 0 when one of them is shut."""
        return max(0, min(self.base + stream.window_out, self.connection))

    def spend(self, stream: Stream, octets: int) -> None:
        """So many octets are sent."""
        stream.window_out -= octets
        self.connection -= octets

    def holds(self, balance: int) -> bool:
        """Whether the window of a stream with ``balance`` is no larger than a window can be."""
        return self.base + balance <= MAX_WINDOW

    def widen(self, octets: int) -> bool:
        """The connection's window grows; False when it is larger than a window can be (section 6.9.1)."""
        self.connection += octets
        return self.connection <= MAX_WINDOW

    def widen_stream(self, stream: Stream, octets: int) -> bool:
        """A stream's window grows; False when it is larger than a window can be."""
        stream.window_out += octets
        return self.base + stream.window_out <= MAX_WINDOW


class Incoming:
    """What we let the peer send.

    Args:
        stream: octets of a stream's window.
        connection: octets of that of all streams together.

    Attributes:
        left: what the peer may still send on the connection.
        due: octets that were consumed, and of which the peer does not know yet.
    """

    __slots__ = ("_size", "_stream", "base", "due", "left")

    def __init__(self, stream: int, connection: int) -> None:
        self._stream = stream
        self._size = connection
        self.due = 0
        self.left = connection
        self.base = max(stream, DEFAULT_WINDOW)
        """Before the peer has acknowledged our SETTINGS it need not know that windows are smaller."""

    def acknowledged(self) -> None:
        """The peer knows our SETTINGS."""
        self.base = self._stream

    def admits(self, stream: Stream, octets: int) -> bool:
        """Takes octets that have come off the stream's window; False when they are more than it lets through."""
        stream.window_in -= octets
        return self.base + stream.window_in >= 0

    def credit(self, octets: int) -> int:
        """Octets were consumed, of whichever stream; by how many the peer is to be told that its window grows."""
        self.due += octets
        if self.due * SHARE < self._size:
            return 0
        due, self.due = self.due, 0
        self.left += due
        return due

    def credit_stream(self, stream: Stream, octets: int) -> int:
        """Octets of a stream were consumed; by how many the peer is to be told that its window grows."""
        stream.credit_due += octets
        if stream.credit_due * SHARE < self._stream:
            return 0
        due, stream.credit_due = stream.credit_due, 0
        stream.window_in += due
        return due
