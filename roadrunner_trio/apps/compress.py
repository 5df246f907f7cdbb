"""Compresses what goes out, for those who accept it (RFC 9110 sections 8.4 and 12.5.3).

Read :meth:`Compress.wanted`: which responses, in which coding, and what the head then says. A response whose content
is at hand is compressed where it is; all others are compressed while they are written, those of ASGI too.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Final, NamedTuple

import trio

from ..answering.middleware import CallNext
from ..fields import Field, lookup, tokens
from ..messages.around import Around, within
from ..messages.exchange import Exchange
from ..messages.request import Request
from ..messages.response import AnyResponse, Handoff, Response, Upgrade
from ..protocol.codec.coders import Encoder, check_codings, codings, encode, open_encoder
from ..protocol.codec.negotiation import choose_coding, joined, with_vary
from ..protocol.wishes import content
from ..transport.files import READ_SIZE, OpenFile
from ..units import Size, octets

__all__ = ["COMPRESSIBLE", "Compress"]

COMPRESSIBLE: Final = frozenset(
    {
        "application/atom+xml",
        "application/geo+json",
        "application/javascript",
        "application/json",
        "application/jsonl",
        "application/ld+json",
        "application/manifest+json",
        "application/problem+json",
        "application/rss+xml",
        "application/vnd.ms-fontobject",
        "application/wasm",
        "application/x-ndjson",
        "application/xhtml+xml",
        "application/xml",
        "application/yaml",
        "font/otf",
        "font/ttf",
        "image/bmp",
        "image/svg+xml",
        "image/x-icon",
        "model/gltf+json",
    }
)
"""Media types that are compressed, beside ``text/*`` and what ends with ``+json`` or ``+xml``."""

IN_A_THREAD: Final = 65536
"""Octets; what is larger is compressed in a thread, or the loop would stand still for milliseconds."""
_NONE: Final = frozenset({204, 205, 206, 304})
_LEFT_ALONE: Final = (b"content-encoding", b"content-range", b"content-digest", b"repr-digest")
"""What says that content is coded already, or is held to what it is."""
_NOT_SAID: Final = frozenset({b"content-length", b"accept-ranges"})


class Wanted(NamedTuple):
    """What becomes of a response: its coding, None for none, and its fields."""

    coding: str | None
    fields: list[Field]


class Compress:
    """A middleware that compresses what is worth it, in the coding that the peer would rather have.

    A strong entity tag becomes weak, ``accept-ranges`` goes, and ``vary`` names ``accept-encoding``. Left alone is what
    is coded already, is a part, or has ``cache-control: no-transform`` or a digest. Streams go out with every piece,
    so events arrive when they happen.

    Where a response has a secret in it, such as a token against forgery, and repeats what a request says, its length
    tells the secret bit by bit to who can make a browser ask again and again (BREACH). Say ``unless=`` for such.

    Args:
        minimum: octets that are worth it, where it is known how many there are.
        codings: those that are offered, best first: ``"zstd"``, ``"br"``, ``"gzip"``. None is all that can be had:
            gzip, and the others with the extras ``zstd`` and ``br``.
        types: media types that are compressed in place of :data:`COMPRESSIBLE`.
        unless: given a request, whether its response is left alone.

    Raises:
        ValueError: an argument is out of range.
        RuntimeError: a coding that was named has no library here; the message says what to type.
    """

    def __init__(
        self,
        *,
        minimum: Size = 1000,
        codings: Sequence[str] | None = None,
        types: Collection[str] | None = None,
        unless: Callable[[Request], object] | None = None,
    ) -> None:
        self._minimum = octets("minimum", minimum, least=0)
        offered = _offered(codings)
        self._codings = [name.encode("ascii") for name in offered]
        self._types = COMPRESSIBLE if types is None else frozenset(types)
        self._unless = unless

    async def __call__(self, request: Request, call_next: CallNext) -> AnyResponse:
        """What the next one answers, compressed or to be compressed."""
        response = await call_next(request)
        if isinstance(response, Handoff) or (self._unless is not None and self._unless(request)):
            return response
        if isinstance(response, Response):
            return await self._at_once(request, response)
        accepted = joined(request.fields, b"accept-encoding")

        def around(exchange: Exchange) -> Exchange:
            return _Compressing(exchange, self, accepted)

        if not isinstance(response, Upgrade) or not _is_for_websocket(request):
            response.around = within(response.around, around)
        return response

    async def _at_once(self, request: Request, response: Response) -> Response:
        body = content(response.body)
        wanted = self.wanted(response.status, response.fields, joined(request.fields, b"accept-encoding"), len(body))
        response.fields = wanted.fields
        if wanted.coding is not None:
            response.body = await compressed(wanted.coding, body)
        return response

    def wanted(self, status: int, fields: Sequence[Field], accepted: bytes | None, length: int | None) -> Wanted:
        """Whether a response is compressed, and how; and what its head says.

        Args:
            accepted: Accept-Encoding.
            length: octets of the content; None is not known.
        """
        given = list(fields)
        if status == 304 and lookup(given, b"etag") is not None:
            # It has the fields of the 200 in whose place it stands, and that may have been compressed.
            coding = choose_coding(accepted, self._codings)
            return Wanted(None, with_vary(given if coding is None else _weakened(given), b"accept-encoding"))
        if status in _NONE or not self._is_worth_it(given, length):
            return Wanted(None, given)
        coding = choose_coding(accepted, self._codings)
        if coding is None:
            return Wanted(None, with_vary(given, b"accept-encoding"))
        kept = [field for field in _weakened(given) if field[0] not in _NOT_SAID]
        kept = [*with_vary(kept, b"accept-encoding"), (b"content-encoding", coding)]
        return Wanted(coding.decode("ascii"), kept)

    def _is_worth_it(self, fields: list[Field], length: int | None) -> bool:
        if length is not None and length < self._minimum:
            return False
        names = {name for name, _ in fields}
        if not names.isdisjoint(_LEFT_ALONE) or b"no-transform" in tokens(fields, b"cache-control"):
            return False
        kind = (lookup(fields, b"content-type") or b"").partition(b";")[0].strip().lower().decode("latin-1")
        return kind.startswith("text/") or kind in self._types or kind.endswith(("+json", "+xml"))


def _offered(given: Sequence[str] | None) -> Sequence[str]:
    if given is None:
        return codings()
    if isinstance(given, str):
        raise ValueError(f"codings is a list; write [{given!r}]")
    check_codings(tuple(given))
    return given


def _weakened(fields: list[Field]) -> list[Field]:
    """A strong tag promises octets that these are not any more (RFC 9110 section 8.8.1)."""
    return [(n, b"W/" + value if n == b"etag" and value.startswith(b'"') else value) for n, value in fields]


def _is_for_websocket(request: Request) -> bool:
    return b"websocket" in tokens(request.fields, b"upgrade")


async def compressed(coding: str, body: bytes) -> bytes:
    """All of it, in a thread if it is much."""
    if len(body) > IN_A_THREAD:
        return await trio.to_thread.run_sync(encode, coding, body)
    return encode(coding, body)


class _Compressing(Around):
    """An exchange that compresses what is written to it."""

    def __init__(self, inner: Exchange, rules: Compress, accepted: bytes | None) -> None:
        super().__init__(inner)
        self._rules = rules
        self._accepted = accepted
        self._encoder: Encoder | None = None

    async def respond(self, status: int, fields: Sequence[Field], body: bytes, *, reason: bytes | None = None) -> None:
        """A whole response, compressed."""
        body = content(body)
        length = len(body)
        if not body and (declared := lookup(fields, b"content-length")) is not None and declared.isdigit():
            length = int(declared)  # of a HEAD
        wanted = self._rules.wanted(status, fields, self._accepted, length)
        if wanted.coding is not None and body:
            body = await compressed(wanted.coding, body)
        await self.inner.respond(status, wanted.fields, body, reason=reason)

    async def start_response(self, status: int, fields: Sequence[Field], *, reason: bytes | None = None) -> bool:
        """The head; from here on it is known whether to compress."""
        declared = lookup(fields, b"content-length")
        length = int(declared) if declared is not None and declared.isdigit() else None
        wanted = self._rules.wanted(status, fields, self._accepted, length)
        writes = await self.inner.start_response(status, wanted.fields, reason=reason)
        if writes and wanted.coding is not None:
            self._encoder = open_encoder(wanted.coding)
        return writes

    async def send_body(self, data: bytes) -> None:
        """A piece, which goes out as it comes."""
        if self._encoder is not None and data:
            data = await self._encoded(content(data), flush=True)
        await self.inner.send_body(data)

    async def send_file(self, file: OpenFile, offset: int, length: int) -> None:
        """A range of a file, in pieces; the kernel does not compress."""
        if self._encoder is None:
            return await self.inner.send_file(file, offset, length)
        for at in range(offset, offset + length, READ_SIZE):
            count = min(READ_SIZE, offset + length - at)
            data = file.read_cached(at, count) or await file.read(at, count)
            if len(data) < count:
                raise EOFError("the file became shorter while it was sent")
            await self.inner.send_body(await self._encoded(data, flush=False))
        return None

    async def _encoded(self, data: bytes, *, flush: bool) -> bytes:
        encoder = self._encoder
        if encoder is None:
            return data
        if len(data) <= IN_A_THREAD:
            return encoder.encode(data, flush=flush)
        return await trio.to_thread.run_sync(partial(encoder.encode, data, flush=flush))

    async def end_response(self, trailers: Sequence[Field] = ()) -> None:
        """The end, and what the coding says of it."""
        if self._encoder is not None:
            encoder, self._encoder = self._encoder, None
            await self.inner.send_body(encoder.finish())
        await self.inner.end_response(trailers)
