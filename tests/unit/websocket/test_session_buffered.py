"""What sessions hold in memory for their handlers: each by itself, and all of a listener together."""

from __future__ import annotations

import zlib

import pytest
import trio
from trio.testing import wait_all_tasks_blocked
from trio_websocket import ConnectionClosed
from websocket_tools import BINARY, CONT, KINDS, TEXT, Diary, closed, closing, echo, frame, said, sessions

import roadrunner_trio as rr

FULL = "the server holds as many messages as it can"


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


def large(octets: int, *, opcode: int = BINARY, fin: bool = True) -> bytes:
    return frame(opcode, bytes(octets), fin=fin, mask=bytes(4))


async def end_of(session) -> tuple[int, str | None]:
    with pytest.raises(ConnectionClosed) as caught:
        await session.get_message()
    return caught.value.reason.code, caught.value.reason.reason


async def test_what_waits_is_counted_until_it_is_taken(kind, autojump_clock):
    diary = Diary()
    async with sessions(diary, kind) as (house, meet):
        peer = await meet()
        assert house.listener.info().buffered == 0
        await peer.say(large(1000) + frame(TEXT, "a€") + large(100_000, fin=False))
        assert house.listener.info().buffered == 1000 + 4 + 100_000
        await diary.session.get_message()
        assert house.listener.info().buffered == 4 + 100_000
        await peer.say(large(500, opcode=CONT))
        assert house.listener.info().buffered == 4 + 100_500
        for _ in range(2):
            await diary.session.get_message()
        assert house.listener.info().buffered == 0
        await diary.leave()


async def test_who_waits_for_a_message_is_given_it_and_nothing_is_held(kind, autojump_clock):
    async with sessions(echo, kind) as (house, meet):
        peer = await meet()
        for size in (0, 10, 100_000):
            await peer.say(large(size))
            assert house.listener.info().buffered == 0
            assert peer.take() == said(BINARY, bytes(size))


async def test_a_message_in_pieces_is_not_held(kind, autojump_clock):
    diary = Diary()
    async with sessions(diary, kind) as (house, meet):
        peer = await meet()
        await peer.say(large(70_000, fin=False))
        assert house.listener.info().buffered == 70_000
        pieces = diary.session.get_pieces()
        assert await anext(pieces) == bytes(70_000)
        assert house.listener.info().buffered == 0
        await peer.say(large(5000, opcode=CONT))
        assert house.listener.info().buffered == 5000, "nobody waits for it"
        assert b"".join([piece async for piece in pieces]) == bytes(5000)
        assert house.listener.info().buffered == 0
        await diary.leave()


@pytest.mark.parametrize("whole", [True, False], ids=["a message", "a part of one"])
async def test_one_more_than_there_is_room_for_is_told_1013(whole, kind, autojump_clock, caplog):
    """Those who came before keep what they have, and there is room again when they have taken it."""
    caplog.set_level("INFO", "roadrunner_trio.error")
    diaries = [Diary() for _ in range(3)]
    waiting = list(diaries)

    async def handler(request):
        await waiting.pop(0)(request)

    async with sessions(handler, kind, limits=rr.Limits(max_buffered=250_000)) as (house, meet):
        first = await meet()
        await first.say(large(100_000))
        second = await meet()
        await second.say(large(10) + large(140_000, fin=whole))
        assert house.listener.info().buffered == 240_010
        third = await meet()
        await third.say(large(9_000))
        await third.say(large(991, fin=whole))
        assert await diaries[2].session.get_message() == bytes(9_000), "what there was room for"
        assert await end_of(diaries[2].session) == (1013, FULL)
        await wait_all_tasks_blocked()
        assert third.take() == closed(1013, FULL)
        assert house.listener.info().buffered == 240_010
        assert await diaries[0].session.get_message() == bytes(100_000)
        assert house.listener.info().buffered == 140_010
        await first.say(large(100_000))
        assert await diaries[0].session.get_message() == bytes(100_000)
        if not whole:
            await second.say(large(5, opcode=CONT))
        assert await diaries[1].session.get_message() == bytes(10)
        assert await diaries[1].session.get_message() == bytes(140_000 + 5 * (not whole))
        for diary in diaries:
            await diary.leave()
    [line] = [record.getMessage() for record in caplog.records]
    assert line.startswith("gave up the WebSocket of ")
    assert line.endswith(f": {FULL}")


