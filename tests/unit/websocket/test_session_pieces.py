"""Messages in pieces, both ways, and compressed ones."""

from __future__ import annotations

import zlib

import pytest
import trio
from trio.testing import wait_all_tasks_blocked
from trio_websocket import ConnectionClosed
from websocket_tools import BINARY, CONT, KINDS, PING, PONG, TEXT, Diary, closed, closing, frame, said, sessions

from roadrunner_trio import Compression
from roadrunner_trio.protocol.ws.assembly import Assembly

DEFLATE = b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


class Source:
    """Pieces that come when they are put in."""

    def __init__(self):
        self.put, self.get = trio.open_memory_channel(10)

    def __aiter__(self):
        return self.get


async def test_a_message_is_sent_as_its_pieces_come(kind, autojump_clock):
    diary, source = Diary(), Source()
    async with sessions(diary, kind) as (_, meet), trio.open_nursery() as nursery:
        peer = await meet()
        nursery.start_soon(diary.session.send_message, source)
        await wait_all_tasks_blocked()
        nursery.start_soon(diary.session.send_message, "after")
        for piece, out in [
            ("a", said(TEXT, "a", fin=False)),
            ("", said(CONT, "", fin=False)),
            ("ä", said(CONT, "ä", fin=False)),
        ]:
            await source.put.send(piece)
            await wait_all_tasks_blocked()
            assert peer.take() == out
        await peer.say(frame(PING, "between"))
        assert peer.take() == said(PONG, "between")
        source.put.close()
        await wait_all_tasks_blocked()
        assert peer.take() == said(CONT) + said(TEXT, "after")
        await diary.leave()


async def test_no_pieces_are_an_empty_message(kind, autojump_clock):
    diary, source = Diary(), Source()
    async with sessions(diary, kind) as (_, meet):
        peer = await meet()
        source.put.close()
        await diary.session.send_message(source)
        await diary.session.send_message(bytearray(b"a"))
        await wait_all_tasks_blocked()
        assert peer.take() == said(BINARY) + said(BINARY, b"a")
        await diary.leave()


@pytest.mark.parametrize("bad", [5, None, ["a"]])
async def test_what_is_no_message(bad, autojump_clock):
    diary = Diary()
    async with sessions(diary) as (_, meet):
        peer = await meet()
        with pytest.raises(ValueError, match="a message is str, bytes or an async iterable"):
            await diary.session.send_message(bad)

        class Text(str):
            pass

        await diary.session.send_message(Text("a"))
        await wait_all_tasks_blocked()
        assert peer.take() == said(TEXT, "a")
        await diary.leave()


async def test_a_message_that_breaks_off_ends_the_session(kind, autojump_clock):
    diary, source = Diary(), Source()
    async with sessions(diary, kind) as (_, meet):
        peer = await meet()
        await source.put.send("a")
        await source.put.send(b"b")
        with pytest.raises(ValueError, match="all str or all bytes"):
            await diary.session.send_message(source)
        await wait_all_tasks_blocked()
        assert peer.take() == said(TEXT, "a", fin=False) + closed(1011, "a message was not completed")
        with pytest.raises(ConnectionClosed):
            await diary.session.send_message("more")
        await diary.leave()


async def test_a_source_that_fails_before_its_first_piece_does_no_harm(kind, autojump_clock):
    diary = Diary()

    class Failing:
        def __aiter__(self):
            return self

        async def __anext__(self):
            raise KeyError

    async with sessions(diary, kind) as (_, meet):
        peer = await meet()
        with pytest.raises(KeyError):
            await diary.session.send_message(Failing())
        await diary.session.send_message("fine")
        await wait_all_tasks_blocked()
        assert peer.take() == said(TEXT, "fine")
        await diary.leave()


async def test_the_end_comes_between_two_pieces(kind, autojump_clock):
    diary, source = Diary(), Source()
    async with sessions(diary, kind) as (_, meet):
        peer = await meet()
        await peer.close()
        await source.put.send("a")
        with pytest.raises(ConnectionClosed):
            await diary.session.send_message(source)
        await diary.leave()


