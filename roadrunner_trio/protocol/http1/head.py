"""The house's verdict on a request head: lines, target, Host, framing, keep-alive and Expect.

Both lanes come through here. An engine cuts lines with :class:`LineReader` and :class:`FieldSection`, which
refuse a bad line as soon as it is known to be bad, and gives the whole to :func:`judge`. Nothing in here
knows how a head was split, and nothing reads or writes.

Every check is one anchored pattern in which no octet can be read two ways, and every octet is searched once,
so the time a head takes is linear in its length, however it was cut on its way.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import IPv6Address
from typing import Final, NamedTuple

from ...errors import ProtocolError
from ...fields import TOKEN, Field, Fields, tokens
from ...settings import Limits
from ..heads import Framing, RequestHead

_CR: Final = 0x0D

_stop = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]").search
"""The next octet that no line may hold: CR and LF end it, others spoil it. HTAB is left to the grammar."""

_TOKEN: Final = TOKEN + rb"+"  # possessive

_request_line = re.compile(rb"(" + _TOKEN + rb") ([\x21-\x7e]++) ([^ ]++)").fullmatch
_version = re.compile(rb"HTTP/([0-9])\.([0-9])").fullmatch
_field_line = re.compile(rb"(" + _TOKEN + rb"):[ \t]*+([^\x00-\x08\x0a-\x1f\x7f]*+)").fullmatch

_PATH: Final = rb"[\x21\x22\x24-\x7e]*+"
"""What may follow in a target: visible ASCII without ``#``. Wider than RFC 3986, as browsers send ``|``."""

is_origin_form = re.compile(rb"/" + _PATH).fullmatch
"""Truth when octets are a path and perhaps a query (RFC 9112 section 3.2.1)."""
_absolute = re.compile(rb"(?i:https?)://([^/?#]++)(" + _PATH + rb")").fullmatch

_NAME: Final = rb"0-9A-Za-z\-._~!$&'()*+,;="
_authority = re.compile(
    rb"(?:\[(?:([0-9A-Fa-f:.]{2,45})|[vV][0-9A-Fa-f]++\.[:" + _NAME + rb"]++)\]"
    rb"|(?:[" + _NAME + rb"]++|%[0-9A-Fa-f]{2})+)(?::([0-9]*+))?"
).fullmatch
"""host [ ":" port ] with a host in it (RFC 3986 section 3.2); group 1 is an IPv6 address, 2 the port."""

_length = re.compile(rb"0?[0-9]{1,19}").fullmatch

_JUDGED: Final = frozenset({b"host", b"content-length", b"transfer-encoding", b"connection", b"expect"})


class RequestLine(NamedTuple):
    """A request line that has passed (RFC 9112 section 3)."""

    method: bytes
    target: bytes
    path: bytes
    """Path and query; ``b"*"``, or the authority for CONNECT."""
    authority: bytes | None
    """The authority of an absolute-form target."""
    version: tuple[int, int]


class LineReader:
    """Finds the lines at the front of a buffer that grows.

    Args:
        buffer: what has arrived; shared with whoever fills it, and cut only by :meth:`drop`.
    """

    __slots__ = ("_buffer", "_seen", "start")

    def __init__(self, buffer: bytearray) -> None:
        self._buffer = buffer
        self._seen = 0
        self.start = 0
        """Index of the first octet after the lines that were read."""

    def next(self, most: int, status: int, too_long: str, malformed: str) -> bytes | None:
        """The next line without its CRLF, or None until it is whole.

        The length is looked at first, then the octet that ends the line: so the verdict is the same for every
        cut.

        Args:
            most: octets allowed before the CRLF.
            status: of a line with more; ``too_long`` is the reason.
            malformed: the reason of a line with a control octet, bare CR or bare LF in it (400).

        Raises:
            ProtocolError: as above, without waiting for the end of the line.
        """
        buffer = self._buffer
        found = _stop(buffer, self._seen)
        end = found.start() if found else len(buffer)
        if end - self.start > most:
            raise ProtocolError(status, too_long)
        self._seen = end
        if buffer.startswith(b"\r\n", end):
            line = bytes(buffer[self.start : end])
            self.start = self._seen = end + 2
            return line
        if found and (buffer[end] != _CR or end + 1 < len(buffer)):
            raise ProtocolError(400, malformed)
        return None

    def drop(self) -> bytes:
        """Takes the lines that were read out of the buffer, with their ends."""
        lines = bytes(self._buffer[: self.start])
        del self._buffer[: self.start]
        self.start = self._seen = 0
        return lines


