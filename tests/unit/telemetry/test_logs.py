"""Logs: what each says, how it says it, and that nothing a peer sends can break a line."""

from __future__ import annotations

import json
import logging
import time
from typing import Any

import pytest
import trio
from log_tools import a_request, an_end, read_logfmt
from story_tools import GET, open_house, post

import roadrunner_trio as rr
from roadrunner_trio.telemetry import log_lines
from roadrunner_trio.telemetry.access_lines import FORMATS, NAMES, Template
from roadrunner_trio.telemetry.log_lines import json_text, logfmt_text, printable, timestamp
from roadrunner_trio.telemetry.logs import Damper, Records

ACCESS, ERROR = "roadrunner_trio.access", "roadrunner_trio.error"


@pytest.fixture(autouse=True)
def everything_is_logged(caplog):
    caplog.set_level(logging.DEBUG, "roadrunner_trio")


def lines(caplog, logger):
    return [record.getMessage() for record in caplog.records if record.name == logger]


# -- notations -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("/a?b=%1B[31m é", "/a?b=%1B[31m é"),
        ("\x1b[31m", "\\x1b[31m"),
        ("a\r\nb", "a\\x0d\\x0ab"),
        ("\x7f\x80\x9b", "\\x7f\\x80\\x9b"),
        ('"quoted"', '\\"quoted\\"'),
        ("back\\slash", "back\\\\slash"),
        ("\u2028\u202e\u200b", "\\u2028\\u202e\\u200b"),
        ("\udc80", "\\udc80"),
        ("\U000e0001", "\\U000e0001"),
    ],
)
def test_text_that_is_not_printable_is_escaped(text, shown):
    assert printable(text) == shown


def test_json_is_printable_ascii():
    assert json_text('é"\\\x00\x1b\x7f\u2028') == r'"\u00e9\"\\\u0000\u001b\u007f\u2028"'


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("/a/b?x;y", "/a/b?x;y"),
        ("", '""'),
        ("a b", '"a b"'),
        ("a=b", '"a=b"'),
        ('"', r'"\""'),
        ("a\\b", r'"a\\b"'),
        ("a\nb\x7f", r'"a\nb\u007f"'),
        ("é", r'"\u00e9"'),
    ],
)
def test_logfmt_quotes_where_a_reader_could_be_misled(text, shown):
    assert logfmt_text(text) == shown


def test_lines_of_pairs():
    pairs = [("a", "x y"), ("b", None), ("c", 1), ("d", 0.5), ("e", "")]
    assert log_lines.json_line(pairs) == '{"a":"x y","b":null,"c":1,"d":0.5,"e":""}'
    assert log_lines.logfmt_line(pairs) == 'a="x y" c=1 d=0.5 e=""'


def test_json_has_no_infinity():
    assert log_lines.json_line([("a", float("inf")), ("b", float("nan"))]) == '{"a":null,"b":null}'


@pytest.mark.parametrize(
    ("now", "shown"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (0.9999, "1970-01-01T00:00:00.999Z"),
        (1.0, "1970-01-01T00:00:01.000Z"),
        (951782400.25, "2000-02-29T00:00:00.250Z"),
        (0.5, "1970-01-01T00:00:00.500Z"),
    ],
)
def test_a_timestamp_is_utc_to_the_millisecond(now, shown):
    assert timestamp(now) == shown


# -- the access log ------------------------------------------------------------------------------


def written(event: Any, hook: str = "request_stop", format: str = "text") -> list[str]:
    """What an access log of its own writes about one event."""
    found: list[str] = []
    logger = logging.Logger("a test", logging.DEBUG)
    handler = logging.Handler()
    handler.emit = lambda record: found.append(record.getMessage())  # type: ignore[method-assign]
    logger.addHandler(handler)
    getattr(rr.AccessLog(format, logger=logger), hook)(event)
    return found


TAIL = "3 13 1.2ms 0123456789abcdef"


