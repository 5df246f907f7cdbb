"""The bench of several workers: that it measures what it says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.apps.work import BUSY, app, handler
from bench.workers import best_of
from roadrunner_trio.testing import open_server

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("path", BUSY)
async def test_both_applications_answer_alike(path: str) -> None:
    from roadrunner_trio.apps.asgi import asgi

    for each in (handler, asgi(app)):
        async with open_server(each) as server:
            assert (await server.client().get(path)).body == b"Hello, world!"


def test_the_best_turn_counts() -> None:
    one, other = iter([3.0, 1.0, 2.0]), iter([6.0, 5.0, 7.0])
    assert best_of(3, {"one": lambda: next(one), "other": lambda: next(other)}, min) == [1.0, 5.0]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="memory is read from /proc")
def test_preloaded_workers_take_less_than_half_of_uvicorns() -> None:
    for name in ("fastapi", "uvicorn", "httpx"):
        pytest.importorskip(name)
    done = subprocess.run(
        [sys.executable, "-m", "bench.workers", "memory"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    alone, both = (float(line.rpartition(" ")[2]) for line in done.stdout.splitlines())
    assert alone < 0.5
    assert both < 0.8
