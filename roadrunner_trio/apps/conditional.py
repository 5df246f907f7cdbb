"""Entity tags for responses whose content is at hand, and the answers that spare sending it (RFC 9110 section 13)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from hashlib import blake2b
from typing import Final

from ..answering.middleware import CallNext
from ..fields import Field, lookup, tokens
from ..messages.around import Around, within
from ..messages.request import Request
from ..messages.response import AnyResponse, Response, Upgrade
from ..protocol.codec.dates import parse_date
from ..protocol.codec.etag import ETag, Validators, conditions, judge, not_modified, parse_etag
from ..protocol.wishes import content

__all__ = ["Conditional"]

OCTETS: Final = 8
"""Of a tag: two contents of one address have the same by chance once in 10^19."""


class Conditional:
    """A middleware that gives a buffered 200 to GET an entity tag of its content; who has it already gets a 304.

    A tag or date that the response has already is taken as it is. The handler has run, so it is not spared, but the
    content is not sent. Conditions of other methods were to be judged before the handler did what they asked for.
    Left alone are streams, what has ``cache-control: no-store``, and files, which do it themselves. Compression goes
    outside of it: ``middlewares=[Compress(), Conditional()]``.
    """

    async def __call__(self, request: Request, call_next: CallNext) -> AnyResponse:
        """What the next one answers, or 304 or 412 in its place."""
        response = await call_next(request)
        if request.head.method not in (b"GET", b"HEAD"):
            return response
        if isinstance(response, Response):
            status, fields = judged(request, response.status, response.fields, content(response.body))
            if status != response.status:
                return Response(status=status, fields=fields)
            response.fields = fields
        elif isinstance(response, Upgrade):
            response.around = within(response.around, _Judging)
        return response


def judged(request: Request, status: int, fields: Sequence[Field], body: bytes) -> tuple[int, list[Field]]:
    """The status and fields of a response, once it is known what the peer has already."""
    given = list(fields)
    if status != 200 or b"no-store" in tokens(given, b"cache-control"):
        return status, given
    there = _validators(given)
    if there.etag is None and lookup(given, b"etag") is None and body:
        # Weak: what goes out may be compressed, here or in front of us, and it is still the same content.
        tag = ETag(b'"%b"' % blake2b(body, digest_size=OCTETS).hexdigest().encode("ascii"), weak=True)
        given.append((b"etag", bytes(tag)))
        there = there._replace(etag=tag)
    verdict = judge(request.head.method, conditions(request.fields), there)
    if verdict == 304:
        return 304, not_modified(given)
    if verdict == 412:
        return 412, []
    return status, given


def _validators(fields: Sequence[Field]) -> Validators:
    etag, date = lookup(fields, b"etag"), lookup(fields, b"last-modified")
    modified = None if date is None else parse_date(date)
    settled = modified is not None and modified < time.time() - 1
    return Validators(None if etag is None else parse_etag(etag), modified, settled)


class _Judging(Around):
    """An exchange that looks at whole responses; those that come in pieces go on as they are."""

    async def respond(self, status: int, fields: Sequence[Field], body: bytes, *, reason: bytes | None = None) -> None:
        """A whole response, or 304 or 412 in its place."""
        body = content(body)
        verdict, said = judged(self.request, status, fields, body)
        if verdict == status:
            await self.inner.respond(status, said, body, reason=reason)
        else:
            await self.inner.respond(verdict, said, b"")