# -- receiving ---------------------------------------------------------------------------------------


async def test_a_message_is_received_as_its_pieces_come(kind, autojump_clock):
    diary, got = Diary(), []
    async with sessions(diary, kind, max_message=10) as (_, meet):
        peer = await meet()

        async def take():
            async for piece in diary.session.get_pieces():
                got.append(piece)
            got.append(await diary.session.get_message())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(take)
            await wait_all_tasks_blocked()
            await peer.say(frame(TEXT, b"0123456789", fin=False))
            assert got == ["0123456789"]
            await peer.say(frame(CONT, b"\xc3", fin=False) + frame(CONT, fin=False))
            assert got[1:] == []
            await peer.say(frame(CONT, b"\xa4"))
            assert got[1:] == ["ä"]
            await peer.say(frame(TEXT, "next"))
        assert got[2:] == ["next"]
        await diary.leave()


async def test_a_whole_message_is_one_piece(kind, autojump_clock):
    diary = Diary()
    async with sessions(diary, kind) as (_, meet):
        peer = await meet()
        await peer.say(frame(TEXT, "queued") + frame(BINARY, b""))
        for expected in ("queued", b""):
            assert [piece async for piece in diary.session.get_pieces()] == [expected]
        async with trio.open_nursery() as nursery:

            async def take():
                assert [piece async for piece in diary.session.get_pieces()] == ["waited for"]

            nursery.start_soon(take)
            await wait_all_tasks_blocked()
            await peer.say(frame(TEXT, "waited for") + frame(TEXT, "a", fin=False))
        await peer.say(frame(CONT, "b"))
        assert await diary.session.get_message() == "ab", "only one message was wanted in pieces"
        await diary.leave()


async def test_a_message_that_has_begun(kind, autojump_clock):
    diary = Diary()
    async with sessions(diary, kind) as (_, meet):
        peer = await meet()
        await peer.say(frame(TEXT, "a", fin=False))
        pieces = diary.session.get_pieces()
        assert await anext(pieces) == "a"
        await peer.say(frame(CONT, "b") + frame(TEXT, "c"))
        assert [piece async for piece in pieces] == ["b"]
        assert await diary.session.get_message() == "c"
        await diary.leave()


@pytest.mark.parametrize("again", ["message", "pieces"])
async def test_pieces_that_are_not_taken_are_passed_over(again, kind, autojump_clock):
    diary = Diary()
    async with sessions(diary, kind) as (_, meet):
        peer = await meet()
        await peer.say(frame(TEXT, "a", fin=False))
        assert await anext(diary.session.get_pieces()) == "a"
        await peer.say(frame(CONT, "b", fin=False) + frame(CONT, "c") + frame(TEXT, "d"))
        if again == "message":
            assert await diary.session.get_message() == "d"
        else:
            assert [piece async for piece in diary.session.get_pieces()] == ["d"]
        await diary.leave()


async def test_pieces_that_were_wanted_and_then_not(kind, autojump_clock):
    diary = Diary()
    async with sessions(diary, kind, max_message=3) as (_, meet):
        peer = await meet()
        for data, expected in [((b"a", b"b"), b"ab"), ((b"a", b"bcd"), None)]:
            with trio.move_on_after(1):
                await anext(diary.session.get_pieces())
            await peer.say(frame(BINARY, data[0], fin=False) + frame(CONT, data[1]))
            if expected is not None:
                assert await diary.session.get_message() == expected
        with pytest.raises(ConnectionClosed):
            await diary.session.get_message()
        await wait_all_tasks_blocked()
        assert peer.take() == closed(1009, "a message that is too large")
        await diary.leave()


