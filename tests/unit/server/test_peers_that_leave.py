"""``request.disconnected()``: when it returns, and that waiting for it takes nothing from anybody."""

from __future__ import annotations

import pytest
import trio
from story_tools import GET, answer, last_word, loud, open_house, post
from trio.testing import wait_all_tasks_blocked

import roadrunner_trio as rr

AHEAD = 65536
"""How far the server reads ahead to find out."""


async def idles(request: rr.Request) -> bytes:
    """Works for ever."""
    await trio.sleep_forever()


async def reads(request: rr.Request) -> bytes:
    """Reads the body and then works for 20 seconds."""
    body = await request.read()
    await trio.sleep(20)
    return b"%d" % len(body)


class Watcher:
    """A handler that waits for its peer to go, beside its work, and notes when that was."""

    def __init__(self, work=idles) -> None:
        self.work = work
        self.gone_at: list[float] = []

    async def __call__(self, request: rr.Request) -> rr.Response:
        done = b"left"
        async with trio.open_nursery() as nursery:

            async def watch() -> None:
                await request.disconnected()
                self.gone_at.append(trio.current_time())
                nursery.cancel_scope.cancel()

            nursery.start_soon(watch)
            await wait_all_tasks_blocked()
            done = await self.work(request)
            nursery.cancel_scope.cancel()
        return rr.Response(done)


KINDS = pytest.mark.parametrize("kind", ["memory", "wire", "tcp"])


@KINDS
async def test_a_peer_that_closes_is_noticed_at_once(kind, autojump_clock, caplog):
    watcher = Watcher()
    async with open_house(watcher, tcp=kind == "tcp") as house:
        peer = house.meet(kind)
        await peer.say(GET)
        await trio.sleep(3)
        await peer.close()
        assert watcher.gone_at == [3]
        assert house.active == 0
    assert loud(caplog) == []


@KINDS
async def test_a_half_close_looks_the_same_but_the_answer_arrives(kind, autojump_clock):
    watcher = Watcher()
    async with open_house(watcher, tcp=kind == "tcp") as house:
        peer = house.meet(kind)
        await peer.say(GET)
        await trio.sleep(3)
        await peer.finish()
        assert watcher.gone_at == [3]
        assert await peer.end() == answer(b"left")


async def test_a_peer_that_had_closed_before_is_gone_from_the_beginning(autojump_clock):
    watcher = Watcher()
    async with open_house(watcher) as house:
        peer = house.peer()
        await peer.stream.send_all(GET)
        await peer.finish()
        assert watcher.gone_at == [0]


async def test_a_reset_is_noticed_too(autojump_clock, caplog):
    watcher = Watcher()
    async with open_house(watcher) as house:
        peer, stream = house.slow_peer(1000)
        await peer.say(GET)
        await trio.sleep(3)
        stream.reset()
        await wait_all_tasks_blocked()
        assert watcher.gone_at == [3]
        assert house.active == 0
    assert house.watch.only("exception").outcome == "gone"
    assert loud(caplog) == []


async def test_a_peer_that_stays_is_not_disturbed(autojump_clock):
    watcher = Watcher(reads)
    async with open_house(watcher) as house:
        peer = house.peer()
        await peer.say(GET)
        assert await peer.until(b"0") == answer(b"0")
        assert (trio.current_time(), watcher.gone_at) == (20, [])
        await peer.say(GET)
        await peer.until(b"0")
        assert house.phases() == ["idle"]


@pytest.mark.parametrize("more", [GET, GET * 3, b"GET / HT", b"\r\n"], ids=["one", "three", "a part", "an empty line"])
async def test_requests_read_ahead_are_served_in_their_turn(more, autojump_clock):
    watcher = Watcher(reads)
    async with open_house(watcher) as house:
        peer = house.peer()
        await peer.say(GET)
        await peer.say(more)
        assert await peer.until(b"0") == answer(b"0")
        await peer.say(GET if more == b"\r\n" else GET[8:] * more.endswith(b"HT"))
        for _ in range(max(1, more.count(b"Host"))):
            assert await peer.until(b"0") == answer(b"0")
        assert watcher.gone_at == []


async def test_a_peer_that_leaves_behind_requests_it_sent_ahead_is_noticed(autojump_clock):
    watcher = Watcher()
    async with open_house(watcher) as house:
        peer = house.peer()
        await peer.say(GET)
        await peer.say(GET)
        await trio.sleep(3)
        await peer.finish()
        assert await peer.end() == answer(b"left") * 2
        assert watcher.gone_at == [3, 3]