@pytest.mark.parametrize(
    ("hook", "event", "line"),
    [
        ("request_stop", an_end(), f'192.0.2.1:1234 "GET /a?b=c HTTP/1.1" 200 {TAIL}'),
        ("request_stop", an_end(a_request(peer=("::1", 80))), f'[::1]:80 "GET /a?b=c HTTP/1.1" 200 {TAIL}'),
        ("request_stop", an_end(a_request(peer="/run/a b")), f'/run/a b "GET /a?b=c HTTP/1.1" 200 {TAIL}'),
        (
            "request_exception",
            an_end(outcome="error", phase="handler", status=500, error=KeyError("secret")),
            f'192.0.2.1:1234 "GET /a?b=c HTTP/1.1" 500 {TAIL} error in handler (KeyError)',
        ),
        (
            "request_exception",
            an_end(outcome="gone", phase="response", error=rr.PeerGone()),
            f'192.0.2.1:1234 "GET /a?b=c HTTP/1.1" 499 {TAIL} gone in response',
        ),
        (
            "request_exception",
            an_end(outcome="timeout", phase="body", status=408, error=rr.BodyTimeout()),
            f'192.0.2.1:1234 "GET /a?b=c HTTP/1.1" 408 {TAIL} timeout in body',
        ),
        (
            "request_exception",
            an_end(outcome="cancelled", phase="handler", status=None),
            f'192.0.2.1:1234 "GET /a?b=c HTTP/1.1" - {TAIL} cancelled in handler',
        ),
        (
            "request_rejected",
            rr.RequestRejected("main", "unix", "bad_chunk", 400, "body", a_request(), False, 0.0),
            '192.0.2.1:1234 "GET /a?b=c HTTP/1.1" 400 0 0 0.0ms 0123456789abcdef rejected in body (bad_chunk)',
        ),
        (
            "request_aborted",
            rr.RequestAborted("main", "unix", "peer_gone", None, "body", a_request(), 0.0),
            '192.0.2.1:1234 "GET /a?b=c HTTP/1.1" 499 0 0 0.0ms 0123456789abcdef gone in body',
        ),
        (
            "request_aborted",
            rr.RequestAborted("main", "unix", "timeout", 408, "body", a_request(), 0.0),
            '192.0.2.1:1234 "GET /a?b=c HTTP/1.1" 408 0 0 0.0ms 0123456789abcdef timeout in body',
        ),
        (
            "request_throttled",
            rr.RequestThrottled(a_request(), "rate_limit", 429, 0.0),
            '192.0.2.1:1234 "GET /a?b=c HTTP/1.1" 429 0 0 0.0ms 0123456789abcdef throttled in handler (rate_limit)',
        ),
    ],
)
def test_a_line_of_text(hook, event, line):
    assert written(event, hook) == [line]


def test_what_has_a_line_already_gets_no_second():
    assert (
        written(
            rr.RequestRejected("main", "unix", "bad_chunk", 400, "body", a_request(), True, 0.0), "request_rejected"
        )
        == []
    )


def test_a_head_that_is_none_is_the_error_logs_affair():
    assert (
        written(rr.RequestRejected("main", "unix", "bad_version", 505, "head", None, False, 0.0), "request_rejected")
        == []
    )
    assert written(rr.RequestAborted("main", "unix", "timeout", 408, "head", None, 0.0), "request_aborted") == []


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
    expected = {name: value(event, event.status, reason) for name, value in NAMES.items()}
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


async def test_an_escape_sequence_in_a_request_is_not_one_in_the_log(autojump_clock, caplog):
    access = rr.AccessLog('{target} "{header:user-agent}"')
    async with open_house(observers=[access]) as house:
        await house.peer().say(b'GET /%1b[31m" HTTP/1.1\r\nHost: h\r\nUser-Agent: \x9b31m"\xe9\r\n\r\n')
    assert lines(caplog, ACCESS) == ['/%1b[31m\\" "\\x9b31m\\"é"']


async def test_every_request_whose_head_was_read_has_one_line(autojump_clock, caplog):
    async def handler(request):
        await request.read()
        if request.path == "/crash":
            raise ValueError
        return rr.Response("hi")

    async with open_house(handler, observers=[rr.AccessLog("{target} {status} {outcome}")], body="streaming") as house:
        for said in (
            GET,
            b"GET /crash HTTP/1.1\r\nHost: h\r\n\r\n",
            b"nonsense\r\n",
            b"GET /half",
            post(b"Content-Length: 5"),
            post(b"Transfer-Encoding: chunked", body=b"x"),
            post(b"Content-Length: 99999999"),
        ):
            peer = house.peer()
            await peer.say(said)
            await peer.close()
    assert lines(caplog, ACCESS) == [
        "/ 200 complete", "/crash 500 error", "/ 499 gone", "/ 400 rejected", "/ 413 rejected",
    ]  # fmt: skip


