"""The extensions, rows E of the conformance table, and what a drain tells an application."""

from __future__ import annotations

import os

import pytest
import trio
from asgi_tools import KINDS, Notes, asgi_house, body, hi, start
from story_tools import GET, GET_10, answer, last_word, loud

ERROR = last_word(b"500 Internal Server Error")
TE = b"GET / HTTP/1.1\r\nHost: h\r\nTE: trailers\r\n\r\n"
HEAD = b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n"
TRAILERS = b"HTTP/1.1 200 OK\r\ndate: D\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n%b\r\n"
DISCONNECT = {"type": "http.disconnect"}


def says(*messages):
    async def app(scope, receive, send):
        for message in messages:
            await send(message)

    return app


async def heard(app, request=GET, *, end=False, until=None, kind="memory", **options):
    async with asgi_house(app, **options) as house:
        peer = house.meet(kind)
        await peer.say(request)
        if until is not None:  # a thread reads, for which the virtual clock does not wait
            return await peer.until(until)
        await trio.sleep(1)
        return await peer.end() if end else peer.take()


def trailers(*headers, more=False):
    return {"type": "http.response.trailers", "headers": list(headers), "more_trailers": more}


# -- trailers -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pieces", [[body(b"hi")], [body(b"hi", more_body=True), body()]])
async def test_asgi_e1_trailers_in_several_messages_are_one_section(pieces, autojump_clock):
    app = says(start(trailers=True), *pieces, trailers((b"X-A", b"1"), more=True), trailers((b"x-b", b"2")))
    assert await heard(app, TE) == TRAILERS % b"x-a: 1\r\nx-b: 2\r\n"


@pytest.mark.parametrize("request_", [GET, HEAD])
async def test_asgi_e1_nobody_is_sent_trailers_who_did_not_ask(request_, autojump_clock, caplog):
    app = says(start(trailers=True), body(b"hi"), trailers((b"x", b"1"), more=True), trailers())
    assert await heard(app, request_) == answer(b"hi")[: -2 if request_ is HEAD else None]
    assert loud(caplog) == []


async def test_asgi_e1_a_response_of_a_known_length_has_none(autojump_clock):
    app = says(start(200, (b"content-length", b"2"), trailers=True), body(b"hi"), trailers((b"x", b"1")))
    assert await heard(app, TE) == answer(b"hi")


async def test_asgi_e1_unannounced_trailers_are_an_error_and_forbidden_names_too(autojump_clock, caplog):
    app = Notes(says(start(), body(b"hi", more_body=True), trailers((b"x", b"1"))))
    await heard(app, TE, end=True)
    assert "inside a body" in str(app.errors[0])
    app = Notes(says(start(trailers=True), body(b"hi"), trailers((b"Content-Length", b"1"))))
    assert not (await heard(app, TE, end=True)).endswith(b"0\r\n\r\n")
    assert "may not be a trailer" in str(app.errors[0])


async def test_asgi_e1_promised_trailers_that_do_not_come_are_an_error(autojump_clock, caplog):
    await heard(says(start(trailers=True), body(b"hi")), TE, end=True)
    assert "where trailers are due" in str(caplog.records[0].exc_info[1])


# -- early hints ----------------------------------------------------------------------------------------

HINTS = {"type": "http.response.early_hint", "links": [b"</a>; rel=preload", b"</b>; rel=preload"]}
HINTED = b"HTTP/1.1 103 Early Hints\r\nlink: </a>; rel=preload\r\nlink: </b>; rel=preload\r\n\r\n"


async def test_asgi_e2_early_hints_before_and_after_start(autojump_clock):
    assert await heard(says(HINTS, start(), HINTS, body(b"hi"))) == HINTED * 2 + answer(b"hi")


async def test_asgi_e2_not_inside_a_body_and_not_to_http_10(autojump_clock):
    app = says(start(), body(b"h", more_body=True), HINTS, body(b"i"))
    assert b"103" not in await heard(app)
    assert b"103" not in await heard(says(HINTS, start(), body(b"hi")), GET_10, end=True)


@pytest.mark.parametrize("links", [["</a>"], [b"</a>\r\nx: y"]])
async def test_asgi_e2_a_link_that_is_none(links, autojump_clock, caplog):
    assert await heard(says({**HINTS, "links": links}), end=True) == ERROR


# -- files ----------------------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    return path


def pathsend(path):
    return {"type": "http.response.pathsend", "path": str(path)}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("headers", [[], [(b"content-length", b"10")]])
