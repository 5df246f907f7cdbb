"""What comes of what an application sends: rows T of the conformance table."""

from __future__ import annotations

import http
import sys

import pytest
import trio
from asgi_tools import KINDS, Notes, asgi_house, body, start
from story_tools import GET, GET_10, answer, last_word, loud, open_house

import roadrunner_trio as rr
from roadrunner_trio.apps.asgi import Disconnected, asgi

HEAD = b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n"
ERROR = last_word(b"500 Internal Server Error")
CHUNKED = b"HTTP/1.1 200 OK\r\ndate: D\r\ntransfer-encoding: chunked\r\n\r\n"


def says(*messages):
    """An application that sends these."""

    async def app(scope, receive, send):
        for message in messages:
            await send(message)

    return app


async def heard(app, request=GET, *, end=False, kind="memory", **options):
    """What a peer hears of it."""
    async with asgi_house(app, **options) as house:
        peer = house.meet(kind)
        await peer.say(request)
        await trio.sleep(1)
        return await peer.end() if end else peer.take()


@pytest.mark.parametrize("kind", KINDS)
async def test_asgi_t1_nothing_is_out_before_the_body(kind, autojump_clock, caplog):
    async def app(scope, receive, send):
        await send(start(201))
        await trio.sleep(0.5)
        raise ValueError

    assert await heard(app, kind=kind, end=True) == ERROR
    assert len(loud(caplog)) == 1


@pytest.mark.parametrize(
    "headers",
    [
        [(b"x", b"1"), (b"y", b"2")],
        [[b"x", b"1"], [b"y", b"2"]],
        ((name, value) for name, value in [(b"x", b"1"), (b"y", b"2")]),
        iter([[b"x", b"1"], iter((b"y", b"2"))]),
        {b"x": b"1", b"y": b"2"}.items(),
        [(bytearray(b"x"), memoryview(b"1")), (b"y", b"2")],
    ],
    ids=["tuples", "lists", "generator", "iterators", "items", "bytes-like"],
)
async def test_asgi_t2_report_uvicorn_366_headers_are_any_iterable(headers, autojump_clock):
    app = says({**start(), "headers": headers}, body(b"hi"))
    assert await heard(app) == answer(b"hi").replace(b"content-length", b"x: 1\r\ny: 2\r\ncontent-length")


async def test_asgi_t3_names_are_in_lower_case_on_the_wire(autojump_clock):
    assert b"\r\nx-up: Value\r\n" in await heard(says(start(200, (b"X-Up", b"Value")), body()))


@pytest.mark.parametrize(
    "header",
    [
        (b"x y", b"v"),
        (b"", b"v"),
        (b"x:", b"v"),
        (b"x", b"a\r\nset-cookie: b"),
        (b"x", b"a\n"),
        (b"x", b"a\0"),
        (b"x\r\n", b"a"),
        (b"x",),
        (b"x", b"y", b"z"),
    ],
)
async def test_asgi_t3_a_header_that_is_none_is_an_error_of_the_application(header, autojump_clock, caplog):
    app = Notes(says({**start(), "headers": [header]}, body(b"hi")))
    assert await heard(app, end=True) == ERROR
    assert isinstance(app.errors[0], ValueError)
    assert len(loud(caplog)) == 1


@pytest.mark.parametrize("header", [("x", b"v"), (b"x", "v"), (b"x", 1), (None, b"v")])
async def test_asgi_t4_a_header_that_is_no_bytes_is_a_type_error(header, autojump_clock):
    app = Notes(says({**start(), "headers": [header]}, body(b"hi")))
    assert await heard(app, end=True) == ERROR
    assert isinstance(app.errors[0], TypeError)


async def test_asgi_t5_framing_and_connection_are_wishes(autojump_clock):
    app = says(start(200, (b"transfer-encoding", b"chunked"), (b"connection", b"keep-alive")), body(b"hi"))
    assert await heard(app) == answer(b"hi")
    app = says(start(200, (b"connection", b"close")), body(b"hi"))
    assert await heard(app, end=True) == answer(b"hi", b"connection: close")


