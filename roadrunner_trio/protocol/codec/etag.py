"""Entity tags, and what a request makes depend on them or on a date (RFC 9110 sections 8.8 and 13).

A request may say on which state of a resource it is to be performed. The conditions are looked at in one order,
whoever has the resource: :func:`judge`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final, NamedTuple

from ...fields import Field
from .dates import parse_date

_OPAQUE: Final = rb'"[!#-~\x80-\xff]*"'
_tag = re.compile(rb"(W/)?(" + _OPAQUE + rb")").fullmatch
_member = re.compile(rb"[ \t]*+(?:(W/)?(" + _OPAQUE + rb"))?+[ \t]*+(?:,|\Z)").match

CONDITIONS: Final = frozenset(
    {b"if-match", b"if-none-match", b"if-modified-since", b"if-unmodified-since", b"if-range", b"range"}
)
"""Fields of a request that may make its answer another one."""

LONGEST_REMEMBERED: Final = 256
"""Octets of a list whose tags are remembered. A longer one is read anew: it can name 10 000 tags, which take a
megabyte, and whoever sends one sends hundreds."""

OF_CONTENT: Final = frozenset(
    {
        b"accept-ranges",
        b"content-digest",
        b"content-disposition",
        b"content-encoding",
        b"content-language",
        b"content-length",
        b"content-range",
        b"content-type",
        b"repr-digest",
    }
)
"""Fields that describe content, and so do not stand where there is none."""


class ETag(NamedTuple):
    """An entity tag (section 8.8.3).

    Attributes:
        opaque: with its quotes, ``b'"v1"'``.
        weak: it does not tell whether two representations are the same octet by octet.
    """

    opaque: bytes
    weak: bool = False

    def __bytes__(self) -> bytes:
        return b"W/" + self.opaque if self.weak else self.opaque


ANY: Final = (ETag(b"*"),)
"""What ``If-Match: *`` names: whatever there is."""


def parse_etag(value: bytes) -> ETag | None:
    """One entity tag, or None for what is none."""
    match = _tag(value)
    return None if match is None else ETag(match[2], match[1] is not None)


def parse_etags(value: bytes) -> tuple[ETag, ...] | None:
    """The members of If-Match or If-None-Match, :data:`ANY` for ``*``; None for what is no such list.

    Empty members are left out (section 5.6.1.2). A comma within quotes belongs to its tag.
    """
    return _remembered(value) if len(value) <= LONGEST_REMEMBERED else _read_etags(value)


def _read_etags(value: bytes) -> tuple[ETag, ...] | None:
    if value.strip(b" \t") == b"*":
        return ANY
    found: list[ETag] = []
    at = 0
    while at < len(value):
        match = _member(value, at)
        if match is None:
            return None
        if match[2] is not None:
            found.append(ETag(match[2], match[1] is not None))
        at = match.end()
    return tuple(found) or None


_remembered: Final = lru_cache(maxsize=256)(_read_etags)


def strongly_matches(wanted: Iterable[ETag], current: ETag | None) -> bool:
    """The strong comparison (section 8.8.3.2): neither is weak; ``*`` is matched by whatever there is."""
    if wanted is ANY:
        return True
    return current is not None and not current.weak and current in wanted


def weakly_matches(wanted: Iterable[ETag], current: ETag | None) -> bool:
    """The weak comparison: the opaque parts are equal; ``*`` is matched by whatever there is."""
    if wanted is ANY:
        return True
    return current is not None and any(tag.opaque == current.opaque for tag in wanted)


class Validators(NamedTuple):
    """What a representation is told by.

    Attributes:
        etag: its entity tag, if it has one.
        modified: when it was changed last, in whole seconds since 1970.
        settled: that date is strong: it was not changed twice in that second (section 8.8.2.2).
    """

    etag: ETag | None = None
    modified: int | None = None
    settled: bool = False


class Conditions(NamedTuple):
    """What a request asks of a representation; None for what it does not ask.

    Several lines of a list are one list. Of a field that has one value, several are no condition, and so is what cannot
    be read (sections 13.1.3 and 13.1.4); but what stands in If-Match or If-None-Match and is no list matches nothing.
    """

    match: tuple[ETag, ...] | None = None
    none_match: tuple[ETag, ...] | None = None
    modified_since: int | None = None
    unmodified_since: int | None = None


def conditions(fields: Iterable[Field]) -> Conditions:
    """The conditions in the fields of a request."""
    said: dict[bytes, list[bytes]] = {}
    for name, value in fields:
        if name in CONDITIONS:
            said.setdefault(name, []).append(value)
    if not said:
        return Conditions()
    return Conditions(
        _tags(said.get(b"if-match")),
        _tags(said.get(b"if-none-match")),
        _date(said.get(b"if-modified-since")),
        _date(said.get(b"if-unmodified-since")),
    )


def _tags(lines: list[bytes] | None) -> tuple[ETag, ...] | None:
    if lines is None:
        return None
    found = parse_etags(b",".join(lines))
    return () if found is None else found


def _date(lines: list[bytes] | None) -> int | None:
    return parse_date(lines[0]) if lines is not None and len(lines) == 1 else None


def judge(method: bytes, asked: Conditions, there: Validators) -> int:
    """In the order of section 13.2.2: 412 when a condition fails, 304 when the peer has it, and else 200.

    Only for what would be answered with 2xx without any condition (section 13.2.1).

    Args:
        method: of the request.
        asked: by the request.
        there: of the representation that there is.
    """
    if _fails(asked, there):
        return 412
    reads = method in (b"GET", b"HEAD")
    if asked.none_match is not None:
        if weakly_matches(asked.none_match, there.etag):
            return 304 if reads else 412
        return 200
    since = asked.modified_since if reads else None
    return 304 if since is not None and there.modified is not None and there.modified <= since else 200


def _fails(asked: Conditions, there: Validators) -> bool:
    """Whether somebody else has changed what the request is about, steps 1 and 2."""
    if asked.match is not None:
        return not strongly_matches(asked.match, there.etag)
    since = asked.unmodified_since
    return since is not None and there.modified is not None and there.modified > since


def range_applies(fields: Iterable[Field], there: Validators) -> bool:
    """Whether If-Range lets Range apply (section 13.1.5): there is none, or it names just what there is.

    The comparison is strong: a weak tag, a date within whose second more may have changed, or an earlier or later date
    do not match, and the whole is the answer.
    """
    lines = [value for name, value in fields if name == b"if-range"]
    if not lines:
        return True
    if len(lines) > 1:
        return False
    if (tag := parse_etag(lines[0])) is not None:
        return strongly_matches((tag,), there.etag)
    return there.settled and there.modified is not None and parse_date(lines[0]) == there.modified


def not_modified(fields: Iterable[Field]) -> list[Field]:
    """Of the fields of a 200, those of the 304 in its place (section 15.4.5): none that describe content not sent.

    Last-Modified is left out as well where an entity tag says it better.
    """
    given = list(fields)
    tagged = any(name == b"etag" for name, _ in given)
    return [
        (name, value) for name, value in given if name not in OF_CONTENT and not (tagged and name == b"last-modified")
    ]
