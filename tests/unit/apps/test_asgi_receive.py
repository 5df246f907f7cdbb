"""What an application is told by ``receive``: rows R of the conformance table, in memory and on sockets."""

from __future__ import annotations

import pytest
import trio
from asgi_tools import KINDS, Notes, asgi_house, body, hi, start
from story_tools import CONTINUE, GET, GET_CLOSE, answer, loud, post
from trio.testing import wait_all_tasks_blocked

import roadrunner_trio as rr

DISCONNECT = {"type": "http.disconnect"}
EMPTY = {"type": "http.request", "body": b"", "more_body": False}


async def read(receive):
    """The whole body; None when the peer left inside it."""
    got, more = b"", True
    while more:
        event = await receive()
        if event["type"] != "http.request":
            return None
        got, more = got + event["body"], event["more_body"]
    return got


async def echo(scope, receive, send):
    got = await read(receive)
    await send(start())
    await send(body(got))


@pytest.mark.parametrize("kind", KINDS)
async def test_asgi_r1_without_a_body_there_is_one_empty_event(kind, autojump_clock):
    async def app(scope, receive, send):
        await receive()
        await hi(scope, receive, send)

    notes = Notes(app)
    async with asgi_house(notes) as house:
        peer = house.meet(kind)
        await peer.say(GET)
        await peer.until(b"hi")
    assert notes.events == [EMPTY]


@pytest.mark.parametrize("kind", KINDS)
async def test_asgi_r2_the_last_event_says_so_and_none_is_empty(kind, autojump_clock):
    notes = Notes(echo)
    async with asgi_house(notes) as house:
        peer = house.meet(kind)
        for piece in (post(b"Content-Length: 6"), b"abc", b"def"):
            await peer.say(piece)
            await trio.sleep(1)
        assert await peer.until(b"abcdef") == answer(b"abcdef")
    assert notes.events == [
        {"type": "http.request", "body": b"abc", "more_body": True},
        {"type": "http.request", "body": b"def", "more_body": False},
    ]


@pytest.mark.parametrize("kind", KINDS)
async def test_asgi_r3_continue_is_said_when_the_body_is_wanted(kind, autojump_clock):
    async with asgi_house(echo) as house:
        peer = house.meet(kind)
        await peer.say(post(b"Content-Length: 3", b"Expect: 100-continue"))
        assert await peer.until(b"\r\n\r\n") == CONTINUE
        await peer.say(b"abc")
        assert await peer.until(b"abc") == answer(b"abc")


async def test_asgi_r3_and_never_to_who_is_answered_first(autojump_clock):
    async with asgi_house() as house:
        peer = house.peer()
        await peer.say(post(b"Content-Length: 3", b"Expect: 100-continue"))
        assert await peer.end() == answer(b"hi", b"connection: close")


@pytest.mark.parametrize("kind", KINDS)
async def test_asgi_r4_after_the_body_receive_waits_for_the_peer_to_go(kind, autojump_clock):
    async def app(scope, receive, send):
        await receive()
        await receive()

    notes = Notes(app)
    async with asgi_house(notes) as house:
        peer = house.meet(kind)
        await peer.say(GET)
        await trio.sleep(5)
        assert notes.events == [EMPTY]
        await peer.close()
        await trio.sleep(1)
        assert notes.events == [EMPTY, DISCONNECT]


@pytest.mark.parametrize("kind", KINDS)
async def test_asgi_r4_report_uvicorn_pr_147_and_for_the_response_to_be_complete(kind, autojump_clock):
    async def app(scope, receive, send):
        await receive()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            await trio.sleep(1)
            await hi(scope, receive, send)

    notes = Notes(app)
    async with asgi_house(notes) as house:
        peer = house.meet(kind)
        for _ in range(2):
            await peer.say(GET)
            assert await peer.until(b"hi") == answer(b"hi")
            await trio.sleep(1)
            assert notes.events.pop() == DISCONNECT


@pytest.mark.parametrize("kind", KINDS)
async def test_asgi_r4_who_waits_for_a_body_learns_that_the_response_is_complete(kind, autojump_clock):
    async def app(scope, receive, send):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            await trio.sleep(1)
            await hi(scope, receive, send)

    notes = Notes(app)
    async with asgi_house(notes) as house:
        peer = house.meet(kind)
        await peer.say(post(b"Content-Length: 3"))
        assert await peer.until(b"hi") == answer(b"hi")
        await peer.say(b"abc" + GET)
        assert await peer.until(b"hi") == answer(b"hi"), "the connection goes on"
    assert notes.events[0] == DISCONNECT


