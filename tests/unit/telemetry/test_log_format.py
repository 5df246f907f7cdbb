"""Any record as a line: what stands in it, and that nothing in it is another line."""

from __future__ import annotations

import http
import json
import logging
import sys
import time

import pytest
from log_tools import a_request, an_end, read_logfmt

import roadrunner_trio as rr


def record(message="said %s", *args, **more):
    made = logging.LogRecord("app", logging.WARNING, __file__, 1, message, args or ("so",), more.pop("exc_info", None))
    made.created = 1.5
    vars(made).update(more)
    return made


def test_any_record_as_a_line_of_json():
    line = rr.LogFormatter("json").format(record("%s", 'a "b"\n'))
    assert line == (r'{"time":"1970-01-01T00:00:01.500Z","level":"warning","logger":"app","message":"a \"b\"\n"}')


def test_any_record_as_a_line_of_logfmt():
    line = rr.LogFormatter("logfmt").format(record("%s", 'a "b"\n'))
    assert line == r'time=1970-01-01T00:00:01.500Z level=warning logger=app message="a \"b\"\n"'


@pytest.mark.parametrize(("notation", "read"), [("json", json.loads), ("logfmt", read_logfmt)])
def test_a_line_has_its_request_and_its_traceback(notation, read):
    try:
        raise ValueError("a\nb")
    except ValueError as exc:
        made = record(exc_info=(type(exc), exc, exc.__traceback__), stack_info="Stack:\n  here")
    before = rr.current_request.set(a_request())
    line = rr.LogFormatter(notation).format(made)
    rr.current_request.reset(before)
    assert line.isprintable()
    found = read(line)
    assert {name: found[name] for name in ("request_id", "method", "path", "peer")} == {
        "request_id": "0123456789abcdef", "method": "GET", "path": "/a", "peer": "192.0.2.1:1234",
    }  # fmt: skip
    assert found["exception"].endswith("ValueError: a\nb")
    assert found["stack"] == "Stack:\n  here"


def test_what_the_filter_has_put_on_a_record_goes_before_the_current_request():
    """A queue's listener formats in another thread, where there is no current request."""
    made = record(request_id="1", method="PUT", path="/", peer="-")
    assert json.loads(rr.LogFormatter("json").format(made))["method"] == "PUT"


@pytest.fixture
def access_records():
    """What access logs in two notations have made of one event."""
    found: list[logging.LogRecord] = []

    def of(*notations):
        logger = logging.Logger("a test", logging.DEBUG)
        handler = logging.Handler()
        handler.emit = found.append  # type: ignore[method-assign]
        logger.addHandler(handler)
        for notation in notations:
            rr.AccessLog(notation, logger=logger).request_stop(an_end())
        return found

    return of


@pytest.mark.parametrize("notation", ["json", "logfmt"])
def test_an_access_line_in_the_same_notation_passes(notation, access_records):
    records = access_records(notation, "text")
    formatter = rr.LogFormatter(notation)
    same, other = (formatter.format(each) for each in records)
    assert same == records[0].getMessage()
    read = json.loads(other) if notation == "json" else read_logfmt(other)
    assert records[1].getMessage() in read["message"]


def test_an_access_line_is_escaped_once(access_records):
    template = '{peer} "{path}"'
    [made] = access_records(template)
    made.msg = '/run/\\x1b "\\"quoted\\""'  # as the access log has made it
    assert rr.LogFormatter("text").format(made).endswith('INFO /run/\\x1b "\\"quoted\\""')


def test_a_formatter_knows_three_notations():
    with pytest.raises(ValueError, match="text, json or logfmt, not 'xml'"):
        rr.LogFormatter("xml")


# -- text ----------------------------------------------------------------------------------------

FORGED = "2026-11-30 00:00:00,000 INFO 192.0.2.9:1 all is well"
HOSTILE = f"bob\n{FORGED}\x1b[2J\u202e\ufeff\udc80\x9b"
SHOWN = f"bob\\x0a{FORGED}\\x1b[2J\\u202e\\ufeff\\udc80\\x9b"
STAMP = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(1)) + ",500"


