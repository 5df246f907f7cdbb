"""What the public names are to a type checker. Never run: mypy and pyright read it, and every line is a claim."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal, assert_type

import trio

from roadrunner_trio import (
    STOP,
    AccessLog,
    AnyResponse,
    App,
    Broadcast,
    CallNext,
    CloseReason,
    ConnectionClosed,
    ConnectionEnded,
    Disconnected,
    Drain,
    Drained,
    Draining,
    ErrorLog,
    EventSender,
    EventStream,
    FileResponse,
    Handler,
    Handoff,
    HTTPError,
    Limits,
    Listener,
    LogFormatter,
    LoopResponse,
    Middleware,
    Observer,
    ProxyHeader,
    ProxyHeaders,
    ProxyProtocol,
    RateLimit,
    Request,
    RequestEnded,
    RequestIds,
    RequestRejected,
    RequestStarted,
    Response,
    Send,
    ServerSentEvent,
    StreamResponse,
    Timeouts,
    WebSocket,
    WebSocketClosed,
    WebSocketMessage,
    WebSocketRefused,
    WebSocketRequest,
    current_request,
    run,
    serve,
    serve_connection,
    server_context,
    websocket,
)
from roadrunner_trio.apps.asgi import Mount, Receive, Scope, WebSocketOptions, asgi
from roadrunner_trio.apps.asgi import Send as ASGISend
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


async def events(request: Request) -> AnyResponse:
    async def items() -> AsyncIterator[ServerSentEvent | str]:
        yield "data"
        yield ServerSentEvent.json({"a": 1}, event="e", id=1)

    async def words() -> AsyncIterator[str]:
        yield "data"

    async def source(sender: EventSender) -> None:
        assert_type(sender.request.last_event_id, str | None)
        await sender.send("data", id="1")

    news = Broadcast()
    assert_type(news.publish("data"), ServerSentEvent)
    assert_type(await anext(news.subscribe(request.last_event_id)), ServerSentEvent)
    _, receive = trio.open_memory_channel[str](1)
    for each in (items(), words(), source, news.subscribe(), receive):
        EventStream(request, each, heartbeat=None, retry=1, drain_grace=1, drain_retry=None)
    EventStream(request, ["data"])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    return EventStream(request, source)


async def lines(request: Request) -> StreamResponse:
    async def rows() -> AsyncIterator[dict[str, int]]:
        yield {"a": 1}

    return StreamResponse.ndjson(rows())


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


async def looks_behind(request: Request) -> Response:
    assert_type(request.proxy, ProxyHeader | None)
    if request.proxy is not None:
        assert_type(request.proxy.source, tuple[str, int] | None)
        assert_type(request.proxy.tlv(5), bytes | None)
    if request.tls is not None:
        assert_type(request.tls.version, str)
    return Response(request.tls.cipher)  # type: ignore[union-attr]  # pyright: ignore[reportOptionalMemberAccess]


def behind_a_proxy() -> Listener:
    return Listener(
        looks_behind,
        bind=["unix:/run/s?mode=660", "fd://3"],
        tls=server_context("cert.pem", "key.pem", client_ca=Path("ca.pem"), client_cert="optional"),
        proxy_protocol=ProxyProtocol("10.0.0.0/8"),
        proxy_headers=ProxyHeaders(["10.0.0.0/8", "unix"], ("forwarded",)),
        rate_limit=RateLimit(20, burst=100),
        limits=Limits(max_concurrent_requests=100),
        reuse_port=True,
    )


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
    assert_type(await serve(listener, Listener(app), services=[trio.sleep_forever]), tuple[Drained, ...])
    assert_type(listener.drained, bool)
    async with open_server(reads) as server:
        async with server.client(http2=True).open("CONNECT", "host:80") as response:
            assert_type(response.stream, trio.abc.Stream | None)
        assert_type(await server.client().get("/"), ClientResponse)
        await serve_connection(server.connect(), reads, body="streaming")


async def takes_every_setting(stream: trio.abc.Stream) -> None:
    timeouts = Timeouts(request="5s", handler=1, disconnect_grace=None)
    limits = Limits(max_body="10MB", max_request_line="16K", max_fields=9)
    assert_type(timeouts.request, float)
    assert_type(timeouts.disconnect_grace, float | None)
    assert_type(limits.max_body, int | None)
    assert_type(limits.max_request_line, int)
    assert_type(limits.max_fields, int)
    assert_type(RateLimit(300, "1m").period, int)
    Route("/", reads, timeout="5s", disconnect_grace="500ms", max_body="1M")
    websocket(chats, ping_interval="20s", ping_timeout=None, close_timeout=5, max_message="64K")
    listener = Listener(
        reads,
        bind=":8000",
        name="x",
        timeouts=timeouts,
        limits=limits,
        body="streaming",
        observers=[AccessLog()],
        request_ids=RequestIds(),
        middlewares=[wraps],
        log_context=True,
        tls=None,
        proxy_protocol=None,
        proxy_headers=None,
        rate_limit=RateLimit(20),
        health_path="/healthz",
        reuse_port=True,
        evict_idle=True,
    )
    await listener.drain("5s")
    listener.notify(grace=5)
    await serve(listener, grace="5s", shutdown_delay=1)
    await serve_connection(stream, reads, timeouts=timeouts, limits=limits, health_path="/healthz", drain=Drain())
    async with open_server(reads, limits=limits, evict_idle=True):
        pass


async def takes_nothing_else(stream: trio.abc.Stream) -> None:
    Listener(reads, keep_alive=5)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Listener(reads, timeouts={"request": 5})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Listener(reads, bind=8000)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Listener(reads, observers=AccessLog())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Listener(reads, middlewares=[wraps_nothing])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    Listener(reads, evict_idle="yes")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    run(reads, keep_alive=5)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    run(reads, tls="cert.pem")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    run(reads, grace=None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    run(reads, log="no")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await serve_connection(stream, reads, evict_idle=True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await serve_connection(stream, reads, body="lazy")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    open_server(reads, bind=":8000")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    open_server(reads, limits=5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Timeouts(request=None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Timeouts(requests=5)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Limits(max_fields="64K")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Route("/", reads, timeout=b"5s")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def chats(request: WebSocketRequest) -> None:
    assert_type(await request.accept(), WebSocket)


def not_a_handler(request: Request) -> Response:
    return Response()


def runs() -> None:
    run(reads, "127.0.0.1:8000", grace=5)
    run(reads, grace="5s", shutdown_delay="500ms", log=False, timeouts=Timeouts(), tls=None, health_path="/healthz")
    run(not_a_handler)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


class Watcher(Observer):
    def request_start(self, event: RequestStarted) -> None:
        assert_type(event.system_time, float)
        assert_type(event.path, str)
        assert_type(event.target, str)
        assert_type(event.peer, tuple[str, int] | str)

    def request_stop(self, event: RequestEnded) -> None:
        assert_type(event.duration, float)
        assert_type(event.status, int | None)
        assert_type(event.request, Request)
        assert_type(event.request_id, str)

    def request_rejected(self, event: RequestRejected) -> None:
        assert_type(event.request, Request | None)


class Wrong(Observer):
    def request_stop(self, event: RequestStarted) -> None:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        """Takes another event than it is given."""


async def hosts(scope: Scope, receive: Receive, send: ASGISend) -> None:
    app = asgi(hosts, lifespan="on", websocket=WebSocketOptions(compression=True))
    Listener(app)
    Listener(Router([Mount("/api", app)]))
    assert_type(app.bounded(None, 5.0), asgi)
    asgi(hosts, lifespan="perhaps")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def logs() -> None:
    ids = RequestIds(trust=["10.0.0.0/8"])
    Listener(reads, observers=[AccessLog("json"), ErrorLog(lines=5), Watcher()], request_ids=ids, log_context=True)
    assert_type(current_request.get(), Request | None)
    LogFormatter("text")
    LogFormatter("xml")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def talks(request: WebSocketRequest) -> None:
    if request.decided:
        return
    session = await request.accept(subprotocol="chat", extra_headers={"x-a": "b"})
    assert_type(session, WebSocket)
    assert_type(session.request, Request)
    assert_type(session.closed, CloseReason | None)
    try:
        assert_type(await session.get_message(), str | bytes)
        async for message in session:
            assert_type(message, str | bytes)
        async for piece in session.get_pieces():
            assert_type(piece, str | bytes)
        await session.send_message("text")
        await session.send_message(b"octets")
        await session.ping()
    except ConnectionClosed as exc:
        assert_type(exc.reason, CloseReason | None)
    await session.aclose(1000, "enough")


class Ends(Observer):
    def listener_conn_close(self, event: ConnectionEnded) -> None:
        assert_type(event.duration, float)

    def websocket_receive(self, event: WebSocketMessage) -> None:
        assert_type(event.kind, Literal["text", "binary"])
        assert_type(event.path, str)

    def websocket_close(self, event: WebSocketClosed) -> None:
        assert_type(event.by, Literal["peer", "server", "nobody"])
        assert_type((event.code, event.reason, event.received), tuple[int, str, int])

    def websocket_refused(self, event: WebSocketRefused) -> None:
        assert_type(event.status, int | None)


endpoint: Handler = websocket(talks, origins=["self"], compression=True)
