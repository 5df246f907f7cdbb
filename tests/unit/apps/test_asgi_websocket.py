"""WebSockets through ASGI: rows W of the conformance table, by the tasks of a session and by the poller's edges."""

from __future__ import annotations

import logging

import pytest
import trio
from asgi_tools import KINDS, Notes, asgi_house
from story_tools import answer, loud
from trio.testing import wait_all_tasks_blocked
from websocket_tools import BINARY, TEXT, closed, closing, frame, handshake, said, switched

from roadrunner_trio.apps.asgi import WebSocketOptions

CONNECT = {"type": "websocket.connect"}
ACCEPT = {"type": "websocket.accept"}
REFUSED = answer(b"", status=b"403 Forbidden")


def disconnect(code, reason=""):
    return {"type": "websocket.disconnect", "code": code, "reason": reason}


async def echo(scope, receive, send):
    await receive()
    await send(ACCEPT)
    while (event := await receive())["type"] == "websocket.receive":
        key = "text" if "text" in event else "bytes"
        await send({"type": "websocket.send", key: event[key]})


async def meet(house, kind, *fields):
    peer = house.meet(kind)
    await peer.say(handshake(*fields))
    return peer


@pytest.mark.parametrize("kind", KINDS)
async def test_asgi_w6_only_the_key_that_is_set_is_there(kind, autojump_clock):
    notes = Notes(echo)
    async with asgi_house(notes) as house:
        peer = await meet(house, kind)
        await peer.say(frame(TEXT, "a") + frame(BINARY, b"b") + frame(TEXT, "") + frame(BINARY, b""))
        expected = said(TEXT, "a") + said(BINARY, b"b") + said(TEXT, "") + said(BINARY, b"")
        await trio.sleep(1)
        assert peer.take().endswith(expected)
    assert notes.events[1:5] == [
        {"type": "websocket.receive", "text": "a"},
        {"type": "websocket.receive", "bytes": b"b"},
        {"type": "websocket.receive", "text": ""},
        {"type": "websocket.receive", "bytes": b""},
    ]


@pytest.mark.parametrize(
    ("more", "heard"),
    [
        ({"text": "a", "bytes": None}, said(TEXT, "a")),
        ({"text": None, "bytes": b"b"}, said(BINARY, b"b")),
        ({"bytes": memoryview(b"b")}, said(BINARY, b"b")),
        ({"text": ""}, said(TEXT, "")),
    ],
)
async def test_asgi_w7_one_of_text_and_bytes_is_sent(more, heard, autojump_clock):
    async def app(scope, receive, send):
        await send(ACCEPT)
        await send({"type": "websocket.send", **more})

    async with asgi_house(app) as house:
        peer = await meet(house, "memory")
        assert peer.take() == switched() + heard + closed(1000)


@pytest.mark.parametrize("more", [{}, {"text": None, "bytes": None}, {"text": "a", "bytes": b"a"}, {"text": b"a"}])
async def test_asgi_w7_neither_or_both_is_an_error(more, autojump_clock, caplog):
    async def app(scope, receive, send):
        await send(ACCEPT)
        await send({"type": "websocket.send", **more})

    async with asgi_house(app) as house:
        peer = await meet(house, "memory")
        assert peer.take() == switched() + closed(1011)
        await peer.say(closing(1011))
    assert len(loud(caplog)) == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("last", "told"),
    [
        (closing(4000, "bye"), disconnect(4000, "bye")),
        (closing(), disconnect(1005)),
        (None, disconnect(1006)),
    ],
)
async def test_asgi_w8_report_granian_575_report_uvicorn_997_every_end_comes_after_the_messages_and_again(
    kind, last, told, autojump_clock, caplog
):
    async def app(scope, receive, send):
        await send(ACCEPT)
        await trio.sleep(0.5)
        for _ in range(4):
            await receive()

    notes = Notes(app)
    async with asgi_house(notes) as house:
        peer = await meet(house, kind)
        await peer.say(frame(TEXT, "a") + (last or b""))
        if last is None:
            await peer.close()
        await house.empty()
    events = [{**event, "reason": ""} if event.get("code") == 1006 else event for event in notes.events]
    assert events == [CONNECT, {"type": "websocket.receive", "text": "a"}, told, told]
    assert loud(caplog) == []


@pytest.mark.parametrize("kind", KINDS)
async def test_asgi_w8_our_drain_is_1001(kind, autojump_clock):
    notes = Notes(echo)
    async with asgi_house(notes) as house:
        peer = await meet(house, kind)
        house.nursery.start_soon(house.listener.drain, 10)
        await trio.sleep(1)
        assert peer.take().endswith(closed(1001, "the server is going down"))
        await peer.say(closing(1001))
    assert notes.events[-1]["code"] == 1001


async def test_report_granian_601_a_handler_that_sleeps_is_ended_and_cleans_up(autojump_clock):
    cleaned = []

    async def app(scope, receive, send):
        await send(ACCEPT)
        try:
            await trio.sleep_forever()
        finally:
            cleaned.append(trio.current_time())

    async with asgi_house(app, websocket=WebSocketOptions(close_timeout=3)) as house:
        peer = await meet(house, "tcp")
        house.nursery.start_soon(house.listener.drain, 20)
        await trio.sleep(1)
        await peer.say(closing(1001))
        await house.empty()
    assert cleaned == [pytest.approx(4)]


