"""Litestar, on real sockets."""

# Annotations are not postponed here: what they name is local to a function.

import pytest

pytest.importorskip("litestar")
pytest.importorskip("httpx")

import trio
from framework_tools import ours, served
from litestar import Litestar, Request, WebSocket, get, post, websocket, websocket_listener
from litestar.response import Stream


async def test_requests_and_websockets(caplog):
    story: list[str] = []

    @get("/")
    async def hello(request: Request) -> dict[str, str]:
        return {"hello": request.query_params.get("name", "world")}

    @get("/sync", sync_to_thread=True)
    def in_a_thread() -> str:
        return "thread"

    @post("/items")
    async def items(request: Request) -> dict[str, int]:
        data = await request.json()
        return {key: value + 1 for key, value in data.items()}

    @get("/stream")
    async def stream() -> Stream:
        async def numbers():
            for number in range(3):
                yield f"{number}\n"

        return Stream(numbers())

    @websocket_listener("/listener")
    async def listener(data: str) -> str:
        return data.upper()

    @websocket("/ws")
    async def ws(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text(await socket.receive_text())
        await socket.close(code=4001)

    async def up() -> None:
        story.append("up")

    async def down() -> None:
        story.append("down")

    handlers = [hello, in_a_thread, items, stream, listener, ws]
    app = Litestar(handlers, on_startup=[up], on_shutdown=[down], logging_config=None)
    async with served(app, lifespan="on") as client:
        http = client.http
        assert (await http.get("/", params={"name": "trio"})).json() == {"hello": "trio"}
        assert (await http.get("/sync")).text == "thread"
        assert (await http.post("/items", json={"a": 1})).json() == {"a": 2}
        assert (await http.get("/stream")).text == "0\n1\n2\n"
        assert (await http.get("/nowhere")).status_code == 404
        async with client.ws("/listener") as session:
            await session.send_message("a")
            assert await session.get_message() == "A"
        async with client.ws("/ws") as session:
            await session.send_message("b")
            assert await session.get_message() == "b"
        await trio.sleep(0.1)
    assert story == ["up", "down"]
    assert ours(caplog) == []