def text(made: logging.LogRecord) -> list[str]:
    return rr.LogFormatter("text").format(made).split("\n")


def failed(raising: BaseException) -> logging.LogRecord:
    try:
        raise raising
    except BaseException:
        return record("the handler failed%s", "", exc_info=sys.exc_info())


def test_a_line_of_text_is_as_logging_has_it():
    usual = logging.Formatter("%(asctime)s %(levelname)s %(message)s")
    made = record('said "%s" é', "so")
    made.msecs = 500.0
    assert text(made) == [usual.format(made)] == [f'{STAMP} WARNING said "so" é']


def test_case_41_what_a_peer_sent_is_on_one_line_of_text():
    assert text(record("no such user: %s", HOSTILE)) == [f"{STAMP} WARNING no such user: {SHOWN}"]


def test_case_41_what_a_peer_sent_is_on_one_line_of_a_traceback():
    first, *lines = text(failed(ValueError(HOSTILE)))
    assert first == f"{STAMP} WARNING the handler failed"
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[-1] == f"ValueError: {SHOWN}"
    assert all(line.isprintable() for line in lines)


@pytest.mark.parametrize("notation", ["json", "logfmt"])
def test_case_41_the_other_notations_have_it_as_a_value(notation):
    line = rr.LogFormatter(notation).format(failed(ValueError(HOSTILE)))
    assert line.isascii()
    assert line.isprintable()
    read = json.loads(line) if notation == "json" else read_logfmt(line)
    assert read["exception"].endswith(f"ValueError: {HOSTILE}")


def test_a_traceback_that_another_has_made_is_escaped_line_by_line():
    made = record("x%s", "", exc_text="Traceback:\n  \x1b[2J", stack_info="Stack:\n  \u202e")
    assert text(made)[1:] == ["Traceback:", "  \\x1b[2J", "Stack:", "  \\u202e"]
    assert json.loads(rr.LogFormatter("json").format(made))["exception"] == "Traceback:\n  \x1b[2J"


def test_an_exception_that_was_asked_for_where_there_is_none():
    assert text(record("x%s", "", exc_info=(None, None, None))) == [f"{STAMP} WARNING x"]
    assert "exception" not in json.loads(rr.LogFormatter("json").format(record(exc_info=(None, None, None))))


@pytest.mark.parametrize("notation", ["text", "json", "logfmt"])
def test_ten_megabytes_in_a_message_are_not_ten_megabytes_in_the_log(notation):
    formatter = rr.LogFormatter(notation)
    for made in (record("%s", "\x01" * 10_000_000), failed(ValueError("\x01" * 10_000_000))):
        began = time.process_time()
        line = formatter.format(made)
        assert len(line) < 10 * 20_000
        assert "characters left out" in line
        assert time.process_time() - began < 0.5


class Odd:
    """Some value that an application has put on a record."""

    def __str__(self) -> str:
        return 'odd "one"'


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (True, True),
        (False, False),
        (7, 7),
        (0.5, 0.5),
        (float("nan"), None),
        (float("-inf"), None),
        (10**400, 10**400),
        (http.HTTPStatus.OK, 200),
        (http.HTTPMethod.GET, "GET"),
        (Odd(), 'odd "one"'),
        (b"octets", "b'octets'"),
        (None, None),
        ("\udc80", "\udc80"),
    ],
)
def test_a_line_of_json_is_valid_whatever_an_application_has_put_on_the_record(value, shown):
    made = record(request_id="1", method=value)
    assert json.loads(rr.LogFormatter("json").format(made))["method"] == shown
    logfmt = read_logfmt(rr.LogFormatter("logfmt").format(made))
    assert logfmt.get("method") == (None if value is None else value if isinstance(value, str) else logfmt["method"])
