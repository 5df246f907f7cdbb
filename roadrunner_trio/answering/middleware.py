"""Middlewares: functions around a handler. They see a request and a response, and never the wire.

A middleware may answer itself, change the request before it passes it on or the response that comes back, and run
code around both. The response is written after the outermost one has returned it, so an exception of the write is not
theirs to see. They are composed into one callable when the server is made; a request builds nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias

from ..messages.functions import is_generator
from ..messages.request import Request
from ..messages.response import AnyResponse

CallNext: TypeAlias = Callable[[Request], Awaitable[AnyResponse]]
"""What a middleware goes on with: the next middleware, or the handler."""

Middleware: TypeAlias = Callable[[Request, CallNext], Awaitable[AnyResponse]]
"""``async def middleware(request, call_next) -> AnyResponse``."""


def checked(middlewares: Sequence[Middleware]) -> tuple[Middleware, ...]:
    """Middlewares as they may be composed.

    Raises:
        TypeError: they are no list, or one of them cannot be called, or is a generator.
    """
    if callable(middlewares):
        raise TypeError(f"middlewares is a list, the outermost first; write [{_name(middlewares)}]")
    for middleware in middlewares:
        if not callable(middleware):
            raise TypeError(f"a middleware is an async function of a request and the next call, not {middleware!r}")
        if is_generator(middleware):
            raise TypeError(f"{_name(middleware)} is a generator; write `return await call_next(request)`, not `yield`")
    return tuple(middlewares)


def compose(middlewares: Sequence[Middleware], handler: CallNext) -> CallNext:
    """``handler`` inside of ``middlewares``, the first of which is the outermost."""
    for middleware in reversed(middlewares):
        handler = _around(middleware, handler)
    return handler


def _around(middleware: Middleware, call_next: CallNext) -> CallNext:
    # Not async itself: it gives back the middleware's own coroutine, and no frame stands between.
    def call(request: Request) -> Awaitable[AnyResponse]:
        return middleware(request, call_next)

    call.__qualname__ = _name(middleware)  # whom a bad response is blamed on
    return call


def _name(function: Any) -> str:
    return getattr(function, "__qualname__", type(function).__qualname__)
