"""BlackSheep, on real sockets."""

# Annotations are not postponed here: what they name is local to a function.

import pytest

pytest.importorskip("blacksheep")
pytest.importorskip("httpx")

import trio
from blacksheep import Application, Content, Request, Response, WebSocket
from framework_tools import ours, served


async def test_requests_and_websockets(caplog):
    story: list[str] = []
    app = Application()

    @app.router.get("/")
    async def hello(name: str = "world"):
        return {"hello": name}

    @app.router.get("/sync")
    def sync():
        return "sync"

    @app.router.post("/echo")
    async def echo(request: Request):
        return Response(200, content=Content(b"text/plain", await request.read()))

    @app.router.ws("/ws")
    async def ws(websocket: WebSocket):
        await websocket.accept()
        while True:
            await websocket.send_text((await websocket.receive_text()).upper())

    @app.on_start
    async def up(_):
        story.append("up")

    @app.on_stop
    async def down(_):
        story.append("down")

    async with served(app, lifespan="on") as client:
        http = client.http
        assert (await http.get("/", params={"name": "trio"})).json() == {"hello": "trio"}
        assert (await http.get("/sync")).text == "sync"
        assert (await http.post("/echo", content=b"x" * 100_000)).content == b"x" * 100_000
        assert (await http.get("/nowhere")).status_code == 404
        async with client.ws("/ws") as session:
            await session.send_message("a")
            assert await session.get_message() == "A"
        await trio.sleep(0.1)
    assert story == ["up", "down"]
    assert ours(caplog) == [], "a closed tab is no error"