async def test_asgi_t6_a_body_that_comes_at_once_has_its_length(autojump_clock):
    assert await heard(says(start(), body(b"12345"))) == answer(b"12345")


async def test_asgi_t7_report_34_to_http_10_nothing_is_chunked(autojump_clock):
    assert await heard(says(start(), body(b"hi")), GET_10, end=True) == answer(b"hi", b"connection: close")
    streamed = await heard(says(start(), body(b"h", more_body=True), body(b"i")), GET_10, end=True)
    assert streamed == b"HTTP/1.1 200 OK\r\ndate: D\r\nconnection: close\r\n\r\nhi"


@pytest.mark.parametrize("more", [False, True])
async def test_asgi_t8_head_has_the_length_and_no_body(more, autojump_clock):
    app = says(start(200, (b"content-length", b"5")), body(b"12345", more_body=more), *([body()] if more else []))
    assert await heard(app, HEAD) == answer(b"12345")[:-5]


async def test_asgi_t8_report_gunicorn_pr_3621_head_and_304_keep_their_length(autojump_clock):
    whole = b"HTTP/1.1 %b\r\ndate: D\r\ncontent-length: 9\r\n\r\n"
    assert await heard(says(start(200, (b"content-length", b"9")), body()), HEAD) == whole % b"200 OK"
    assert await heard(says(start(304, (b"content-length", b"9")), body())) == whole % b"304 Not Modified"
    assert await heard(says(start(), body(b"hi")), HEAD) == answer(b"hi")[:-2], "computed, where nothing is said"


@pytest.mark.parametrize("status", [204, 304])
@pytest.mark.parametrize("more", [False, True])
async def test_asgi_t8_report_starlette_1764_a_body_that_may_not_be_is_dropped(status, more, autojump_clock, caplog):
    app = says(start(status), body(b"null", more_body=more), *([body()] if more else []))
    response = await heard(app)
    assert response.startswith(b"HTTP/1.1 %d " % status)
    assert response.endswith(b"date: D\r\n\r\n")
    assert loud(caplog) == []


@pytest.mark.parametrize("length", [b"1", b"3"])
async def test_asgi_t9_a_length_that_is_not_the_bodys_is_an_error(length, autojump_clock, caplog):
    app = Notes(says(start(200, (b"content-length", length)), body(b"hi")))
    assert await heard(app, end=True) == ERROR, "a body that is cut short elsewhere must not look whole"
    assert str(app.errors[0]) == f"the response has 2 octets, and declares {length.decode()}"


async def test_asgi_t9_a_stream_that_is_too_long_has_no_octet_too_many(autojump_clock):
    app = Notes(says(start(200, (b"content-length", b"3")), body(b"ab", more_body=True), body(b"cd")))
    assert (await heard(app, end=True)).endswith(b"content-length: 3\r\n\r\nab")
    assert "4 octets" in str(app.errors[0])


async def test_asgi_t9_report_uvicorn_956_a_stream_that_is_too_short_is_cut_and_both_numbers_told(
    autojump_clock, caplog
):
    app = Notes(says(start(200, (b"content-length", b"10")), body(b"abc", more_body=True), body()))
    assert (await heard(app, end=True)).endswith(b"content-length: 10\r\n\r\nabc")
    assert str(app.errors[0]) == "the response ended after 3 octets, and declares 10"
    assert "after 3 octets, and declares 10" in str(caplog.records[0].exc_info[1])