async def test_more_than_64_kib_ahead_the_peer_is_taken_to_be_there(autojump_clock):
    watcher = Watcher(reads)
    async with open_house(watcher) as house:
        peer, stream = house.slow_peer(AHEAD)
        await peer.say(GET)
        for _ in range(5):
            await peer.say(GET * (AHEAD // len(GET)))
        assert AHEAD < stream.taken < 3 * AHEAD, "it reads no further"
        await peer.finish()
        await trio.sleep(19)
        assert watcher.gone_at == []
        await trio.sleep(1)
        await wait_all_tasks_blocked()
        assert peer.take().startswith(answer(b"0"))


# Beside a reader of the body


async def test_beside_a_reader_of_the_body_nothing_is_lost(autojump_clock):
    watcher = Watcher(reads)
    async with open_house(watcher, body="streaming") as house:
        peer = house.peer()
        await peer.say(post(b"Content-Length: 200000"))
        for _ in range(8):
            await trio.sleep(1)
            await peer.say(b"x" * 25_000)
        assert await peer.until(b"200000") == answer(b"200000")
        assert trio.current_time() == 28
        assert watcher.gone_at == []


async def test_beside_a_reader_of_the_body_an_honest_peer_is_not_slow(autojump_clock):
    watcher = Watcher(reads)
    async with open_house(watcher, body="streaming") as house:
        peer = house.peer()
        await peer.say(post(b"Content-Length: 1000"))
        for _ in range(10):
            await trio.sleep(1)
            await peer.say(b"x" * 100)
        assert await peer.until(b"1000") == answer(b"1000"), "exactly 100 octets a second"


async def test_and_a_slow_one_is(autojump_clock):
    async with open_house(Watcher(reads), body="streaming") as house:
        peer = house.peer()
        await peer.say(post(b"Content-Length: 1000"))
        await trio.sleep(6)
        await peer.say(b"x" * 599)
        assert await peer.end() == last_word(b"408 Request Timeout")


async def test_a_peer_that_leaves_inside_the_body_is_gone_to_both(autojump_clock, caplog):
    seen = []

    async def handler(request):
        async def watch():
            await request.disconnected()
            seen.append("watcher")

        async def read():
            with pytest.raises(rr.PeerGone):
                await request.read()
            seen.append("reader")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            nursery.start_soon(read)
        return rr.Response()

    async with open_house(handler, body="streaming") as house:
        peer = house.peer()
        await peer.say(post(b"Content-Length: 5", body=b"1"))
        await trio.sleep(1)
        assert seen == []
        await peer.close()
        assert sorted(seen) == ["reader", "watcher"]
        assert house.active == 0
    assert loud(caplog) == []


@pytest.mark.parametrize("when", [0.5, 10])
async def test_a_peer_that_leaves_after_its_body_is_noticed_while_the_handler_works(when, autojump_clock):
    watcher = Watcher(reads)
    async with open_house(watcher, body="streaming") as house:
        peer = house.peer()
        await peer.say(post(b"Content-Length: 5", body=b"12345"))
        await trio.sleep(when)
        await peer.finish()
        assert watcher.gone_at == [when]


@pytest.mark.parametrize("size", [70_000, 200_000], ids=["all of it ahead", "part of it ahead"])
async def test_a_body_read_ahead_makes_room_when_it_is_taken(size, autojump_clock):
    async def work(request):
        await trio.sleep(5)
        return await reads(request)

    watcher = Watcher(work)
    async with open_house(watcher, body="streaming") as house:
        peer = house.peer()
        await peer.say(post(b"Content-Length: %d" % size, body=b"x" * size))
        await trio.sleep(2)
        await peer.finish()
        assert watcher.gone_at == [], "the end is behind a body that nobody has taken"
        await trio.sleep(3)
        await wait_all_tasks_blocked()
        assert watcher.gone_at == [5]


async def test_an_expectation_is_left_to_the_reader_of_the_body(autojump_clock):
    async def work(request):
        await trio.sleep(5)
        return await reads(request)

    async with open_house(Watcher(work), body="streaming") as house:
        peer = house.peer()
        await peer.say(post(b"Expect: 100-continue", b"Content-Length: 5"))
        assert peer.take() == b""
        assert await peer.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert trio.current_time() == 5
        await peer.say(b"12345")
        assert await peer.until(b"5") == answer(b"5")


async def test_waiting_for_the_peer_to_go_can_be_cancelled_and_begun_again(autojump_clock):
    async def handler(request):
        waits = 0
        with trio.CancelScope() as scope:
            while not scope.cancel_called:
                with trio.move_on_after(1) as wait:
                    await request.disconnected()
                if not wait.cancelled_caught:
                    break
                waits += 1
        return rr.Response(str(waits))

    async with open_house(handler) as house:
        peer = house.peer()
        await peer.say(GET)
        await trio.sleep(4.5)
        await peer.finish()
        assert await peer.end() == answer(b"4")
