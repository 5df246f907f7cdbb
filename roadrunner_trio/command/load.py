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
from types import ModuleType, TracebackType
from typing import Any, Final, NamedTuple, cast

from ..answering.callables import HANDLER, complaint, gives_awaitable, takes
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


class Words(NamedTuple):
    """What the settings are called where they were given, for what is said of them."""

    app_dir: str = "--app-dir"
    factory: str = "--factory"
    interface: str = "--interface"


WORDS: Final = Words()


def load_handler(target: str, app_dir: str = ".", *, factory: bool = False, words: Words = WORDS) -> Handler:
    """Imports ``module:attribute`` and checks that it is an async function of one parameter.

    Args:
        target: dotted module, colon, dotted attribute.
        app_dir: put first on :data:`sys.path`.
        factory: the attribute is called, without arguments, and returns the handler.
        words: what these are called.

    Raises:
        LoadError: there is no such thing, it is no handler, or the application's own code raised.
    """
    handler = load_object(target, app_dir, factory=factory, words=words)
    check_handler(handler, target + "()" if factory else target, words, factory=factory)
    return cast(Handler, handler)


def load_object(target: str, app_dir: str = ".", *, factory: bool = False, words: Words = WORDS) -> Any:
    """The same, whatever it is.

    Raises:
        LoadError: there is no such thing, or the application's own code raised.
    """
    module_name, _, attribute = target.partition(":")
    if os.sep in module_name or module_name.endswith(".py"):
        raise LoadError(f"{target!r} names a file, not a module: {HINT}")
    if not all(part.isidentifier() for name in (module_name, attribute) for part in name.split(".")):
        raise LoadError(f"{target!r} does not name a handler: {HINT}")
    found = _find(_import(module_name, app_dir, words), attribute)
    return _make(found, target, words) if factory else found


def _import(name: str, app_dir: str, words: Words) -> ModuleType:
    folder = os.path.abspath(app_dir)
    if not os.path.isdir(folder):
        raise LoadError(f"{words.app_dir} {app_dir}: there is no such directory")
    if folder not in sys.path:
        sys.path.insert(0, folder)
    importlib.invalidate_caches()
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as exc:
        if exc.name is not None and (name + ".").startswith(exc.name + "."):
            raise LoadError(
                f"no module named {exc.name!r} in {folder}: "
                f"start where it is, or name its directory with {words.app_dir}"
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


def _make(factory: Any, target: str, words: Words) -> Any:
    if not callable(factory):
        raise LoadError(f"{target} is {kind_of(factory)}, which cannot be called: leave out {words.factory}")
    if gives_awaitable(factory):
        raise LoadError(f"{target} is async: a factory is a plain function; for a handler leave out {words.factory}")
    try:
        return factory()
    except Exception as exc:
        raise _theirs(exc, f"the factory {target} failed") from exc


def check_handler(handler: Any, target: str, words: Words = WORDS, *, factory: bool) -> None:
    """Whether it is an async function of one parameter. A coroutine is closed.

    Raises:
        LoadError: it is none; the message says what would be.
    """
    wanted = "a handler is `async def handler(request)`"
    if inspect.iscoroutine(handler):
        handler.close()  # or Python would warn that nobody awaited it
    if not callable(handler):
        raise LoadError(f"{target} is {kind_of(handler)}, which cannot be called: {wanted}")
    verdict = gives_awaitable(handler)
    fits = takes(handler, 1)
    if not (verdict or (verdict is None and fits)):
        hint = "" if factory or fits else f"; if it makes the handler, add {words.factory}"
        raise LoadError(f"{target} is {kind_of(handler)}, not an async function: {wanted}{hint}")
    if not fits:
        raise LoadError(f"{target}{inspect.signature(handler)} cannot be called with one argument: {wanted}")
    if (wrong := complaint(handler, HANDLER, target)) is not None:
        raise LoadError(wrong)


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
