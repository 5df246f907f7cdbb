"""What runs beside the listeners, and what may not come out of it.

A nursery takes a cancellation that one of its tasks raises for its own: it cancels the rest and says nothing. One that
belongs to another task, kept by a cache and raised again, so ends everything in silence; and so may a `GeneratorExit`
or a `SystemExit`. Whoever runs code of others in a task of its own, runs it by :func:`tended`.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final, TypeAlias, cast

import trio

from ..answering.callables import Role, check, guarded, named
from ..answering.faults import leaves

Service: TypeAlias = Callable[[], Awaitable[object]]
"""An async function without arguments that runs beside the listeners."""
SERVICE: Final = Role("a service", "an async function without arguments", 0)


def titled(given: Any) -> list[tuple[str, Service]]:
    """Services, looked at, each after what to call it in logs and dumps.

    Raises:
        TypeError: they are no list of such functions.
    """
    if not isinstance(given, Iterable):
        raise TypeError(f"services is a list, not {given!r}; write services=[{named(given)}]")
    services = tuple(cast("Sequence[Any]", given))
    for service in services:
        check(service, SERVICE)
    return [(f"service {named(service)}", guarded(service, SERVICE)) for service in services]


async def tended(run: Service, name: str) -> None:
    """Awaits ``run()``. What it raises is an error that everybody sees, or its task's own cancellation.

    Raises:
        RuntimeError: it has raised what ends a nursery, or a process, without a word.
    """
    try:
        await run()
    except BaseException as exc:
        if (stray := next(filter(_is_stray, leaves(exc)), None)) is None:
            raise
        raise RuntimeError(f"{name} has raised {type(stray).__name__}, which was not its own to raise") from exc


def _is_stray(leaf: BaseException) -> bool:
    if isinstance(leaf, trio.Cancelled):
        return trio.current_effective_deadline() != -math.inf
    return isinstance(leaf, GeneratorExit) or (isinstance(leaf, SystemExit) and not leaf.code)
