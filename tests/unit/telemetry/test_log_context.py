"""Which request a line of a log is about."""

from __future__ import annotations

import logging

import pytest
import trio
from log_tools import a_request
from story_tools import GET, open_house, post

import roadrunner_trio as rr

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
