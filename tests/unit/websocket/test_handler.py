"""``websocket(handler)`` among routes and middlewares: accepting, rejecting, and what a handler may be."""

from __future__ import annotations

import pytest
import trio
import trio_websocket
from story_tools import GET, answer, loud, open_house
from trio_websocket import Endpoint
from websocket_tools import KINDS, TEXT, Diary, closed, closing, echo, frame, handshake, said, sessions, switched

import roadrunner_trio as rr
from roadrunner_trio import Compression, Response, WebSocketRequest, websocket
from roadrunner_trio.apps.conditional import Conditional
from roadrunner_trio.apps.cors import CORS
from roadrunner_trio.apps.guards import SecurityHeaders
from roadrunner_trio.apps.router import Route, Router


@pytest.mark.parametrize("kind", [*KINDS, "wire"])
async def test_an_echo(kind, autojump_clock):
    async with sessions(echo, kind) as (house, meet):
        peer = await meet()
        assert peer.take() == b""
        await peer.say(frame(TEXT, "hello") + frame(2, b"\xff"))
        assert peer.take() == said(TEXT, "hello") + said(2, b"\xff")
        assert house.phases() == ["handed off"]
        await peer.say(closing(1000, "bye"))
        await peer.close()
        assert peer.take() == closed(1000)
        await house.empty()
    stop = house.watch.only("stop")
    assert (stop.kind, stop.status, stop.outcome) == ("websocket", 101, "complete")


async def test_what_came_with_the_handshake_comes_first(autojump_clock):
    for kind in KINDS:
        async with open_house(websocket(echo), tcp=True) as house:
            peer = house.meet(kind)
            await peer.say(handshake() + frame(TEXT, "early") + frame(TEXT, "late")[:3])
            await peer.say(frame(TEXT, "late")[3:])
            assert peer.take() == switched() + said(TEXT, "early") + said(TEXT, "late")


async def test_what_a_handshake_is_about(autojump_clock):
    seen: list[WebSocketRequest] = []
    local: object = None

    async def handler(request: WebSocketRequest) -> None:
        nonlocal local
        seen.append(request)
        local = request.local
        session = await request.accept()
        assert session.request is request.request
        assert session.subprotocol is None
        assert session.closed is None

    async with open_house(websocket(handler), tcp=True) as house:
        for kind in KINDS:
            peer = house.meet(kind)
            await peer.say(handshake(b"X-A: 1", b"Sec-WebSocket-Protocol: b, a,,b", target=b"/p?q=1"))
            assert await peer.end() == switched() + closed(1000)
        memory, tcp = seen
        assert tcp.local == "main", "its socket is closed"
        assert (b"x-a", b"1") in memory.headers
        assert memory.path == "/p?q=1"
        assert memory.request.path == "/p"
        assert memory.proposed_subprotocols == ("b", "a")
        assert (memory.remote, memory.local) == ("memory", "main")
        assert isinstance(tcp.remote, Endpoint)
        assert str(local) == str(Endpoint("127.0.0.1", house.listener.port, False))


@pytest.mark.parametrize(
    ("ours", "chosen", "agreed"),
    [((), None, None), (("a", "b"), None, b"a"), (("x",), None, None), ((), "b", b"b"), (("a",), "b", b"b")],
)
async def test_subprotocols(ours, chosen, agreed, autojump_clock):
    async def handler(request):
        session = await request.accept(subprotocol=chosen)
        assert session.subprotocol == (agreed and agreed.decode())

    async with open_house(websocket(handler, subprotocols=ours)) as house:
        peer = house.peer()
        await peer.say(handshake(b"Sec-WebSocket-Protocol: b", b"Sec-WebSocket-Protocol: a"))
        line = [] if agreed is None else [b"sec-websocket-protocol: " + agreed]
        assert await peer.end() == switched(*line) + closed(1000)


async def test_further_fields_and_those_of_middlewares(autojump_clock):
    async def handler(request):
        await request.accept(extra_headers=[("Set-Cookie", "a=1")])

    async def middleware(request, call_next):
        response = await call_next(request)
        assert response.status == 101
        assert repr(response) == "<Upgrade>"
        response.fields += [(b"server", b"s"), (b"content-length", b"5"), (b"Sec-WebSocket-Accept", b"x")]
        return response

    async with open_house(websocket(handler), middlewares=[middleware]) as house:
        peer = house.peer()
        await peer.say(handshake())
        assert await peer.end() == switched(b"server: s", b"set-cookie: a=1") + closed(1000)


