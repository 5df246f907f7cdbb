"""The server's own log: it says what it is told, and what is wrong with logging its caller does not learn."""

from __future__ import annotations

import ast
import io
import logging
import os
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from failing_tools import NAMES, WRONG

import roadrunner_trio
from roadrunner_trio.journal import Journal, log


@pytest.fixture
def logger():
    logger = logging.Logger("a test", logging.DEBUG)
    logger.addHandler(logging.NullHandler())
    return logger


@pytest.fixture
def records(logger):
    found: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = found.append  # type: ignore[method-assign]
    logger.addHandler(handler)
    return found


def say_all(journal: Journal) -> None:
    """Calls every method there is."""
    journal.debug("%s", "debug")
    journal.info("%s", "info")
    journal.warning("%s", "warning")
    journal.error("%s", "error", exc_info=ValueError("given"))
    journal.critical("%s", "critical", exc_info=ValueError("grave"))
    try:
        raise KeyError("handled")
    except KeyError:
        journal.exception("%s", "exception")
    journal.log(25, "%s", "log")
    journal.handle(logging.LogRecord("a test", logging.INFO, __file__, 1, "%s", ("handle",), None))


def test_it_says_what_it_is_told(logger, records):
    say_all(Journal(logger))
    said = [(record.getMessage(), record.levelno) for record in records]
    assert said == [
        ("debug", 10), ("info", 20), ("warning", 30), ("error", 40), ("critical", 50), ("exception", 40), ("log", 25),
        ("handle", 20),
    ]  # fmt: skip
    assert [str(record.exc_info[1]) for record in records if record.exc_info] == ["given", "grave", "'handled'"]


def test_a_line_is_of_the_place_that_says_it(logger, records):
    say_all(Journal(logger))
    assert {record.funcName for record in records[:-1]} == {"say_all"}
    assert {record.pathname for record in records} == {__file__}


def test_what_the_level_leaves_out_is_not_made(logger, records):
    logger.setLevel(logging.ERROR)
    say_all(Journal(logger))
    assert [record.getMessage() for record in records] == ["error", "critical", "exception", "handle"]


def test_it_is_the_logger_that_the_documentation_names():
    assert log.logger is logging.getLogger("roadrunner_trio")


@pytest.mark.parametrize("wrong", WRONG, ids=NAMES)
@pytest.mark.parametrize("where", ["filter of the logger", "filter of a handler", "handler", "factory", "argument"])
def test_case_43_whatever_logging_raises_ends_here(logger, where, wrong, capsys):
    def fail(*_: object, **__: object) -> bool:
        raise wrong

    class Argument:
        __str__ = fail  # type: ignore[assignment]

    handler = logging.StreamHandler(io.StringIO())
    handler.setLevel(logging.INFO)
    logger.addHandler(handler)
    journal = Journal(logger)
    before = logging.getLogRecordFactory()
    match where:
        case "filter of the logger":
            logger.addFilter(fail)
        case "filter of a handler":
            handler.addFilter(fail)
        case "handler":
            handler.emit = fail  # type: ignore[method-assign]
        case "factory":
            logging.setLogRecordFactory(fail)
        case _:
            pass
    try:
        if where == "argument":
            journal.error("%s", Argument())
        else:
            say_all(journal)
    finally:
        logging.setLogRecordFactory(before)
    said = capsys.readouterr().err
    if where == "argument" and isinstance(wrong, Exception) and not isinstance(wrong, RecursionError):
        assert journal.lost == 0  # the handler has caught it, and has told it in its own way
    else:
        assert journal.lost >= 1
        assert said.count(NAMES[WRONG.index(wrong)]) >= 1
        assert said.count("A line for 'a test' is lost") == 1


def test_ctrl_c_passes(logger):
    def interrupted(_: object) -> bool:
        raise KeyboardInterrupt

    logger.addFilter(interrupted)
    journal = Journal(logger)
    with pytest.raises(KeyboardInterrupt):
        journal.info("x")
    with pytest.raises(KeyboardInterrupt):
        journal.handle(logging.LogRecord("a test", logging.INFO, __file__, 1, "x", (), None))


@pytest.fixture
def failing(logger):
    """A journal that loses every line."""

    def fail(_: object) -> bool:
        raise ValueError("why\n2026-11-30 forged\x1b[2J")

    logger.addFilter(fail)
    return Journal(logger)


def test_the_first_line_that_is_lost_is_told_and_the_others_are_counted(failing, capsys):
    for _ in range(5):
        failing.info("x")
    said = capsys.readouterr().err
    assert failing.lost == 5
    assert said.count("Traceback") == 1
    assert said.endswith("A line for 'a test' is lost by this. Of others nothing is said.\n")
    assert "ValueError: why\\x0a2026-11-30 forged\\x1b[2J\n" in said


def test_nothing_is_told_where_the_application_wants_it_so(failing, capsys, monkeypatch):
    monkeypatch.setattr(logging, "raiseExceptions", False)
    failing.info("x")
    assert (failing.lost, capsys.readouterr().err) == (1, "")


class Broken(io.StringIO):
    """A standard error that cannot be written to."""

    def write(self, text: str) -> int:
        raise OSError("no space left on device")


@pytest.mark.parametrize("stderr", [None, Broken()])
def test_without_a_standard_error_it_is_lost_in_silence(failing, stderr, monkeypatch):
    monkeypatch.setattr(sys, "stderr", stderr)
    failing.info("x")
    assert failing.lost == 1


def test_a_standard_error_that_is_closed_is_no_matter(failing, monkeypatch, tmp_path):
    stderr = (tmp_path / "closed").open("w")
    stderr.close()
    monkeypatch.setattr(sys, "stderr", stderr)
    failing.info("x")
    assert failing.lost == 1


def test_a_standard_error_that_nobody_reads_is_not_waited_for(failing, monkeypatch):
    read, write = os.pipe()
    os.set_blocking(write, False)
    with suppress(BlockingIOError):
        while True:
            os.write(write, b"x" * 4096)
    os.set_blocking(write, True)  # from here on, to write would be to wait
    with os.fdopen(write, "w") as stderr, os.fdopen(read):
        monkeypatch.setattr(sys, "stderr", stderr)
        failing.info("x")
    assert failing.lost == 1


PACKAGE = Path(roadrunner_trio.__file__).parent
WRITES = {"journal.py", "telemetry/logs.py", "websocket/told.py"}
MAY_ASK = {*WRITES, "processes/watching.py", "telemetry/log_output.py", "tutorial/stage.py"}
"""The observers guard their own loggers, which are others'. Where records go, and who overhears them, is said to a
logger without writing to it."""


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_case_43_nobody_else_asks_logging_for_a_logger(path):
    """Who writes to a logger of their own can fail with it."""
    calls = [
        node.func.attr
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        if isinstance(node.func.value, ast.Name) and node.func.value.id == "logging"
    ]
    asks = set(calls) & {"getLogger", "debug", "info", "warning", "error", "exception", "critical", "log"}
    assert not asks or str(path.relative_to(PACKAGE)) in MAY_ASK
