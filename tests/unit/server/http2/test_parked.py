"""Idle connections of HTTP/2 without a task: the engine waits in a slot, and goes on where it was."""

from __future__ import annotations

from contextlib import suppress
from contextvars import ContextVar

import h2.connection
import pytest
import trio
from dormitory_tools import note_fates, parked, tasks
from http2_peer import Http2Peer, open_http2
from http2_tools import HELLO, request
from presence_tools import needs_poller
from story_tools import loud, open_house
from tls_tools import contexts_of_a_new_authority
from trio.testing import wait_all_tasks_blocked

import roadrunner_trio as rr
from roadrunner_trio.server.carrier import Fate
from roadrunner_trio.transport.phases import Phase

pytestmark = needs_poller

AGAIN = pytest.mark.parametrize("time", range(8))
"""Of what happens in one tick: Trio takes the tasks of a tick in an order of chance."""
USER: ContextVar[str] = ContextVar("USER", default="nobody")
NO_ERROR, ANY_STREAM = 0, 2**31 - 1


async def hello(request):
    return rr.Response("hi", fields=[("x-agent", request.header("user-agent") or "none")])


async def asleep(house, count=1):
    """Until its connections have just been parked."""
    await trio.sleep(5)
    await wait_all_tasks_blocked()
    assert (parked(house), tasks(house)) == (count, [])


async def ask(peer):
    """One more request, with a field that is in the tables of both ends after the first."""
    answer = await peer.get(fields=[("user-agent", "a browser of some kind")])
    assert answer.brief == (200, b"hi")
    assert answer.header("x-agent") == "a browser of some kind"


@pytest.fixture
def fates(monkeypatch):
    """What has become of connections whose first tasks have ended."""
    return note_fates(monkeypatch)


async def test_after_its_time_it_has_no_task_and_is_there_as_before(autojump_clock, caplog, fates):
    async with open_http2(hello, "tcp") as (house, peer):
        await ask(peer)
        await trio.sleep(4.9)
        [before] = house.listener.connections()
        assert (parked(house), before.task is None) == (0, False)
        await trio.sleep(0.125)
        await wait_all_tasks_blocked()
        assert (parked(house), tasks(house)) == (1, [])
        [after] = house.listener.connections()
        assert (after.peer, after.protocol, after.requests) == (before.peer, "h2", 1)
        assert (after.phase, after.task, after.streams, after.doing) == ("idle", None, 0, "")
        assert (after.age + after.deadline, house.active, house.listener.in_hand) == (75, 1, 0)
        [slot] = house.listener._members()
        assert (slot.phase, slot.since) == (Phase.IDLE, 0)
        assert (house.watch.names(), fates) == (["accept", "start", "stop"], [Fate.PARKED])
        assert peer.goaways == []
    assert loud(caplog) == []


async def test_it_goes_on_with_all_that_was_said(autojump_clock):
    async with open_http2(hello, "tcp") as (house, peer):
        for count in range(1, 5):
            await ask(peer)
            [info] = house.listener.connections()
            assert (info.requests, info.protocol) == (count, "h2")
            await asleep(house)
        number = peer.ask("/")
        assert number == 9
        await peer.flush()
        assert (await peer.answer(number)).status == 200
        assert peer.goaways == []
    assert house.watch.names() == ["accept", *["start", "stop"] * 5, "close"]
    assert (house.watch.only("close").requests, house.watch.only("close").protocol) == (5, "h2")


async def test_windows_go_on_where_they_were(autojump_clock):
    """The peer gives no credit, and the window of the connection has let through what it could."""

    async def much(request):
        return rr.Response(b"x" * 30_000)

    async with open_house(much, tcp=True) as house:
        peer = await Http2Peer(house.meet("tcp"), gives_credit=False).greet()
        for _ in range(2):
            assert len((await peer.get()).body) == 30_000
            await asleep(house)
        number = peer.ask()
        await peer.flush()
        await wait_all_tasks_blocked()
        assert len(peer.streams[number].body) == 65535 - 60_000
        peer.conn.increment_flow_control_window(100_000)
        await peer.flush()
        assert len((await peer.answer(number)).body) == 30_000


