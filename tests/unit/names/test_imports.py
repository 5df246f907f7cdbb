"""What is imported with the package, and what only by those who use it."""

from __future__ import annotations

import subprocess
import sys

import pytest

ELSEWHERE = ("h11", "wsproto", "trio_websocket", "zipfile", "importlib.metadata", "asyncio", "multipart", "watchfiles")
"""Of others; each is needed by something that many never use."""
OURS = (
    "websocket",
    "protocol.ws",
    "protocol.http2.engine",
    "server.http2",
    "processes",
    "command",
    "demo",
    "apps",
    "testing",
    "watching",
)


def said_by(program: str) -> list[str]:
    """The words that a program prints, in an interpreter of its own."""
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_what_nobody_asked_for_is_not_imported() -> None:
    found = said_by(
        "import trio, sys\nbefore = {*sys.modules}\nimport roadrunner_trio\nprint(*{*sys.modules} - before)"
    )
    assert "roadrunner_trio.server.listener" in found
    for name in (*ELSEWHERE, *(f"roadrunner_trio.{room}" for room in OURS)):
        assert not [each for each in found if each == name or each.startswith(name + ".")]


NAMES = ["CloseReason", "Compression", "ConnectionClosed", "WebSocket", "WebSocketRequest", "observe", "websocket"]


@pytest.mark.parametrize("first", ["", "import roadrunner_trio.apps.asgi\n", "import roadrunner_trio.websocket.core\n"])
@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_there_when_somebody_asks_and_no_room_takes_its_place(first: str, name: str) -> None:
    program = f"{first}from roadrunner_trio import {name}\nimport roadrunner_trio\n"
    program += f"print(callable({name}), {name} is roadrunner_trio.{name}, '{name}' in dir(roadrunner_trio))"
    assert said_by(program) == ["True", "True", "True"]


def test_all_names_are_there() -> None:
    program = "import roadrunner_trio as r\nprint(*(name for name in r.__all__ if not hasattr(r, name)))"
    assert said_by(program) == []


def test_a_name_that_is_none_is_none() -> None:
    program = "import roadrunner_trio as r\ntry: r.websockets\nexcept AttributeError as exc: print(exc)"
    assert " ".join(said_by(program)) == "module 'roadrunner_trio' has no attribute 'websockets'"
