"""Finds the handler a command line names, ``app:handler``, or says in one line why it cannot.

An exception that comes out of the application's own code is not retold: its traceback is kept, cut down to the
frames that are the application's.
"""

from __future__ import annotations

import contextlib
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
from ..apps.made import check_factory, made_by, waits_for_a_loop
from .explain import LoadError

OURS: Final = os.path.dirname(os.path.dirname(__file__)) + os.sep


class Words(NamedTuple):
    """What the settings are called where they were given, for what is said of them."""

    app_dir: str = "--app-dir"
    factory: str = "--factory"
    interface: str = "--interface"


WORDS: Final = Words()


class Later(NamedTuple):
    """A factory that is not called before the server runs."""

    make: Any


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
    if isinstance(handler, Later):
        return cast(Handler, made_by(handler.make))
    check_handler(handler, target + "()" if factory else target, words, factory=factory)
    return cast(Handler, handler)


def load_object(target: str, app_dir: str = ".", *, factory: bool = False, words: Words = WORDS) -> Any:
    """The same, whatever it is; :class:`Later` if its factory has to wait for the server.

    Raises:
        LoadError: there is no such thing, or the application's own code raised.
    """
    module_name, _, attribute = target.partition(":")
    if os.sep in module_name or module_name.endswith(".py"):
        raise LoadError(f"{target!r} names a file, not a module: {_meant(module_name, attribute, words)}")
    if not all(part.isidentifier() for name in (module_name, attribute) for part in name.split(".")):
        raise LoadError(f"{target!r} does not name a handler: {_meant(module_name, attribute, words)}")
    found = _find(_import(module_name, app_dir, words), attribute)
    return _make(found, target, words) if factory else found


def _meant(name: str, attribute: str, words: Words) -> str:
    """What to write in place of a name that is none, with as much of it as there is to be kept."""
    folder, file = os.path.split(os.path.normpath(name))
    module = file.removesuffix(".py")
    if not attribute and file == module:  # app.handler may be either; where there is no such file it is a function
        head, _, tail = module.rpartition(".")
        if head and not os.path.exists(module.replace(".", os.sep) + ".py"):
            module, attribute = head, tail
    if not all(part.isidentifier() for part in module.split(".")):
        module, folder = "app", ""
    attribute = attribute if attribute.isidentifier() else "handler"
    where = f", and {words.app_dir} {folder}" if folder else ""
    return f"write {module}:{attribute}{where} for the function `{attribute}` in {module.replace('.', os.sep)}.py"


def reach(app_dir: str) -> None:
    """What is in this folder can be imported from now on, and comes first."""
    folder = os.path.abspath(app_dir)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    importlib.invalidate_caches()


def _import(name: str, app_dir: str, words: Words) -> ModuleType:
    folder = os.path.abspath(app_dir)
    if not os.path.isdir(folder):
        raise LoadError(f"{words.app_dir} {app_dir}: there is no such directory")
    reach(folder)
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
    try:
        check_factory(factory, target)
    except TypeError as exc:
        raise LoadError(f"{exc}; for a handler leave out {words.factory}") from None
    if waits_for_a_loop(factory):
        return Later(factory)
    try:
        made = factory()
        return Later(factory) if hasattr(made, "__aenter__") and not callable(made) else made
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
    if not factory and (what := makes_handlers(handler)):
        raise LoadError(f"{target} {what}, so it makes a handler: add {words.factory}")
    verdict = gives_awaitable(handler)
    fits = takes(handler, 1)
    if not (verdict or (verdict is None and fits)):
        hint = "" if factory or fits else f"; if it makes the handler, add {words.factory}"
        raise LoadError(f"{target} is {kind_of(handler)}, not an async function: {wanted}{hint}")
    if not fits:
        hint = "" if factory or not takes(handler, 0) else f"; if it makes the handler, add {words.factory}"
        raise LoadError(f"{target}{inspect.signature(handler)} cannot be called with one argument: {wanted}{hint}")
    if (wrong := complaint(handler, HANDLER, target)) is not None:
        raise LoadError(wrong)


def makes_handlers(thing: Any) -> str:
    """By what it is seen to be a factory that waits for the server, in words; ``""`` when it is none."""
    if inspect.isasyncgenfunction(inspect.unwrap(thing)) and not inspect.isasyncgenfunction(thing):
        return "is a context"
    try:
        first = next(iter(inspect.signature(thing).parameters.values()), None)
    except (TypeError, ValueError):
        return ""
    annotation = getattr(first, "annotation", "")
    shown = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
    named_so = first is not None and (first.name == "nursery" or shown.rpartition(".")[2] == "Nursery")
    return "takes a nursery" if named_so else ""


def kind_of(thing: Any) -> str:
    """What it is, in words."""
    if inspect.isclass(thing):
        return "a class"
    if inspect.ismodule(thing):
        return "a module"
    return "a plain function" if inspect.isroutine(thing) else f"an object of type {type(thing).__name__}"


def _theirs(exc: Exception, what: str) -> LoadError:
    """The failure of somebody else's code."""
    return LoadError(f"{what}: {type(exc).__name__}: {_first_line(exc)}", theirs(exc))


def theirs(exc: BaseException) -> str:
    """A traceback that begins where somebody else's code does."""
    step: TracebackType | None = exc.__traceback__
    while step is not None and _is_ours(step):
        step = step.tb_next
    return "".join(traceback.format_exception(type(exc), exc, step))


def _is_ours(step: TracebackType) -> bool:
    file = step.tb_frame.f_code.co_filename
    return file.startswith((OURS, "<frozen importlib")) or file in (importlib.__file__, contextlib.__file__)


def _first_line(exc: Exception) -> str:
    try:
        text = str(exc)
    except Exception as another:
        text = f"its text is an exception: {type(another).__name__}"
    return (text.splitlines() or [""])[0]
