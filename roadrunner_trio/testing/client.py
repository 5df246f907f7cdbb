"""A client for tests: every method, streams both ways, disconnects at will; in HTTP/1.1 or in HTTP/2."""

from __future__ import annotations

import json as jsons
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import replace
from http.cookies import CookieError, SimpleCookie
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

import trio

from ..fields import Field, FieldsLike, encoded, lookup
from ..protocol.http2.frames import CANCEL, DEFAULT_WINDOW
from .events import ReceivedEvents
from .http1 import Http1Line
from .http2 import Http2Line
from .nurseries import plain_nursery
from .responses import ClientResponse, StreamedResponse, begun
from .sockets import AsUpgraded, ClientWebSocket, connect_fields, open_websocket
from .talk import HOST, Asked, Talk

MAX_REDIRECTS: Final = 10
OF_A_BODY: Final = frozenset(
    {b"content-encoding", b"content-language", b"content-length", b"content-type", b"expect", b"transfer-encoding"}
)
"""Fields that go with a body when a redirect takes it away."""
Body = bytes | str | AsyncIterable[bytes]
"""What a request may carry; an iterable goes out in chunks, while the response is read."""
_UNSET: Final[Any] = ...


class Client:
    """A small client on one connection, for tests. Not for the open sea: it trusts its server.

    It speaks HTTP/1.1, one request after the other, or HTTP/2, and then as many at once as tasks use it. Everything
    else is the same; fields such as ``Connection``, which HTTP/2 has not, are left out there.

    Args:
        stream: the connection; the client does not close it.
        connect: opens another one, when the server has said that this one ends, and for each WebSocket of HTTP/1.1.
        http2: speaks HTTP/2, without asking first.

    Attributes:
        cookies: what goes out as ``Cookie``, by name. What a response sets is kept here; paths and domains are not
            looked at.
    """

    def __init__(
        self, stream: trio.abc.Stream, *, connect: Callable[[], trio.abc.Stream] | None = None, http2: bool = False
    ) -> None:
        self.cookies: dict[str, str] = {}
        self._connect = connect
        self._http2 = http2
        self._line = self._speak(stream)

    @property
    def stream(self) -> trio.abc.Stream:
        """The connection. Of HTTP/1.1, after a 101, or a 2xx to CONNECT, it is what speaks the other protocol."""
        return self._line.stream

    async def request(
        self,
        method: str,
        target: str,
        *,
        fields: FieldsLike = (),
        body: Body = b"",
        json: Any = _UNSET,
        trailers: FieldsLike = (),
        follow_redirects: bool = False,
    ) -> ClientResponse:
        """Sends a request and reads its response; ``Host`` and ``Content-Length`` are added when they are missing.

        Args:
            method: any token.
            target: path and query.
            fields: header fields.
            body: the content.
            json: the content, made of this; with its ``Content-Type``.
            trailers: fields behind the content.
            follow_redirects: goes where a 3xx says, up to ten times, as browsers do; not to other hosts.

        Raises:
            h11.RemoteProtocolError: the server broke the protocol, or its response off: in HTTP/2 a ``StreamReset``.
            trio.BrokenResourceError: the connection is gone.
            ValueError: a field that would split the request; more than ten redirects; a body beside ``json``.
        """
        history: list[ClientResponse] = []
        while True:
            found = await _whole(self.open(method, target, fields=fields, body=body, json=json, trailers=trailers))
            used_up = found.status in (307, 308) and isinstance(body, AsyncIterable)
            onward = _onward(target, found) if follow_redirects and not used_up else None
            if onward is None:
                return replace(found, history=history) if history else found
            if len(history := [*history, found]) > MAX_REDIRECTS:
                raise ValueError(f"more than {MAX_REDIRECTS} redirects, the last one to {onward}")
            target = onward
            if found.status == 303 or (found.status in (301, 302) and method == "POST"):
                method, body, json, trailers = "HEAD" if method == "HEAD" else "GET", b"", _UNSET, ()
                fields = [field for field in encoded(fields) if field[0] not in OF_A_BODY]

    @asynccontextmanager
    async def open(
        self,
        method: str,
        target: str,
        *,
        fields: FieldsLike = (),
        body: Body = b"",
        json: Any = _UNSET,
        trailers: FieldsLike = (),
    ) -> AsyncGenerator[StreamedResponse, None]:
        """Sends a request, and gives its response as soon as the head of that is there.

        When the block is left before the content has ended, so is the connection: the peer is gone. In HTTP/2 it is the
        stream alone that is reset.

        Raises:
            Exception: as :meth:`request`.
        """
        if json is not _UNSET:
            fields, body = _as_json(fields, body, json)
        pieces = body if isinstance(body, AsyncIterable) else None
        octets = None if isinstance(body, AsyncIterable) else body.encode() if isinstance(body, str) else body
        if self._http2 and octets is not None and len(octets) > DEFAULT_WINDOW // 2:
            fields, pieces, octets = [*encoded(fields), (b"content-length", b"%d" % len(octets))], Whole(octets), None
        talk = await self._ask(method, target, fields, octets, trailers)
        try:
            if pieces is None:
                yield await self._begin(talk)
            else:
                async with plain_nursery() as nursery:
                    nursery.start_soon(self._send_pieces, talk, pieces, trailers)
                    yield await self._begin(talk)
                    nursery.cancel_scope.cancel(reason="the response has been read")
        finally:
            if not talk.over:
                await talk.leave(CANCEL)

    async def start(
        self, method: str, target: str, *, fields: FieldsLike = (), body: Body = b"", trailers: FieldsLike = ()
    ) -> StreamedResponse:
        """As :meth:`open`, where no block can be had: sends all of the body first, and leaves the end to the caller.

        Raises:
            Exception: as :meth:`request`.
        """
        pieces = body if isinstance(body, AsyncIterable) else None
        octets = None if isinstance(body, AsyncIterable) else body.encode() if isinstance(body, str) else body
        talk = await self._ask(method, target, fields, octets, trailers)
        try:
            if pieces is not None:
                await self._send_pieces(talk, pieces, trailers)
            return await self._begin(talk)
        except BaseException:
            await talk.leave(CANCEL)
            raise

    async def get(self, target: str, *, fields: FieldsLike = (), follow_redirects: bool = False) -> ClientResponse:
        """GET."""
        return await self.request("GET", target, fields=fields, follow_redirects=follow_redirects)

    async def head(self, target: str, *, fields: FieldsLike = ()) -> ClientResponse:
        """HEAD."""
        return await self.request("HEAD", target, fields=fields)

    async def options(self, target: str, *, fields: FieldsLike = ()) -> ClientResponse:
        """OPTIONS."""
        return await self.request("OPTIONS", target, fields=fields)

    async def post(
        self,
        target: str,
        body: Body = b"",
        *,
        fields: FieldsLike = (),
        json: Any = _UNSET,
        follow_redirects: bool = False,
    ) -> ClientResponse:
        """POST."""
        return await self.request(
            "POST", target, fields=fields, body=body, json=json, follow_redirects=follow_redirects
        )

    async def put(
        self, target: str, body: Body = b"", *, fields: FieldsLike = (), json: Any = _UNSET
    ) -> ClientResponse:
        """PUT."""
        return await self.request("PUT", target, fields=fields, body=body, json=json)

    async def patch(
        self, target: str, body: Body = b"", *, fields: FieldsLike = (), json: Any = _UNSET
    ) -> ClientResponse:
        """PATCH."""
        return await self.request("PATCH", target, fields=fields, body=body, json=json)

    async def delete(self, target: str, *, fields: FieldsLike = ()) -> ClientResponse:
        """DELETE."""
        return await self.request("DELETE", target, fields=fields)

    @asynccontextmanager
    async def events(
        self, target: str, *, fields: FieldsLike = (), last_event_id: str | None = None
    ) -> AsyncGenerator[ReceivedEvents, None]:
        """The server-sent events of a resource, to be iterated; leaving the block is leaving the stream.

        Raises:
            ValueError: the response is no event stream.
            Exception: as :meth:`request`.
        """
        pairs = [*encoded(fields), (b"accept", b"text/event-stream")]
        if last_event_id is not None:
            pairs.append((b"last-event-id", last_event_id.encode()))
        async with self.open("GET", target, fields=pairs) as response:
            kind = (response.header("content-type") or "").partition(";")[0].strip()
            if response.status != 200 or kind != "text/event-stream":
                raise ValueError(f"{target} is no event stream, but {response.status} {kind}")
            yield response.events()

    def websocket(
        self, target: str, *, subprotocols: Sequence[str] = (), fields: FieldsLike = ()
    ) -> AbstractAsyncContextManager[ClientWebSocket]:
        """A WebSocket, open for as long as the block lasts.

        In HTTP/2 it is a stream among others (RFC 8441); in HTTP/1.1 it is on a connection of its own, where one can be
        had.

        Raises:
            trio_websocket.ConnectionRejected: the server answered with something else; it has the status and the body.
            h11.RemoteProtocolError: it did not answer, or its answer broke off.
            ValueError: in HTTP/2, the server offers no WebSockets: nothing that it serves is one.
        """
        extra = [*encoded(fields), *self._cookie_field()]
        if self._http2:
            return self._websocket_on_a_stream(target, subprotocols, extra)
        stream = self.stream if self._connect is None else self._connect()
        return open_websocket(stream, HOST, target, subprotocols, extra)

    @asynccontextmanager
    async def _websocket_on_a_stream(
        self, target: str, subprotocols: Sequence[str], fields: list[Field]
    ) -> AsyncGenerator[ClientWebSocket, None]:
        line = await self._ready_line()
        if isinstance(line, Http2Line) and not await line.takes_connect():
            raise ValueError("the server offers no WebSockets over HTTP/2: nothing that it serves is one")
        asked = Asked("CONNECT", target, connect_fields(subprotocols, fields), None, (), "websocket")
        talk = await line.ask(asked)
        try:
            response = await begun(talk)
            content = b"" if response.stream else await response.read()
        except BaseException:
            await talk.leave(CANCEL)
            raise
        stream = AsUpgraded(response.stream, response.status, response.fields, content)
        async with open_websocket(stream, HOST, target, subprotocols, ()) as socket:
            yield socket

    async def send_eof(self) -> None:
        """Says that nothing more will be sent, and goes on reading: a half-close."""
        if not isinstance(self.stream, trio.abc.HalfCloseableStream):
            raise TypeError("this stream cannot be half-closed")
        await self.stream.send_eof()

    async def disconnect(self) -> None:
        """Vanishes, without a word: whatever the server does for this connection, its peer has gone."""
        await trio.aclose_forcefully(self.stream)

    async def _ask(
        self, method: str, target: str, fields: FieldsLike, body: bytes | None, trailers: FieldsLike
    ) -> Talk:
        pairs = encoded(fields)
        if not any(name == b"cookie" for name, _ in pairs):
            pairs += self._cookie_field()
        line = await self._ready_line()
        asked = Asked(method, target, pairs, body, encoded(trailers) if body is not None else ())
        return await line.ask(asked)

    def _speak(self, stream: trio.abc.Stream) -> Http1Line | Http2Line:
        return Http2Line(stream) if self._http2 else Http1Line(stream)

    async def _ready_line(self) -> Http1Line | Http2Line:
        """A connection that takes a request: the one that is there, or another."""
        if not self._line.makes_ready() and self._connect is not None:
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await trio.aclose_forcefully(self.stream)
            self._line = self._speak(self._connect())
        return self._line

    async def _send_pieces(self, talk: Talk, pieces: AsyncIterable[bytes], trailers: FieldsLike) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):  # the server has heard enough
            async for piece in pieces:
                await talk.send(piece)
            await talk.finish(encoded(trailers))

    async def _begin(self, talk: Talk) -> StreamedResponse:
        response = await begun(talk)
        for name, value in response.fields:
            if name == b"set-cookie":
                self._keep_cookie(value.decode("latin-1"))
        return response

    def _cookie_field(self) -> list[Field]:
        pairs = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        return [(b"cookie", pairs.encode("latin-1"))] if pairs else []

    def _keep_cookie(self, line: str) -> None:
        with suppress(CookieError):
            for name, morsel in SimpleCookie(line).items():
                if (
                    morsel["max-age"] == "0"
                    or morsel["max-age"].startswith("-")
                    or morsel["expires"].endswith("1970 00:00:00 GMT")
                ):
                    self.cookies.pop(name, None)
                else:
                    self.cookies[name] = morsel.coded_value


