"""How sessions end: by us, by a drain, and by peers that do not take what is sent to them."""

from __future__ import annotations

import pytest
import trio
from story_tools import loud
from trio.testing import wait_all_tasks_blocked
from trio_websocket import ConnectionClosed
from websocket_tools import (
    BINARY,
    CONT,
    KINDS,
    PING,
    PONG,
    TEXT,
    Diary,
    closed,
    closing,
    echo,
    frame,
    handshake,
    said,
    sessions,
)

import roadrunner_trio as rr
from roadrunner_trio.answering.faults import leaves


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


def ended(caught) -> tuple[int, str | None]:
    return caught.value.reason.code, caught.value.reason.reason


async def met(session) -> tuple[int, str | None]:
    with pytest.raises(ConnectionClosed) as caught:
        await session.get_message()
    return ended(caught)


# -- our end -----------------------------------------------------------------------------------------


async def test_a_close_waits_for_the_peers(kind, autojump_clock):
    diary = Diary()
    async with sessions(diary, kind) as (_, meet), trio.open_nursery() as nursery:
        peer = await meet()
        await peer.say(frame(TEXT, "dropped"))
        nursery.start_soon(diary.session.aclose, 4000, "enough")
        await wait_all_tasks_blocked()
        assert peer.take() == closed(4000, "enough")
        assert await met(diary.session) == (4000, "enough")
        await peer.say(frame(TEXT, "ignored") * 100 + frame(PING))
        await trio.sleep(3)
        await peer.say(closing(4000))
        assert trio.current_time() == 3
        await diary.session.aclose()
        await diary.leave()
        assert await peer.end() == b""
        assert peer.ended_at == 3


async def test_a_close_may_wait_for_nobody(kind, autojump_clock):
    diary = Diary()
    async with sessions(diary, kind) as (_, meet):
        peer = await meet()
        await peer.say(frame(TEXT, "dropped"))
        diary.session.close(4000, "enough")
        assert await met(diary.session) == (4000, "enough")
        diary.session.close()
        with pytest.raises(ValueError, match="1006"):
            diary.session.close(1006)
        await wait_all_tasks_blocked()
        assert peer.take() == closed(4000, "enough")
        await peer.say(closing(4000))
        await diary.leave()


async def test_a_peer_that_does_not_close_is_left_behind(kind, autojump_clock):
    diary = Diary()
    async with sessions(diary, kind, close_timeout=7) as (house, meet):
        peer = await meet()
        await diary.session.aclose()
        assert trio.current_time() == 7
        await diary.leave()
        assert await house.empty() == 7
        assert await peer.end() == closed(1000)


async def test_a_peer_that_answers_a_close_with_nonsense(kind, autojump_clock):
    diary = Diary()
    async with sessions(diary, kind) as (_, meet), trio.open_nursery() as nursery:
        peer = await meet()
        nursery.start_soon(diary.session.aclose)
        await peer.say(frame(3))
        await diary.leave()
        assert await peer.end() == closed(1000)
        assert await met(diary.session) == (1000, None)


async def test_codes_that_are_not_sent(kind, autojump_clock):
    diary = Diary()
    async with sessions(diary, kind) as (_, meet):
        await meet()
        with pytest.raises(ValueError, match="1005 is no close code"):
            await diary.session.aclose(1005)
        assert diary.session.closed is None
        await diary.leave()


async def test_a_session_in_a_with_block_and_in_a_loop(kind, autojump_clock):
    heard = []

    async def handler(request):
        async with await request.accept() as session:
            heard.extend([message async for message in session])

    async with sessions(handler, kind) as (_, meet):
        for code in (1000, 1001, None):
            peer = await meet()
            await peer.say(frame(TEXT, "a") + closing(code))
            await peer.close()
            assert peer.take() == closed(code)
    assert heard == ["a"] * 3