async def test_what_the_peer_has_set_stays_set(autojump_clock):
    async with open_house(hello, tcp=True) as house:
        peer = await Http2Peer(house.meet("tcp"), gives_credit=False).greet({4: 1})  # the initial window
        for count in range(2):
            number = peer.ask()
            await peer.flush()
            await wait_all_tasks_blocked()
            assert peer.streams[number].body == b"h"
            peer.conn.increment_flow_control_window(10, number)
            await peer.flush()
            assert (await peer.answer(number)).brief == (200, b"hi")
            await asleep(house)
            assert house.listener.connections()[0].requests == count + 1


async def test_a_ping_wakes_it_and_moves_no_deadline(autojump_clock):
    async with open_http2(hello, "tcp") as (house, peer):
        await ask(peer)
        for beats in range(1, 8):
            await asleep(house)
            await trio.sleep(5)
            peer.conn.ping(b"%8d" % beats)
            await peer.flush()
            assert peer.pings == [b"%8d" % beat for beat in range(1, beats + 1)]
            [info] = house.listener.connections()
            assert (info.phase, info.age + info.deadline) == ("idle", 75)
        assert await peer.end() == pytest.approx(75, abs=0.1)
        assert peer.goaways == [(1, NO_ERROR)]


@pytest.mark.parametrize("kind", ["memory", "tcp"])
@pytest.mark.parametrize(("begins", "goes_on", "ends"), [(3, 4, 75), (60, 61, 75), (74, 80, 80)])
async def test_nor_does_one_that_comes_in_two_pieces(begins, goes_on, ends, kind, autojump_clock):
    async with open_http2(hello, kind) as (_, peer):
        await ask(peer)
        peer.conn.ping(b"12345678")
        ping = peer.conn.data_to_send()
        await trio.sleep(begins)
        await peer.peer.say(ping[:5])
        await trio.sleep_until(goes_on)
        await peer.peer.say(ping[5:])
        assert await peer.end() == ends
        assert peer.pings == [b"12345678"]
        assert peer.goaways == [(1, NO_ERROR)]


async def test_who_never_asks_has_the_time_of_a_first_request_whatever_else_is_said(autojump_clock):
    async with open_http2(hello, "tcp") as (_, peer):
        for _ in range(8):
            for piece in (b"\0\0\x08\x06\0\0", b"\0\0\0" + bytes(8)):
                await trio.sleep(3)
                with suppress(trio.BrokenResourceError):
                    await peer.peer.say(piece)
        assert peer.peer.ended_at == 30


async def test_its_time_is_up_at_the_same_moment(autojump_clock):
    async with open_http2(hello, "tcp") as (house, peer):
        await ask(peer)
        await asleep(house)
        assert await peer.end() == 75
        assert peer.goaways == [(1, NO_ERROR)]
        await peer.peer.stream.aclose()
        assert await house.empty() == 75
    assert house.watch.only("close").requests == 1


async def test_a_peer_that_does_not_leave_then_has_a_second(autojump_clock):
    async with open_http2(hello, "tcp") as (house, peer):
        await ask(peer)
        await asleep(house)
        assert await peer.end() == 75
        assert peer.goaways == [(1, NO_ERROR)]
        await peer.peer.say(request(3))  # it has crossed the word, and is not taken on
        assert (house.active, house.listener.info().requests) == (1, 1)
        assert await house.empty() == 76


async def test_one_that_never_asked_may_rest_too(autojump_clock):
    async with open_http2(hello, "tcp") as (house, peer):
        await asleep(house)
        await trio.sleep(4)
        await ask(peer)


async def test_what_has_begun_keeps_it_awake(autojump_clock):
    async with open_house(hello, tcp=True) as house:
        half, block = house.meet("tcp"), house.meet("tcp")
        await half.say(HELLO + request(1) + request(3)[:5])
        await block.say(HELLO + request(1) + b"\0\0\1\1\0\0\0\0\3\x88")  # HEADERS without END_HEADERS
        await trio.sleep(29)
        assert parked(house) == 0
        await half.end()
        await block.end()
        assert trio.current_time() == 30


async def test_a_stream_in_hand_keeps_it_awake(autojump_clock):
    async def slow(request):
        await trio.sleep(60)
        return rr.Response("hi")

    async with open_http2(slow, "tcp") as (house, peer):
        number = peer.ask()
        await peer.flush()
        await trio.sleep(59)
        assert parked(house) == 0
        assert (await peer.answer(number)).status == 200
        await asleep(house)


