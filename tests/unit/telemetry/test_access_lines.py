"""The line of a request in its notations, and in templates of the operator's own."""

from __future__ import annotations

import json

import pytest
from log_tools import a_request, an_end, read_logfmt, written

import roadrunner_trio as rr
from roadrunner_trio.telemetry.access_lines import FORMATS, NAMES, Template

EVENTS = [
    an_end(),
    an_end(a_request(b'/"?=\\', peer="/run/\udc80\x1b \x7f", listener_name="ma in")),
    an_end(outcome="gone", phase="response", status=None, error=rr.PeerGone()),
    an_end(outcome="error", phase="handler", status=500, kind="none", error=ValueError()),
]


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("reason", [None, "bad_chunk", 'a "b"'])
def test_json_has_every_name_and_its_value(event, reason):
    line = FORMATS["json"](event, event.status, reason)
    found = json.loads(line)
    expected = {name: value(event, event.status, reason) for name, value in NAMES.items() if name != "worker"}
    assert line.isascii()
    assert line.isprintable()
    assert list(found) == list(expected)
    assert found.pop("time")[:16] == expected.pop("time")[:16]
    assert found == expected


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("reason", [None, "bad_chunk", 'a "b"'])
def test_logfmt_has_every_name_that_has_a_value(event, reason):
    line = FORMATS["logfmt"](event, event.status, reason)
    found = read_logfmt(line)
    expected = {name: value(event, event.status, reason) for name, value in NAMES.items()}
    assert line.isascii()
    assert line.isprintable()
    assert found.pop("time")[:16] == expected.pop("time")[:16]
    assert float(found.pop("duration")) == expected.pop("duration")
    assert found == {name: str(value) for name, value in expected.items() if value is not None}


def test_a_template_has_what_the_operator_wants():
    request = a_request(fields=[(b"user-agent", b"curl/8"), (b"user-agent", b"second")])
    template = (
        '{{{status:>4}}} 100% {listener} {scheme_} {header:user-agent} "{header:Referer}" {duration:.3f} {sent:05}'
    )
    line = Template(template.replace(" {scheme_}", ""))(an_end(request), 200, None)
    assert line == '{ 200} 100% main curl/8 "-" 0.001 00013'


@pytest.mark.parametrize("format", ["text", "{peer} {method}", "json", "logfmt"])
def test_the_path_of_a_unix_peer_is_escaped_once(format):
    [line] = written(an_end(a_request(peer='/run/"\\\n\x1b')), format=format)
    shown = r"/run/\"\\\x0a\x1b"
    assert line.startswith(f"{shown} ") or json.dumps(shown) in line


@pytest.mark.parametrize("name", NAMES)
def test_a_template_knows_every_name(name):
    value = NAMES[name](EVENTS[0], 200, "reason")
    line = Template("{" + name + "}")(EVENTS[0], 200, "reason")
    assert line[:16] == ("-" if value is None else str(value))[:16]


def test_what_there_is_not_is_a_dash():
    assert Template("{status} {phase} {reason} {header:x}")(an_end(), None, None) == "- - - -"


@pytest.mark.parametrize(
    ("template", "complaint"),
    [
        ("{state}", "there is no {state}"),
        ("{}", "there is no {}"),
        ("{status", "expected '}'"),
        ("{status!r}", "cannot convert with !r"),
        ("{path:>10}", "is text in an access log and takes no format"),
        ("{duration:.3q}", "Unknown format code 'q'|Invalid format"),
        ("{status:.2f.}", "Invalid format"),
        ("{header}", "needs its name"),
        ("{{nothing}}", "has no {name} in it"),
        ("jsno", "text, json, logfmt or a template"),
        ("", "text, json, logfmt or a template"),
    ],
)
def test_a_bad_format_fails_at_the_start(template, complaint):
    with pytest.raises(ValueError, match=complaint):
        rr.AccessLog(template)


HOSTILE = bytes(range(1, 256))
NASTY = HOSTILE.decode("latin-1") + "\0\u2028\u202e\udc80"
EVERYTHING = " ".join(f"{{{name}}}" for name in NAMES) + " {header:user-agent}"


@pytest.mark.parametrize("format", [*FORMATS, EVERYTHING])
def test_no_field_can_carry_a_control_character(format):
    """CVE-2020-7694, whatever a parser lets through."""
    request = a_request(HOSTILE, [(b"user-agent", HOSTILE)], peer=NASTY, request_id=NASTY, listener_name=NASTY)
    request.head = request.head._replace(path=HOSTILE[:126])  # it is ASCII, or there would be no request
    error = type("An\x1b[31mError\x9b", (Exception,), {})()
    event = an_end(request, kind=NASTY, outcome="error", phase="handler", error=error)
    [line] = written(event, "request_exception", format)
    assert line.isprintable()
