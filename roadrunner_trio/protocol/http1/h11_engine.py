"""The reference engine: lines are judged as they arrive, then h11 reads the whole head and has to agree.

h11 is given heads only, a fresh connection for each, because its events hide what the house must see: bare
LF, folded lines, repeated lengths, chunk extensions, the size of a trailer section. Those are judged on the
raw lines by :mod:`.head`, and bodies are read by :mod:`.body`. What h11 refuses is refused here too: a
request that two readers understand differently is what smuggling is made of.
"""

from __future__ import annotations

from importlib import import_module
from typing import Final

from ...errors import ProtocolError
from ...fields import Fields
from ...settings import Limits
from ..heads import RequestHead
from .body import NO_BODY, BodyReader, body_reader
from .engine import CLOSED, NEED_DATA, Signal
from .head import FieldSection, LineReader, RequestLine, judge, request_line

TLS: Final = b"\x16"
"""What every TLS connection begins with: a record of the handshake (RFC 8446 section 5.1). No line of HTTP has it."""


def prepare() -> None:
    """Imports what the first odd head would, before there is a peer to wait, or a shortage of descriptors."""
    import_module("h11")


class H11Engine:
    """An :class:`~.engine.Http1Engine` on h11.

    A body has no cap until :meth:`limit_body` sets one. The time spent is linear in the octets received, even
    when they come one at a time.

    Args:
        limits: those of the request line, the fields and the trailers are looked at.
    """

    __slots__ = ("_body", "_buffer", "_ended", "_limits", "_line", "_lines", "_may_skip", "_section")

    # Of the current message, renewed by next_cycle.
    _body: BodyReader
    _lines: LineReader | None
    _section: FieldSection
    _line: RequestLine | None

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._buffer = bytearray()
        self._ended = False
        self.next_cycle()

    @property
    def buffered(self) -> int:
        """See :class:`~.engine.Http1Engine`."""
        octets = len(self._buffer)
        if octets == 1 and self._may_skip and self._buffer[0] == 13:
            return 0  # half of an empty line: no head has begun, and no clock for one may start
        return octets

    @property
    def ended(self) -> bool:
        """See :class:`~.engine.Http1Engine`."""
        return self._ended

    @property
    def empty(self) -> bool:
        """See :class:`~.engine.Http1Engine`."""
        return not (self._buffer or self._ended)

    def receive(self, data: bytes) -> None:
        """See :class:`~.engine.Http1Engine`."""
        if not data:
            self._ended = True
        self._buffer += data
        if self._may_skip and self._buffer.startswith(b"\r\n"):
            self._skip_empty_line()

    def next_head(self) -> RequestHead | Signal:
        """See :class:`~.engine.Http1Engine`."""
        head = self._read_head()
        if head is None:
            return self._waiting()
        self._may_skip = False
        self._body = body_reader(head, self._buffer, self._limits)
        return head

    def limit_body(self, most: int | None) -> None:
        """See :class:`~.engine.Http1Engine`."""
        self._body.limit(most)

    def next_body(self) -> bytes | Signal:
        """See :class:`~.engine.Http1Engine`."""
        answer = self._body.next()
        return self._waiting() if answer is NEED_DATA else answer

    @property
    def body_taken(self) -> int:
        """See :class:`~.engine.Http1Engine`."""
        return self._body.taken

    def trailers(self) -> Fields:
        """See :class:`~.engine.Http1Engine`."""
        return self._body.trailers

    def next_cycle(self) -> None:
        """See :class:`~.engine.Http1Engine`."""
        self._lines = None
        self._line = None
        self._body = NO_BODY
        self._may_skip = True
        if self._buffer.startswith(b"\r\n"):
            self._skip_empty_line()

    def release(self) -> bytes:
        """See :class:`~.engine.Http1Engine`."""
        early = bytes(self._buffer)
        self._buffer.clear()
        return early

    def _waiting(self) -> Signal:
        return CLOSED if self._ended else NEED_DATA

    def _skip_empty_line(self) -> None:
        # One CRLF before a request line is forgiven (RFC 9112 section 2.2). It goes as soon as it is there,
        # so that a connection on which nothing else has come still counts as idle.
        del self._buffer[:2]
        self._may_skip = False

    def _read_head(self) -> RequestHead | None:
        if self._lines is None:
            self._lines = LineReader(self._buffer)
            self._section = FieldSection(self._limits)
        if self._line is None:
            malformed = "tls_on_a_plain_port" if self._buffer.startswith(TLS) else "bad_request_line"
            line = self._lines.next(self._limits.max_request_line, 414, "request_line_too_long", malformed)
            if line is None:
                return None
            self._line = request_line(line)
        if not self._section.read(self._lines):
            return None
        head = judge(self._line, tuple(self._section.fields), self._lines.drop())
        del self._section  # an idle connection would keep it
        confirm(head)
        return head


def confirm(head: RequestHead) -> None:
    """Has h11 read a head that the house accepts.

    Raises:
        ProtocolError: 400 when h11 refuses it, or reads another method or target.
    """
    import h11  # here, for it is an eighth of all that would be imported with the package

    reader = h11.Connection(h11.SERVER)
    reader.receive_data(head.raw)
    try:
        event = reader.next_event()
    except h11.RemoteProtocolError as error:
        raise ProtocolError(400, "bad_request") from error
    if not isinstance(event, h11.Request) or (event.method, event.target) != (head.method, head.target):
        raise ProtocolError(400, "bad_request")
