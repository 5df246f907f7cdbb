"""A peer that leaves, and what becomes of its handler: a reset, an end, and the time between the two."""

from __future__ import annotations

import math

import pytest
import trio
from presence_tools import Work, gone, meet, meet_unix, needs_poller, reset
from story_tools import GET, GET_CLOSE, Peer, answer, loud, open_house, post

import roadrunner_trio as rr
from roadrunner_trio.apps.router import Route, Router
from roadrunner_trio.transport.wire import SocketWire

pytestmark = needs_poller

KINDS = pytest.mark.parametrize("kind", ["tcp", "unix"])
NEVER = pytest.mark.parametrize("grace", [None, math.inf])


# Ends


@KINDS
@pytest.mark.parametrize("how", ["finish", "close"])
async def test_after_an_end_the_handler_has_its_grace(kind, how, autojump_clock, caplog):
    work = Work()
    async with open_house(work, tcp=True) as house:
        peer = meet(house, kind)
        await peer.say(GET)
        await trio.sleep(3)
        await getattr(peer, how)()
        assert await house.empty() == 8
        assert work.cancelled == [8]
        event = gone(house)
        assert (event.status, event.phase, event.kind, event.duration) == (None, "handler", "none", 8)
        if how == "finish":
            assert await peer.end() == b"", "nothing is said to who has left"
    assert loud(caplog) == []


async def test_a_handler_that_takes_less_is_not_disturbed(autojump_clock):
    async with open_house(Work(4.9), tcp=True) as house:
        peer = house.tcp_peer()
        await peer.say(GET)
        await peer.finish()
        assert await peer.end() == answer(b"done")
        assert trio.current_time() == 4.9
        assert house.listener.info().gone == 0


@KINDS
async def test_requests_sent_ahead_of_an_end_have_a_grace_each(kind, autojump_clock):
    work = Work(4)
    async with open_house(work, tcp=True) as house:
        peer = meet(house, kind)
        await peer.say(GET * 3)
        await peer.finish()
        assert await peer.end() == answer(b"done") * 3
        assert (work.done, work.cancelled) == ([4, 8, 12], [])


async def test_requests_and_an_end_in_one_edge(autojump_clock):
    seconds = iter([4, 4, 6])

    async def handler(request):
        await trio.sleep(next(seconds))
        return rr.Response("done")

    async with open_house(handler, tcp=True) as house:
        peer = house.tcp_peer()
        peer.slip(GET * 3)
        peer.stream.send_eof_now()
        assert await peer.end() == answer(b"done") * 2
        assert trio.current_time() == 4 + 4 + 5
        assert gone(house).duration == 5


async def test_the_end_of_a_body_is_one(autojump_clock):
    async def handler(request):
        body = await request.read()
        await trio.sleep(4)
        return rr.Response(str(len(body)))

    async with open_house(handler, tcp=True) as house:
        peer = house.tcp_peer()
        await peer.say(post(b"Content-Length: 8"))
        await trio.sleep(0.5)
        await peer.say(b"12345678")
        await peer.finish()
        assert await peer.end() == answer(b"8")


async def test_an_end_behind_a_body_that_nobody_reads(autojump_clock):
    work = Work()
    async with open_house(work, tcp=True, body="streaming") as house:
        peer = house.tcp_peer()
        await peer.say(post(b"Content-Length: 100000", body=b"x" * 100_000))
        await trio.sleep(1)
        await peer.finish()
        assert await house.empty() == 6
        assert (gone(house).received, work.cancelled) == (0, [6])


async def test_the_time_limit_comes_first_if_it_is_sooner(autojump_clock):
    async with open_house(Work(), tcp=True, timeouts=rr.Timeouts(handler=4)) as house:
        peer = house.tcp_peer()
        await peer.say(GET)
        await peer.finish()
        assert await peer.end() == answer(b"", b"connection: close", status=b"503 Service Unavailable")
        assert trio.current_time() == 4
        assert house.watch.only("exception").outcome == "timeout"


async def test_and_does_not_come_at_all_when_it_is_later(autojump_clock):
    work = Work(20, shield=10)
    async with open_house(work, tcp=True, timeouts=rr.Timeouts(handler=6)) as house:
        peer = house.tcp_peer()
        await peer.say(GET)
        await peer.finish()
        assert await peer.end() == b""
        assert work.done == [10]
        event = house.watch.only("exception")
        assert (event.outcome, house.listener.info().timed_out) == ("gone", 0)


