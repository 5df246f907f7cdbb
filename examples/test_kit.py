"""A chat, an upload, a stream and a timeout of an hour: forty lines, and no time at all."""

from collections.abc import AsyncIterator

import trio
from trio.testing import MockClock

import kit
from roadrunner_trio.testing import open_server


async def test_a_chat(autojump_clock: MockClock) -> None:
    async with (
        open_server(kit.app) as server,
        server.client().websocket("/chat") as ann,
        server.client().websocket("/chat") as bob,
    ):
        await trio.testing.wait_all_tasks_blocked()
        await ann.send_message("hello")
        assert [await ann.get_message(), await bob.get_message()] == ["hello", "hello"]


async def test_an_upload_that_is_never_whole_in_memory(autojump_clock: MockClock) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield bytes(65536)
            await trio.sleep(1)  # a slow line

    async with open_server(kit.app) as server:
        response = await server.client().post("/upload", pieces())
    assert response.json() == {"octets": 6_553_600}


async def test_a_stream_and_a_reader_who_leaves(autojump_clock: MockClock) -> None:
    async with open_server(kit.app) as server:
        async with server.client().events("/ticks") as events:
            assert [(await anext(events)).data for _ in range(60)][-1] == "60"
        await trio.sleep(60)
        assert trio.current_time() == 60 * 60
        assert server.listener.info().active == 0


async def test_a_timeout_of_an_hour(autojump_clock: MockClock) -> None:
    async with open_server(kit.app) as server:
        assert (await server.client().get("/patient")).status == 503
        assert trio.current_time() == 3600