async def test_what_inflates_is_counted_as_it_does(kind, autojump_clock):
    packer = zlib.compressobj(wbits=-12)
    bomb = packer.compress(bytes(5_000_000)) + packer.flush(zlib.Z_SYNC_FLUSH)
    diary = Diary()
    limits = rr.Limits(max_buffered=3_000_000)
    async with sessions(diary, kind, compression=True, limits=limits) as (house, meet):
        peer = await meet(b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits")
        await peer.say(frame(BINARY, bomb[:-4], rsv=4))
        await trio.sleep(1.1)
        assert peer.take() == closed(1013, FULL)
        assert house.listener.info().buffered == 0
        assert await end_of(diary.session) == (1013, FULL)
        await diary.leave()


async def test_a_wide_text_is_counted_by_what_it_takes(kind, autojump_clock):
    diary = Diary()
    async with sessions(diary, kind) as (house, meet):
        peer = await meet()
        await peer.say(frame(TEXT, "a" * 999 + "😀"))
        assert house.listener.info().buffered == 4000
        await peer.say(frame(TEXT, "a" * 999 + "😀", fin=False))
        assert house.listener.info().buffered == 8000
        await diary.leave()


async def test_without_a_limit(kind, autojump_clock):
    diary = Diary()
    async with sessions(diary, kind, limits=rr.Limits(max_buffered=None)) as (house, meet):
        peer = await meet()
        await peer.say(large(300_000))
        assert house.listener.info().buffered == 300_000
        await diary.leave()


async def test_after_our_close_nothing_is_held(kind, autojump_clock):
    """Only the peer's close frame matters; what it still sends is read over."""
    diary = Diary()
    async with sessions(diary, kind) as (house, meet), trio.open_nursery() as nursery:
        peer = await meet()
        await peer.say(large(1000) + large(2000, fin=False))
        assert house.listener.info().buffered == 3000
        nursery.start_soon(diary.session.aclose, 4000)
        await wait_all_tasks_blocked()
        assert house.listener.info().buffered == 0
        await peer.say(large(100_000, opcode=CONT, fin=False) + large(100_000, opcode=CONT) + large(50_000))
        assert house.listener.info().buffered == 0
        assert peer.take() == closed(4000)
        await peer.say(closing(4000))
        await diary.leave()


async def returns(session) -> None:
    pass


async def raises(session) -> None:
    raise ValueError("a mistake")


async def closes(session) -> None:
    await session.aclose()


async def sleeps(session) -> None:
    await trio.sleep_forever()


@pytest.mark.parametrize("ends", [returns, raises, closes, sleeps])
@pytest.mark.parametrize("then", ["says nothing", "closes", "vanishes", "breaks the protocol", "drain"])
async def test_whatever_ends_a_session_gives_back_what_it_held(ends, then, kind, autojump_clock):
    """That nothing is held in the end is looked at whenever a house closes; here while others are still served."""
    proceed = trio.Event()

    async def handler(request):
        session = await request.accept()
        if request.path == "/":
            await proceed.wait()
            await ends(session)

    async with sessions(handler, kind, close_timeout=3) as (house, meet):
        peer = await meet()
        await peer.say(large(5_000) + large(7_000) + large(20_000, fin=False))
        assert house.listener.info().buffered == 32_000
        if then == "closes":
            await peer.say(large(0, opcode=CONT) + closing(1000))
        elif then == "vanishes":
            await peer.close()
        elif then == "breaks the protocol":
            await peer.say(frame(3))
        elif then == "drain":
            house.nursery.start_soon(house.listener.drain, 1)
        proceed.set()
        await house.empty()
        assert house.listener.info().buffered == 0