async def test_asgi_e3_a_file_by_its_path(kind, headers, file, autojump_clock):
    response = await heard(says(start(200, *headers), pathsend(file)), kind=kind, until=b"89")
    assert response == answer(b"0123456789")
    assert await heard(says(start(200, *headers), pathsend(file)), HEAD, kind=kind) == answer(b"0123456789")[:-10]


async def test_asgi_e3_what_the_application_declares_is_sent(file, autojump_clock):
    app = says(start(200, (b"content-length", b"3")), pathsend(file))
    assert await heard(app, until=b"012") == answer(b"012")


@pytest.mark.parametrize("path", ["relative", "/nowhere/at/all", "/"])
async def test_asgi_e3_a_file_that_cannot_be_sent_is_an_error_while_500_is_possible(path, autojump_clock, caplog):
    app = Notes(says(start(), pathsend(path)))
    assert await heard(app, end=True) == ERROR
    assert isinstance(app.errors[0], ValueError | OSError)


async def test_asgi_e3_a_file_that_is_too_short(file, autojump_clock, caplog):
    assert await heard(says(start(200, (b"content-length", b"11")), pathsend(file)), end=True) == ERROR


async def test_asgi_e3_once_and_instead_of_a_body(file, autojump_clock, caplog):
    app = Notes(says(start(), body(b"a", more_body=True), pathsend(file)))
    await heard(app, end=True)
    assert "inside a body" in str(app.errors[0])


def zerocopy(source, **more):
    return {"type": "http.response.zerocopysend", "file": source, **more}


@pytest.mark.parametrize("kind", KINDS)
async def test_asgi_e4_a_range_of_an_open_file(kind, file, autojump_clock):
    with file.open("rb") as source:
        assert await heard(says(start(), zerocopy(source)), kind=kind, until=b"89") == answer(b"0123456789")
        app = says(start(), zerocopy(source, offset=2, count=3))
        assert await heard(app, kind=kind, until=b"234") == answer(b"234")
        source.seek(8)
        app = says(start(), zerocopy(source))
        assert await heard(app, kind=kind, until=b"89") == answer(b"89"), "from where it stands"
        assert source.tell() == 10
        assert not source.closed
        assert await heard(says(start(), zerocopy(source, offset=20)), kind=kind) == answer(b"")


@pytest.mark.parametrize("kind", KINDS)
async def test_asgi_e4_mixed_with_pieces_of_a_body(kind, file, autojump_clock):
    class Descriptor:
        def __init__(self, number):
            self.fileno = lambda: number

    number = os.open(file, os.O_RDONLY)
    try:
        source = Descriptor(number)
        app = says(
            start(200, (b"content-length", b"9")),
            body(b"<<", more_body=True),
            zerocopy(source, count=4, more_body=True),
            zerocopy(source, count=1, more_body=True),
            body(b">>"),
        )
        assert await heard(app, kind=kind, until=b">>") == answer(b"<<01234>>")
        assert os.lseek(number, 0, os.SEEK_CUR) == 5, "and it is open yet"
        chunked = says(start(), zerocopy(source, offset=0, count=2, more_body=True), body(b"!"))
        assert (await heard(chunked, kind=kind, until=b"0\r\n\r\n")).endswith(b"2\r\n01\r\n1\r\n!\r\n0\r\n\r\n")
    finally:
        os.close(number)


async def test_asgi_e4_more_than_was_declared_is_not_sent(file, autojump_clock, caplog):
    with file.open("rb") as source:
        app = Notes(says(start(200, (b"content-length", b"5")), zerocopy(source, more_body=True)))
        assert (await heard(app, end=True)).endswith(b"content-length: 5\r\n\r\n")
    assert "10 octets" in str(app.errors[0])


@pytest.mark.parametrize("more", [{"offset": -1}, {"count": -1}])
async def test_asgi_e4_a_range_that_is_none(more, file, autojump_clock, caplog):
    with file.open("rb") as source:
        assert await heard(says(start(), zerocopy(source, **more)), end=True) == ERROR


# -- the drain ------------------------------------------------------------------------------------------

EVENTS = (b"content-type", b"text/event-stream; charset=utf-8")


def stream_until_disconnect(*headers, then=None):
    """As sse-starlette: it returns without an end when it is told of one."""

    async def app(scope, receive, send):
        await receive()
        await send(start(200, *headers))
        await send(body(b"tick", more_body=True))
        while (await receive())["type"] != "http.disconnect":
            pass
        app.told.append(trio.current_time())
        if then is not None:
            await then(send)

    app.told = []
    return app


