"""What a client for tests says and hears, whichever version of HTTP it is said in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol, TypeAlias

import h11
import trio

from ..fields import Field

HOST: Final = "test"
"""Whom requests are for that do not say it."""


class StreamReset(h11.RemoteProtocolError):
    """The server has reset the stream of a request (RFC 9113 section 6.4).

    Attributes:
        code: of the RST_STREAM, such as 1, PROTOCOL_ERROR, or 2, INTERNAL_ERROR; 7, REFUSED_STREAM, also for what a
            GOAWAY has left out.
    """

    def __init__(self, code: int) -> None:
        super().__init__(f"the server has reset the stream: code {code}")
        self.code = code


class Asked(NamedTuple):
    """The head of a request.

    Attributes:
        method: any token.
        target: path and query.
        fields: of the request, without those that say how long its content is.
        body: the content, where it is at hand; None when it comes in pieces.
        trailers: fields behind it.
        protocol: of an extended CONNECT (RFC 8441).
    """

    method: str
    target: str
    fields: list[Field]
    body: bytes | None
    trailers: Sequence[Field] = ()
    protocol: str = ""


class Head(NamedTuple):
    """The head of a response, an interim one as well."""

    status: int
    fields: Sequence[Field]


class End(NamedTuple):
    """The end of a response."""

    trailers: Sequence[Field]


Event: TypeAlias = Head | bytes | End


class Talk(Protocol):
    """One request and its response."""

    @property
    def over(self) -> bool:
        """Whether there is nothing to be given up: all was sent and has come, or the stream is somebody else's."""
        ...

    @property
    def switched(self) -> trio.abc.Stream | None:
        """What speaks another protocol from now on, if the response says so."""
        ...

    async def send(self, data: bytes) -> None:
        """A piece of the content.

        Raises:
            trio.BrokenResourceError: the server takes no more.
        """
        ...

    async def finish(self, trailers: Sequence[Field]) -> None:
        """The end of the content; raises as :meth:`send`."""
        ...

    async def next(self) -> Event:
        """What comes next of the response.

        Raises:
            h11.RemoteProtocolError: the server broke the protocol, or closed before the end of its response.
            trio.BrokenResourceError, trio.ClosedResourceError: the connection is gone.
        """
        ...

    async def leave(self, code: int) -> None:
        """Gives the request up; in HTTP/2 with this code."""
        ...
