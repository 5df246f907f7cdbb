"""Event streams and WebSockets as their peers see them."""

from __future__ import annotations

import h11
import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st
from trio_websocket import ConnectionClosed, ConnectionRejected

import roadrunner_trio as rr
from roadrunner_trio.apps.router import Route, Router
from roadrunner_trio.testing import ReceivedEvent, open_server
from roadrunner_trio.testing.events import EventReader

# Server-sent events


def read(*pieces):
    reader = EventReader()
    return [event for piece in pieces for event in reader.feed(piece)]


@pytest.mark.parametrize(
    ("text", "events"),
    [
        (b"data: a\n\n", [ReceivedEvent("a")]),
        (b"data:a\ndata:  b\n\n", [ReceivedEvent("a\n b")]),
        (b"\xef\xbb\xbfdata: a\r\n\r\n", [ReceivedEvent("a")]),
        (b"data: a\r\rdata: b\r\r\n", [ReceivedEvent("a"), ReceivedEvent("b")]),
        (b": comment\nevent: x\n\ndata: a\n\n", [ReceivedEvent("a")]),
        (b"event: x\ndata\n\n", [ReceivedEvent("", "x")]),
        (b"id: 7\ndata: a\n\ndata: b\n\n", [ReceivedEvent("a", id="7"), ReceivedEvent("b", id="7")]),
        (b"id: 7\0\ndata: a\n\n", [ReceivedEvent("a")]),
        (b"retry: 1500\ndata: a\n\n", [ReceivedEvent("a", retry=1.5)]),
        (b"retry: soon\ndata: a\n\n", [ReceivedEvent("a")]),
        (b"data: a\n", []),
    ],
)
def test_what_is_an_event(text, events):
    assert read(text) == events


@given(st.lists(st.sampled_from([b"data: a", b"event: x", b"id: 1", b"", b": c", b"data: \xc3\xa4"])), st.data())
def test_pieces_make_no_difference(lines, data):
    end = data.draw(st.sampled_from([b"\n", b"\r", b"\r\n"]))
    text = end.join([*lines, b"", b"data: last", b"", b"x"])
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=5)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert read(*pieces) == read(text)
    assert read(text)[-1].data.endswith("last")


async def ticks(request):
    async def count():
        start = int(request.header("last-event-id") or 0)
        for number in range(start + 1, 100):
            yield rr.ServerSentEvent(str(number), id=number)
            await trio.sleep(1)

    return rr.EventStream(request, count())


async def test_events_are_iterated(autojump_clock):
    async with open_server(ticks) as server:
        client = server.client()
        async with client.events("/") as events:
            assert [(await anext(events)).data for _ in range(3)] == ["1", "2", "3"]
        async with client.events("/", last_event_id="3") as events:
            assert (await anext(events)).id == "4"
        await trio.sleep(3)
        assert server.listener.info().active == 0


async def test_what_is_no_event_stream_is_told(autojump_clock):
    async def plain(request):
        return rr.Response.text("hi")

    async with open_server(plain) as server:
        with pytest.raises(ValueError, match="no event stream, but 200 text/plain"):
            async with server.client().events("/"):
                pass


# WebSockets


async def converse(request):
    session = await request.accept(subprotocol="b" if "b" in request.proposed_subprotocols else None)
    if request.request.path == "/bye":
        await session.aclose(4001, "enough")
        return
    while True:
        await session.send_message(await session.get_message())


@pytest.fixture
def app():
    return rr.websocket(converse, subprotocols=["b"])


async def test_a_conversation(app, autojump_clock):
    async with open_server(app) as server:
        client = server.client()
        async with client.websocket("/", subprotocols=["a", "b"]) as socket:
            assert socket.subprotocol == "b"
            await socket.send_message("text")
            assert await socket.get_message() == "text"
            await socket.send_message(b"octets")
            assert await socket.get_message() == b"octets"
            await socket.send_json({"a": 1})
            assert await socket.get_json() == {"a": 1}
            assert socket.closed is None
        assert socket.closed is not None
        assert socket.closed.code == 1000


async def test_iteration_ends_with_the_conversation(app, autojump_clock):
    async with open_server(app) as server, server.client().websocket("/bye") as socket:
        assert [message async for message in socket] == []
        assert (socket.closed.code, socket.closed.reason) == (4001, "enough")
        with pytest.raises(ConnectionClosed):
            await socket.get_message()


async def test_a_drain_is_heard(app, autojump_clock):
    async with open_server(app) as server, server.client().websocket("/") as socket, trio.open_nursery() as nursery:
        nursery.start_soon(server.listener.drain, 5)
        assert [message async for message in socket] == []
        assert socket.closed.code == 1001


async def test_a_peer_can_vanish(autojump_clock):
    ended = trio.Event()

    async def waiting(request):
        session = await request.accept()
        try:
            await session.get_message()
        finally:
            ended.set()

    async with open_server(rr.websocket(waiting)) as server, server.client().websocket("/") as socket:
        await socket.disconnect()
        with trio.fail_after(1):
            await ended.wait()


async def test_a_refusal_is_an_exception_of_its_own(autojump_clock):
    async def no(request):
        return rr.Response.text("no", status=403)

    async with open_server(no) as server:
        with pytest.raises(ConnectionRejected) as caught:
            async with server.client().websocket("/"):
                pass
        assert caught.value.status_code == 403


async def broken_off(request):
    async def produce(send):
        await send(b"no")
        raise ValueError("and no more")

    return rr.StreamResponse(produce, status=403)


async def silent(request):
    async def converse(request, stream):
        pass

    return rr.Handoff(converse)


@pytest.mark.parametrize(("app", "http2"), [(broken_off, False), (silent, False), (broken_off, True)])
async def test_a_handshake_whose_answer_breaks_off_is_an_error_at_once(app, http2, autojump_clock):
    router = Router([Route("/", app), Route("/chat", rr.websocket(app))])
    async with open_server(router) as server:
        with trio.fail_after(1), pytest.raises(h11.RemoteProtocolError):
            async with server.client(http2=http2).websocket("/"):
                pass


async def test_a_plain_assert_beside_a_websocket_is_not_wrapped(app, autojump_clock):
    mine = AssertionError("mine")
    with pytest.raises(AssertionError) as caught:
        async with open_server(app) as server, server.client().websocket("/"):
            raise mine
    assert caught.value is mine


async def test_cookies_go_with_a_handshake(autojump_clock):
    async def cookie(request):
        session = await request.accept()
        await session.send_message(request.request.header("cookie"))
        await session.get_message()

    async with open_server(rr.websocket(cookie)) as server:
        client = server.client()
        client.cookies["a"] = "1"
        async with client.websocket("/") as socket:
            assert await socket.get_message() == "a=1"
