"""The handshakes of WebSockets through ASGI: rows W of the conformance table up to accept, and denials."""

from __future__ import annotations

import pytest
import trio
from asgi_tools import KINDS, Notes, asgi_house
from story_tools import GET, answer, last_word, loud, undated
from websocket_tools import TEXT, closed, closing, frame, handshake, switched

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


async def test_asgi_w1_the_scope(autojump_clock):
    notes = Notes(echo)
    async with asgi_house(notes) as house:
        peer = await meet(house, "memory", b"Sec-WebSocket-Protocol: b, a", b"Sec-WebSocket-Protocol: c")
        assert peer.take() == switched()
    scope = notes.scope
    assert (scope["type"], scope["scheme"], scope["path"], scope["http_version"]) == ("websocket", "ws", "/", "1.1")
    assert scope["subprotocols"] == ["b", "a", "c"]
    assert "method" not in scope
    assert set(scope["extensions"]) == {"websocket.http.response", "roadrunner.drain"}
    assert scope["asgi"] == {"version": "3.0", "spec_version": "2.5"}


@pytest.mark.parametrize("kind", KINDS)
async def test_asgi_w2_connect_first_and_no_101_before_accept(kind, autojump_clock):
    async def app(scope, receive, send):
        await receive()
        await trio.sleep(3)
        await send(ACCEPT)
        await receive()

    notes = Notes(app)
    async with asgi_house(notes) as house:
        peer = await meet(house, kind)
        await trio.sleep(2)
        assert (notes.events, peer.take()) == ([CONNECT], b"")
        assert await peer.until(b"\r\n\r\n") == switched()


async def test_asgi_w2_an_application_may_accept_without_having_asked(autojump_clock):
    async def app(scope, receive, send):
        await send(ACCEPT)
        await receive()
        await receive()

    notes = Notes(app)
    async with asgi_house(notes) as house:
        peer = await meet(house, "memory")
        await peer.say(frame(TEXT, "a"))
    assert notes.events == [CONNECT, {"type": "websocket.receive", "text": "a"}]


async def test_asgi_w3_accept_with_a_subprotocol_and_headers(autojump_clock):
    async def app(scope, receive, send):
        await receive()
        await send({**ACCEPT, "subprotocol": "b", "headers": [[b"X-A", b"1"]]})
        await receive()

    async with asgi_house(app) as house:
        peer = await meet(house, "memory", b"Sec-WebSocket-Protocol: a, b")
        assert peer.take() == switched(b"sec-websocket-protocol: b", b"x-a: 1")


@pytest.mark.parametrize(
    "more",
    [
        {"subprotocol": "c"},
        {"headers": [(b"Sec-WebSocket-Protocol", b"a")]},
        {"headers": [(b"upgrade", b"x")]},
        {"headers": [("x", "y")]},
    ],
)
async def test_asgi_w3_what_accept_may_not_say(more, autojump_clock, caplog):
    async def app(scope, receive, send):
        await receive()
        await send({**ACCEPT, **more})

    async with asgi_house(app) as house:
        peer = await meet(house, "memory", b"Sec-WebSocket-Protocol: a")
        assert await peer.end() == last_word(b"500 Internal Server Error")
    assert len(loud(caplog)) == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("more", [{}, {"code": 4401}, {"code": 1008, "reason": "x"}])
async def test_asgi_w4_report_granian_818_report_daphne_486_report_uvicorn_811_close_before_accept_is_403(
    kind, more, autojump_clock, caplog
):
    async def app(scope, receive, send):
        await receive()
        await send({"type": "websocket.close", **more})
        await receive()
        await receive()

    notes = Notes(app)
    async with asgi_house(notes) as house:
        peer = await meet(house, kind)
        assert await peer.until(b"\r\n\r\n") == REFUSED
        await peer.say(handshake())
        assert await peer.until(b"\r\n\r\n") == REFUSED, "the connection goes on"
    assert notes.events == [CONNECT, *[disconnect(1006)] * 2] * 2
    assert loud(caplog) == []


async def test_asgi_w5_a_return_without_accept_is_an_error(autojump_clock, caplog):
    async def app(scope, receive, send):
        await receive()

    async with asgi_house(app) as house:
        peer = await meet(house, "memory")
        assert await peer.end() == last_word(b"500 Internal Server Error")
    assert "without websocket.accept" in str(caplog.records[0].exc_info[1])


@pytest.mark.parametrize("kind", KINDS)
async def test_asgi_w12_report_granian_835_the_peer_leaves_before_accept(kind, autojump_clock, caplog):
    async def app(scope, receive, send):
        await receive()
        await receive()
        await send(ACCEPT)

    notes = Notes(app)
    async with asgi_house(notes) as house:
        peer = await meet(house, kind)
        await trio.sleep(1)
        await peer.close()
        await house.empty()
    assert notes.events == [CONNECT, disconnect(1006)]
    assert isinstance(notes.errors[0], OSError)
    assert loud(caplog) == []


@pytest.mark.parametrize("kind", KINDS)
async def test_asgi_w12_and_an_application_that_works_meanwhile_is_told_by_accept(kind, autojump_clock, caplog):
    async def app(scope, receive, send):
        await receive()
        await trio.sleep(2)
        await send(ACCEPT)
        await send({"type": "websocket.send", "text": "a"})
        await receive()
        raise WebSocketDisconnect

    class WebSocketDisconnect(Exception):
        pass

    async with asgi_house(app) as house:
        peer = await meet(house, kind)
        await peer.close()
        await house.empty()
    assert loud(caplog) == []


def denial(**more):
    return {"type": "websocket.http.response.start", "status": 401, "headers": [(b"x", b"1")], **more}


