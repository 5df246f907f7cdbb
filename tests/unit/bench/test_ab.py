"""Comparing commits: the verdict, the table, the checkout."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

# Last, so that the package under test stays the one that is installed.
sys.path.append(str(Path(__file__).parents[3]))

from bench import ab
from bench.ab import AGAIN, BASE, HERE, checkout, compared, contestants, parser, rounds, verdict
from bench.run import Outcome, Plan, Result, Round
from bench.scenarios import HELLO
from bench.servers import SERVERS, StartError


@pytest.mark.parametrize(
    ("differs", "noise", "said"),
    [
        (0.019, 0.0, "differs by less than 2.0%"),
        (-0.019, 0.009, "differs by less than 2.0%"),
        (0.021, 0.0, "here takes 2.1% more, beyond 2.0%"),
        (-0.1, 0.02, "here takes 10.0% less, beyond 4.0%"),
        (0.1, -0.06, "differs by less than 12.0%"),
        (-0.1, -0.049, "here takes 10.0% less, beyond 9.8%"),
    ],
)
def test_verdicts(differs, noise, said):
    assert verdict(differs, noise).startswith(said)


def outcome(**columns):
    names = {"base": BASE, "here": HERE, "again": AGAIN}
    return Outcome(
        "hello", "", [Result(names[key], [Round(1, cpu) for cpu in found]) for key, found in columns.items()]
    )


def test_all_rounds_the_medians_and_the_differences():
    text = compared(outcome(base=[20.0, 22.0, 10.0], here=[15.0, 16.0, 17.0], again=[20.2, 9.0, 30.0]), "cpu")
    lines = [line.split() for line in text.splitlines()]
    assert lines[0] == ["hello:", "server", "CPU,", "us", "a", "request"]
    assert lines[2] == ["round", "base", "here", "base", "again"]
    assert lines[3:6] == [
        ["1", "20.00", "15.00", "20.20"],
        ["2", "22.00", "16.00", "9.00"],
        ["3", "10.00", "17.00", "30.00"],
    ]
    assert lines[6:8] == [["least", "10.00", "15.00", "9.00"], ["median", "20.00", "16.00", "20.20"]]
    assert "A/B, here to both copies of base: -20.4%" in text  # the median of all six is 20.1
    assert "A/A, base to itself: +1.0%" in text
    assert text.endswith("verdict: here takes 20.4% less, beyond 2.0%: a difference")


def test_void_rounds_are_shown_and_do_not_count():
    found = outcome(base=[20.0, 21.0], here=[20.0, 20.0], again=[20.0, 20.0])
    found.results[0].rounds[1] = Round(void="wrk did not end in time")
    text = compared(found, "cpu")
    assert "void" in text
    assert "base: a round is void: wrk did not end in time" in text
    assert "A/B, here to both copies of base: +0.0%" in text


def test_what_answers_wrongly_is_not_compared():
    found = outcome(base=[20.0], here=[], again=[20.0])
    found.results[1].left_out = "answered wrongly: status 500"
    text = compared(found, "cpu")
    assert "here: answered wrongly: status 500" in text
    assert text.endswith("verdict: none, for want of figures")
    found.results[1].rounds.append(Round(1, 10.0))
    assert compared(found, "cpu").endswith("verdict: none, for want of figures")


def test_idle_connections_are_compared_by_their_memory():
    found = outcome(base=[1.0], here=[1.0], again=[1.0])
    for result, octets in zip(found.results, (5000, 4000, 5000), strict=True):
        result.rounds = [Round(10, connection=octets)]
    text = compared(found, "connection")
    assert "octets" in text
    assert "here takes 20.0% less" in text


def test_every_round_begins_with_another(monkeypatch):
    seen = []

    def measure(scenario, plan, tell):
        seen.append([each.name for each in plan.servers])
        return [Result(each.name, [Round(1, float(len(seen)))]) for each in plan.servers]

    monkeypatch.setattr(ab, "measure", measure)
    servers = contestants(Path("/a"), Path("/b"))
    found = rounds(HELLO, Plan((HELLO,), servers, 1, 1, "python", {}), 4)
    assert [each[0] for each in seen] == [BASE, HERE, AGAIN, BASE]
    assert all(sorted(each) == sorted(seen[0]) for each in seen)
    assert {each.server: [one.cpu for one in each.rounds] for each in found.results} == {
        name: [1, 2, 3, 4] for name in (BASE, HERE, AGAIN)
    }


def test_the_contestants_are_this_server_in_two_trees():
    base, here, again = contestants(Path("/a"), Path("/b"))
    assert [each.tree for each in (base, here, again)] == [Path("/a"), Path("/b"), Path("/a")]
    assert base.command is here.command is again.command is SERVERS[0].command


def test_the_command_line():
    chosen = parser().parse_args(["--base", "HEAD~3"])
    assert (chosen.base, chosen.scenario, chosen.rounds, chosen.seconds) == ("HEAD~3", "hello", 10, 2)
    with pytest.raises(SystemExit):
        parser().parse_args([])


@pytest.fixture
def repository(tmp_path):
    """Two commits of one file."""
    git = ["git", "-C", str(tmp_path), "-c", "user.name=n", "-c", "user.email=e@example.org"]
    try:
        subprocess.run([*git, "init", "-q"], check=True)
    except OSError:
        pytest.skip("this machine has no git")
    for text in ("one", "two"):
        (tmp_path / "file").write_text(text)
        subprocess.run([*git, "add", "file"], check=True)
        subprocess.run([*git, "commit", "-q", "-m", text], check=True)
    return tmp_path


def test_a_commit_is_checked_out_elsewhere_and_leaves_nothing(repository):
    with checkout(repository, "HEAD~1") as folder:
        assert (folder / "file").read_text() == "one"
        assert (repository / "file").read_text() == "two"
    assert not folder.exists()
    listed = subprocess.run(["git", "-C", str(repository), "worktree", "list"], capture_output=True, check=True)
    assert len(listed.stdout.splitlines()) == 1


def test_a_commit_that_is_not_there(repository):
    with pytest.raises(StartError, match="git worktree add"), checkout(repository, "nowhere"):
        pytest.fail("it is not there")


def test_without_git(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(StartError, match="git cannot be run"), checkout(tmp_path, "HEAD"):
        pytest.fail("it is not there")
