"""What a CONNECT becomes: WebSockets over HTTP/2 (RFC 8441), native and of ASGI, and hand-offs."""

from __future__ import annotations

import pytest
import trio
import wsproto
from http2_peer import Answer, Http2Peer, open_http2
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage
from wsproto.extensions import PerMessageDeflate

import roadrunner_trio as rr
from roadrunner_trio.apps.asgi import asgi
from roadrunner_trio.apps.router import Route, Router

KINDS = ("memory", "tcp")
ENABLE_CONNECT = 8


async def echo(ws_request):
    ws = await ws_request.accept()
    while True:
        await ws.send_message(await ws.get_message())


class WebSocketPeer:
    """A client's WebSocket on a stream."""

    def __init__(self, peer: Http2Peer, number: int, extensions=()) -> None:
        self.peer = peer
        self.number = number
        self.frames = wsproto.connection.Connection(wsproto.ConnectionType.CLIENT, list(extensions))
        self._read = 0

    async def send(self, event) -> None:
        self.peer.send(self.number, self.frames.send(event))
        await self.peer.flush()

    async def next(self):
        """The next event."""
        for event in self.frames.events():
            return event
        answer = self.peer.streams[self.number]
        while True:
            await self.peer.until(lambda: len(answer.body) > self._read or answer.over)
            data, self._read = answer.body[self._read :], len(answer.body)
            if not data:
                return None
            self.frames.receive_data(data)
            for event in self.frames.events():
                return event


async def connect(peer, path="/", *, fields=()) -> WebSocketPeer:
    fields = [("sec-websocket-version", "13"), *fields]
    number = peer.ask(path, method="CONNECT", pseudo=[(":protocol", "websocket")], fields=fields, end=False)
    await peer.flush()
    await peer.until(lambda: bool(peer.streams[number].status))
    return WebSocketPeer(peer, number)


def offers(peer) -> bool:
    return peer.conn.remote_settings.get(ENABLE_CONNECT) == 1


@pytest.mark.parametrize("kind", KINDS)
async def test_a_websocket(kind, autojump_clock):
    async with open_http2(rr.websocket(echo), kind) as (house, peer):
        assert offers(peer)
        ws = await connect(peer)
        answer = peer.streams[ws.number]
        assert answer.status == 200
        assert {name for name, _ in answer.fields} == {"date"}
        for text in ("hello", "x" * 100_000):
            await ws.send(TextMessage(text))
            heard = ""
            while len(heard) < len(text):
                heard += (await ws.next()).data
            assert heard == text
        await ws.send(Ping(b"1"))
        assert await ws.next() == Pong(b"1")
        await ws.send(BytesMessage(b"\0\1"))
        assert (await ws.next()).data == b"\0\1"
        await ws.send(CloseConnection(1000, "bye"))
        assert (await ws.next()).code == 1000
        assert (await peer.answer(ws.number)).ended
        peer.conn.end_stream(ws.number)
        await peer.flush()
        assert house.phases() == ["idle"]


@pytest.mark.parametrize("kind", KINDS)
async def test_beside_other_requests_and_several_at_once(kind, autojump_clock):
    async def hello(request):
        return rr.Response("hi")

    router = Router([Route("/ws", rr.websocket(echo)), Route("/", hello)])
    async with open_http2(router, kind) as (_, peer):
        assert offers(peer)
        sessions = [await connect(peer, "/ws") for _ in range(5)]
        for n, ws in enumerate(sessions):
            await ws.send(TextMessage(f"{n}"))
            assert (await peer.get("/")).brief == (200, b"hi")
        assert [(await ws.next()).data for ws in sessions] == ["0", "1", "2", "3", "4"]


async def test_compression_and_subprotocols(autojump_clock):
    handler = rr.websocket(echo, compression=True, subprotocols=["chat", "other"])
    async with open_http2(handler) as (_, peer):
        deflate = PerMessageDeflate()
        fields = [
            ("sec-websocket-extensions", "permessage-deflate"),
            ("sec-websocket-protocol", "other, chat"),
        ]
        number = (await connect(peer, fields=fields)).number
        answer = peer.streams[number]
        assert answer.header("sec-websocket-protocol") == "chat"
        deflate.finalize(answer.header("sec-websocket-extensions"))
        ws = WebSocketPeer(peer, number, [deflate])
        text = "again and again " * 1000
        before = len(answer.body)
        await ws.send(TextMessage(text))
        heard = ""
        while len(heard) < len(text):
            event = await ws.next()
            assert isinstance(event, TextMessage), event
            heard += event.data
        assert heard == text
        assert len(answer.body) - before < 1000


async def test_origins_are_judged(autojump_clock):
    async with open_http2(rr.websocket(echo, origins=["https://good.example"])) as (_, peer):
        good = await connect(peer, fields=[("origin", "https://good.example")])
        bad = await connect(peer, fields=[("origin", "https://bad.example")])
        assert peer.streams[good.number].status == 200
        assert peer.streams[bad.number].status == 403


