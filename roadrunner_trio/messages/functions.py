"""What applications give to be called: whether it can be awaited is said when it is given, not when a peer waits."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any, Final

_ASYNC: Final = inspect.CO_COROUTINE | inspect.CO_ITERABLE_COROUTINE
_GENERATORS: Final = inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR


def check_async(given: Any, what: str, example: str, instead: str = "") -> None:
    """Refuses what is certainly no async function. A lambda, or an object with ``__call__``, may return an awaitable.

    Args:
        what: who needs it, for the complaint: ``"a StreamResponse needs an async function"``.
        example: how one is written: ``"async def produce(send)"``.
        instead: what to write in place of ``yield``.

    Raises:
        TypeError: it is a plain function, a generator function, or cannot be called; the message says what to write.
    """
    if _flags(given) & _ASYNC and not is_generator(given):
        return
    expected = f"{what}; write `{example}`"
    if inspect.iscoroutine(given):
        given.close()  # it will not be awaited, of which Python would warn
        raise TypeError(f"{expected} and give the function itself, not what calling it returns")
    if is_generator(given):
        raise TypeError(f"{expected}, not a generator{instead and '; ' + instead}")
    if not callable(given) or isinstance(given, type) or (inspect.isroutine(given) and _is_plain(given)):
        raise TypeError(f"{expected}, not {given!r}")


def is_generator(given: Any) -> bool:
    """Whether what is given, or what calling it makes, is a generator, which nobody awaits."""
    return bool(_flags(given) & _GENERATORS) or (hasattr(given, "__aiter__") and not callable(given))


def _flags(given: Any) -> int:
    """Those of the code that runs when it is called, as far as that can be told."""
    if (code := getattr(given, "__code__", None)) is not None:
        return getattr(code, "co_flags", 0)
    if isinstance(given, partial):
        return _flags(given.func)
    if isinstance(given, type) or not callable(given):
        return 0
    return getattr(getattr(given.__call__, "__code__", None), "co_flags", 0)


def _is_plain(function: Callable[..., Any]) -> bool:
    """Whether a function was written with ``def``, and wraps none that was not."""
    if not (inspect.isfunction(function) or inspect.ismethod(function)) or function.__name__ == "<lambda>":
        return False
    inner = inspect.unwrap(function)
    return inner is function or not _flags(inner) & _ASYNC
