"""The benchmarks' own arithmetic: what is read, what counts, what is shown. An error here is one in every figure."""

from __future__ import annotations

import argparse
import json
import os
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

# Last, so that the package under test stays the one that is installed.
sys.path.append(str(Path(__file__).parents[2]))

from bench.__main__ import available, natural, parser, pick
from bench.apps import content
from bench.chart import LEFT, MOST, chart, groups
from bench.client import Offered
from bench.load import LoadError, command, find_wrk, parse_wrk
from bench.measure import cpu_seconds, kilobytes, median, memory, parent, percentile, ratio, tree
from bench.report import HEADINGS, as_json, cell, markdown, reference
from bench.run import Outcome, Result, Round, from_loaded, from_offered, with_again
from bench.scenarios import SCENARIOS
from bench.servers import ROOT, SERVERS, Setup, environment

needs_proc = pytest.mark.skipif(sys.platform != "linux", reason="CPU and memory are read from Linux's /proc")

WRK = """\
Running 2s test @ http://127.0.0.1:8000/hello
  1 threads and 50 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     2.31ms    1.02ms  21.40ms   88.12%
    Req/Sec    21.53k     1.91k   24.01k    70.00%
  Latency Distribution
     50%  2.11ms
     75%    2.64ms
     90%    3.20ms
     99%  980.00us
  43105 requests in 2.01s, 6.25MB read
Requests/sec:  21445.77
Transfer/sec:      3.11MB
"""


# -- wrk -----------------------------------------------------------------------------------------


def test_wrk_output():
    found = parse_wrk(WRK)
    assert (found.requests, found.rate, found.errors) == (43105, 21445.77, "")
    assert found.percentiles == {50.0: 2.11, 75.0: 2.64, 90.0: 3.2, 99.0: 0.98}


@pytest.mark.parametrize(
    ("shown", "milliseconds"), [("7.00us", 0.007), ("7.00ms", 7), ("1.50s", 1500), ("2.00m", 120000)]
)
def test_units_of_wrk(shown, milliseconds):
    assert parse_wrk(WRK.replace("980.00us", shown)).percentiles[99.0] == pytest.approx(milliseconds)


@pytest.mark.parametrize(
    "line",
    ["  Socket errors: connect 0, read 3, write 0, timeout 0", "  Non-2xx or 3xx responses: 17"],
)
def test_errors_of_wrk_void_a_round(line):
    found = parse_wrk(WRK.replace("Requests/sec", f"{line}\nRequests/sec"))
    assert found.errors == line.strip()
    assert from_loaded(found, 1).void == line.strip()


def test_both_errors_are_kept():
    lines = "  Socket errors: connect 1, read 0, write 0, timeout 0\n  Non-2xx or 3xx responses: 1\n"
    assert parse_wrk(WRK.replace("Requests/sec", f"{lines}Requests/sec")).errors.count(";") == 1


def test_no_answer_at_all_voids_a_round():
    assert parse_wrk(WRK.replace("43105", "0")).errors == "nothing was answered"


@pytest.mark.parametrize("text", ["", "unable to connect", WRK.partition("  43105")[0], WRK.replace("99%", "98%")])
def test_what_wrk_does_not_print(text):
    with pytest.raises(LoadError):
        parse_wrk(text)


def test_the_command_of_a_plain_scenario():
    assert command("http://127.0.0.1:1/x", seconds=2, connections=50) == [
        *("-t1", "-c50", "-d2s", "--timeout", "10s", "--latency", "http://127.0.0.1:1/x")
    ]


def test_the_command_with_fields_and_a_script():
    found = command("http://127.0.0.1:1/", seconds=1, connections=4, fields=[("A", "b: c")], script=("post", "16"))
    assert found[found.index("-H") + 1] == "A: b: c"
    script = Path(found[found.index("-s") + 1])
    assert script.is_file()
    assert found[-3:] == ["http://127.0.0.1:1/", "--", "16"]