@pytest.mark.parametrize("kind", KINDS)
async def test_asgi_w9_report_granian_798_report_granian_645_the_application_closes(kind, autojump_clock, caplog):
    async def app(scope, receive, send):
        await send(ACCEPT)
        await send({"type": "websocket.close", "code": 1008, "reason": "policy"})
        await receive()
        at.append(trio.current_time())
        await receive()
        await receive()

    notes, at = Notes(app), []
    async with asgi_house(notes) as house:
        peer = await meet(house, kind)
        await trio.sleep(1)
        assert peer.take() == switched() + closed(1008, "policy")
        await peer.say(closing(1008))
    assert at == [0], "nobody waits for the peer's part"
    assert notes.events == [CONNECT, *[disconnect(1008, "policy")] * 2]
    assert loud(caplog) == []


async def test_asgi_w9_a_long_reason_is_cut_and_the_default_is_1000(autojump_clock):
    async def app(scope, receive, send):
        await send(ACCEPT)
        await send({"type": "websocket.close", **more})

    more = {"reason": "é" * 100, "code": 3000}
    async with asgi_house(app) as house:
        peer = await meet(house, "memory")
        assert peer.take() == switched() + closed(3000, "é" * 61)
    more = {}
    async with asgi_house(app) as house:
        peer = await meet(house, "memory")
        assert peer.take() == switched() + closed(1000)


@pytest.mark.parametrize("code", [1005, 1006, 999, 2000, 5000, "1000"])
async def test_asgi_w9_a_code_that_may_not_be_sent(code, autojump_clock, caplog):
    async def app(scope, receive, send):
        await send(ACCEPT)
        await send({"type": "websocket.close", "code": code})

    async with asgi_house(app) as house:
        peer = await meet(house, "memory")
        assert peer.take() == switched() + closed(1011)
        await peer.say(closing(1011))
    assert len(loud(caplog)) == 1


@pytest.mark.parametrize(("code", "reason"), [(3000, b"policy"), (3000, 7), (3000, "\ud800"), (1000.0, ""), (None, "")])
async def test_asgi_w9_what_no_close_frame_can_say_is_an_error(code, reason, autojump_clock, caplog):
    async def app(scope, receive, send):
        await send(ACCEPT)
        await send({"type": "websocket.close", "code": code, "reason": reason})

    async with asgi_house(app) as house:
        peer = await meet(house, "memory")
        assert peer.take() == switched() + closed(1011)
        await peer.say(closing(1011))
    assert len(loud(caplog)) == 1


async def send_thrice(send):
    """To a peer who has gone, and of whom nobody knows it yet, it may go out once."""
    for _ in range(3):
        await send({"type": "websocket.send", "text": "a"})
        await trio.sleep(0.1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", ["close", "gone", "ours"])
async def test_asgi_w10_report_granian_922_send_after_the_end_is_an_oserror(how, kind, autojump_clock, caplog):
    async def app(scope, receive, send):
        await send(ACCEPT)
        await trio.sleep(1)
        if how == "ours":
            await send({"type": "websocket.close"})
        elif how == "close":
            await receive()
            await receive()
        with pytest.raises(OSError):
            await send_thrice(send)
        with pytest.raises(OSError):
            await send({"type": "websocket.close"})
        await send({"type": "websocket.send", "text": "a"})

    async with asgi_house(app) as house:
        peer = await meet(house, kind)
        if how == "close":
            await peer.say(closing(1000))
        elif how == "gone":
            await peer.close()
        await trio.sleep(2)
    assert loud(caplog) == [], "an error that leaves the application is not logged"


@pytest.mark.parametrize("kind", KINDS)
async def test_asgi_w11_an_exception_is_1011_and_a_return_1000(kind, autojump_clock, caplog):
    async def app(scope, receive, send):
        await send(ACCEPT)
        if scope["path"] == "/bad":
            raise LookupError

    async with asgi_house(app) as house:
        peer = await meet(house, kind)
        await trio.sleep(1)
        assert peer.take() == switched() + closed(1000)
        peer = house.meet(kind)
        await peer.say(handshake(target=b"/bad"))
        await trio.sleep(1)
        assert peer.take() == switched() + closed(1011)
        await peer.say(closing(1011))
    assert len(loud(caplog)) == 1


@pytest.mark.parametrize("kind", KINDS)
async def test_asgi_w16_pings_fragments_and_limits_are_the_servers(kind, autojump_clock):
    async def app(scope, receive, send):
        await send(ACCEPT)
        await trio.sleep(2)
        for _ in range(3):
            await receive()

    notes = Notes(app)
    async with asgi_house(notes, websocket=WebSocketOptions(max_message=5)) as house:
        peer = await meet(house, kind)
        await peer.say(frame(9, b"x") + frame(TEXT, "ab", fin=False) + frame(0, "cd"))
        await trio.sleep(1)
        assert peer.take() == switched() + said(10, b"x"), "whatever the application does"
        await peer.say(frame(TEXT, "abcdef"))
        await trio.sleep(2)
    assert notes.events[1:] == [{"type": "websocket.receive", "text": "abcd"}, notes.events[2]]
    assert notes.events[2]["code"] == 1009


async def test_a_lost_tab_is_one_line_at_debug(autojump_clock, caplog):
    caplog.set_level(logging.DEBUG, "roadrunner_trio")

    class WebSocketDisconnect(Exception):
        pass

    async def app(scope, receive, send):
        await receive()
        await send(ACCEPT)
        if (await receive())["type"] == "websocket.disconnect":
            raise WebSocketDisconnect

    async with asgi_house(app) as house:
        peer = await meet(house, "tcp")
        await peer.close()
        await wait_all_tasks_blocked()
        await house.empty()
    assert [record.levelname for record in caplog.records if "peer" in record.getMessage()] == ["DEBUG"]
