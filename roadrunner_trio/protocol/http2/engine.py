"""The server's end of one HTTP/2 connection: octets in, ready streams out; responses in, octets out (RFC 9113).

    engine.receive(data)
    while (stream := engine.next_ready()) is not NEED_DATA: ...
    send(engine.take_output())

The engine splits frames, keeps windows, budgets and the table of streams, and answers SETTINGS and PING by appending to
:attr:`Http2Engine.output`; it does no I/O and knows no task.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from ...fields import Field
from ...settings import Limits
from ..http1.engine import CLOSED, NEED_DATA, Signal
from .blocks import Wishes
from .frames import INTERNAL_ERROR, NO_ERROR
from .stream import Owner, Stream

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client begins with (RFC 9113 section 3.4)."""

__all__ = ["CLOSED", "NEED_DATA", "PREFACE", "ConnectionFailed", "Http2Engine", "Owner", "Signal", "Stream"]


class ConnectionFailed(Exception):
    """The peer broke a rule for which the whole connection ends. GOAWAY is in the output; every stream is lost.

    Args:
        code: of the GOAWAY (RFC 9113 section 7).
        reason: a short lower-case token for logs and events, never sent to the peer.
    """

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


class Http2Engine:
    """One connection. Our SETTINGS are in the output from the start: a server may speak first.

    Args:
        limits: those of HTTP/1 that bound heads and bodies, and HTTP/2's own.
        now: what time it is, in seconds; budgets are refilled by it.
        websocket: whether extended CONNECT is offered (RFC 8441 section 3).
        tell_breach: called as ``(stream id, code, reason)`` when the engine itself resets or refuses a stream.
        window_opened: called when the connection's window was shut, or all streams' were raised: whoever waits for a
            window may try again.

    Attributes:
        output: what is to be written; taken by :meth:`take_output`, or from the front by whoever writes.
        streams: those that are not over on the wire, by number.
        places: streams that were given out and not released; no more than ``limits.max_concurrent_streams``.
        opened: requests that were taken on.
        refused: streams answered REFUSED_STREAM.
        resets: RST_STREAM that we sent for a peer's fault.
        greeted: the peer's preface and SETTINGS have come.
        ended: the peer has finished sending.
        draining: the first GOAWAY is out: begun by :meth:`drain`, or by the engine after ``max_requests_http2``.
        closing: the last GOAWAY is out: no new stream is taken on.
        failed: why the connection ended, if by a breach.
    """

    # -- what comes --------------------------------------------------------------------------------

    def receive(self, data: bytes) -> None:
        """Takes what came from the peer; ``b""`` is its end. Nothing is looked at yet."""

    def next_ready(self) -> Stream | Signal:
        """Reads on to the next stream that is ready; NEED_DATA, or CLOSED when the peer has ended and all was read.

        A stream is given out when its head has been judged. It holds a place, and has to be released once
        (:meth:`release`), whatever becomes of it. If ``stream.error`` is set it is only to be answered with that. A
        stream of which :meth:`gather` was asked is given out a second time, when its body is whole or too large
        (``stream.error``), unless it is lost before.

        Whatever concerns a stream that was given out is told to its owner from in here.

        Raises:
            ConnectionFailed: and again on each further call.
        """

    @property
    def partial(self) -> bool:
        """Whether a frame, a header block or the preface has begun and is not whole: what a deadline is for."""

    def limit_body(self, stream: Stream, most: int | None) -> None:
        """Caps the body of a stream, in octets; None lifts the cap.

        Raises:
            ProtocolError: 413, at once, when the declared length, or what has come, is above it.
        """

    def gather(self, stream: Stream) -> bool:
        """Asks for the body as a whole; whether it is there already. Else ``next_ready`` gives the stream once more.

        Windows are opened as octets arrive; the cap bounds them.
        """

    def take_body(self, stream: Stream, most: int | None = None) -> bytes:
        """Takes octets of the body that have come, at most ``most``, and opens the windows by as many.

        ``b""`` when there are none: then the body is at its end if ``stream.ended``, else more is to come.

        Raises:
            ProtocolError: 413, the body is above its cap.
        """

    def credit(self, stream: Stream, octets: int) -> None:
        """Opens the windows by what was consumed of ``stream`` (:meth:`take_body` has done it)."""

    # -- what goes ---------------------------------------------------------------------------------

    def take_output(self) -> bytes | bytearray:
        """All that is to be written, which the output then no longer has."""

    def send_interim(self, stream: Stream, status: int, fields: Iterable[Field] = ()) -> None:
        """An interim response (100, 102, 103). Nothing happens on a stream that is lost or answered.

        Raises:
            ValueError, TypeError: as :func:`roadrunner_trio.protocol.wishes.undelimited`; or the status is not 1xx, or
                101, which HTTP/2 does not have (RFC 9113 section 8.6).
        """

    def send_head(self, stream: Stream, status: int, wishes: Wishes, length: int | None, end: bool = False) -> None:
        """The head of the final response. Nothing happens on a stream that is lost.

        Args:
            wishes: from :func:`.blocks.sift`.
            length: what content-length says, None for no such field.
            end: nothing follows.

        Raises:
            ValueError: the status is not a final one.
            RuntimeError: it has been answered.
        """

    def respond(self, stream: Stream, status: int, wishes: Wishes, length: int | None, body: bytes) -> int:
        """The head of the final response and its content, to its end; how many octets the windows have let through.

        When that is not all, the rest is :meth:`send_data`'s. The cheapest way to answer.

        Raises:
            ValueError, RuntimeError: as :meth:`send_head`.
        """

    def sendable(self, stream: Stream) -> int:
        """Octets of content that both windows let through now; 0 when shut, finished or lost."""

    def send_data(self, stream: Stream, data: bytes | memoryview, end: bool = False, most: int | None = None) -> int:
        """As much of ``data`` as both windows let through, and no more than ``most``; how many octets that was.

        Only with the last of it goes END_STREAM. On a stream that is lost all is taken and forgotten.
        """

    def send_trailers(self, stream: Stream, fields: Iterable[Field]) -> None:
        """Trailer fields, and the end of the response (RFC 9113 section 8.1).

        Raises:
            ValueError, TypeError: as :func:`roadrunner_trio.protocol.wishes.trailers`.
        """

    def reset(self, stream: Stream, code: int) -> None:
        """Ends the stream on the wire, from our side and by our will; its owner is not told. Once is enough."""

    def release(self, stream: Stream, code: int = INTERNAL_ERROR) -> None:
        """Whoever had the stream has ended, and its place is free.

        What is still open is reset: with NO_ERROR if the response was complete, so that the peer keeps it (RFC 9113
        section 8.1), else with ``code``. Octets that nobody took are credited to the connection.
        """

    # -- the end -----------------------------------------------------------------------------------

    def drain(self) -> None:
        """The first of two GOAWAYs: new streams are still taken on, but the peer is to open no more (section 6.8).

        A PING goes with it, and when it is answered the second follows by itself. The caller sends it after a second in
        any case (:meth:`goaway`). Once is enough.
        """

    def goaway(self, code: int = NO_ERROR) -> None:
        """The last GOAWAY, with the number of the last stream that was taken on. Later ones are ignored; once."""