@pytest.mark.parametrize("kind", KINDS)
async def test_asgi_e8_report_19_report_sse_starlette_1_event_streams_are_told_of_a_drain_at_once(
    kind, autojump_clock, caplog
):
    app = stream_until_disconnect(EVENTS)
    async with asgi_house(app) as house:
        peer = house.meet(kind)
        await peer.say(GET)
        await trio.sleep(1)
        assert (await house.listener.drain(10)).cut == 0
        assert app.told == [1]
        assert (await peer.end()).endswith(b"4\r\ntick\r\n0\r\n\r\n"), "an end that its reader can tell from a cut"
    assert loud(caplog) == []


@pytest.mark.parametrize("kind", KINDS)
async def test_asgi_e8_what_an_event_stream_says_after_it_was_told_goes_out(kind, autojump_clock):
    async def bye(send):
        await send(body(b"bye"))

    async with asgi_house(stream_until_disconnect(EVENTS, then=bye)) as house:
        peer = house.meet(kind)
        await peer.say(GET)
        await trio.sleep(1)
        await house.listener.drain(10)
        assert (await peer.end()).endswith(b"4\r\ntick\r\n3\r\nbye\r\n0\r\n\r\n")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("headers", "options"), [([(b"content-type", b"text/plain")], {}), ([EVENTS], {"drain_events": "deadline"})]
)
async def test_asgi_e8_report_19_others_are_told_a_little_before_the_deadline(
    kind, headers, options, autojump_clock, caplog
):
    app = stream_until_disconnect(*headers)
    async with asgi_house(app, **options) as house:
        peer = house.meet(kind)
        await peer.say(GET)
        await trio.sleep(1)
        await house.listener.drain(5)
        assert app.told == [pytest.approx(1 + 5 - 0.5)]
        assert (await peer.end()).endswith(b"0\r\n\r\n") is bool(options)
    assert loud(caplog) == []


async def test_asgi_e8_nobody_is_told_where_that_is_wanted(autojump_clock):
    app = stream_until_disconnect(EVENTS)
    async with asgi_house(app, drain_events="none") as house:
        peer = house.peer()
        await peer.say(GET)
        assert (await house.listener.drain(5)).cut == 1
    assert app.told == []


async def test_asgi_e8_a_mere_notice_ends_event_streams_alone(autojump_clock):
    app = stream_until_disconnect((b"content-type", b"text/plain"))
    async with asgi_house(app) as house:
        peer = house.peer()
        await peer.say(GET)
        house.listener.notify(5)
        await trio.sleep(20)
    assert app.told == []


async def test_asgi_e8_who_has_not_answered_at_the_deadline_is_503(autojump_clock, caplog):
    async def app(scope, receive, send):
        await receive()
        await receive()

    async with asgi_house(app) as house:
        peer = house.peer()
        await peer.say(GET)
        await house.listener.drain(5)
        assert (await peer.end()).startswith(b"HTTP/1.1 503 ")
    assert loud(caplog) == []


@pytest.mark.parametrize("kind", KINDS)
async def test_asgi_e8_an_event_stream_that_begins_in_a_drain_is_told_when_it_does(kind, autojump_clock):
    async def app(scope, receive, send):
        await receive()
        async with trio.open_nursery() as nursery:

            async def listen():
                notes.append((await receive(), trio.current_time()))
                nursery.cancel_scope.cancel()

            nursery.start_soon(listen)
            await trio.sleep(2)
            await send(start(200, EVENTS))
            await send(body(b"tick", more_body=True))
            await trio.sleep_forever()

    notes = []
    async with asgi_house(app) as house:
        peer = house.meet(kind)
        await peer.say(GET)
        house.nursery.start_soon(house.listener.drain, 10)
        assert (await peer.end()).endswith(b"4\r\ntick\r\n0\r\n\r\n")
    assert notes == [(DISCONNECT, 2)]


async def test_report_27_work_after_the_response_is_waited_for_by_the_drain(autojump_clock):
    done = []

    async def app(scope, receive, send):
        await hi(scope, receive, send)
        await trio.sleep(3)
        done.append(True)

    async with asgi_house(app) as house:
        peer = house.peer()
        await peer.say(GET)
        assert (await house.listener.drain(10)).cut == 0
    assert done == [True]
