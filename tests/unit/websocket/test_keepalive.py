"""Signs of life: what a peer that is slow shows, and one that is gone does not."""

from __future__ import annotations

import pytest
import trio
from story_tools import loud
from trio.testing import wait_all_tasks_blocked
from websocket_tools import PING, PONG, TEXT, Diary, closed, frame, handshake, said, sessions

import roadrunner_trio as rr

LARGE = bytes(8 * 1024 * 1024)
WORD = said(TEXT, "done")
SLOW = "the peer takes too long to take what is sent to it"


async def trickle(stream, octets: int, seconds: float) -> None:
    """The peer takes ``octets``, and again, every so often."""
    while True:
        stream.grant(octets)
        await trio.sleep(seconds)


def outcomes(house) -> list[str]:
    return [event.outcome for name, event in house.watch.events if name in ("stop", "exception")]


def notes(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "roadrunner_trio.error"]


async def test_case_03_a_peer_that_takes_a_message_slowly_is_not_dead(autojump_clock, caplog):
    """A mebibyte and a half a second, and a ping every second that stands behind the message."""
    caplog.set_level("INFO")

    async def handler(request):
        session = await request.accept()
        await session.send_message(LARGE)
        await session.send_message("done")
        ended.append(trio.current_time())

    ended = []
    async with sessions(handler, ping_interval=1, ping_timeout=1) as (house, _):
        peer, stream = house.slow_peer(200)
        await peer.say(handshake())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trickle, stream, 1_572_864 // 8, 0.125)
            await peer.until(WORD)
            nursery.cancel_scope.cancel()
        assert ended == [pytest.approx(8 / 1.5, abs=0.3)]
        await peer.say(frame(PONG) + frame(8, b"\x03\xe8"))
        await peer.close()
        await house.empty()
    assert notes(caplog) == []


async def test_it_may_take_as_long_as_the_write_timeout_for_a_part_of_it(autojump_clock):
    """64 KiB in 25 seconds, which is longer than a pong may take and shorter than a write."""
    diary = Diary()
    async with sessions(diary) as (house, _), trio.open_nursery() as nursery:
        peer, stream = house.slow_peer(200)
        await peer.say(handshake())
        nursery.start_soon(diary.session.send_message, bytes(640_000))
        for _ in range(9):
            await trio.sleep(25)
            stream.grant(65536)
        await wait_all_tasks_blocked()
        assert diary.session.closed is None
        stream.grant(1_000_000)
        await trio.sleep(1)
        assert peer.take().endswith(said(PING)), "one ping, however many were due"
        await peer.say(frame(PONG))
        await trio.sleep(19)
        assert diary.session.closed is None
        await diary.leave()


async def test_a_pong_is_due_from_when_its_ping_has_gone_out(autojump_clock):
    diary = Diary()
    async with sessions(diary, ping_interval=10, ping_timeout=4) as (house, _), trio.open_nursery() as nursery:
        peer, stream = house.slow_peer(200)
        await peer.say(handshake())
        await trio.sleep(9)
        nursery.start_soon(diary.session.send_message, bytes(100_000))
        await trio.sleep(17)  # 26: the ping of 10 stands behind the message
        assert diary.session.closed is None
        stream.grant(1_000_000)
        await wait_all_tasks_blocked()
        assert peer.take().endswith(said(PING))
        await trio.sleep(3.9)
        assert diary.session.closed is None, "nobody knows when in the last four seconds the ping has reached its peer"
        await trio.sleep(4.2)
        assert (diary.session.closed.code, diary.session.closed.reason) == (1011, "keepalive ping timeout")
        await diary.leave()


@pytest.mark.parametrize("reads", [True, False])
async def test_one_that_takes_nothing_is_left_after_the_write_timeout(reads, autojump_clock, caplog):
    caplog.set_level("INFO")

    async def handler(request):
        session = await request.accept()
        with pytest.raises(rr.ConnectionClosed) as caught:
            await session.send_message(bytes(500_000))
        ends.append((trio.current_time(), caught.value.reason.code, caught.value.reason.reason))

    ends = []
    async with sessions(handler, timeouts=rr.Timeouts(write=7)) as (house, _), trio.open_nursery() as nursery:
        peer, _stream = house.slow_peer(200)
        await peer.say(handshake())
        if reads:
            nursery.start_soon(talk, peer)
        await house.empty()
        nursery.cancel_scope.cancel()
    assert ends == [(7, 1006, SLOW)]
    assert notes(caplog) == [f"gave up the WebSocket of SlowStream: {SLOW}"]
    assert outcomes(house) == ["timeout"], "it is we who left"
    assert loud(caplog) == []


