"""httpx on a server in memory: its client, our server, no sockets between them.

Unlike httpx's own transport for ASGI applications this one streams: a response can be looked at while it is made, and
whoever leaves it early is gone for the server, too. Cookies, redirects, authentication and the rest are httpx's::

    async with open_server(handler) as server:
        async with httpx.AsyncClient(transport=MemoryTransport(server), base_url="http://test") as client:
            response = await client.get("/")
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterable, AsyncIterator, Generator
from contextlib import contextmanager
from typing import cast

import h11
import trio

from .client import Body, Client
from .memory import MemoryServer
from .responses import StreamedResponse

try:
    import httpx
except ImportError as exc:  # pragma: no cover
    raise ImportError("this needs httpx: pip install 'roadrunner-trio[httpx]'") from exc


class MemoryTransport(httpx.AsyncBaseTransport):
    """What ``httpx.AsyncClient(transport=...)`` takes.

    httpx's timeout for reading is kept, on Trio's clock: five seconds, unless the client says something else.

    Args:
        server: of :func:`~roadrunner_trio.testing.open_server`.
        http2: all requests are streams of one connection of HTTP/2; else each is a connection.
    """

    def __init__(self, server: MemoryServer, *, http2: bool = False) -> None:
        self._server = server
        self._shared = server.client(http2=True) if http2 else None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Sends a request; the response has its head."""
        client = Client(self._server.connect()) if self._shared is None else self._shared
        whole = isinstance(request.stream, httpx.ByteStream)
        body: Body = await request.aread() if whole else cast("AsyncIterable[bytes]", request.stream)
        patience = cast("dict[str, float | None]", request.extensions.get("timeout", {})).get("read")
        target = request.url.raw_path.decode("ascii")
        client.cookies.clear()  # they are httpx's affair
        with _httpx_errors(patience):
            response = await client.start(request.method, target, fields=request.headers.raw, body=body)
        return httpx.Response(
            response.status,
            headers=list(response.fields),
            stream=_Content(response, patience, None if self._shared else client),
            extensions={
                "http_version": b"HTTP/2" if self._shared else b"HTTP/1.1",
                "network_stream": response.stream or client.stream,
            },
        )

    async def aclose(self) -> None:
        """Leaves the connection that requests have shared."""
        if self._shared is not None:
            await self._shared.disconnect()


@contextmanager
def _httpx_errors(patience: float | None) -> Generator[None, None, None]:
    """What goes wrong in the block is called as httpx calls it; so is that it takes too long."""
    try:
        with trio.fail_after(math.inf if patience is None else patience):
            yield
    except trio.TooSlowError:
        raise httpx.ReadTimeout("the server has not gone on in time") from None
    except (h11.RemoteProtocolError, trio.BrokenResourceError, trio.ClosedResourceError) as exc:
        raise httpx.RemoteProtocolError(str(exc)) from exc


class _Content(httpx.AsyncByteStream):
    def __init__(self, response: StreamedResponse, patience: float | None, alone: Client | None) -> None:
        self._response, self._patience, self._alone = response, patience, alone

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            with _httpx_errors(self._patience):
                piece = await anext(self._response, None)
            if piece is None:
                return
            yield piece

    async def aclose(self) -> None:
        """The peer leaves: in the middle of a response as well as at its end."""
        if self._alone is not None:
            await self._alone.disconnect()
        else:
            await self._response.disconnect()