async def test_a_time_limit_that_came_first_stays_the_reason(autojump_clock):
    async def handler(request):
        with trio.move_on_after(3, shield=True):
            await trio.sleep_forever()
        await trio.sleep_forever()

    async with open_house(handler, tcp=True, timeouts=rr.Timeouts(handler=1)) as house:
        peer = house.tcp_peer()
        await peer.say(GET)
        await trio.sleep(2)
        await reset(peer)
        assert await house.empty() == 3
        event = house.watch.only("exception")
        assert (event.outcome, house.listener.info().gone) == ("timeout", 0)


async def test_a_drain_s_deadline_comes_first_if_it_is_sooner(autojump_clock):
    async with open_house(Work(), tcp=True) as house:
        peer = house.tcp_peer()
        await peer.say(GET)
        await peer.finish()
        drained = await house.listener.drain(2)
        assert (drained.cut, trio.current_time()) == (1, 2)
        assert house.watch.only("exception").outcome == "cancelled"


async def test_a_grace_of_one_s_own(autojump_clock):
    async with open_house(Work(), tcp=True, timeouts=rr.Timeouts(disconnect_grace=0.25)) as house:
        peer = house.tcp_peer()
        await peer.say(GET)
        await peer.finish()
        assert await house.empty() == 0.25


@NEVER
async def test_without_a_grace_nobody_is_cancelled(grace, autojump_clock):
    async with open_house(Work(1000), tcp=True, timeouts=rr.Timeouts(disconnect_grace=grace)) as house:
        ended, broken = house.tcp_peer(), house.tcp_peer()
        await ended.say(GET)
        await broken.say(GET)
        await ended.finish()
        await reset(broken)
        assert await ended.end() == answer(b"done")
        assert trio.current_time() == 1000
        assert house.watch.only("exception").error is not None, "a write that failed, not a cancellation"


async def test_routes_have_theirs(autojump_clock):
    work = Work(7)
    routes = [
        Route("/", work),
        Route("/long", work, disconnect_grace=6),
        Route("/never", work, disconnect_grace=math.inf),
    ]
    async with open_house(Router(routes), tcp=True, timeouts=rr.Timeouts(disconnect_grace=3)) as house:
        for target in (b"/", b"/long", b"/never"):
            peer = house.tcp_peer()
            await peer.say(GET.replace(b" / ", b" %b " % target))
            await peer.finish()
        await house.empty()
        assert (work.cancelled, work.done) == ([3, 6], [7])


async def test_an_app_that_says_nothing_of_it_is_left_alone(autojump_clock):
    class App:
        def plan(self, request):
            return rr.Plan()

        async def __call__(self, exchange):
            await trio.sleep(100)
            await exchange.respond(200, (), b"done")

    async with open_house(App(), tcp=True) as house:
        peer = house.tcp_peer()
        await peer.say(GET)
        await peer.finish()
        assert await peer.end() == answer(b"done")


async def test_an_app_whose_response_is_complete_is_left_alone(autojump_clock):
    ended = []

    class App:
        def plan(self, request):
            return rr.Plan(disconnect_grace=1)

        async def __call__(self, exchange):
            await exchange.respond(200, (), b"done")
            await trio.sleep(10)
            ended.append(trio.current_time())

    async with open_house(App(), tcp=True) as house:
        for leave in (Peer.finish, reset):
            peer = house.tcp_peer()
            await peer.say(GET_CLOSE)
            await leave(peer)
        await house.empty()
        assert ended == [10, 10]


# Resets


async def test_a_reset_cancels_at_once(autojump_clock, caplog):
    work = Work()
    async with open_house(work, tcp=True) as house:
        peer = house.tcp_peer()
        await peer.say(GET)
        await trio.sleep(3)
        await reset(peer)
        assert (work.cancelled, house.active) == ([3], 0)
        assert (gone(house).status, gone(house).phase) == (None, "handler")
    assert loud(caplog) == []


async def test_a_reset_that_one_task_of_a_handler_meets_and_another_is_cancelled_for(autojump_clock, caplog):
    async def handler(request):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            await request.read()

    async with open_house(handler, tcp=True, body="streaming") as house:
        peer = house.tcp_peer()
        await peer.say(post(b"Content-Length: 8", body=b"1234"))
        await reset(peer)
        assert house.active == 0
        gone(house)
    assert loud(caplog) == []


