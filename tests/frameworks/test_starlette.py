"""Starlette, on real sockets."""

from __future__ import annotations

import contextvars

import pytest

pytest.importorskip("starlette")
pytest.importorskip("httpx")

import trio
from framework_tools import ours, served
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket
from trio_websocket import ConnectionClosed, ConnectionRejected


async def test_responses(tmp_path):
    path = tmp_path / "file.bin"
    path.write_bytes(bytes(range(256)) * 1024)
    done = []

    async def text(request):
        return PlainTextResponse("hello", headers={"X-A": "b"})

    async def json(request):
        return JSONResponse({"query": dict(request.query_params), "client": request.client.host})

    async def form(request):
        async with request.form() as form:
            return JSONResponse({"name": form["name"], "file": len(await form["file"].read())})

    async def stream(request):
        async def numbers():
            for number in range(10):
                yield f"{number}\n"
                await trio.sleep(0)

        return StreamingResponse(numbers())

    def sync_stream(request):
        return StreamingResponse(iter(["a", "b"]))

    async def file(request):
        return FileResponse(path)

    async def background(request):
        async def work():
            await trio.sleep(0.05)
            done.append(True)

        return PlainTextResponse("ok", background=BackgroundTask(work))

    async def body(request):
        return PlainTextResponse(str(len(await request.body())))

    app = Starlette(
        routes=[
            Route("/text", text),
            Route("/json", json),
            Route("/form", form, methods=["POST"]),
            Route("/stream", stream),
            Route("/sync-stream", sync_stream),
            Route("/file", file),
            Route("/background", background),
            Route("/body", body, methods=["POST"]),
            Mount("/static", StaticFiles(directory=tmp_path)),
        ]
    )
    async with served(app) as client:
        http = client.http
        response = await http.get("/text")
        assert (response.status_code, response.text, response.headers["x-a"]) == (200, "hello", "b")
        assert (await http.get("/json", params={"a": "ä"})).json() == {"query": {"a": "ä"}, "client": "127.0.0.1"}
        upload = await http.post("/form", data={"name": "n"}, files={"file": b"x" * 100_000})
        assert upload.json() == {"name": "n", "file": 100_000}
        assert (await http.get("/stream")).text == "".join(f"{number}\n" for number in range(10))
        assert (await http.get("/sync-stream")).text == "ab"
        response = await http.get("/file")
        assert response.content == path.read_bytes()
        assert response.headers["content-length"] == str(256 * 1024)
        ranged = await http.get("/file", headers={"range": "bytes=10-19"})
        assert (ranged.status_code, ranged.content) == (206, bytes(range(10, 20)))
        head = await http.head("/file")
        assert (head.content, head.headers["content-length"]) == (b"", str(256 * 1024))
        assert (await http.get("/static/file.bin")).content == path.read_bytes()
        assert (await http.get("/static/nothing")).status_code == 404
        assert (await http.get("/background")).text == "ok"
        assert (await http.post("/body", content=b"x" * 3_000_000)).text == "3000000"
        assert (await http.get("/nowhere")).status_code == 404
        assert (await http.post("/text")).status_code == 405
    assert done == [True]


async def test_middlewares_and_context():
    user = contextvars.ContextVar("user", default="nobody")

    class Stamp(BaseHTTPMiddleware):
        async def dispatch(self, request, call_next):
            response = await call_next(request)
            response.headers["x-stamp"] = "1"
            return response

    async def whoami(request):
        before = user.get()
        user.set("somebody")
        return PlainTextResponse(before * 200)

    middleware = [Middleware(Stamp), Middleware(GZipMiddleware)]
    async with served(Starlette(routes=[Route("/", whoami)], middleware=middleware)) as client:
        for _ in range(2):
            response = await client.http.get("/")
            assert (response.headers["x-stamp"], response.headers["content-encoding"]) == ("1", "gzip")
            assert response.text == "nobody" * 200


async def test_websockets(caplog):
    async def echo(websocket: WebSocket):
        await websocket.accept(subprotocol="chat" if "chat" in websocket.scope["subprotocols"] else None)
        async for message in websocket.iter_text():
            await websocket.send_text(message.upper())

    async def closes(websocket: WebSocket):
        await websocket.accept()
        await websocket.close(4001, "policy")

    async def refuses(websocket: WebSocket):
        await websocket.close()

    async def denies(websocket: WebSocket):
        await websocket.send_denial_response(PlainTextResponse("no", status_code=401))

    async def forever(websocket: WebSocket):
        await websocket.accept()
        while True:
            await websocket.receive_text()

    app = Starlette(
        routes=[
            WebSocketRoute("/echo", echo),
            WebSocketRoute("/closes", closes),
            WebSocketRoute("/refuses", refuses),
            WebSocketRoute("/denies", denies),
            WebSocketRoute("/forever", forever),
        ]
    )
    async with served(app) as client:
        async with client.ws("/echo", subprotocols=["chat"]) as ws:
            await ws.send_message("hi")
            assert (await ws.get_message(), ws.subprotocol) == ("HI", "chat")
        async with client.ws("/closes") as ws:
            with pytest.raises(ConnectionClosed) as closed:
                await ws.get_message()
            assert (closed.value.reason.code, closed.value.reason.reason) == (4001, "policy")
        for path, status in [("/refuses", 403), ("/denies", 401), ("/nowhere", 403)]:
            with pytest.raises(ConnectionRejected) as rejected:
                await client.ws(path).__aenter__()
            assert rejected.value.status_code == status
        async with client.ws("/forever") as ws:  # its tab is closed
            await ws.send_message("hi")
        await trio.sleep(0.1)
    assert ours(caplog) == []


async def test_a_client_that_leaves_a_stream_or_an_upload_is_no_error(caplog):
    class Ticks:  # not a generator, which nobody would close
        def __aiter__(self):
            return self

        async def __anext__(self):
            await trio.sleep(0.01)
            return b"tick\n" * 1000

    async def endless(request):
        return StreamingResponse(Ticks())

    async def asks(request: Request):
        while not await request.is_disconnected():
            await trio.sleep(0.01)
        told.append(True)
        return PlainTextResponse("never")

    async def upload(request: Request):
        return PlainTextResponse(str(len(await request.body())))

    told = []
    routes = [Route("/endless", endless), Route("/asks", asks), Route("/upload", upload, methods=["POST"])]
    async with served(Starlette(routes=routes)) as client:
        for said in (b"GET /endless", b"GET /asks", b"POST /upload"):
            stream = await trio.open_tcp_stream("127.0.0.1", client.listener.port)
            await stream.send_all(said + b" HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nabc")
            await trio.sleep(0.1)
            await stream.aclose()
        with trio.fail_after(10):
            while client.listener.info().active:
                await trio.sleep(0.01)
    assert told == [True]
    assert ours(caplog) == []


async def test_its_lifespan_and_state():
    story = []

    async def lifespan(app):
        story.append("up")
        yield {"pool": "pool"}
        story.append("down")

    async def state(request):
        return PlainTextResponse(request.state.pool)

    from contextlib import asynccontextmanager

    app = Starlette(routes=[Route("/", state)], lifespan=asynccontextmanager(lifespan))
    async with served(app, lifespan="on") as client:
        assert (await client.http.get("/")).text == "pool"
    assert story == ["up", "down"]
