"""What observers are told of WebSockets: opened, each message, closed by whom and why, or refused."""

from __future__ import annotations

import logging

import pytest
import trio
from asgi_tools import asgi_house
from event_tools import Everything
from http2_peer import open_http2
from story_tools import open_house
from websocket_tools import BINARY, CONT, KINDS, PING, TEXT, closing, echo, frame, handshake

import roadrunner_trio as rr
from roadrunner_trio import Observer, Response, websocket
from roadrunner_trio.websocket.observed import ObservedWebSocket

WEBSOCKET = ("websocket_open", "websocket_receive", "websocket_send", "websocket_close", "websocket_refused")


def told(events):
    return [(hook, event) for hook, event in events.events if hook in WEBSOCKET]


def names(events):
    return [hook.removeprefix("websocket_") for hook, _ in told(events)]


def closes(events):
    return [(event.code, event.reason, event.by) for event in events.of("websocket_close")]


async def meet(house, kind="memory", *fields):
    peer = house.meet(kind)
    await peer.say(handshake(*fields))
    return peer


@pytest.mark.parametrize("kind", KINDS)
async def test_a_conversation(kind, autojump_clock):
    events = Everything()
    handler = websocket(echo, compression=True, subprotocols=["chat"])
    async with open_house(handler, tcp=True, observers=[events]) as house:
        peer = await meet(house, kind, b"Sec-WebSocket-Protocol: chat", b"Sec-WebSocket-Extensions: permessage-deflate")
        await peer.say(frame(TEXT, "grün") + frame(BINARY, b"abc") + frame(PING))
        await trio.sleep(7)
        await peer.say(closing(3001, "bye"))
        await peer.close()
        await house.empty()
    assert names(events) == ["open", "receive", "send", "receive", "send", "close"]
    opened = events.only("websocket_open")
    assert (opened.subprotocol, opened.compressed, opened.path) == ("chat", True, "/")
    messages = [(event.kind, event.size) for _, event in told(events)[1:5]]
    assert messages == [("text", 5), ("text", 5), ("binary", 3), ("binary", 3)]
    closed = events.only("websocket_close")
    assert (closed.code, closed.reason, closed.by, closed.received, closed.sent) == (3001, "bye", "peer", 2, 2)
    assert closed.duration == 7
    assert {event.request_id for _, event in told(events)} == {events.only("request_start").request_id}
    order = events.names()
    assert order.index("request_start") < order.index("websocket_open")
    assert order.index("websocket_close") < order.index("request_stop")


async def test_messages_in_pieces_are_one_each(autojump_clock):
    async def handler(request):
        session = await request.accept()
        async for _ in session.get_pieces():
            pass

        async def pieces():
            yield "grü"
            yield "n"

        async def nothing():
            return
            yield b""

        await session.send_message(pieces())
        await session.send_message(nothing())
        await session.send_message(memoryview(b"abcd").cast("H"))

    events = Everything()
    async with open_house(websocket(handler), observers=[events]) as house:
        peer = await meet(house)
        await peer.say(frame(BINARY, b"abc", fin=False))
        await peer.say(frame(CONT, b"", fin=False))
        await peer.say(frame(CONT, b"de") + closing(1000))
        await house.empty()
    messages = [(hook, event.kind, event.size) for hook, event in told(events)[1:-1]]
    sent = [("websocket_send", "text", 5), ("websocket_send", "binary", 0), ("websocket_send", "binary", 4)]
    assert messages == [("websocket_receive", "binary", 5), *sent]


async def test_a_message_given_up_half_way_is_none(autojump_clock):
    async def handler(request):
        session = await request.accept()
        async for _ in session.get_pieces():
            break
        assert [message async for message in session] == ["next"]

    events = Everything()
    async with open_house(websocket(handler), observers=[events]) as house:
        peer = await meet(house)
        await peer.say(frame(BINARY, b"abc", fin=False))
        await peer.say(frame(CONT, b"de") + frame(TEXT, "next") + closing(1000))
        await house.empty()
    assert names(events) == ["open", "receive", "close"]
    assert events.only("websocket_close").received == 1


