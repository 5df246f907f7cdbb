"""Sessions: order, room, and every way to end, on tasks of their own and on the poller's edges."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked
from trio_websocket import ConnectionClosed
from websocket_tools import (
    BINARY,
    CLOSE,
    KINDS,
    PING,
    PONG,
    TEXT,
    Diary,
    closed,
    closing,
    echo,
    frame,
    said,
    sessions,
)

from roadrunner_trio.websocket import core


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


def ended(caught) -> tuple[int, str | None]:
    return caught.value.reason.code, caught.value.reason.reason


async def met(session) -> tuple[int, str | None]:
    with pytest.raises(ConnectionClosed) as caught:
        await session.get_message()
    return ended(caught)


# -- order -------------------------------------------------------------------------------------------


async def test_what_was_complete_is_answered_before_the_end(kind, autojump_clock):
    for last, answer in [
        (closing(1000, "bye"), closed(1000)),
        (closing(), closed()),
        (closing(4000), closed(4000)),
        (frame(3), closed(1002, "Invalid opcode 0x3")),
        (frame(TEXT, b"\xff"), closed(1007, "a text that is not UTF-8")),
        (frame(CLOSE, b"\x00"), closed(1002, "a close frame with one octet")),
    ]:
        async with sessions(echo, kind) as (house, meet):
            peer = await meet()
            await peer.say(frame(TEXT, "a") + frame(BINARY, b"b") + last)
            await peer.close()
            assert peer.take() == said(TEXT, "a") + said(BINARY, b"b") + answer
            await house.empty()
            assert trio.current_time() == 0, "nobody has waited"


@pytest.mark.parametrize("last", [closing(1000), frame(3)])
async def test_a_handler_that_does_not_come_has_a_second(last, kind, autojump_clock):
    diary = Diary()
    async with sessions(diary, kind) as (_, meet):
        peer = await meet()
        await peer.say(frame(TEXT, "a") + last)
        await trio.sleep(0.99)
        assert peer.take() == b""
        await diary.session.send_message("still")
        await trio.sleep(0.02)
        assert peer.take()[:8] == said(TEXT, "still") + b"\x88"
        with pytest.raises(ConnectionClosed):
            await diary.session.send_message("late")
        assert await diary.session.get_message() == "a", "what came before the end can still be read"
        code, _ = await met(diary.session)
        assert code == (1000 if last == closing(1000) else 1002)
        assert diary.session.closed.code == code
        await diary.leave()


async def test_the_peers_code_and_reason(kind, autojump_clock):
    diary = Diary()
    async with sessions(diary, kind) as (_, meet):
        peer = await meet()
        await peer.say(closing(4001, "grün"))
        assert await met(diary.session) == (4001, "grün")
        assert await met(diary.session) == (4001, "grün"), "as often as it is asked"
        with pytest.raises(ConnectionClosed) as caught:
            await diary.session.send_message("a")
        assert ended(caught) == (4001, "grün")
        await diary.leave()


async def test_a_peer_that_just_goes(kind, autojump_clock):
    diary = Diary()
    async with sessions(diary, kind) as (_, meet):
        peer = await meet()
        await peer.say(frame(TEXT, "a"))
        await peer.close()
        assert await diary.session.get_message() == "a"
        assert await met(diary.session) == (1006, "the peer closed the connection")
        await diary.leave()


# -- control frames ----------------------------------------------------------------------------------


async def test_pings_are_answered_although_nobody_reads(kind, autojump_clock):
    diary = Diary()
    async with sessions(diary, kind) as (_, meet):
        peer = await meet()
        await peer.say(frame(TEXT, "a") + b"".join(frame(PING, str(n)) for n in range(10)) + frame(PONG, "x"))
        assert peer.take() == b"".join(said(PONG, str(n)) for n in range(10))
        await diary.leave()


async def test_the_handlers_own_pings(kind, autojump_clock):
    diary = Diary()
    async with sessions(diary, kind) as (_, meet), trio.open_nursery() as nursery:
        peer = await meet()
        session, answered = diary.session, []

        async def ping(payload):
            await session.ping(payload)
            answered.append(payload)

        nursery.start_soon(ping, b"1")
        await wait_all_tasks_blocked()
        nursery.start_soon(ping, b"2")
        await wait_all_tasks_blocked()
        nursery.start_soon(ping, None)
        await wait_all_tasks_blocked()
        assert peer.take() == said(PING, "1") + said(PING, "2") + said(PING, bytes(4))
        with pytest.raises(ValueError, match="under way"):
            await session.ping(b"1")
        await peer.say(frame(PONG, "unknown") + frame(PONG, "2"))
        assert sorted(answered) == [b"1", b"2"]
        await peer.say(frame(PONG, bytes(4)))
        assert answered[2:] == [None]
        await session.pong(b"here")
        await session.pong()
        await wait_all_tasks_blocked()
        assert peer.take() == said(PONG, "here") + said(PONG)
        for call in (session.ping, session.pong):
            with pytest.raises(ValueError, match="at most 125 octets, not 126"):
                await call(bytes(126))
        await diary.leave()


async def test_a_ping_that_the_end_overtakes(kind, autojump_clock):
    diary = Diary()
    async with sessions(diary, kind) as (_, meet), trio.open_nursery() as nursery:
        peer = await meet()
        outcomes = []

        async def ping():
            with pytest.raises(ConnectionClosed) as caught:
                await diary.session.ping()
            outcomes.append(ended(caught))

        nursery.start_soon(ping)
        await wait_all_tasks_blocked()
        await peer.close()
        assert outcomes == [(1006, "the peer closed the connection")]
        for call in (diary.session.ping, diary.session.pong):
            with pytest.raises(ConnectionClosed):
                await call()
        await diary.leave()


async def test_keepalive(kind, autojump_clock):
    diary = Diary()
    async with sessions(diary, kind) as (house, meet):
        peer = await meet()
        await trio.sleep(19.9)
        assert peer.take() == b""
        await trio.sleep(0.2)
        assert peer.take() == said(PING)
        await trio.sleep(15)
        await peer.say(frame(PONG))
        await trio.sleep(10)
        assert peer.take() == said(PING), "at 40"
        await peer.say(frame(TEXT, "a message is a sign of life too"))
        await trio.sleep(20)
        assert peer.take() == said(PING), "at 60"
        await trio.sleep(14.8)
        assert diary.session.closed is None
        await trio.sleep(0.2)
        assert diary.session.closed.code == 1011
        assert peer.take() == closed(1011, "keepalive ping timeout")
        assert await diary.session.get_message() == "a message is a sign of life too"
        assert await met(diary.session) == (1011, "keepalive ping timeout")
        await diary.leave()
        await house.empty()


async def test_no_keepalive(kind, autojump_clock):
    diary = Diary()
    async with sessions(diary, kind, ping_interval=None) as (_, meet):
        peer = await meet()
        await trio.sleep(80_000)
        assert peer.take() == b""
        await diary.leave()


async def test_pings_that_need_no_answer(kind, autojump_clock):
    diary = Diary()
    async with sessions(diary, kind, ping_interval=5, ping_timeout=None) as (_, meet):
        peer = await meet()
        await trio.sleep(52)
        assert peer.take() == said(PING) * 10
        assert diary.session.closed is None
        await diary.leave()


async def test_a_peer_is_not_blamed_for_a_handler_that_does_not_read(kind, autojump_clock):
    diary = Diary()
    async with sessions(diary, kind, max_queue=1) as (_, meet):
        peer = await meet()
        await peer.say(frame(TEXT, "a") + frame(TEXT, "b") + frame(PONG))
        await trio.sleep(200)
        assert [await diary.session.get_message() for _ in range(2)] == ["a", "b"]
        await diary.leave()


# -- room --------------------------------------------------------------------------------------------


async def test_a_full_queue_makes_the_peer_wait(kind, autojump_clock):
    diary = Diary()
    async with sessions(diary, kind, max_queue=3) as (_, meet):
        peer = await meet()
        await peer.say(b"".join(frame(TEXT, str(n)) for n in range(10)) + frame(PING, "behind"))
        await peer.say(frame(TEXT, "10"))
        assert peer.take() == b"", "the ping stands behind messages that have no room"
        messages = [await diary.session.get_message() for _ in range(11)]
        assert messages == [str(n) for n in range(11)]
        await wait_all_tasks_blocked()
        assert peer.take() == said(PONG, "behind")
        await diary.leave()


async def test_a_full_queue_and_then_the_end(kind, autojump_clock):
    diary = Diary()
    async with sessions(diary, kind, max_queue=1) as (_, meet):
        peer = await meet()
        await peer.say(frame(TEXT, "a") + frame(TEXT, "b") + closing(1000))
        await trio.sleep(5)
        assert peer.take() == b""
        await diary.session.aclose(1001)
        await wait_all_tasks_blocked()
        assert peer.take()[:4] == closed(1001)
        await diary.leave()


async def test_large_messages_fill_the_queue_by_their_octets(kind, autojump_clock):
    diary = Diary()
    message = bytes(700_000)
    async with sessions(diary, kind) as (_, meet), trio.open_nursery() as nursery:
        peer = await meet()
        nursery.start_soon(peer.stream.send_all, frame(BINARY, message, mask=bytes(4)) * 4)
        await wait_all_tasks_blocked()
        assert len(diary.session._session.inbox.items) == 2
        for _ in range(4):
            assert await diary.session.get_message() == message
        await diary.leave()


async def test_a_flood_of_messages_leaves_turns_to_others(kind, autojump_clock):
    diary = Diary()
    async with sessions(diary, kind) as (_, meet):
        peer = await meet()
        await peer.say(frame(TEXT, "x") * 10)
        turns = 0

        async def count():
            nonlocal turns
            while True:
                turns += 1
                await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(count)
            for _ in range(10):
                await diary.session.get_message()
                await diary.session.send_message("y")
                await diary.session.send_message("y")
            nursery.cancel_scope.cancel()
        assert turns >= 15
        await diary.leave()


@pytest.mark.parametrize(("turn", "least"), [(core.TURN, 5), (0, 5_000)])
async def test_a_flood_of_pings_leaves_turns_to_others(turn, least, kind, autojump_clock, monkeypatch):
    monkeypatch.setattr(core, "TURN", turn)
    diary = Diary()
    async with sessions(diary, kind) as (_, meet):
        peer = await meet()
        await peer.stream.send_all(frame(PING) * 5_000 + frame(PING, "last"))
        turns = 0
        while not peer.heard.endswith(said(PONG, "last")) and turns < 100_000:
            turns += 1
            await trio.lowlevel.checkpoint()
        assert least <= turns < 100_000
        await diary.leave()


async def test_several_tasks_share_a_session(kind, autojump_clock):
    diary, got = Diary(), []
    async with sessions(diary, kind) as (_, meet):
        peer = await meet()

        async def take():
            got.append(await diary.session.get_message())

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(take)
            await wait_all_tasks_blocked()
            with trio.move_on_after(1):
                await diary.session.get_message()
            await peer.say(frame(TEXT, "a") + frame(TEXT, "b"))
            await peer.say(frame(TEXT, "c"))
        assert sorted(got) == ["a", "b", "c"]
        async with trio.open_nursery() as nursery:
            for letter in "abc":
                nursery.start_soon(diary.session.send_message, letter * 200_000)
        await wait_all_tasks_blocked()
        heard = peer.take()
        assert sorted(heard[at : at + 11] for at in range(0, len(heard), 200_010)) == [
            said(TEXT, letter * 200_000)[:11] for letter in "abc"
        ]
        await diary.leave()
