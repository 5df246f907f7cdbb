"""What pages for operators say that no program of this machine can be asked: it has to fit what the server does."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import acme
from roadrunner_trio.command.cli import parsers
from roadrunner_trio.command.configuration import Values, resolve
from roadrunner_trio.telemetry.exposition import HISTOGRAMS, OCTETS
from roadrunner_trio.telemetry.snapshot import NUMBERS, TALLIES
from roadrunner_trio.testing import open_server

ROOT = Path(__file__).parent.parent
HOWTO = ROOT / "docs" / "howto"
KNOWN = {number.name for number in NUMBERS} | TALLIES.keys() | {name for name, _, _ in OCTETS}
KNOWN |= {name + end for name, _, _ in HISTOGRAMS for end in ("_bucket", "_sum", "_count")}
METRIC = re.compile(r"\b(?:roadrunner|http_server|process)_[a-z_]+\b")


def block(page: str, start: str) -> str:
    """The block of text of a page that begins so."""
    text = (HOWTO / f"{page}.rst").read_text("utf-8")
    found = [
        re.sub("^   ", "", each, flags=re.MULTILINE)
        for each in re.findall(r"^\.\. code-block:: text\n\n((?:(?:   .*)?\n)+)", text, re.MULTILINE)
    ]
    (only,) = [each for each in found if each.startswith(start)]
    return only


def settings(words: list[str]) -> Values:
    """What a command line says."""
    assert words[0] == "roadrunner-trio"
    return resolve(parsers()[0].parse_args(words[1:]), {}).server


def test_the_container_file_runs_our_command_as_process_1() -> None:
    text = block("container", "FROM ")
    (command,) = re.findall(r"^CMD (.*)$", text, re.MULTILINE)
    server = settings(json.loads(command))  # a list: in a line of text a shell would be process 1
    (seconds,) = re.findall(r"--stop-timeout (\d+)", block("container", "docker build"))
    assert int(seconds) > server["shutdown-delay"] + server["grace"] + 1
    assert f"EXPOSE {server['bind'][0].removeprefix(':')}" in text


def kubernetes() -> tuple[str, Values]:
    text = block("kubernetes", "apiVersion: apps/v1")
    (args,) = re.findall(r"args:\n((?: +- .*\n)+)", text)
    return text, settings([line.split("- ", 1)[1] for line in args.splitlines()])


def probe(text: str, name: str) -> dict[str, str]:
    """Of a probe its path and its numbers."""
    (found,) = re.findall(rf"^ +{name}Probe:\n((?: {{12}}.*\n)+)", text, re.MULTILINE)
    return dict(re.findall(r"(path|periodSeconds|failureThreshold|timeoutSeconds): ([\w/]+)", found))


def test_a_pod_has_the_time_that_its_server_takes() -> None:
    text, server = kubernetes()
    (seconds,) = re.findall(r"terminationGracePeriodSeconds: (\d+)", text)
    assert int(seconds) > server["shutdown-delay"] + server["grace"] + 1
    ready = probe(text, "readiness")
    assert server["shutdown-delay"] > 2 * int(ready["periodSeconds"]) * int(ready["failureThreshold"])


def test_a_pod_is_asked_what_its_server_answers() -> None:
    text, server = kubernetes()
    assert probe(text, "readiness")["path"] == server["health-path"]
    assert probe(text, "liveness")["path"] == probe(text, "startup")["path"] == server["live-path"]
    ports = dict(re.findall(r"\{name: (\w+), containerPort: (\d+)\}", text))
    assert ports == {"http": server["bind"][0][1:], "metrics": server["metrics"][1:]}
    assert f'prometheus.io/port: "{ports["metrics"]}"' in text


def test_the_manifest_is_one() -> None:
    deployment, service = yaml.safe_load_all(kubernetes()[0])
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"] == service["spec"]["selector"] == labels


def units() -> dict[str, str]:
    """The files of the page about systemd, by their names."""
    text = (HOWTO / "systemd.rst").read_text("utf-8")
    found = re.findall(r"^\.\. code-block:: ini\n\n((?:(?:   .*)?\n)+)", text, re.MULTILINE)
    plain = [re.sub("^   ", "", each, flags=re.MULTILINE) for each in found]
    return {re.findall(r"# /etc/systemd/system/(\S+)", each)[0]: each for each in plain}


def test_a_service_runs_our_command_and_has_the_time_that_it_takes() -> None:
    text = units()["hello.service"]
    (command,) = re.findall(r"^ExecStart=/srv/hello/.venv/bin/(.*)$", text, re.MULTILINE)
    (seconds,) = re.findall(r"^TimeoutStopSec=(\d+)s$", text, re.MULTILINE)
    server = settings(command.split())
    assert int(seconds) > server["shutdown-delay"] + server["grace"] + 4


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="this machine has no systemd")
def test_systemd_knows_every_line_of_its_units(tmp_path: Path) -> None:
    found = units()
    assert sorted(found) == ["hello.service", "hello.socket"]
    for name, text in found.items():
        (tmp_path / name).write_text(text.replace("/srv/hello/.venv/bin/roadrunner-trio", sys.executable))
    command = ["systemd-analyze", "verify", "--man=no", *(str(tmp_path / name) for name in found)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    old = "ignoring: notify-reload"  # before systemd 253, of which the page speaks
    assert (done.returncode, [line for line in done.stderr.splitlines() if old not in line]) == (0, [])


def test_the_hook_of_certbot_is_a_script(tmp_path: Path) -> None:
    hook = tmp_path / "hook"
    hook.write_text(block("certbot", "#!/bin/sh"))
    hook.chmod(hook.stat().st_mode | stat.S_IXUSR)
    for line in hook.read_text().splitlines()[1:]:
        shlex.split(line)
    assert "--signal=HUP" in hook.read_text()


@pytest.mark.parametrize("page", ["certbot", "metrics", "kubernetes"])
def test_metrics_that_pages_speak_of_are_told(page: str) -> None:
    text = (HOWTO / f"{page}.rst").read_text("utf-8")
    families = KNOWN | {name for name, _, _ in HISTOGRAMS}
    assert {name for name in METRIC.findall(text) if not name.endswith("_")} - {"roadrunner_trio"} <= families


def test_the_dashboard_asks_for_metrics_that_are_told() -> None:
    board = json.loads((ROOT / "examples" / "dashboard.json").read_text("utf-8"))
    queries = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    asked = {name for query in queries for name in METRIC.findall(query)}
    assert asked <= KNOWN
    assert len(asked) > 10
    for query in queries:
        assert query.count("(") == query.count(")")
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in board["panels"]]
    assert len(set(places)) == len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    assert set(re.findall(r'(\w+)="', " ".join(queries))) <= {"status"}


async def test_the_authority_gets_what_certbot_has_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acme, "CHALLENGES", tmp_path)
    (tmp_path / "abc_-9").write_text("abc.def")
    (tmp_path.parent / "secret").write_text("mine")
    async with open_server(acme.handler) as server:
        client = server.client()
        below = "/.well-known/acme-challenge/"
        assert (await client.get(below + "abc_-9")).text == "abc.def"
        for other in ("nowhere", "..%2Fsecret", "%2e%2e"):
            assert (await client.get(below + other)).status == 404, other
        away = await client.get("/a/b?c=d")
        assert (away.status, away.header("location")) == (308, f"https://{away_host(away)}/a/b?c=d")
        assert (await client.get("/")).status == 308


def away_host(answer: Any) -> str:
    """The host that the client of the tests asks for."""
    location = answer.header("location")
    assert location is not None
    found = re.match(r"https://([^/]+)/", location)
    assert found is not None
    return found[1]