async def test_a_route_with_a_socket_and_a_mount(autojump_clock):
    async def greet(request):
        session = await request.accept()
        await session.send_message(request.request.bindings["name"])

    async with open_house(Router([Route("/greet/:name", websocket(greet))])) as house:
        peer = house.peer()
        await peer.say(handshake(target=b"/greet/trio"))
        assert await peer.end() == switched() + said(TEXT, "trio") + closed(1000)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_rejection_keeps_the_connection(kind, autojump_clock):
    async def produce(send):
        await send(b"no")

    async def handler(request):
        match request.path:
            case "/status":
                await request.reject(403)
            case "/trio":
                await request.reject(401, extra_headers=[(b"www-authenticate", b"Basic")], body=b"who?")
            case "/response":
                await request.reject(Response.json({"no": 1}, status=402))
            case "/stream":
                await request.reject(rr.StreamResponse(produce, status=404))
            case _:
                raise rr.HTTPError(418)

    async with open_house(websocket(handler), tcp=True) as house:
        peer = house.meet(kind)
        for target, expected in [
            (b"/status", answer(status=b"403 Forbidden")),
            (b"/trio", answer(b"who?", b"www-authenticate: Basic", status=b"401 Unauthorized")),
            (b"/response", answer(b'{"no":1}', b"content-type: application/json", status=b"402 Payment Required")),
        ]:
            await peer.say(handshake(target=target))
            assert peer.take() == expected
        await peer.say(handshake(target=b"/stream"))
        assert peer.take().endswith(b"\r\n\r\n2\r\nno\r\n0\r\n\r\n")
        await peer.say(handshake(target=b"/error"))
        assert peer.take().startswith(b"HTTP/1.1 418 ")
        await peer.say(GET)
        assert peer.take().startswith(b"HTTP/1.1 426 ")
        assert peer.ended_at is None


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda request: request.accept(subprotocol="x"), ValueError, "did not propose the subprotocol 'x'"),
        (lambda request: request.accept(extra_headers={"Upgrade": "x"}), ValueError, "are the server's"),
        (lambda request: request.accept(extra_headers=[("a", "b\r\n")]), ValueError, "control character"),
        (lambda request: request.reject(101), ValueError, "from 300 to 599, not 101"),
        (lambda request: request.reject(200), ValueError, "from 300 to 599, not 200"),
        (lambda request: request.reject(Response(), body=b"x"), ValueError, "its own body"),
    ],
)
async def test_what_cannot_be_decided(call, error, text, autojump_clock):
    async def handler(request):
        with pytest.raises(error, match=text):
            await call(request)
        assert not request.decided
        await request.reject(400)
        assert request.decided
        with pytest.raises(RuntimeError, match="accepted or rejected already"):
            await request.accept()
        with pytest.raises(RuntimeError, match="accepted or rejected already"):
            await request.reject(400)

    async with open_house(websocket(handler)) as house:
        peer = house.peer()
        await peer.say(handshake())
        assert peer.take() == answer(status=b"400 Bad Request")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("raises", [True, False])
async def test_a_handler_that_decides_nothing(raises, kind, autojump_clock, caplog):
    async def handler(request):
        if raises:
            raise ValueError("oops")

    async with open_house(websocket(handler), tcp=True) as house:
        peer = house.meet(kind)
        await peer.say(handshake())
        assert (await peer.end()).startswith(b"HTTP/1.1 500 ")
    assert len(loud(caplog)) == 1
    assert ("oops" if raises else "neither accepted nor rejected") in caplog.text


@pytest.mark.parametrize("kind", KINDS)
async def test_a_handler_that_crashes_is_told_by_1011_and_logged(kind, autojump_clock, caplog):
    async def handler(request):
        await (await request.accept()).get_message()
        raise ValueError("oops")

    async with sessions(handler, kind) as (house, meet):
        peer = await meet()
        await peer.say(frame(TEXT, "a"))
        assert peer.take() == closed(1011)
        await peer.say(closing(1011))
        assert await peer.end() == b""
        await peer.close()
        await house.empty()
    assert house.watch.only("exception").status == 101
    assert len(loud(caplog)) == 1
    assert "oops" in caplog.text