async def test_tasks_of_the_pool_that_still_rest_are_let_go(autojump_clock):
    async with open_http2(hello, "tcp", timeouts=rr.Timeouts(park_after=0.25)) as (house, peer):
        numbers = [peer.ask() for _ in range(10)]
        await peer.flush()
        for number in numbers:
            assert (await peer.answer(number)).status == 200
        await trio.sleep(0.3)
        await wait_all_tasks_blocked()
        assert (parked(house), tasks(house)) == (1, [])
        await ask(peer)


@pytest.mark.parametrize("octets", [16, 17, 18])
async def test_a_read_of_as_much_as_is_read_at_once_does_not_keep_it_awake(octets, autojump_clock):
    """There may be more behind it, of which no edge would tell."""
    async with open_http2(hello, "tcp") as (house, peer):
        await ask(peer)
        [conn] = house.listener._members()
        conn.most = octets
        peer.conn.ping(b"12345678")
        await peer.flush()
        assert peer.pings == [b"12345678"]
        await asleep(house)


@pytest.mark.parametrize("how", ["end", "reset"])
async def test_a_peer_that_leaves_is_gone_at_once_and_without_a_task(how, autojump_clock, caplog):
    async with open_http2(hello, "tcp") as (house, peer):
        await ask(peer)
        await asleep(house)
        house.listener._dormitory.start = None
        if how == "reset":
            peer.peer.stream.reset()
        else:
            await peer.peer.stream.aclose()
        assert await house.empty() == 5
    assert loud(caplog) == []


async def test_a_breach_meets_its_end_as_ever(autojump_clock, caplog):
    async with open_http2(hello, "tcp") as (house, peer):
        await ask(peer)
        await asleep(house)
        await peer.peer.say(b"\0\0\0\x06\0\0\0\0\0")  # a PING without its octets
        await peer.end()
        assert peer.goaways == [(1, 6)]
    assert loud(caplog) == []


async def test_budgets_are_not_filled_by_a_rest(autojump_clock):
    """Two seconds bring back what two seconds bring."""
    async with open_http2(hello, "tcp", timeouts=rr.Timeouts(park_after=1)) as (house, peer):
        await ask(peer)
        [conn] = house.listener._members()
        conn.engine.resets.left = -5
        await trio.sleep(1.1)
        await wait_all_tasks_blocked()
        [slot] = house.listener._members()
        assert slot.engine.resets.left == -5


async def test_nothing_is_kept_that_can_be_had_again(autojump_clock):
    async with open_http2(hello, "tcp") as (house, peer):
        await peer.get("/" + "x" * 5000)
        for _ in range(5):
            await ask(peer)
        [conn] = house.listener._members()
        assert conn.engine.sections._decoder.remembered
        await asleep(house)
        [slot] = house.listener._members()
        decoder = slot.engine.sections._decoder
        assert (slot.engine._data, slot.engine.streams, decoder.remembered) == (b"", {}, {})
        assert (b"user-agent", b"a browser of some kind") in decoder._table
        assert len(decoder._table) < 10, "the static table is one for all"
        assert (slot.engine.tell_breach, slot.engine.window_opened) == (None, None), "they hold the connection"


async def test_a_drain_tells_it_twice(autojump_clock):
    async with open_http2(hello, "tcp") as (house, peer):
        await ask(peer)
        await asleep(house)
        house.listener._start_drain(trio.current_time() + 10)
        await wait_all_tasks_blocked()
        await peer.read()
        assert peer.goaways == [(ANY_STREAM, NO_ERROR)]
        assert (tasks(house), house.active) == ([], 1), "nobody is woken for that"
        assert await peer.end() == 6
        assert peer.goaways == [(ANY_STREAM, NO_ERROR), (1, NO_ERROR)]


@pytest.mark.parametrize("after", [0, 0.5, 0.999])
async def test_a_request_that_crosses_the_first_word_is_served(after, autojump_clock):
    async with open_http2(hello, "tcp") as (house, peer):
        await ask(peer)
        await asleep(house)
        house.listener._start_drain(trio.current_time() + 10)
        await trio.sleep(after)
        await ask(peer)
        await peer.end()
        assert peer.goaways[-1] == (3, NO_ERROR)
    assert house.watch.only("close").requests == 2


