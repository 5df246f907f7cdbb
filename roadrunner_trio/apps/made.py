"""An application that is made when its server starts, with what it keeps running: a pool, a publisher, a cache.

::

    async def main(nursery):
        pool = await connect()
        nursery.start_soon(publish, pool)
        return Router([...])

    run(made_by(main))

A handler's module is imported before there is a loop to connect in. So it is made once the listener is bound and before
it accepts, and what it has started ends after the last connection.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any, Final, cast
from weakref import WeakSet

import trio

from ..answering.callables import gives_awaitable, named, takes
from ..answering.faults import leaves
from ..answering.middleware import Middleware
from ..answering.respond import Handler, lifetime_of, planned
from ..errors import StartupError
from ..messages.exchange import App, Exchange, Plan
from ..messages.request import Request
from ..units import Duration, seconds
from .asgi_lifespan import Lifespan
from .asgi_messages import Receive, Scope, Send

__all__ = ["made_by"]

WANTED: Final = "a function of nothing, or of a nursery, that returns a handler or an app"


class made_by:
    """The app that ``make`` returns when the server starts.

    Args:
        make: is called with a nursery, if it takes one, which is there until the last connection is closed, and then
            cancelled; an exception in it drains the server. It is a function, async or not, that returns a handler or
            an app; or an async context manager that gives one, such as ``contextlib.asynccontextmanager`` makes: what
            is behind its ``yield`` is done after the last connection.
        startup_timeout: seconds until it has failed; then, and when it raises, nothing is served.
        shutdown_timeout: seconds until what does not end is cancelled.
        adapt: makes an app of what ``make`` gives, if that is something else; may raise ValueError or TypeError.

    Raises:
        TypeError: it cannot be called so.
        ValueError: a time is none.
    """

    def __init__(
        self,
        make: Callable[..., Any],
        *,
        startup_timeout: Duration = 60.0,
        shutdown_timeout: Duration = 10.0,
        adapt: Callable[[Any], Handler | App] | None = None,
    ) -> None:
        check_factory(make, named(make) if callable(make) else repr(make))
        self.make = make
        self.__qualname__ = named(make)
        self._with_nursery = not takes(make, 0, declared=True)
        up, down = seconds("startup_timeout", startup_timeout), seconds("shutdown_timeout", shutdown_timeout)
        self._life = Lifespan(self._live, "on", up, down)
        self._adapt = adapt or _as_it_is
        self._narrow: Callable[[Handler | App], Handler | App] = _as_it_is
        self._served: WeakSet[_Made] = WeakSet()
        self._found: list[Handler | App] = []

    def narrowed(self, narrow: Callable[[Handler | App], Handler | App]) -> made_by:
        """Itself, with the same life, serving ``narrow(app)``: the app as one listener has it."""
        other = copy.copy(self)
        other._narrow = narrow
        return other

    def for_listener(self, defaults: Plan, middlewares: Sequence[Middleware]) -> App:
        """What a listener serves, once it is made."""
        served = _Made(self._narrow, defaults, middlewares)
        self._served.add(served)
        for found in self._found:
            served.adopt(found)
        return served

    def lifetime(self, failed: Callable[[], None] | None = None) -> AbstractAsyncContextManager[None]:
        """A block in which the application is there; listeners and connections that serve it enter one.

        Args:
            failed: called when what it keeps running fails in the meantime.
        """
        return self._life.hold(failed)

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Its life, in the words of a lifespan, for whoever starts it up and shuts it down counts its holders."""
        await receive()
        try:
            async with trio.open_nursery() as nursery:
                async with AsyncExitStack() as stack:
                    await self._start(stack, nursery)
                    await send({"type": "lifespan.startup.complete"})
                    await receive()
                nursery.cancel_scope.cancel(reason="the last connection is closed")
        except BaseExceptionGroup as group:
            first, *others = leaves(group)
            raise group if others else first from first.__cause__
        finally:
            self._found.clear()
        await send({"type": "lifespan.shutdown.complete"})

    async def _start(self, stack: AsyncExitStack, nursery: trio.Nursery) -> None:
        found = self.make(nursery) if self._with_nursery else self.make()
        if inspect.isawaitable(found):
            found = await found
        if hasattr(found, "__aenter__"):
            found = await stack.enter_async_context(cast("AbstractAsyncContextManager[Any]", found))
        try:
            app = self._adapt(found)
            for served in self._served:
                served.adopt(app)
        except (TypeError, ValueError) as exc:
            raise StartupError(f"what {self.__qualname__} has made cannot be served: {exc}") from None
        await stack.enter_async_context(lifetime_of(app, self._life.died))
        self._found.append(app)


def _as_it_is(found: Any) -> Any:
    return found


class _Made:
    """What one listener serves: with its defaults, inside of its middlewares."""

    __slots__ = ("__weakref__", "_app", "_defaults", "_middlewares", "_narrow")

    _app: App

    def __init__(
        self, narrow: Callable[[Handler | App], Handler | App], defaults: Plan, middlewares: Sequence[Middleware]
    ) -> None:
        self._narrow = narrow
        self._defaults = defaults
        self._middlewares = middlewares

    def adopt(self, app: Handler | App) -> None:
        """Serves what has been made.

        Raises:
            TypeError, ValueError: that cannot be served.
        """
        self._app = planned(self._narrow(app), self._defaults, tuple(self._middlewares))

    def plan(self, request: Request) -> Plan:
        """The app's."""
        return self._app.plan(request)

    async def __call__(self, exchange: Exchange) -> None:
        """The app's answer."""
        await self._app(exchange)


def check_factory(make: Any, name: str) -> None:
    """Whether an application can be made by it.

    Raises:
        TypeError: one sentence on what is wrong.
    """
    if not callable(make):
        raise TypeError(f"{name} cannot be called: a factory is {WANTED}")
    if inspect.isasyncgenfunction(make) or inspect.isgeneratorfunction(make):
        raise TypeError(f"{name} yields: put @contextlib.asynccontextmanager above it, and async def")
    if not (takes(make, 0, declared=True) or takes(make, 1, declared=True)):
        raise TypeError(f"{name}{inspect.signature(make)} is no factory: that is {WANTED}")


def waits_for_a_loop(make: Any) -> bool:
    """Whether a factory has to be called when the server runs: it is async, or a context, or is given a nursery."""
    if not takes(make, 0, declared=True) or hasattr(make, "__aenter__"):
        return True
    return gives_awaitable(make) is True or inspect.isasyncgenfunction(inspect.unwrap(make))
