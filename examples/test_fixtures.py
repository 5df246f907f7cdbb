"""Fixtures that serve an application, and httpx on it. In a project the two lines below are a setting, see the docs."""

from collections.abc import AsyncIterator

import httpx
import pytest
import trio
from trio.testing import MockClock

import kit
from roadrunner_trio.testing import Client, MemoryServer
from roadrunner_trio.testing.fixtures import client, roadrunner_http2, roadrunner_settings, server
from roadrunner_trio.testing.httpx_transport import MemoryTransport

__all__ = ["client", "roadrunner_http2", "roadrunner_settings", "server"]


@pytest.fixture
def roadrunner_app() -> object:
    return kit.app


async def test_an_upload(client: Client) -> None:
    response = await client.post("/upload", b"12345")
    assert response.json() == {"octets": 5}


async def test_how_long_an_idle_connection_is_kept(
    client: Client, server: MemoryServer, autojump_clock: MockClock
) -> None:
    await client.post("/upload")
    await trio.sleep(74)
    assert server.listener.info().active == 1
    await trio.sleep(4)  # and two seconds of lingering
    assert server.listener.info().active == 0


@pytest.mark.roadrunner(http2=True)
async def test_two_uploads_at_once(client: Client, server: MemoryServer, autojump_clock: MockClock) -> None:
    async def slowly() -> AsyncIterator[bytes]:
        for _ in range(5):
            yield b"."
            await trio.sleep(1)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.post, "/upload", slowly())
        nursery.start_soon(client.post, "/upload", slowly())
    assert trio.current_time() == 5
    assert server.listener.info().accepted == 1


async def test_with_httpx(server: MemoryServer) -> None:
    async with httpx.AsyncClient(transport=MemoryTransport(server), base_url="http://test") as browser:
        response = await browser.post("/upload", content=b"12345")
    assert response.json() == {"octets": 5}