@AGAIN
async def test_a_request_in_its_socket_comes_before_a_drain(time, autojump_clock):
    async with open_http2(hello, "tcp") as (house, peer):
        await ask(peer)
        await asleep(house)
        number = peer.ask()
        await peer.peer.stream.send_all(peer.conn.data_to_send())
        house.listener._start_drain(trio.current_time() + 10)
        assert (await peer.answer(number)).brief == (200, b"hi")
        await peer.end()


async def test_what_a_handler_that_drains_has_set_is_unseen_by_whoever_is_woken_for_that(autojump_clock):
    async def handler(request):
        before = USER.get()
        if request.path == "/drain":
            USER.set("operator")
            other.peer.slip(other.conn.data_to_send())
            house.listener._start_drain(trio.current_time() + 10)
        return rr.Response(before)

    async with open_http2(handler, "tcp") as (house, peer):
        other = await Http2Peer(house.meet("tcp")).greet()
        await peer.get()
        await other.get()
        await asleep(house, 2)
        number = other.ask()
        await peer.get("/drain")
        assert (await other.answer(number)).brief == (200, b"nobody")


async def test_a_peer_that_leaves_at_the_first_word_leaves_nothing(autojump_clock):
    async with open_http2(hello, "tcp") as (house, peer):
        await ask(peer)
        await asleep(house)
        house.listener._start_drain(trio.current_time() + 10)
        await peer.peer.stream.aclose()
        assert await house.empty() == 5


async def test_a_notice_ends_it_and_those_who_come_later_rest(autojump_clock):
    async with open_http2(hello, "tcp") as (house, peer):
        await ask(peer)
        await asleep(house)
        house.listener.notify(10)
        later = await Http2Peer(house.meet("tcp")).greet()
        await ask(later)
        assert await peer.end() == 6
        await trio.sleep(5)
        assert (parked(house), tasks(house)) == (1, [])
        await ask(later)


@pytest.mark.parametrize("again", ["a notice", "a drain"])
async def test_each_has_its_second_whatever_else_begins_in_it(again, autojump_clock):
    async with open_http2(hello, "tcp", timeouts=rr.Timeouts(park_after=0.25)) as (house, peer):
        await ask(peer)
        await trio.sleep(5)
        house.listener.notify(10)
        later = await Http2Peer(house.meet("tcp")).greet()
        await ask(later)
        await trio.sleep(0.75)
        assert (parked(house), tasks(house)) == (2, [])
        if again == "a notice":
            house.listener.notify(10)
        else:
            house.listener._start_drain(trio.current_time() + 10)
        assert (await peer.end(), await later.end()) == (6, 6.75)
        assert (peer.goaways, later.goaways) == ([(ANY_STREAM, NO_ERROR), (1, NO_ERROR)],) * 2
        await peer.peer.close()
        await later.peer.close()
        assert house.active == 0


async def test_also_when_its_time_is_up_in_it(autojump_clock):
    async with open_http2(hello, "tcp") as (house, peer):
        await ask(peer)
        await trio.sleep(74.5)
        house.listener.notify(10)
        await trio.sleep(0.75)
        await ask(peer)
        assert await peer.end() == 76.25
        assert peer.goaways == [(ANY_STREAM, NO_ERROR), (3, NO_ERROR)]


async def test_and_when_a_drain_begins_in_the_last_of_a_peer(autojump_clock):
    async with open_http2(hello, "tcp") as (house, peer):
        await ask(peer)
        assert await peer.end() == 75
        await trio.sleep(0.5)
        house.listener._start_drain(trio.current_time() + 10)
        await wait_all_tasks_blocked()
        assert house.active == 1
        assert await house.empty() == 76


@AGAIN
async def test_the_deadline_of_a_drain_cuts_the_second_short(time, autojump_clock):
    async with open_http2(hello, "tcp") as (house, peer):
        await ask(peer)
        await asleep(house)
        drained = await house.listener.drain(0.25)
        assert (drained.cut, drained.stuck) == (0, 0)
        assert await peer.end() == 5.25
        assert peer.goaways[-1] == (1, NO_ERROR)