async def _whole(opened: AbstractAsyncContextManager[StreamedResponse]) -> ClientResponse:
    async with opened as streamed:
        content = await streamed.read()
    return ClientResponse(streamed.status, streamed.fields, content, streamed.interim, streamed.trailers)


class Whole(AsyncIterator[bytes]):
    """Content that is sent while the response is read, as a server may wait for either; in one piece."""

    def __init__(self, content: bytes) -> None:
        self._left = [content]

    async def __anext__(self) -> bytes:
        if not self._left:
            raise StopAsyncIteration
        return self._left.pop()


def _as_json(fields: FieldsLike, body: Body, json: Any) -> tuple[list[Field], bytes]:
    if body:
        raise ValueError("a request has a body or a json, not both")
    pairs = encoded(fields)
    if lookup(pairs, b"content-type") is None:
        pairs.append((b"content-type", b"application/json"))
    return pairs, jsons.dumps(json).encode()


def _onward(target: str, response: ClientResponse) -> str | None:
    """Where a response sends one, as a target; None when it does not, or to another host."""
    location = response.header("location")
    if response.status not in (301, 302, 303, 307, 308) or location is None:
        return None
    parts = urlsplit(urljoin(f"http://{HOST}{target}", location))
    if parts.netloc != HOST:
        return None
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
