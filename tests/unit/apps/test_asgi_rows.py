"""Every row of the table of ASGI's rules has a test that bears its number, and so has every public report."""

from __future__ import annotations

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parents[2]

LAST = {"s": 16, "r": 10, "t": 18, "e": 8, "w": 18, "l": 14, "g": 4}
"""Scope, receive, send, extensions, WebSocket, lifespan, and what is common to all."""

REPORTS = """
    granian_818 granian_798 granian_835 granian_922 granian_645 granian_575 granian_772 granian_601 uvicorn_241
    uvicorn_pr_147 uvicorn_pr_124 uvicorn_2271 uvicorn_997 uvicorn_811 uvicorn_366 uvicorn_2238 uvicorn_261
    uvicorn_pr_2213 litestar_3039 19 hypercorn_274 hypercorn_pr_97 hypercorn_213 hypercorn_28 hypercorn_59
    hypercorn_238 starlette_1764 gunicorn_pr_3621 starlette_1438 27 anycorn asgiref_381 uvicorn_956 sse_starlette_1
    uvicorn_451 daphne_486 33 34
"""


def names() -> list[str]:
    """Of all tests of the adapter."""
    found = []
    for path in [*TESTS.rglob("test_asgi*.py"), *TESTS.glob("frameworks/*.py"), TESTS / "unit/testing/test_memory.py"]:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                found.append(node.name)
    return found


def test_every_row_has_a_test():
    rows = {
        row for name in names() if name.startswith("test_asgi_") for row in re.findall(r"(?<=_)[a-z]\d+(?=_)", name)
    }
    wanted = {f"{letter}{number}" for letter, last in LAST.items() for number in range(1, last + 1)}
    assert wanted - rows == set()


def test_every_report_has_a_test():
    told = names()
    assert [report for report in REPORTS.split() if not any(f"report_{report}_" in name for name in told)] == []
