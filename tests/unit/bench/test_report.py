"""The benchmarks' report: the table, the multiples, the chart. An error here is one in every figure that is read."""

from __future__ import annotations

import json
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

# Last, so that the package under test stays the one that is installed.
sys.path.append(str(Path(__file__).parents[3]))

from bench.chart import LEFT, MOST, chart, groups
from bench.report import HEADINGS, as_json, at_a_glance, cell, from_json, markdown, reference
from bench.run import Outcome, Result, Round

# -- the report ----------------------------------------------------------------------------------


def result(server, *cpu, **rest):
    rounds = [Round(1000, each, rate=1e6 / each, p50=1.0, p99=2.0) for each in cpu]
    return Result(server, rounds, idle=20_000_000, peak=30_000_000, **rest)


def rows(text):
    return [
        [each.strip() for each in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("| ")
    ]


def test_the_table_has_least_and_median_and_ratios():
    outcome = Outcome("hello", "", [result("ours", 9.0, 12.0, 10.0), result("uvicorn", 20.0, 18.0, 22.0)])
    heading, _, ours, theirs = rows(markdown([outcome]))
    assert heading == list(HEADINGS)
    assert ours[:4] == ["hello", "roadrunner-trio", "9.0 (0.50×)", "10.0 (0.50×)"]
    assert ours[4] == "100,000 (2.00×)"
    assert theirs[2:4] == ["18.0 (1.00×)", "20.0 (1.00×)"]
    assert ours[8:] == ["30.0 (1.00×)", "20.0 (1.00×)", "–"]


def test_void_rounds_do_not_count_and_are_told_of():
    disturbed = result("ours", 10.0)
    disturbed.rounds += [Round(1000, 1.0, void="Socket errors: connect 1"), Round(void="Socket errors: connect 1")]
    text = markdown([Outcome("hello", "", [disturbed, result("uvicorn", 20.0)])])
    assert rows(text)[2][2:4] == ["10.0 (0.50×)", "10.0 (0.50×)"]
    assert "- hello: roadrunner-trio: 2 of 3 rounds are void: Socket errors: connect 1" in text


def test_who_was_left_out_has_no_row_but_a_remark():
    wrong = Result("granian", left_out="answered wrongly: status 500", failed=True)
    text = markdown([Outcome("hello", "", [result("ours", 1.0), wrong]), Outcome("tls", "", left_out="no tls")])
    assert [row[1] for row in rows(text)[2:]] == ["roadrunner-trio"]
    assert "- hello: granian answered wrongly: status 500" in text
    assert "- tls: left out, no tls" in text


def test_without_the_reference_nothing_is_compared():
    gone = Result("uvicorn", left_out="did not start: no")
    assert reference([result("ours", 1.0), gone]) is None
    assert rows(markdown([Outcome("hello", "", [result("ours", 1.0), gone])]))[2][2] == "1.0"


def test_the_reference_is_uvicorn_or_the_first_when_nobody_asked_for_uvicorn():
    assert reference([result("ours", 1.0), result("uvicorn", 2.0)]).server == "uvicorn"
    assert reference([result("ours", 1.0), result("ours-again", 2.0)]).server == "ours"
    assert reference([]) is None


@pytest.mark.parametrize(
    ("value", "base", "digits", "shown"),
    [(None, 1.0, 1, "–"), (12345.678, None, 1, "12,345.7"), (2.0, 4.0, 2, "2.00 (0.50×)"), (2.0, 0.0, 0, "2")],
)
def test_cells(value, base, digits, shown):
    assert cell(value, base, digits) == shown


def test_this_server_in_multiples_of_its_peers():
    idle = [Result(name, [Round(10, connection=octets)]) for name, octets in (("ours", 5000), ("granian", 20000))]
    slow = [Result(name, [Round(10, cpu, p99=p99)]) for name, cpu, p99 in (("ours", 30, 1.5), ("uvicorn", 24, 1.0))]
    wrong = Result("granian", left_out="answered wrongly: status 500", failed=True)
    outcomes = [
        Outcome("hello", "", [result("ours", 10.0), result("uvicorn", 20.0), wrong]),
        Outcome("latency", "", slow),
        Outcome("idle", "", idle),
        Outcome("tls", "", left_out="no tls"),
    ]
    heading, _, *found = rows(at_a_glance(outcomes))
    assert [heading, *found] == [
        ["scenario", "roadrunner-trio in multiples of", "uvicorn", "granian"],
        ["hello", "CPU", "0.50×", "–"],
        ["latency", "p99", "1.50×", "–"],
        ["latency", "CPU", "1.25×", "–"],
        ["idle", "memory", "–", "0.25×"],
    ]


@pytest.mark.parametrize("results", [[], [result("ours", 1.0)], [result("uvicorn", 1.0), result("granian", 2.0)]])
def test_alone_it_has_no_multiples(results):
    assert at_a_glance([Outcome("hello", "", results)]) == ""


def test_json_has_every_round():
    found = as_json([Outcome("hello", "13 bytes", [result("ours", 9.0, 12.0)])], {"rounds": 2})
    again = json.loads(json.dumps(found))
    assert [each["cpu"] for each in again["scenarios"][0]["results"][0]["rounds"]] == [9.0, 12.0]
    assert again["about"] == {"rounds": 2}


def test_what_was_written_can_be_read():
    outcomes = [
        Outcome("hello", "13 bytes", [result("ours", 9.0, 12.0), Result("granian", left_out="no", failed=True)]),
        Outcome("tls", "", left_out="no tls"),
    ]
    assert from_json(json.loads(json.dumps(as_json(outcomes, {})))) == outcomes


# -- the chart -----------------------------------------------------------------------------------

SVG = "{http://www.w3.org/2000/svg}"
MEASURED = [
    Outcome("hello", "", [result("ours", 10.0), result("uvicorn", 20.0), result("hypercorn-trio", 400.0)]),
    Outcome("tls", "", left_out="this server has no tls"),
    Outcome("json", "", [result("ours", 30.0), result("uvicorn", 20.0), Result("granian", left_out="no")]),
]


def test_what_is_drawn():
    assert groups(MEASURED) == [
        ("hello", [("ours", 0.5), ("uvicorn", 1.0), ("hypercorn-trio", 20.0)]),
        ("json", [("ours", 1.5), ("uvicorn", 1.0)]),
    ]


def test_the_chart_is_well_formed_and_says_what_it_shows():
    root = ET.fromstring(chart(MEASURED, "Python <3.13> & more"))
    assert root.get("role") == "img"
    ids = {each.get("id"): each.text for each in root.iter() if each.get("id")}
    title, text = (ids[name] for name in root.get("aria-labelledby").split())
    assert "uvicorn" in title
    assert "hello: roadrunner-trio 0.50, uvicorn 1.00, hypercorn-trio 20.00." in text
    assert "Python <3.13> & more" in [each.text for each in root.iter(f"{SVG}text")]
    assert "@media (prefers-color-scheme: dark)" in root.find(f"{SVG}style").text


def test_bars_are_as_long_as_the_figures_and_cut_ones_show_it():
    bars = [each.get("d") for each in ET.fromstring(chart(MEASURED, "")).iter(f"{SVG}path")]
    lengths = [float(bar.partition("H")[2].partition("L")[0]) - LEFT for bar in bars]
    half, one, cut, more, _ = lengths
    assert half * 2 == pytest.approx(one)
    assert more == pytest.approx(one * 1.5)
    assert cut == pytest.approx(one * MOST)
    assert ["L" in bar.removesuffix("Z").partition("L")[2] for bar in bars] == [False, False, True, False, False]


def test_nothing_sticks_out_of_the_chart():
    root = ET.fromstring(chart(MEASURED, ""))
    width, height = float(root.get("width")), float(root.get("height"))
    for each in root.iter(f"{SVG}text"):
        assert 0 <= float(each.get("x")) <= width - 30
        assert 0 <= float(each.get("y")) <= height
