"""Loop responses: one mailbox for the application's messages, the drain's word and the peer's end."""

from __future__ import annotations

import pytest
import trio
from story_tools import GET, GET_10, answer, loud, open_house, post
from trio.testing import wait_all_tasks_blocked

import roadrunner_trio as rr

HEAD = b"HTTP/1.1 200 OK\r\ndate: D\r\ntransfer-encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"


def chunk(data):
    return b"%X\r\n%b\r\n" % (len(data), data)


class Loop:
    """A handler of loop responses, the sending end of its latest channel, and what its callback was given.

    Args:
        react: ``async def react(message, send)``; without one, every message is sent on.
        early: messages that are in the channel before the response begins.
    """

    def __init__(self, react=None, early=()):
        self.react = react or self.echo
        self.early = early
        self.seen = []
        self.put = None

    async def __call__(self, request):
        if request.path == "/next":
            return rr.Response(b"%d" % len(await request.read()))
        self.put, get = trio.open_memory_channel(100)
        for message in self.early:
            self.put.send_nowait(message)
        return rr.LoopResponse(get, self.on_message)

    async def on_message(self, message, send):
        self.seen.append(message)
        return await self.react(message, send)

    @staticmethod
    async def echo(message, send):
        if isinstance(message, bytes):
            await send(message)

    async def tell(self, *messages):
        """Puts messages in, and lets everybody act on them."""
        for message in messages:
            self.put.send_nowait(message)
        await wait_all_tasks_blocked()

    def is_over(self):
        """Whether a sender learns that nobody listens any more."""
        try:
            self.put.send_nowait("anybody?")
        except trio.BrokenResourceError:
            return True
        return False


# Messages


async def test_messages_come_in_order_and_a_closed_channel_is_the_end(autojump_clock):
    loop = Loop(early=[b"a"])
    async with open_house(loop) as house:
        peer = house.peer()
        await peer.say(GET)
        assert peer.take() == HEAD + chunk(b"a")
        await loop.tell(b"b", b"c")
        assert peer.take() == chunk(b"b") + chunk(b"c")
        loop.put.close()
        await wait_all_tasks_blocked()
        assert peer.take() == END
        await peer.say(GET.replace(b"/", b"/next", 1))
        assert peer.take() == answer(b"0")
    stop = house.watch.events[2][1]
    assert (stop.kind, stop.sent, stop.outcome) == ("loop", 3, "complete")
    assert loop.seen == [b"a", b"b", b"c"]


async def test_stop_is_the_end_and_senders_learn_of_it(autojump_clock):
    async def react(message, send):
        await send(b"bye")
        return rr.STOP

    loop = Loop(react, early=[b"a", b"b"])
    async with open_house(loop) as house:
        peer = house.peer()
        await peer.say(GET)
        assert peer.take() == HEAD + chunk(b"bye") + END
    assert loop.seen == [b"a"]
    assert loop.is_over()


async def test_messages_are_taken_one_at_a_time(autojump_clock):
    async def react(message, send):
        await trio.sleep(1)
        await send(message)

    loop = Loop(react, early=[b"a", b"b"])
    async with open_house(loop) as house:
        peer = house.peer()
        await peer.say(GET)
        await peer.until(chunk(b"a"))
        assert (loop.seen, trio.current_time()) == ([b"a", b"b"], 1)
        await peer.until(chunk(b"b"))
        assert trio.current_time() == 2


async def test_a_channel_can_be_shared_by_cloning_it(autojump_clock):
    put, get = trio.open_memory_channel(10)

    async def on_message(message, send):
        await send(message)
        return rr.STOP

    async def handler(request):
        return rr.LoopResponse(get.clone(), on_message)

    async with open_house(handler) as house:
        peers = [house.peer(), house.peer()]
        for peer in peers:
            await peer.say(GET)
        put.send_nowait(b"x")
        put.send_nowait(b"x")
        await wait_all_tasks_blocked()
        assert [peer.take() for peer in peers] == 2 * [HEAD + chunk(b"x") + END]
        put.send_nowait(b"one receiver is left")
    get.close()


async def test_to_http_10_the_close_is_the_end(autojump_clock):
    loop = Loop(early=[b"hello"])
    async with open_house(loop) as house:
        peer = house.peer()
        await peer.say(GET_10)
        loop.put.close()
        assert await peer.end() == b"HTTP/1.1 200 OK\r\ndate: D\r\nconnection: close\r\n\r\nhello"


