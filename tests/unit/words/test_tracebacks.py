"""Tracebacks for a log of text: their lines are Python's, and the words in them are on those lines."""

from __future__ import annotations

import traceback

import pytest

from roadrunner_trio.printable import cut
from roadrunner_trio.tracebacks import traceback_lines, traceback_text

FORGED = "2026-11-30 00:00:00,000 INFO 192.0.2.9:1 all is well"
HOSTILE = f"bob\n{FORGED}\x1b[2J\u202e\r\n\x85\u2028end"
SHOWN = f"bob\\x0a{FORGED}\\x1b[2J\\u202e\\x0d\\x0a\\x85\\u2028end"


def caught(raising):
    try:
        raising()
    except BaseException as exc:
        return exc
    raise AssertionError


def plain():
    raise ValueError(HOSTILE)


def with_notes():
    exc = ValueError("short")
    exc.add_note(HOSTILE)
    exc.add_note("plain")
    raise exc


def with_odd_notes():
    class Odd:
        def __str__(self):
            raise RuntimeError

    exc = ValueError("short")
    exc.__notes__ = [Odd(), 5]
    raise exc


def with_a_note_that_is_no_list():
    exc = ValueError("short")
    exc.__notes__ = HOSTILE  # type: ignore[assignment]
    raise exc


def caused():
    try:
        plain()
    except ValueError as exc:
        raise RuntimeError(HOSTILE) from exc


def in_context():
    try:
        plain()
    except ValueError:
        raise RuntimeError(HOSTILE)  # noqa: B904


def grouped():
    raise ExceptionGroup(HOSTILE, [caught(plain), ExceptionGroup(HOSTILE, [caught(caused), caught(with_notes)])])


def a_literal():
    exc = SyntaxError(HOSTILE, (HOSTILE, 1, 1, HOSTILE))
    raise exc


def a_key():
    raise KeyError(HOSTILE)


def speechless():
    class Mute(Exception):
        def __str__(self):
            raise RuntimeError

    raise Mute


KINDS = [
    plain, with_notes, with_odd_notes, with_a_note_that_is_no_list, caused, in_context, grouped, a_literal,
    a_key, speechless,
]  # fmt: skip


@pytest.mark.parametrize("raising", KINDS)
def test_case_41_what_stands_in_a_message_cannot_begin_a_line(raising):
    lines = traceback_lines(caught(raising))
    assert all(line.isprintable() for line in lines)
    assert not any(line.lstrip(" |+").startswith(FORGED) for line in lines)


@pytest.mark.parametrize("raising", [plain, with_notes, caused, in_context, grouped])
def test_the_message_is_all_there(raising):
    assert SHOWN in "\n".join(traceback_lines(caught(raising)))


@pytest.mark.parametrize("raising", [plain, caused, in_context, grouped, a_key])
def test_the_lines_are_as_many_as_python_has_for_a_message_of_one_line(raising, monkeypatch):
    lines = len(traceback_lines(caught(raising)))
    monkeypatch.setitem(globals(), "HOSTILE", "short")
    assert lines == len("".join(traceback.format_exception(caught(raising))).splitlines())


def test_a_harmless_traceback_is_as_python_has_it():
    def fails():
        raise ValueError("no such user: bob")

    exc = caught(fails)
    assert "\n".join(traceback_lines(exc)) + "\n" == "".join(traceback.format_exception(exc))


def test_a_long_message_loses_its_middle():
    def fails():
        raise ValueError("x" * 1_000_000)

    text = traceback_text(caught(fails), cut)
    assert "(980000 characters left out)" in text
    assert len(text) < 21_000


def test_where_lines_are_no_matter_the_message_is_as_it_was():
    assert HOSTILE in traceback_text(caught(plain), cut)
