"""Bodies of requests that come compressed, for handlers that say so: nothing is inflated unasked (CVE-2025-69223)."""

from __future__ import annotations

from typing import Final

import trio

from ..answering.middleware import CallNext
from ..errors import HTTPError
from ..fields import Fields
from ..messages.request import BodySource, Request
from ..messages.response import AnyResponse, Upgrade
from ..protocol.codec.coders import Decoder, codings, open_decoder
from ..protocol.codec.negotiation import joined
from ..units import Size, octets

__all__ = ["Inflate"]

TURN: Final = 16
"""Pieces that are inflated before the neighbours have their turn; a piece of 64 kB takes some 100 µs."""
_ALIASES: Final = {"x-gzip": "gzip"}


class Inflate:
    """A middleware that gives handlers the content of bodies that come in a coding, ``content-encoding: gzip``.

    What they inflate to is bounded, besides the limit of what comes. The request then has no ``content-encoding`` any
    more, nor a ``content-length``. An application of ASGI reads its bodies itself: as they come, and with these fields.

    Args:
        most: octets that a body may inflate to, else 413.

    Raises:
        ValueError: it is no size.
    """

    def __init__(self, most: Size = "10M") -> None:
        self._most = octets("most", most)

    async def __call__(self, request: Request, call_next: CallNext) -> AnyResponse:
        """The next one's answer; 415 to a coding that is not known here (RFC 9110 section 15.5.16)."""
        said = joined(request.fields, b"content-encoding")
        if said is None or said.strip().lower() in (b"", b"identity"):
            return await call_next(request)
        name = said.strip().lower().decode("latin-1")
        coding = _ALIASES.get(name, name)
        if coding not in codings():  # several at once are none of them: a bomb in a bomb has no good use
            raise HTTPError(415, fields={"accept-encoding": ", ".join(codings())})
        await request.filter_body(lambda source: _Inflating(source, open_decoder(coding), self._most))
        given = request.head
        request.head = given._replace(fields=_without(request.fields), content_length=0)
        response = await call_next(request)
        if isinstance(response, Upgrade):  # what reads the body itself has to know in which coding that comes
            request.head = given
        return response


def _without(fields: Fields) -> Fields:
    return tuple([field for field in fields if field[0] not in (b"content-encoding", b"content-length")])


class _Inflating:
    """A source of a body that inflates another's."""

    def __init__(self, source: BodySource, decoder: Decoder, most: int) -> None:
        self._source = source
        self._decoder = decoder
        self._left = most
        self._pieces = 0

    async def receive_body(self) -> bytes:
        """The next piece, of at most 64 KiB.

        Raises:
            HTTPError: 413 for what is too much, 400 for what is not in its coding, or not to its end.
        """
        data = b""
        while not (piece := self._decoded(data)):
            data = await self._source.receive_body()
            if bool(data) == self._decoder.finished:  # it has ended before its coding, or goes on behind it
                raise HTTPError(400, "the body is not in its content-encoding from the first octet to the last")
            if not data:
                return b""
        self._left -= len(piece)
        if self._left < 0:
            raise HTTPError(413)
        self._pieces += 1
        if self._pieces % TURN == 0:
            await trio.lowlevel.checkpoint()
        return piece

    def _decoded(self, data: bytes) -> bytes:
        try:
            return self._decoder.decode(data)
        except ValueError:
            raise HTTPError(400, "the body is not in its content-encoding") from None

    async def disconnected(self) -> None:
        """Returns when the peer has gone."""
        await self._source.disconnected()

    def acknowledge_drain(self) -> None:
        """Notes that the application has taken the drain's word."""
        self._source.acknowledge_drain()
