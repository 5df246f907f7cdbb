"""The server's end of one HTTP/2 connection: octets in, ready streams out; responses in, octets out (RFC 9113).

    engine.receive(data)
    while isinstance(stream := engine.next_ready(), Stream): ...
    send(engine.take_output())

The engine splits frames, keeps windows, budgets and the table of streams, and answers SETTINGS and PING by appending to
its output; it does no I/O and knows no task. What a frame does is told in :mod:`.heads_in`, :mod:`.content` and
:mod:`.control`; what they do it to is in the engine's base, the :class:`.ledger.Ledger`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from ...errors import ProtocolError
from ...fields import Field
from ...settings import Limits
from ..http1.engine import CLOSED, NEED_DATA, Signal
from . import content, control, frames, heads_in
from .blocks import Wishes, final_head, interim_head, trailer_section
from .failure import ConnectionFailed
from .frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    FRAME_SIZE_ERROR,
    HEADER,
    HEADER_SIZE,
    HEADERS,
    MAX_FRAME,
    MAX_STREAM,
    PREFACE,
    PROTOCOL_ERROR,
    SETTINGS,
    headers,
)
from .ledger import CONTROL_PER_OCTET, Ledger
from .stream import Owner, Stream

TOO_LARGE: Final = (MAX_FRAME + 1) << 8
"""The first four octets of a frame that is longer than we take, as a number, and whatever is above."""

__all__ = ["CLOSED", "NEED_DATA", "PREFACE", "ConnectionFailed", "Http2Engine", "Owner", "Signal", "Stream"]


class Http2Engine(Ledger):
    """One connection. Our SETTINGS are in the output from the start: a server may speak first.

    Args:
        limits: those of HTTP/1 that bound heads and bodies, and HTTP/2's own.
        now: what time it is, in seconds; budgets are refilled by it.
        websocket: whether extended CONNECT is offered (RFC 8441 section 3).
        tell_breach: called as ``(stream id, code, reason)`` when the engine itself resets or refuses a stream.
        window_opened: called when the connection's window was shut, or all streams' were raised: whoever waits for a
            window may try again. As an owner's methods: it only takes a note.

    Attributes:
        output: what is to be written; taken by :meth:`take_output`, or from the front by whoever writes.
        streams: those that are not over on the wire, by number.
        places: streams that were given out and not released: no more than ``limits.max_concurrent_streams``, or than
            twice as many if some are complete on the wire, for the peer cannot know how long their owners take to end.
        done: how many of them are complete.
        opened: requests that were taken on.
        last: the number of the last of them.
        refused: streams answered REFUSED_STREAM.
        faults: streams that we have reset for a peer's fault.
        greeted: the peer's preface and SETTINGS have come.
        ended: the peer has finished sending.
        over: and all of it has been looked at.
        whole: grows when something has come to its end: what is :attr:`partial` then has begun since.
        clear: what came has ended with the stream that was given out last: there is none behind it, and nothing is
            :attr:`partial`.
        peer_leaves: the peer has sent GOAWAY: it will open no stream any more.
        draining: the first GOAWAY is out: begun by :meth:`drain`, or by the engine after ``max_requests_http2``.
        closing: the last GOAWAY is out: no new stream is taken on.
        failed: why the connection ended, if by a breach.
    """

    __slots__ = ("_at", "_data", "_preface", "clear", "ended", "over", "whole")

    def __init__(
        self,
        limits: Limits,
        now: Callable[[], float],
        *,
        websocket: bool = False,
        tell_breach: Callable[[int, int, str], None] | None = None,
        window_opened: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(limits, now, websocket=websocket, tell_breach=tell_breach, window_opened=window_opened)
        self.ended = self.over = self.clear = False
        self.whole = 0
        self._data = b""
        self._at = 0
        self._preface = PREFACE
        """What is still to come of it."""

    # -- octets ------------------------------------------------------------------------------------

    def receive(self, data: bytes) -> None:
        """Takes what came from the peer; ``b""`` is its end. Nothing is looked at yet."""
        self.clear = False
        if not data:
            self.ended = True
        elif self.failed is None:
            self._data = data if self._at == len(self._data) else self._data[self._at :] + data
            self._at = 0

    @property
    def unread(self) -> int:
        """Octets that have come and have not been looked at."""
        return len(self._data) - self._at

    @property
    def partial(self) -> bool:
        """Whether a frame, a header block or the preface has begun and is not whole: what a deadline is for."""
        return self.block is not None or self._at < len(self._data) or 0 < len(self._preface) < len(PREFACE)

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
        if self.failed is not None:
            raise ConnectionFailed(self.failed.code, self.failed.reason)
        try:
            return self._read()
        except ConnectionFailed as failure:
            self._data, self._at = b"", 0
            self.fail(failure.code, failure.reason)
            raise

    def _read(self) -> Stream | Signal:
        if self._preface and not self._read_preface():
            return CLOSED if self.ended else NEED_DATA
        data, at = self._data, self._at
        begun, last = at, len(data) - HEADER_SIZE
        while at <= last:
            what, flags, number = HEADER.unpack_from(data, at)
            if what >= TOO_LARGE:
                raise ConnectionFailed(FRAME_SIZE_ERROR, "frame_too_large")
            at += HEADER_SIZE
            end = at + (what >> 8)
            if end > len(data):
                break
            payload, kind, number = data[at:end], what & 0xFF, number & MAX_STREAM
            self._at = at = end
            if not self.greeted or self.block is not None:
                self._check_turn(kind, flags, number)
            handler = _HANDLERS.get(kind)
            if handler is None:
                self.bear(1)
            elif (ready := handler(self, flags, number, payload)) is not None:
                self.whole += 1
                self.clear = end == len(data)
                return ready
        return self._nothing(begun)

    def _nothing(self, begun: int) -> Signal:
        if self._at != begun and self.block is None:
            self.whole += 1
        self.over = self.ended
        return CLOSED if self.ended else NEED_DATA

    def _read_preface(self) -> bool:
        come = self._data[self._at : self._at + len(self._preface)]
        if not self._preface.startswith(come):
            raise ConnectionFailed(PROTOCOL_ERROR, "bad_preface")
        self._at += len(come)
        self._preface = self._preface[len(come) :]
        return not self._preface

    def _check_turn(self, kind: int, flags: int, number: int) -> None:
        """What may come now and nothing else: SETTINGS behind the preface, the rest of a header block."""
        if not self.greeted and (kind != SETTINGS or flags & ACK):
            raise ConnectionFailed(PROTOCOL_ERROR, "no_settings")
        if self.block is not None and (kind != CONTINUATION or number != self.block.number):
            raise ConnectionFailed(PROTOCOL_ERROR, "header_block_interrupted")

    # -- rest --------------------------------------------------------------------------------------

    def rest(self) -> None:
        """Lets go of what can be had again, while nothing is in hand or :attr:`partial`. It may still end.

        Nobody is told of anything, and nothing may come, before :meth:`resume`.
        """
        self._data, self._at, self.streams = b"", 0, {}
        self.tell_breach = self.window_opened = None
        self.sections.rest()

    def resume(self) -> None:
        """Goes on after a :meth:`rest`; whoever is to be told has to be named again."""
        self.sections.resume()

    # -- bodies ------------------------------------------------------------------------------------

    def limit_body(self, stream: Stream, most: int | None) -> None:
        """Caps the body of a stream, in octets; None lifts the cap.

        Raises:
            ProtocolError: 413, at once, when the declared length, or what has come, is above it.
        """
        stream.most = most
        if most is not None and max(stream.received, stream.expected or 0) > most:
            if stream.error is None:
                stream.error = ProtocolError(413, "content_length_too_large")
                self.drop_body(stream)
            raise ProtocolError(413, "content_length_too_large")

    def gather(self, stream: Stream) -> bool:
        """Asks for the body as a whole; whether it is there already. Else ``next_ready`` gives the stream once more.

        Windows are opened as octets arrive; the cap bounds them.
        """
        if not stream.gathered:
            stream.gathered = True
            self.credit(stream, len(stream.body))
        return stream.ended or stream.error is not None

    def take_body(self, stream: Stream, most: int | None = None) -> bytes:
        """Takes octets of the body that have come, at most ``most``, and opens the windows by as many.

        ``b""`` when there are none: then the body is at its end if ``stream.ended``, else more is to come.

        Raises:
            ProtocolError: 413, the body is above its cap; 431, its trailers are above theirs.
        """
        if stream.error is not None:
            raise ProtocolError(stream.error.status, stream.error.reason)
        body = stream.body
        if most is None or len(body) <= most:
            piece, stream.body = bytes(body), b""
            if stream.crumbs:
                self.crumbs.earn(stream.crumbs)
                stream.crumbs = 0.0
        else:
            rest = stream.body = body if isinstance(body, bytearray) else bytearray(body)
            piece = bytes(memoryview(rest)[:most])
            del rest[:most]
        if piece and not stream.gathered:
            self.credit(stream, len(piece))
        return piece

    # -- responses ---------------------------------------------------------------------------------

    def take_output(self) -> bytes | bytearray:
        """All that is to be written, which the output then no longer has."""
        output, self.output = self.output, bytearray()
        return output

    def send_interim(self, stream: Stream, status: int, fields: Iterable[Field] = ()) -> None:
        """An interim response: 100, 102, 103. Nothing happens on a stream that is lost or answered.

        Raises:
            ValueError, TypeError: as :func:`.blocks.interim_head`; on every stream.
        """
        block = interim_head(status, fields)
        if not (stream.lost or stream.answered):
            self._put_headers(stream, block, 0)

    def send_head(self, stream: Stream, status: int, wishes: Wishes, length: int | None, end: bool = False) -> None:
        """The head of the final response. Nothing happens on a stream that is lost.

        Args:
            wishes: from :func:`.blocks.sift`.
            length: what content-length says; None for no such field.
            end: nothing follows.

        Raises:
            ValueError: the status is not a final one.
            RuntimeError: it has been answered.
        """
        block = final_head(status, wishes, length)
        if stream.answered:
            raise RuntimeError("the response has begun")
        stream.answered = True
        if not stream.lost:
            self._put_headers(stream, block, END_STREAM if end else 0)
            if end:
                self.finish(stream)

    def respond(self, stream: Stream, status: int, wishes: Wishes, length: int | None, body: bytes) -> int:
        """The head of the final response and its content, to its end; how many octets the windows have let through.

        When that is not all, the rest is :meth:`send_data`'s. The cheapest way to answer.

        Raises:
            ValueError, RuntimeError: as :meth:`send_head`.
        """
        size, outgoing = len(body), self.outgoing
        fits = 0 < size <= MAX_FRAME and size <= outgoing.connection and size <= outgoing.base + stream.window_out
        block = final_head(status, wishes, length) if fits and not self.prefix else b""
        if not 0 < len(block) <= MAX_FRAME or stream.lost or stream.answered:
            self.send_head(stream, status, wishes, length, not size)
            return self.send_data(stream, body, end=True) if size else 0
        stream.answered = True
        pack, number = HEADER.pack, stream.id
        head = pack(len(block) << 8 | HEADERS, END_HEADERS, number)
        self.output += b"%b%b%b%b" % (head, block, pack(size << 8 | DATA, END_STREAM, number), body)
        outgoing.connection -= size
        self.finish(stream)
        return size

    def sendable(self, stream: Stream) -> int:
        """Octets of content that both windows let through now; 0 when shut, finished or lost."""
        return 0 if stream.lost or stream.finished else self.outgoing.sendable(stream)

    def send_data(self, stream: Stream, data: bytes | memoryview, end: bool = False, most: int | None = None) -> int:
        """As much of ``data`` as both windows let through, and no more than ``most``; how many octets that was.

        Only with the last of it goes END_STREAM. On a stream that is lost all is taken and forgotten.

        Raises:
            RuntimeError: the response has not begun, or is complete.
        """
        total = len(data)
        if stream.lost:
            return total
        if stream.finished or not stream.answered:
            raise RuntimeError("the response is complete" if stream.finished else "the response has not begun")
        size = min(total, self.outgoing.sendable(stream))
        if most is not None:
            size = min(size, most)
        last = end and size == total
        output, pack = self.output, HEADER.pack
        for at in range(0, size or last, MAX_FRAME):
            octets = min(MAX_FRAME, size - at)
            flags = END_STREAM if last and at + octets == size else 0
            output += pack(octets << 8 | DATA, flags, stream.id)
            output += data[at : at + octets]
        self.outgoing.spend(stream, size)
        self.control.earn(size * CONTROL_PER_OCTET)
        if last:
            self.finish(stream)
        return size

    def send_trailers(self, stream: Stream, fields: Iterable[Field]) -> None:
        """Trailer fields, and the end of the response (RFC 9113 section 8.1); without fields only its end.

        Raises:
            ValueError, TypeError: as :func:`roadrunner_trio.protocol.wishes.trailers`; on every stream.
            RuntimeError: the response has not begun, or is complete.
        """
        block = trailer_section(fields)
        if not block:
            self.send_data(stream, b"", end=True)
        elif not stream.lost:
            if stream.finished or not stream.answered:
                raise RuntimeError("the response is complete" if stream.finished else "the response has not begun")
            self._put_headers(stream, block, END_STREAM)
            self.finish(stream)

    def _put_headers(self, stream: Stream, block: bytes, flags: int) -> None:
        self.output += headers(stream.id, self.prefix + block, flags)
        self.prefix = b""


_HANDLERS: Final[dict[int, Callable[[Ledger, int, int, bytes], Stream | None]]] = {
    frames.DATA: content.on_data,
    frames.HEADERS: heads_in.on_headers,
    frames.PRIORITY: control.on_priority,
    frames.RST_STREAM: heads_in.on_rst_stream,
    frames.SETTINGS: control.on_settings,
    frames.PUSH_PROMISE: control.on_push_promise,
    frames.PING: control.on_ping,
    frames.GOAWAY: control.on_goaway,
    frames.WINDOW_UPDATE: control.on_window_update,
    frames.CONTINUATION: heads_in.on_continuation,
    frames.PRIORITY_UPDATE: control.on_priority_update,
}
