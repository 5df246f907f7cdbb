"""The rooms of the package: a module imports rooms that stand above its own, and files that stand before it there.

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

ROOMS = {
    "words": ["fields", "errors", "units", "settings", "date", "addresses", "printable", "tracebacks", "journal"],
    "transport": [
        "clock",
        "patience",
        "poller",
        "turns",
        "phases",
        "drain",
        "cached_open",
        "files",
        "beneath",
        "spool",
        "forks",
        "parties",
        "gone",
        "wire",
        "streams",
        "tls_files",
        "tls",
        "x509",
        "certificates",
        "tls_stream",
        "unix",
        "bind",
        "dump",
        "stdio",
    ],
    "protocol": [
        "heads",
        "wishes",
        "http1",
        "http1.engine",
        "http1.head",
        "http1.body",
        "http1.encode",
        "http1.h11_engine",
        "http1.scan",
        "http2",
        "http2.tables",
        "http2.huffman",
        "http2.hpack",
        "http2.blocks",
        "http2.failure",
        "http2.frames",
        "http2.head",
        "http2.sections",
        "http2.budget",
        "http2.stream",
        "http2.windows",
        "http2.numbers",
        "http2.peer_settings",
        "http2.ledger",
        "http2.control",
        "http2.content",
        "http2.heads_in",
        "http2.engine",
        "ws",
        "ws.frames",
        "ws.masking",
        "ws.extensions",
        "ws.assembly",
        "ws.deflate",
        "ws.decoder",
        "ws.handshake",
        "ws.origin",
        "codec",
        "codec.uri",
        "codec.dates",
        "codec.cookies",
        "codec.forwarded",
        "codec.sse",
        "codec.disposition",
        "codec.media",
        "codec.form_data",
        "codec.etag",
        "codec.ranges",
        "codec.negotiation",
        "codec.coders",
        "proxy_header",
        "trust",
    ],
    "messages": [
        "ids",
        "json_body",
        "params",
        "form",
        "request",
        "exchange",
        "around",
        "functions",
        "media_types",
        "response_head",
        "response",
        "event_stream",
        "broadcast",
    ],
    "telemetry": [
        "connection_events",
        "of_request",
        "websocket_events",
        "observe",
        "request_ids",
        "log_lines",
        "log_context",
        "access_lines",
        "logs",
        "log_format",
        "log_output",
        "snapshot",
        "exposition",
        "metrics",
        "tracing",
    ],
    "answering": [
        "rate_limit",
        "admission",
        "relayed",
        "faults",
        "callables",
        "middleware",
        "file_response",
        "respond",
        "explaining",
        "health",
        "buffers",
        "context",
    ],
    "websocket": [
        "told",
        "terms",
        "outgoing",
        "link",
        "keepalive",
        "inbox",
        "core",
        "session",
        "observed",
        "offer",
        "handler",
    ],
    "apps": [
        "routes",
        "table",
        "router",
        "asgi_messages",
        "asgi_faults",
        "asgi_routes",
        "asgi_scope",
        "asgi_http",
        "asgi_websocket",
        "asgi_lifespan",
        "made",
        "asgi",
        "listing",
        "static",
        "compress",
        "inflate",
        "adding",
        "cors",
        "guards",
        "conditional",
    ],
    "server": [
        "presence",
        "report",
        "writing",
        "carrier",
        "on_carrier",
        "http1_sender",
        "gathering",
        "http1_exchange",
        "subject",
        "refusals",
        "door",
        "connection",
        "spares",
        "afterwards",
        "dormitory",
        "http2",
        "http2.alarm",
        "http2.writer",
        "http2.sender",
        "http2.tunnel",
        "http2.exchange",
        "http2.parked",
        "http2.streams",
        "http2.connection",
        "eviction",
        "places",
        "accepting",
        "rejections",
        "listener_info",
        "listener_settings",
        "listener",
        "leaving",
        "shell",
        "signals",
        "watchdog",
        "services",
        "serve",
    ],
    "testing": [
        "nurseries",
        "events",
        "talk",
        "http1",
        "http2",
        "sockets",
        "responses",
        "client",
        "memory",
        "",
        "httpx_transport",
        "fixtures",
    ],
    "processes": [
        "states",
        "slots",
        "wear",
        "board",
        "control",
        "children",
        "roles",
        "zygote",
        "supervisor",
        "sight",
        "doors",
        "upgrade",
        "watching",
        "systemd",
        "worker",
    ],
    "watching": ["recent", "sample", "changes", "pane", "door", "window", "told", "workers"],
    "names": [""],
    "demo": ["board", "source", "exhibits", ""],
    "command": [
        "options",
        "kinds",
        "option",
        "process_options",
        "session_options",
        "setting_table",
        "borrowed",
        "flags",
        "config_file",
        "configuration",
        "env_file",
        "door_options",
        "explain",
        "load",
        "interface",
        "folder",
        "dump",
        "operation",
        "window",
        "supervise",
        "serving",
        "cli",
        "worker",
    ],
    "tutorial": ["stage", "chapters", "judge", "measure", "__main__"],
    "start": ["__main__"],
}
"""Each room's files in order. A room is the folder of its name; its ``__init__`` comes first, or where ``""`` stands.
Words lie in the package itself, as do its ``__init__``, whose names are all that users see, and ``__main__``."""

FOLDERLESS = {"words", "names", "start"}
SANS_IO = "protocol"
STDLIB_ONLY = "words"
WING = "apps"
"""Applications: they know the rooms above, and of those below only the ones that put everything together know them."""
MAY_KNOW_THE_WING = {WING, "testing", "names", "command", "demo", "start"}
TRIO = {"trio", "trio_websocket"}


def rows() -> Iterator[tuple[str, str]]:
    """Every module with its room, in order."""
    for room, files in ROOMS.items():
        if room in FOLDERLESS:
            yield from ((file, room) for file in files)
            continue
        for file in files if "" in files else ["", *files]:
            yield f"{room}.{file}".rstrip("."), room


ROWS = list(rows())
PLACE = {module: (at, room) for at, (module, room) in enumerate(ROWS)}


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
    place, room = PLACE[module]
    wrong = []
    for line, name, ours in imports(module, source, is_package=is_package):
        where = f"{module or '__init__'}:{line} in room {room!r} imports {name or 'the package itself'}"
        if ours:
            if name not in PLACE:
                wrong.append(f"{where}, which is not in the table")
            elif PLACE[name][0] >= place:
                wrong.append(f"{where}, which comes later, in room {PLACE[name][1]!r}")
            elif PLACE[name][1] == WING and room not in MAY_KNOW_THE_WING:
                wrong.append(f"{where}: the house does not know its wing")
            continue
        top = name.partition(".")[0]
        if room == STDLIB_ONLY and top not in sys.stdlib_module_names:
            wrong.append(f"{where}: the words know the standard library only")
        if room == SANS_IO and top in TRIO:
            wrong.append(f"{where}: what is sans I/O does no input or output")
    return wrong


MODULES = modules_of(PACKAGE)


def test_every_file_has_a_row_and_every_row_a_file() -> None:
    assert sorted(MODULES) == sorted(PLACE), "a new file needs a row in ROOMS, a removed one loses it"


def test_no_module_is_listed_twice() -> None:
    assert len(PLACE) == len(ROWS)


@pytest.mark.parametrize("module", [pytest.param(name, id=name or "__init__") for name in MODULES])
def test_imports_go_down(module: str) -> None:
    if module not in PLACE:
        pytest.fail(f"{module} has no row in ROOMS")
    path = MODULES[module]
    assert violations(module, path.read_text("utf-8"), is_package=path.name == "__init__.py") == []


# What the checker has to catch, shown on sources that do not exist.


@pytest.mark.parametrize(
    ("module", "source", "complaint"),
    [
        ("messages.request", "from ..server.connection import Connection", "comes later, in room 'server'"),
        ("messages.request", "from roadrunner_trio.server.connection import x", "comes later, in room 'server'"),
        ("messages.request", "import roadrunner_trio.server.connection", "comes later, in room 'server'"),
        ("messages.request", "from ..server import connection", "comes later, in room 'server'"),
        ("messages.request", "if TYPE_CHECKING:\n    from .response import Response", "messages.request:2"),
        ("messages.request", "def f():\n    from .response import Response", "messages.request:2"),
        ("errors", "from .settings import Limits", "comes later, in room 'words'"),
        ("errors", "from .errors import ProtocolError", "comes later, in room 'words'"),
        ("server.serve", "from .. import run", "imports the package itself, which comes later"),
        ("messages.request", "from .nowhere import thing", "imports messages.nowhere, which is not in the table"),
        ("errors", "import trio", "standard library only"),
        ("fields", "from h11 import Event", "standard library only"),
        ("protocol.http1.head", "import trio.abc", "no input or output"),
        ("protocol.http1.head", "from trio import Event", "no input or output"),
        ("protocol.http1.engine", "from .head import judge", "imports protocol.http1.head, which comes later"),
        ("protocol.http1.engine", "from . import head", "imports protocol.http1.head, which comes later"),
        (
            "protocol.codec.uri",
            "from ...messages.request import Request",
            "imports messages.request, which comes later",
        ),
        ("server.connection", "from ..apps.router import Router", "does not know its wing"),
        ("server.listener", "from .. import apps", "does not know its wing"),
        ("apps.router", "from ..server.connection import Connection", "comes later, in room 'server'"),
    ],
)
def test_a_violation_is_caught(module: str, source: str, complaint: str) -> None:
    (found,) = violations(module, source)
    assert complaint in found


def test_a_package_may_not_import_its_own_parts() -> None:
    (found,) = violations("protocol.http1", "from .engine import Signal", is_package=True)
    assert "imports protocol.http1.engine, which comes later" in found


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("protocol.http1.head", "import h11\nfrom ...errors import ProtocolError\nfrom .engine import Signal"),
        ("settings", "from .errors import phrase"),
        ("apps.router", "from ..answering.respond import native\nfrom .routes import Route"),
        ("command.cli", "from ..apps.router import Router"),
        (
            "server.connection",
            "import trio\nfrom ..protocol.http1 import encode\nfrom ..messages.request import Request",
        ),
        ("errors", "from __future__ import annotations\nfrom collections.abc import Sequence"),
    ],
)
def test_what_is_allowed_passes(module: str, source: str) -> None:
    assert violations(module, source) == []


def test_two_modules_that_import_each_other_cannot_both_pass() -> None:
    one = violations("messages.request", "from .response import Response")
    other = violations("messages.response", "from .request import Request")
    assert one + other != []