async def test_a_loop_over_a_session_that_breaks(kind, autojump_clock):
    errors = []

    async def handler(request):
        session = await request.accept()
        try:
            async for _ in session:
                raise AssertionError
        except ConnectionClosed as exc:
            errors.append(exc.reason.code)

    async with sessions(handler, kind) as (_, meet):
        await (await meet()).close()
        await (await meet()).say(closing(4000))
    assert errors == [1006, 4000]


async def test_a_handler_that_does_not_notice_is_cancelled(kind, autojump_clock):
    log = []

    async def handler(request):
        session = await request.accept()
        try:
            await trio.sleep_forever()
        finally:
            log.append((trio.current_time(), session.closed.code))

    async with sessions(handler, kind, close_timeout=4) as (house, meet):
        await (await meet()).close()
        assert await house.empty() == 4
        await (await meet()).say(closing(1000))
        await house.empty()
    assert log == [(4, 1006), (9, 1000)], "a second for its answer, and then its time to notice"
    assert [event.outcome for name, event in house.watch.events if name == "stop"] == ["complete"] * 2


@pytest.mark.parametrize("within", ["itself", "a nursery"])
async def test_what_a_handler_raises_when_it_is_cancelled_so_is_its_error(within, kind, autojump_clock, caplog):
    async def fails():
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("in the clean-up")

    async def handler(request):
        await request.accept()
        if within == "itself":
            await fails()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fails)
            await trio.sleep_forever()

    async with sessions(handler, kind, close_timeout=4) as (house, meet):
        peer = await meet()
        await peer.say(closing(1000))
        assert await house.empty() >= 5
        assert peer.take() == closed(1000)
    (stop,) = [event for name, event in house.watch.events if name == "exception"]
    assert (stop.outcome, [type(leaf) for leaf in leaves(stop.error)]) == ("error", [ValueError])


async def test_a_peer_has_its_time_to_read_the_end_of_a_handler_that_was_cancelled(kind, autojump_clock):
    async def handler(request):
        await request.accept()
        await trio.sleep_forever()

    timeouts = rr.Timeouts(linger=3)
    async with sessions(handler, kind, close_timeout=4, timeouts=timeouts) as (house, meet):
        await (await meet()).say(closing(1000))  # and does not close
        assert await house.empty() == 1 + 4 + 3


@pytest.mark.parametrize("begins", [0, 6], ids=["before it begins", "while it lasts"])
async def test_a_drain_cuts_that_time_short(kind, begins, autojump_clock):
    async def handler(request):
        await request.accept()
        await trio.sleep_forever()

    timeouts = rr.Timeouts(linger=30)
    async with sessions(handler, kind, close_timeout=4, close_on_drain=False, timeouts=timeouts) as (house, meet):
        await (await meet()).say(closing(1000))
        await trio.sleep(begins)
        assert (await house.listener.drain(7 - begins)).stuck == 0
        assert trio.current_time() == 7


async def test_a_handler_that_has_noticed_may_clean_up(kind, autojump_clock):
    async def handler(request):
        session = await request.accept()
        with pytest.raises(ConnectionClosed):
            await session.get_message()
        await trio.sleep(1000)

    async with sessions(handler, kind) as (house, meet):
        await (await meet()).close()
        assert await house.empty() == 1000


# -- drain -------------------------------------------------------------------------------------------


async def test_a_drain_says_1001(kind, autojump_clock):
    async with sessions(echo, kind) as (house, meet):
        peer = await meet()
        await trio.sleep(5)
        async with trio.open_nursery() as nursery:

            async def drain():
                assert await house.listener.drain(10) == rr.Drained(finished=1, cut=0, stuck=0)

            nursery.start_soon(drain)
            await wait_all_tasks_blocked()
            assert peer.take() == closed(1001, "the server is going down")
            await trio.sleep(2)
            await peer.say(closing(1001))
            await peer.close()
        assert trio.current_time() == 7


