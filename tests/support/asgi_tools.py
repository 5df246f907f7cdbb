"""Applications of ASGI for tests, and servers of them, in memory and on sockets."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

from story_tools import House, open_house

from roadrunner_trio.apps.asgi import asgi

KINDS = ("memory", "tcp")
"""Where the server reads ahead to learn of its peer's end, and where a poller tells it."""

PLAIN = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]}


def start(status: int = 200, *headers: Any, **more: Any) -> dict[str, Any]:
    """A start message."""
    return {"type": "http.response.start", "status": status, "headers": list(headers), **more}


def body(data: Any = b"", **more: Any) -> dict[str, Any]:
    """A message with a piece of the body."""
    return {"type": "http.response.body", "body": data, **more}


def http(answer: Callable[..., Any]) -> Callable[..., Any]:
    """An application that has no lifespan."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            raise NotImplementedError("no lifespan")
        await answer(scope, receive, send)

    return app


async def hi(scope: Any, receive: Any, send: Any) -> None:
    """The application of tests that are not about one."""
    await send(start())
    await send(body(b"hi"))


class Notes:
    """An application that keeps its scopes, events and errors, and answers as it is told."""

    def __init__(self, answer: Callable[..., Any] = hi) -> None:
        self.answer = answer
        self.scopes: list[dict[str, Any]] = []
        self.events: list[dict[str, Any]] = []
        self.errors: list[BaseException] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scopes.append(scope)

        async def noted() -> Any:
            event = await receive()
            self.events.append(dict(event))
            return event

        async def tried(message: Any) -> None:
            try:
                await send(message)
            except Exception as exc:
                self.errors.append(exc)
                raise

        await self.answer(scope, noted, tried)

    @property
    def scope(self) -> dict[str, Any]:
        """The last one."""
        return self.scopes[-1]


@asynccontextmanager
async def asgi_house(answer: Callable[..., Any] = hi, *, settings: Any = None, **options: Any) -> AsyncGenerator[House]:
    """A watched server of an application without a lifespan, for peers in memory and on sockets."""
    app = asgi(answer, **{"lifespan": "off", **options})
    async with open_house(app, tcp=True, **(settings or {})) as house:
        yield house