def test_a_level_that_is_off_writes_nothing(caplog):
    caplog.set_level(logging.WARNING, ACCESS)
    rr.AccessLog().request_stop(an_end())
    rr.AccessLog(level=logging.WARNING).request_stop(an_end())
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_the_filters_of_the_logger_are_asked():
    logger = logging.Logger("a test", logging.DEBUG)
    asked = []
    logger.addFilter(lambda record: asked.append(record) or False)
    rr.AccessLog(logger=logger).request_stop(an_end())
    assert [record.getMessage()[:9] for record in asked] == ["192.0.2.1"]


def test_a_record_carries_its_event(caplog):
    event = an_end()
    rr.AccessLog().request_stop(event)
    assert caplog.records[0].event is event


def test_a_record_is_like_any_other():
    """What is copied from a template is right for every record, and what differs is renewed."""
    records = Records("a.name", logging.WARNING)
    records.make("first")
    before = time.time()
    made = records.make("second")
    after = time.time()
    usual = logging.LogRecord("a.name", logging.WARNING, made.pathname, 0, "second", None, None, "access")
    changing = {"created", "msecs", "relativeCreated"}
    assert {k: v for k, v in vars(made).items() if k not in changing} == {
        k: v for k, v in vars(usual).items() if k not in changing
    }
    assert before <= made.created <= after
    assert abs(made.created % 1 * 1000 - made.msecs) < 1
    assert made.msecs == int(made.msecs)
    assert abs((usual.created - made.created) * 1000 - (usual.relativeCreated - made.relativeCreated)) < 0.1
    assert (
        logging.Formatter("%(asctime)s %(name)s %(levelname)s %(message)s")
        .format(made)
        .endswith(" a.name WARNING second")
    )


def test_a_record_is_made_by_the_applications_factory_if_it_has_one(caplog):
    class Ours(logging.LogRecord):
        pass

    before = logging.getLogRecordFactory()
    logging.setLogRecordFactory(Ours)
    try:
        rr.AccessLog().request_stop(an_end())
    finally:
        logging.setLogRecordFactory(before)
    assert type(caplog.records[0]) is Ours
    assert caplog.messages == [f'192.0.2.1:1234 "GET /a?b=c HTTP/1.1" 200 {TAIL}']


# -- the error log -------------------------------------------------------------------------------


def test_a_damper_admits_so_many_in_so_long():
    damper = Damper(2, 10)
    assert [damper.admits(now) for now in (100, 101, 102, 109.9, 110, 119, 119, 120)] == [
        True, True, False, False, True, True, False, True,
    ]  # fmt: skip
    assert (damper.take(), damper.take()) == (3, 0)


@pytest.mark.parametrize("wrong", [{"lines": 0}, {"seconds": 0}, {"seconds": float("nan")}])
def test_an_error_log_has_room_for_something(wrong):
    with pytest.raises(ValueError, match="at least one line"):
        rr.ErrorLog(**wrong)


async def test_a_storm_of_malformed_requests_is_ten_lines_and_a_count(autojump_clock, caplog):
    async with open_house() as house:
        for _ in range(500):
            peer = house.peer()
            await peer.say(b"nonsense\r\n")
            await peer.close()
        line = "refused a request of memory: bad_request_line (400)"
        assert lines(caplog, ERROR) == [line] * 10
        await trio.sleep(10)
        await house.peer().say(b"nonsense\r\n")
        assert lines(caplog, ERROR)[10:] == [f"{line}; 490 rejected requests before it were left out"]
        await house.peer().say(b"nonsense\r\n")
        assert lines(caplog, ERROR)[11:] == [line]