async def test_on_a_unix_socket_a_close_with_something_unread_is_a_reset(autojump_clock):
    async def handler(request):
        await request.read()
        await trio.sleep_forever()

    async with open_house(handler, tcp=True, body="streaming") as house:
        peer = Peer(SocketWire(meet_unix(house)))
        await peer.say(post(b"Expect: 100-continue", b"Content-Length: 2"))
        await peer.say(b"hi")
        await reset(peer)
        assert house.active == 0
        gone(house)


async def test_a_reset_after_an_end_does_not_wait_for_the_grace(autojump_clock):
    work = Work()
    async with open_house(work, tcp=True) as house:
        peer = house.tcp_peer()
        await peer.say(GET)
        await peer.finish()
        await trio.sleep(2)
        await reset(peer)
        assert (work.cancelled, house.active) == ([2], 0)
        gone(house)


async def test_a_request_that_a_reset_overtook_is_cancelled_as_soon_as_it_waits(autojump_clock):
    work = Work()
    async with open_house(work, tcp=True) as house:
        peer = house.tcp_peer()
        peer.slip(GET)
        await reset(peer)
        assert house.active == 0
        assert work.cancelled == work.began
        assert house.listener.info().requests == len(work.began), "the reset may have destroyed what was unread"


async def test_a_reader_of_the_body_and_the_server_that_reads_it_meet_the_reset_themselves(autojump_clock):
    errors = []

    async def handler(request):
        try:
            await request.read()
        except rr.PeerGone as exc:
            errors.append(exc)
            raise

    for body in ("streaming", "buffered"):
        async with open_house(handler, tcp=True, body=body) as house:
            peer = house.tcp_peer()
            await peer.say(post(b"Content-Length: 8", body=b"1234"))
            await reset(peer)
            assert house.active == 0
            if body == "streaming":
                assert (house.watch.only("exception").outcome, house.watch.only("exception").phase) == ("gone", "body")
    assert len(errors) == 1


# Who is left alone


@pytest.mark.parametrize("leave", [Peer.finish, reset])
async def test_what_was_handed_off_is_left_alone(leave, autojump_clock):
    left = []

    async def run(request, stream):
        await trio.sleep(20)
        left.append(trio.current_time())

    async def handler(request):
        return rr.Handoff(run, status=101)

    async with open_house(handler, tcp=True) as house:
        peer = house.tcp_peer()
        await peer.say(GET)
        await leave(peer)
        await house.empty()
        assert left == [20]


async def test_what_is_handed_off_within_the_grace_is_left_alone(autojump_clock):
    async def run(request, stream):
        await trio.sleep(20)

    async def handler(request):
        await trio.sleep(3)
        return rr.Handoff(run, status=101)

    async with open_house(handler, tcp=True) as house:
        peer = house.tcp_peer()
        await peer.say(GET)
        await peer.finish()
        assert await house.empty() == 23
        assert house.watch.only("stop").kind == "handoff"


async def test_a_request_that_is_turned_away_has_no_grace(autojump_clock):
    async with open_house(Work(1), tcp=True, rate_limit=rr.RateLimit(1, period=1000)) as house:
        for _ in range(2):
            peer = house.tcp_peer()
            peer.slip(GET)
            peer.stream.send_eof_now()
            assert (await peer.end()).startswith(b"HTTP/1.1 ")
        assert house.watch.names().count("throttled") == 1
        assert house.listener.info().gone == 0


async def test_an_idle_connection_and_one_in_its_head_end_as_ever(autojump_clock):
    async with open_house(Work(0), tcp=True) as house:
        for said in (b"", GET[:10], GET):
            for leave in (Peer.close, reset):
                peer = house.tcp_peer()
                await peer.say(said)
                await leave(peer)
                assert house.active == 0, (said, leave)
        assert house.watch.names().count("exception") == 0


async def test_nothing_of_a_grace_outlives_its_connection(autojump_clock):
    async with open_house(Work(1), tcp=True, timeouts=rr.Timeouts(disconnect_grace=1000)) as house:
        peer = house.tcp_peer()
        await peer.say(GET)
        await peer.finish()
        [conn] = house.listener._members()
        exchange, grace = conn.exchange, conn.exchange.grace
        assert grace.armed == 1000
        await peer.end()
        await house.empty()
        assert grace.armed == math.inf
        assert exchange.grace is None
        assert conn.wire.attendant is None
