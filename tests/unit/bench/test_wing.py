"""The benchmark of what stands on the server gives figures for both servers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from process_tools import needs_proc

pytestmark = [needs_proc, pytest.mark.slow]


def test_every_case_is_answered_by_both():
    for name in ("starlette", "uvicorn", "python_multipart"):
        pytest.importorskip(name)
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-m", "bench.wing", "--turns", "1"],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode == 0, done.stderr
    heads, *rows = done.stdout.splitlines()
    assert "ratio" in heads
    assert len(rows) == 5
    assert all(float(number) > 0 for row in rows for number in row[28:].split() if number != "-")
    assert all(row[28:].split()[:3].count("-") == 0 for row in rows)
