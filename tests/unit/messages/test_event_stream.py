"""Event streams in memory and over TCP, on a virtual clock: every time is exact."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
from event_stream_tools import chunks, ends_cleanly, numbers, silence, streaming
from story_tools import GET, loud, open_house
from trio.testing import MockClock, wait_all_tasks_blocked

import roadrunner_trio as rr
from roadrunner_trio import EventSender, EventStream, Request, ServerSentEvent
from roadrunner_trio.testing import open_server

# -- what is sent --------------------------------------------------------------------------------


async def test_an_async_iterable_is_a_source() -> None:
    async def handler(request: Request) -> EventStream:
        return EventStream(request, numbers(), retry=3)

    async with open_server(handler) as server:
        response = await server.client().get("/")
    assert [response.header(name) for name in ("content-type", "cache-control", "x-accel-buffering")] == [
        "text/event-stream",
        "no-store",
        "no",
    ]
    assert response.body == b"retry: 3000\n\ndata: one\n\nevent: number\nid: 2\ndata: two\ndata: lines\n\n"


async def test_an_async_function_is_a_source() -> None:
    async def source(sender: EventSender) -> None:
        await sender.send("one", event="number", id=int(sender.request.last_event_id or 0) + 1)
        await sender.send(ServerSentEvent.json({"a": 1}))
        await sender.send(retry=0.25)
        await sender.comment("hello")

    async with open_server(streaming(source)) as server:
        client = server.client()
        response = await client.get("/", fields={"last-event-id": "41"})
        assert response.body == b'event: number\nid: 42\ndata: one\n\ndata: {"a":1}\n\nretry: 250\n\n: hello\n\n'
        assert (await client.get("/")).body.startswith(b"event: number\nid: 1\n")


@pytest.mark.parametrize(
    ("sent", "seen"), [(b"42", "42"), (b"", None), (None, None), ("é".encode(), "é"), (b"\xff", "\ufffd")]
)
async def test_the_last_event_id(sent: bytes | None, seen: str | None) -> None:
    async def handler(request: Request) -> rr.Response:
        return rr.Response.json(request.last_event_id)

    async with open_server(handler) as server:
        fields = [] if sent is None else [(b"last-event-id", sent)]
        assert (await server.client().get("/", fields=fields)).body == rr.Response.json(seen).body


async def test_fields_of_the_handler_take_precedence() -> None:
    async def handler(request: Request) -> EventStream:
        return EventStream(request, numbers(), fields={"Cache-Control": "no-cache", "x-more": "1"})

    async with open_server(handler) as server:
        response = await server.client().get("/")
    names = [name for name, _ in response.fields]
    assert names.count(b"cache-control") == 1
    assert (response.header("cache-control"), response.header("x-more")) == ("no-cache", "1")
    assert response.header("content-type") == "text/event-stream"


async def test_to_http_1_0_the_end_of_the_connection_is_the_end_of_the_stream() -> None:
    async with open_house(streaming(numbers, call=True)) as house:
        peer = house.peer()
        await peer.say(b"GET / HTTP/1.0\r\n\r\n")
        assert (await peer.end()).endswith(b"\r\n\r\ndata: one\n\nevent: number\nid: 2\ndata: two\ndata: lines\n\n")


async def test_head_gets_the_head() -> None:
    async with open_server(streaming(silence)) as server:
        response = await server.client().request("HEAD", "/")
    assert (response.status, response.header("content-type"), response.body) == (200, "text/event-stream", b"")


async def test_several_tasks_may_send() -> None:
    async def source(sender: EventSender) -> None:
        async with trio.open_nursery() as nursery:
            for number in range(10):
                nursery.start_soon(sender.send, "x" * 10_000 + str(number))

    async with open_house(streaming(source)) as house:
        peer, stream = house.slow_peer(2_000)
        await peer.say(GET)
        for _ in range(60):
            stream.grant(2_000)
            await wait_all_tasks_blocked()
        assert peer.heard.count(b"data: ") == 10
        assert ends_cleanly(peer.heard)


@pytest.mark.parametrize("bad", [b"x", 7, None, {"data": "x"}])
async def test_an_iterable_of_other_things_is_an_error(bad: Any, caplog: pytest.LogCaptureFixture) -> None:
    async def things() -> AsyncIterator[Any]:
        yield "good"
        yield bad

    async with open_house(streaming(things, call=True)) as house:
        peer = house.peer()
        await peer.say(GET)
        heard = await peer.end()
        assert b"data: good" in heard
        assert not ends_cleanly(heard)
    assert len(loud(caplog)) == 1


async def test_an_error_of_the_source_truncates_the_stream_and_is_logged_as_itself(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def source(sender: EventSender) -> None:
        await sender.send("x")
        raise ValueError("the source failed")

    async with open_house(streaming(source)) as house:
        peer = house.peer()
        await peer.say(GET)
        assert not ends_cleanly(await peer.end())
        assert house.watch.only("exception").request.path == "/"
    [record] = [record for record in caplog.records if record.levelname == "ERROR"]
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ValueError)


async def test_an_event_that_is_made_has_its_fields() -> None:
    async def source(sender: EventSender) -> None:
        with pytest.raises(TypeError, match="made already"):
            await sender.send(ServerSentEvent("x"), id=1)
        with pytest.raises(ValueError, match="has data"):
            await sender.send()
        with pytest.raises(ValueError, match="one line"):
            await sender.comment("a\nb")

    async with open_server(streaming(source)) as server:
        assert (await server.client().get("/")).body == b""


def plain(sender: object) -> None:
    """No source: nobody can wait for it."""


async def test_a_source_that_is_none() -> None:
    async with open_server(streaming(silence)) as server:
        request = server  # anything will do: it is not looked at
        with pytest.raises(TypeError, match="call it"):
            EventStream(request, numbers)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="an async iterable or an async function"):
            EventStream(request, ["x"])  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=r"write `async def source\(sender\)`, not <function plain"):
            EventStream(request, plain)  # type: ignore[arg-type]
        for settings in ({"heartbeat": 0}, {"heartbeat": math.nan}, {"retry": -1}, {"drain_retry": math.inf}):
            with pytest.raises(ValueError, match="seconds"):
                EventStream(request, silence, **settings)  # type: ignore[arg-type]
        for grace in (-1, math.nan):
            with pytest.raises(ValueError, match="drain_grace"):
                EventStream(request, silence, drain_grace=grace)  # type: ignore[arg-type]


# -- the heartbeat -------------------------------------------------------------------------------


async def test_silence_is_filled_with_comments(autojump_clock: MockClock) -> None:
    async with open_house(streaming(silence)) as house:
        peer = house.peer()
        start = trio.current_time()
        await peer.say(GET)
        await trio.sleep(46)
        assert [time - start for time in peer.times] == [0, 15, 30, 45]
        assert chunks(peer.heard) == b":\n\n" * 3


async def test_an_event_puts_the_heartbeat_off(autojump_clock: MockClock) -> None:
    async def source(sender: EventSender) -> None:
        for pause in (1, 3, 9.5, 10, 0, 10.5):
            await trio.sleep(pause)
            await sender.send(str(pause))
        await trio.sleep_forever()

    async with open_house(streaming(source, heartbeat=10)) as house:
        peer = house.peer()
        start = trio.current_time()
        await peer.say(GET)
        await trio.sleep(45)
        times = sorted({time - start for time in peer.times})
    assert times == [0, 1, 4, 13.5, 23.5, 33.5, 34, 44]
    assert chunks(peer.heard).count(b":\n\n") in (2, 3)  # at 23.5 both have their time, and either may be first


async def test_events_that_flow_wake_the_heartbeat_once_an_interval(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    from roadrunner_trio.messages.event_stream import _Session

    beat, woken = _Session._beat, []

    async def counted(self: _Session) -> None:
        woken.append(trio.current_time())
        await beat(self)

    async def source(sender: EventSender) -> None:
        while True:
            await sender.send("x")
            await trio.sleep(0.01)

    monkeypatch.setattr(_Session, "_beat", counted)
    async with open_house(streaming(source, heartbeat=10)) as house:
        peer = house.peer()
        await peer.say(GET)
        await trio.sleep(60.5)
    assert len(woken) == 6
    assert b":\n\n" not in chunks(peer.heard)


async def test_without_a_heartbeat_silence_is_silence(autojump_clock: MockClock) -> None:
    async with open_house(streaming(silence, heartbeat=None)) as house:
        peer = house.peer()
        await peer.say(GET)
        await trio.sleep(50_000)
        assert chunks(peer.heard) == b""


async def test_a_heartbeat_waits_for_the_peers_window(autojump_clock: MockClock) -> None:
    """The peer takes nothing: the comment that waits is not cut by the end of the stream, nor another begun."""

    async def source(sender: EventSender) -> None:
        await trio.sleep(12)

    async with open_house(streaming(source, heartbeat=10)) as house:
        peer, stream = house.slow_peer(0)
        stream.grant(len(b"HTTP/1.1 200 OK\r\n"))
        await peer.say(GET)
        stream.grant(200)
        await wait_all_tasks_blocked()
        stream.room = 2
        await trio.sleep(20)
        stream.grant(1000)
        await wait_all_tasks_blocked()
        assert chunks(peer.heard) == b":\n\n"
        assert ends_cleanly(peer.heard)


async def test_an_event_that_waits_for_the_peers_window_is_sign_of_life_enough(autojump_clock: MockClock) -> None:
    async def source(sender: EventSender) -> None:
        await sender.send("x" * 1000)
        await trio.sleep(9)

    async with open_house(streaming(source, heartbeat=10)) as house:
        peer, stream = house.slow_peer(500)
        await peer.say(GET)
        await trio.sleep(25)
        stream.grant(10_000)
        await peer.until(b"\r\n0\r\n\r\n")
        assert chunks(peer.heard) == b"data: %b\n\n" % (b"x" * 1000)


async def test_a_peer_that_does_not_take_a_heartbeat_in_time(autojump_clock: MockClock) -> None:
    async with open_house(streaming(silence), timeouts=rr.Timeouts(write=7)) as house:
        peer, stream = house.slow_peer(1000)
        start = trio.current_time()
        await peer.say(GET)
        stream.room = 0
        assert await house.empty() - start == 15 + 7
        assert house.watch.only("exception").outcome == "timeout"
