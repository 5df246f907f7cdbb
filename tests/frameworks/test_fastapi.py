"""FastAPI, on real sockets."""

# Annotations are not postponed here: what they name is local to a function, and FastAPI would not find it.

from contextlib import asynccontextmanager
from typing import Annotated

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("httpx")
pytest.importorskip("multipart")

import anyio
import trio
from fastapi import BackgroundTasks, Depends, FastAPI, File, UploadFile, WebSocket
from fastapi.responses import StreamingResponse
from framework_tools import ours, served
from pydantic import BaseModel


class Item(BaseModel):
    name: str
    price: float


def make_app(story):
    @asynccontextmanager
    async def lifespan(app):
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.sleep_forever)
            story.append("up")
            yield {"greeting": "hello"}
            group.cancel_scope.cancel()
        story.append("down")

    app = FastAPI(lifespan=lifespan)

    def sync_dependency():
        yield "sync"
        story.append("closed")

    async def async_dependency(q: str = "none"):
        return q

    @app.get("/items/{number}")
    async def item(number: int, q: Annotated[str, Depends(async_dependency)]):
        return {"number": number, "q": q}

    @app.post("/items")
    async def create(item: Item):
        return {"name": item.name.upper(), "price": item.price}

    @app.get("/sync")
    def in_a_thread(what: Annotated[str, Depends(sync_dependency)]):
        return what

    @app.post("/upload")
    async def upload(file: Annotated[UploadFile, File()]):
        return {"name": file.filename, "size": len(await file.read())}

    @app.get("/background")
    async def background(tasks: BackgroundTasks):
        tasks.add_task(story.append, "task")
        return "ok"

    @app.get("/stream")
    async def stream():
        async def lines():
            for number in range(3):
                yield f"{number}\n"

        return StreamingResponse(lines())

    @app.get("/broken")
    async def broken():
        raise LookupError("a fault")

    @app.websocket("/ws")
    async def echo(websocket: WebSocket):
        """As in the tutorial: it does not expect that its peer will leave."""
        await websocket.accept()
        while True:
            data = await websocket.receive_text()
            await websocket.send_text(f"Message text was: {data}")

    return app


async def test_the_tutorial(caplog):
    story: list[str] = []
    async with served(make_app(story), lifespan="on") as client:
        http = client.http
        assert (await http.get("/items/5", params={"q": "x"})).json() == {"number": 5, "q": "x"}
        assert (await http.get("/items/five")).status_code == 422
        assert (await http.post("/items", json={"name": "a", "price": 1})).json() == {"name": "A", "price": 1.0}
        assert (await http.post("/items", json={"name": "a"})).status_code == 422
        assert (await http.get("/sync")).json() == "sync"
        upload = await http.post("/upload", files={"file": ("a.txt", b"x" * 200_000)})
        assert upload.json() == {"name": "a.txt", "size": 200_000}
        assert (await http.get("/background")).json() == "ok"
        assert (await http.get("/stream")).text == "0\n1\n2\n"
        assert "swagger-ui" in (await http.get("/docs")).text
        assert "/items/{number}" in (await http.get("/openapi.json")).json()["paths"]
        async with client.ws("/ws") as ws:
            await ws.send_message("hi")
            assert await ws.get_message() == "Message text was: hi"
        await trio.sleep(0.1)
    assert story == ["up", "closed", "task", "down"]
    assert ours(caplog) == [], "a closed tab is no error"


async def test_an_error_is_told_once(caplog):
    async with served(make_app([])) as client:
        assert (await client.http.get("/broken")).status_code == 500
    [record] = caplog.records
    assert str(record.exc_info[1]) == "a fault"