# Who has closed it, and why


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("said", "closed"),
    [
        (closing(), (1005, "", "peer")),
        (closing(1000, "done"), (1000, "done", "peer")),
        (closing(4999), (4999, "", "peer")),
        (frame(TEXT, b"\xff"), (1007, "text that is not UTF-8", "server")),
        (frame(3), (1002, "a reserved opcode", "server")),
        (None, (1006, "the peer closed the connection", "nobody")),
    ],
)
async def test_the_peers_part(kind, said, closed, autojump_clock):
    events = Everything()
    async with open_house(websocket(echo), tcp=True, observers=[events]) as house:
        peer = await meet(house, kind)
        await (peer.close() if said is None else peer.say(said))
        await house.empty()
    [(code, reason, by)] = closes(events)
    assert (code, by) == (closed[0], closed[2])
    assert reason == closed[1] or (by == "server" and reason)


@pytest.mark.parametrize(
    ("does", "closed"),
    [
        ("return", (1000, "", "server")),
        ("close", (1001, "bye", "server")),
        ("raise", (1011, "", "server")),
    ],
)
async def test_the_handlers_part(does, closed, autojump_clock):
    async def handler(request):
        session = await request.accept()
        if does == "close":
            session.close(1001, "bye")
        if does == "raise":
            raise LookupError

    events = Everything()
    async with open_house(websocket(handler), observers=[events]) as house:
        await meet(house)
        await house.empty()
    assert closes(events) == [closed]


async def test_whoever_was_first_has_closed_it(autojump_clock):
    """The peer's close waits behind a message while the handler closes."""

    async def handler(request):
        session = await request.accept()
        await trio.sleep(0.5)
        session.close(1001)

    events = Everything()
    async with open_house(websocket(handler), observers=[events]) as house:
        peer = await meet(house)
        await peer.say(frame(TEXT, "unread") + closing(1000))
        await house.empty()
    assert closes(events) == [(1000, "", "peer")]
    assert events.only("websocket_close").received == 0


@pytest.mark.parametrize("kind", KINDS)
async def test_drains_silence_and_slowness(kind, autojump_clock):
    events = Everything()
    async with open_house(websocket(echo), tcp=True, observers=[events]) as house:
        await meet(house, kind)
        await house.listener.drain(5)
    assert closes(events) == [(1001, "the server is going down", "server")]
    events = Everything()
    handler = websocket(echo, ping_interval=5, ping_timeout=2)
    async with open_house(handler, tcp=True, observers=[events]) as house:
        await meet(house, kind)
        await house.empty()
    assert closes(events) == [(1011, "keepalive ping timeout", "server")]
    assert events.only("websocket_close").duration == 7


async def test_a_cancelled_server_has_closed_them_all(autojump_clock):
    async def stubborn(request):
        await request.accept()
        await trio.sleep_forever()

    events = Everything()
    async with open_house(websocket(stubborn), observers=[events]) as house:
        for _ in range(3):
            await meet(house)
    assert closes(events) == [(1001, "the server is going down", "server")] * 3


# Refusals


async def refusals(handler, *says, **settings):
    events = Everything()
    async with open_house(websocket(handler, **settings), observers=[events]) as house:
        for said in says:
            peer = house.peer()
            await peer.say(said)
            await trio.sleep(1)
            await peer.close()
        await house.empty()
    assert set(names(events)) <= {"refused"}
    return [(event.status, event.reason) for event in events.of("websocket_refused")]


async def test_handshakes_that_are_none(autojump_clock):
    plain = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
    wrong = handshake().replace(b"Version: 13", b"Version: 8")
    content = handshake(b"Content-Length: 1") + b"x"
    assert await refusals(echo, plain, wrong, content) == [
        (426, "handshake"),
        (426, "handshake"),
        (400, "handshake"),
    ]
    assert await refusals(echo, handshake(b"Origin: http://evil"), origins=["self"]) == [(403, "origin")]


@pytest.mark.parametrize(
    ("does", "told"),
    [
        ("reject", (401, "rejected")),
        ("error", (404, "rejected")),
        ("fail", (500, "error")),
        ("forget", (500, "error")),
    ],
)
async def test_what_a_handler_does_not_accept(does, told, autojump_clock):
    async def handler(request):
        if does == "reject":
            await request.reject(Response(b"no", status=401))
        elif does == "error":
            raise rr.HTTPError(404)
        elif does == "fail":
            raise LookupError

    assert await refusals(handler, handshake()) == [told]


