"""The floors of the package: a module imports lower floors, and modules that stand before it on its own.

The table below is the order in which the package can be read. It is a total order, so nothing in it can
go round in circles. A new file is a new row, put where its imports allow and its reader would look for it.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import roadrunner_trio

PACKAGE = Path(roadrunner_trio.__file__).parent

FLOORS = {
    "words": ["fields", "errors", "settings", "date", "log_lines", "ids"],
    "bytes": [
        "http1",
        "http1.engine",
        "http1.head",
        "http1.body",
        "http1.encode",
        "http1.h11_engine",
        "http1.scan",
        "codec",
        "codec.uri",
        "codec.cookies",
        "codec.forwarded",
        "codec.sse",
        "ws",
        "ws.frames",
        "ws.extensions",
        "ws.deflate",
        "ws.decoder",
        "ws.handshake",
        "proxy_header",
        "trust",
        "rate_limit",
    ],
    "time and wire": [
        "clock",
        "poller",
        "phases",
        "drain",
        "wire",
        "cached_open",
        "files",
        "streams",
        "tls",
        "tls_stream",
        "dump",
    ],
    "messages": [
        "request",
        "exchange",
        "response",
        "event_stream",
        "broadcast",
        "observe",
        "request_ids",
        "relayed",
        "log_context",
        "access_lines",
        "logs",
    ],
    "answering": [
        "admission",
        "context",
        "faults",
        "middleware",
        "respond",
        "health",
        "websocket_link",
        "websocket_core",
        "websocket_session",
        "websocket",
    ],
    "wing": ["apps", "apps.routes", "apps.router"],
    "protocols": ["http1_sender", "http1_exchange", "presence", "report", "door", "connection"],
    "doors": ["unix", "bind", "listener_info", "eviction", "listener", "serve"],
    "roof": [
        "",
        "options",
        "kinds",
        "setting_table",
        "config_file",
        "configuration",
        "flags",
        "door_options",
        "load",
        "demo.board",
        "demo.source",
        "demo.exhibits",
        "demo",
        "cli",
        "testing",
        "__main__",
    ],
}
"""Each floor's modules in order; ``""`` is the package itself, whose ``__init__`` holds the public names."""

SANS_IO = "bytes"
STDLIB_ONLY = "words"
WING = "wing"
"""Applications: they know the floors below, and of those above only the roof knows them."""
MAY_KNOW_THE_WING = {WING, "roof"}
TRIO = {"trio", "trio_websocket"}

ROWS = [(module, floor) for floor, modules in FLOORS.items() for module in modules]
PLACE = {module: (at, floor) for at, (module, floor) in enumerate(ROWS)}