async def test_a_drain_does_not_wait_for_a_peer_for_ever(kind, autojump_clock):
    async with sessions(echo, kind, close_timeout=3) as (house, meet):
        await meet()
        assert await house.listener.drain(10) == rr.Drained(finished=1, cut=0, stuck=0)
        assert trio.current_time() == 3


async def test_a_drain_that_the_handler_answers_itself(kind, autojump_clock):
    async def handler(request):
        session = await request.accept()
        await request.request.drain.started.wait()
        await session.send_message("last words")
        await session.aclose(1012, "restart")

    async with sessions(handler, kind, close_on_drain=False) as (house, meet), trio.open_nursery() as nursery:
        peer = await meet()
        nursery.start_soon(house.listener.drain, 10)
        await wait_all_tasks_blocked()
        assert peer.take() == said(TEXT, "last words") + closed(1012, "restart")
        await peer.close()


async def test_the_deadline_of_a_drain_cuts_a_handler_that_stays(kind, autojump_clock):
    async def handler(request):
        await request.accept()
        await trio.sleep_forever()

    async with sessions(handler, kind, close_on_drain=False) as (house, meet):
        peer = await meet()
        assert await house.listener.drain(2) == rr.Drained(finished=0, cut=1, stuck=0)
        if kind == "tcp":
            assert await peer.end() == closed(1001, "the server is going down"), "it costs no wait"


async def test_a_session_that_begins_in_a_drain(kind, autojump_clock):
    async def handler(request):
        await trio.sleep(1)
        await echo(request)

    async with sessions(handler, kind) as (house, _), trio.open_nursery() as nursery:
        peer = house.meet(kind)
        await peer.say(handshake())
        nursery.start_soon(house.listener.drain, 10)
        await peer.until(closed(1001, "the server is going down"))
        await peer.say(closing(1001))
        await peer.close()


# -- peers that do not take --------------------------------------------------------------------------


async def test_a_peer_that_never_reads_is_cut(autojump_clock, caplog):
    async def handler(request):
        session = await request.accept()
        await session.send_message(bytes(100_000))
        await session.send_message(bytes(100_000))
        with pytest.raises(ConnectionClosed) as caught:
            await session.send_message(bytes(100_000))
        assert ended(caught) == (1006, "the peer takes too long to take what is sent to it")

    async with sessions(handler, timeouts=rr.Timeouts(write=5), ping_interval=None) as (house, _):
        peer, _stream = house.slow_peer(250_000)
        await peer.say(handshake())
        assert await house.empty() == 5
    assert loud(caplog) == []


async def test_a_peer_that_pings_and_never_reads(autojump_clock):
    diary = Diary()
    async with sessions(diary, timeouts=rr.Timeouts(write=5)) as (house, _):
        peer, stream = house.slow_peer(1000)
        await peer.say(handshake())
        for _ in range(100):
            await peer.say(frame(PING, bytes(125)) * 100)
        assert len(diary.session._session.link.owed) <= 32
        stream.grant(100_000)
        await wait_all_tasks_blocked()
        await peer.say(frame(PING, "last"))
        assert peer.take().endswith(said(PONG, "last"))
        await diary.leave()


async def test_a_cancelled_send_ends_the_session(autojump_clock):
    async def handler(request):
        session = await request.accept()
        with trio.move_on_after(2):
            await session.send_message(bytes(100_000))
        assert await met(session) == (1006, "a write was not finished")

    async with sessions(handler) as (house, _):
        peer, _stream = house.slow_peer(5000)
        await peer.say(handshake())
        assert await house.empty() == 2


async def test_a_message_too_large_while_it_is_sent_in_pieces(kind, autojump_clock):
    diary = Diary()
    async with sessions(diary, kind, max_message=1000) as (_, meet):
        peer = await meet()
        await peer.say(frame(BINARY, bytes(600), fin=False) + frame(CONT, bytes(600)))
        assert await met(diary.session) == (1009, "a message that is too large")
        await wait_all_tasks_blocked()
        assert peer.take() == closed(1009, "a message that is too large")
        await diary.leave()