async def test_who_leaves_and_what_is_cancelled_before_the_decision(autojump_clock):
    async def late(request):
        await trio.sleep(5)
        await request.accept()

    events = Everything()
    async with open_house(websocket(late), observers=[events]) as house:
        peer = house.peer()
        await peer.say(handshake())
        await peer.close()
        await house.empty()
        await house.peer().say(handshake())
    assert names(events) == ["refused", "refused"]
    assert [(each.status, each.reason) for each in events.of("websocket_refused")] == [
        (None, "gone"),
        (None, "cancelled"),
    ]


# The other ways in


async def test_asgi(autojump_clock):
    async def app(scope, receive, send):
        await receive()
        if scope["path"] == "/no":
            await send({"type": "websocket.close"})
            return
        await send({"type": "websocket.accept"})
        message = await receive()
        await send({"type": "websocket.send", "text": message["text"] * 2})
        await send({"type": "websocket.close", "code": 3000, "reason": "enough"})

    events = Everything()
    async with asgi_house(app, settings={"observers": [events]}) as house:
        peer = await meet(house)
        await peer.say(frame(TEXT, "ab"))
        await peer.say(closing(3000))
        await house.peer().say(handshake(target=b"/no"))
    assert names(events) == ["open", "receive", "send", "close", "refused"]
    assert (events.only("websocket_receive").size, events.only("websocket_send").size) == (2, 4)
    assert closes(events) == [(3000, "enough", "server")]
    refused = events.only("websocket_refused")
    assert (refused.status, refused.reason, refused.path) == (403, "rejected", "/no")


async def test_over_http2(autojump_clock):
    async def handler(request):
        await (request.reject(403) if request.path == "/no" else echo(request))

    async def connect(peer, path):
        pseudo, fields = [(":protocol", "websocket")], [("sec-websocket-version", "13")]
        number = peer.ask(path, method="CONNECT", pseudo=pseudo, fields=fields, end=False)
        await peer.flush()
        await peer.until(lambda: bool(peer.streams[number].status))
        return number

    events = Everything()
    async with open_http2(websocket(handler), observers=[events]) as (house, peer):
        first, _, third = [await connect(peer, path) for path in ("/", "/no", "/")]
        peer.send(first, frame(TEXT, "hello"))
        await peer.flush()
        peer.cancel(first)
        peer.send(third, closing(1000))
        await peer.flush()
        await trio.sleep(30)
        assert house.phases() == ["idle"]
    assert sorted(names(events)) == ["close", "close", "open", "open", "receive", "refused", "send"]
    assert sorted((code, by) for code, _, by in closes(events)) == [(1000, "peer"), (1006, "nobody")]
    assert {event.request.version for _, event in told(events)} == {(2, 0)}


async def test_a_handoff_is_its_own_affair(autojump_clock):
    async def run(request, stream):
        await stream.send_all(b"x")

    async def handler(request):
        return rr.Handoff(run, status=101)

    events = Everything()
    async with open_house(handler, observers=[events]) as house:
        await house.peer().say(handshake())
        await house.empty()
    assert names(events) == []


# What it costs, and who is disturbed


async def test_nobody_who_does_not_want_them_pays(autojump_clock):
    kinds = []

    async def handler(request):
        kinds.append(type(await request.accept()))

    class Bystander(Observer):
        def request_stop(self, event):
            pass

        def websocket_refused(self, event):
            pass

    for observers in ([], [Bystander()], [Everything()]):
        async with open_house(websocket(handler), observers=observers) as house:
            await meet(house)
            await house.empty()
    assert [kind is ObservedWebSocket for kind in kinds[:2]] == [False, False]
    assert kinds[2] is ObservedWebSocket


async def test_an_observer_that_raises_disturbs_nobody(autojump_clock):
    class Bad(Observer):
        def websocket_receive(self, event):
            raise RuntimeError("mine")

    events = Everything()
    async with open_house(websocket(echo), observers=[Bad(), events]) as house:
        peer = await meet(house)
        await peer.say(frame(TEXT, "a") + frame(TEXT, "b") + closing(1000))
        await house.empty()
    assert names(events) == ["open", "receive", "send", "receive", "send", "close"]


async def test_the_log_has_a_line_of_a_close(autojump_clock, caplog):
    async with open_house(websocket(echo)) as house:
        with caplog.at_level(logging.DEBUG, "roadrunner_trio"):
            peer = await meet(house)
            await peer.say(closing(1000))
            await house.empty()
    lines = [record.getMessage() for record in caplog.records if "was closed by" in record.getMessage()]
    assert len(lines) == 1
    assert lines[0].endswith("was closed by peer: 1000")