def modules_of(package: Path) -> dict[str, Path]:
    """Every module of the package by dotted name; a package by its folder's, the whole as ``""``."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(module: str, source: str, *, is_package: bool = False) -> Iterator[tuple[int, str, bool]]:
    """The imports anywhere in ``source``, in functions and under ``TYPE_CHECKING`` too.

    Yields the line, the dotted name, and whether it lies within the package; then the name is relative to it.
    """
    here = module.split(".") if module else []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, *_within(alias.name)
        elif isinstance(node, ast.ImportFrom):
            base = here[: len(here) - node.level + is_package] if node.level else []
            whole = ".".join([*base, *(node.module or "").split(".")]).strip(".")
            name, ours = (whole, True) if node.level else _within(whole)
            for alias in node.names:
                inner = f"{name}.{alias.name}".strip(".")
                yield node.lineno, inner if ours and inner in PLACE else name, ours


def _within(name: str) -> tuple[str, bool]:
    top, _, rest = name.partition(".")
    return (rest, True) if top == "roadrunner_trio" else (name, False)


def violations(module: str, source: str, *, is_package: bool = False) -> list[str]:
    """What ``source`` imports and may not, standing where the table has ``module``."""
    place, floor = PLACE[module]
    wrong = []
    for line, name, ours in imports(module, source, is_package=is_package):
        where = f"{module or '__init__'}:{line} on floor {floor!r} imports {name or 'the package itself'}"
        if ours:
            if name not in PLACE:
                wrong.append(f"{where}, which is not in the table")
            elif PLACE[name][0] >= place:
                wrong.append(f"{where}, which comes later, on floor {PLACE[name][1]!r}")
            elif PLACE[name][1] == WING and floor not in MAY_KNOW_THE_WING:
                wrong.append(f"{where}: the tower does not know its wing")
            continue
        top = name.partition(".")[0]
        if floor == STDLIB_ONLY and top not in sys.stdlib_module_names:
            wrong.append(f"{where}: the floor of words knows the standard library only")
        if floor == SANS_IO and top in TRIO:
            wrong.append(f"{where}: the floor of bytes does no input or output")
    return wrong


MODULES = modules_of(PACKAGE)


def test_every_file_has_a_row_and_every_row_a_file() -> None:
    assert sorted(MODULES) == sorted(PLACE), "a new file needs a row in FLOORS, a removed one loses it"


def test_no_module_is_listed_twice() -> None:
    assert len(PLACE) == len(ROWS)


@pytest.mark.parametrize("module", [pytest.param(name, id=name or "__init__") for name in MODULES])
def test_imports_go_down(module: str) -> None:
    if module not in PLACE:
        pytest.fail(f"{module} has no row in FLOORS")
    path = MODULES[module]
    assert violations(module, path.read_text("utf-8"), is_package=path.name == "__init__.py") == []


# What the checker has to catch, shown on sources that do not exist.


@pytest.mark.parametrize(
    ("module", "source", "complaint"),
    [
        ("request", "from .connection import Connection", "comes later, on floor 'protocols'"),
        ("request", "from roadrunner_trio.connection import Connection", "comes later, on floor 'protocols'"),
        ("request", "import roadrunner_trio.connection", "comes later, on floor 'protocols'"),
        ("request", "from . import connection", "comes later, on floor 'protocols'"),
        ("request", "if TYPE_CHECKING:\n    from .response import Response", "request:2"),
        ("request", "def f():\n    from .response import Response", "request:2"),
        ("errors", "from .settings import Limits", "comes later, on floor 'words'"),
        ("errors", "from .errors import ProtocolError", "comes later, on floor 'words'"),
        ("serve", "from . import run", "imports the package itself, which comes later"),
        ("request", "from .nowhere import thing", "imports nowhere, which is not in the table"),
        ("errors", "import trio", "standard library only"),
        ("fields", "from h11 import Event", "standard library only"),
        ("http1.head", "import trio.abc", "no input or output"),
        ("http1.head", "from trio import Event", "no input or output"),
        ("http1.engine", "from .head import judge", "imports http1.head, which comes later"),
        ("http1.engine", "from . import head", "imports http1.head, which comes later"),
        ("codec.uri", "from ..request import Request", "imports request, which comes later"),
        ("connection", "from .apps.router import Router", "does not know its wing"),
        ("listener", "from . import apps", "does not know its wing"),
        ("apps.router", "from ..connection import Connection", "comes later, on floor 'protocols'"),
        ("apps.router", "from ..listener import Listener", "comes later, on floor 'doors'"),
    ],
)
def test_a_violation_is_caught(module: str, source: str, complaint: str) -> None:
    (found,) = violations(module, source)
    assert complaint in found


def test_a_package_may_not_import_its_own_parts() -> None:
    (found,) = violations("http1", "from .engine import Signal", is_package=True)
    assert "imports http1.engine, which comes later" in found


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("http1.head", "import h11\nfrom ..errors import ProtocolError\nfrom .engine import Signal"),
        ("settings", "from .errors import phrase"),
        ("apps.router", "from ..respond import native\nfrom .routes import Route"),
        ("cli", "from .apps.router import Router"),
        ("connection", "import trio\nfrom .http1 import encode\nfrom .request import Request"),
        ("errors", "from __future__ import annotations\nfrom collections.abc import Sequence"),
    ],
)
def test_what_is_allowed_passes(module: str, source: str) -> None:
    assert violations(module, source) == []


def test_two_modules_that_import_each_other_cannot_both_pass() -> None:
    one = violations("request", "from .response import Response")
    other = violations("response", "from .request import Request")
    assert one + other != []
