"""The verdict on field sections (RFC 9113 section 8), by the same rules as HTTP/1's: :mod:`..http1.head`.

It is spoken in two steps. A field is judged by itself when it comes as a literal (:func:`field`); with its neighbours,
when its block is whole (:func:`judge`, :func:`trailers`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from ...errors import ProtocolError
from ...fields import FORBIDDEN_TRAILERS, Field, Fields, tokens
from ...settings import Limits
from ..heads import Framing, RequestHead
from ..http1.head import content_length, is_authority, is_origin_form, target_form
from .hpack import malformed
from .tables import STATIC

VERSION: Final = (2, 0)
URGENCY: Final = 3
"""Of a request that says nothing (RFC 9218 section 4.1)."""
PRIORITY_SIZE: Final = 256
"""Octets of a priority that is read; there are two things that it can say. In 16 kB, members take 4 ms."""

_REQUEST: Final = frozenset({b":method", b":scheme", b":authority", b":path"})
PSEUDO: Final = _REQUEST | {b":protocol"}
"""What is no field, but said like one, before all fields, and once."""
_SPECIAL: Final = PSEUDO | {b"", b"host", b"content-length", b"cookie", b"expect", b"priority"}
"""What is looked at with its neighbours; the empty name is a malformed field's."""
_NONE: Final = PSEUDO | {b""}
"""Of them, what no field may be called."""
_ODD: Final = frozenset({b"CONNECT", b"OPTIONS"})
"""Methods with targets of their own."""
_REPEATS: Final = frozenset({b"cookie", b"expect", b"priority"})

_PERHAPS_INDEXED: Final = frozenset(name for name, _ in STATIC)
_is_name = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+").fullmatch
_is_method = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch
_VALUE: Final = bytes([0x09, *range(0x20, 0x7F), *range(0x80, 0x100)])
_priority = re.compile(rb"[ ]*+([a-z*][a-z0-9_\-.*]*+)(?:=([^,;]*+))?(?:;[^,]*+)?(?:,|$)").match


