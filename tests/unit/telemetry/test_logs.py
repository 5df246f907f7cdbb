"""Logs: who is told of what, at which level, and how often."""

from __future__ import annotations

import logging
import time

import pytest
import trio
from log_tools import a_request, an_end, written
from story_tools import GET, open_house, post

import roadrunner_trio as rr
from roadrunner_trio.telemetry.logs import Damper, Records

ACCESS, ERROR = "roadrunner_trio.access", "roadrunner_trio.error"


@pytest.fixture(autouse=True)
def everything_is_logged(caplog):
    caplog.set_level(logging.DEBUG, "roadrunner_trio")


def lines(caplog, logger):
    return [record.getMessage() for record in caplog.records if record.name == logger]


# -- the access log ------------------------------------------------------------------------------


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


async def test_questions_of_balancers_are_told_at_debug_unless_the_answer_is_news(autojump_clock, caplog):
    async with open_house(observers=[rr.AccessLog()], health_path="/healthz") as house:
        peer = house.peer()
        question = b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n"
        await peer.say(question)
        await peer.say(GET)
        house.listener.retire()
        await peer.say(question)
    levels = [record.levelname for record in caplog.records if record.name == ACCESS]
    assert levels == ["DEBUG", "INFO", "INFO"]
