"""The judge of the tutorial, and the steps themselves: each passes its chapter and fails the next one."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

import pytest

from roadrunner_trio.tutorial import judge as judging
from roadrunner_trio.tutorial.__main__ import main
from roadrunner_trio.tutorial.chapters import CHAPTERS, title
from roadrunner_trio.tutorial.judge import SHOWN, Verdict, check, judge, load, report
from roadrunner_trio.tutorial.stage import Line, Unfit

STEPS = Path(__file__).parents[3] / "examples" / "tutorial"
ALL = range(1, 11)
MISSED = {
    1: {2: 2, 3: 3, 4: 6, 5: 3, 6: 1, 7: 1, 8: 1, 9: 2},
    2: {3: 4, 4: 6, 5: 4, 6: 1, 7: 2, 8: 1, 9: 2},
    3: {4: 6, 5: 4, 6: 1, 7: 2, 8: 1},
    4: {5: 4, 6: 1, 7: 2, 8: 1},
    5: {6: 1, 7: 2, 8: 1},
    6: {7: 2, 8: 1},
    7: {8: 1},
}
"""How many attacks of each chapter a step does not withstand; of those that are not here, none. The tenth is below."""


def step(number):
    return load(STEPS / f"step_{number:02}.py")


@pytest.mark.parametrize("number", ALL)
def test_a_step_withstands_its_chapter_and_those_before_and_not_the_next(number):
    server = step(number)
    found = {
        chapter: sum(judge(server, attack).missed is not None for attack in CHAPTERS[chapter][1])
        for chapter in ALL[:-1]
    }
    assert {chapter: missed for chapter, missed in found.items() if missed} == MISSED.get(number, {})


def test_only_the_real_one_withstands_the_last_chapter():
    assert [verdict.missed for verdict in check(step(10), 10)] == [None] * sum(
        len(each) for _, each in CHAPTERS.values()
    )
    (slow_reader,) = [verdict for verdict in check(step(9), 10) if verdict.missed]
    assert slow_reader.missed == "who takes something every ten seconds is not cut off"
    assert str(slow_reader.record[-1]) == "    40 s  modem      < the server closes"


def test_a_relative_timeout_never_ends_a_drip():
    (verdict,) = [verdict for verdict in check(load(STEPS / "step_03_wrong.py"), 3) if verdict.missed]
    assert "octet every twenty seconds" in verdict.title


def test_every_attack_says_what_it_is_about_and_every_chapter_has_one():
    for _, attacks in CHAPTERS.values():
        assert attacks
        assert all(title(attack) for attack in attacks)


def test_the_times_are_those_of_the_server():
    """A record is exact: the clock is virtual."""
    by_title = {verdict.title: verdict for verdict in check(step(3), 3)}
    half = by_title["half a head gets 408"]
    assert [(line.time, line.mark, line.text) for line in half.record[:2]] == [(0, ">", "GET / HT"), (30, "<", "408")]
    assert by_title["a peer that never says anything is let go"].record[0].time == 60


def written(folder, text):
    path = folder / "mine.py"
    path.write_text(textwrap.dedent(text))
    return path


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "has no `async def serve"),
        ("def serve(listener): pass", "has no `async def serve"),
        ("async def serve(): pass", "takes a listener"),
        ("class Drain: pass\nasync def serve(listener): pass", "and the drain"),
    ],
)
def test_what_cannot_be_judged_is_told(tmp_path, text, complaint, capsys):
    path = written(tmp_path, text)
    with pytest.raises(Unfit, match=complaint):
        load(path)
    assert main(["check", "1", str(path)]) == 2
    assert complaint.strip("`") in capsys.readouterr().out


def test_a_file_that_is_not_there(tmp_path, capsys):
    assert main(["check", "1", str(tmp_path / "nowhere.py")]) == 2
    assert "there is no Python file" in capsys.readouterr().out


def test_a_server_that_spins_is_not_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(judging, "LONGEST", 0.5)
    server = load(written(tmp_path, "async def serve(listener):\n    while True: pass\n"))
    verdict = judge(server, CHAPTERS[1][1][0])
    assert verdict.missed is not None
    assert "real time" in verdict.missed


def test_a_server_that_only_ends_answers_nobody(tmp_path):
    server = load(written(tmp_path, "async def serve(listener): pass\n"))
    verdict = judge(server, CHAPTERS[1][1][0])
    assert verdict.missed == "the server is there for whoever comes next"
    assert [line.text for line in verdict.record] == ["serve() has ended"]


def test_the_program_says_what_it_finds(capsys):
    assert main(["check", "02", str(STEPS / "step_02.py")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "02 Keep-alive: step_02.py"
    assert lines[1] == "  ok    a second request on the same connection is answered"
    assert lines[-1] == "All is well."
    assert main(["check", "02", str(STEPS / "step_01.py")]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "2 missed"


def test_a_long_record_is_shown_by_its_ends():
    record = [Line(n, "peer", ">", str(n)) for n in range(100)]
    lines = list(report(Verdict("t", "m", record)))
    assert len(lines) == SHOWN + 3
    assert lines[SHOWN // 2 + 1].strip() == "..."
    assert lines[SHOWN // 2].endswith("> 5")
    assert lines[SHOWN // 2 + 2].endswith("> 94")


def test_what_a_request_costs_is_printed(capsys, monkeypatch):
    measuring = sys.modules["roadrunner_trio.tutorial.measure"]
    monkeypatch.setattr(measuring, "ROUNDS", 1)
    monkeypatch.setattr(measuring, "REQUESTS", 2)
    assert main(["measure", str(STEPS / "step_08.py"), str(STEPS / "step_09.py")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["step_08.py", "step_09.py"]
    assert all(line.endswith("µs a request, client included") for line in lines)


@pytest.mark.parametrize("number", ALL)
def test_a_step_can_be_read_in_one_sitting(number):
    lines = (STEPS / f"step_{number:02}.py").read_text("utf-8").splitlines()
    assert len(lines) <= (200 if number <= 6 else 400)
