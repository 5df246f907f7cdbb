"""A line of JSON for each value, as soon as it comes."""

from __future__ import annotations

import json
import math
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
from story_tools import GET, loud, open_house
from trio.testing import MockClock, wait_all_tasks_blocked

from roadrunner_trio import Request, StreamResponse
from roadrunner_trio.testing import open_server

VALUES = [{"a": 1, "b": [None, True]}, "line\r\nend\u2028", 7, [], "é"]


async def those(values: list[Any]) -> AsyncIterator[Any]:
    for value in values:
        yield value


async def test_each_value_is_a_line() -> None:
    async def handler(request: Request) -> StreamResponse:
        return StreamResponse.ndjson(those(VALUES), status=201, fields={"x-more": "1"})

    async with open_server(handler) as server:
        response = await server.client().get("/")
    assert (response.status, response.header("x-more")) == (201, "1")
    assert response.header("content-type") == "application/x-ndjson"
    assert response.body.startswith(b'{"a":1,"b":[null,true]}\n"line\\r\\nend')
    assert response.body.endswith(b"\n")
    assert [json.loads(line) for line in response.body.decode().split("\n")[:-1]] == VALUES


async def test_a_media_type_of_the_handlers_own() -> None:
    async def handler(request: Request) -> StreamResponse:
        return StreamResponse.ndjson(those([]), fields={"content-type": "application/jsonl"})

    async with open_server(handler) as server:
        response = await server.client().get("/")
    assert (response.header("content-type"), response.body) == ("application/jsonl", b"")


async def test_the_next_value_is_asked_for_when_the_peer_has_taken_the_last(autojump_clock: MockClock) -> None:
    asked, closed = [], []

    async def source() -> AsyncIterator[str]:
        try:
            for number in range(1000):
                asked.append(number)
                yield "x" * 1000
        finally:
            closed.append(True)

    async def handler(request: Request) -> StreamResponse:
        return StreamResponse.ndjson(source())

    async with open_house(handler) as house:
        peer, stream = house.slow_peer(2500)
        await peer.say(GET)
        assert len(asked) == 3
        stream.grant(1000)
        await wait_all_tasks_blocked()
        assert len(asked) == 4
        await peer.close()
        await house.empty()
    assert closed == [True]
    assert len(asked) == 4


@pytest.mark.parametrize("bad", [math.nan, {1}, object()])
async def test_what_is_no_json_truncates(bad: object, caplog: pytest.LogCaptureFixture) -> None:
    async def handler(request: Request) -> StreamResponse:
        return StreamResponse.ndjson(those([1, bad, 2]))

    async with open_house(handler) as house:
        peer = house.peer()
        await peer.say(GET)
        heard = await peer.end()
    assert heard.endswith(b"\r\n1\n\r\n")
    assert len(loud(caplog)) == 1


async def test_a_channel_is_closed_with_its_response() -> None:
    put, get = trio.open_memory_channel[int](0)

    async def handler(request: Request) -> StreamResponse:
        return StreamResponse.ndjson(get)

    async with open_house(handler) as house, put:
        peer = house.peer()
        await peer.say(GET)
        await put.send(1)
        await wait_all_tasks_blocked()
        assert peer.heard.endswith(b"\r\n1\n\r\n")
        await peer.close()
        await put.send(2)  # taken, and then the peer is found to have gone
        with pytest.raises(trio.BrokenResourceError):
            await put.send(3)


async def test_an_iterable_without_aclose() -> None:
    class Count:
        def __init__(self) -> None:
            self.left = 3

        def __aiter__(self) -> Count:
            return self

        async def __anext__(self) -> int:
            await trio.lowlevel.checkpoint()
            if not self.left:
                raise StopAsyncIteration
            self.left -= 1
            return self.left

    async def handler(request: Request) -> StreamResponse:
        return StreamResponse.ndjson(Count())

    async with open_server(handler) as server:
        assert (await server.client().get("/")).body == b"2\n1\n0\n"


def test_what_is_no_async_iterable() -> None:
    with pytest.raises(TypeError, match="needs an async iterable"):
        StreamResponse.ndjson([1, 2])  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["head", "gone"])
async def test_a_channel_that_nobody_reads_from_is_closed(kind: str) -> None:
    put, get = trio.open_memory_channel[str](1)

    async def handler(request: Request) -> StreamResponse:
        if kind == "gone":
            await request.disconnected()
        return StreamResponse.ndjson(get)

    async with open_house(handler) as house:
        peer = house.peer()
        await peer.say(GET.replace(b"GET", b"HEAD") if kind == "head" else GET)
        await peer.close()
        await house.empty()
        with pytest.raises(trio.BrokenResourceError):
            put.send_nowait("x")
    put.close()