def test_every_script_that_a_scenario_names_is_there():
    scripts = {each.script[0] for each in SCENARIOS if each.script}
    assert scripts == {file.stem for file in (ROOT / "bench" / "wrk").glob("*.lua")}


def test_without_wrk_the_message_says_how_to_get_it(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(LoadError, match="apt-get install wrk"):
        find_wrk()


# -- statistics ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("share", "rank"), [(0.001, 1), (0.01, 1), (0.07, 7), (0.5, 50), (0.501, 51), (0.99, 99), (0.999, 100), (1, 100)]
)
def test_percentile_is_the_nearest_rank(share, rank):
    assert percentile(range(1, 101), share) == rank


def test_percentiles_of_one_value():
    assert percentile([3.5], 0.001) == percentile([3.5], 0.999) == 3.5


@pytest.mark.parametrize(("values", "share"), [([], 0.5), ([1.0], 0.0), ([1.0], 1.01)])
def test_no_such_percentile(values, share):
    with pytest.raises(ValueError, match="no percentile"):
        percentile(values, share)


def test_medians():
    assert median([3.0, 1.0, 2.0]) == 2.0
    assert median([4.0, 1.0]) == 2.5
    assert median([]) is None


@pytest.mark.parametrize(
    ("value", "base", "times"), [(3.0, 2.0, 1.5), (None, 2.0, None), (3.0, None, None), (3.0, 0.0, None)]
)
def test_ratios(value, base, times):
    assert ratio(value, base) == times


# -- processes -----------------------------------------------------------------------------------


@pytest.fixture
def proc(tmp_path):
    """A /proc with a server 10, its worker 11, that one's child 12, and a stranger 13 that 1 has started."""

    def add(pid, ppid, nanoseconds, kilobytes):
        folder = tmp_path / str(pid)
        for number, spent in enumerate(nanoseconds):
            (folder / "task" / str(pid + 100 * number)).mkdir(parents=True)
            (folder / "task" / str(pid + 100 * number) / "schedstat").write_text(f"{spent} 77 8\n")
        (folder / "stat").write_text(f"{pid} (a) name (x) S {ppid} 1 1 0 -1\n")
        (folder / "status").write_text(f"Name:\tx\nVmHWM:\t    {kilobytes} kB\nVmRSS:\t  {kilobytes - 1} kB\n")

    add(10, 1, [1_000_000_000, 500_000_000], 100)
    add(11, 10, [250_000_000], 20)
    add(12, 11, [125_000_000], 3)
    add(13, 1, [900_000_000_000], 5000)
    (tmp_path / "meminfo").write_text("")
    return tmp_path


def test_the_parent_of_a_process_with_an_odd_name():
    assert parent("42 (a) 7 (b c) S 17 42 42 0 -1 4194304") == 17


def test_a_tree_of_processes(proc):
    assert tree(10, proc) == [10, 11, 12]
    assert tree(12, proc) == [12]


def test_cpu_time_is_that_of_all_threads_of_the_tree(proc):
    assert cpu_seconds(10, proc) == pytest.approx(1.875)


def test_memory_is_that_of_the_tree(proc):
    assert memory(10, "VmHWM", proc) == 123 * 1024
    assert memory(10, "VmRSS", proc) == 120 * 1024


def test_a_process_that_has_just_ended_counts_nothing(proc):
    (proc / "12" / "status").unlink()
    (proc / "12" / "task" / "12" / "schedstat").unlink()
    assert memory(10, "VmHWM", proc) == 120 * 1024
    assert cpu_seconds(10, proc) == pytest.approx(1.75)


def test_a_zombie_has_no_memory():
    assert kilobytes("Name:\tx\nState:\tZ (zombie)\n", "VmRSS") == 0


@needs_proc
def test_this_process_has_memory_and_has_worked():
    assert memory(os.getpid(), "VmHWM") >= memory(os.getpid(), "VmRSS") > 1_000_000
    before = cpu_seconds(os.getpid())
    sum(range(2_000_000))
    assert cpu_seconds(os.getpid()) > before