@pytest.mark.parametrize("how", ["drain", "close"])
async def test_what_was_left_out_is_told_before_it_is_too_late(how, autojump_clock, caplog):
    error_log = rr.ErrorLog(lines=1, level=logging.WARNING)
    async with open_house(observers=[error_log], limits=rr.Limits(max_connections=1)) as house:
        for _ in range(3):
            peer = house.peer()
            await peer.say(b"nonsense\r\n")
            await peer.close()
        first = house.peer()
        await first.say(GET)
        for _ in range(5):
            await house.peer().end()
        assert len(lines(caplog, ERROR)) == 2
        if how == "drain":
            async with trio.open_nursery() as nursery:
                nursery.start_soon(house.listener.drain, 5)
                await trio.testing.wait_all_tasks_blocked()
                assert len(lines(caplog, ERROR)) == 4
    assert lines(caplog, ERROR) == [
        "refused a request of memory: bad_request_line (400)",
        "listener 'main' turned a connection away: max_connections",
        "2 rejected requests were left out of the log",
        "4 rejected connections were left out of the log",
    ]
    assert {record.levelno for record in caplog.records if record.name == ERROR} == {logging.WARNING}


async def test_what_the_level_leaves_out_is_not_counted(autojump_clock, caplog):
    caplog.set_level(logging.WARNING, ERROR)
    async with open_house() as house:
        for _ in range(20):
            peer = house.peer()
            await peer.say(b"nonsense\r\n")
            await peer.close()
        caplog.set_level(logging.INFO, ERROR)
        await house.peer().say(b"nonsense\r\n")
    assert lines(caplog, ERROR) == ["refused a request of memory: bad_request_line (400)"]


async def test_what_peers_do_is_told_quietly(autojump_clock, caplog):
    async with open_house(limits=rr.Limits(min_bytes_per_second=0)) as house:
        await house.peer().say(b"GET / HT")
        await trio.sleep(40)
        peer, stream = house.slow_peer(0)
        await peer.say(GET)
        stream.reset()
        await house.peer().close()
        gone = house.peer()
        await gone.say(b"GET / HT")
        await gone.close()
        await house.empty()
    first, second = lines(caplog, ERROR)
    assert first == "a request of memory took too long to come (head)"
    assert second.startswith("the response to <Request ")
    assert second.endswith(" GET /> failed: the peer went away (buffered_response)")
    assert {record.levelno for record in caplog.records} == {logging.INFO}


async def test_a_throttled_request_is_told_in_moderation(autojump_clock, caplog):
    error_log = rr.ErrorLog(lines=2)
    for _ in range(5):
        error_log.request_throttled(rr.RequestThrottled(a_request(), "rate_limit", 429, 0.0))
    error_log.listener_drain(rr.ListenerDraining("main", 0.0, 0.0))
    error_log.listener_close(rr.ListenerClosed("main", 0.0))
    assert lines(caplog, ERROR) == [
        *["throttled a request of 192.0.2.1:1234: rate_limit (429)"] * 2,
        "3 throttled requests were left out of the log",
    ]


async def test_a_peers_name_cannot_break_a_line_of_the_error_log(autojump_clock, caplog):
    error_log = rr.ErrorLog()
    error_log.request_rejected(rr.RequestRejected("main", "/run/\n\x1b", "bad_version", 505, "head", None, False, 0.0))
    assert lines(caplog, ERROR) == ["refused a request of /run/\\x0a\\x1b: bad_version (505)"]


async def test_failures_are_not_damped(autojump_clock, caplog):
    async def crash(request):
        raise ValueError("secret")

    async with open_house(crash) as house:
        for _ in range(30):
            peer = house.peer()
            await peer.say(GET)
            await peer.close()
    records = [record for record in caplog.records if record.name == ERROR]
    assert len(records) == 30
    assert all(record.exc_info and str(record.exc_info[1]) == "secret" for record in records)


@pytest.mark.parametrize("given", [[], [rr.ErrorLog()]])
async def test_there_is_one_error_log_given_or_not(given, autojump_clock, caplog):
    async with open_house(observers=given) as house:
        await house.peer().say(b"nonsense\r\n")
    assert len(lines(caplog, ERROR)) == 1


# -- which request it is -------------------------------------------------------------------------

log = logging.getLogger("some_application")


