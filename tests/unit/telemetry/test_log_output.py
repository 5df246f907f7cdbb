"""The output of a log: whole lines, in order, and nobody waits for whoever does not read them."""

from __future__ import annotations

import errno
import io
import json
import logging
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

import roadrunner_trio as rr
from roadrunner_trio.telemetry import log_output as module
from roadrunner_trio.telemetry.log_output import AT_ONCE, LAST_WORDS, LogOutput, log_output

PATIENCE = 20.0


class Pipe:
    """A pipe, what writes to it, and what was read from it so far."""

    def __init__(self, **about: object) -> None:
        self.out, self.into = os.pipe()
        self.output = LogOutput(self.into, **about)  # type: ignore[arg-type]
        self.output.setFormatter(logging.Formatter("%(message)s"))
        self.seen = b""

    def say(self, *messages: str) -> None:
        for message in messages:
            self.output.handle(logging.LogRecord("a", logging.INFO, "f.py", 1, message, None, None))

    def read(self, size: int = 65536) -> bytes:
        """What comes next."""
        piece = os.read(self.out, size)
        self.seen += piece
        return piece

    def until(self, end: bytes) -> bytes:
        """Reads until this has come."""
        while end not in self.seen:
            assert self.read(), self.seen[-1000:]
        return self.seen

    def stuff(self) -> int:
        """Leaves no room for a single octet, and says how many it took."""
        os.set_blocking(self.into, False)
        taken = 0
        for size in (65536, 1):
            with suppress(BlockingIOError):
                while True:
                    taken += os.write(self.into, b"\0" * size)
        os.set_blocking(self.into, True)
        return taken

    def drop(self, octets: int) -> None:
        """Reads what it was stuffed with."""
        while octets:
            octets -= len(os.read(self.out, octets))

    def close(self) -> None:
        """Nothing of it may be written to a descriptor that has this number next."""
        while not self.output._queue.empty():
            with suppress(queue.Empty):
                self.output._queue.get_nowait()
        os.close(self.out)
        self.output.flush()
        with suppress(OSError):
            os.close(self.into)


def eventually(condition: Callable[[], bool]) -> None:
    """Waits until something is so in the thread, which tells nobody."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.fixture
def pipes() -> Iterator[Callable[..., Pipe]]:
    """Makes pipes."""
    made: list[Pipe] = []

    def make(**about: object) -> Pipe:
        made.append(Pipe(**about))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def pipe(pipes: Callable[..., Pipe]) -> Pipe:
    return pipes()


def test_lines_are_written_in_order(pipe):
    said = [f"line {n}" for n in range(5000)]
    reader = threading.Thread(target=pipe.until, args=[b"line 4999\n"])
    reader.start()
    pipe.say(*said)
    reader.join(PATIENCE)
    assert pipe.seen.decode().splitlines() == said


def test_the_first_line_after_a_silence_goes_at_once_and_what_gathers_goes_together(pipe, monkeypatch):
    monkeypatch.setattr(module, "PAUSE", 0.5)
    pipe.say("first")
    assert pipe.read() == b"first\n"
    pipe.say(*["gathered"] * 100)
    assert pipe.read() == b"gathered\n" * 100


def test_lines_stay_whole_where_several_share_a_pipe(pipe, monkeypatch):
    """A write of more than PIPE_BUF octets may be interrupted by another process's."""
    written: list[bytes] = []
    monkeypatch.setattr(os, "write", lambda fd, data: written.append(bytes(data)) or len(data))
    long = "x" * 10_000
    lines = [*[f"{n} " + "é" * 100 for n in range(200)], long, "short"]
    pipe.say(*lines)
    pipe.output.flush()
    assert b"".join(written).decode() == "".join(line + "\n" for line in lines)
    assert all(data.endswith(b"\n") and (len(data) <= AT_ONCE or data.count(b"\n") == 1) for data in written)
    assert len(written) < 30