@pytest.mark.parametrize("kind", KINDS)
async def test_asgi_r5_after_a_complete_response_disconnect_at_once_every_time(kind, autojump_clock):
    async def app(scope, receive, send):
        await hi(scope, receive, send)
        with trio.CancelScope() as scope_:
            scope_.cancel()
            for _ in range(3):
                await receive()

    notes = Notes(app)
    async with asgi_house(notes) as house:
        peer = house.meet(kind)
        await peer.say(GET)
        await peer.until(b"hi")
    assert notes.events == [DISCONNECT] * 3


async def test_asgi_r6_report_anycorn_a_cancelled_scope_gets_what_is_ready_and_takes_nothing_else(autojump_clock):
    async def app(scope, receive, send):
        for _ in range(2):
            with trio.CancelScope() as scope_:
                scope_.cancel()
                await receive()
        assert len(notes.events) == 1, "nothing is ready"
        await trio.sleep(2)
        with trio.CancelScope() as scope_:
            scope_.cancel()
            await receive()
        assert not scope_.cancelled_caught
        await hi(scope, receive, send)

    notes = Notes(app)
    async with asgi_house(notes) as house:
        peer = house.meet("tcp")
        await peer.say(GET)
        await trio.sleep(1)
        await peer.finish()
        await peer.until(b"hi")
    assert notes.events == [EMPTY, DISCONNECT]


async def test_asgi_r6_the_end_inside_a_body_is_ready_too(autojump_clock):
    async def app(scope, receive, send):
        await receive()
        while notes.events[-1] != DISCONNECT:
            await trio.sleep(1)
            with trio.CancelScope() as asking:
                asking.cancel()
                await receive()

    notes = Notes(app)
    async with asgi_house(notes) as house:
        peer = house.meet("tcp")
        await peer.say(post(b"Content-Length: 9", body=b"abc"))
        await trio.sleep(1.5)
        await peer.say(b"def")
        await peer.close()
        assert await house.empty() < 5
    assert [event.get("body") for event in notes.events] == [b"abc", b"def", None]


@pytest.mark.parametrize("kind", KINDS)
async def test_asgi_r6_a_cancelled_wait_for_a_body_loses_nothing_of_it(kind, autojump_clock):
    async def app(scope, receive, send):
        for _ in range(3):
            with trio.move_on_after(0.5):
                await receive()
        await echo(scope, receive, send)

    async with asgi_house(app) as house:
        peer = house.meet(kind)
        await peer.say(post(b"Content-Length: 3"))
        await trio.sleep(2)
        await peer.say(b"abc")
        assert await peer.until(b"abc") == answer(b"abc")


@pytest.mark.parametrize("kind", KINDS)
async def test_asgi_r7_report_uvicorn_pr_124_the_peer_leaves_inside_the_body(kind, autojump_clock, caplog):
    async def app(scope, receive, send):
        assert await read(receive) is None

    notes = Notes(app)
    async with asgi_house(notes) as house:
        peer = house.meet(kind)
        await peer.say(post(b"Content-Length: 3", body=b"a"))
        await peer.close()
        await house.empty()
    assert notes.events[-1] == DISCONNECT
    assert house.watch.only("exception").outcome == "gone"
    assert loud(caplog) == [], "a peer that leaves is no error"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (post(b"Transfer-Encoding: chunked", body=b"xyz\r\n"), b"400 Bad Request"),
        (post(b"Transfer-Encoding: chunked", body=b"fff\r\n"), b"413 Content Too Large"),
        (post(b"Content-Length: 5"), b"408 Request Timeout"),
    ],
)
async def test_asgi_r8_a_body_that_cannot_be_had_is_a_disconnect_and_the_server_answers(
    request_, status, kind, autojump_clock, caplog
):
    class ClientDisconnect(Exception):
        pass

    async def app(scope, receive, send):
        if await read(receive) is None:
            assert await receive() == DISCONNECT
            with pytest.raises(OSError):
                await send(start())
            raise ClientDisconnect

    async with asgi_house(app, max_body=100, settings={"timeouts": rr.Timeouts(body=3, keep_alive=9)}) as house:
        peer = house.meet(kind)
        await peer.say(request_)
        assert await peer.end() == answer(b"", b"connection: close", status=status)
    assert loud(caplog) == []


async def test_asgi_r8_an_error_of_the_application_is_its_own_all_the_same(autojump_clock, caplog):
    async def app(scope, receive, send):
        await read(receive)
        raise LookupError

    async with asgi_house(app) as house:
        peer = house.peer()
        await peer.say(post(b"Transfer-Encoding: chunked", body=b"xyz\r\n"))
        assert await peer.end() == answer(b"", b"connection: close", status=b"500 Internal Server Error")
    assert len(loud(caplog)) == 1


