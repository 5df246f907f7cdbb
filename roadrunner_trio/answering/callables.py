"""Looks at what a server is given to call before anybody calls it: is it an async function of so many arguments?

What is no such thing would be a 500 for every request; said when the server is made, it is one sentence. Python cannot
tell in general whether a call will give something to await, so there are three verdicts. Only what certainly does not
is refused; what may is guarded, and its answer is looked at.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from types import FunctionType, MethodType
from typing import Any, Final, NamedTuple, TypeVar

Call = TypeVar("Call", bound=Callable[..., Any])

WEBSOCKET: Final = frozenset({"WebSocketRequest", "WebSocket"})
"""How a first parameter is annotated that only a WebSocket handler has; trio-websocket's has the same name."""
PROMISES: Final = ("Awaitable", "Coroutine")
"""What a return annotation has in it if the call gives something to await."""
DEPTH: Final = 2
"""How many plain functions deep we look for an async one."""


class Role(NamedTuple):
    """What is wanted.

    Attributes:
        what: ``"a handler"``.
        wanted: ``"an async function of one request"``.
        arguments: how many it is called with.
        request: the first one's type, if that tells it from others.
        passes_on: it is given async functions, so a plain one may return what these give.
    """

    what: str
    wanted: str
    arguments: int
    request: str = ""
    passes_on: bool = False


HANDLER: Final = Role("a handler", "an async function of one request", 1, "Request")
WEBSOCKET_HANDLER: Final = Role("a WebSocket handler", "an async function of one request", 1, "WebSocketRequest", True)
EARLY: Final = Role("an early middleware", "an async function of one request", 1, "Request")
ON_ERROR: Final = Role("an error handler", "an async function of a request and an HTTPError", 2)
MIDDLEWARE: Final = Role("a middleware", "an async function of a request and the next call", 2, passes_on=True)


def check(thing: Any, role: Role) -> None:
    """Refuses what cannot play its role.

    Raises:
        TypeError: one sentence, with its name, on what is wrong and what would be right.
    """
    if (wrong := complaint(thing, role)) is not None:
        raise TypeError(wrong)


def complaint(thing: Any, role: Role, name: str = "") -> str | None:
    """What is wrong with it, as a sentence; None when nothing is, for all one can see. A coroutine is closed.

    Args:
        name: what to call it; else what it calls itself.
    """
    if inspect.iscoroutine(thing):
        thing.close()  # nobody will await it, and Python need not warn of that as well
        name = name or thing.__qualname__
        return f"{name} has been called already: {role.what} is the function itself, {name} without the parentheses"
    if not callable(thing):
        return f"{role.what} is {role.wanted}, not {name or repr(thing)}"
    name = name or named(thing)
    if gives_awaitable(thing) is False and (wrong := _not_async(thing, role, name)) is not None:
        return wrong
    if not takes(thing, role.arguments):
        shown = inspect.signature(thing, follow_wrapped=False)
        return f"{name}{shown} cannot be called as {role.what} is, {role.wanted}"
    return _for_another(thing, role, name)


def _not_async(thing: Any, role: Role, name: str) -> str | None:
    if inspect.isclass(thing):
        return f"{name} is a class: {role.what} is {role.wanted}, or an instance that can be called like one"
    function, _ = _function(thing)
    if function is not None and _yields(function):
        return f"{name} is a generator function: {role.what} is {role.wanted}, and returns instead of yielding"
    if role.passes_on:
        return None
    owner = "" if inspect.isroutine(_inner(thing)) else ".__call__"
    return f"{name}{owner} is a plain function: {role.what} is {role.wanted}; write async def"


def _for_another(thing: Any, role: Role, name: str) -> str | None:
    """Whether its first parameter is annotated with what another kind of handler takes."""
    found = "" if hasattr(thing, "__wrapped__") else _annotated(thing)  # wrappers wear what they wrap as their own
    if role is HANDLER and found in WEBSOCKET:
        return (
            f"{name} takes a {found}, so it is a WebSocket handler: write websocket({named(thing).rpartition('.')[2]})"
        )
    if role is WEBSOCKET_HANDLER and found == HANDLER.request:
        return f"{name} takes a {found}: {role.what} takes a {role.request}"
    return None


