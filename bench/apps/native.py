"""The application for this server, written as its documentation would write it.

As a program, ``python -m bench.apps.native PORT CERTIFICATE KEY`` serves it over TLS; all else starts from the shell
command that users have.
"""

from __future__ import annotations

import importlib
import ssl
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import trio

from roadrunner_trio import (
    AnyResponse,
    FileResponse,
    HTTPError,
    Listener,
    Request,
    Response,
    Send,
    StreamResponse,
    serve,
)

from . import content


async def hello(request: Request) -> Response:
    return Response.text("Hello, world!")


async def json(request: Request) -> Response:
    return Response.json(content.OBJECT)


async def headers(request: Request) -> Response:
    return Response(request.header("accept-language") or "", fields=content.FIELDS)


async def echo(request: Request) -> Response:
    return Response(await request.read(), fields=[(b"content-type", content.OCTETS)])


async def large(request: Request) -> Response:
    return Response(content.LARGE, fields=[(b"content-type", content.OCTETS)])


async def upload(request: Request) -> Response:
    octets = 0
    async for piece in request.stream():
        octets += len(piece)
    return Response.text(str(octets))


async def stream(request: Request) -> StreamResponse:
    async def produce(send: Send) -> None:
        for _ in range(content.CHUNKS):
            await send(content.CHUNK)

    return StreamResponse(produce, fields=[(b"content-type", content.OCTETS)])


async def file(request: Request) -> FileResponse:
    return FileResponse(content.FILE, fields=[(b"content-type", content.OCTETS)])


HANDLERS: dict[str, Callable[[Request], Awaitable[AnyResponse]]] = {
    "/hello": hello,
    "/json": json,
    "/headers": headers,
    "/echo": echo,
    "/large": large,
    "/upload": upload,
    "/stream": stream,
    "/file": file,
}


async def handler(request: Request) -> AnyResponse:
    found = HANDLERS.get(request.path)
    if found is None:
        raise HTTPError(404)
    return await found(request)


async def item(request: Request) -> Response:
    return Response.text(f"{request.bindings['id']} {request.bindings['part']}")


def make_router() -> Any:
    """A router with two hundred routes.

    Raises:
        ImportError: this version of the server has none.
    """
    router = importlib.import_module("roadrunner_trio.apps.router")
    table = [router.Route(f"/area-{n}/:id/parts/:part", item, methods=["GET"]) for n in range(content.ROUTES)]
    return router.Router(table)


async def echo_messages(request: Any) -> None:
    socket = await request.accept()
    while True:
        await socket.send_message(await socket.get_message())


def make_websocket() -> Any:
    """A handler of WebSockets that sends back what comes.

    Raises:
        AttributeError: this version of the server has none.
    """
    package: Any = importlib.import_module("roadrunner_trio")
    return package.websocket(echo_messages)


async def main(arguments: Sequence[str]) -> None:
    """Serves over TLS until a signal."""
    port, certificate, key = arguments
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    settings: dict[str, Any] = {"tls": context}  # only started where the listener takes it
    await serve(Listener(handler, bind=f"127.0.0.1:{port}", **settings))


if __name__ == "__main__":
    trio.run(main, sys.argv[1:])