@pytest.mark.parametrize(
    "messages",
    [
        [start(), start()],
        [body(b"hi")],
        [{"type": "http.response.push", "path": "/", "headers": []}],
        [{"type": "nonsense"}],
        [start(), {"type": "http.response.debug", "info": {}}],
        [{"status": 200}],
        [{"type": "http.response.start"}],
        [start(), {"type": "http.response.trailers", "headers": []}],
        [{"type": "http.response.pathsend", "path": "/"}],
    ],
)
async def test_asgi_t10_report_33_what_does_not_come_now_is_refused(messages, autojump_clock, caplog):
    app = Notes(says(*messages))
    assert await heard(app, end=True) == ERROR
    assert isinstance(app.errors[0], RuntimeError | KeyError)
    assert len(loud(caplog)) == 1


async def test_asgi_t10_a_second_start_inside_a_body_is_refused(autojump_clock):
    app = Notes(says(start(), body(b"a", more_body=True), start()))
    assert await heard(app, end=True) == CHUNKED + b"1\r\na\r\n", "cut: it has no end"
    assert str(app.errors[0]) == "'http.response.start' cannot be sent inside a body"


async def test_asgi_t11_what_comes_too_late_is_ignored_with_one_warning(autojump_clock, caplog):
    assert await heard(says(start(), body(b"hi"), body(b"more"), start(500), body())) == answer(b"hi")
    [told] = loud(caplog)
    assert "came after its response was complete" in told


@pytest.mark.parametrize(
    ("messages", "words"),
    [([], "before http.response.start"), ([start()], "after http.response.start")],
)
async def test_asgi_t12_no_response_is_500_and_one_line(messages, words, autojump_clock, caplog):
    assert await heard(says(*messages), end=True) == ERROR
    [record] = caplog.records
    assert words in str(record.exc_info[1])


async def test_asgi_t12_half_a_body_is_cut(autojump_clock, caplog):
    assert await heard(says(start(), body(b"a", more_body=True)), end=True) == CHUNKED + b"1\r\na\r\n"
    head = start(200, (b"content-length", b"3"))
    assert (await heard(says(head, body(b"a", more_body=True)), end=True)).endswith(b"3\r\n\r\na")
    assert [str(record.exc_info[1]) for record in caplog.records] == [
        "the application ended without the end of its response, inside a body",
        "the application ended after 1 of 3 octets",
    ]


@pytest.mark.parametrize("status", [100, 101, 103, 123, 199, 600, 1000, 0, -1, "200", None, 200.0])
async def test_asgi_t13_a_status_that_is_not_final_is_an_error(status, autojump_clock):
    app = Notes(says(start(status), body(b"hi")))
    assert await heard(app, end=True) == ERROR
    assert isinstance(app.errors[0], ValueError)


async def test_asgi_t13_a_status_may_be_one_of_pythons(autojump_clock):
    assert (await heard(says(start(http.HTTPStatus.CREATED), body()))).startswith(b"HTTP/1.1 201 Created\r\n")


@pytest.mark.parametrize("data", [b"hi", bytearray(b"hi"), memoryview(b"hi")])
@pytest.mark.parametrize("more", [False, True])
async def test_asgi_t14_a_body_is_anything_like_bytes(data, more, autojump_clock):
    response = await heard(says(start(), body(data, more_body=more), *([body()] if more else [])))
    assert response == (CHUNKED + b"2\r\nhi\r\n0\r\n\r\n" if more else answer(b"hi"))


@pytest.mark.parametrize("data", ["hi", 2, None, [b"hi"]])
async def test_asgi_t14_report_33_and_nothing_else(data, autojump_clock, caplog):
    app = Notes(says(start(), body(data)))
    assert await heard(app, end=True) == ERROR
    assert isinstance(app.errors[0], TypeError)
    assert len(loud(caplog)) == 1