def denial_body(data=b"", **more):
    return {"type": "websocket.http.response.body", "body": data, **more}


@pytest.mark.parametrize("kind", KINDS)
async def test_asgi_w13_report_asgiref_381_a_denial(kind, autojump_clock):
    async def app(scope, receive, send):
        await receive()
        await send(denial())
        await send(denial_body(b"no, ", more_body=True))
        await send(denial_body(b"never"))
        await receive()
        with pytest.raises(OSError):
            await send({"type": "websocket.send", "text": "a"})

    notes = Notes(app)
    async with asgi_house(notes) as house:
        peer = await meet(house, kind)
        denied = b"HTTP/1.1 401 Unauthorized\r\ndate: D\r\nx: 1\r\ntransfer-encoding: chunked\r\n\r\n"
        assert await peer.until(b"0\r\n\r\n") == denied + b"4\r\nno, \r\n5\r\nnever\r\n0\r\n\r\n"
        await peer.say(handshake())
        await peer.until(b"0\r\n\r\n")
    assert notes.events == [CONNECT, disconnect(1006)] * 2


async def test_asgi_w13_a_denial_in_one_piece_has_its_length(autojump_clock):
    async def app(scope, receive, send):
        await send(denial(headers=[]))
        await send(denial_body(b"no"))

    async with asgi_house(app) as house:
        peer = await meet(house, "memory")
        assert peer.take() == answer(b"no", status=b"401 Unauthorized")


@pytest.mark.parametrize("second", [denial(), ACCEPT, {"type": "websocket.close"}, {"type": "http.response.body"}])
async def test_asgi_w13_what_may_not_follow(second, autojump_clock, caplog):
    async def app(scope, receive, send):
        await send(denial())
        await send(second)

    async with asgi_house(app) as house:
        peer = await meet(house, "memory")
        assert await peer.end() == last_word(b"500 Internal Server Error")
    assert len(loud(caplog)) == 1


async def test_asgi_w13_half_a_denial_is_an_error(autojump_clock, caplog):
    async def app(scope, receive, send):
        await send(denial())

    async with asgi_house(app) as house:
        peer = await meet(house, "memory")
        assert await peer.end() == last_word(b"500 Internal Server Error")
    assert "after http.response.start" in str(caplog.records[0].exc_info[1])


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (handshake(key=b"short"), b"400 "),
        (handshake().replace(b"Version: 13", b"Version: 12"), b"426 "),
    ],
)
async def test_asgi_w14_a_bad_handshake_does_not_reach_the_application(request_, status, autojump_clock):
    notes = Notes(echo)
    async with asgi_house(notes) as house:
        peer = house.peer()
        await peer.say(request_)
        assert peer.take().startswith(b"HTTP/1.1 " + status)
    assert notes.scopes == []


@pytest.mark.parametrize(
    "request_",
    [
        handshake().replace(b"GET ", b"POST ", 1),
        handshake().replace(b"HTTP/1.1", b"HTTP/1.0", 1),
        handshake().replace(b"Connection: Upgrade", b"Connection: close", 1),
        GET,
    ],
)
async def test_asgi_w15_what_asks_for_no_websocket_is_plain_http(request_, autojump_clock):
    notes = Notes()
    async with asgi_house(notes) as house:
        peer = house.peer()
        await peer.say(request_)
        assert undated(peer.heard).endswith(b"hi")
    assert notes.scope["type"] == "http"


@pytest.mark.parametrize("kind", KINDS)
async def test_asgi_w17_a_receive_that_waits_before_accept_goes_on_after_it(kind, autojump_clock):
    """As Quart-Trio, whose reader is a task of its own."""

    async def app(scope, receive, send):
        async with trio.open_nursery() as nursery:

            async def listen():
                while (await receive())["type"] != "websocket.disconnect":
                    pass

            nursery.start_soon(listen)
            await trio.sleep(1)
            await send(ACCEPT)

    notes = Notes(app)
    async with asgi_house(notes) as house:
        peer = await meet(house, kind)
        assert await peer.until(b"\r\n\r\n") == switched()
        await peer.say(frame(TEXT, "a") + closing(1000))
        await house.empty()
    assert notes.events == [CONNECT, {"type": "websocket.receive", "text": "a"}, disconnect(1000)]


@pytest.mark.parametrize("kind", KINDS)
async def test_asgi_w17_and_waits_on_when_an_accept_has_failed(kind, autojump_clock):
    events = []

    async def app(scope, receive, send):
        async def take():
            for _ in range(2):
                events.append(await receive())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(take)
            await trio.sleep(1)
            with pytest.raises(ValueError, match="did not propose"):
                await send({**ACCEPT, "subprotocol": "unknown"})
            await trio.sleep(1)
            assert events == [CONNECT]
            await send(ACCEPT)

    async with asgi_house(app) as house:
        peer = await meet(house, kind)
        assert await peer.until(b"\r\n\r\n") == switched()
        await peer.say(frame(TEXT, "a"))
        await trio.sleep(1)
    assert events == [CONNECT, {"type": "websocket.receive", "text": "a"}]


async def test_asgi_w18_accepted_in_a_drain_it_is_closed_with_1001(autojump_clock):
    async def app(scope, receive, send):
        await receive()
        await trio.sleep(2)
        await send(ACCEPT)
        await receive()

    notes = Notes(app)
    async with asgi_house(notes) as house:
        peer = await meet(house, "memory")
        house.nursery.start_soon(house.listener.drain, 10)
        await trio.sleep(3)
        assert peer.take() == switched() + closed(1001, "the server is going down")
        await peer.say(closing(1001))
    assert notes.events[-1]["code"] == 1001
