"""The benchmarks' own arithmetic: what is read, what counts, what is shown. An error here is one in every figure."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import pytest

# Last, so that the package under test stays the one that is installed.
sys.path.append(str(Path(__file__).parents[3]))

from bench import __main__ as main
from bench.apps import content
from bench.client import Offered
from bench.compare import available, parser, pick
from bench.echoes import Echoed
from bench.load import LoadError, command, find_wrk, parse_wrk
from bench.measure import cpu_seconds, kilobytes, median, memory, parent, percentile, ratio, ticks, tree
from bench.options import natural
from bench.options import tree as checkout
from bench.run import common_rate, from_echoed, from_loaded, from_offered, speakers, with_again
from bench.scenarios import SCENARIOS
from bench.servers import ROOT, SERVERS, Setup, environment, place

BY_NAME = {each.name: each for each in SCENARIOS}

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
    assert (found.requests, found.rate, found.errors, found.octets) == (43105, 21445.77, "", 6.25 * 1024**2)
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
    assert from_loaded(found, BY_NAME["hello"]).void == line.strip()


def test_both_errors_are_kept():
    lines = "  Socket errors: connect 1, read 0, write 0, timeout 0\n  Non-2xx or 3xx responses: 1\n"
    assert parse_wrk(WRK.replace("Requests/sec", f"{lines}Requests/sec")).errors.count(";") == 1


@pytest.mark.parametrize(("shown", "octets"), [("17.00B", 17), ("1.50KB", 1536), ("2.00GB", 2 * 1024**3)])
def test_octets_of_wrk(shown, octets):
    assert parse_wrk(WRK.replace("6.25MB", shown)).octets == octets


def test_answers_that_are_not_whole_void_a_round():
    assert from_loaded(parse_wrk(WRK), BY_NAME["hello"]).void == ""
    assert "not whole" in from_loaded(parse_wrk(WRK), BY_NAME["json"]).void
    large = WRK.replace("6.25MB", "2.63GB")  # 43105 of 64 kB are 2.631 GB, heads apart
    assert from_loaded(parse_wrk(large), BY_NAME["large"]).void == ""


def test_the_times_of_requests_sent_at_once_are_not_shown():
    assert from_loaded(parse_wrk(WRK), BY_NAME["pipelined"]).p99 is None
    assert from_loaded(parse_wrk(WRK), BY_NAME["hello"]).p99 == 0.98


def test_no_answer_at_all_voids_a_round():
    assert parse_wrk(WRK.replace("43105", "0")).errors == "nothing was answered"


@pytest.mark.parametrize(
    "text",
    ["", "unable to connect", WRK.partition("  43105")[0], WRK.replace("99%", "98%"), WRK.replace("MB read", "")],
)
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
        (folder / "stat").write_text(f"{pid} (a) name (x) S {ppid} 1 1 0 -1 0 0 0 0 0 {pid} 3 0 0\n")
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


def test_ticks_are_those_of_the_tree(proc):
    assert ticks(10, proc) == (10 + 11 + 12, 3 * 3)
    (proc / "12" / "stat").unlink()
    assert ticks(10, proc) == (10 + 11, 2 * 3)


def test_a_process_that_has_just_ended_counts_nothing(proc):
    (proc / "12" / "status").unlink()
    (proc / "12" / "task" / "12" / "schedstat").unlink()
    assert memory(10, "VmHWM", proc) == 120 * 1024
    assert cpu_seconds(10, proc) == pytest.approx(1.75)


def test_a_zombie_has_no_memory():
    assert kilobytes("Name:\tx\nState:\tZ (zombie)\n", "VmRSS") == 0


@needs_proc
def test_this_process_has_memory_and_has_worked():
    now = memory(os.getpid(), "VmRSS")  # first, for it may grow meanwhile
    assert memory(os.getpid(), "VmHWM") >= now > 1_000_000
    before = cpu_seconds(os.getpid())
    sum(range(2_000_000))
    assert cpu_seconds(os.getpid()) > before


# -- servers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("server", SERVERS, ids=lambda each: each.name)
def test_every_server_is_told_its_port_and_what_to_do(server):
    plain = server.command(Setup(), 4711)
    assert any("4711" in part for part in plain)
    files = (Path("c.pem"), Path("k.pem"))
    assert "http" not in server.speaks or {"c.pem", "k.pem"} <= set(server.command(Setup(tls=files), 4711))
    if "http" in server.speaks:
        assert server.command(Setup(access_log=True), 4711) != plain
        assert server.command(Setup(crowd=77), 4711) != plain


@pytest.mark.parametrize("server", SERVERS, ids=lambda each: each.name)
def test_every_server_speaks_what_scenarios_want(server):
    assert set(server.speaks.split()) <= {each.protocol for each in SCENARIOS}


def test_who_takes_part_in_which_scenario():
    told = {name: [each.name for each in speakers(SERVERS, BY_NAME[name])] for name in ("hello", "ws64")}
    assert "uvicorn-wsproto" not in told["hello"]
    peers = ["uvicorn", "uvicorn-wsproto", "granian", "hypercorn-trio", "trio-websocket"]
    assert told["ws64"] == ["ours", *peers, "ours-asgi"]
    assert "websockets-sansio" in SERVERS[1].command(BY_NAME["ws64"].setup, 1)
    assert "bench.apps.native:make_websocket" in SERVERS[0].command(BY_NAME["ws64"].setup, 1)


def test_a_label_has_the_versions_there_are():
    assert (
        SERVERS[2].label({"uvicorn": "1.0", "h11": "2.0", "trio": "3.0"})
        == "uvicorn-h11 (uvicorn 1.0, h11 2.0, asyncio)"
    )


def test_servers_find_the_checkout_and_the_file(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "elsewhere")
    found = environment(Setup(file=Path("/a/file")), Path("/a/place"))
    assert found["PYTHONPATH"].split(os.pathsep) == ["/a/place", str(ROOT), "elsewhere"]
    assert found[content.FILE_VARIABLE] == "/a/file"


def test_a_server_is_started_where_the_package_is_and_nothing_else():
    with place(ROOT) as folder:
        assert [each.name for each in folder.iterdir()] == ["roadrunner_trio"]
        assert (folder / "roadrunner_trio" / "__init__.py").samefile(ROOT / "roadrunner_trio" / "__init__.py")
    assert not folder.exists()


def test_a_server_whose_packages_are_missing_is_left_out_and_told_of(capsys):
    packages = {"roadrunner-trio": "1", "trio": "1", "h11": "1", "uvicorn": "1", "uvloop": "1"}
    chosen = pick(SERVERS, ["ours", "uvicorn", "uvicorn-h11", "granian"])
    assert [each.name for each in available(chosen, packages)] == ["ours", "uvicorn-h11"]
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
    chosen = parser().parse_args(["--scenarios", "hello", "json", "--server", "ours", "--rounds", "3", "--aa"])
    assert (chosen.scenarios, chosen.servers) == (["hello", "json"], ["ours"])
    assert (chosen.rounds, chosen.seconds, chosen.aa, chosen.tree) == (3, 2, True, ROOT)


def test_a_name_may_also_come_again():
    assert parser().parse_args(["--scenario", "hello", "--scenario", "tls"]).scenarios == ["hello", "tls"]


def test_what_is_no_checkout(tmp_path):
    assert checkout(str(ROOT)) == ROOT
    with pytest.raises(argparse.ArgumentTypeError, match="no checkout"):
        checkout(str(tmp_path))


def test_without_wrk_nothing_runs(monkeypatch, capsys):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(main.signal, "signal", lambda *_: None)
    for arguments in ([], ["ab", "--base", "x"], ["profile", "hello"]):
        assert main.main(arguments) == 2
    assert capsys.readouterr().err.count("apt-get install wrk") == 3


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


def test_the_rate_is_a_share_of_what_the_slower_of_us_and_uvicorn_can():
    assert common_rate({"ours": 50_000, "uvicorn": 40_000, "hypercorn-trio": 3_000}) == pytest.approx(24_000)
    assert common_rate({"ours": 20_000, "uvicorn": 40_000}) == pytest.approx(12_000)
    assert common_rate({"base": 20_000, "here": 30_000}) == pytest.approx(12_000)
    assert common_rate({}) == 0


def test_a_round_of_echoes():
    found = from_echoed(Echoed([n / 1e5 for n in range(1, 1001)], 2.0))
    assert (found.requests, found.rate, found.void) == (1000, 500, "")
    assert (found.p50, found.p99, found.p999) == pytest.approx((5, 9.9, 9.99))
