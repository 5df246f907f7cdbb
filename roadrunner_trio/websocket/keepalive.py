"""Whether a peer still lives: pings, the server's own and those of handlers, and what is a sign of life.

Anything that comes from the peer is one. A pong is due when its ping has reached the peer: one that stands behind a
large message, in a queue of ours or in the kernel, has not, and as long as the peer takes what stands before it, it
lives. How slowly it may take a message is the write timeout's affair.
"""

from __future__ import annotations

import math
from typing import Final

import trio

from ..protocol.ws import frames
from .link import Link
from .terms import Settings

PING: Final = frames.encode(frames.PING, b"")
"""The server's own."""
UNANSWERED: Final = "keepalive ping timeout"


class Keepalive:
    """The times of a session's pings.

    Attributes:
        ping_at: when the next one is due; ``math.inf`` for never.
        judge_at: when the peer is judged.
    """

    __slots__ = ("_reached", "_settings", "_stands_at", "_taken", "judge_at", "ping_at")

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.ping_at = self.judge_at = math.inf
        self._taken = 0
        self._stands_at = math.inf
        self._reached = False

    def begin(self, now: float) -> None:
        """The session begins."""
        self.ping_at = now + self._settings.ping_interval

    def end(self) -> None:
        """No more pings."""
        self.ping_at = self.judge_at = math.inf

    def ping(self, link: Link, now: float) -> bool:
        """Sends a ping, unless one is still to go out. Whether time counts from this one on: none was unanswered."""
        self.ping_at = now + self._settings.ping_interval
        if counts := self.judge_at == math.inf:
            self.judge_at = now + self._settings.ping_timeout
            self._taken = link.taken
            self._stands_at = math.inf
            self._reached = not (link.owed or link.writing or self._taken < link.written)
        if PING not in link.owed:
            link.push(PING)
        return counts

    def gone(self, link: Link, now: float) -> bool:
        """Whether the peer, of which nothing was heard in time, is to be taken for gone; if not, it is judged again."""
        before, self._taken = self._taken, link.taken
        if self._stands_at == math.inf and PING not in link.owed:
            self._stands_at = link.written
        reached, self._reached = self._reached, self._taken >= self._stands_at
        if reached or not (link.timed or self._taken > before):
            return True
        self.judge_at = now + self._settings.ping_timeout
        return False


class Pings:
    """Pings of the handler's, which waits for their pongs."""

    __slots__ = ("_under_way",)

    def __init__(self) -> None:
        self._under_way: dict[bytes, trio.Event] = {}

    def expect(self, payload: bytes | None) -> tuple[bytes, trio.Event]:
        """A payload, one of its own if none is given, and an event for its pong; :meth:`forget` it.

        Raises:
            ValueError: a ping with this payload is under way.
        """
        if payload is None:
            payload = next(free for n in range(2**32) if (free := n.to_bytes(4, "big")) not in self._under_way)
        if payload in self._under_way:
            raise ValueError(f"a ping with the payload {payload!r} is under way")
        answered = self._under_way[payload] = trio.Event()
        return payload, answered

    def forget(self, payload: bytes) -> None:
        """Nobody waits for that pong any more."""
        self._under_way.pop(payload, None)

    def answered(self, payload: bytes) -> None:
        """A pong answers all pings up to its own (RFC 6455 section 5.5.3); one to no ping answers none."""
        if payload in self._under_way:
            for sent in list(self._under_way):
                self._under_way.pop(sent).set()
                if sent == payload:
                    break

    def end(self) -> None:
        """No pong will come."""
        for answered in self._under_way.values():
            answered.set()


NO_PINGS: Final = Pings()
"""Of a handler that sends none."""
