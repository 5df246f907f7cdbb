"""The package is also a text to read: one connection, told top to bottom; short files and functions."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import roadrunner_trio

PACKAGE = Path(roadrunner_trio.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))

LONGEST_FILE = 500
LONGEST_STORY = 400
LONGEST_FUNCTION = 40

STORIES = [PACKAGE / "server" / "connection.py", PACKAGE / "server" / "http2" / "connection.py"]
"""Files that tell the life of a connection top to bottom."""
STORY = ["serve_connection", "handshake", "read_request", "read_body", "dispatch", "finish", "expire"]
"""The phases of a connection in ``connection.py``, as they follow each other. Helpers stand between them."""
SECOND = ["serve_http2", "live", "read", "serve_streams", "serve_stream", "read_request", "finish", "expire", "part"]
"""Those of one that speaks HTTP/2: of the connection first, then of a stream, then the end."""


Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(source: str) -> Iterator[tuple[str, int]]:
    """Name and length in lines of every function, decorators and docstring included, inner functions too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, Function):
            first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
            yield node.name, (node.end_lineno or first) - first + 1


def told(source: str) -> list[str]:
    """The functions at the top level of ``source``, in order."""
    return [node.name for node in ast.parse(source).body if isinstance(node, Function)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_sizes(path: Path) -> None:
    source = path.read_text("utf-8")
    most = LONGEST_STORY if path in STORIES else LONGEST_FILE
    assert len(source.splitlines()) <= most
    assert [(name, lines) for name, lines in functions(source) if lines > LONGEST_FUNCTION] == []


def test_the_story_is_told_in_order() -> None:
    source = STORIES[0].read_text("utf-8")
    assert [name for name in told(source) if name in STORY] == STORY


def test_the_second_story_is_told_in_order() -> None:
    source = STORIES[1].read_text("utf-8")
    assert [name for name in told(source) if name in SECOND] == SECOND


def test_the_story_has_one_class() -> None:
    tree = ast.parse(STORIES[0].read_text("utf-8"))
    assert [node.name for node in tree.body if isinstance(node, ast.ClassDef)] == ["Connection"]


def test_the_measure_sees_decorators_methods_and_inner_functions() -> None:
    source = "class A:\n  @one\n  @two\n  def f(self):\n    def g():\n      pass\n    g()\nasync def h(): ...\n"
    assert sorted(functions(source)) == [("f", 6), ("g", 2), ("h", 1)]
    assert told(source) == ["h"]