@pytest.mark.parametrize("kind", KINDS)
async def test_asgi_t15_report_hypercorn_59_to_a_peer_that_is_gone_send_raises(kind, autojump_clock, caplog):
    async def app(scope, receive, send):
        await send(start())
        try:
            while True:
                await send(body(b"x" * 1000, more_body=True))
                await trio.sleep(0.1)
        except OSError:
            with pytest.raises(OSError):
                await send(body(b"again", more_body=True))
            raise

    notes = Notes(app)
    async with asgi_house(notes) as house:
        peer = house.meet(kind)
        await peer.say(GET)
        await trio.sleep(1)
        await peer.close()
        assert await house.empty() < 2
    assert type(notes.errors[0]) is Disconnected
    assert isinstance(notes.errors[0], rr.PeerGone)
    assert house.watch.only("exception").outcome == "gone"
    assert loud(caplog) == []


async def test_asgi_t15_any_exception_that_came_of_it_is_the_peers_doing(autojump_clock, caplog):
    async def app(scope, receive, send):
        await send(start())
        try:
            while True:
                await send(body(b"x", more_body=True))
                await trio.sleep(0.1)
        except OSError as exc:
            async with trio.open_nursery():
                raise RuntimeError("what a framework makes of it") from exc

    async with asgi_house(app) as house:
        peer = house.meet("tcp")
        await peer.say(GET)
        await peer.close()
        await house.empty()
    assert loud(caplog) == []


async def test_asgi_t15_an_error_that_did_not_come_of_it_is_told(autojump_clock, caplog):
    async def app(scope, receive, send):
        await receive()
        await receive()
        raise LookupError("a fault in the clean-up")

    async with asgi_house(app) as house:
        peer = house.meet("tcp")
        await peer.say(GET)
        await peer.close()
        await house.empty()
    assert len(loud(caplog)) == 1


async def test_asgi_t16_send_waits_for_a_slow_peer_and_no_longer_than_the_write_timeout(autojump_clock, caplog):
    sent = []

    async def app(scope, receive, send):
        await send(start())
        while True:
            await send(body(b"x" * 100_000, more_body=True))
            sent.append(trio.current_time())

    async with asgi_house(app, settings={"timeouts": rr.Timeouts(write=7)}) as house:
        peer, _ = house.slow_peer(1000)
        await peer.say(GET)
        assert await house.empty() == 7
    assert sent == []
    assert loud(caplog) == []


async def test_asgi_t17_what_may_be_missing(autojump_clock):
    app = says({"type": "http.response.start", "status": 200}, {"type": "http.response.body"})
    assert await heard(app) == answer(b"")


async def test_a_stream_goes_out_piece_by_piece(autojump_clock):
    async def app(scope, receive, send):
        await send(start())
        for piece in (b"one", b"", b"two"):
            await send(body(piece, more_body=True))
            await trio.sleep(1)
        await send(body())

    async with asgi_house(app) as house:
        peer = house.meet("tcp")
        await peer.say(GET)
        assert await peer.until(b"one\r\n") == CHUNKED + b"3\r\none\r\n"
        assert await peer.until(b"0\r\n\r\n") == b"3\r\ntwo\r\n0\r\n\r\n"


async def test_what_a_repeated_request_costs_in_calls(autojump_clock):
    """Counted, not timed: no step of ours too many, and two coroutines for two messages."""
    calls: list[str] = []

    def note(frame, event, _):
        if event == "call" and "roadrunner_trio/apps/" in frame.f_code.co_filename:
            calls.append(frame.f_code.co_name)

    async def app(scope, receive, send):
        await send(start())
        await send(body(b"hi"))

    hosted = asgi(app, lifespan="off")

    class Counted:
        def plan(self, request):
            return hosted.plan(request)

        async def __call__(self, exchange):
            calls.clear()
            sys.setprofile(note)
            try:
                await hosted(exchange)
            finally:
                sys.setprofile(None)

    async with open_house(Counted(), tcp=True) as house:
        peer = house.meet("tcp")  # whose socket takes it without a wait
        for _ in range(2):
            await peer.say(GET)
            await peer.until(b"hi")
    steps = "__call__ fits __init__ make send _take_start status_of parted send _whole octets_of"
    assert calls == steps.split()
