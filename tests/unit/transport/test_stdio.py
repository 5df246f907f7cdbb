"""What is told on the standard streams ends nothing and holds up nothing, whatever they are."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, suppress
from typing import Any

import pytest

from roadrunner_trio.transport import stdio
from roadrunner_trio.transport.stdio import has_room, settle, tell, within


class Stuck(io.StringIO):
    """A pipe that nobody reads, until the test does."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = threading.Event()

    def write(self, text: str) -> int:
        assert self.reads.wait(60)
        return super().write(text)


@contextmanager
def stuck() -> Iterator[Stuck]:
    """As standard error; not a fixture, since pytest puts its own there when a test begins."""
    with redirect_stderr(Stuck()) as stream:
        try:
            yield stream
        finally:
            stream.reads.set()
            stdio._stuck.pop("stderr").join()


class Full(io.StringIO):
    """A disk without room."""

    def flush(self) -> None:
        raise OSError(28, "No space left on device")


def test_what_is_told_is_there_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert tell("one\n")
    assert tell("other\n", to="stdout")
    assert capsys.readouterr() == ("other\n", "one\n")


@pytest.mark.parametrize("stream", [None, Full(), io.TextIOWrapper(io.BytesIO(), "ascii")])
def test_what_cannot_be_told_is_not(stream: Any) -> None:
    with redirect_stderr(stream):
        assert not tell("caf\xe9\n")


def test_nobody_waits_for_a_reader_for_long_and_not_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stdio, "PATIENCE", 0.05)
    with stuck():
        assert not tell("one\n")
        monkeypatch.setattr(stdio, "PATIENCE", 600)
        began = time.monotonic()
        assert not tell("other\n")
        assert not settle()
        assert time.monotonic() - began < 60
        assert [each.name for each in threading.enumerate()].count("tells") == 1


def test_once_it_has_been_read_it_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stdio, "PATIENCE", 0.05)
    with stuck() as stream:
        assert not tell("one\n")
        stream.reads.set()
        stdio._stuck["stderr"].join()
        monkeypatch.setattr(stdio, "PATIENCE", 60)
        assert tell("other\n")
        assert stream.getvalue() == "one\nother\n"
        assert settle()


def test_a_thread_that_cannot_be_started_is_a_thing_that_is_not_done(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    assert within(1, lambda: None) is None
    assert not tell("x")


def test_what_a_thread_raises_is_nobodys_affair() -> None:
    def fail() -> None:
        raise SystemExit(3)

    assert within(30, fail) is None


@pytest.mark.parametrize("stream", [None, io.StringIO(), io.TextIOWrapper(io.BytesIO())])
def test_what_has_no_descriptor_has_room(stream: Any) -> None:
    with redirect_stderr(stream):
        assert has_room("stderr")


def test_a_pipe_has_room_until_it_is_full_and_once_it_has_been_read(monkeypatch: pytest.MonkeyPatch) -> None:
    read, write = os.pipe()
    os.set_blocking(write, False)
    with open(read, "rb", 0) as reader, open(write, "w") as stream, redirect_stderr(stream):
        assert has_room("stderr")
        monkeypatch.setattr(stdio, "PATIENCE", 0.05)
        with suppress(BlockingIOError):
            while os.write(write, b"x" * 4096):
                pass
        assert not has_room("stderr")
        monkeypatch.setattr(stdio, "PATIENCE", 600)
        later = threading.Timer(0.05, reader.read, [1 << 20])
        later.start()
        assert has_room("stderr")
        later.join()


def run(program: str, redirect: str) -> subprocess.CompletedProcess[str]:
    """Runs a program in a shell that closes or redirects some of its streams."""
    shell = ["bash", "-c", f'exec "$0" -c "$1" {redirect}', sys.executable, program]
    env = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return subprocess.run(shell, input="", capture_output=True, text=True, timeout=60, check=False, env=env)


TAKEN_BY_IMPORTS = 77
"""How a program ends if a library that it imports, such as libffi, keeps a file open on what was closed."""
OPEN_CLOSED = """
import os, sys
def opened(each):
    try:
        return bool(os.fstat(each))
    except OSError:
        return False
before = [opened(each) for each in range(3)]
from roadrunner_trio.transport.stdio import open_closed
if [opened(each) for each in range(3)] != before:
    os._exit({taken})
open_closed()
null = os.stat(os.devnull)
seen = [os.path.samestat(os.fstat(each), null) for each in range(3)]
fine = [stream.fileno() for stream in (sys.stdin, sys.stdout, sys.stderr)] == [0, 1, 2]
new = os.open(os.devnull, os.O_RDONLY)
print("nobody reads this", file=sys.stderr)
inherited = [os.get_inheritable(each) for each in range(3)]
os.write({out}, repr((seen, fine, new > 2, inherited)).encode())
"""


@pytest.mark.parametrize(
    ("redirect", "out", "seen"),
    [
        ("", 1, [False, False, False]),
        ("2>&-", 1, [False, False, True]),
        ("<&-", 1, [True, False, False]),
        ("<&- >&-", 2, [True, True, False]),
        ("<&- 2>&-", 1, [True, False, True]),
    ],
)
def test_what_is_closed_at_the_start_is_nobodys_next_socket(redirect: str, out: int, seen: list[bool]) -> None:
    done = run(OPEN_CLOSED.format(out=out, taken=TAKEN_BY_IMPORTS), redirect)
    if done.returncode == TAKEN_BY_IMPORTS:
        pytest.skip("a library of this Python has opened a file there")
    said = (done.stdout + done.stderr).replace("nobody reads this\n", "")
    assert said == repr((seen, True, True, [True, True, True]))
    assert done.returncode == 0


TAKEN = """
import os, sys
taken = os.open(os.devnull, os.O_RDWR)  # on 2, before we are there
from roadrunner_trio.transport.stdio import open_closed
open_closed()
print(taken, sys.stderr.fileno() not in (-1, 2), flush=True)
"""


def test_what_somebody_else_has_opened_on_it_is_not_written_to() -> None:
    assert run(TAKEN, "2>&-").stdout == "2 True\n"


SETTLE = """
import sys
from roadrunner_trio.transport.stdio import settle
print("a" * 100)
sys.stderr.write("b")
settled = settle()
raise SystemExit(7 if settled else 8)
"""


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full here")
@pytest.mark.parametrize("redirect", ["", ">/dev/full", "2>/dev/full", ">/dev/full 2>/dev/full", "> >(true)"])
def test_a_full_disk_does_not_change_the_exit_status(redirect: str) -> None:
    assert run(SETTLE, redirect).returncode == 7


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    assert not any(each.name == "tells" for each in threading.enumerate())


def test_the_fixture_can_fail() -> None:
    """A thread that tells has that name, or the fixture above would prove nothing."""
    names: list[str] = []
    do: Callable[[], object] = lambda: names.append(threading.current_thread().name)  # noqa: E731
    within(30, do)
    assert names == ["tells"]