def test_case_23_nobody_waits_for_a_pipe_that_nobody_reads(pipe):
    pipe.stuff()
    began = time.monotonic()
    pipe.say(*["nobody reads this"] * 20_000)
    assert time.monotonic() - began < PATIENCE / 2
    began = time.monotonic()
    pipe.output.flush()
    assert LAST_WORDS <= time.monotonic() - began < LAST_WORDS + 5


@pytest.mark.parametrize("more", [True, False], ids=["with more to say", "with nothing more to say"])
def test_what_was_lost_is_told_in_its_place_when_the_pipe_moves_again(more, pipes):
    pipe = pipes(most=1000)
    octets = pipe.stuff()
    pipe.say("first")
    eventually(pipe.output._queue.empty)  # the thread has taken it, and waits for the pipe
    pipe.say(*[f"{n:099d}" for n in range(30)])
    pipe.drop(octets)
    pipe.until(f"{8:099d}\n".encode())
    if more:
        eventually(lambda: pipe.output._out == pipe.output._put)
        pipe.say("later")
        pipe.until(b"later\n")
    text = pipe.until(b"lost here\n").decode()
    kept, later = [f"{n:099d}" for n in range(10)], ["later"] if more else []
    assert text.splitlines() == ["first", *kept, "20 lines of the log were lost here", *later]


def test_what_was_lost_is_told_in_the_notation_of_the_log(pipes):
    pipe = pipes(most=10)
    pipe.output.setFormatter(rr.LogFormatter("json"))
    octets = pipe.stuff()
    pipe.say("first", "second", "third")
    pipe.drop(octets)
    told = [json.loads(line)["message"] for line in pipe.until(b"lost here").splitlines() if line]
    assert told == ["first", "2 lines of the log were lost here"]


def test_a_disk_that_is_full_costs_the_lines_of_that_time(pipe, monkeypatch):
    write, full = os.write, True

    def short(fd: int, data: bytes) -> int:
        if full and fd == pipe.into:
            raise OSError(errno.ENOSPC, "no space left on device")
        return write(fd, data)

    monkeypatch.setattr(os, "write", short)
    for n in range(3):
        pipe.say(f"lost {n}")
        pipe.output.flush()
    full = False
    pipe.say("there is room")
    assert pipe.until(b"room\n") == b"3 lines of the log were lost here\nthere is room\n"


def test_half_a_line_on_a_disk_that_was_full_is_a_line_by_itself(pipe, monkeypatch):
    usual, answers = os.write, iter([3, OSError(errno.ENOSPC, "full")])

    def write(fd: int, data: memoryview) -> int:
        answer = next(answers, len(data))
        if isinstance(answer, OSError):
            raise answer
        return usual(fd, data[:answer])

    monkeypatch.setattr(module.os, "write", write)
    pipe.say("one that is cut")
    pipe.output.flush()
    pipe.say("two")
    assert pipe.until(b"two\n").split(b"\n")[0] == b"one"
    pipe.say("three")
    assert pipe.until(b"three\n").endswith(b"lost here\ntwo\nthree\n")


def test_a_descriptor_that_is_closed_is_no_matter(pipe):
    os.close(pipe.into)
    pipe.say("lost")
    pipe.output.flush()
    assert pipe.output._thread is not None
    assert pipe.output._thread.is_alive()


def test_a_descriptor_that_others_made_non_blocking_is_waited_for_by_the_thread(pipe):
    os.set_blocking(pipe.into, False)
    octets = pipe.stuff()
    os.set_blocking(pipe.into, False)
    pipe.say("patient")
    time.sleep(0.05)
    pipe.drop(octets)
    assert pipe.until(b"\n") == b"patient\n"


def test_what_a_line_has_that_the_encoding_has_not_is_escaped(pipes):
    pipe = pipes(encoding="ascii")
    pipe.say("é \udc80")
    assert pipe.read() == b"\\xe9 \\udc80\n"
    with pytest.raises(LookupError):
        LogOutput(1, encoding="no such")


def test_a_record_that_makes_no_line_is_told_in_the_log_itself(pipe, capsys):
    pipe.output.handle(logging.LogRecord("a", logging.INFO, "f.py", 7, "%d", ("no number",), None))
    assert pipe.read().startswith(b"a record of f.py:7 makes no line: TypeError(")
    assert capsys.readouterr().err == ""