@pytest.mark.parametrize("kind", KINDS)
async def test_a_session_that_ends_is_no_error(kind, autojump_clock, caplog):
    async def handler(request):
        session = await request.accept()

        async def listen():
            await session.get_message()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen)
            nursery.start_soon(listen)

    async with sessions(handler, kind) as (house, meet):
        peer = await meet()
        await peer.close()
        await house.empty()
    assert house.watch.only("stop").outcome == "complete"
    assert loud(caplog) == []


async def test_compression_is_agreed_when_it_is_offered_and_wanted(autojump_clock):
    offer = b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"
    for compression, told in [
        (False, []),
        (True, [b"permessage-deflate; server_max_window_bits=12; client_max_window_bits=12"]),
        (Compression(server_max_window_bits=15, client_max_window_bits=15), [b"permessage-deflate"]),
    ]:
        async with open_house(websocket(echo, compression=compression)) as house:
            peer = house.peer()
            await peer.say(handshake(offer))
            assert peer.take() == switched(*[b"sec-websocket-extensions: " + terms for terms in told])
            other = house.peer()
            await other.say(handshake())
            assert other.take() == switched()


async def test_a_peer_that_left_before_the_answer(autojump_clock):
    async def handler(request):
        await trio.sleep(1)
        with pytest.raises(rr.PeerGone):
            await request.accept()

    async with open_house(websocket(handler)) as house:
        peer, stream = house.slow_peer(1000)
        await peer.say(handshake())
        stream.reset()
        await house.empty()


@pytest.mark.parametrize(
    ("wrong", "error", "text"),
    [
        ({"handler": None}, TypeError, "async function of one request"),
        ({"subprotocols": "chat"}, ValueError, "list of tokens"),
        ({"subprotocols": ["a b"]}, ValueError, "list of tokens"),
        ({"origins": "self"}, ValueError, "write"),
        ({"compression": "yes"}, TypeError, "compression is True, False or Compression"),
        ({"compression": 5}, TypeError, "compression is True, False or Compression"),
        ({"close_on_drain": "no"}, TypeError, "close_on_drain is True or False, not 'no'"),
        ({"max_message": 0}, ValueError, "max_message"),
        ({"max_frame": 1.5}, ValueError, "max_frame"),
        ({"max_queue": True}, ValueError, "max_queue"),
        ({"ping_interval": 0}, ValueError, "ping_interval"),
        ({"ping_timeout": -1}, ValueError, "ping_timeout"),
        ({"close_timeout": "1"}, ValueError, "close_timeout"),
        ({"ping_timeout": True}, ValueError, "ping_timeout"),
    ],
)
def test_settings_that_cannot_be(wrong, error, text):
    with pytest.raises(error, match=text):
        websocket(**{"handler": Diary(), **wrong})


@pytest.mark.parametrize("kind", KINDS)
async def test_an_error_is_not_lost_when_the_farewell_is_cut_short(kind, autojump_clock, caplog):
    async def handler(request):
        await request.accept()
        await trio.sleep(1)
        raise ValueError("oops")

    async with sessions(handler, kind) as (_, meet):
        await meet()
        await trio.sleep(2)
    assert len(loud(caplog)) == 1
    assert "oops" in caplog.text


# -- names -------------------------------------------------------------------------------------------


async def test_the_end_of_a_session_is_caught_by_the_name_that_the_package_gives_it(autojump_clock):
    ends = []

    async def handler(request: WebSocketRequest) -> None:
        session = await request.accept()
        try:
            await session.get_message()
        except rr.ConnectionClosed as exc:
            ends.append(exc.reason)

    async with sessions(handler) as (house, meet):
        await (await meet()).say(closing(4001, "enough"))
        await house.empty()
    assert [(type(end), end.code, end.reason) for end in ends] == [(rr.CloseReason, 4001, "enough")]
    assert rr.ConnectionClosed is trio_websocket.ConnectionClosed, "a handler may import either"


