"""sse-starlette, on real sockets: its streams end with their peers, and with the server."""

from __future__ import annotations

import pytest

pytest.importorskip("sse_starlette")
pytest.importorskip("httpx")

import trio
from framework_tools import ours, served
from sse_starlette import EventSourceResponse
from starlette.applications import Starlette
from starlette.routing import Route


def make_app(story):
    class Ticks:
        def __aiter__(self):
            return self

        async def __anext__(self):
            try:
                await trio.sleep(0.01)
            except trio.Cancelled:
                story.append("ended")
                raise
            return {"event": "tick", "data": "1"}

    async def events(request):
        return EventSourceResponse(Ticks())

    return Starlette(routes=[Route("/", events)])


async def first_event(client):
    stream = await trio.open_tcp_stream("127.0.0.1", client.listener.port)
    await stream.send_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    received = b""
    while b"event: tick" not in received:
        received += await stream.receive_some()
    assert b"content-type: text/event-stream" in received
    return stream


async def test_a_stream_ends_when_its_peer_leaves(caplog):
    story: list[str] = []
    async with served(make_app(story)) as client:
        await (await first_event(client)).aclose()
        with trio.fail_after(10):
            while client.listener.info().active:
                await trio.sleep(0.01)
    assert story == ["ended"]
    assert ours(caplog) == []


async def test_report_sse_starlette_1_report_uvicorn_451_a_stream_ends_with_the_server_at_once(caplog):
    story: list[str] = []
    async with served(make_app(story)) as client, await first_event(client) as stream:
        began = trio.current_time()
        with trio.move_on_after(30):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(client.listener.drain, 10)
                rest = b"".join([data async for data in stream])
        assert trio.current_time() - began < 3
        assert rest.endswith(b"0\r\n\r\n")
    assert story == ["ended"]
    assert ours(caplog) == []