@pytest.mark.parametrize(("fragments", "fits"), [(50, True), (51, False)])
async def test_case_38_a_message_that_nobody_wants_in_pieces_any_more_has_its_limits(
    fragments, fits, kind, autojump_clock
):
    """Whoever gave up before the first piece has taken nothing: what comes is a message like any other."""
    diary = Diary()
    async with sessions(diary, kind, max_fragments=50) as (_, meet):
        peer = await meet()
        with trio.move_on_after(1):
            await anext(diary.session.get_pieces())
        begin, end = frame(TEXT, "a", fin=False), frame(CONT, "z")
        await peer.say(begin + frame(CONT, "a", fin=False) * (fragments - 2) + end)
        if fits:
            assert await diary.session.get_message() == "a" * (fragments - 1) + "z"
            await peer.say(begin + end)
            assert await diary.session.get_message() == "az"
        else:
            with pytest.raises(ConnectionClosed):
                await diary.session.get_message()
            await wait_all_tasks_blocked()
            assert peer.take() == closed(1009, "a message of too many fragments")
        await diary.leave()


async def test_case_38_many_fragments_cost_what_few_do(autojump_clock, monkeypatch):
    """Nothing goes through all that has come whenever something comes."""
    added = []
    add = Assembly.add
    monkeypatch.setattr(Assembly, "add", lambda self, piece: (added.append(len(piece)), add(self, piece)))
    diary = Diary()
    async with sessions(diary) as (_, meet):
        peer = await meet()
        with trio.move_on_after(1):
            await anext(diary.session.get_pieces())
        await peer.say(frame(TEXT, "a", fin=False) + frame(CONT, "a", fin=False) * 998 + frame(CONT, "a"))
        assert await diary.session.get_message() == "a" * 1000
        assert sum(added) == 1000
        await diary.leave()


async def test_case_38_one_task_gives_up_and_another_waits_for_a_message(kind, autojump_clock):
    diary, got = Diary(), []

    async def message():
        got.append(await diary.session.get_message())

    async with sessions(diary, kind) as (_, meet), trio.open_nursery() as nursery:
        peer = await meet()
        nursery.start_soon(message)
        await wait_all_tasks_blocked()
        with trio.move_on_after(1):
            await anext(diary.session.get_pieces())
        await peer.say(frame(TEXT, "a", fin=False) + frame(CONT, "b"))
        assert got == ["ab"]
        await diary.leave()


@pytest.mark.parametrize(("octets", "fits"), [(40, True), (41, False)])
async def test_pieces_that_wait_although_nobody_wants_them_are_a_message(octets, fits, kind, autojump_clock):
    diary = Diary()
    async with sessions(diary, kind, max_message=40) as (_, meet):
        peer = await meet()
        diary.session._session.decoder.give_pieces()
        await peer.say(frame(BINARY, bytes(10), fin=False))
        with trio.move_on_after(1):
            await diary.session.get_message()
        await peer.say(frame(CONT, b"given up") + frame(TEXT, "next"))
        assert await diary.session.get_message() == "next", "not a part of another"
        diary.session._session.decoder.give_pieces()
        await peer.say(frame(BINARY, bytes(10), fin=False) + frame(CONT, bytes(10), fin=False))
        await peer.say(frame(CONT, bytes(octets - 20)) + frame(TEXT, "last"))
        if fits:
            assert await diary.session.get_message() == bytes(octets)
            assert await diary.session.get_message() == "last"
        else:
            with pytest.raises(ConnectionClosed) as caught:
                await diary.session.get_message()
            assert caught.value.reason.code == 1009
        await diary.leave()


async def test_the_end_inside_a_message(kind, autojump_clock):
    diary = Diary()
    async with sessions(diary, kind) as (_, meet):
        peer = await meet()
        await peer.say(frame(TEXT, "a", fin=False) + closing(1000))
        pieces = diary.session.get_pieces()
        assert await anext(pieces) == "a"
        with pytest.raises(ConnectionClosed):
            await anext(pieces)
        await diary.leave()