def test_a_formatter_that_always_fails_does_not_end_the_thread(pipe):
    class Fails(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            raise ValueError("x\n")

    pipe.output.setFormatter(Fails())
    pipe.say("x")
    assert pipe.read() == b"a record of f.py:1 makes no line: ValueError('x\\n')\n"


def test_nothing_is_told_of_it_where_the_application_wants_it_so(pipe, monkeypatch):
    monkeypatch.setattr(logging, "raiseExceptions", False)
    pipe.output.handle(logging.LogRecord("a", logging.INFO, "f.py", 7, "%d", ("no number",), None))
    pipe.say("next")
    assert pipe.read() == b"next\n"


def test_a_log_in_which_nothing_stands_has_no_thread(pipe):
    pipe.output.flush()
    assert pipe.output._thread is None


def test_without_a_thread_to_be_had_the_next_line_asks_again(pipe, monkeypatch):
    def none_left(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as short:
        short.setattr(threading.Thread, "start", none_left)
        pipe.say("first")
    pipe.say("second")
    assert pipe.until(b"second\n") == b"first\nsecond\n"


def test_lines_of_several_threads_are_all_there(pipe):
    threads = [threading.Thread(target=pipe.say, args=[f"{n}" for _ in range(500)]) for n in range(8)]
    reader = threading.Thread(target=lambda: [pipe.read() for _ in iter(lambda: pipe.seen.count(b"\n") < 4000, False)])
    for thread in [reader, *threads]:
        thread.start()
    for thread in [*threads, reader]:
        thread.join(PATIENCE)
    lines = pipe.seen.split()
    assert {line: lines.count(line) for line in set(lines)} == {b"%d" % n: 500 for n in range(8)}


def test_a_signal_handler_may_log_while_its_thread_does(pipe):
    """It runs between any two steps of what it interrupts; a lock that is not its own again would be the end."""
    reader = threading.Thread(target=pipe.until, args=[b"the last\n"])
    reader.start()
    before = signal.signal(signal.SIGALRM, lambda *_: pipe.say("interrupts"))
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    try:
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            pipe.say("is interrupted")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    pipe.say("the last")
    reader.join(PATIENCE)
    lines = pipe.seen.decode().splitlines()
    assert lines[-1] == "the last"
    assert lines.count("interrupts") > 50


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_forked_process_writes_its_own_lines_and_not_its_parents(pipe):
    octets = pipe.stuff()
    pipe.say("the parent's", "the parent's too")
    child = os.fork()
    if not child:
        try:
            pipe.say("the child's")
            pipe.output.flush()
        finally:
            os._exit(0)
    pipe.drop(octets)
    os.waitpid(child, 0)
    pipe.output.flush()
    pipe.until(b"parent's too\n")
    pipe.until(b"child's\n")
    assert sorted(pipe.seen.decode().splitlines()) == ["the child's", "the parent's", "the parent's too"]


# -- the handler for a process -------------------------------------------------------------------


def test_standard_error_is_written_to_by_a_thread(monkeypatch, pipe):
    with os.fdopen(os.dup(pipe.into), "w", encoding="latin-1") as stderr:
        monkeypatch.setattr(sys, "stderr", stderr)
        output = log_output("text")
        assert isinstance(output, LogOutput)
        output.handle(logging.LogRecord("a", logging.INFO, "f.py", 1, "é", None, None))
        assert pipe.read().endswith(b"INFO \xe9\n")


def test_a_stream_in_memory_is_written_to_as_it_is():
    stream = io.StringIO()
    output = log_output("json", stream)
    output.handle(logging.LogRecord("a", logging.INFO, "f.py", 1, "é", None, None))
    assert json.loads(stream.getvalue())["message"] == "é"


def test_without_a_standard_error_there_is_a_handler_that_says_nothing(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    log_output("text").handle(logging.LogRecord("a", logging.INFO, "f.py", 1, "x", None, None))
