"""Strict readers of request bodies and trailers, for both lanes (RFC 9112 sections 6 and 7).

A reader takes its octets off the front of the engine's buffer and leaves what follows the body there. Data is
handed out as it arrives, never held back until a chunk is whole. A reader that needs more answers NEED_DATA
and is asked again after the buffer has grown; that the peer may have finished is the engine's knowledge.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, Protocol, TypeAlias

from ...errors import ProtocolError
from ...fields import FORBIDDEN_TRAILERS, TOKEN, Fields
from ...settings import Limits
from ..heads import Framing, RequestHead
from .engine import END, NEED_DATA, Signal
from .head import FieldSection, LineReader

MAX_CHUNK_LINE: Final = 4096
"""Octets of one chunk-size line with its extensions, without CRLF; more is a 400."""

MAX_CHUNK_EXTENSIONS: Final = 16 * 1024
"""Octets of all chunk extensions of one body together; more is a 400. Nobody reads them (N16)."""

MOST_AT_ONCE: Final = 1024
"""Small chunks that are given out as one piece: a microsecond each, and whoever reads may have neighbours."""

_HEX: Final = frozenset(b"0123456789abcdefABCDEF")

_TOKEN: Final = TOKEN + rb"+"  # possessive
_QUOTED: Final = rb'"(?:[\t !#-\[\]-~\x80-\xff]++|\\[\t -~\x80-\xff])*"'
_EQUALS: Final = rb"[ \t]*+=[ \t]*+"
_EXTENSION: Final = rb"[ \t]*+;[ \t]*+" + _TOKEN + rb"(?:" + _EQUALS + rb"(?:" + _TOKEN + rb"|" + _QUOTED + rb"))?"

_chunk_line = re.compile(
    rb"(?=[0-9A-Fa-f])0*+([0-9A-Fa-f]{0,16})((?:" + _EXTENSION + rb")*)",
).fullmatch
"""chunk-size and chunk-ext (RFC 9112 section 7.1): at most 16 digits after leading zeros."""

_next_small = re.compile(rb"\r\n([0-9A-Fa-f]{1,4})\r\n").match
"""The end of a chunk and the beginning of a next one of less than 64 KiB without extensions."""


class BodyReader(Protocol):
    """Reads one body off the front of a buffer."""

    @property
    def trailers(self) -> Fields:
        """The trailer fields, once :meth:`next` has answered END."""
        ...

    @property
    def taken(self) -> int:
        """Octets of content handed out so far."""
        ...

    def limit(self, most: int | None) -> None:
        """Caps the body at ``most`` octets, None for no cap, which is how a reader begins.

        Raises:
            ProtocolError: 413 when more has been declared already.
        """
        ...

    def next(self) -> bytes | Signal:
        """The next piece, NEED_DATA or END.

        Raises:
            ProtocolError: bad chunking or trailers, or a chunk that would exceed the cap.
        """
        ...


def body_reader(head: RequestHead, buffer: bytearray, limits: Limits) -> BodyReader:
    """The reader for the body of ``head``, whose octets begin at the front of ``buffer``."""
    if head.framing is Framing.NONE:
        return NO_BODY
    if head.framing is Framing.CHUNKED:
        return ChunkedReader(buffer, limits)
    return LengthReader(buffer, head.content_length)


class LengthReader:
    """A body of a known number of octets; also no body, which is one of none (RFC 9112 section 6.2)."""

    __slots__ = ("_buffer", "_left", "_length")

    trailers: Fields = ()

    def __init__(self, buffer: bytearray, length: int) -> None:
        self._buffer = buffer
        self._length = self._left = length

    @property
    def taken(self) -> int:
        """See :class:`BodyReader`."""
        return self._length - self._left

    def limit(self, most: int | None) -> None:
        """See :class:`BodyReader`."""
        _check_size(self._length, most)

    def next(self) -> bytes | Signal:
        """See :class:`BodyReader`."""
        if not self._left:
            return END
        piece = _take(self._buffer, self._left)
        self._left -= len(piece)
        return piece or NEED_DATA


NO_BODY: Final = LengthReader(bytearray(), 0)
"""The body of nearly every request; it has no state, so one serves all."""


class ChunkedReader:
    """A body in chunks, and the trailer section behind it (RFC 9112 section 7.1)."""

    __slots__ = (
        "_buffer",
        "_declared",
        "_extensions",
        "_left",
        "_lines",
        "_most",
        "_section",
        "_step",
        "trailers",
    )

    def __init__(self, buffer: bytearray, limits: Limits) -> None:
        self.trailers: Fields = ()
        self._buffer = buffer
        self._lines = LineReader(buffer)
        self._section = FieldSection(limits)
        self._most: int | None = None
        self._declared = 0  # by all chunk-size lines so far
        self._extensions = 0
        self._left = 0  # of the current chunk
        self._step: _Step = ChunkedReader._read_size

    @property
    def taken(self) -> int:
        """See :class:`BodyReader`."""
        return self._declared - self._left

    def limit(self, most: int | None) -> None:
        """See :class:`BodyReader`."""
        self._most = most
        _check_size(self._declared, most)

    def next(self) -> bytes | Signal:
        """See :class:`BodyReader`."""
        answer = None
        while answer is None:
            answer = self._step(self)
        return answer

    # Each step answers, or moves on to the next one and answers None.

    def _read_size(self) -> Signal | None:
        # The first octet is judged at once: data where a size is due may well have no line end to wait for.
        if self._buffer and self._buffer[0] not in _HEX:
            raise ProtocolError(400, "bad_chunk_size")
        line = self._lines.next(MAX_CHUNK_LINE, 400, "bad_chunk", "bad_chunk_size")
        if line is None:
            return NEED_DATA
        parts = _chunk_line(line)
        if not parts:
            raise ProtocolError(400, "bad_chunk_size")
        self._extensions += len(parts[2])
        if self._extensions > MAX_CHUNK_EXTENSIONS:
            raise ProtocolError(400, "bad_chunk")
        self._left = int(parts[1] or b"0", 16)
        self._declared += self._left
        _check_size(self._declared, self._most)  # before any data of this chunk is taken (N7)
        self._lines.drop()
        self._step = ChunkedReader._read_data if self._left else ChunkedReader._read_trailers
        return None

    def _read_data(self) -> bytes | Signal:
        piece = _take(self._buffer, self._left)
        self._left -= len(piece)
        if not self._left:
            self._step = ChunkedReader._read_data_end
            if _next_small(self._buffer):
                piece += self._take_small()
        return piece or NEED_DATA

    def _take_small(self) -> bytearray:
        """The data of the small chunks that are whole in the buffer, as one piece.

        A peer may send every octet as a chunk of its own, and an object for each would cost forty times what the cap
        on the body allows. Whatever is not plain, or above the cap, is left to the ordinary steps. So is what follows
        very many of them, so that a piece is never long in the making.
        """
        buffer, end = self._buffer, 0
        joined = bytearray()  # as it grows: a list of octets would take thirty times as much
        for _ in range(MOST_AT_ONCE):
            if not (found := _next_small(buffer, end)):
                break
            size = int(found[1], 16)
            if not size or (self._most is not None and self._declared + size > self._most):
                break
            begin = found.end()
            if begin + size > len(buffer):
                break
            end = begin + size
            self._declared += size
            joined += buffer[begin:end]
        del buffer[:end]
        return joined

    def _read_data_end(self) -> Signal | None:
        found = bytes(self._buffer[:2])
        if found == b"\r\n":
            del self._buffer[:2]
            self._step = ChunkedReader._read_size
            return None
        if not b"\r\n".startswith(found):
            raise ProtocolError(400, "bad_chunk")
        return NEED_DATA

    def _read_trailers(self) -> Signal:
        if not self._section.read(self._lines):
            return NEED_DATA
        if any(name in FORBIDDEN_TRAILERS for name, _ in self._section.fields):
            raise ProtocolError(400, "bad_trailer")
        self._lines.drop()
        self.trailers = tuple(self._section.fields)
        self._step = ChunkedReader._end
        return END

    def _end(self) -> Signal:
        return END


_Step: TypeAlias = Callable[[ChunkedReader], "bytes | Signal | None"]


def _check_size(declared: int, most: int | None) -> None:
    if most is not None and declared > most:
        raise ProtocolError(413, "content_length_too_large")


def _take(buffer: bytearray, most: int) -> bytes:
    if len(buffer) <= most:
        piece = bytes(buffer)
        buffer.clear()
        return piece
    with memoryview(buffer) as view:
        piece = bytes(view[:most])
    del buffer[:most]
    return piece