async def test_a_handler_that_is_slow_makes_its_peer_wait(kind, autojump_clock):
    diary = Diary()
    async with sessions(diary, kind) as (_, meet), trio.open_nursery() as nursery:
        peer = await meet()
        pieces = diary.session.get_pieces()
        total = 40 * 500_000

        async def say():
            for n in range(40):
                opcode = CONT if n else BINARY
                await peer.stream.send_all(frame(opcode, bytes(500_000), mask=bytes(4), fin=n == 39))

        got = 0
        async for piece in pieces_of(nursery, say, pieces):
            got += len(piece)
            assert diary.session._session.inbox.octets < 1_200_000
        assert got == total
        await diary.leave()


async def pieces_of(nursery, say, pieces):
    """Begins to say something only when somebody listens."""
    nursery.start_soon(say)
    async for piece in pieces:
        yield piece


# -- compression -------------------------------------------------------------------------------------


def deflated(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-12)
    return (packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH))[:-4]


class Inflating:
    def __init__(self):
        self.z = zlib.decompressobj(-15)

    def __call__(self, payload: bytes) -> bytes:
        return self.z.decompress(payload + b"\x00\x00\xff\xff")


async def test_compressed_messages(kind, autojump_clock):
    diary, inflated = Diary(), Inflating()
    async with sessions(diary, kind, compression=True) as (_, meet):
        peer = await meet(DEFLATE)
        await peer.say(frame(TEXT, deflated(b"hello " * 20), rsv=4) + frame(TEXT, "plain"))
        assert [await diary.session.get_message() for _ in range(2)] == ["hello " * 20, "plain"]
        for message in ("hello " * 20, b"hello " * 20):
            await diary.session.send_message(message)
            await wait_all_tasks_blocked()
            out = peer.take()
            assert out[0] == 0xC0 | (TEXT if isinstance(message, str) else BINARY)
            assert inflated(out[2:]) == (message.encode() if isinstance(message, str) else message)
        await diary.session.send_message("short")
        await wait_all_tasks_blocked()
        assert peer.take() == said(TEXT, "short"), "below the threshold"
        await diary.leave()


async def test_compressed_pieces(kind, autojump_clock):
    diary, source, inflated = Diary(), Source(), Inflating()
    async with sessions(diary, kind, compression=Compression(threshold=0)) as (_, meet):
        peer = await meet(DEFLATE)
        for piece in ("hello ", "again"):
            await source.put.send(piece)
        source.put.close()
        await diary.session.send_message(source)
        await wait_all_tasks_blocked()
        out, frames = peer.take(), []
        while out:
            size = out[1]
            frames.append((out[0], out[2 : 2 + size]))
            out = out[2 + size :]
        assert [first for first, _ in frames] == [0x40 | TEXT, CONT, 0x80 | CONT]
        assert inflated(b"".join(payload for _, payload in frames)) == b"hello again"
        pieces = diary.session.get_pieces()
        packed = deflated(b"there and back")
        async with trio.open_nursery() as nursery:
            got = []

            async def take():
                got.extend([piece async for piece in pieces])

            nursery.start_soon(take)
            await wait_all_tasks_blocked()
            await peer.say(frame(TEXT, packed[:5], rsv=4, fin=False))
            await peer.say(frame(CONT, packed[5:]))
        assert "".join(got) == "there and back"
        await diary.leave()


async def test_a_bomb(kind, autojump_clock):
    diary = Diary()
    async with sessions(diary, kind, compression=True, max_message=100_000) as (_, meet):
        peer = await meet(DEFLATE)
        await peer.say(frame(TEXT, "before") + frame(BINARY, deflated(bytes(1_000_000)), rsv=4))
        assert await diary.session.get_message() == "before"
        with pytest.raises(ConnectionClosed):
            await diary.session.get_message()
        await wait_all_tasks_blocked()
        assert peer.take() == closed(1009, "a message that is too large")
        await diary.leave()
