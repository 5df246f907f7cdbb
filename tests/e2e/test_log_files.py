"""Logs as operators keep them: in files that are put away, in one notation, by process, by rules of their own."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio
from log_tools import read_logfmt
from process_tools import command_line
from socket_tools import PATIENCE, Peer, eventually

APP = """
import logging
import os
from roadrunner_trio import Response

async def handler(request):
    logging.getLogger("app").info("asked for %s", request.path)
    return Response.text(os.environ.get("GREETING", "hello"))
"""


async def ask(port: int, path: str) -> None:
    with trio.fail_after(PATIENCE):
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(f"GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".encode())
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("notation", ["json", "logfmt"])
async def test_every_line_of_both_streams_is_in_the_notation(tmp_path: Path, notation: str) -> None:
    read = json.loads if notation == "json" else read_logfmt
    async with command_line(APP, tmp_path, "--log-format", notation, "--metrics", "127.0.0.1:0") as server:
        await ask(server.port, "/a")
        server.terminate()
        assert await server.end() == 0
        said = [read(line) for line in (await server.said()).splitlines()]
        told = [read(line) for line in server.log().splitlines()]
    assert [line["message"].partition(" on ")[0] for line in said] == ["Serving app:handler"]
    messages = [line.get("message", "") for line in told]
    assert messages[0].startswith("metrics at http://127.0.0.1:")
    assert "asked for /a" in messages
    assert messages[-2:] == ["drained: 0 finished, 0 cut, 0 stuck", "ended, with exit status 0"]
    assert [line["path"] for line in told if "path" in line] == ["/a"]


@pytest.mark.parametrize("notation", ["json", "logfmt"])
def test_what_keeps_it_from_starting_is_in_the_notation_too(tmp_path: Path, notation: str) -> None:
    read = json.loads if notation == "json" else read_logfmt
    (tmp_path / "broken.py").write_text("raise KeyError('mine')\n")
    command = [sys.executable, "-m", "roadrunner_trio", "check", "broken:app", "--log-format", notation]
    done = subprocess.run([*command, "--app-dir", str(tmp_path)], capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 3
    (line,) = done.stderr.splitlines()
    told = read(line)
    assert told["level"] == "critical"
    assert told["message"] == "roadrunner-trio: importing 'broken' failed: KeyError: 'mine'"
    assert "broken.py" in told["exception"]


async def test_the_access_log_has_a_file_that_may_be_put_away(tmp_path: Path) -> None:
    file, old = tmp_path / "access.log", tmp_path / "access.log.1"
    async with command_line(APP, tmp_path, "--access-log-file", str(file)) as server:
        await ask(server.port, "/before")
        await eventually(lambda: "/before" in file.read_text())
        file.rename(old)
        await ask(server.port, "/between")
        await eventually(lambda: "/between" in old.read_text())
        server.process.send_signal(signal.SIGHUP)
        await eventually(file.exists)
        await ask(server.port, "/after")
        await eventually(lambda: "/after" in file.read_text())
        server.terminate()
        assert await server.end() == 0
    assert "/after" not in old.read_text()
    assert "GET /" not in server.log()
    assert "asked for /before" in server.log()


async def test_a_file_that_cannot_be_opened_again_is_told_and_the_old_one_goes_on(tmp_path: Path) -> None:
    (folder := tmp_path / "logs").mkdir()
    moved = tmp_path / "moved"
    async with command_line(APP, tmp_path, "--access-log-file", str(folder / "access.log")) as server:
        folder.rename(moved)
        server.process.send_signal(signal.SIGHUP)
        await eventually(lambda: "LogFile.renew failed, and nothing has changed by it" in server.log())
        await ask(server.port, "/after")
        await eventually(lambda: "/after" in (moved / "access.log").read_text())


async def test_the_access_log_on_standard_output(tmp_path: Path) -> None:
    async with command_line(APP, tmp_path, "--access-log-file", "-") as server:
        await ask(server.port, "/a")
        server.terminate()
        assert await server.end() == 0
        assert "GET /a " in await server.said()
    assert "GET /a " not in server.log()


@pytest.mark.parametrize("notation", ["text", "json"])
async def test_every_line_says_which_process_it_is_from(tmp_path: Path, notation: str) -> None:
    async with command_line(APP, tmp_path, "--workers", "2", "--log-format", notation) as server:
        for _ in range(4):
            await ask(server.port, "/a")
        server.terminate()
        assert await server.end() == 0
    for line in server.log().splitlines():
        if notation == "json":
            assert json.loads(line)["worker"] in ("1", "2", "supervisor"), line
        else:
            assert line.split(" ")[3] in ("[1]", "[2]", "[supervisor]"), line


DICT = {
    "version": 1,
    "formatters": {"own": {"format": "OWN %(levelname)s %(name)s %(worker)s %(message)s"}},
    "filters": {"context": {"()": "roadrunner_trio.LogContext"}},
    "handlers": {"all": {"class": "logging.StreamHandler", "formatter": "own", "filters": ["context"]}},
    "root": {"level": "INFO", "handlers": ["all"]},
}
TOML = """
version = 1
formatters.own.format = "OWN %(levelname)s %(name)s - %(message)s"
handlers.all = {class = "logging.StreamHandler", formatter = "own"}
root = {level = "INFO", handlers = ["all"]}
"""
INI = """
[loggers]
keys=root
[handlers]
keys=all
[formatters]
keys=own
[formatter_own]
format=OWN %(levelname)s %(name)s - %(message)s
[handler_all]
class=StreamHandler
formatter=own
args=(sys.stderr,)
[logger_root]
level=INFO
handlers=all
"""


@pytest.mark.parametrize(("name", "text"), [("log.json", json.dumps(DICT)), ("log.toml", TOML), ("log.ini", INI)])
async def test_logging_is_set_up_by_a_file(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    async with command_line(APP, tmp_path, "--log-config", str(tmp_path / name)) as server:
        await ask(server.port, "/a")
        server.terminate()
        assert await server.end() == 0
    lines = server.log().splitlines()
    assert all(line.startswith("OWN INFO ") for line in lines)
    assert "OWN INFO app - asked for /a" in lines
    assert any(line.startswith("OWN INFO roadrunner_trio.access - ") for line in lines)


async def test_a_formatter_may_be_the_applications(tmp_path: Path) -> None:
    """It is found where the application is, which need not be the current directory."""
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours" / "app.py").write_text(APP)
    (tmp_path / "ours" / "lines.py").write_text("import logging\nclass Own(logging.Formatter): pass\n")
    own = 'formatters.own = {"()" = "lines.Own", format = "OWN %(levelname)s %(name)s - %(message)s"}'
    (tmp_path / "log.toml").write_text(TOML.replace(TOML.splitlines()[2], own))
    flags = ["--log-config", str(tmp_path / "log.toml"), "--app-dir", str(tmp_path / "ours")]
    async with command_line(APP, tmp_path, *flags) as server:
        server.terminate()
        assert await server.end() == 0
    assert "OWN INFO roadrunner_trio - SIGTERM: draining" in server.log()


async def test_a_supervisor_speaks_although_a_file_sets_up_logging(tmp_path: Path) -> None:
    """It is not set up by the file, which may name classes of the application, and would be silent otherwise."""
    (tmp_path / "log.toml").write_text(TOML)
    async with command_line(APP, tmp_path, "--log-config", str(tmp_path / "log.toml"), "--workers", "1") as server:
        await ask(server.port, "/a")
        server.terminate()
        assert await server.end() == 0
    assert re.search(r"^\d\S+ \S+ INFO \[supervisor\] SIGTERM: draining", server.log(), re.MULTILINE)
    assert "OWN INFO app - asked for /a" in server.log()


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("none.json", None, "No such file"),
        ("bad.json", "{", "Expecting"),
        ("bad.toml", "=", "Invalid"),
        ("bad.ini", "nonsense", "File contains no section headers"),
        ("log.yaml", "version: 1", "YAML is not read: write the same as .toml or .json"),
        ("bad2.json", '{"version": 1, "handlers": {"x": {"class": "no.such"}}}', "Unable to configure handler 'x'"),
    ],
)
def test_a_file_that_does_not_set_up_logging(tmp_path: Path, name: str, text: str | None, why: str) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    command = [sys.executable, "-m", "roadrunner_trio", "check", "--log-config", str(tmp_path / name)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 3
    assert done.stderr.startswith(f"roadrunner-trio: --log-config {tmp_path / name}: ")
    assert why in done.stderr


@pytest.mark.parametrize(
    ("argv", "why"),
    [
        (["--access-log-file", "/nowhere/a"], "--access-log-file /nowhere/a: No such file"),
        (["--access-log-file", "a", "--no-access-log"], "--access-log-file does nothing without an access log"),
    ],
)
def test_a_file_of_the_access_log_that_cannot_be(tmp_path: Path, argv: list[str], why: str) -> None:
    command = [sys.executable, "-m", "roadrunner_trio", "check", *argv]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, cwd=tmp_path)
    assert done.returncode == 3
    assert why in done.stderr


async def test_variables_of_a_file_reach_workers(tmp_path: Path) -> None:
    (tmp_path / "env").write_text("GREETING=from the file\n")
    async with command_line(APP, tmp_path, "--env-file", str(tmp_path / "env"), "--workers", "1") as server:
        with await Peer.connect(server.port) as peer:
            assert (await peer.get("/")).body == b"from the file"
