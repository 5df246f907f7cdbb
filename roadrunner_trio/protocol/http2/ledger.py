"""What is known of a connection, and what both halves of the engine do with it: what comes, and what goes.

A breach by the peer ends one stream where that is enough, and else the connection; each has a reason. There are budgets
for what gets nobody anything, so that it cannot be had in any amount (RFC 9113 section 10.5).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ...settings import Limits
from .budget import Budget
from .failure import ConnectionFailed
from .frames import (
    DEFAULT_WINDOW,
    ENABLE_CONNECT_PROTOCOL,
    ENHANCE_YOUR_CALM,
    INITIAL_WINDOW_SIZE,
    INTERNAL_ERROR,
    MAX_CONCURRENT_STREAMS,
    MAX_HEADER_LIST_SIZE,
    MAX_STREAM,
    NO_ERROR,
    NO_RFC7540_PRIORITIES,
    PING,
    frame,
    goaway,
    rst_stream,
    settings,
    window_update,
)
from .numbers import Numbers, Past
from .sections import Block, Sections
from .stream import Stream
from .windows import Incoming, Outgoing

DRAIN_PING: Final = b"drained?"
"""Comes back when the peer has read the first GOAWAY."""
RESETS_PER_SECOND: Final = 10
CONTROL_PER_SECOND: Final = 100
CONTROL_PER_REQUEST: Final = 2
CONTROL_PER_OCTET: Final = 1 / 4096
"""Of content, either way: windows have to be opened for it."""
CRUMBS: Final = 10_000
CRUMBS_PER_SECOND: Final = 1000
"""The smallest frames that may wait for the application, and that come back in a second beside those it has read."""
FAULT: Final = 2
"""What a reset that the peer has provoked costs: twice one of its own (CVE-2025-8671)."""


class Ledger:
    """The state of a connection; for users of the engine, what :class:`.engine.Http2Engine` says of it."""

    __slots__ = (
        "block",
        "closing",
        "control",
        "crumbs",
        "done",
        "draining",
        "failed",
        "faults",
        "foretold",
        "greeted",
        "incoming",
        "last",
        "limits",
        "numbers",
        "opened",
        "outgoing",
        "output",
        "peer_leaves",
        "places",
        "prefix",
        "refused",
        "resets",
        "sections",
        "streams",
        "tell_breach",
        "window_opened",
    )

    def __init__(
        self,
        limits: Limits,
        now: Callable[[], float],
        *,
        websocket: bool = False,
        tell_breach: Callable[[int, int, str], None] | None = None,
        window_opened: Callable[[], None] | None = None,
    ) -> None:
        self.output = bytearray()
        self.streams: dict[int, Stream] = {}
        self.places = self.done = self.opened = self.last = self.refused = self.faults = 0
        self.greeted = self.draining = self.closing = self.peer_leaves = False
        self.failed: ConnectionFailed | None = None
        self.limits = limits
        self.tell_breach: Callable[[int, int, str], None] | None = tell_breach
        self.window_opened: Callable[[], None] | None = window_opened
        self.numbers = Numbers()
        self.sections = Sections(limits, extended=websocket)
        self.block: Block | None = None
        """The header block that has begun."""
        self.outgoing = Outgoing()
        self.incoming = Incoming(limits.stream_window, limits.connection_window)
        self.resets = Budget(limits.max_resets, RESETS_PER_SECOND, now)
        self.control = Budget(limits.max_control_frames, CONTROL_PER_SECOND, now)
        self.crumbs = Budget(CRUMBS, CRUMBS_PER_SECOND, now)
        self.foretold: tuple[int, tuple[int, bool]] | None = None
        """A stream that has not begun, and its priority."""
        self.prefix = b""
        """What the next header block begins with: the size of a table that we do not have."""
        self._greet(websocket)

    def _greet(self, websocket: bool) -> None:
        limits = self.limits
        pairs = [
            (MAX_CONCURRENT_STREAMS, limits.max_concurrent_streams),
            (INITIAL_WINDOW_SIZE, limits.stream_window),
            (MAX_HEADER_LIST_SIZE, limits.max_field_section + 32 * limits.max_fields),
            (NO_RFC7540_PRIORITIES, 1),
        ]
        if websocket:
            pairs.append((ENABLE_CONNECT_PROTOCOL, 1))
        self.output += settings(pairs)
        if limits.connection_window > DEFAULT_WINDOW:
            self.output += window_update(0, limits.connection_window - DEFAULT_WINDOW)

    # -- what is borne -----------------------------------------------------------------------------

    def bear(self, cost: float) -> None:
        """A frame that asks for nothing (RFC 9113 section 10.5)."""
        if not self.control.spend(cost):
            raise ConnectionFailed(ENHANCE_YOUR_CALM, "too_many_control_frames")

    def take_back(self, cost: float) -> None:
        if not self.resets.spend(cost):
            raise ConnectionFailed(ENHANCE_YOUR_CALM, "too_many_resets")

    def breach(self, number: int, code: int, reason: str) -> None:
        """The peer has broken a rule for which one stream ends.

        Raises:
            ConnectionFailed: it has done so too often.
        """
        self.faults += 1
        self.end(number, code, reason)
        self.take_back(FAULT)

    def end(self, number: int, code: int, reason: str) -> None:
        self.output += rst_stream(number, code)
        stream = self.streams.get(number)
        if stream is not None:
            self.forget(stream, Past.RESET_BY_US)
            self.tell_lost(stream, code, reason)
        else:
            self.numbers.reset(number, Past.RESET_BY_US)
        if self.tell_breach is not None:
            self.tell_breach(number, code, reason)

    # -- the end of a stream -----------------------------------------------------------------------

    def reset(self, stream: Stream, code: int) -> None:
        """Ends the stream on the wire, from our side and by our will; its owner is not told. Once is enough."""
        if self.streams.get(stream.id) is stream:
            self.output += rst_stream(stream.id, code)
            self.forget(stream, Past.RESET_BY_US)

    def release(self, stream: Stream, code: int = INTERNAL_ERROR) -> None:
        """Whoever had the stream has ended, and its place is free. Once is enough.

        What is still open is reset: with NO_ERROR if the response was complete, so that the peer keeps it (RFC 9113
        section 8.1), else with ``code``. Octets that nobody took are credited to the connection.
        """
        if stream.released:
            return
        stream.released = True
        if stream.owner is not None:
            stream.owner = None
        self.places -= 1
        if stream.complete:
            self.done -= 1
        elif self.streams.get(stream.id) is stream:
            self.reset(stream, NO_ERROR if stream.finished else code)
        if stream.body:
            self.drop_body(stream)

    def forget(self, stream: Stream, past: Past) -> None:
        """The stream has been reset."""
        del self.streams[stream.id]
        self.numbers.reset(stream.id, past)
        stream.lost = True
        if stream.body:
            self.drop_body(stream)

    def drop_body(self, stream: Stream) -> None:
        if not stream.gathered:
            self.credit_connection(len(stream.body))
        stream.body = b""

    def finish(self, stream: Stream) -> None:
        """END_STREAM is out."""
        stream.finished = True
        if stream.error is None and self.resets.left < self.resets.most:
            self.resets.earn(1)
        if stream.ended:
            self.complete(stream)

    def complete(self, stream: Stream) -> None:
        """Both sides have sent everything: the peer may open another one, though the owner of this has yet to end."""
        del self.streams[stream.id]
        stream.complete = True
        self.done += 1

    def tell_lost(self, stream: Stream, code: int, reason: str) -> None:
        stream.lost = True
        if stream.owner is not None:
            stream.owner.stream_lost(code, reason)

    def tell_arrived(self, stream: Stream) -> Stream | None:
        if stream.gathered and not stream.released:
            return stream
        if stream.owner is not None:
            stream.owner.body_arrived()
        return None

    def past(self, number: int) -> Past:
        """What a stream is that is not open; one that came too late for us is as one that we have reset."""
        late = self.closing and number > self.last and number & 1
        return Past.RESET_BY_US if late else self.numbers.past(number)

    # -- credit ------------------------------------------------------------------------------------

    def credit(self, stream: Stream, octets: int) -> None:
        """Opens the windows by what was consumed of ``stream``."""
        self.credit_connection(octets)
        if not (stream.ended or stream.lost) and (due := self.incoming.credit_stream(stream, octets)):
            self.output += window_update(stream.id, due)

    def credit_connection(self, octets: int) -> None:
        if due := self.incoming.credit(octets):
            self.output += window_update(0, due)

    # -- the end of the connection -----------------------------------------------------------------

    def drain(self, *, ask: bool = True) -> None:
        """The first of two GOAWAYs: new streams are still taken on, but the peer is to open no more (section 6.8).

        The caller sends the second after a second (:meth:`goaway`). Once is enough.

        Args:
            ask: a PING goes with it, and when it is answered the second follows by itself.
        """
        if not self.draining:
            self.draining = True
            self.output += goaway(MAX_STREAM, NO_ERROR)
            if ask:
                self.output += frame(PING, 0, 0, DRAIN_PING)

    def goaway(self, code: int = NO_ERROR) -> None:
        """The last GOAWAY, with the number of the last stream that was taken on. Later ones are ignored; once."""
        if not self.closing:
            self.draining = self.closing = True
            self.output += goaway(self.last, code)

    def fail(self, code: int, reason: str) -> None:
        """The peer has broken a rule for which the connection ends."""
        self.failed = ConnectionFailed(code, reason)  # not the one that was raised: that holds on to frames
        self.draining = self.closing = True
        self.output += goaway(self.last, code)
        streams, self.streams = self.streams, {}
        self.block = None
        for stream in streams.values():
            self.tell_lost(stream, code, reason)