@pytest.fixture
def context(caplog):
    """Puts the request on every record that is captured."""
    caplog.set_level(logging.DEBUG)
    added = rr.LogContext()
    caplog.handler.addFilter(added)
    yield
    caplog.handler.removeFilter(added)


def ids(caplog):
    return [
        (record.getMessage(), record.request_id, record.method, record.path, record.peer) for record in caplog.records
    ]


@pytest.mark.usefixtures("context")
async def test_every_line_of_a_handler_says_which_request_it_is(autojump_clock, caplog):
    async def later():
        await trio.sleep(1)
        log.info("task")

    async def handler(request):
        log.info("handler")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(later)
            await trio.to_thread.run_sync(log.info, "thread")
        if request.path == "/crash":
            raise ValueError
        return rr.Response()

    async with open_house(handler, log_context=True) as house:
        peer, other = house.peer(), house.peer()
        await peer.say(b"GET /a?b HTTP/1.1\r\nHost: h\r\n\r\n")
        await other.say(b"GET /crash HTTP/1.1\r\nHost: h\r\n\r\n")
        await trio.sleep(5)
        started = {event.path: event.request_id for name, event in house.watch.events if name == "start"}
    a = (started["/a"], "GET", "/a", "memory")
    crash = (started["/crash"], "GET", "/crash", "memory")
    assert sorted(ids(caplog)) == sorted(
        [(message, *request) for message in ("handler", "thread", "task") for request in (a, crash)]
        + [(f"the handler of <Request {started['/crash']} GET /crash> failed", *crash)]
    )


@pytest.mark.usefixtures("context")
async def test_a_head_that_is_none_has_not_the_name_of_the_last_request(autojump_clock, caplog):
    async with open_house(log_context=True, observers=[rr.AccessLog("{path}")]) as house:
        peer = house.peer()
        await peer.say(GET)
        await peer.say(b"nonsense\r\n")
    assert [record[0::3] for record in ids(caplog)] == [
        ("/", "/"),
        ("refused a request of memory: bad_request_line (400)", "-"),
    ]


@pytest.mark.usefixtures("context")
async def test_a_body_that_is_refused_has_the_name_of_its_request(autojump_clock, caplog):
    async with open_house(log_context=True) as house:
        await house.peer().say(post(b"Content-Length: 99999999"))
    assert [record[2:4] for record in ids(caplog)] == [("POST", "/")]


@pytest.mark.usefixtures("context")
async def test_what_a_record_says_already_stays(autojump_clock, caplog):
    async def handler(request):
        log.info("mine", extra={"request_id": "mine"})
        return rr.Response()

    async with open_house(handler, log_context=True) as house:
        await house.peer().say(GET)
    assert [record[1:3] for record in ids(caplog)] == [("mine", "GET")]


async def test_without_the_option_there_is_no_current_request(autojump_clock):
    seen = []

    async def handler(request):
        seen.append(rr.current_request.get())
        return rr.Response()

    async with open_house(handler) as house:
        await house.peer().say(GET)
    assert seen == [None]


async def test_a_served_connection_leaves_the_callers_context_as_it_was(autojump_clock):
    seen = []
    mine = a_request()

    async def handler(request):
        seen.append(rr.current_request.get() is request)
        return rr.Response()

    ours, theirs = trio.testing.memory_stream_pair()
    await ours.send_all(GET)
    await ours.send_eof()
    before = rr.current_request.set(mine)
    await rr.serve_connection(theirs, handler, log_context=True)
    assert seen == [True]
    assert rr.current_request.get() is mine
    rr.current_request.reset(before)


# -- the rest of the log -------------------------------------------------------------------------


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


@pytest.mark.parametrize("notation", ["json", "logfmt"])
def test_an_access_line_in_the_same_notation_passes(notation, caplog):
    rr.AccessLog(notation).request_stop(an_end())
    rr.AccessLog("text").request_stop(an_end())
    formatter = rr.LogFormatter(notation)
    same, other = (formatter.format(each) for each in caplog.records)
    assert same == caplog.messages[0]
    assert caplog.messages[1] in (json.loads(other) if notation == "json" else read_logfmt(other))["message"]


def test_a_formatter_knows_two_notations():
    with pytest.raises(ValueError, match="json or logfmt, not 'text'"):
        rr.LogFormatter("text")
