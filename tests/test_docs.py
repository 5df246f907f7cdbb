"""What the README and the documentation say is tried out, in the order in which it stands there.

A page is read as its reader would: a block of Python is run; a console block that starts a server leaves it running for
the commands that follow, and what a command is said to print is compared with what it prints (``...`` stands for
anything, on a line of its own for lines). One thing is changed: the ports 8000 and 9090 become free ones.
"""

from __future__ import annotations

import os
import re
import select
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from ports import free_port

from roadrunner_trio.command.cli import parsers
from roadrunner_trio.command.config_file import read_config

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
README = ROOT / "README.md"
TUTORIAL = ROOT / "docs" / "tutorial"
SHOWN = [EXAMPLES, EXAMPLES / "tutorial", ROOT / "roadrunner_trio" / "server"]
"""Where what a page includes may stand: all of it is run by tests of its own."""
PAGES = [README, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.rst"))]

SERVERS = re.compile(r"(?:(?:\S*/)?roadrunner-trio|python -m roadrunner_trio) (?P<arguments>.*)")
QUESTIONS = re.compile(r"((?:ROADRUNNER_\w+=\S+ )*)roadrunner-trio ((?:check|routes) .*|serve .* --print-config)")
"""Commands that end by themselves, with variables before them."""
SCRIPTS = re.compile(r"python (?P<file>\w+\.py)")
JUDGE = re.compile(r"python -m roadrunner_trio\.tutorial (?P<arguments>.*)")
ELSEWHERE = re.compile(r"systemctl|journalctl|\.venv/bin/(?:pytest|pip|nox)\b")
"""What needs another machine, or is what runs this test: looked at in tests of their own, or by nobody."""
PATIENCE = 20


@dataclass(frozen=True)
class Block:
    """A piece of code in a page."""

    language: str
    text: str
    line: int


def blocks(page: Path) -> list[Block]:
    """The code that stands in a page. What it includes from ``examples/`` is tested there."""
    text = page.read_text("utf-8")
    if page.suffix == ".md":
        found = re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    else:
        found = re.finditer(r"^\.\. code-block:: (\w+)\n\n((?:(?:   .*)?\n)+)", text, re.MULTILINE)
    indent = "" if page.suffix == ".md" else "   "
    return [
        Block(match[1], re.sub(f"^{indent}", "", match[2], flags=re.MULTILINE), text.count("\n", 0, match.start()) + 1)
        for match in found
    ]


def commands(text: str) -> Iterator[tuple[str, str]]:
    """The commands of a console block, and what each is said to print."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, output = part.partition("\n")
        yield command, output


def printed_as_said(said: str, printed: str) -> bool:
    """Whether ``printed`` is what the page says, line ends and what ``...`` stands for aside."""
    lines = [
        "(?s:.*)" if line == "..." else re.escape(line).replace(r"\.\.\.", ".*")
        for line in said.strip("\n").split("\n")
    ]
    pattern = "\n".join(lines)
    return re.fullmatch(pattern, printed.replace("\r\n", "\n").strip("\n")) is not None


class Reader:
    """Follows a page in a folder of its own, with at most one server running."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port, self.second_port = free_port(), free_port()
        self.server: subprocess.Popen[str] | None = None
        self.said = ""
        self.quits = False
        shutil.copytree(EXAMPLES, folder, dirs_exist_ok=True)

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop(check=exc_info[0] is None)

    def here(self, text: str) -> str:
        """``text`` with our ports."""
        return re.sub(r"\b8000\b", str(self.port), re.sub(r"\b90(?:90|01)\b", str(self.second_port), text))

    def start(self, arguments: list[str], said: str) -> None:
        """Starts a server and waits until it listens."""
        self.stop()
        for file in self.folder.glob("*.py"):
            file.write_text(self.here(file.read_text("utf-8")), "utf-8")
        self.said, self.quits = self.here(said), False
        self.server = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=self.folder,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        deadline = time.monotonic() + PATIENCE
        while not self.listens():
            if self.server.poll() is not None or time.monotonic() > deadline:
                self.server.kill()
                pytest.fail(f"{arguments} does not listen:\n{self.server.communicate()[1]}")
            time.sleep(0.05)
        if said:  # that all of its workers serve, for one that has some
            select.select([self.server.stdout], [], [], PATIENCE)

    def listens(self) -> bool:
        """Whether somebody does on our port."""
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True

    def stop(self, *, check: bool = True) -> None:
        """Ends the server, which has to be well and to have printed what the page says."""
        server, self.server = self.server, None
        if server is None:
            return
        if not self.quits:
            server.send_signal(signal.SIGTERM)
        try:
            out, err = server.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            server.kill()
            server.communicate()
            raise
        if check:
            assert server.returncode == 0, err
            assert printed_as_said(self.said, out), (self.said, out)

    def type(self, command: str, said: str) -> None:
        """Does what a command does."""
        command = command.split(" && ")[-1]  # what stands before makes an environment, which the tests run in
        if judge := JUDGE.fullmatch(command):
            self.judge(shlex.split(judge["arguments"]), said)
        elif question := QUESTIONS.fullmatch(command):
            variables = dict(each.split("=") for each in question[1].split())
            self.ask(variables, shlex.split(self.here(question[2])), self.here(said))
        elif server := SERVERS.fullmatch(command):
            arguments = shlex.split(self.here(server["arguments"]))
            if "8000" not in command:
                arguments += ["--port", str(self.port)]
            self.start(["-m", "roadrunner_trio", *arguments], said)
        elif script := SCRIPTS.fullmatch(command):
            self.start([script["file"]], said)
        elif command.startswith("curl "):
            self.curl(command, said)
        elif command.startswith("openssl req "):
            subprocess.run(shlex.split(command), cwd=self.folder, check=True, timeout=PATIENCE, capture_output=True)
        else:
            assert ELSEWHERE.match(command), f"nobody tests {command!r}"

    def ask(self, variables: dict[str, str], arguments: list[str], said: str) -> None:
        """Asks the program something about itself."""
        program = [sys.executable, "-m", "roadrunner_trio", *arguments]
        done = subprocess.run(
            program, cwd=self.folder, env={**os.environ, **variables}, capture_output=True, text=True, timeout=PATIENCE
        )
        assert printed_as_said(said, done.stdout + done.stderr), (said, done.stdout, done.stderr)

    def judge(self, arguments: list[str], said: str) -> None:
        """Has a step of the tutorial judged; it may well fail."""
        done = subprocess.run(
            [sys.executable, "-m", "roadrunner_trio.tutorial", *arguments],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=PATIENCE * 3,
        )
        assert printed_as_said(said, done.stdout + done.stderr), (said, done.stdout, done.stderr)

    def curl(self, command: str, said: str) -> None:
        """Asks the server that runs."""
        assert self.server is not None, "the page has not started a server"
        self.quits = command.endswith("/quit")
        done = subprocess.run(
            shlex.split(self.here(command)),
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=True,
        )
        assert printed_as_said(said, done.stdout), (said, done.stdout)

    def python(self, text: str) -> None:
        """Runs a program, or starts it as the server, when it is one that does not end."""
        file = self.folder / "program.py"
        file.write_text(text, "utf-8")
        if re.search(r"^    run\(", text, re.MULTILINE):
            self.start([file.name], "Serving ... on http://127.0.0.1:8000 (Ctrl-C drains, twice stops)")
        else:
            program = [sys.executable, "-W", "error", file.name]
            self.stop()
            file.write_text(self.here(text), "utf-8")
            subprocess.run(program, cwd=self.folder, check=True, timeout=PATIENCE, capture_output=True)


class Pupil(Reader):
    """Reads the tutorial, among its steps; their servers fail, and know no SIGTERM at first."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        shutil.copytree(EXAMPLES / "tutorial", folder, dirs_exist_ok=True)

    def stop(self, *, check: bool = True) -> None:
        """Ends the server, if it has not come to an end by itself, and compares all that it printed."""
        server, self.server = self.server, None
        if server is not None:
            server.send_signal(signal.SIGTERM)
            out, err = server.communicate(timeout=PATIENCE)
            assert not check or printed_as_said(self.said, out + err), (self.said, out, err)

    def curl(self, command: str, said: str) -> None:
        """Asks the server that runs, or does so no more."""
        program = shlex.split(self.here(command))
        done = subprocess.run(program, capture_output=True, text=True, timeout=PATIENCE)
        assert printed_as_said(said, done.stdout + done.stderr), (said, done.stdout, done.stderr)


@pytest.mark.parametrize("page", [pytest.param(page, id=str(page.relative_to(ROOT))) for page in PAGES])
def test_page(page: Path, tmp_path: Path) -> None:
    found = blocks(page)
    skip_without_programs(found)
    skip_without_frameworks(found)
    with (Pupil if page.parent == TUTORIAL else Reader)(tmp_path) as reader:
        for block in found:
            match block.language:
                case "python":
                    reader.python(block.text)
                case "console":
                    for command, said in commands(block.text):
                        reader.type(command, said)
                case "ini":
                    check_unit(block.text)
                case "toml" if re.search(r"^app = |^\[\[listen\]\]", block.text, re.MULTILINE):
                    check_settings(block.text, tmp_path)
                case language:
                    assert language in ("text", "toml"), f"{page}:{block.line}: nobody tests {language!r}"


def check_settings(text: str, folder: Path) -> None:
    """A file of settings is one that we understand."""
    (folder / "server.toml").write_text(text)
    found = read_config(str(folder / "server.toml"))
    assert found.common
    assert bool(found.listeners) is ("[[listen]]" in text)


def skip_without_programs(found: list[Block]) -> None:
    """Ends the test where what a reader has to type is not there."""
    for program in ("curl", "openssl"):
        if any(f"$ {program} " in block.text for block in found) and shutil.which(program) is None:
            pytest.skip(f"this machine has no {program}")


def skip_without_frameworks(found: list[Block]) -> None:
    """Ends the test where a framework is not there; they are in a session of their own."""
    for imported, module in ("import FastAPI", "fastapi"), ("import MCPServer", "mcp.server.mcpserver"):
        if any(imported in block.text for block in found):
            pytest.importorskip(module)


def check_unit(text: str) -> None:
    """A systemd unit's command line is one that we understand."""
    commands = re.findall(r"^ExecStart=(.*)$", text, re.MULTILINE)
    assert commands or "[Socket]" in text
    for command in commands:
        server = SERVERS.fullmatch(command)
        assert server is not None, command
        parsers()[0].parse_args(shlex.split(server["arguments"]))


def test_pages_hide_no_code_from_these_tests() -> None:
    """Blocks in other notations would be skipped in silence."""
    for page in PAGES:
        text = page.read_text("utf-8")
        if page.suffix == ".md":
            assert text.count("```") == 2 * len(blocks(page)), page
        else:
            assert text.count(".. code-block::") == len(blocks(page)), page
            assert re.search(r"::\n\n   ", re.sub(r"^\.\. .*$", "", text, flags=re.MULTILINE)) is None, page
            assert ".. code::" not in text, page


def test_included_files_are_examples() -> None:
    for page in PAGES:
        for file in re.findall(r"literalinclude:: (\S+)", page.read_text("utf-8")):
            assert (page.parent / file).resolve().parent in SHOWN, page


def test_the_readme_shows_the_example() -> None:
    shown = next(block.text for block in blocks(README) if block.language == "python")
    docstring, _, code = (EXAMPLES / "hello.py").read_text("utf-8").partition("\n\n")
    assert docstring.startswith('"""')
    assert shown == code


def test_ci_runs_the_command_that_the_readme_gives() -> None:
    found = [command for block in blocks(README) if block.language == "console" for command, _ in commands(block.text)]
    (command,) = [command for command in found if command.endswith("pytest")]
    assert command in (ROOT / ".ci" / "run").read_text("utf-8").splitlines()
    assert command in (ROOT / "CONTRIBUTING.md").read_text("utf-8")


def test_the_sessions_that_are_named_exist() -> None:
    noxfile = (ROOT / "noxfile.py").read_text("utf-8")
    for page in (ROOT / "CONTRIBUTING.md", ROOT / ".ci" / "run"):
        for names in re.findall(r"nox -s ((?:[a-z]+[-\d.]*(?: |$))+)", page.read_text("utf-8"), re.MULTILINE):
            for name in names.split():
                assert f"\ndef {name.partition('-')[0]}(session: nox.Session)" in noxfile, f"{page}: {name}"


def test_links_between_files_lead_somewhere() -> None:
    for page in ROOT.glob("*.md"):
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text("utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_fragments_are_of_a_known_kind() -> None:
    kinds = {"added", "changed", "fixed", "removed", "security"}
    for path in (ROOT / "changelog.d").iterdir():
        assert path.name == "README.md" or re.fullmatch(rf"[a-z0-9-]+\.({'|'.join(kinds)})\.md", path.name), path.name
        assert path.read_text("utf-8").strip(), path.name


@pytest.mark.parametrize(
    ("said", "printed", "same"),
    [
        ("a\n", "a\r\n", True),
        ("date: ...\nx", "date: Mon\nx", True),
        ("a.c", "abc", False),
        ("a", "ab", False),
        ("a\n...\nz", "a\nanything\nat all\nz", True),
        ("a ...", "a thing\nand another", False),
        ("", "something", False),
    ],
)
def test_the_comparison_is_strict(said: str, printed: str, same: bool) -> None:
    assert printed_as_said(said, printed) is same