async def test_without_a_body_the_channel_is_closed_at_once(autojump_clock):
    loop = Loop(early=[b"x"])
    async with open_house(loop) as house:
        peer = house.peer()
        await peer.say(b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n")
        assert peer.take() == b"HTTP/1.1 200 OK\r\ndate: D\r\n\r\n"
    assert loop.seen == []
    assert loop.is_over()


@pytest.mark.parametrize("error", [ValueError("oops"), rr.HTTPError(404)])
async def test_an_exception_truncates_visibly(error, autojump_clock, caplog):
    async def react(message, send):
        await send(message)
        raise error

    loop = Loop(react, early=[b"a", b"b"])
    async with open_house(loop) as house:
        peer = house.peer()
        await peer.say(GET + GET)
        await peer.finish()
        assert await peer.end() == HEAD + chunk(b"a")
        assert loop.is_over()
    assert house.watch.only("exception").outcome == "error"
    assert len(loud(caplog)) == 1
    assert str(error) in caplog.text


async def test_a_send_that_is_kept_is_over_with_the_response(autojump_clock):
    kept = []

    async def react(message, send):
        kept.append(send)
        return rr.STOP

    async with open_house(Loop(react, early=[b"x"])) as house:
        peer = house.peer()
        await peer.say(GET)
        with pytest.raises(RuntimeError, match="response is over"):
            await kept[0](b"late")
        assert peer.take() == HEAD + END


# The drain


async def test_the_drain_is_a_message_with_its_deadline(autojump_clock):
    async def react(message, send):
        if isinstance(message, rr.Draining):
            await send(b"bye")
            return rr.STOP
        return await send(message)

    loop = Loop(react)
    async with open_house(loop) as house:
        peer = house.peer()
        await peer.say(GET)
        await loop.tell(b"a")
        await trio.sleep(3)
        assert await house.listener.drain(10) == rr.Drained(finished=1, cut=0, stuck=0)
        assert peer.take() == HEAD + chunk(b"a") + chunk(b"bye") + END
        assert peer.ended_at == 3
    assert loop.seen == [b"a", rr.Draining(13)]


async def test_it_may_be_ignored_until_the_deadline(autojump_clock):
    loop = Loop()
    async with open_house(loop) as house:
        peer = house.peer()
        await peer.say(GET)
        house.nursery.start_soon(house.listener.drain, 10)
        await trio.sleep(4)
        await loop.tell(b"still here")
        assert peer.take() == HEAD + chunk(b"still here")
        assert await peer.end() == b""
        assert trio.current_time() == 10
    assert loop.seen == [rr.Draining(10), b"still here"]
    assert house.watch.only("exception").outcome == "cancelled"
    assert loop.is_over()


async def test_a_drain_that_is_brought_forward_is_told_once(autojump_clock):
    loop = Loop()
    async with open_house(loop) as house:
        await house.peer().say(GET)
        for grace in (10, 5):
            house.nursery.start_soon(house.listener.drain, grace)
            await wait_all_tasks_blocked()
        assert await house.empty() == 5
    assert loop.seen == [rr.Draining(10)]


async def test_who_begins_in_a_drain_is_told_at_once(autojump_clock):
    loop = Loop()

    async def handler(request):
        await request.drain.started.wait()
        return await loop(request)

    async with open_house(handler) as house:
        peer = house.peer()
        await peer.say(GET)
        house.nursery.start_soon(house.listener.drain, 10)
        await wait_all_tasks_blocked()
        assert loop.seen == [rr.Draining(10)]
        assert peer.take() == HEAD.replace(b"D\r\n", b"D\r\nconnection: close\r\n")
        loop.put.close()
        await peer.end()


# The peer's end


async def test_the_peers_end_is_the_last_message(autojump_clock, caplog):
    async def react(message, send):
        return None  # what is returned for the last message makes no difference

    loop = Loop(react)
    async with open_house(loop) as house:
        peer = house.peer()
        await peer.say(GET)
        await loop.tell(b"a")
        await peer.finish()
        assert loop.is_over()
        assert await peer.end() == HEAD
    assert loop.seen == [b"a", rr.Disconnected()]
    assert house.watch.only("exception").outcome == "gone"
    assert loud(caplog) == []


async def test_a_reset_is_one_too_and_nothing_can_be_sent_any_more(autojump_clock, caplog):
    async def react(message, send):
        with pytest.raises(rr.PeerGone):
            await send(b"anybody?")
        return rr.STOP

    loop = Loop(react)
    async with open_house(loop) as house:
        peer, stream = house.slow_peer(10_000)
        await peer.say(GET)
        stream.reset()
        await wait_all_tasks_blocked()
        assert peer.take() == HEAD
    assert loop.seen == [rr.Disconnected()]
    assert house.watch.only("exception").outcome == "gone"
    assert loud(caplog) == []


async def test_a_callback_that_stumbles_over_the_peers_end_is_no_error(autojump_clock, caplog):
    loop = Loop(lambda message, send: send(b"anybody?"))
    async with open_house(loop) as house:
        peer, stream = house.slow_peer(10_000)
        await peer.say(GET)
        stream.reset()
        await wait_all_tasks_blocked()
    assert loop.seen == [rr.Disconnected()]
    assert house.watch.only("exception").outcome == "gone"
    assert loud(caplog) == []


@pytest.mark.parametrize("size", [0, 10, 200_000])
async def test_what_the_peer_sends_meanwhile_is_the_next_request(size, autojump_clock):
    """More than it reads ahead, too: beyond that it takes the peer to be there."""
    loop = Loop()
    behind = post(b"Content-Length: %d" % size, body=b"x" * size).replace(b"/", b"/next", 1)
    async with open_house(loop) as house:
        peer = house.peer()
        await peer.say(GET)
        await peer.say(behind)
        await loop.tell(b"a")
        assert peer.take() == HEAD + chunk(b"a")
        loop.put.close()
        await wait_all_tasks_blocked()
        assert peer.take() == END + answer(b"%d" % size)
    assert loop.seen == [b"a"]
