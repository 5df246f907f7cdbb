"""Writes a file: what of it the peer wants, if it has not got it already (RFC 9110 sections 13 and 14).

Read :func:`respond_file`, which is the order of things: the file is open before anything is said, then conditions are
judged by what is open and not by a name, and then ranges. Whatever becomes of the path in the meantime, the head and
the content are of one file.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import lru_cache
from secrets import token_hex
from typing import Final, NamedTuple

from ..errors import HTTPError
from ..fields import Field, Fields, lookup
from ..messages.exchange import Exchange
from ..messages.media_types import OCTETS
from ..messages.request import Request
from ..messages.response import FileResponse
from ..protocol.codec.dates import format_date, parse_date
from ..protocol.codec.etag import (
    CONDITIONS,
    OF_CONTENT,
    ETag,
    Validators,
    conditions,
    judge,
    not_modified,
    parse_etag,
    range_applies,
)
from ..protocol.codec.ranges import Multipart, Span, parse_ranges, unsatisfied
from ..transport.files import OpenFile, open_file

SMALL: Final = 16384
"""Octets of content that are read and sent with the head in one write, where they are in memory already."""
SETTLED: Final = 2_000_000_000
"""Nanoseconds that a file has to lie unchanged before its time tells its octets: clocks of file systems are coarse."""
_ACCEPTS: Final = (b"accept-ranges", b"bytes")
_OF_A_200: Final = OF_CONTENT | {b"cache-control", b"etag", b"expires", b"last-modified"}
"""What is not said with 412 and 416: it is of the content that these are not, and nobody is to keep them."""


async def respond_file(exchange: Exchange, response: FileResponse) -> None:
    """Writes a file response.

    Conditions and ranges are looked at where a GET or HEAD would be answered with 200. With another method they had to
    be judged before the application did what was asked for, and with another status the content is no representation.

    Raises:
        HTTPError: there is no such file (404).
        ValueError: the application has declared a length, or wants more than there is.
        OSError: the file cannot be read.
    """
    exchange.kind = "file"
    try:
        file = response.opened or await open_file(response.path)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise HTTPError(404) from None
    with file:
        whole = Span(response.offset, _length(file, response))
        if lookup(response.fields, b"content-length") is not None:
            raise ValueError("a FileResponse computes its content-length")
        if response.status == 200 and exchange.request.head.method in (b"GET", b"HEAD"):
            await _judged(exchange, response, file, whole)
        else:
            await _send(exchange, response.status, response, response.fields, file, whole)


def _length(file: OpenFile, response: FileResponse) -> int:
    there = max(0, file.size - response.offset)
    if response.length is None:
        return there
    if response.length > there:
        raise ValueError(f"{response.path!r} has {there} octets from {response.offset}, not {response.length}")
    return response.length


async def _judged(exchange: Exchange, response: FileResponse, file: OpenFile, whole: Span) -> None:
    request = exchange.request
    said = said_of(response, file)
    if not CONDITIONS.isdisjoint([name for name, _ in request.fields]):
        verdict = judge(request.head.method, conditions(request.fields), said.there)
        if verdict == 304:
            return await exchange.respond(304, said.spared, b"")
        if verdict == 412:
            return await exchange.respond(412, _without_content(said.fields), b"")
        if request.head.method == b"GET" and (spans := _asked(request, said.there, whole)) is not None:
            return await _send_parts(exchange, response, said.fields, file, whole, spans)
    return await _send(exchange, 200, response, said.fields, file, whole)


def _asked(request: Request, there: Validators, whole: Span) -> list[Span] | None:
    """The parts that are wanted, none if these lie elsewhere; None for the whole."""
    values = [value for name, value in request.fields if name == b"range"]
    if len(values) != 1 or not range_applies(request.fields, there):
        return None
    return parse_ranges(values[0], whole.length)


class Said(NamedTuple):
    """What is said of a file.

    Attributes:
        fields: of a 200.
        spared: of the 304 in its place.
        there: what tells this state of it from others.
    """

    fields: Fields
    spared: Fields
    there: Validators


def said_of(response: FileResponse, file: OpenFile) -> Said:
    """What a response to GET says of its file, as it is now."""
    now = time.time_ns()
    state = (response.offset, response.length, file.size, file.modified, now)
    if now - file.modified >= SETTLED:  # it is the same until the file is another one
        return _said(tuple(response.fields), *state[:4])
    return _looked_at(tuple(response.fields), *state)


@lru_cache(maxsize=1024)
def _said(fields: Fields, offset: int, length: int | None, size: int, modified: int) -> Said:
    return _looked_at(fields, offset, length, size, modified, modified + SETTLED)


def _looked_at(fields: Fields, offset: int, length: int | None, size: int, modified: int, now: int) -> Said:
    """The fields of a 200, with what tells this state of the file from others; what the application says goes first."""
    given, date = lookup(fields, b"etag"), lookup(fields, b"last-modified")
    etag, when, settled = None, None, False
    said = [*fields, _ACCEPTS]
    if given is not None:
        etag = parse_etag(given)
    elif modified:
        etag = ETag(_opaque(fields, offset, length, size, modified), weak=now - modified < SETTLED)
        said.append((b"etag", bytes(etag)))
    if date is not None:
        when = parse_date(date)
    elif modified:
        when = min(modified, now) // 1_000_000_000  # none is later than the response (section 8.8.2.1)
        settled = now - modified >= SETTLED
        said.append((b"last-modified", format_date(when)))
    return Said(tuple(said), tuple(not_modified(said)), Validators(etag, when, settled))


def _opaque(fields: Fields, offset: int, length: int | None, size: int, modified: int) -> bytes:
    """An entity tag: another for each coding and each part of the file, for these are other representations."""
    tag = b"%x-%x" % (modified, size)
    if offset or length is not None:
        tag += b"-%x-%x" % (offset, size if length is None else length)
    coding = lookup(fields, b"content-encoding")
    return b'"%b"' % tag if coding is None else b'"%b-%b"' % (tag, coding)


def _without_content(fields: Sequence[Field]) -> list[Field]:
    return [field for field in fields if field[0] not in _OF_A_200]


async def _send(
    exchange: Exchange, status: int, response: FileResponse, fields: Sequence[Field], file: OpenFile, span: Span
) -> None:
    """One run of octets, with its head."""
    sized = [*fields, (b"content-length", b"%d" % span.length)]
    small = file.read_cached(span.first, span.length) if 0 < span.length <= SMALL else None
    if await exchange.start_response(status, sized, reason=response.reason):
        if small is not None:
            await exchange.send_body(small)
        else:
            await exchange.send_file(file, span.first, span.length)
    await exchange.end_response()


async def _send_parts(
    exchange: Exchange, response: FileResponse, fields: Sequence[Field], file: OpenFile, whole: Span, spans: list[Span]
) -> None:
    """206, with one part or several; 416 without any."""
    if not spans:
        refusal = [*_without_content(fields), (b"content-range", unsatisfied(whole.length))]
        return await exchange.respond(416, refusal, b"")
    if len(spans) == 1:
        (span,) = spans
        ranged = [*fields, (b"content-range", span.content_range(whole.length))]
        return await _send(exchange, 206, response, ranged, file, Span(whole.first + span.first, span.length))
    several = Multipart(spans, whole.length, lookup(fields, b"content-type") or OCTETS, token_hex(12).encode())
    parted = [field for field in fields if field[0] != b"content-type"]
    parted += [(b"content-type", several.media_type), (b"content-length", b"%d" % several.length)]
    if await exchange.start_response(206, parted):
        for head, span in several.parts:
            await exchange.send_body(head)
            await exchange.send_file(file, whole.first + span.first, span.length)
        await exchange.send_body(several.end)
    await exchange.end_response()
    return None
