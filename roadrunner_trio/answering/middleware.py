"""Middlewares: functions around a handler. They see a request and a response, and never the wire.

A middleware may answer itself, change the request before it passes it on or the response that comes back, and run
code around both. The response is written after the outermost one has returned it, so an exception of the write is not
theirs to see. They are composed into one callable when the server is made; a request builds nothing. One that is
:class:`early` only looks at the head, and does so before the body is read.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, TypeAlias

from ..messages.exchange import Check, Exchange
from ..messages.request import Request
from ..messages.response import AnyResponse
from .callables import EARLY, MIDDLEWARE, check, guarded, named

CallNext: TypeAlias = Callable[[Request], Awaitable[AnyResponse]]
"""What a middleware goes on with: the next middleware, or the handler."""

Middleware: TypeAlias = Callable[[Request, CallNext], Awaitable[AnyResponse]]
"""``async def middleware(request, call_next) -> AnyResponse``."""


class early:
    """A middleware that judges a request by its head, before anything of its body is read or asked for.

    It stands among the others and runs before all of them. Whom it refuses is never told 100 Continue, nor sends a body
    that nobody wants. Use it as a decorator::

        @early
        async def authenticated(request):
            if request.header("authorization") != EXPECTED:
                return Response(status=401)

    Args:
        judge: ``async def judge(request)``: the response, or None to let the request pass. It cannot read the body.

    Raises:
        TypeError: it is no such function.
    """

    __slots__ = ("__qualname__", "check")

    def __init__(self, judge: Callable[[Request], Awaitable[AnyResponse | None]]) -> None:
        check(judge, EARLY)
        self.check = guarded(judge, EARLY)
        self.__qualname__ = named(judge)

    def __repr__(self) -> str:
        return f"early({self.__qualname__})"

    async def __call__(self, request: Request, call_next: CallNext) -> AnyResponse:
        """As any middleware, where somebody else calls it."""
        response = await self.check(request)
        return await call_next(request) if response is None else response


def early_of(middlewares: Sequence[Middleware]) -> tuple[Check, ...]:
    """The checks of those that are early, in order; of those that are so for some requests, their ``early_check``."""
    found = (getattr(each, "check" if isinstance(each, early) else "early_check", None) for each in middlewares)
    return tuple(check for check in found if check is not None)


def steps_of(*middlewares: Sequence[Middleware]) -> tuple[Callable[[Exchange], None], ...]:
    """What those that have ``on_head(exchange)`` do once a head has been read: to what the server answers itself."""
    found = (getattr(each, "on_head", None) for several in middlewares for each in several)
    return tuple(step for step in found if step is not None)


def checked(middlewares: Sequence[Middleware]) -> tuple[Middleware, ...]:
    """Middlewares as they may be composed.

    Raises:
        TypeError: they are no list, or one of them is no async function of a request and the next call.
    """
    if callable(middlewares):
        raise TypeError(f"middlewares is a list, the outermost first; write [{named(middlewares)}]")
    given: Any = middlewares
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        raise TypeError(f"middlewares is a list of functions, the outermost first, not {middlewares!r}")
    found = tuple(middlewares)
    for middleware in found:
        check(middleware, MIDDLEWARE)
    return found


def compose(middlewares: Sequence[Middleware], handler: CallNext) -> CallNext:
    """``handler`` inside of ``middlewares``, the first of which is the outermost; of those that are not early."""
    for middleware in reversed(middlewares):
        if not isinstance(middleware, early):
            handler = _around(guarded(middleware, MIDDLEWARE), handler)
    return handler


def _around(middleware: Middleware, call_next: CallNext) -> CallNext:
    # Not async itself: it gives back the middleware's own coroutine, and no frame stands between.
    def call(request: Request) -> Awaitable[AnyResponse]:
        return middleware(request, call_next)

    call.__qualname__ = named(middleware)  # whom a bad response is blamed on
    return call
