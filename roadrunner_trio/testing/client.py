"""A client for tests: one connection at a time, every method, streams both ways, and disconnects at will."""

from __future__ import annotations

import json as jsons
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from http.cookies import CookieError, SimpleCookie
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

import h11
import trio

from ..fields import Field, FieldsLike, encoded, lookup
from ..transport.streams import PrefixedStream
from ..transport.wire import RECEIVE_SIZE
from .events import ReceivedEvents
from .nurseries import plain_nursery
from .sockets import ClientWebSocket, open_websocket

HOST: Final = "test"
MAX_REDIRECTS: Final = 10
OF_A_BODY: Final = frozenset(
    {b"content-encoding", b"content-language", b"content-length", b"content-type", b"expect", b"transfer-encoding"}
)
"""Fields that go with a body when a redirect takes it away."""
Body = bytes | str | AsyncIterable[bytes]
"""What a request may carry; an iterable goes out in chunks, while the response is read."""
_UNSET: Final[Any] = ...


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
        return _header(self.fields, name)

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
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self.status = 0
        self.fields: Sequence[Field] = ()
        self.interim: list[int] = []
        self.trailers: Sequence[Field] = ()
        self.ended = False

    def header(self, name: str) -> str | None:
        """The first value of a field, or None."""
        return _header(self.fields, name)

    def __aiter__(self) -> StreamedResponse:
        return self

    async def __anext__(self) -> bytes:
        """The next piece of the content, as it comes.

        Raises:
            h11.RemoteProtocolError: the server broke the protocol, or closed before the end of its response.
        """
        while not self.ended:
            event = await self._client._next_event()  # pyright: ignore[reportPrivateUsage]
            if isinstance(event, h11.Data):
                return bytes(event.data)
            if isinstance(event, h11.EndOfMessage):
                self.trailers, self.ended = list(event.headers), True
        raise StopAsyncIteration

    async def read(self) -> bytes:
        """What is left of the content."""
        return b"".join([piece async for piece in self])

    def events(self) -> ReceivedEvents:
        """The content as server-sent events, to be iterated."""
        return ReceivedEvents(self)

    async def _begin(self) -> None:
        while True:
            event = await self._client._next_event()  # pyright: ignore[reportPrivateUsage]
            if isinstance(event, h11.Response):
                self.status, self.fields = event.status_code, list(event.headers)
                self.ended = self._client._has_switched()  # pyright: ignore[reportPrivateUsage]
                return
            if isinstance(event, h11.InformationalResponse):
                if event.status_code == 101:
                    self.status, self.fields, self.ended = 101, list(event.headers), True
                    self._client._has_switched()  # pyright: ignore[reportPrivateUsage]
                    return
                self.interim.append(event.status_code)


