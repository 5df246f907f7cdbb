"""A listener without sockets, and a server on it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Unpack

import trio
import trio.testing

from ..answering.respond import Handler
from ..apps.asgi import ASGIApp, Message, Receive, Scope, Send, asgi
from ..messages.exchange import App
from ..server.listener import Listener
from ..server.listener_settings import ListenerSettings
from ..telemetry.observe import Observer, RequestEnded
from .client import Client
from .nurseries import plain_nursery

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

    def client(self, *, http2: bool = False) -> Client:
        """A client on a new connection, which opens another where that one has ended.

        Args:
            http2: speaks HTTP/2: then as many requests at once as tasks ask, on that one connection.
        """
        return Client(self.door.connect(), connect=self.door.connect, http2=http2)


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
    try:
        async with plain_nursery() as nursery:
            await nursery.start(listener.serve)
            yield MemoryServer(listener, door, debug)
            nursery.cancel_scope.cancel(reason="the test is over")
    except Exception as exc:
        if faults.found and exc.__cause__ is None:
            raise exc from faults.found[0]  # what a test misses is often what the application has raised
        raise
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
