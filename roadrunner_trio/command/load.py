"""Finds the handler a command line names, ``app:handler``, or says in one line why it cannot.

An exception that comes out of the application's own code is not retold: its traceback is kept, cut down to the
frames that are the application's.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import os
import sys
import traceback
from collections.abc import Callable
from types import ModuleType, TracebackType
from typing import Any, Final, cast

from ..answering.respond import Handler

HINT: Final = "write app:handler for the function `handler` in app.py"


class LoadError(Exception):
    """There is no handler by that name; the message says what to do.

    Args:
        message: one line.
        report: the traceback of the application's own exception, many lines, or ``""``.
    """

    def __init__(self, message: str, report: str = "") -> None:
        super().__init__(message)
        self.report = report


def load_handler(target: str, app_dir: str = ".", *, factory: bool = False) -> Handler:
    """Imports ``module:attribute`` and checks that it is an async function of one parameter.

    Args:
        target: dotted module, colon, dotted attribute.
        app_dir: put first on :data:`sys.path`.
        factory: the attribute is called, without arguments, and returns the handler.

    Raises:
        LoadError: there is no such thing, it is no handler, or the application's own code raised.
    """
    handler = load_object(target, app_dir, factory=factory)
    check_handler(handler, target + "()" if factory else target, factory=factory)
    return cast(Handler, handler)


def load_object(target: str, app_dir: str = ".", *, factory: bool = False) -> Any:
    """The same, whatever it is.

    Raises:
        LoadError: there is no such thing, or the application's own code raised.
    """
    module_name, _, attribute = target.partition(":")
    if os.sep in module_name or module_name.endswith(".py"):
        raise LoadError(f"{target!r} names a file, not a module: {HINT}")
    if not all(part.isidentifier() for name in (module_name, attribute) for part in name.split(".")):
        raise LoadError(f"{target!r} does not name a handler: {HINT}")
    found = _find(_import(module_name, app_dir), attribute)
    return _make(found, target) if factory else found


def _import(name: str, app_dir: str) -> ModuleType:
    folder = os.path.abspath(app_dir)
    if not os.path.isdir(folder):
        raise LoadError(f"--app-dir {app_dir}: there is no such directory")
    if folder not in sys.path:
        sys.path.insert(0, folder)
    importlib.invalidate_caches()
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as exc:
        if exc.name is not None and (name + ".").startswith(exc.name + "."):
            raise LoadError(
                f"no module named {exc.name!r} in {folder}: start where it is, or name its directory with --app-dir"
            ) from None
        raise _theirs(exc, f"importing {name!r} failed") from exc
    except Exception as exc:
        raise _theirs(exc, f"importing {name!r} failed") from exc


def _find(module: ModuleType, attribute: str) -> Any:
    found: Any = module
    path = module.__name__
    for part in attribute.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            close = difflib.get_close_matches(part, [name for name in dir(found) if name[:1] != "_"], 1)
            hint = f"did you mean {close[0]!r}?" if close else f"look in {getattr(module, '__file__', path)}"
            raise LoadError(f"{path!r} has no {part!r}: {hint}") from None
        path += "." + part
    return found


def _make(factory: Any, target: str) -> Any:
    if not callable(factory):
        raise LoadError(f"{target} is {kind_of(factory)}, which cannot be called: leave out --factory")
    if is_async(factory):
        raise LoadError(f"{target} is async: a factory is a plain function; for a handler leave out --factory")
    try:
        return factory()
    except Exception as exc:
        raise _theirs(exc, f"the factory {target} failed") from exc


def check_handler(handler: Any, target: str, *, factory: bool) -> None:
    """Whether it is an async function of one parameter.

    Raises:
        LoadError: it is none; the message says what would be.
    """
    wanted = "a handler is `async def handler(request)`"
    if not callable(handler):
        raise LoadError(f"{target} is {kind_of(handler)}, which cannot be called: {wanted}")
    if not is_async(handler):
        hint = "" if factory or takes(handler, 1) else "; if it makes the handler, add --factory"
        raise LoadError(f"{target} is {kind_of(handler)}, not an async function: {wanted}{hint}")
    if not takes(handler, 1):
        raise LoadError(f"{target}{inspect.signature(handler)} cannot be called with one argument: {wanted}")


def is_async(thing: Any) -> bool:
    """Whether calling it gives an awaitable, for all one can see: a wrapper is judged by what it wraps."""
    if inspect.isclass(thing):
        return False
    inner: Any = inspect.unwrap(thing)
    return any(inspect.iscoroutinefunction(each) for each in (thing, inner, getattr(inner, "__call__", None)))  # noqa: B004


def takes(thing: Callable[..., Any], count: int) -> bool:
    """Whether it can be called with so many arguments."""
    try:
        inspect.signature(thing).bind(*[None] * count)
    except TypeError:
        return False
    except ValueError:
        return True  # without a signature, as extension modules may be: time will tell
    return True


def kind_of(thing: Any) -> str:
    """What it is, in words."""
    if inspect.isclass(thing):
        return "a class"
    if inspect.ismodule(thing):
        return "a module"
    return "a plain function" if inspect.isroutine(thing) else f"an object of type {type(thing).__name__}"


def _theirs(exc: Exception, what: str) -> LoadError:
    """The failure of somebody else's code, with a traceback that begins where that code does."""
    step: TracebackType | None = exc.__traceback__
    while step is not None and _is_ours(step):
        step = step.tb_next
    report = "".join(traceback.format_exception(type(exc), exc, step))
    return LoadError(f"{what}: {type(exc).__name__}: {_first_line(exc)}", report)


def _is_ours(step: TracebackType) -> bool:
    file = step.tb_frame.f_code.co_filename
    return file in (__file__, importlib.__file__) or file.startswith("<frozen importlib")


def _first_line(exc: Exception) -> str:
    return (str(exc).splitlines() or [""])[0]