class FieldSection:
    """The field lines of a head or trailer section, as they arrive (RFC 9112 section 5).

    Args:
        limits: ``max_field_line``, ``max_field_section`` and ``max_fields`` are looked at.
    """

    __slots__ = ("_limits", "_size", "fields")

    def __init__(self, limits: Limits) -> None:
        self.fields: list[Field] = []
        self._limits = limits
        self._size = 0

    def read(self, lines: LineReader) -> bool:
        """Reads what has come; whether the empty line that ends the section has been read.

        Raises:
            ProtocolError: 400 for a malformed line, 431 above a limit.
        """
        while True:
            most, reason = self._bound()
            line = lines.next(most, 431, reason, "bad_header")
            if not line:
                return line is not None
            self.fields.append(field_line(line))
            self._size += len(line) + 2

    def _bound(self) -> tuple[int, str]:
        # Whichever limit is met first is the reason, else the reason would depend on how the line was cut. An
        # empty line is always allowed: it is no field.
        limits = self._limits
        if len(self.fields) == limits.max_fields:
            return 0, "too_many_headers"
        room = limits.max_field_section - self._size - 2
        if room < limits.max_field_line:
            return max(room, 0), "header_block_too_long"
        return limits.max_field_line, "header_too_long"


def request_line(line: bytes) -> RequestLine:
    """Judges a request line without its CRLF (RFC 9112 section 3).

    Raises:
        ProtocolError: 505 for a well-formed version with another major number, else 400.
    """
    parts = _request_line(line)
    if not parts:
        raise ProtocolError(400, "bad_request_line")
    method, target, version = parts.groups()
    spoken = http_version(version)
    return RequestLine(method, target, *target_form(method, target), spoken)


def http_version(version: bytes) -> tuple[int, int]:
    """The version to speak: (1, 0) or (1, 1), a higher minor number being read as 1.1 (RFC 9110 section 2.5).

    Raises:
        ProtocolError: 400 when malformed, 505 for a major number other than 1.
    """
    numbers = _version(version)
    if not numbers:
        raise ProtocolError(400, "bad_version")
    major, minor = numbers.groups()
    if major != b"1":
        raise ProtocolError(505, "bad_version")
    return (1, 0) if minor == b"0" else (1, 1)


def target_form(method: bytes, target: bytes) -> tuple[bytes, bytes | None]:
    """The path and the authority that a target names (RFC 9112 section 3.2, N14).

    CONNECT takes the authority form and nothing else, ``*`` goes with OPTIONS alone. In absolute form only
    http and https are ours, and userinfo is refused (RFC 9110 section 4.2.4).

    Raises:
        ProtocolError: 400 for every other form.
    """
    if method == b"CONNECT":
        if _is_tunnel(target):
            return target, None
    elif is_origin_form(target) or (target == b"*" and method == b"OPTIONS"):
        return target, None
    elif absolute := _absolute(target):
        authority, rest = absolute.groups()
        if is_authority(authority):
            return (rest if rest.startswith(b"/") else b"/" + rest), authority
    raise ProtocolError(400, "bad_target")


def is_authority(text: bytes) -> bool:
    """Whether ``text`` is a host, a literal address included, and perhaps a port (RFC 3986 section 3.2)."""
    parts = _authority(text)
    return parts is not None and _is_ipv6(parts[1])


def _is_tunnel(target: bytes) -> bool:
    # CONNECT must name a valid port (RFC 9110 section 9.3.6).
    parts = _authority(target)
    if parts is None or not _is_ipv6(parts[1]):
        return False
    port: bytes = parts[2] or b""
    return len(port) <= 5 and 0 < int(port or b"0") < 65536


def _is_ipv6(text: bytes | None) -> bool:
    if text is None:
        return True
    try:
        IPv6Address(text.decode("ascii"))
    except ValueError:
        return False
    return True


