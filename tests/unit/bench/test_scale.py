"""A crowd of connections is measured to its end, and drawn so that it can be read."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from process_tools import needs_proc

from bench.lines import LEFT, RIGHT, WIDTH, nice, picture

SVG = "{http://www.w3.org/2000/svg}"


@given(st.floats(1e-6, 1e9))
def test_an_axis_ends_at_a_number_for_people(value):
    end = nice(value)
    assert value <= end * (1 + 1e-9)
    assert end <= value * 2.01
    digits = f"{end:e}".partition("e")[0].rstrip("0")
    assert digits in ("1.", "2.", "4.", "5.", "8.")


def test_an_axis_of_nothing_ends_at_one():
    assert (nice(0), nice(-3)) == (1, 1)
    assert "polyline" in picture("A heading", "where", "kB", {"one": [(10, 0), (20, -1)]})


def test_a_picture_has_a_line_for_each_server():
    drawn = picture("A <heading>", "where", "kB", {"one": [(10, 5), (20, 5)], "other": [(10, 1), (20, 5)]})
    root = ElementTree.fromstring(drawn)
    lines = [line.get("points", "").split() for line in root.iter(f"{SVG}polyline")]
    assert [len(line) for line in lines] == [2, 2]
    assert lines[0][1] == lines[1][1], "both end at the same place"
    assert float(lines[0][1].partition(",")[0]) == WIDTH - RIGHT
    assert float(lines[0][0].partition(",")[0]) == LEFT + (WIDTH - LEFT - RIGHT) / 2
    labels = {text.text: float(text.get("y", "")) for text in root.iter(f"{SVG}text")}
    assert abs(labels["one"] - labels["other"]) >= 15
    assert "other, kB: 1 with 10, 5 with 20." in drawn


@needs_proc
@pytest.mark.slow
def test_a_small_crowd(tmp_path):
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-m", "bench.scale", "--most", "40", "--servers", "roadrunner-trio", "--draw", str(tmp_path)],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode == 0, done.stderr
    heads, *rows, ended = done.stdout.splitlines()
    assert "octets" in heads
    assert [int(row[16:24]) for row in rows] == [2, 10, 20, 30, 40]
    assert "roadrunner-trio ended within" in ended
    assert {file.name for file in tmp_path.iterdir()} == {"scale-memory.svg", "scale-waiting.svg"}