# -- what is the application's own -------------------------------------------------------------------

DENIED = {
    "response": lambda: Response.text("denied", status=403),
    "stream": lambda: rr.StreamResponse(denial, status=403, fields=[("content-length", "6")]),
    "file": lambda: rr.FileResponse(__file__, length=0, status=403),
}


async def denial(send) -> None:
    await send(b"denied")


@pytest.mark.parametrize("name", DENIED)
@pytest.mark.parametrize("kind", KINDS)
async def test_case_11_a_response_that_rejects_is_left_as_it_was(name, kind, autojump_clock):
    """It may be made once and given to every peer; what middlewares add is for one answer."""
    denied = DENIED[name]()
    before = list(denied.fields)

    async def handler(request: WebSocketRequest) -> None:
        await request.reject(denied)

    async def stamp(request, call_next):
        response = await call_next(request)
        response.fields = [*response.fields, (b"x-stamp", b"1")]
        return response

    async with open_house(websocket(handler), tcp=True, middlewares=[stamp]) as house:
        peer, answers = house.meet(kind), []
        for _ in range(4):
            await peer.say(handshake())
            answers.append(peer.take())
    assert [answer.count(b"x-stamp: 1\r\n") for answer in answers] == [1] * 4
    assert denied.fields == before


async def test_case_11_headers_that_an_application_keeps_are_left_as_they_were(autojump_clock):
    extra = [(b"x-extra", b"1")]

    async def handler(request: WebSocketRequest) -> None:
        if request.path == "/no":
            await request.reject(403, extra_headers=extra)
        else:
            await request.accept(extra_headers=extra)

    async with open_house(websocket(handler)) as house:
        for target in (b"/no", b"/", b"/no", b"/"):
            peer = house.peer()
            await peer.say(handshake(target=target))
            assert peer.take().count(b"x-extra: 1\r\n") == 1
    assert extra == [(b"x-extra", b"1")]


# -- what is told ------------------------------------------------------------------------------------


async def test_a_refused_origin_is_told_with_our_host_in_moderation(autojump_clock, caplog):
    caplog.set_level("INFO", "roadrunner_trio.error")
    async with open_house(websocket(echo, origins=["self", "https://a.example"])) as house:
        for port in range(12):
            peer = house.peer()
            await peer.say(handshake(b"Origin: https://h:%d" % port))
            assert peer.take().startswith(b"HTTP/1.1 403 ")
        await trio.sleep(10)
        peer = house.peer()
        await peer.say(handshake(b"Origin: https://\xe9vil", b"Origin: null"))
        await peer.say(handshake())
    told = [record.getMessage() for record in caplog.records]
    assert told[0] == "refused a WebSocket of memory: its page is of https://h:0, our host is h"
    assert len(told) == 11
    assert told[10] == (
        "refused a WebSocket of memory: its page is of https://évil, null, our host is h;"
        " 2 refused origins before it were left out"
    )


async def test_what_a_page_calls_itself_does_no_harm_to_the_log(autojump_clock, caplog):
    caplog.set_level("INFO", "roadrunner_trio.error")
    async with open_house(websocket(echo, origins=[])) as house:
        peer = house.peer()
        await peer.say(handshake(b"Origin: https://\xc2\x9b31m\xad"))
    [record] = caplog.records
    assert record.getMessage().isprintable()


@pytest.mark.parametrize("kind", ["memory", "tcp"])
@pytest.mark.parametrize("around", [Conditional(), SecurityHeaders(), CORS(["https://example.org"])])
async def test_middlewares_that_look_at_responses_leave_a_websocket_alone(around, kind, autojump_clock):
    async def rejects(request):
        await (request.reject(404, body=b"no") if request.path == "/no" else echo(request))

    async with open_house(rr.websocket(rejects), tcp=True, middlewares=[around]) as house:
        peer = house.meet(kind)
        await peer.say(handshake(target=b"/no"))
        assert peer.take().startswith(b"HTTP/1.1 404 ")
        await peer.say(handshake() + frame(TEXT, "a"))
        accepted = peer.take()
        assert accepted.startswith(b"HTTP/1.1 101 ")
        assert accepted.endswith(b"\r\n\r\n" + said(TEXT, "a"))
