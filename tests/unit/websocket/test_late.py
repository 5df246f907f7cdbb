"""Whoever still holds a session, or its handshake, when the handler has returned: nothing of the connection is his."""

from __future__ import annotations

import zlib

import pytest
import trio
from story_tools import GET, loud, open_house
from trio.testing import wait_all_tasks_blocked
from websocket_tools import BINARY, CONT, KINDS, TEXT, closed, closing, frame, handshake, said, sessions

import roadrunner_trio as rr
from roadrunner_trio import Compression, Response, websocket

DEFLATE = b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


class Source:
    """Pieces, one after another."""

    def __init__(self, *pieces):
        self._pieces = iter(pieces)

    def __aiter__(self):
        return self

    async def __anext__(self):
        for piece in self._pieces:
            return piece
        raise StopAsyncIteration


async def take_pieces(session):
    async for _ in session.get_pieces():
        pass


CALLS = {
    "get_message": lambda session: session.get_message(),
    "get_pieces": take_pieces,
    "send_message": lambda session: session.send_message("late"),
    "send_message, large": lambda session: session.send_message(bytes(1_000_000)),
    "send_message, a large text": lambda session: session.send_message("ä" * 1_000_000),
    "send_message, pieces": lambda session: session.send_message(Source("a" * 100, "b")),
    "ping": lambda session: session.ping(),
    "pong": lambda session: session.pong(),
}


async def returns(session):
    pass


async def raises(session):
    raise ValueError("a mistake")


async def stays(session):
    await trio.sleep_forever()


class Ends:
    """Handlers that end in one way each, and whoever keeps their sessions."""

    def __init__(self, way):
        self.way = way
        self.session = None
        self.proceed = trio.Event()

    async def __call__(self, request):
        self.session = await request.accept()
        await self.proceed.wait()
        await self.way(self.session)


@pytest.mark.parametrize("way", [returns, raises, stays])
@pytest.mark.parametrize("queued", [True, False])
async def test_every_call_on_a_session_that_is_over_says_so_at_once(way, queued, kind, autojump_clock):
    handler = Ends(way)
    async with sessions(handler, kind, close_timeout=1, compression=True) as (house, meet):
        peer = await meet(DEFLATE)
        if queued:
            await peer.say(frame(TEXT, "never taken") + frame(BINARY, b"begun", fin=False))
        handler.proceed.set()
        if way is stays:
            await house.listener.drain(1)
        await house.empty()
        before = trio.current_time()
        for call in CALLS.values():
            with pytest.raises(rr.ConnectionClosed) as caught:
                await call(handler.session)
            assert caught.value.reason == handler.session.closed
        await handler.session.aclose()
        assert trio.current_time() == before
        assert house.listener.info().buffered == 0


@pytest.mark.parametrize("way", [returns, raises, stays])
@pytest.mark.parametrize("name", [*CALLS, "aclose"])
async def test_a_task_that_is_in_a_call_when_the_handler_ends_gets_out(name, way, kind, autojump_clock):
    """The task is another's, so nobody cancels it; and its peer neither reads nor writes."""
    call = CALLS.get(name, lambda session: session.aclose())
    handler, out = Ends(way), []

    async def stray():
        try:
            await call(handler.session)
            if name in ("ping", "get_message", "get_pieces"):
                raise AssertionError("nothing has come")
        except rr.ConnectionClosed:
            pass
        out.append(trio.current_time())

    async with sessions(handler, kind, close_timeout=2, timeouts=rr.Timeouts(write=50, linger=1)) as (house, meet):
        if kind == "memory":
            peer, _ = house.slow_peer(140)
            await peer.say(handshake())
        else:
            await meet()
        house.nursery.start_soon(stray)
        await wait_all_tasks_blocked()
        handler.proceed.set()
        if way is stays:
            await house.listener.drain(1)
        await house.empty()
        await wait_all_tasks_blocked()
        assert len(out) == 1
        assert out[0] <= 4, "the peer's time to close, and to linger"


async def test_two_that_wait_and_one_message_and_then_the_end(kind, autojump_clock):
    handler, out = Ends(returns), []

    async def stray():
        try:
            out.append(await handler.session.get_message())
        except rr.ConnectionClosed:
            out.append(None)

    async with sessions(handler, kind) as (house, meet):
        peer = await meet()
        for _ in range(3):
            house.nursery.start_soon(stray)
        await wait_all_tasks_blocked()
        await peer.say(frame(TEXT, "one") + closing(1000))
        handler.proceed.set()
        await house.empty()
        await wait_all_tasks_blocked()
    assert sorted(out, key=str) == [None, None, "one"]