def gives_awaitable(thing: Any) -> bool | None:
    """Whether calling it gives something to await; None where only the call can tell."""
    if inspect.isclass(thing):
        return hasattr(thing, "__await__")
    if _is_async(thing):
        return True
    function, _ = _function(thing)
    if function is None:
        return None  # not written in Python
    if _yields(function):
        return False
    promised = str(function.__annotations__.get("return", ""))
    return None if any(word in promised for word in PROMISES) or _reaches(thing, DEPTH) else False


def guarded(thing: Call, role: Role) -> Call:
    """``thing``, or if only a call can tell whether it gives something to await, a function that looks at that."""
    if gives_awaitable(thing):
        return thing
    name = named(thing)

    def call(*args: Any) -> Awaitable[Any]:
        answer = thing(*args)
        if not inspect.isawaitable(answer):
            raise TypeError(f"{name} returned {answer!r}, which cannot be awaited: {role.what} is {role.wanted}")
        return answer

    call.__qualname__ = name  # whom a bad response is blamed on
    return call  # type: ignore[return-value]


def takes(thing: Callable[..., Any], count: int, *, declared: bool = False) -> bool:
    """Whether it can be called with so many arguments; True when it has no signature, as extension modules may.

    Args:
        declared: a wrapper, which may take anything, is judged by what it wraps.
    """
    try:
        inspect.signature(thing, follow_wrapped=declared).bind(*[None] * count)
    except TypeError:
        return False
    except ValueError:
        return True
    return True


def named(thing: Any) -> str:
    """What it calls itself; an object that can be called is its type's."""
    inner = _inner(thing)
    return str(getattr(inner, "__qualname__", None) or type(inner).__qualname__)


# -- what is seen without calling ------------------------------------------------------------------


def _inner(thing: Any) -> Any:
    while isinstance(thing, functools.partial):
        thing = thing.func
    return thing


def _function(thing: Any) -> tuple[FunctionType | None, object]:
    """The function of Python that a call runs, if it is one, and its first argument if that is bound."""
    thing = _inner(thing)
    if type(thing) is FunctionType:  # no stand-in of a test that calls itself one
        return thing, None
    if type(thing) is MethodType:
        return _function(thing.__func__)[0], thing.__self__
    function = next((vars(kind)["__call__"] for kind in type(thing).__mro__ if "__call__" in vars(kind)), None)
    return (function, thing) if isinstance(function, FunctionType) else (None, None)


def _is_async(thing: Any) -> bool:
    if inspect.iscoroutinefunction(thing):
        return True
    function, _ = _function(thing)
    if function is None:
        return False
    return inspect.iscoroutinefunction(function) or bool(function.__code__.co_flags & inspect.CO_ITERABLE_COROUTINE)


def _yields(function: FunctionType) -> bool:
    return inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function)


def _reaches(thing: Any, depth: int) -> bool:
    """Whether a plain function names or holds an async one, or a plain one of which that is true: what it returns may
    then be what that one gives. Decorators without :func:`functools.wraps` are so, and lambdas."""
    function, owner = _function(thing)
    if function is None or not depth:
        return False
    given = [*thing.args, *thing.keywords.values()] if isinstance(thing, functools.partial) else []
    return any(_is_async(each) or _reaches(each, depth - 1) for each in (*given, *_mentioned(function, owner)))


def _mentioned(function: FunctionType, owner: object) -> Iterator[object]:
    """What a function holds, what it names, and the attributes of these that it names. Runs no code of theirs."""
    names = function.__code__.co_names
    found: list[Any] = [*(function.__defaults__ or ()), getattr(function, "__wrapped__", None)]
    for cell in function.__closure__ or ():
        with suppress(ValueError):  # it is empty yet
            found.append(cell.cell_contents)
    found += [function.__globals__[name] for name in names if name in function.__globals__]
    yield from found
    found = [inspect.getattr_static(each, name, None) for each in (owner, *found) if each is not None for name in names]
    yield from found
    yield from (inspect.getattr_static(each, name, None) for each in found if each is not None for name in names)


def _annotated(thing: Any) -> str:
    """The last name of the first parameter's annotation."""
    try:
        parameters = inspect.signature(thing).parameters.values()
    except (TypeError, ValueError):
        return ""
    annotation = next((each.annotation for each in parameters), "")
    text = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
    return text.rpartition(".")[2]