async def talk(peer) -> None:
    """A peer that speaks all the while."""
    while True:
        with trio.move_on_after(1):
            await peer.say(frame(TEXT, "I am here"))
        await trio.sleep(1)


@pytest.mark.parametrize("takes", [0, 1000])
async def test_where_writes_may_take_for_ever_it_is_judged_by_what_it_takes(takes, autojump_clock):
    """Nothing at all until the pong is due is too little."""
    diary = Diary()
    timeouts = rr.Timeouts(write=float("inf"))
    async with sessions(diary, timeouts=timeouts) as (house, _), trio.open_nursery() as nursery:
        peer, stream = house.slow_peer(200)
        await peer.say(handshake())
        nursery.start_soon(quietly, diary.session, bytes(500_000))
        if takes:
            nursery.start_soon(trickle, stream, 65536, 15)
        await trio.sleep(41)
        assert (diary.session.closed is None) is bool(takes)
        nursery.cancel_scope.cancel()


async def quietly(session, message) -> None:
    with pytest.raises(rr.ConnectionClosed):
        await session.send_message(message)


async def test_one_that_does_not_take_what_is_owed_to_it_is_left_when_a_write_would_be(autojump_clock, caplog):
    """It talks, and does not take our pong, behind which the ping stands."""
    caplog.set_level("INFO")
    diary = Diary()
    async with sessions(diary) as (house, _):
        peer, _stream = house.slow_peer(160)
        await peer.say(handshake())
        await peer.say(frame(PING, bytes(100)))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(talk, peer)
            await trio.sleep(29.9)
            assert diary.session.closed is None
            await trio.sleep(0.2)
            nursery.cancel_scope.cancel()
        assert (diary.session.closed.code, diary.session.closed.reason) == (1006, SLOW)
        await diary.leave()
        await house.empty()
    assert notes(caplog) == [f"gave up the WebSocket of SlowStream: {SLOW}"]


async def test_a_peer_that_answers_nothing_is_told_of_as_that(autojump_clock, caplog):
    caplog.set_level("INFO")
    diary = Diary()
    async with sessions(diary) as (house, meet):
        peer = await meet()
        await trio.sleep(40.1)
        assert peer.take() == said(PING) + closed(1011, "keepalive ping timeout")
        await diary.leave()
        await house.empty()
    assert notes(caplog) == ["gave up the WebSocket of memory: keepalive ping timeout"]
    assert outcomes(house) == ["timeout"]


async def test_a_peer_that_pours_and_is_not_heard_of_is_left_all_the_same(autojump_clock):
    """Messages that it takes are a sign of life only for what stands before the ping."""

    async def handler(request):
        session = await request.accept()
        ends.append(await pour(session, bytes(70_000), 0.5))

    ends = []
    async with sessions(handler) as (house, _):
        await house.peer().say(handshake())
        await house.empty()
    assert ends == [(40, 1011)]


async def pour(session, message: bytes, seconds: float) -> tuple[float, int]:
    """The same message every so often, until the session is over: when, and the code."""
    try:
        while True:
            await session.send_message(message)
            await trio.sleep(seconds)
    except rr.ConnectionClosed as exc:
        return trio.current_time(), exc.reason.code


async def test_many_peers_that_are_left_are_some_lines(autojump_clock, caplog):
    caplog.set_level("INFO")
    diaries = [Diary() for _ in range(15)]
    waiting = list(diaries)

    async def handler(request):
        await waiting.pop(0)(request)

    async with sessions(handler, ping_interval=1, ping_timeout=1) as (house, meet):
        for _ in range(14):
            await meet()
        await trio.sleep(2)
        for diary in diaries[:14]:
            await diary.leave()
        await house.empty()
        assert len(notes(caplog)) == 10
        await trio.sleep(10)
        await meet()
        await trio.sleep(2)
        await diaries[14].leave()
        await house.empty()
    assert notes(caplog)[10].endswith("keepalive ping timeout; 4 WebSockets that were given up before it were left out")


async def test_messages_in_a_hurry_do_not_hide_that_a_peer_has_gone(autojump_clock):
    """A handler that sends a little all the while, to a peer whose system takes it, and which says nothing."""

    async def handler(request):
        session = await request.accept()
        ends.append(await pour(session, b"tick", 0.1))

    ends = []
    for kind in ("memory", "tcp"):
        async with sessions(handler, kind) as (house, _):
            begun = trio.current_time()
            await house.meet(kind).say(handshake())
            await house.empty()
            assert ends.pop() == (pytest.approx(begun + 40, abs=0.11), 1011)
