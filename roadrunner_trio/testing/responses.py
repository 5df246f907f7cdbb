"""What a server answered, whole or as it comes."""

from __future__ import annotations

import json as jsons
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import h11
import trio

from ..fields import Field, lookup
from ..protocol.http2.frames import CANCEL
from .events import ReceivedEvents
from .talk import End, Head, Talk


@dataclass(frozen=True, slots=True)
class ClientResponse:
    """What a server answered.

    Attributes:
        status: of the final response.
        fields: pairs of lower-case name and value.
        body: the content, whole.
        interim: statuses of interim responses that came before it.
        trailers: trailer fields.
        history: the responses that led here, where redirects were followed.
    """

    status: int
    fields: Sequence[Field]
    body: bytes
    interim: Sequence[int] = ()
    trailers: Sequence[Field] = ()
    history: Sequence[ClientResponse] = ()

    def header(self, name: str) -> str | None:
        """The first value of a field, or None."""
        return header(self.fields, name)

    @property
    def text(self) -> str:
        """The content as UTF-8."""
        return self.body.decode()

    def json(self) -> Any:
        """The content as JSON.

        Raises:
            ValueError: it is none.
        """
        return jsons.loads(self.body)


class StreamedResponse:
    """A response whose content comes while one looks at it: iterate, or :meth:`read` the rest.

    Attributes:
        status: of the final response.
        fields: pairs of lower-case name and value.
        interim: statuses of interim responses that came before it.
        trailers: trailer fields, once the content has been read.
        stream: what speaks the other protocol after a 101, or a 2xx to CONNECT; else None.
    """

    def __init__(self, talk: Talk) -> None:
        self._talk = talk
        self.status = 0
        self.fields: Sequence[Field] = ()
        self.interim: list[int] = []
        self.trailers: Sequence[Field] = ()
        self.stream: trio.abc.Stream | None = None
        self.ended = False

    def header(self, name: str) -> str | None:
        """The first value of a field, or None."""
        return header(self.fields, name)

    def __aiter__(self) -> StreamedResponse:
        return self

    async def __anext__(self) -> bytes:
        """The next piece of the content, as it comes.

        Raises:
            StreamReset: of HTTP/2, the server has reset the stream; an ``h11.RemoteProtocolError`` as the next.
            h11.RemoteProtocolError: the server broke the protocol, or closed before the end of its response.
        """
        while not self.ended:
            event = await self._talk.next()
            if isinstance(event, bytes):
                return event
            if isinstance(event, End):
                self.trailers, self.ended = event.trailers, True
        raise StopAsyncIteration

    async def read(self) -> bytes:
        """What is left of the content."""
        return b"".join([piece async for piece in self])

    def events(self) -> ReceivedEvents:
        """The content as server-sent events, to be iterated."""
        return ReceivedEvents(self)

    async def disconnect(self, code: int = CANCEL) -> None:
        """Leaves, as leaving the block does: resets the stream of HTTP/2, or closes the connection of HTTP/1.1.

        Args:
            code: of the RST_STREAM; 8 is CANCEL.
        """
        await self._talk.leave(code)


async def begun(talk: Talk) -> StreamedResponse:
    """A response, of which the final head has come."""
    response = StreamedResponse(talk)
    while response.status < 200 and response.stream is None:
        event = await talk.next()
        if not isinstance(event, Head):
            raise h11.RemoteProtocolError("a response without a head")
        if event.status < 200 and event.status != 101:
            response.interim.append(event.status)
            continue
        response.status, response.fields = event
        response.stream = talk.switched
        response.ended = response.stream is not None
    return response


def header(fields: Sequence[Field], name: str) -> str | None:
    """The first value of a field, or None."""
    value = lookup(fields, name.lower().encode("latin-1"))
    return None if value is None else value.decode("latin-1")
