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

from .client import Body, Client, StreamedResponse
from .memory import MemoryServer

try:
    import httpx
except ImportError as exc:  # pragma: no cover
    raise ImportError("this needs httpx: pip install 'roadrunner-trio[httpx]'") from exc


class MemoryTransport(httpx.AsyncBaseTransport):
    """What ``httpx.AsyncClient(transport=...)`` takes. A request is a connection.

    httpx's timeout for reading is kept, on Trio's clock: five seconds, unless the client says something else.

    Args:
        server: of :func:`~roadrunner_trio.testing.open_server`.
    """

    def __init__(self, server: MemoryServer) -> None:
        self._server = server

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Sends a request on a connection of its own; the response has its head."""
        client = Client(self._server.connect())
        whole = isinstance(request.stream, httpx.ByteStream)
        body: Body = await request.aread() if whole else cast("AsyncIterable[bytes]", request.stream)
        patience = cast("dict[str, float | None]", request.extensions.get("timeout", {})).get("read")
        target = request.url.raw_path.decode("ascii")
        try:
            with _httpx_errors(patience):
                response = await client.start(request.method, target, fields=request.headers.raw, body=body)
        except BaseException:
            await client.disconnect()
            raise
        return httpx.Response(
            response.status,
            headers=list(response.fields),
            stream=_Content(client, response, patience),
            extensions={"http_version": b"HTTP/1.1", "network_stream": client.stream},
        )


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
    def __init__(self, client: Client, response: StreamedResponse, patience: float | None) -> None:
        self._client, self._response, self._patience = client, response, patience

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            with _httpx_errors(self._patience):
                piece = await anext(self._response, None)
            if piece is None:
                return
            yield piece

    async def aclose(self) -> None:
        """The peer leaves: in the middle of a response as well as at its end."""
        await self._client.disconnect()