# -- servers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("server", SERVERS, ids=lambda each: each.name)
def test_every_server_is_told_its_port_and_what_to_do(server):
    plain = server.command(Setup(), 4711)
    assert any("4711" in part for part in plain)
    files = (Path("c.pem"), Path("k.pem"))
    assert {"c.pem", "k.pem"} <= set(server.command(Setup(tls=files), 4711))
    assert server.command(Setup(access_log=True), 4711) != plain
    assert server.command(Setup(crowd=77), 4711) != plain


def test_a_label_has_the_versions_there_are():
    assert (
        SERVERS[2].label({"uvicorn": "1.0", "h11": "2.0", "trio": "3.0"})
        == "uvicorn-h11 (uvicorn 1.0, h11 2.0, asyncio)"
    )


def test_servers_find_the_checkout_and_the_file(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "elsewhere")
    found = environment(Setup(file=Path("/a/file")))
    assert found["PYTHONPATH"].endswith(os.pathsep + "elsewhere")
    assert (Path(found["PYTHONPATH"].split(os.pathsep)[0]) / "bench").is_dir()
    assert found[content.FILE_VARIABLE] == "/a/file"


def test_a_server_whose_packages_are_missing_is_left_out_and_told_of(capsys):
    packages = {"roadrunner-trio": "1", "trio": "1", "h11": "1", "uvicorn": "1", "uvloop": "1"}
    assert [each.name for each in available(SERVERS[:4], packages)] == ["ours", "uvicorn-h11"]
    told = capsys.readouterr().err
    assert "uvicorn is left out: httptools not installed" in told
    assert "granian is left out: granian not installed" in told


def test_this_server_twice():
    assert [each.name for each in with_again(SERVERS[:2])] == ["ours", "ours-again", "uvicorn"]
    assert with_again(SERVERS[1:2]) == SERVERS[1:2]


# -- the command line ----------------------------------------------------------------------------


def test_names_are_picked_in_the_order_of_the_table():
    assert [each.name for each in pick(SERVERS, ["granian", "ours"])] == ["ours", "granian"]
    assert pick(SERVERS, None) == SERVERS


def test_the_command_line():
    chosen = parser().parse_args(["--scenario", "hello", "--server", "ours", "--rounds", "3", "--aa"])
    assert (chosen.scenario, chosen.server, chosen.rounds, chosen.seconds, chosen.aa) == (
        ["hello"],
        ["ours"],
        3,
        2,
        True,
    )


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "", "x", "²"])
def test_what_is_no_natural_number(text):
    with pytest.raises(argparse.ArgumentTypeError):
        natural(text)


# -- rounds at a fixed rate ----------------------------------------------------------------------


def test_a_round_at_a_fixed_rate():
    latencies = [n / 1e4 for n in range(1, 1001)]
    found = from_offered(Offered(latencies, [0.0001] * 1000, 1000), 2)
    assert (found.requests, found.rate, found.void) == (1000, 500, "")
    assert (found.p50, found.p99, found.p999, found.lag) == pytest.approx((50, 99, 99.9, 0.1))


def test_a_round_in_which_requests_were_lost_is_void():
    assert "3 of 10" in from_offered(Offered([0.1] * 7, [0.0] * 10, 10), 1).void
    assert from_offered(Offered([], [], 0), 1).void


def test_a_round_in_which_the_client_was_late_itself_is_void():
    assert "late itself" in from_offered(Offered([0.01] * 100, [0.006] * 100, 100), 1).void


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


def test_the_times_of_requests_sent_at_once_are_not_shown():
    assert from_loaded(parse_wrk(WRK), 16).p99 is None
    assert from_loaded(parse_wrk(WRK), 1).p99 == 0.98


def test_json_has_every_round():
    found = as_json([Outcome("hello", "13 bytes", [result("ours", 9.0, 12.0)])], {"rounds": 2})
    again = json.loads(json.dumps(found))
    assert [each["cpu"] for each in again["scenarios"][0]["results"][0]["rounds"]] == [9.0, 12.0]
    assert again["about"] == {"rounds": 2}


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
