"""A second reader of HTTP/1 requests, to be compared with the engines: slow, plain, and written from the RFCs alone.

It sees all octets at once, and never how they were cut. Each rule is the grammar of its section, written down as it
stands there, with the rulings of this server where the RFC leaves a choice: the list of fields that may not come as
trailers is one of those. Sizes are not looked at.
"""

from __future__ import annotations

import enum
import ipaddress
import re
from dataclasses import dataclass, field

from roadrunner_trio.fields import FORBIDDEN_TRAILERS

TCHAR = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"  # RFC 9110 section 5.6.2
VALUE = rb"[\t \x21-\x7e\x80-\xff]*"  # field-value with its blanks, section 5.5
REQUEST_LINE = rb"(" + TCHAR + rb"+) ([\x21-\x7e]+) HTTP/([0-9])\.([0-9])\r\n"  # RFC 9112 section 3
FIELD_LINE = rb"(" + TCHAR + rb"+):(" + VALUE + rb")\r\n"  # section 5
QUOTED = rb'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*"'  # RFC 9110 section 5.6.4
EXTENSION = rb"[ \t]*;[ \t]*" + TCHAR + rb"+(?:[ \t]*=[ \t]*(?:" + TCHAR + rb"+|" + QUOTED + rb"))?"
CHUNK_LINE = rb"([0-9A-Fa-f]+)(?:" + EXTENSION + rb")*\r\n"  # RFC 9112 section 7.1

UNRESERVED = rb"A-Za-z0-9\-._~"  # RFC 3986 section 2.3
SUB_DELIMS = rb"!$&'()*+,;="
REG_NAME = rb"(?:[" + UNRESERVED + SUB_DELIMS + rb"]|%[0-9A-Fa-f]{2})+"  # not empty: RFC 9110 section 4.2.1
AUTHORITY = rb"(\[[^\[\]]*\]|" + REG_NAME + rb")(?::([0-9]*))?"
FUTURE = rb"[vV][0-9A-Fa-f]+\.[" + UNRESERVED + SUB_DELIMS + rb":]+"


class Verdict(enum.Enum):
    """What is to be done about what follows the last whole request."""

    OPEN = "nothing follows"
    CLOSED = "the last request asked for the close"
    REFUSED = "it can never become a request"
    UNDECIDED = "it is not whole: to be waited for, or refused already"


@dataclass(frozen=True)
class Seen:
    """A request that is to reach the application."""

    method: bytes
    target: bytes
    fields: tuple[tuple[bytes, bytes], ...]
    body: bytes
    trailers: tuple[tuple[bytes, bytes], ...]


@dataclass
class Reading:
    """All of a conversation's requests, and the verdict on the rest."""

    requests: list[Seen] = field(default_factory=list)
    verdict: Verdict = Verdict.OPEN
    begun: bytes | None = field(default=None, compare=False)
    """The target of a request whose head is good, and whose body is not, or not whole."""


class Refused(Exception):
    """The message is malformed."""


class BadBody(Refused):
    """The body is, behind a head that is not."""


class NotWhole(Exception):
    """There is no end to it yet."""


def read(data: bytes) -> Reading:
    """Reads a conversation."""
    reading, at = Reading(), 0
    try:
        while True:
            begun = at
            if data.startswith(b"\r\n", at):  # one empty line is forgiven, RFC 9112 section 2.2
                at += 2
            if at == len(data) or data[begun:] == b"\r":  # half of one, too, is nothing yet
                return reading
            seen, keep, at = message(data, at, reading)
            reading.requests.append(seen)
            if not keep:
                reading.verdict = Verdict.CLOSED
                return reading
    except Refused:
        reading.verdict = Verdict.REFUSED
    except NotWhole:
        reading.verdict = Verdict.UNDECIDED
    return reading


def message(data: bytes, at: int, reading: Reading) -> tuple[Seen, bool, int]:
    """One request from ``at``, whether the connection goes on, and where the next one begins."""
    end = data.find(b"\r\n\r\n", at)
    if end < 0:
        raise NotWhole
    head = re.compile(REQUEST_LINE + rb"((?:" + FIELD_LINE + rb")*)\r\n").match(data, at)
    if not head or head.end() != end + 4:
        raise Refused
    method, target, major, minor, block = head.group(1, 2, 3, 4, 5)
    fields = tuple((name.lower(), value.strip(b" \t")) for name, value in re.findall(FIELD_LINE, block))
    modern = check_line(method, target, major, minor)
    check_host(fields, modern)
    try:
        if method == b"CONNECT" and (of(fields, b"content-length") or of(fields, b"transfer-encoding")):
            raise Refused  # it has no content (RFC 9110 section 9.3.6)
        body, trailers, at = content(data, head.end(), fields, modern)
    except (BadBody, NotWhole):
        reading.begun = target
        raise
    options = {option.strip(b" \t").lower() for value in of(fields, b"connection") for option in value.split(b",")}
    keep = b"close" not in options and (modern or b"keep-alive" in options)
    return Seen(method, target, fields, body, trailers), keep, at


