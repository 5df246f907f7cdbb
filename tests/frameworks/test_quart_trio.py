"""Quart-Trio, on real sockets."""

from __future__ import annotations

import pytest

pytest.importorskip("quart_trio")
pytest.importorskip("httpx")

import trio
from framework_tools import ours, served
from quart import request, websocket
from quart_trio import QuartTrio


def make_app(story):
    app = QuartTrio(__name__)

    @app.before_serving
    async def up():
        story.append("up")

    @app.after_serving
    async def down():
        story.append("down")

    @app.get("/")
    async def hello():
        return {"hello": request.args.get("name", "world")}

    @app.post("/echo")
    async def echo():
        return await request.get_data()

    @app.get("/sync")
    def in_a_thread():
        return "thread"

    @app.get("/stream")
    async def stream():
        async def numbers():
            for number in range(3):
                yield f"{number}\n".encode()

        return numbers()

    @app.get("/slow")
    async def slow():
        await trio.sleep_forever()

    @app.websocket("/ws")
    async def ws():
        while True:
            await websocket.send(f"echo {await websocket.receive()}")

    return app


async def test_requests_and_websockets(caplog):
    story: list[str] = []
    async with served(make_app(story), lifespan="on") as client:
        http = client.http
        assert (await http.get("/", params={"name": "trio"})).json() == {"hello": "trio"}
        assert (await http.post("/echo", content=b"x" * 200_000)).content == b"x" * 200_000
        assert (await http.get("/sync")).text == "thread"
        assert (await http.get("/stream")).text == "0\n1\n2\n"
        assert (await http.get("/nowhere")).status_code == 404
        async with client.ws("/ws") as ws:
            await ws.send_message("a")
            assert await ws.get_message() == "echo a"
        await trio.sleep(0.1)
    assert story == ["up", "down"]
    assert ours(caplog) == [], "a closed tab is no error"


async def test_a_peer_that_leaves(caplog):
    async with served(make_app([])) as client:
        stream = await trio.open_tcp_stream("127.0.0.1", client.listener.port)
        await stream.send_all(b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\n")
        await trio.sleep(0.1)
        await stream.aclose()
        with trio.fail_after(10):
            while client.listener.info().active:
                await trio.sleep(0.01)
    assert ours(caplog) == []


async def test_its_shut_down_when_serve_is_cancelled():
    """hypercorn's report 238."""
    from roadrunner_trio.apps.asgi import asgi
    from roadrunner_trio.testing import open_server

    story: list[str] = []
    async with open_server(asgi(make_app(story), lifespan="on")) as server:
        assert (await server.client().get("/")).status == 200
    assert story == ["up", "down"]
