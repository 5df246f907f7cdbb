"""Applications of frameworks on a real socket, and clients for them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import trio
from websocket_tools import client as websocket_client

from roadrunner_trio import Listener
from roadrunner_trio.apps.asgi import asgi


@asynccontextmanager
async def served(app: Any, **options: Any) -> AsyncGenerator[Any]:
    """A client of ``app``, which is served on a free port."""
    listener = Listener(asgi(app, **options), bind="127.0.0.1:0")
    async with trio.open_nursery() as nursery:
        await nursery.start(listener.serve)
        base = f"http://127.0.0.1:{listener.port}"
        async with httpx.AsyncClient(base_url=base, trust_env=False, timeout=30) as client:
            yield Client(client, listener)
        with trio.fail_after(30):
            await listener.drain(10)


class Client:
    """What a test does to an application."""

    def __init__(self, http: httpx.AsyncClient, listener: Listener) -> None:
        self.http = http
        self.listener = listener
        self.base = f"http://127.0.0.1:{listener.port}"

    def ws(self, path: str, **options: Any) -> Any:
        """A WebSocket session."""
        return websocket_client(f"ws://127.0.0.1:{self.listener.port}{path}", **options)


def ours(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the server has logged at WARNING or above; frameworks log for themselves."""
    loud = [record for record in caplog.records if record.levelname not in ("DEBUG", "INFO")]
    return [record.getMessage() for record in loud if record.name.startswith("roadrunner_trio")]