@pytest.mark.parametrize("kind", KINDS)
async def test_asgi_r9_two_tasks_in_receive_are_both_served(kind, autojump_clock):
    async def app(scope, receive, send):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            nursery.start_soon(receive)

    notes = Notes(app)
    async with asgi_house(notes) as house:
        peer = house.meet(kind)
        await peer.say(post(b"Content-Length: 6"))
        await peer.say(b"abcdef")
        await trio.sleep(1)
        assert [event["type"] for event in notes.events] == ["http.request"]
        await peer.close()
        await house.empty()
    assert [event["type"] for event in notes.events] == ["http.request", "http.disconnect"]


@pytest.mark.parametrize("kind", KINDS)
async def test_asgi_r10_a_pipelined_request_is_neither_a_disconnect_nor_a_body(kind, autojump_clock):
    async def app(scope, receive, send):
        with trio.move_on_after(1):
            await receive()
            await receive()
        await hi(scope, receive, send)

    notes = Notes(app)
    async with asgi_house(notes) as house:
        peer = house.meet(kind)
        await peer.say(GET + GET)
        await trio.sleep(3)
        assert peer.take() == answer(b"hi") * 2
    assert notes.events == [EMPTY] * 2


async def test_report_uvicorn_241_a_disconnect_is_of_one_request(autojump_clock):
    async def app(scope, receive, send):
        while (await receive())["type"] != "http.disconnect":
            if scope["path"] == "/":
                await hi(scope, receive, send)
                scope["path"] = ""

    notes = Notes(app)
    async with asgi_house(notes) as house:
        peer = house.peer()
        for _ in range(3):
            await peer.say(post(b"Content-Length: 1", body=b"x"))
            assert peer.take() == answer(b"hi")
    one = {"type": "http.request", "body": b"x", "more_body": False}
    assert notes.events == [one, DISCONNECT] * 3


async def test_report_uvicorn_2238_nothing_is_served_after_a_close(autojump_clock):
    notes = Notes()
    async with asgi_house(notes) as house:
        peer = house.peer()
        await peer.say(GET_CLOSE + GET)
        assert await peer.end() == answer(b"hi", b"connection: close")
    assert len(notes.scopes) == 1


@pytest.mark.parametrize("kind", KINDS)
async def test_report_uvicorn_2271_who_asks_whether_its_peer_is_there_makes_no_noise(kind, autojump_clock, caplog):
    """As Starlette's ``is_disconnected`` does."""

    async def app(scope, receive, send):
        await receive()
        await send(start())
        while True:
            await send(body(b"tick", more_body=True))
            with trio.CancelScope() as asking:
                asking.cancel()
                if (await receive())["type"] == "http.disconnect":
                    return
            await trio.sleep(1)

    async with asgi_house(app) as house:
        peer = house.meet(kind)
        await peer.say(GET)
        await trio.sleep(2.5)
        await peer.close()
        assert await house.empty() <= 5
    assert loud(caplog) == []


@pytest.mark.parametrize("kind", KINDS)
async def test_report_starlette_1438_what_runs_on_after_the_response_is_not_cancelled(kind, autojump_clock):
    done = []

    async def app(scope, receive, send):
        await hi(scope, receive, send)
        await trio.sleep(3)
        done.append(trio.current_time())

    async with asgi_house(app, disconnect_grace=0.5) as house:
        peer = house.meet(kind)
        await peer.say(GET)
        assert await peer.until(b"hi") == answer(b"hi"), "the peer does not wait for it"
        await peer.close()
        await house.empty()
    assert done == [3]


async def test_an_application_may_be_cancelled_when_its_peer_has_left(autojump_clock):
    async def app(scope, receive, send):
        try:
            await trio.sleep(60)
        finally:
            ended.append(trio.current_time())

    ended = []
    async with asgi_house(app, disconnect_grace=2) as house:
        peer = house.meet("tcp")
        await peer.say(GET)
        await trio.sleep(1)
        await peer.close()
        await house.empty()
    assert ended == [3]


async def test_what_was_kept_of_an_old_request_touches_no_later_one(autojump_clock, caplog):
    kept = []

    async def app(scope, receive, send):
        if not kept:
            kept.append((receive, send))
        await hi(scope, receive, send)

    async with asgi_house(app) as house:
        peer = house.peer()
        await peer.say(GET)
        old_receive, old_send = kept[0]
        assert await old_receive() == DISCONNECT
        await old_send(start(500))
        await peer.say(GET)
        await wait_all_tasks_blocked()
        assert peer.take() == answer(b"hi") * 2
