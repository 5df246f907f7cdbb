"""What the public names are to a type checker. Never run: mypy and pyright read it, and every line is a claim."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import assert_type

import trio

from roadrunner_trio import (
    STOP,
    AnyResponse,
    App,
    CallNext,
    Disconnected,
    Drained,
    Draining,
    FileResponse,
    Handler,
    Handoff,
    HTTPError,
    Limits,
    Listener,
    LoopResponse,
    Middleware,
    Observer,
    Request,
    RequestEnded,
    Response,
    Send,
    StreamResponse,
    Timeouts,
    run,
    serve,
    serve_connection,
)
from roadrunner_trio.apps.router import Endpoint, Group, Route, Router
from roadrunner_trio.testing import ClientResponse, MemoryListener, open_server


async def reads(request: Request) -> Response:
    assert_type(request.method, str)
    assert_type(request.path, str)
    assert_type(request.target, bytes)
    assert_type(request.fields, tuple[tuple[bytes, bytes], ...])
    assert_type(request.header("host"), str | None)
    assert_type(request.query["name"], str)
    assert_type(request.query.all("name"), list[str])
    assert_type(request.cookies.get("session"), str | None)
    assert_type(request.drain.deadline, float)
    assert_type(await request.read(), bytes)
    assert_type(request.stream(), AsyncIterator[bytes])
    async for piece in request.stream():
        assert_type(piece, bytes)
    return Response.json({"any": ["value", 1, None]}, fields={"x-a": "b"})


async def builds(request: Request) -> AnyResponse:
    assert_type(Response.text("x"), Response)
    assert_type(Response.redirect("/", status=308), Response)
    Response("text", fields={"a": "b"})
    Response(b"octets", fields={b"a": b"b"})
    Response(fields=[("a", "b"), (b"a", b"b")])
    Response(fields=[("a", 1)])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    Response(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    raise HTTPError(404, fields=[("x-a", "b")])


async def streams(request: Request) -> StreamResponse:
    async def plain(send: Send) -> None:
        await send(b"octets")

    async def with_trailers(send: Send) -> dict[str, str]:
        await send(b"octets")
        return {"x-a": "b"}

    StreamResponse(plain)
    return StreamResponse(with_trailers, fields=[("trailer", "x-a")])


async def loops(request: Request) -> LoopResponse:
    async def on_message(message: int | Draining | Disconnected, send: Send) -> object:
        return STOP

    _, receive = trio.open_memory_channel[int](1)
    return LoopResponse(receive, on_message)


async def hands_over(request: Request) -> Handoff:
    async def session(request: Request, stream: trio.abc.Stream) -> None:
        await stream.send_all(b"octets")

    return Handoff(session, status=101, fields={"upgrade": "x"})


async def sends_files(request: Request) -> FileResponse:
    return FileResponse("/file", offset=1, length=2)


async def wraps(request: Request, call_next: CallNext) -> AnyResponse:
    assert_type(request.bindings["id"], str)
    assert_type(request.raw_bindings["id"], bytes)
    response = await call_next(request)
    assert_type(response, AnyResponse)
    response.fields.append((b"x-a", b"b"))
    return response


async def wraps_nothing(request: Request) -> AnyResponse:
    return Response()


def routes() -> None:
    router = Router(
        [
            Route("/users/:id", reads, methods=["GET"], name="user", max_body=None, body="streaming", state=7),
            Group("/files", [Route("/*path", sends_files, timeout=1)], middlewares=[wraps], name="files"),
        ],
        middlewares=(wraps,),
    )
    app: App = router
    Listener(router, middlewares=[wraps]).reload_routes([Route("/", reads)])
    Listener(app)
    assert_type(router.url_for("user", id=7), str)
    assert_type(router.endpoints[0], Endpoint)
    assert_type(router.endpoints[0].name, str | None)
    router.url_for("user", id=None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Route("/", wraps)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Route("/", reads, body="lazy")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Route("/", reads, middlewares=[wraps_nothing])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]


MIDDLEWARES: list[Middleware] = [wraps]
HANDLERS: list[Handler] = [reads, builds, streams, loops, hands_over, sends_files]


async def serves(app: App) -> None:
    listener = Listener(
        reads, bind=["127.0.0.1:0", MemoryListener()], timeouts=Timeouts(), limits=Limits(max_body=None)
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(listener.serve)
    assert_type(listener.port, int)
    assert_type(await listener.drain(grace=1), Drained)
    assert_type(await serve(listener, Listener(app)), tuple[Drained, ...])
    async with open_server(reads) as server:
        assert_type(await server.client().get("/"), ClientResponse)
        await serve_connection(server.connect(), reads, body="streaming")


def not_a_handler(request: Request) -> Response:
    return Response()


def runs() -> None:
    run(reads, "127.0.0.1:8000", grace=5)
    run(not_a_handler)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


class Watcher(Observer):
    def request_stop(self, event: RequestEnded) -> None:
        assert_type(event.duration, float)
        assert_type(event.status, int | None)
        assert_type(event.request, Request)
