"""A listener without sockets, a client for it, and both together: what ``roadrunner_trio.testing`` offers."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Unpack

import h11
import trio
import trio.testing

from ..answering.respond import Handler
from ..apps.asgi import ASGIApp, Message, Receive, Scope, Send, asgi
from ..fields import Field, FieldsLike, encoded, lookup
from ..messages.exchange import App
from ..server.listener import Listener
from ..server.listener_settings import ListenerSettings
from ..telemetry.observe import Observer, RequestEnded
from ..transport.streams import PrefixedStream
from ..transport.wire import RECEIVE_SIZE

MemoryStream = trio.StapledStream[trio.testing.MemorySendStream, trio.testing.MemoryReceiveStream]
"""One end of a connection in memory, as ``trio.testing.memory_stream_pair`` makes it."""


class MemoryListener(trio.abc.Listener[MemoryStream]):
    """A listener without sockets: give it to ``Listener(bind=...)`` and call :meth:`connect`."""

    def __init__(self) -> None:
        self._put, self._get = trio.open_memory_channel[MemoryStream](1024)

    def connect(self) -> MemoryStream:
        """A peer's end of a new connection.

        Raises:
            trio.ClosedResourceError, trio.BrokenResourceError: the listener is closed.
            trio.WouldBlock: 1024 connections wait to be accepted.
        """
        ours, theirs = trio.testing.memory_stream_pair()
        self._put.send_nowait(theirs)
        return ours

    async def accept(self) -> MemoryStream:
        """The server's end of the next connection."""
        return await self._get.receive()

    async def aclose(self) -> None:
        """Stops accepting; connections that still wait are closed, so their peers do not wait for ever."""
        with self._get, suppress(trio.WouldBlock, trio.ClosedResourceError):
            while True:
                stream = self._get.receive_nowait()
                stream.send_stream.close()
                stream.receive_stream.close()
        self._put.close()
        await trio.lowlevel.checkpoint()


@dataclass(frozen=True, slots=True)
class ClientResponse:
    """What a server answered.

    Attributes:
        status: of the final response.
        fields: pairs of lower-case name and value.
        body: the content, whole.
        interim: statuses of interim responses that came before it.
        trailers: trailer fields.
    """

    status: int
    fields: Sequence[Field]
    body: bytes
    interim: Sequence[int] = ()
    trailers: Sequence[Field] = ()

    def header(self, name: str) -> str | None:
        """The first value of a field, or None."""
        value = lookup(self.fields, name.lower().encode("latin-1"))
        return None if value is None else value.decode("latin-1")

    @property
    def text(self) -> str:
        """The content as UTF-8."""
        return self.body.decode()


class Client:
    """A small HTTP/1.1 client on one connection, for tests. Not for the open sea: it trusts its server.

    After a 101, or a 2xx to CONNECT, ``stream`` is what speaks the other protocol.

    Args:
        stream: the connection; the client does not close it.
    """

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self._h11 = h11.Connection(h11.CLIENT)

    async def request(self, method: str, target: str, *, fields: FieldsLike = (), body: bytes = b"") -> ClientResponse:
        """Sends a request and reads its response; ``Host`` and ``Content-Length`` are added when they are missing.

        Raises:
            h11.RemoteProtocolError: the server broke the protocol, or closed before the end of its response.
            trio.BrokenResourceError: the connection is gone.
        """
        if self._h11.our_state is h11.DONE:
            self._h11.start_next_cycle()
        pairs = encoded(fields)
        names = {name for name, _ in pairs}
        if b"host" not in names:
            pairs.insert(0, (b"host", b"test"))
        if body and not names & {b"content-length", b"transfer-encoding"}:
            pairs.append((b"content-length", b"%d" % len(body)))
        data = self._h11.send(h11.Request(method=method, target=target, headers=pairs)) or b""
        data += (self._h11.send(h11.Data(data=body)) or b"") if body else b""
        await self.stream.send_all(data + (self._h11.send(h11.EndOfMessage()) or b""))
        return await self._read_response()

    async def get(self, target: str, *, fields: FieldsLike = ()) -> ClientResponse:
        """GET."""
        return await self.request("GET", target, fields=fields)

    async def post(self, target: str, body: bytes, *, fields: FieldsLike = ()) -> ClientResponse:
        """POST."""
        return await self.request("POST", target, fields=fields, body=body)

    async def _read_response(self) -> ClientResponse:
        answer = _Answer()
        while not answer.take(self._h11.next_event()):
            if self._h11.their_state is h11.SWITCHED_PROTOCOL:
                self.stream = PrefixedStream(self._h11.trailing_data[0], self.stream)
                break
            if answer.hungry:
                self._h11.receive_data(bytes(await self.stream.receive_some(RECEIVE_SIZE)))
        return ClientResponse(answer.status, answer.fields, answer.body, answer.interim, answer.trailers)