@pytest.mark.parametrize("its_end", [False, True])
async def test_one_that_a_notice_has_told_falls_to_a_cancellation_too(its_end, autojump_clock):
    async with open_http2(hello, "tcp") as (house, peer):
        await ask(peer)
        await trio.sleep(75.25 if its_end else 5.25)
        house.listener.notify(10)
        await wait_all_tasks_blocked()
        assert parked(house) == 1
        house.nursery.cancel_scope.cancel()
    assert (house.active, parked(house)) == (0, 0)
    assert house.watch.names()[-1] == "close"


async def test_and_to_the_deadline_of_a_drain(autojump_clock):
    async with open_http2(hello, "tcp") as (house, peer):
        await ask(peer)
        await asleep(house)
        house.listener.notify(10)
        await trio.sleep(0.25)
        assert await house.listener.drain(0.25) == rr.Drained(finished=1, cut=0, stuck=0)
        assert await peer.end() == 5.5
        assert peer.goaways[-1] == (1, NO_ERROR)


async def test_it_makes_room_in_its_turn_and_says_so(autojump_clock):
    limits = rr.Limits(max_connections=1)
    async with open_http2(hello, "tcp", limits=limits, evict_idle=True) as (house, peer):
        await ask(peer)
        await asleep(house)
        other = await Http2Peer(house.meet("tcp")).greet()
        await ask(other)
        assert await peer.end() == 5
        assert peer.goaways == [(1, NO_ERROR)]


async def test_also_when_its_own_time_is_up_already(autojump_clock):
    limits = rr.Limits(max_connections=1)
    async with open_http2(hello, "tcp", limits=limits, evict_idle=True) as (house, peer):
        await ask(peer)
        await asleep(house)
        await trio.sleep(70.5)
        [slot] = house.listener._members()
        assert slot.ended
        assert slot.make_room()
        assert house.active == 0


@AGAIN
@pytest.mark.parametrize("at", [5, 75])
async def test_a_request_in_the_tick_of_the_clock_is_answered(at, time, autojump_clock):
    async with open_http2(hello, "tcp") as (_, peer):
        await ask(peer)
        await trio.sleep_until(at)
        number = peer.ask()
        with suppress(OSError, trio.BrokenResourceError):
            await peer.flush()
        answered = peer.peer.ended_at is None or peer.streams[number].over
        if answered:
            assert (await peer.answer(number)).status == 200
        else:  # it was told which had been the last
            assert peer.goaways == [(1, NO_ERROR)]


async def test_who_takes_nothing_is_waited_for_by_nobody(autojump_clock, monkeypatch):
    """Its socket has no room for a word; what of one is out would be worse than none."""
    async with open_http2(hello, "tcp") as (house, peer):
        await ask(peer)
        await asleep(house)
        [slot] = house.listener._members()
        with slot.borrowed() as sock, suppress(BlockingIOError):
            while True:
                sock.send(bytes(65536))
        house.listener._start_drain(trio.current_time() + 10)
        assert house.active == 0


async def test_it_may_be_encrypted(autojump_clock):
    server, client = contexts_of_a_new_authority()
    client.set_alpn_protocols(["h2"])
    async with open_house(hello, tcp=True, tls=server) as house:
        stream = await trio.open_tcp_stream("127.0.0.1", house.listener.port)
        peer = trio.SSLStream(stream, client, server_hostname="test.example", https_compatible=True)
        conn = h2.connection.H2Connection()
        conn.initiate_connection()

        async def receive(until):
            while True:
                for event in conn.receive_data(await peer.receive_some()):
                    if type(event).__name__ == until:
                        return

        for number in (1, 3, 5):
            head = [(":method", "GET"), (":scheme", "https"), (":authority", "test.example"), (":path", "/")]
            conn.send_headers(number, head, end_stream=True)
            await peer.send_all(conn.data_to_send())
            await receive("StreamEnded")
            await wait_all_tasks_blocked(0.05)
            await trio.sleep(6)
            await wait_all_tasks_blocked(0.05)
            assert (parked(house), tasks(house)) == (1, [])
            [info] = house.listener.connections()
            assert (info.protocol, info.requests) == ("h2", (number + 1) // 2)
        house.listener._start_drain(trio.current_time() + 10)
        await receive("ConnectionTerminated")
        await trio.sleep(1)
        with suppress(h2.exceptions.ProtocolError):
            while data := await peer.receive_some():
                conn.receive_data(data)
        assert house.active == 0, "it was told of the end by TLS, too"
        await stream.aclose()