def of(fields: tuple[tuple[bytes, bytes], ...], name: bytes) -> list[bytes]:
    """All values of a field."""
    return [value for known, value in fields if known == name]


def check_line(method: bytes, target: bytes, major: bytes, minor: bytes) -> bool:
    """Version and target (RFC 9112 sections 2.3 and 3.2); whether it is 1.1."""
    if major != b"1":
        raise Refused
    authority = re.fullmatch(rb"(?i:https?)://([^/?]*)[^#]*", target)
    if method == b"CONNECT":
        port = re.fullmatch(rb".*:0*([1-9][0-9]{0,4})", target)
        good = is_authority(target) and port is not None and int(port[1]) < 65536
    elif target == b"*":
        good = method == b"OPTIONS"
    elif target.startswith(b"/"):
        good = b"#" not in target
    else:
        good = authority is not None and is_authority(authority[1])
    if not good:
        raise Refused
    return minor != b"0"


def is_authority(text: bytes) -> bool:
    """A host, perhaps a port, no userinfo (RFC 3986 section 3.2)."""
    parts = re.fullmatch(AUTHORITY, text)
    if not parts:
        return False
    host = parts[1]
    if not host.startswith(b"[") or re.fullmatch(FUTURE, host[1:-1]):
        return True
    try:
        return b"%" not in host and bool(ipaddress.IPv6Address(host[1:-1].decode("ascii")) or True)
    except ValueError:
        return False


def check_host(fields: tuple[tuple[bytes, bytes], ...], modern: bool) -> None:
    """One on 1.1, at most one on 1.0 (RFC 9112 section 3.2)."""
    hosts = of(fields, b"host")
    if len(hosts) > 1 or (modern and not hosts) or any(host and not is_authority(host) for host in hosts):
        raise Refused


def content(
    data: bytes, at: int, fields: tuple[tuple[bytes, bytes], ...], modern: bool
) -> tuple[bytes, tuple[tuple[bytes, bytes], ...], int]:
    """Body, trailers, and where they end (RFC 9112 section 6.3); whatever is ambiguous is refused."""
    codings, lengths = of(fields, b"transfer-encoding"), of(fields, b"content-length")
    if codings and (lengths or not modern or [coding.lower() for coding in codings] != [b"chunked"]):
        raise Refused
    if codings:
        return chunks(data, at)
    if not lengths:
        return b"", (), at
    # Nineteen digits, and a zero before them, are what this server reads.
    if len(lengths) > 1 or not re.fullmatch(rb"0?[0-9]{1,19}", lengths[0]):
        raise Refused
    end = at + int(lengths[0])
    if end > len(data):
        raise NotWhole
    return data[at:end], (), end


def chunks(data: bytes, at: int) -> tuple[bytes, tuple[tuple[bytes, bytes], ...], int]:
    """A chunked body from ``at`` (RFC 9112 section 7.1)."""
    body = b""
    while True:
        if at == len(data):
            raise NotWhole
        line = re.compile(CHUNK_LINE).match(data, at)
        if not line:
            raise BadBody if b"\r\n" in data[at:] else NotWhole
        size, at = int(line[1], 16), line.end()
        if size == 0:
            trailers, at = trailer_section(data, at)
            return body, trailers, at
        if size >= 1 << 64:
            raise BadBody
        if at + size + 2 > len(data):
            raise NotWhole if b"\r\n".startswith(data[at + size :]) else BadBody
        if data[at + size : at + size + 2] != b"\r\n":
            raise BadBody
        body += data[at : at + size]
        at += size + 2


def trailer_section(data: bytes, at: int) -> tuple[tuple[tuple[bytes, bytes], ...], int]:
    """Field lines and the empty line behind them (RFC 9112 section 7.1.2)."""
    section = re.compile(rb"((?:" + FIELD_LINE + rb")*)\r\n").match(data, at)
    if not section:
        whole = data.startswith(b"\r\n", at) or b"\r\n\r\n" in data[at:]
        raise BadBody if whole else NotWhole
    trailers = tuple((name.lower(), value.strip(b" \t")) for name, value in re.findall(FIELD_LINE, section[1]))
    if FORBIDDEN_TRAILERS & {name for name, _ in trailers}:
        raise BadBody
    return trailers, section.end()