class Malformed(Exception):
    """A message that breaks the rules: its stream is reset with PROTOCOL_ERROR (RFC 9113 section 8.1.1).

    Args:
        reason: a short lower-case token for logs and events.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Verdict(NamedTuple):
    """A request that has passed, and what it says of its urgency."""

    head: RequestHead
    priority: bytes


# -- a field by itself -----------------------------------------------------------------------------


def field(name: bytes, value: bytes) -> Field:
    """Judges a field by itself: its name or its value, or that it has no place in HTTP/2.

    Returns:
        The field; with a :class:`.hpack.Malformed` name when no request may have it.
    """
    check = _CHECKS.get(name)
    if check is not None:
        good = check(value)
    else:
        good = (name in _PERHAPS_INDEXED or _is_name(name) is not None) and is_value(value)
    return (name if good else malformed(name)), value


def is_value(value: bytes) -> bool:
    """Whether octets may be the value of a field: no control octet, no blank at either end (section 8.2.1)."""
    return not value or not (value.translate(None, _VALUE) or value[0] in b" \t" or value[-1] in b" \t")


def _never(_: bytes) -> bool:
    return False


def _is_path(value: bytes) -> bool:
    return value == b"*" or is_origin_form(value) is not None


def _is_length(value: bytes) -> bool:
    try:
        content_length(value)
    except ProtocolError:
        return False
    return True


_CHECKS: Final[dict[bytes, Callable[[bytes], bool]]] = {
    b":method": lambda value: _is_method(value) is not None,
    b":scheme": lambda value: value in (b"https", b"http"),
    b":authority": is_authority,
    b":path": _is_path,
    b":protocol": lambda value: _is_method(value) is not None,
    b":status": _never,
    b"host": is_authority,
    b"content-length": _is_length,
    b"te": lambda value: value.lower() == b"trailers",
    b"connection": _never,
    b"keep-alive": _never,
    b"proxy-connection": _never,
    b"transfer-encoding": _never,
    b"upgrade": _never,
}
"""Names with values of their own, and names that have no place here (RFC 9113 sections 8.2.2, 8.3.1)."""

STATIC_FIELDS: Final = [field(name, value) for name, value in reversed(STATIC)]


# -- a section -------------------------------------------------------------------------------------


def check_size(fields: Sequence[Field], limits: Limits) -> None:
    """Holds a section to the limits, which count as in HTTP/1: each field with its colon, blank and line end.

    Raises:
        ProtocolError: 431.
    """
    if len(fields) > limits.max_fields:
        raise ProtocolError(431, "too_many_headers")
    sizes = [len(name) + len(value) + 4 for name, value in fields]
    if sum(sizes) > limits.max_field_section:
        raise ProtocolError(431, "header_block_too_long")
    if max(sizes, default=0) > limits.max_field_line + 2:
        raise ProtocolError(431, "header_too_long")


def judge(fields: list[Field], limits: Limits, *, ended: bool, extended: bool, small: bool = False) -> Verdict:
    """The verdict on a request.

    Args:
        fields: all of its block, each judged by itself.
        ended: nothing follows, neither content nor trailers.
        extended: whether extended CONNECT was offered (RFC 8441).
        small: it is known to be within the limits of a section.

    Raises:
        Malformed: it breaks a rule.
        ProtocolError: 414 or 431 above a limit, 501 for an extended CONNECT to another protocol than WebSocket.
    """
    pseudo, rest = dict(fields[:4]), fields[4:]
    if pseudo.keys() != _REQUEST or (rest and rest[0][0] == b":protocol"):
        pseudo, rest = _parted(fields)
    if not small or len(rest) > limits.max_fields:
        check_size(rest, limits)
    method, path, authority = pseudo.get(b":method", b""), pseudo.get(b":path", b""), pseudo.get(b":authority", b"")
    if len(method) + len(path) + 10 > limits.max_request_line:
        raise ProtocolError(414, "request_line_too_long")
    if len(authority) + 6 > limits.max_field_line:
        raise ProtocolError(431, "header_too_long")
    special = [each for each in rest if each[0] in _SPECIAL]
    if len(pseudo) != 4 or method in _ODD or path == b"*":
        return _judge_closely(pseudo, rest, special, ended=ended, extended=extended)
    if special:
        return _judge_closely(pseudo, rest, special, ended=ended)
    framing, said = Framing.NONE if ended else Framing.CHUNKED, ((b"host", authority), *rest)
    return Verdict(RequestHead(method, path, path, VERSION, said, authority, framing, 0, True, False, b""), b"")


def _parted(fields: list[Field]) -> tuple[dict[bytes, bytes], list[Field]]:
    """Pseudo-fields, and what stands behind the last of them that stand in front."""
    pseudo: dict[bytes, bytes] = {}
    for at, (name, value) in enumerate(fields):
        if name not in PSEUDO:
            return pseudo, fields[at:]
        if name in pseudo:
            raise Malformed("repeated_pseudo_header")
        pseudo[name] = value
    return pseudo, []


def _judge_closely(
    pseudo: dict[bytes, bytes], rest: list[Field], special: list[Field], *, ended: bool, extended: bool | None = None
) -> Verdict:
    """The same of a request that has something to be looked at.

    Args:
        special: the fields among ``rest`` that are looked at with their neighbours.
        extended: as above; None when the pseudo-fields are known to be four, and ordinary.
    """
    noted, protocol = _noted(special), b""
    method, path, host = pseudo.get(b":method", b""), pseudo.get(b":path", b""), pseudo.get(b":authority", b"")
    if extended is not None:
        protocol = _check_target(method, path, pseudo, extended=extended)
    if b"host" in noted or not host:
        host = _host(host, noted.get(b"host", b""))
    if method == b"CONNECT" and not protocol:
        path = _tunnel(host)
    framing, length = _framing(noted.get(b"content-length"), ended=ended, tunnel=method == b"CONNECT")
    said = rest
    if b"cookie" in noted:
        said = _whole_cookie(rest, special)
    return Verdict(
        RequestHead(
            b"GET" if protocol else method,
            path,
            path,
            VERSION,
            tuple(said) if b"host" in noted else ((b"host", host), *said),
            host,
            framing,
            length,
            True,
            b"expect" in noted and framing is not Framing.NONE and b"100-continue" in tokens(special, b"expect"),
            b"",
            protocol,
        ),
        b", ".join([value for name, value in special if name == b"priority"]) if b"priority" in noted else b"",
    )


def _noted(special: list[Field]) -> dict[bytes, bytes]:
    """The last of each name.

    Raises:
        Malformed: one is no field, or may not be repeated.
    """
    noted = dict(special)
    if not _NONE.isdisjoint(noted):
        raise Malformed("bad_header" if b"" in noted else "bad_pseudo_header")
    if len(noted) != len(special):
        names = [name for name, _ in special]
        for name in noted.keys() - _REPEATS:
            if names.count(name) > 1:
                raise Malformed("repeated_" + name.decode("ascii").replace("-", "_"))
    return noted


def _check_target(method: bytes, path: bytes, pseudo: dict[bytes, bytes], *, extended: bool) -> bytes:
    """The protocol, once it is clear that all is there that has to be, and no more (section 8.3.1)."""
    protocol = pseudo.get(b":protocol", b"").lower()
    if method == b"CONNECT" and not protocol:
        if pseudo.keys() != {b":method", b":authority"}:
            raise Malformed("bad_pseudo_header")  # section 8.5
    elif not (method and path and b":scheme" in pseudo):
        raise Malformed("missing_pseudo_header")
    if protocol:
        if method != b"CONNECT" or not extended:
            raise Malformed("bad_pseudo_header")
        if protocol != b"websocket":
            raise ProtocolError(501, "bad_protocol")
    if path == b"*" and method != b"OPTIONS":
        raise Malformed("bad_target")
    return protocol


def _tunnel(host: bytes) -> bytes:
    """Where a CONNECT goes to."""
    try:
        return target_form(b"CONNECT", host)[0]
    except ProtocolError:
        raise Malformed("bad_target") from None


def _host(authority: bytes, host: bytes) -> bytes:
    """Who is asked: one of the two, neither of which may be empty, or both, who must agree."""
    if not (authority or host):
        raise Malformed("missing_host")
    if authority and host and host.lower() != authority.lower():
        raise Malformed("bad_host")
    return authority or host


def _framing(length: bytes | None, *, ended: bool, tunnel: bool) -> tuple[Framing, int]:
    if tunnel:
        if length is not None:
            raise Malformed("connect_with_body")  # what follows it is the tunnel's
        return Framing.NONE, 0
    if length is None:
        return (Framing.NONE if ended else Framing.CHUNKED), 0
    octets = content_length(length)
    if ended and octets:
        raise Malformed("body_too_short")
    return Framing.LENGTH, octets


def _whole_cookie(rest: list[Field], special: list[Field]) -> list[Field]:
    """Crumbs of a cookie are one field, where the first of them stood (section 8.2.3)."""
    crumbs = [value for name, value in special if name == b"cookie"]
    if len(crumbs) == 1:
        return rest
    at = rest.index((b"cookie", crumbs[0]))
    said = [each for each in rest if each[0] != b"cookie"]
    said.insert(at, (b"cookie", b"; ".join([crumb for crumb in crumbs if crumb])))
    return said


def trailers(fields: list[Field], limits: Limits) -> Fields:
    """The verdict on a trailer section.

    Raises:
        Malformed: it breaks a rule.
        ProtocolError: 431 above a limit.
    """
    check_size(fields, limits)
    for name, _ in fields:
        if not name or name in PSEUDO or name in FORBIDDEN_TRAILERS:
            raise Malformed("bad_trailer")
    return tuple(fields)


def priority(value: bytes) -> tuple[int, bool]:
    """Urgency, 0 to 7, and whether a response is of use in pieces (RFC 9218 section 4).

    What is not understood is as if it had not been said, and so is what is longer than :data:`PRIORITY_SIZE`.
    """
    urgency, incremental, at = URGENCY, False, 0
    if len(value) > PRIORITY_SIZE:
        return urgency, incremental
    while at < len(value) and (member := _priority(value, at)) is not None:
        key, said = member.groups()
        if key == b"u":
            urgency = int(said) if said is not None and said.strip(b" ") in _URGENCIES else URGENCY
        elif key == b"i":
            incremental = said is None or said.strip(b" ") == b"?1"
        at = member.end()
    return urgency, incremental


_URGENCIES: Final = frozenset(b"%d" % number for number in range(8))