def field_line(line: bytes) -> Field:
    """Judges a field line without its CRLF; the name in lower case, the value trimmed (RFC 9112 section 5).

    Raises:
        ProtocolError: 400 for no colon, no token before it (a folded line included), or a control octet in
        the value.
    """
    parts = _field_line(line)
    if not parts:
        raise ProtocolError(400, "bad_header")
    return parts[1].lower(), parts[2].rstrip(b" \t")


def judge(line: RequestLine, fields: Fields, raw: bytes) -> RequestHead:
    """The verdict on a whole head whose lines have passed.

    Args:
        line: from :func:`request_line`.
        fields: from :func:`field_line`, in their order.
        raw: the head as it came, with the empty line.

    Raises:
        ProtocolError: Host, Content-Length or Transfer-Encoding is wrong or contradicted, or a CONNECT has content.
    """
    judged = [field for field in fields if field[0] in _JUDGED]
    if len(judged) == 1 and line.version == (1, 1) and line.authority is None:
        (name, value), *_ = judged
        if name == b"host" and value and is_authority(value):  # nothing else to judge: most heads
            return RequestHead(
                line.method, line.target, line.path, (1, 1), fields, value, Framing.NONE, 0, True, False, raw
            )
    framing, length = _framing(line, judged)
    host = _host(line.version, judged)
    connection = tokens(judged, b"connection")
    modern = line.version == (1, 1)
    return RequestHead(
        method=line.method,
        target=line.target,
        path=line.path,
        version=line.version,
        fields=fields,
        host=host if line.authority is None else line.authority,
        framing=framing,
        content_length=length,
        keep_alive=b"close" not in connection and (modern or b"keep-alive" in connection),
        expects_continue=modern
        and (length > 0 or framing is Framing.CHUNKED)
        and b"100-continue" in tokens(judged, b"expect"),
        raw=raw,
    )


def _values(fields: Sequence[Field], name: bytes) -> list[bytes]:
    return [value for field, value in fields if field == name]


def _host(version: tuple[int, int], fields: Sequence[Field]) -> bytes:
    # One on 1.1, at most one on 1.0 (RFC 9112 section 3.2). It is empty for a target without an authority.
    hosts = _values(fields, b"host")
    if not hosts:
        if version == (1, 1):
            raise ProtocolError(400, "missing_host")
        return b""
    if len(hosts) > 1 or (hosts[0] and not is_authority(hosts[0])):
        raise ProtocolError(400, "bad_host")
    return hosts[0]


def _framing(line: RequestLine, fields: Sequence[Field]) -> tuple[Framing, int]:
    # RFC 9112 section 6.3, with no repair of what is ambiguous: a list or a repeat of Content-Length is
    # refused even when its members agree (N10), and so is any Transfer-Encoding beside one, or from 1.0 (N9).
    codings = _values(fields, b"transfer-encoding")
    lengths = _values(fields, b"content-length")
    if (codings and lengths) or len(lengths) > 1:
        raise ProtocolError(400, "conflicting_framing")
    if line.method == b"CONNECT" and (codings or lengths):
        # It has no content (RFC 9110 section 9.3.6): what follows it is the tunnel's, for some readers all of it.
        raise ProtocolError(400, "connect_with_body")
    if codings:
        _check_codings(line.version, codings)
        return Framing.CHUNKED, 0
    if lengths:
        return Framing.LENGTH, content_length(lengths[0])
    return Framing.NONE, 0


def _check_codings(version: tuple[int, int], lines: Sequence[bytes]) -> None:
    # The one coding we know is chunked, once. Where it does not come last the end of the body is unknown and
    # 400 is a must (RFC 9112 section 6.3); 501 is for a coding below it (section 6.1).
    codings = [coding.strip(b" \t").lower() for line in lines for coding in line.split(b",")]
    if version == (1, 1) and codings == [b"chunked"]:
        return
    unknown = version == (1, 1) and codings[-1] == b"chunked" and not {b"", b"chunked"} & set(codings[:-1])
    raise ProtocolError(501 if unknown else 400, "bad_transfer_encoding")


def content_length(value: bytes) -> int:
    """The number that a Content-Length field says.

    Raises:
        ProtocolError: 400, it is none.
    """
    # ASCII digits only: int() would take a sign, an underscore and surrounding space. Nineteen hold every
    # length that can arrive, h11 takes a twentieth; what is merely large is left to the body cap (413).
    if not _length(value):
        raise ProtocolError(400, "bad_content_length")
    return int(value)