async def test_a_peer_that_takes_it_back_ends_the_session(autojump_clock):
    ends = []

    async def handler(ws_request):
        ws = await ws_request.accept()
        try:
            await ws.get_message()
        except Exception as exc:
            ends.append((type(exc).__name__, trio.current_time()))
            raise

    async with open_http2(rr.websocket(handler)) as (house, peer):
        ws = await connect(peer)
        await trio.sleep(3)
        peer.cancel(ws.number)
        await peer.flush()
        assert ends == [("ConnectionClosed", 3)]
        assert house.listener.connections()[0].streams == 0


async def test_a_drain_says_1001(autojump_clock):
    async with open_http2(rr.websocket(echo)) as (house, peer):
        ws = await connect(peer)
        house.nursery.start_soon(house.listener.drain, 10)
        event = await ws.next()
        assert event.code == 1001
        await ws.send(event.response())
        await peer.end()
        assert peer.streams[ws.number].ended


async def test_where_there_are_none_they_are_not_offered_and_not_accepted(autojump_clock):
    async def hello(request):
        return rr.Response("hi")

    async with open_http2(hello) as (_, peer):
        assert not offers(peer)
        number = peer.ask("/", method="CONNECT", pseudo=[(":protocol", "websocket")], end=False)
        await peer.flush()
        answer = await peer.answer(number)
        assert answer.status in (0, 400, 501)
        assert answer.over


async def test_a_plain_handler_beside_does_not_accept_by_accident(autojump_clock):
    async def hello(request):
        return rr.Response("hi")

    router = Router([Route("/ws", rr.websocket(echo)), Route("/", hello)])
    async with open_http2(router) as (_, peer):
        number = peer.ask("/", method="CONNECT", pseudo=[(":protocol", "websocket")], end=False)
        await peer.flush()
        assert (await peer.answer(number)).status == 501
        assert (await peer.get("/nowhere")).status == 404


async def test_another_protocol_is_not_implemented(autojump_clock):
    async with open_http2(rr.websocket(echo)) as (_, peer):
        number = peer.ask("/", method="CONNECT", pseudo=[(":protocol", "connect-udp")], end=False)
        await peer.flush()
        assert (await peer.answer(number)).status in (400, 501)


@pytest.mark.parametrize("kind", KINDS)
async def test_of_an_asgi_application(kind, autojump_clock):
    scopes = []

    async def app(scope, receive, send):
        scopes.append(scope)
        assert (await receive())["type"] == "websocket.connect"
        await send({"type": "websocket.accept", "headers": [(b"x-a", b"1")]})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": message["text"].upper()})

    async with open_http2(asgi(app, lifespan="off"), kind) as (_, peer):
        assert offers(peer)
        ws = await connect(peer, "/chat?x=1")
        assert peer.streams[ws.number].header("x-a") == "1"
        await ws.send(TextMessage("hello"))
        assert (await ws.next()).data == "HELLO"
        await ws.send(CloseConnection(1000))
        assert (await ws.next()).code == 1000
    scope = scopes[0]
    assert (scope["type"], scope["http_version"], scope["scheme"]) == ("websocket", "2", "ws")
    assert (scope["path"], scope["query_string"]) == ("/chat", b"x=1")
    assert (b"host", b"h") in scope["headers"]


async def test_an_asgi_application_that_refuses(autojump_clock):
    async def app(scope, receive, send):
        await receive()
        await send({"type": "websocket.close"})

    async with open_http2(asgi(app, lifespan="off")) as (_, peer):
        ws = await connect(peer)
        assert peer.streams[ws.number].status == 403


@pytest.mark.parametrize("kind", KINDS)
async def test_a_hand_off_of_a_connect(kind, autojump_clock):
    async def run(request, stream):
        async for data in stream:
            await stream.send_all(data.upper())
        await stream.send_all(b"!")
        await stream.send_eof()

    async def handler(request):
        return rr.Handoff(run, status=200)

    async with open_http2(handler, kind) as (_, peer):
        number = peer.conn.get_next_available_stream_id()
        peer.conn.send_headers(number, [(":method", "CONNECT"), (":authority", "example.com:443")])
        peer.streams[number] = Answer()
        await peer.flush()
        await peer.until(lambda: peer.streams[number].status == 200)
        peer.send(number, b"abc")
        await peer.flush()
        await peer.until(lambda: peer.streams[number].body == b"ABC")
        peer.conn.end_stream(number)
        await peer.flush()
        answer = await peer.answer(number)
        assert (answer.body, answer.ended) == (b"ABC!", True)


async def test_there_is_no_upgrade(autojump_clock):
    async def run(request, stream):
        raise AssertionError

    async def handler(request):
        return rr.Handoff(run, status=101, fields=[("upgrade", "x"), ("connection", "upgrade")])

    async with open_http2(handler) as (_, peer):
        assert (await peer.get()).status == 501