class Client:
    """A small HTTP/1.1 client on one connection, for tests. Not for the open sea: it trusts its server.

    After a 101, or a 2xx to CONNECT, ``stream`` is what speaks the other protocol.

    Args:
        stream: the connection; the client does not close it.
        connect: opens another one, when the server has said that this one ends, and for each WebSocket.

    Attributes:
        cookies: what goes out as ``Cookie``, by name. What a response sets is kept here; paths and domains are not
            looked at.
    """

    def __init__(self, stream: trio.abc.Stream, *, connect: Callable[[], trio.abc.Stream] | None = None) -> None:
        self.stream = stream
        self.cookies: dict[str, str] = {}
        self._connect = connect
        self._h11 = h11.Connection(h11.CLIENT)

    async def request(
        self,
        method: str,
        target: str,
        *,
        fields: FieldsLike = (),
        body: Body = b"",
        json: Any = _UNSET,
        follow_redirects: bool = False,
    ) -> ClientResponse:
        """Sends a request and reads its response; ``Host`` and ``Content-Length`` are added when they are missing.

        Args:
            method: any token.
            target: path and query.
            fields: header fields.
            body: the content.
            json: the content, made of this; with its ``Content-Type``.
            follow_redirects: goes where a 3xx says, up to ten times, as browsers do; not to other hosts.

        Raises:
            h11.RemoteProtocolError: the server broke the protocol, or closed before the end of its response.
            trio.BrokenResourceError: the connection is gone.
            ValueError: a field that would split the request; more than ten redirects; a body beside ``json``.
        """
        history: list[ClientResponse] = []
        while True:
            async with self.open(method, target, fields=fields, body=body, json=json) as streamed:
                content = await streamed.read()
            found = ClientResponse(streamed.status, streamed.fields, content, streamed.interim, streamed.trailers)
            used_up = found.status in (307, 308) and isinstance(body, AsyncIterable)
            onward = _onward(target, found) if follow_redirects and not used_up else None
            if onward is None:
                return replace(found, history=history) if history else found
            if len(history := [*history, found]) > MAX_REDIRECTS:
                raise ValueError(f"more than {MAX_REDIRECTS} redirects, the last one to {onward}")
            target = onward
            if found.status == 303 or (found.status in (301, 302) and method == "POST"):
                method, body, json = "HEAD" if method == "HEAD" else "GET", b"", _UNSET
                fields = [field for field in encoded(fields) if field[0] not in OF_A_BODY]

    @asynccontextmanager
    async def open(
        self, method: str, target: str, *, fields: FieldsLike = (), body: Body = b"", json: Any = _UNSET
    ) -> AsyncGenerator[StreamedResponse, None]:
        """Sends a request, and gives its response as soon as the head of that is there.

        When the block is left before the content has ended, so is the connection: the peer is gone.

        Raises:
            Exception: as :meth:`request`.
        """
        if json is not _UNSET:
            fields, body = _as_json(fields, body, json)
        response = None
        try:
            if isinstance(body, AsyncIterable):
                async with plain_nursery() as nursery:
                    await self._make_ready()
                    await self._send_head(method, target, fields, None)
                    nursery.start_soon(self._send_pieces, body)
                    response = await self._begin()
                    yield response
                    nursery.cancel_scope.cancel(reason="the response has been read")
            else:
                response = await self.start(method, target, fields=fields, body=body)
                yield response
        finally:
            if response is not None and not response.ended:
                await self.disconnect()

    async def start(self, method: str, target: str, *, fields: FieldsLike = (), body: Body = b"") -> StreamedResponse:
        """As :meth:`open`, where no block can be had: sends all of the body first, and leaves the end to the caller.

        Raises:
            Exception: as :meth:`request`.
        """
        await self._make_ready()
        if isinstance(body, AsyncIterable):
            await self._send_head(method, target, fields, None)
            await self._send_pieces(body)
        else:
            await self._send_head(method, target, fields, body.encode() if isinstance(body, str) else body)
        return await self._begin()

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
        """A WebSocket, open for as long as the block lasts; on a connection of its own, where one can be had.

        Raises:
            trio_websocket.ConnectionRejected: the server answered with something else; it has the status and the body.
        """
        stream = self.stream if self._connect is None else self._connect()
        extra = [*encoded(fields), *self._cookie_field()]
        return open_websocket(stream, HOST, target, subprotocols, extra)

    async def send_eof(self) -> None:
        """Says that nothing more will be sent, and goes on reading: a half-close."""
        if not isinstance(self.stream, trio.abc.HalfCloseableStream):
            raise TypeError("this stream cannot be half-closed")
        await self.stream.send_eof()

    async def disconnect(self) -> None:
        """Vanishes, without a word: whatever the server does for this connection, its peer has gone."""
        await trio.aclose_forcefully(self.stream)

    async def _make_ready(self) -> None:
        if self._h11.our_state is h11.IDLE:
            return
        if self._h11.our_state is h11.DONE and self._h11.their_state in (h11.DONE, h11.IDLE):
            self._h11.start_next_cycle()
        elif self._connect is not None:
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await trio.aclose_forcefully(self.stream)
            self.stream, self._h11 = self._connect(), h11.Connection(h11.CLIENT)
        else:
            self._h11.start_next_cycle()  # raises, and says why

    async def _send_head(self, method: str, target: str, fields: FieldsLike, body: bytes | None) -> None:
        pairs = encoded(fields)
        names = {name for name, _ in pairs}
        if b"host" not in names:
            pairs.insert(0, (b"host", HOST.encode()))
        if b"cookie" not in names:
            pairs += self._cookie_field()
        if not names & {b"content-length", b"transfer-encoding"}:
            if body is None:
                pairs.append((b"transfer-encoding", b"chunked"))
            elif body:
                pairs.append((b"content-length", b"%d" % len(body)))
        data = self._h11.send(h11.Request(method=method, target=target, headers=pairs)) or b""
        if body is not None:
            data += (self._h11.send(h11.Data(data=body)) or b"") if body else b""
            data += self._h11.send(h11.EndOfMessage()) or b""
        await self.stream.send_all(data)

    async def _send_pieces(self, pieces: AsyncIterable[bytes]) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):  # the server has heard enough
            async for piece in pieces:
                await self.stream.send_all(self._h11.send(h11.Data(data=piece)) or b"")
            await self.stream.send_all(self._h11.send(h11.EndOfMessage()) or b"")

    async def _begin(self) -> StreamedResponse:
        response = StreamedResponse(self)
        await response._begin()  # pyright: ignore[reportPrivateUsage]
        for name, value in response.fields:
            if name == b"set-cookie":
                self._keep_cookie(value.decode("latin-1"))
        return response

    async def _next_event(self) -> Any:
        while (event := self._h11.next_event()) is h11.NEED_DATA:
            self._h11.receive_data(bytes(await self.stream.receive_some(RECEIVE_SIZE)))
        return event

    def _has_switched(self) -> bool:
        if self._h11.their_state is not h11.SWITCHED_PROTOCOL:
            return False
        self.stream = PrefixedStream(self._h11.trailing_data[0], self.stream)
        return True

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


def _header(fields: Sequence[Field], name: str) -> str | None:
    value = lookup(fields, name.lower().encode("latin-1"))
    return None if value is None else value.decode("latin-1")


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
