"""The fast lane: one compiled grammar for plain heads, in front of h11.

A head is plain when it is whole in the buffer, small, HTTP/1.1 with a target in origin form, and every line is exactly
what the grammar says. That is nearly every head there is. What does not match is not refused: h11 looks at it, so no
verdict is ever made here. The law, which tests hold over all vectors and over generated heads: *what the scanner
accepts, the h11 engine accepts, with the same head.*

The quantifiers on octets are possessive, and where a line may end is never in doubt, so nothing is tried twice and the
time is linear. The group of lines is *not* possessive: Python before 3.11.5 misreads some possessive groups.
"""

from __future__ import annotations

import re
from typing import Final

from ..fields import TOKEN
from ..settings import Limits
from .body import body_reader
from .engine import RequestHead, Signal
from .h11_engine import H11Engine
from .head import RequestLine, judge

_TOKEN: Final = TOKEN + rb"+"
_VALUE: Final = rb"[\t\x20-\x7e\x80-\xff]*+(?<![ \t])"
"""Without trailing blanks, an empty value with blanks before it included: those heads go the other way."""
_FIELD: Final = rb"(" + _TOKEN + rb"):[ \t]*+(" + _VALUE + rb")\r\n"

_LINE: Final = rb"(" + _TOKEN + rb") (/[\x21\x22\x24-\x7e]*+) HTTP/1\.1\r\n"

_line = re.compile(_LINE).match
_head = re.compile(_LINE + rb"((?:" + _TOKEN + rb":" + _VALUE + rb"\r\n)*\r\n)").match
_fields = re.compile(_FIELD).findall


class ScanEngine(H11Engine):
    """An :class:`~.engine.Http1Engine` that reads plain heads itself and leaves the others to h11.

    Args:
        limits: as for :class:`~.h11_engine.H11Engine`.
    """

    __slots__ = ("_block", "_most", "_same", "_untried")

    _untried: bool
    """Each head is tried once, when its first octets come: a peer that drips must not be scanned again and again."""

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        # A head no longer than the smallest of these breaks none of them.
        self._most = min(limits.max_request_line, limits.max_field_line, limits.max_field_section)
        self._block = b""
        self._same: RequestHead | None = None

    def next_head(self) -> RequestHead | Signal:
        """See :class:`~.engine.Http1Engine`."""
        if self._untried and self._buffer:
            self._untried = False
            if head := self._scan():
                return head
        return super().next_head()

    def next_cycle(self) -> None:
        """See :class:`~.engine.Http1Engine`."""
        super().next_cycle()
        self._untried = True

    def _scan(self) -> RequestHead | None:
        head = self._repeated() or self._matched()
        if head is not None:
            del self._buffer[: len(head.raw)]
            self._may_skip = False
            self._body = body_reader(head, self._buffer, self._limits)
        return head

    def _repeated(self) -> RequestHead | None:
        """A head whose fields are, octet by octet, those of the one before: most requests on a connection repeat them.

        Their verdict stands, for it depends on nothing but those octets and a request line of the same form.
        """
        same = self._same
        if same is None or not (found := _line(self._buffer)) or found[1] == b"CONNECT":
            return None
        end = found.end()
        if not self._buffer.startswith(self._block, end) or end + len(self._block) > self._most:
            return None
        method, target = found.groups()
        raw = found[0] + self._block
        return RequestHead(
            method, target, target, same.version, same.fields, same.host, same.framing, same.content_length,
            same.keep_alive, same.expects_continue, raw,
        )  # fmt: skip

    def _matched(self) -> RequestHead | None:
        found = _head(self._buffer)
        if not found or found.end() > self._most:
            return None
        method, target, block = found.groups()
        fields = tuple([(name.lower(), value) for name, value in _fields(block)])
        if len(fields) > self._limits.max_fields or method == b"CONNECT":
            return None
        head = judge(RequestLine(method, target, target, None, (1, 1)), fields, found[0])
        self._block, self._same = block, head
        return head
