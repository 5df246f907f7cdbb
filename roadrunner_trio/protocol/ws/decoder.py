"""What a peer's octets say: messages, control frames, and the violation that ends them.

Two lanes, as for HTTP's heads. A plain frame (whole in the buffer, masked, FIN, text or binary, no RSV bit, no message
under way) is cut by a few lines of our own, in a microsecond; wsproto's frame layer, the strict reference, reads
everything else and takes seventeen. What the fast lane accepts, the reference accepts with the same message.

wsproto judges frames; what frames come to is decided here, because a message has to be bounded while it grows: its
octets, its fragments, what it inflates to, and what it takes in memory. And because a few octets can cost much time:
whoever asks for an event says when that was enough.
"""

from __future__ import annotations

import codecs
import zlib
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple, TypeAlias, cast

from wsproto.extensions import Extension
from wsproto.frame_protocol import CloseReason, Frame, FrameDecoder, FrameProtocol, Opcode, ParseFailed, RsvBits

from .assembly import Assembly, cost
from .deflate import Inflater
from .frames import (
    BINARY,
    CONTINUATION,
    INVALID_PAYLOAD,
    LATER,
    NEED_DATA,
    PROTOCOL_ERROR,
    SHORT,
    TEXT,
    TOO_BIG,
    Close,
    Piece,
    Ping,
    Pong,
    Signal,
    Violation,
    read_close,
)
from .masking import unmask

Event: TypeAlias = str | bytes | Ping | Pong | Close | Piece | Violation

PLAIN_TEXT: Final = 0x80 | TEXT
PLAIN_BINARY: Final = 0x80 | BINARY
WIDE: Final = 1024 * 1024
"""Octets of memory that any text may take. A larger one is held to the cap of a message by them too."""

_new_utf8: Any = codecs.getincrementaldecoder("utf-8")


