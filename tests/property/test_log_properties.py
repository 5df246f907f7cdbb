"""Laws of log lines, over any text: one printable line, from which every value can be read again."""

from __future__ import annotations

import ast
import json
import logging
import math
import time

from hypothesis import given
from hypothesis import strategies as st
from log_tools import a_request, an_end, read_logfmt

from roadrunner_trio import LogFormatter
from roadrunner_trio.printable import is_printable, printable, visible
from roadrunner_trio.telemetry import log_lines
from roadrunner_trio.telemetry.access_lines import FORMATS, NAMES, Template
from roadrunner_trio.tracebacks import traceback_lines

octets = st.binary()
texts = st.text() | st.text(st.characters(exclude_categories=())) | octets.map(lambda raw: raw.decode("latin-1"))
names = st.text("abcdefghijklmnopqrstuvwxyz_", min_size=1)
numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
pairs = st.lists(st.tuples(names, st.none() | texts | numbers), unique_by=lambda pair: pair[0])


@given(texts)
def test_what_is_printed_is_printable_and_can_be_read_again(text):
    shown = printable(text)
    assert is_printable(shown)
    assert ast.literal_eval(f'"{shown}"') == text


@given(texts)
def test_what_is_visible_is_so_for_good_and_no_two_lines(text):
    shown = visible(text)
    assert is_printable(shown)
    assert len(shown.splitlines()) <= 1
    assert visible(shown) == shown


def lines_of(exc):
    """The lines of a traceback without the marks of groups before them."""
    return [line.lstrip(" |+-") for line in traceback_lines(exc)]


def nested(leaf):
    return st.builds(ExceptionGroup, messages, st.lists(leaf, min_size=1, max_size=3))


def linked(exc, cause, note):
    """An exception that came from another, with a note."""
    exc.__cause__ = cause
    exc.add_note(note)
    return exc


FORGED = "2026-11-30 00:00:00,000 INFO"
messages = st.text(st.sampled_from("a \n\r\x0b\x1b\x85\u2028\u202e"), max_size=5).map(
    lambda text: f"{text}\n{FORGED}{text}"
)
singles = st.builds(ValueError, messages) | st.builds(SyntaxError, messages) | st.builds(KeyError, messages)
errors = st.recursive(st.builds(linked, singles, st.none() | singles, messages), nested, max_leaves=6)


@given(errors)
def test_no_message_in_a_tree_of_exceptions_begins_a_line(error):
    lines = traceback_lines(error)
    assert all(map(is_printable, lines))
    assert not any(line.startswith(FORGED) for line in lines_of(error))


@given(
    st.sampled_from(["text", "json", "logfmt"]),
    texts,
    errors | st.none(),
    st.none() | texts,
    st.none() | st.booleans() | texts,
)
def test_a_record_of_whatever_is_lines_in_its_notation(notation, message, error, stack, method):
    record = logging.LogRecord(
        "a", logging.INFO, "f.py", 1, "%s", (message,), (type(error), error, None) if error else None
    )
    record.stack_info = stack
    vars(record).update({"request_id": "1", "method": method})
    out = LogFormatter(notation).format(record)
    lines = out.split("\n")
    assert all(map(is_printable, lines))
    assert notation == "text" or len(lines) == 1
    if notation == "json":
        assert json.loads(out)["message"] == message
    elif notation == "logfmt":
        assert read_logfmt(out)["message"] == message
    else:
        assert [line for line in lines if line.startswith(time.strftime("%Y-"))] == lines[:1]


@given(pairs)
def test_a_line_of_json_is_the_pairs(pairs):
    line = log_lines.json_line(pairs)
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line) == dict(pairs)


@given(st.floats())
def test_a_line_of_json_is_valid_whatever_the_number(number):
    assert json.loads(log_lines.json_line([("n", number)]))["n"] == (number if math.isfinite(number) else None)


@given(pairs)
def test_a_line_of_logfmt_is_the_pairs_that_have_a_value(pairs):
    line = log_lines.logfmt_line(pairs)
    assert line.isascii()
    assert line.isprintable()
    expected = {name: value if isinstance(value, str) else repr(value) for name, value in pairs if value is not None}
    assert read_logfmt(line) == expected


events = st.builds(
    lambda request, **about: an_end(request, **about),
    st.builds(
        lambda target, agent, **about: a_request(target, [(b"user-agent", agent)], **about),
        octets.map(lambda raw: bytes(octet & 0x7F for octet in raw)),  # a target is ASCII, else it is a 400
        octets,
        peer=texts | st.tuples(texts, st.integers(0, 65535)),
        request_id=texts,
        listener_name=texts,
    ),
    status=st.none() | st.integers(200, 599),
    kind=texts,
    received=st.integers(0),
    sent=st.integers(0),
    duration=st.floats(0, 1e9),
    outcome=st.sampled_from(["complete", "error", "gone"]),
    phase=st.none() | st.sampled_from(["body", "response"]),
)
reasons = st.none() | texts.filter(bool)


def values(event, reason):
    found = {name: value(event, event.status, reason) for name, value in NAMES.items() if name != "time"}
    return found | {"duration": float(f"{event.duration:.6f}")}


@given(events, reasons)
def test_an_access_line_in_json_can_be_read_again(event, reason):
    line = FORMATS["json"](event, event.status, reason)
    assert line.isprintable()
    found = json.loads(line)
    del found["time"]
    expected = values(event, reason)
    assert expected.pop("worker") is None, "a process that is alone is no worker"
    assert found == expected


@given(events, reasons)
def test_an_access_line_in_logfmt_can_be_read_again(event, reason):
    line = FORMATS["logfmt"](event, event.status, reason)
    assert line.isprintable()
    found = read_logfmt(line)
    del found["time"]
    expected = values(event, reason)
    assert float(found.pop("duration")) == expected.pop("duration")
    assert found == {name: str(value) for name, value in expected.items() if value is not None}


every_name = Template(" ".join(f'"{{{name}}}"' for name in NAMES if name != "time") + ' "{header:user-agent}"')


@given(events, reasons)
def test_lines_of_text_and_of_templates_are_printable(event, reason):
    assert FORMATS["text"](event, event.status, reason).isprintable()
    line = every_name(event, event.status, reason)
    assert line.isprintable()
    assert line.replace("\\\\", "").replace('\\"', "").count('"') == 2 * len(NAMES), "no value has left its quotes"
