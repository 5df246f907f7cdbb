"""A nursery for context managers of tests, and virtual time without a plugin."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial, wraps
from typing import ParamSpec, TypeVar

import trio
import trio.testing

P = ParamSpec("P")
T = TypeVar("T")


@asynccontextmanager
async def plain_nursery() -> AsyncGenerator[trio.Nursery, None]:
    """A nursery that nobody sees: one thing that goes wrong in it, or in its block, leaves it as it is."""
    try:
        async with trio.open_nursery() as nursery:
            yield nursery
    except BaseExceptionGroup as group:
        (only, *others) = group.exceptions
        if others:
            raise
    else:
        return
    raise only  # out here, so that the group is not put down as its context


def virtual_time(test: Callable[P, Awaitable[T]]) -> Callable[P, T]:
    """Makes a plain function of an async test: it runs Trio, on a clock that jumps whenever every task waits.

    For test runners that know no Trio; with pytest-trio there is the fixture ``autojump_clock``.
    """

    @wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        return trio.run(partial(_awaited, test, *args, **kwargs), clock=trio.testing.MockClock(autojump_threshold=0))

    return run


async def _awaited(test: Callable[..., Awaitable[T]], *args: object, **kwargs: object) -> T:
    return await test(*args, **kwargs)