class Caps(NamedTuple):
    """What a peer may send: octets of a message and of one frame, fragments of a message.

    The octets of a message are also those that a text takes in memory, from :data:`WIDE` on.
    """

    message: int
    frame: int
    fragments: int

    @property
    def memory(self) -> int:
        """Octets that a message may take in memory."""
        return max(self.message, WIDE)

    @property
    def plain(self) -> int:
        """Octets of a frame that breaks none of these, whatever is in it."""
        return min(self.message, self.frame, WIDE // 4)


class Law(Extension):
    """What wsproto asks at every frame header, before it looks at the payload: may it be so, and so large?"""

    name = "roadrunner"

    def __init__(self, most: int, *, compressed: bool) -> None:
        self._most = most
        self._verdict = RsvBits(compressed, False, False)
        self.compressed = False
        """Whether the last message to begin is compressed."""

    def offer(self) -> bool:
        """Nothing: it is not an extension that peers know of."""
        return False

    def frame_inbound_header(
        self, proto: FrameDecoder | FrameProtocol, opcode: Opcode, rsv: RsvBits, payload_length: int
    ) -> CloseReason | RsvBits:
        """The reserved bits that are allowed (RFC 7692 section 6): it may be asked twice about one header."""
        if payload_length > self._most:
            return CloseReason.MESSAGE_TOO_BIG
        if opcode is Opcode.TEXT or opcode is Opcode.BINARY:
            self.compressed = rsv.rsv1
            return self._verdict
        return NO_BITS


NO_BITS: Final = RsvBits(False, False, False)


def never() -> bool:
    """It is never enough."""
    return False


class Decoder:
    """Turns octets into events. After a close or a violation it has nothing more to say.

    Args:
        caps: limits.
        inflater: when messages may be compressed.
        fast: use the fast lane.
    """

    __slots__ = (
        "_at",
        "_buffer",
        "_caps",
        "_deaf",
        "_fast",
        "_fragments",
        "_given",
        "_in_frame",
        "_inflater",
        "_lane",
        "_law",
        "_message",
        "_octets",
        "_opcode",
        "_plain",
        "_steps",
        "_strict",
        "_utf8",
        "in_pieces",
        "over",
    )

    def __init__(self, caps: Caps, inflater: Inflater | None = None, *, fast: bool = True) -> None:
        self.over = False
        self.in_pieces = False
        self._caps = caps
        self._plain = caps.plain
        self._inflater = inflater
        self._fast = self._lane = fast
        self._buffer = b""
        self._at = 0
        self._strict: FrameDecoder | None = None
        self._law: Law | None = None
        self._opcode = CONTINUATION
        self._in_frame = False
        self._fragments = 0
        self._octets = 0
        self._message: Assembly | str | bytes | None = None
        self._given = False
        self._deaf = False
        self._utf8: Any = None
        self._steps: Iterator[bytes | None] | None = None

    def receive(self, data: bytes) -> None:
        """Adds octets. Take all events before the next, or what is kept grows."""
        self._buffer = data if self._at == len(self._buffer) else self._buffer[self._at :] + data
        self._at = 0

    @property
    def at_rest(self) -> bool:
        """Whether a new one would do as well."""
        idle = self._fast and self._lane and self._at == len(self._buffer) and not (self.over or self._deaf)
        return idle and self._inflater is None and self._message is None and not self.in_pieces

    @property
    def idle(self) -> bool:
        """Whether there is surely no event to take."""
        return self._lane and self._at == len(self._buffer)

    @property
    def held(self) -> int:
        """Octets that the message under way takes in memory."""
        message = self._message
        return 0 if message is None else message.held if isinstance(message, Assembly) else cost(message)

    def next_event(self, enough: Callable[[], bool] = never) -> Event | Signal:
        """The next event; NEED_DATA when there is none, LATER when there may be.

        Args:
            enough: whether others should come first. Asked whenever a part of a frame has come to no event.
        """
        if self._lane:
            left = len(self._buffer) - self._at
            if not left:
                return NEED_DATA
            if (message := self._cut(self._buffer, self._at, left)) is not None:
                return message
        return NEED_DATA if self.over else self._next_strict(enough)

    # -- the fast lane ---------------------------------------------------------------------------

    def _cut(self, buffer: bytes, at: int, left: int) -> str | bytes | None:
        """The message in a plain frame that begins at ``at``; None leaves it to the reference."""
        if (found := plain(buffer, at, left, self._plain)) is None:
            return None
        message, self._at = found
        return message

    # -- the reference ---------------------------------------------------------------------------

    def _next_strict(self, enough: Callable[[], bool]) -> Event | Signal:
        strict = self._strict
        if strict is None:
            self._law = Law(self._caps.frame, compressed=self._inflater is not None)
            strict = self._strict = FrameDecoder(client=False, extensions=[self._law])
        if self._at < len(self._buffer):
            strict.receive_bytes(self._buffer[self._at :])
            self._lane = False
            self._buffer, self._at = b"", 0
        try:
            event = self._read(strict, enough)
        except ParseFailed as exc:
            large = exc.code is CloseReason.MESSAGE_TOO_BIG
            event = Violation(int(exc.code), "a frame that is too large" if large else str(exc))
        except zlib.error:
            event = Violation(PROTOCOL_ERROR, "a message that cannot be inflated")
        except UnicodeDecodeError:
            event = Violation(INVALID_PAYLOAD, "a text that is not UTF-8")
        if type(event) is Violation:
            self.stop()
        return event

    def _read(self, strict: FrameDecoder, enough: Callable[[], bool]) -> Event | Signal:
        if self._steps is not None and (event := self._grow(self._steps, enough)) is not None:
            return event
        while (frame := strict.process_buffer()) is not None:
            event = self._control(frame) if frame.opcode.iscontrol() else self._data(frame, enough)
            if strict.header is None and self._opcode == CONTINUATION and not self.over:
                self._take_back(strict)
            if event is not None:
                return event
        return NEED_DATA

    def _take_back(self, strict: FrameDecoder) -> None:
        """Between two messages the fast lane takes over, if what comes is for it."""
        rest = strict.buffer.buffer
        if self._fast and (not rest or rest[0] == PLAIN_TEXT or rest[0] == PLAIN_BINARY):
            self._buffer, self._at, self._lane = bytes(rest), 0, True
            rest.clear()

    def _control(self, frame: Frame) -> Event:
        payload = cast("bytes", frame.payload)
        if frame.opcode is Opcode.PING:
            return Ping(payload)
        if frame.opcode is Opcode.PONG:
            return Pong(payload)
        self.over = True
        return read_close(payload)

    def _data(self, frame: Frame, enough: Callable[[], bool]) -> Event | Signal | None:
        if not self._in_frame and (violation := self._begin(frame.opcode)) is not None:
            return violation
        self._in_frame = not frame.frame_finished
        last = frame.frame_finished and frame.message_finished
        return self._grow(self._contents(cast("bytes", frame.payload), last=last), enough)

    def _begin(self, opcode: int) -> Violation | None:
        """A data frame begins (RFC 6455 section 5.4)."""
        if opcode == CONTINUATION:
            if self._opcode == CONTINUATION:
                return Violation(PROTOCOL_ERROR, "a continuation of nothing")
            self._fragments += 1
            if self._fragments > self._caps.fragments and not self.in_pieces:
                return Violation(TOO_BIG, "a message of too many fragments")
            return None
        if self._opcode != CONTINUATION:
            return Violation(PROTOCOL_ERROR, "a message inside another")
        self._opcode = opcode
        self._fragments = 1
        self._octets = 0
        self._utf8 = _new_utf8() if opcode == TEXT and not self._deaf else None
        return None

    def _contents(self, payload: bytes, *, last: bool) -> Iterator[bytes | None]:
        """What a part of a message holds, step by step, and None behind the last."""
        if self._deaf or self._inflater is None or self._law is None or not self._law.compressed:
            yield payload
        else:
            yield from self._inflater.inflate(payload, last=last)
        if last:
            yield None

    def _grow(self, steps: Iterator[bytes | None], enough: Callable[[], bool]) -> Event | Signal | None:
        """Adds to the message under way; the message, once it is whole, or a piece, if that is what is wanted."""
        for step in steps:
            last, octets = step is None, step or b""
            self._octets += len(octets)
            content = octets if self._utf8 is None else self._utf8.decode(octets, last)
            event = self._piece(content, last=last) if self.in_pieces else self._keep(content, last=last)
            if event is not None or enough():
                self._steps = None if last else steps
                return LATER if event is None else event
        self._steps = None
        return None

    def _piece(self, content: str | bytes, *, last: bool) -> Piece | None:
        if last:
            self._end_message()
        elif not content:
            return None
        else:
            self._given = True
        return Piece(content, last)

    def _keep(self, content: str | bytes, *, last: bool) -> str | bytes | Violation | None:
        message = self._message
        if last:
            self._end_message()
            return content if message is None else _whole(message)
        if self._deaf or not content:
            return None
        if message is None:
            self._message = content  # few messages have more than one part
        else:
            if not isinstance(message, Assembly):
                first, message = message, Assembly(type(content))
                self._message = message
                message.add(first)
            message.add(content)
        if self._octets > self._caps.message:
            return Violation(TOO_BIG, "a message that is too large")
        if self._octets > WIDE // 4 and self.held > self._caps.memory:
            return Violation(TOO_BIG, "a text that takes too much memory")
        return None

    def _end_message(self) -> None:
        self._opcode, self._utf8, self._message = CONTINUATION, None, None
        self.in_pieces = self._given = False

    # -- what is wanted --------------------------------------------------------------------------

    def give_pieces(self) -> Piece | None:
        """From now on the message under way, or the next, comes in pieces; what there is of it is the first."""
        self.in_pieces = True
        if self._message is None:
            return None
        begun, self._message = self._message, None
        self._given = True
        return Piece(_whole(begun), last=False)

    def give_whole(self) -> None:
        """It comes whole after all, and within all limits, if no piece of it has been given."""
        if not self._given:
            self.in_pieces = False

    def read_over(self) -> None:
        """Messages are wanted no more. What there is of one is dropped, and the others come empty."""
        self._deaf = True
        self._message = self._utf8 = None

    def stop(self) -> None:
        """There are no more events, and nothing is kept."""
        self.over = True
        self._lane = False
        self._message = self._steps = self._utf8 = self._strict = self._inflater = None
        self._buffer, self._at = b"", 0


def plain(buffer: bytes, at: int, left: int, most: int, *, alone: bool = False) -> tuple[str | bytes, int] | None:
    """The message in a plain frame that begins at ``at``, and where that ends; None leaves it to a decoder.

    Args:
        left: octets there are from ``at`` on.
        most: octets that the payload of such a frame may have.
        alone: only if there is nothing behind it.
    """
    first = buffer[at]
    if left < 6 or (first != PLAIN_TEXT and first != PLAIN_BINARY):
        return None
    size = buffer[at + 1] - 128  # below 0 it is not masked
    start = at + 6
    if size > SHORT:
        start, size = _extended(buffer, at, left, size)
    end = start + size
    if size < 0 or end > at + left or size > most or (alone and end != at + left):
        return None
    payload = unmask(buffer[start:end], buffer[start - 4 : start])
    if first == PLAIN_BINARY:
        return payload, end
    try:
        return str(payload, "utf-8"), end
    except UnicodeDecodeError:
        return None


def _whole(message: Assembly | str | bytes) -> str | bytes:
    return cast("str | bytes", message.whole()) if isinstance(message, Assembly) else message


def _extended(buffer: bytes, at: int, left: int, size: int) -> tuple[int, int]:
    """Where the payload of a longer frame begins, and its size; below 0 when the reference has to see it."""
    octets, least = (2, 126) if size == 126 else (8, 65536)
    start = at + 6 + octets
    if left < 6 + octets:
        return start, -1
    size = int.from_bytes(buffer[at + 2 : at + 2 + octets], "big")
    return start, size if size >= least else -1