async def test_no_message_begins_behind_a_close_frame(autojump_clock):
    """A writer that waited while something was flushed finds the session closed when it has its turn."""
    handler, out = Ends(stays), []

    async def stray():
        with pytest.raises(rr.ConnectionClosed):
            await handler.session.send_message("behind")
        out.append("behind")

    async with sessions(handler, close_timeout=5) as (house, _):
        peer, stream = house.slow_peer(133)
        await peer.say(handshake())
        await peer.say(frame(9, bytes(50)))
        house.nursery.start_soon(stray)
        await wait_all_tasks_blocked()
        house.nursery.start_soon(handler.session.aclose, 4000)
        await wait_all_tasks_blocked()
        stream.grant(1000)
        await wait_all_tasks_blocked()
        assert peer.take().endswith(said(10, bytes(50)) + closed(4000))
        assert out == ["behind"]
        await peer.say(closing(4000))
        handler.proceed.set()


async def test_a_message_under_way_is_finished_before_the_close(autojump_clock):
    handler = Ends(returns)
    async with sessions(handler) as (house, _):
        peer, stream = house.slow_peer(150)
        await peer.say(handshake())
        house.nursery.start_soon(handler.session.send_message, bytes(100))
        await wait_all_tasks_blocked()
        handler.proceed.set()
        await wait_all_tasks_blocked()
        stream.grant(1000)
        await wait_all_tasks_blocked()
        assert peer.take().endswith(said(BINARY, bytes(100)) + closed(1000))
        await peer.say(closing(1000))


@pytest.mark.parametrize("seconds", [0.5, 3])
async def test_a_send_that_was_given_up_before_it_began_does_not_spoil_what_follows(seconds, autojump_clock):
    """Compressed messages refer to earlier ones; one that never went out must not be referred to."""
    handler = Ends(stays)
    text = "the same words again and again, " * 20
    async with sessions(handler, compression=Compression(threshold=0)) as (house, _):
        peer, stream = house.slow_peer(230)
        await peer.say(handshake(DEFLATE))
        await peer.say(frame(9, bytes(90)))
        with trio.move_on_after(seconds):
            await handler.session.send_message(text)
        stream.grant(10_000)
        await handler.session.send_message(text)
        await wait_all_tasks_blocked()
        heard = peer.take().partition(said(10, bytes(90)))[2]
        assert heard[0] == 0xC1
        assert zlib.decompressobj(-12).decompress(heard[2:] + b"\x00\x00\xff\xff").decode() == text
        handler.proceed.set()


# -- handshakes ----------------------------------------------------------------------------------------


class Keeps:
    """A handler that ends, and whose request is kept."""

    def __init__(self, way):
        self.way = way
        self.request = None

    async def __call__(self, request):
        self.request = request
        if self.way == "rejects":
            await request.reject(401)
        elif self.way == "raises":
            raise rr.HTTPError(403)


@pytest.mark.parametrize("way", ["rejects", "raises"])
@pytest.mark.parametrize("decision", ["accept", "reject"])
async def test_a_handshake_that_is_over_cannot_be_decided(way, decision, kind, autojump_clock):
    """Its connection serves another request by then, into whose answer nothing may be written."""
    handler, serving = Keeps(way), trio.Event()

    async def app(request):
        if request.path == "/ws":
            return await websocket(handler)(request)
        serving.set()
        await trio.sleep(1)
        return Response.text("another")

    async with open_house(app, tcp=True) as house:
        peer = house.meet(kind)
        await peer.say(handshake(target=b"/ws"))
        assert peer.take()[9:12] in (b"401", b"403")
        await peer.say(GET)
        await serving.wait()
        with pytest.raises(RuntimeError, match="has returned"):
            await (handler.request.accept() if decision == "accept" else handler.request.reject(400))
        await trio.sleep(2)
        assert peer.take().endswith(b"\r\n\r\nanother")


async def test_an_acceptance_that_the_handler_does_not_wait_for_gives_no_session(autojump_clock, caplog):
    outcome = []

    async def handler(request):
        async def accept():
            try:
                outcome.append(await request.accept())
            except (RuntimeError, trio.BrokenResourceError, trio.ClosedResourceError) as exc:
                outcome.append(type(exc))

        house.nursery.start_soon(accept)
        await trio.sleep(1)

    async with open_house(websocket(handler)) as house:
        peer, _ = house.slow_peer(20)
        await peer.say(handshake())
        await house.empty()
        await wait_all_tasks_blocked()
    assert len(outcome) == 1
    assert isinstance(outcome[0], type)
    assert len(loud(caplog)) == 1, "the handler has neither accepted nor rejected"


async def test_what_was_handed_over_is_the_sessions_alone(kind, autojump_clock):
    """As long as it is open, everything works from any task."""

    async def handler(request):
        session = await request.accept()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(session.send_message, "from a task")
            nursery.start_soon(session.pong)
        assert await session.get_message() == "ab"

    async with sessions(handler, kind) as (house, _):
        peer = house.meet(kind)
        await peer.say(handshake() + frame(TEXT, "a", fin=False) + frame(CONT, "b") + closing(1000))
        await wait_all_tasks_blocked()
        assert said(TEXT, "from a task") in peer.heard
