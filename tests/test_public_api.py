"""The public surface, name by name with signatures, as it stands in ``public_api.txt``.

A difference is either a mistake or a decision. For a decision, write the file anew and tell users about it::

    python tests/test_public_api.py     # then add a fragment to changelog.d/
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import inspect
import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

SNAPSHOT = Path(__file__).with_name("public_api.txt")
MODULES = [
    "roadrunner_trio",
    "roadrunner_trio.apps.router",
    "roadrunner_trio.apps.static",
    "roadrunner_trio.apps.compress",
    "roadrunner_trio.apps.inflate",
    "roadrunner_trio.apps.cors",
    "roadrunner_trio.apps.guards",
    "roadrunner_trio.apps.conditional",
    "roadrunner_trio.apps.asgi",
    "roadrunner_trio.apps.made",
    "roadrunner_trio.testing",
]


def surface() -> str:
    """All public names of all public modules."""
    return "\n".join(line for name in MODULES for line in _module(importlib.import_module(name)))


def _module(module: ModuleType) -> Iterator[str]:
    yield f"{module.__name__}"
    for name in sorted(_public(module)):
        yield from ("    " + line for line in _thing(name, getattr(module, name)))
    yield ""


def _public(module: ModuleType) -> list[str]:
    """The names in ``__all__``; without one, those that the module itself defines."""
    if hasattr(module, "__all__"):
        return list(module.__all__)
    ours = [name for name, thing in vars(module).items() if getattr(thing, "__module__", "") == module.__name__]
    return [name for name in ours if not name.startswith("_")]


def _thing(name: str, thing: Any) -> Iterator[str]:
    if inspect.isclass(thing):
        bases = ", ".join(base.__qualname__ for base in thing.__bases__ if base is not object)
        yield f"class {name}({bases})" if bases else f"class {name}"
        yield from ("    " + line for line in _members(thing))
    elif inspect.isroutine(thing):
        yield _callable(name, thing)
    elif isinstance(thing, str):
        yield f"{name}: str"
    else:
        home = re.sub(r"^roadrunner_trio\b.*", "roadrunner_trio", type(thing).__module__)  # in which room is no promise
        yield f"{name}: {home}.{type(thing).__qualname__}"


def _members(kind: type) -> Iterator[str]:
    """How a class is built, and what of it may be used: its own members, and those of its bases in this package."""
    ours = [each for each in kind.__mro__ if each.__module__.startswith("roadrunner_trio")]
    names = {name for each in ours for name in (*vars(each), *_assigned(each))}
    if getattr(kind, "_is_protocol", False):
        names.discard("__init__")
    for name in sorted(name for name in names if not name.startswith("_") or name in ("__init__", "__call__")):
        member = inspect.getattr_static(kind, name, None)
        if isinstance(member, classmethod | staticmethod):
            yield f"{type(member).__name__} {_callable(name, member.__func__)}"
        elif inspect.isroutine(member) and not isinstance(member, cached_property):
            yield _callable(name, member)
        else:
            yield name


def _assigned(kind: type) -> Iterator[str]:
    """The attributes that ``__init__`` gives an instance."""
    init = vars(kind).get("__init__")
    if init is not None and not dataclasses.is_dataclass(kind):
        yield from re.findall(r"^ +self\.(\w+)(?:: [^=]+)? = ", inspect.getsource(init), re.MULTILINE)


def _callable(name: str, thing: Any) -> str:
    kind = "async def" if inspect.iscoroutinefunction(thing) else "def"
    signature = str(inspect.signature(thing))
    signature = re.sub(r"(: |-> )'([^']*)'", r"\1\2", signature)  # postponed annotations are strings
    signature = re.sub(r"<(?:[\w.]+\.)?(\w+) object at 0x[0-9a-f]+>", r"\1", signature)
    return f"{kind} {name}{signature}"


def test_the_public_surface_is_the_one_we_promised() -> None:
    promised, found = SNAPSHOT.read_text("utf-8"), surface()
    lines = difflib.unified_diff(promised.splitlines(), found.splitlines(), "promised", "found", lineterm="")
    change = "\n".join(lines)
    assert not change, f"the public surface changed; if that is meant, see the top of {Path(__file__).name}:\n{change}"


def test_every_public_name_says_what_it_is() -> None:
    modules = [importlib.import_module(name) for name in MODULES]
    named = {f"{module.__name__}.{name}": getattr(module, name) for module in modules for name in _public(module)}
    kinds = {name: thing for name, thing in named.items() if inspect.isclass(thing) or inspect.isroutine(thing)}
    # `__doc__` is not inherited by classes, unlike what inspect.getdoc finds.
    assert [name for name, thing in kinds.items() if not thing.__doc__] == []


def test_private_names_stay_out() -> None:
    public = [name for module in MODULES for name in _public(importlib.import_module(module))]
    assert [name for name in public if name.startswith("_")] == ["__version__"]


if __name__ == "__main__":
    SNAPSHOT.write_text(surface(), "utf-8")
