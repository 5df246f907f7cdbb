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

from ...fields import TOKEN, Fields
from ...settings import Limits
from ..heads import Framing, RequestHead
from .body import body_reader
from .engine import Signal
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


class _Names(dict[bytes, bytes]):
    """Names of fields by how they are written: one object for what all heads have, and quicker than making it lower."""

    def __missing__(self, name: bytes) -> bytes:
        return name.lower()


_COMMON: Final = b"""
    Accept Accept-Encoding Accept-Language Authorization Cache-Control Connection Content-Length Content-Type Cookie
    Forwarded Host If-Modified-Since If-None-Match Origin Pragma Priority Range Referer Sec-Fetch-Dest Sec-Fetch-Mode
    Sec-Fetch-Site Sec-Fetch-User Sec-WebSocket-Extensions Sec-WebSocket-Key Sec-WebSocket-Protocol
    Sec-WebSocket-Version Upgrade Upgrade-Insecure-Requests User-Agent X-Forwarded-For X-Forwarded-Host
    X-Forwarded-Proto X-Request-ID
"""
_names: Final = _Names()
for _name in _COMMON.split():
    _names[_name] = _names[_name.lower()] = _name.lower()


class Seen:
    """What the connections of a listener share: the plain head that one of them read last.

    Attributes:
        most: octets of a head that is so short that it breaks none of the limits.
        block: the fields of ``head``, as they came.
    """

    __slots__ = ("block", "head", "most")

    def __init__(self, limits: Limits) -> None:
        self.most = min(limits.max_request_line, limits.max_field_line, limits.max_field_section)
        self.block = b""
        self.head: RequestHead | None = None


def reread(raw: bytes) -> RequestHead | None:
    """The head of which these are the octets, if it was read before and is plain; else None."""
    found = _head(raw)
    if not found or found.end() != len(raw):
        return None
    method, target, block = found.groups()
    return judge(RequestLine(method, target, target, None, (1, 1)), _pairs(block), raw)


def _pairs(block: bytes) -> Fields:
    return tuple([(_names[name], value) for name, value in _fields(block)])


class ScanEngine(H11Engine):
    """An :class:`~.engine.Http1Engine` that reads plain heads itself and leaves the others to h11.

    Args:
        limits: as for :class:`~.h11_engine.H11Engine`.
        seen: made of the same limits, what it shares with its neighbours: a peer that connects for every request sends
            what others have sent.
    """

    __slots__ = ("_block", "_same", "_seen")

    def __init__(self, limits: Limits, seen: Seen | None = None) -> None:
        super().__init__(limits)
        self._seen = seen = seen or Seen(limits)
        self._block = seen.block
        self._same = seen.head

    def next_head(self) -> RequestHead | Signal:
        """See :class:`~.engine.Http1Engine`.

        Each head is tried once, when its first octets come: a peer that drips must not be scanned again and again.
        """
        buffer = self._buffer
        if self._lines is not None:
            return super().next_head()
        if not buffer:
            return self._waiting()
        head = self._same
        if head is None or not buffer.startswith(head.raw):  # a peer that asks for the same again and again
            head = self._repeated() or self._matched()
            if head is None:
                return super().next_head()
            self._same = head
        del buffer[: len(head.raw)]
        self._may_skip = False
        if head.framing is not Framing.NONE:
            self._body = body_reader(head, buffer, self._limits)
        return head

    def release(self) -> bytes:
        """See :class:`~.engine.Http1Engine`."""
        self._same, self._block = None, b""  # whoever has the stream may keep it for days
        return super().release()

    def _repeated(self) -> RequestHead | None:
        """A head whose fields are, octet by octet, those of the one before: most requests on a connection repeat them.

        Their verdict stands, for it depends on nothing but those octets and a request line of the same form.
        """
        same = self._same
        if same is None or not (found := _line(self._buffer)) or found[1] == b"CONNECT":
            return None
        end = found.end()
        if not self._buffer.startswith(self._block, end) or end + len(self._block) > self._seen.most:
            return None
        method, target = found.groups()
        raw = found[0] + self._block
        return RequestHead(
            method, target, target, same.version, same.fields, same.host, same.framing, same.content_length,
            same.keep_alive, same.expects_continue, raw,
        )  # fmt: skip

    def _matched(self) -> RequestHead | None:
        found = _head(self._buffer)
        if not found or found.end() > self._seen.most:
            return None
        method, target, block = found.groups()
        fields = _pairs(block)
        if len(fields) > self._limits.max_fields or method == b"CONNECT":
            return None
        head = judge(RequestLine(method, target, target, None, (1, 1)), fields, found[0])
        self._seen.block = self._block = block
        self._seen.head = head
        return head