@dataclass(slots=True)
class _Answer:
    status: int = 0
    fields: Sequence[Field] = ()
    body: bytes = b""
    interim: list[int] = field(default_factory=list[int])
    trailers: Sequence[Field] = ()
    hungry: bool = False

    def take(self, event: Any) -> bool:
        """Takes one h11 event; True when the response is whole."""
        self.hungry = event is h11.NEED_DATA
        match event:
            case h11.InformationalResponse():
                if event.status_code == 101:
                    self.status, self.fields = 101, list(event.headers)
                else:
                    self.interim.append(event.status_code)
            case h11.Response():
                self.status, self.fields = event.status_code, list(event.headers)
            case h11.Data():
                self.body += event.data
            case h11.EndOfMessage():
                self.trailers = list(event.headers)
                return True
            case _:
                return event is h11.PAUSED
        return False


@dataclass(frozen=True, slots=True)
class MemoryServer:
    """A running server in memory.

    Attributes:
        listener: the :class:`~roadrunner_trio.Listener`, for ``info``, ``connections`` and ``drain``.
        door: where its connections come in.
        debug: the ``info`` of every ``http.response.debug`` that an ASGI application has sent, such as the templates
            it has rendered.
    """

    listener: Listener
    door: MemoryListener
    debug: list[Any] = field(default_factory=list[Any])

    def connect(self) -> MemoryStream:
        """A new connection, as raw bytes."""
        return self.door.connect()

    def client(self) -> Client:
        """A client on a new connection."""
        return Client(self.door.connect())


@asynccontextmanager
async def open_server(
    handler: Handler | App, *, raise_app_exceptions: bool = False, **settings: Unpack[ListenerSettings]
) -> AsyncGenerator[MemoryServer, None]:
    """Serves ``handler`` in memory for as long as the block lasts, then cancels what is left.

    Args:
        raise_app_exceptions: what leaves the application, and its peer is answered 500 for, is raised at the end of
            the block: alone, or several as a group.
        settings: as for :class:`~roadrunner_trio.Listener`, apart from ``bind``.

    Raises:
        ValueError, TypeError: as :class:`~roadrunner_trio.Listener`.
    """
    door, debug, faults = MemoryListener(), list[Any](), _Faults()
    app: object = handler
    if isinstance(app, asgi):  # pyright: ignore[reportUnnecessaryIsInstance]  # it is an App
        handler = app.inside(partial(_debugged, debug))
    if raise_app_exceptions:
        settings["observers"] = (*settings.get("observers", ()), faults)
    listener = Listener(handler, bind=door, **settings)
    async with trio.open_nursery() as nursery:
        await nursery.start(listener.serve)
        yield MemoryServer(listener, door, debug)
        nursery.cancel_scope.cancel(reason="the test is over")
    if faults.found:
        raise faults.found[0] if len(faults.found) == 1 else BaseExceptionGroup("the application", faults.found)


class _Faults(Observer):
    """Keeps what applications have raised."""

    def __init__(self) -> None:
        self.found: list[BaseException] = []

    def request_exception(self, event: RequestEnded) -> None:
        if event.outcome == "error" and event.error is not None:
            self.found.append(event.error)


def _debugged(debug: list[Any], app: ASGIApp) -> ASGIApp:
    """``app`` with the extension that only a test kit offers."""

    async def within(scope: Scope, receive: Receive, send: Send) -> None:
        scope["extensions"]["http.response.debug"] = {}

        async def kept(message: Message) -> None:
            if message["type"] == "http.response.debug":
                debug.append(message["info"])
            else:
                await send(message)

        await app(scope, receive, kept)

    return within
