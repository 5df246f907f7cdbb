"""What profilers print, read and put together, and the flame graph of it."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

# Last, so that the package under test stays the one that is installed.
sys.path.append(str(Path(__file__).parents[3]))

from bench.flame import WIDTH, flame, merged
from bench.parts import parts_chart
from bench.profiling import parser, report, write
from bench.samples import (
    OTHER,
    STEPS,
    Frame,
    Kernel,
    is_system_call,
    label,
    package,
    read_kernel,
    read_stacks,
    self_times,
    step,
    steps,
    user_only,
)
from bench.scenarios import HELLO

LIVE = Frame("live", "/a/roadrunner_trio/server/connection.py", 184)
SEND = Frame("SocketWire.send_now", "/a/roadrunner_trio/transport/wire.py", 185)
HANDLER = Frame("hello", "/a/bench/apps/native.py", 33)
RUN = Frame("unrolled_run", "/v/python3/site-packages/trio/_core/_run.py", 2866)
STACKS = {(RUN, LIVE): 30, (RUN, LIVE, SEND): 40, (RUN, LIVE, HANDLER): 20, (RUN,): 10}
SOURCES = {SEND: "            return self.socket.send(data)\n"}

RAW = """\
unrolled_run (/v/python3/site-packages/trio/_core/_run.py:2866);live (/a/roadrunner_trio/server/connection.py:184) 30
unrolled_run (/v/python3/site-packages/trio/_core/_run.py:2866) 4
unrolled_run (/v/python3/site-packages/trio/_core/_run.py:2866) 6
 15
"""

BY_FILE = """\
# Samples: 3K of event 'cpu-clock:pppH'
#
    55.84%  libpython3.13.so.1.0
    40.26%  [kernel.kallsyms]
     0.50%  [kernel.vmlinux]
"""
INCLUSIVE = """\
#   Children      Self  Symbol
    39.81%     0.90%  [k] do_syscall_64
    29.40%     0.03%  [k] __x64_sys_sendto
     1.10%     0.03%  [k] __arm64_sys_sendmsg
     3.45%     0.03%  [k] __x64_sys_recvfrom
     0.04%     0.00%  [k] __x64_sys_close
    12.00%     1.00%  [.] __x64_sys_sendto
"""


def source(file, line):
    return next((text for frame, text in SOURCES.items() if (frame.file, frame.line) == (file, line)), "pass\n")


def test_what_py_spy_writes():
    assert read_stacks(RAW) == {(RUN, LIVE): 30, (RUN,): 10}


@pytest.mark.parametrize(
    ("text", "calls"),
    [
        ("data = self.socket.recv(size)", True),
        ("for fd, events in epoll.poll(0):", True),
        ("return os.sendfile(out, file, at, size)", True),
        ("await self.send(data)", True),
        ("octets = len(data)", False),
        ("self.receive(data)", False),
    ],
)
def test_lines_that_make_system_calls(text, calls):
    assert is_system_call(SEND, lambda *_: text) is calls


def test_samples_of_system_calls_are_left_to_perf():
    assert user_only(STACKS, source) == {(RUN, LIVE): 30, (RUN, LIVE, HANDLER): 20, (RUN,): 10}


def test_labels_begin_with_the_package():
    assert label(RUN) == "unrolled_run (trio/_core/_run.py)"
    assert label(LIVE) == "live (roadrunner_trio/server/connection.py)"
    assert label(Frame("dumps", "/usr/lib/python3.13/json/encoder.py", 1)) == "dumps (json/encoder.py)"
    assert [package(each) for each in (RUN, LIVE, HANDLER)] == ["trio", "roadrunner_trio", "bench"]


def test_times_of_functions_by_themselves():
    assert self_times(STACKS) == {label(SEND): 0.4, label(LIVE): 0.3, label(HANDLER): 0.2, label(RUN): 0.1}


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("/a/bench/apps/native.py", "the handler"),
        ("/v/site-packages/trio/_core/_traps.py", "Trio: tasks, traps, the loop"),
        ("<attrs generated methods outcome._impl.Value>", "Trio: tasks, traps, the loop"),
        ("/a/roadrunner_trio/transport/wire.py", "the wire and the poller"),
        ("/a/roadrunner_trio/protocol/http1/scan.py", "reading: heads, bodies, frames"),
        ("/a/roadrunner_trio/protocol/http1/encode.py", "writing: heads, framing, one send"),
        ("/a/roadrunner_trio/messages/response.py", "requests and responses as objects"),
        ("/a/roadrunner_trio/apps/router.py", "requests and responses as objects"),
        ("/a/roadrunner_trio/transport/phases.py", "the life of the connection: phases, clock, drain"),
        ("/usr/lib/python3.13/enum.py", OTHER),
    ],
)
def test_parts_of_a_request(file, name):
    assert step(Frame("f", file, 1)) == name
    assert name == OTHER or name in dict(STEPS)


def test_every_part_has_files_that_are_there():
    package_ = Path(__file__).parents[3] / "roadrunner_trio"
    names = {step(Frame("f", str(file), 1)) for file in package_.rglob("*.py")}
    assert names == {name for name, _ in STEPS if not name.startswith(("the handler", "Trio"))}


def test_what_perf_prints():
    found = read_kernel(BY_FILE, INCLUSIVE)
    assert found.share == pytest.approx(0.4076)
    assert found.calls == pytest.approx({"send": 0.305, "receive": 0.0345})


def test_the_parts_add_up_to_the_whole():
    found = steps(user_only(STACKS, source), Kernel(0.4, {"send": 0.3}))
    assert sum(found.values()) == pytest.approx(1)
    assert found["the kernel: send"] == 0.3
    assert found["the kernel: else (task switches, interrupts)"] == pytest.approx(0.1)
    assert found["the handler"] == pytest.approx(0.6 * 20 / 60)
    assert list(found).index("the handler") < list(found).index("Trio: tasks, traps, the loop")


# -- the flame graph -----------------------------------------------------------------------------

SVG = "{http://www.w3.org/2000/svg}"


def test_stacks_become_a_tree():
    root = merged({("a", "b"): 3, ("a",): 1, ("c",): 2})
    assert (root.count, root.depth()) == (6, 2)
    assert {name: child.count for name, child in root.children.items()} == {"a": 4, "c": 2}
    assert root.children["a"].children["b"].count == 3


def test_boxes_are_as_wide_as_their_share():
    picture = ET.fromstring(flame({("a", "<b>"): 3, ("a",): 1, ("c",): 4}, "it & more", {"a": "trio"}))
    boxes = {each.find(f"{SVG}title").text: each.find(f"{SVG}rect") for each in picture.iter(f"{SVG}g")}
    assert set(boxes) == {"a: 50.0%", "<b>: 37.5%", "c: 50.0%"}
    widths = {name.partition(":")[0]: float(box.get("width")) for name, box in boxes.items()}
    assert widths == pytest.approx({"a": WIDTH / 2, "<b>": WIDTH * 3 / 8, "c": WIDTH / 2})
    assert float(boxes["c: 50.0%"].get("x")) == WIDTH / 2
    assert (boxes["a: 50.0%"].get("class"), boxes["c: 50.0%"].get("class")) == ("trio", "rest")
    assert float(boxes["<b>: 37.5%"].get("y")) > float(boxes["a: 50.0%"].get("y"))


def test_names_are_cut_to_their_box_and_slivers_left_out():
    long = "f" * 400
    picture = ET.fromstring(flame({(long,): 9_999, ("sliver",): 1}, "", {}))
    (title,) = [each.find(f"{SVG}title").text for each in picture.iter(f"{SVG}g")]
    assert title.startswith(long)
    (text,) = [each.find(f"{SVG}text").text for each in picture.iter(f"{SVG}g")]
    assert text.endswith("…")
    assert len(text) < len(long)


def test_a_bar_a_part_in_the_colour_of_whose_it_is():
    parts = {"the kernel: send": 4.0, "the handler": 1.0, "Trio: tasks": 2.0, "reading <heads>": 2.0, OTHER: 0.5}
    picture = ET.fromstring(parts_chart(parts, "Heading & more"))
    found = [each for each in picture.iter(f"{SVG}rect") if each.get("class", "").startswith("part ")]
    assert [each.get("class").split()[1] for each in found] == ["kernel", "handler", "trio", "ours", "rest"]
    widths = [float(each.get("width")) for each in found]
    assert [width / widths[0] for width in widths] == pytest.approx([1, 0.25, 0.5, 0.5, 0.125], rel=1e-2)
    assert "reading <heads>: 2.0 µs" in picture.find(f"{SVG}desc").text


# -- the report ----------------------------------------------------------------------------------


def found():
    return {
        "python": "3.13.0",
        "cpu": 16.0,
        "kernel": 0.25,
        "kernel_by": "perf",
        "steps": {"the kernel: send": 4.0, "the handler": 12.0},
        "functions": {f"f{n} (x.py)": 0.5 for n in range(100)},
        "symbols": ["  1.00%  libc.so.6  [.] __send"],
        "stacks": STACKS,
    }


def test_the_tables():
    text = report(HELLO, "ours", found())
    assert "16.0 µs of server CPU a request" in text
    assert "kernel has 25% (perf), 4.0 µs; Python has 75%" in text
    assert "| the kernel: send | 4.00 | 25.0% |" in text
    assert text.count("| 0.50 |") == 30
    assert "__send" in text


def test_files_are_written(tmp_path):
    write(tmp_path / "new", "hello", "text", found())
    names = ["hello-parts.svg", "hello.json", "hello.md", "hello.svg"]
    assert sorted(each.name for each in (tmp_path / "new").iterdir()) == names
    assert "hello (bench/apps/native.py)" in (tmp_path / "new" / "hello.svg").read_text("utf-8")


def test_only_what_is_loaded_can_be_profiled():
    assert parser().parse_args(["ws64", "--seconds", "3"]).scenario == "ws64"
    for name in ("idle", "latency", "nothing"):
        with pytest.raises(SystemExit):
            parser().parse_args([name])
