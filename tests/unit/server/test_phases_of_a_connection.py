"""The clocks of a connection: what each phase allows, to the second, and what never moves a deadline."""

from __future__ import annotations

import math

import pytest
import trio
from story_tools import GET, answer, hello, last_word, loud, open_house, post
from trio.testing import wait_all_tasks_blocked

import roadrunner_trio as rr

PATIENT = rr.Limits(min_bytes_per_second=0)
CHUNKED = b"Transfer-Encoding: chunked"
ERROR_408 = last_word(b"408 Request Timeout")
ERROR_503 = last_word(b"503 Service Unavailable")
TIMEOUTS = rr.Timeouts(handshake=1, request=3, keep_alive=5, body=7, handler=11, write=13, linger=0.5)
"""All different, so that no clock can pass for another."""

TIES = range(12)
"""Two things due in the same tick happen in an order that nobody promises: such tests are run until both were seen."""


async def length(request: rr.Request) -> rr.Response:
    """Answers with the length of the body."""
    return rr.Response(str(len(await request.read())))


async def test_every_phase_has_its_own_time(autojump_clock):
    async with open_house(length, timeouts=TIMEOUTS, limits=PATIENT) as house:
        idle, head, later, body = (house.peer() for _ in range(4))
        await head.say(b"G")
        await later.say(GET)
        await body.say(post(b"Content-Length: 2", body=b"1"))
        await house.empty()
    assert (idle.heard, idle.ended_at) == (b"", 3)
    assert (head.take(), head.ended_at) == (ERROR_408, 3)
    assert (later.take(), later.ended_at) == (answer(b"0"), 5)
    assert (body.take(), body.ended_at) == (ERROR_408, 7)


async def test_what_lingers_does_so_until_its_own_time_is_up(autojump_clock):
    async with open_house(length, timeouts=TIMEOUTS) as house:
        peer = house.peer()
        await peer.say(b"nonsense\r\n\r\n")
        await wait_all_tasks_blocked()
        [conn] = house.listener.connections()
        assert (conn.phase, conn.deadline) == ("finishing", 0.5)


async def test_what_a_connection_does_and_until_when_can_be_seen(autojump_clock):
    async def handler(request):
        await trio.sleep(2)
        return rr.Response("hi")

    async with open_house(handler, timeouts=TIMEOUTS, limits=PATIENT) as house:
        peer = house.peer()

        def now():
            [conn] = house.listener.connections()
            return conn.phase, conn.deadline, conn.age, conn.requests

        await wait_all_tasks_blocked()
        assert now() == ("idle", 3, 0, 0)
        await trio.sleep(1)
        await peer.say(b"POST / HTTP/1.1\r\n")
        assert now() == ("reading a request", 3, 1, 0)
        await trio.sleep(1)
        await peer.say(b"Host: h\r\nContent-Length: 1\r\n\r\n")
        assert now() == ("reading a body", 7, 2, 1)
        await peer.say(b"x")
        assert now() == ("in the handler", 11, 2, 1)
        await peer.until(b"hi")
        assert now() == ("idle", 5, 4, 1)


async def test_a_phase_without_a_bound_shows_none(autojump_clock):
    async def handler(request):
        await trio.sleep(1)
        return rr.Response("hi")

    async with open_house(handler) as house:
        await house.peer().say(GET)
        assert house.listener.connections()[0].deadline == math.inf


@pytest.mark.parametrize(
    ("head", "octet", "expected"),
    [
        (b"GET / HTTP/1.1\r\nHost: h\r\nA: ", b"x", 30),
        (post(b"Content-Length: 1000"), b"x", 300),
        (post(b"Transfer-Encoding: chunked"), b"1\r\nx\r\n", 300),
    ],
    ids=["head", "body", "chunks"],
)
async def test_bytes_that_arrive_never_extend_a_deadline(head, octet, expected, autojump_clock):
    async with open_house(length, limits=PATIENT) as house:
        peer = house.peer()
        await peer.say(head)
        while trio.current_time() < expected - 0.75:
            await trio.sleep(0.75)
            await peer.say(octet)
        assert await peer.end() == ERROR_408
        assert peer.ended_at == expected


async def test_an_empty_line_does_not_begin_a_head(autojump_clock):
    async with open_house() as house:
        peer = house.peer()
        await trio.sleep(20)
        await peer.say(b"\r")
        assert house.phases() == ["idle"]
        await peer.say(b"\n")
        assert house.phases() == ["idle"]
        await peer.end()
        assert peer.ended_at == 30


# The same tick


async def test_a_head_whose_last_byte_comes_in_the_tick_its_time_runs_out_gets_408(autojump_clock):
    for _ in TIES:
        start = trio.current_time()
        async with open_house(limits=PATIENT) as house:
            peer = house.peer()
            await peer.say(GET[:-1])
            await trio.sleep(30)
            peer.slip(GET[-1:])
            assert await peer.end() == ERROR_408
            assert peer.ended_at == start + 30
        assert "start" not in house.watch.names()


async def test_a_body_whose_last_byte_comes_in_the_tick_its_time_runs_out_gets_408(autojump_clock):
    for _ in TIES:
        start = trio.current_time()
        async with open_house(length, limits=PATIENT) as house:
            peer = house.peer()
            await peer.say(post(b"Content-Length: 2", body=b"1"))
            await trio.sleep(300)
            peer.slip(b"2")
            assert await peer.end() == ERROR_408
            assert peer.ended_at == start + 300
        assert "start" not in house.watch.names()


async def test_a_whole_request_in_the_tick_an_idle_connection_ends_is_answered_or_unheard(autojump_clock):
    seen = set()
    for _ in range(40):
        async with open_house() as house:
            peer = house.peer()
            await peer.say(GET)
            peer.take()
            await trio.sleep(75)
            peer.slip(GET)
            seen.add(await peer.end())
        assert house.watch.names() == ["accept", "start", "stop", "close"]
    assert seen == {b"", ERROR_408}


async def test_a_handler_done_in_the_tick_its_time_runs_out_answers_once(autojump_clock):
    async def handler(request):
        await trio.sleep(5)
        return rr.Response("hi")

    for _ in TIES:
        async with open_house(handler, timeouts=rr.Timeouts(handler=5)) as house:
            peer = house.wire_peer()
            await peer.say(GET)
            assert await peer.end() in (answer(b"hi"), ERROR_503)


# The minimum rate: at least R octets a second, after five seconds' grace, counted from the first byte


@pytest.mark.parametrize(("octets", "fast_enough"), [(600, True), (599, False)])
async def test_the_rate_of_a_head_to_the_octet(octets, fast_enough, autojump_clock):
    head = b"GET / HTTP/1.1\r\nHost: h\r\nA: "
    async with open_house() as house:
        peer = house.peer()
        await trio.sleep(20)  # an idle gap counts for nothing
        await peer.say(head)
        await trio.sleep(6)
        await peer.say(b"x" * (octets - len(head)))
        assert house.active == fast_enough
        assert peer.heard == b""


@pytest.mark.parametrize("mode", ["buffered", "streaming"])
@pytest.mark.parametrize(("octets", "fast_enough"), [(600, True), (599, False)])
async def test_the_rate_of_a_body_to_the_octet(mode, octets, fast_enough, autojump_clock):
    async with open_house(length, body=mode) as house:
        peer = house.peer()
        await peer.say(post(b"Content-Length: 1000", body=b""))
        await trio.sleep(6)
        await peer.say(b"x" * octets)
        assert peer.take() == (b"" if fast_enough else ERROR_408)


async def test_what_has_come_is_judged_when_it_is_not_enough_and_only_then(autojump_clock):
    async with open_house(length) as house:
        peer = house.peer()
        await peer.say(post(CHUNKED))
        await trio.sleep(20)
        await peer.say(b"3\r\nabc\r\n0\r\n\r\n")
        assert peer.take() == answer(b"3")
        await peer.say(post(CHUNKED))
        await trio.sleep(20)
        await peer.say(b"3\r\nabc\r\n")
        assert peer.take() == ERROR_408


async def test_the_first_five_seconds_are_free(autojump_clock):
    async with open_house() as house:
        peer = house.peer()
        await peer.say(b"G")
        await trio.sleep(5)
        await peer.say(b"E")
        assert house.active == 1
        await trio.sleep(0.001)
        await peer.say(b"T")
        assert house.active == 0


async def test_a_silent_peer_is_left_to_the_deadline(autojump_clock):
    async with open_house() as house:
        peer = house.peer()
        await peer.say(b"G")
        assert await peer.end() == ERROR_408
        assert peer.ended_at == 30


async def test_the_rate_is_reckoned_anew_for_every_request(autojump_clock):
    async with open_house(length) as house:
        peer = house.peer()
        await peer.say(post(b"Content-Length: 1000"))
        await trio.sleep(9)
        await peer.say(b"x" * 1000)
        assert peer.take() == answer(b"1000")
        await peer.say(GET[:10])
        await trio.sleep(1)
        await peer.say(GET[10:11])
        await peer.say(GET[11:])
        assert peer.take() == answer(b"0"), "nine slow seconds of the last request are not held against this one"


async def test_a_leisurely_head_is_not_held_against_the_body(autojump_clock):
    async with open_house(length) as house:
        peer = house.peer()
        head = post(b"A: " + b"a" * 178, b"Content-Length: 2")
        assert len(head) == 230
        await peer.say(head[:1])
        await trio.sleep(2.25)
        await peer.say(head[1:])
        await trio.sleep(5)
        await peer.say(b"x")
        await peer.say(b"y")
        assert peer.take() == answer(b"2"), "a body has five free seconds of its own"


async def test_the_time_a_handler_thinks_makes_nobody_slow(autojump_clock):
    async def handler(request):
        sizes = []
        async for piece in request.stream():
            sizes.append(len(piece))
            await trio.sleep(100)
        return rr.Response(str(sizes))

    async with open_house(handler, body="streaming") as house:
        peer = house.peer()
        await peer.say(post(b"Content-Length: 3", body=b"1"))
        for _ in range(2):
            await trio.sleep(100.5)
            await peer.say(b"x")
        assert await peer.until(b"[1, 1, 1]") == answer(b"[1, 1, 1]")


async def test_all_waits_for_one_body_together_have_300_seconds(autojump_clock):
    async def handler(request):
        async for _ in request.stream():
            await trio.sleep(1000)
        return rr.Response("all")

    async with open_house(handler, body="streaming", limits=PATIENT) as house:
        peer = house.peer()
        await peer.say(post(b"Content-Length: 3"))
        await trio.sleep(200)
        await peer.say(b"1")
        await trio.sleep(1000 + 99)
        await peer.say(b"2")
        assert await peer.end() == ERROR_408
        assert peer.ended_at == 200 + 1000 + 99 + 1000 + 1


# Writing


@pytest.mark.parametrize("kind", ["buffered", "stream"])
async def test_the_write_timeout_is_for_64_kib_at_a_time(kind, autojump_clock):
    size = 4 * 65536

    async def handler(request):
        if kind == "buffered":
            return rr.Response(b"x" * size)
        return rr.StreamResponse(lambda send: send(b"x" * size), fields={"content-length": str(size)})

    async with open_house(handler) as house:
        peer, stream = house.slow_peer(0)
        await peer.say(GET)
        for _ in range(5):
            await trio.sleep(29)
            stream.grant(65536)
            await wait_all_tasks_blocked()
        assert peer.take().endswith(b"x" * size)
        assert trio.current_time() == 5 * 29
        assert house.phases() == ["idle"]


async def test_a_trickling_reader_falls_to_the_write_timeout(autojump_clock, caplog):
    async def handler(request):
        return rr.Response(b"x" * 65536)

    async with open_house(handler, timeouts=rr.Timeouts(write=13)) as house:
        peer, stream = house.slow_peer(0)
        await peer.say(GET)
        for _ in range(12):
            await trio.sleep(1)
            stream.grant(1000)
        assert house.active == 1
        assert await house.empty() == 13
        assert len(peer.heard) == 12_000
    assert house.watch.only("exception").outcome == "timeout"
    assert loud(caplog) == []


async def test_a_handler_is_told_at_its_await_that_the_peer_does_not_read(autojump_clock):
    seen = []

    async def produce(send):
        try:
            while True:
                await send(b"x" * 10_000)
        except rr.PeerGone:
            seen.append(trio.current_time())
            raise

    async def handler(request):
        return rr.StreamResponse(produce)

    async with open_house(handler) as house:
        peer, _ = house.slow_peer(50_000)
        await peer.say(GET)
        assert await house.empty() == 30
    assert seen == [30]


async def test_after_an_abandoned_write_nothing_more_is_written(autojump_clock, caplog):
    async def produce(send):
        with trio.move_on_after(3):
            await send(b"x" * 100)
        stream.grant(1000)
        await send(b"more")

    async def handler(request):
        return rr.StreamResponse(produce)

    async with open_house(handler) as house:
        peer, stream = house.slow_peer(100)
        await peer.say(GET)
        assert await house.empty() == 3
        assert b"more" not in peer.heard
    assert house.watch.only("exception").outcome == "gone"


async def test_the_last_word_to_a_peer_that_does_not_read_is_bounded_by_linger(autojump_clock):
    async with open_house(timeouts=TIMEOUTS) as house:
        peer, _ = house.slow_peer(0)
        await peer.say(b"nonsense\r\n")
        assert await house.empty() == 0.5


# The handler's own limit


async def test_a_handler_out_of_time_is_cancelled_and_its_peer_hears_503(autojump_clock, caplog):
    cleaned_up = []

    async def handler(request):
        try:
            await trio.sleep_forever()
        finally:
            cleaned_up.append(trio.current_time())

    async with open_house(handler, timeouts=TIMEOUTS) as house:
        peer = house.peer()
        await peer.say(GET)
        assert await peer.end() == ERROR_503
        assert (peer.ended_at, cleaned_up) == (11, [11])
        assert await house.empty() == 11.5
    event = house.watch.only("exception")
    assert (event.outcome, event.status, event.duration) == ("timeout", 503, 11)
    assert loud(caplog) == []


async def test_a_response_out_of_time_is_cut(autojump_clock):
    async def produce(send):
        await send(b"tick")
        await trio.sleep_forever()

    async def handler(request):
        return rr.StreamResponse(produce)

    async with open_house(handler, timeouts=TIMEOUTS) as house:
        peer = house.peer()
        await peer.say(GET)
        assert (await peer.end()).endswith(b"\r\n\r\n4\r\ntick\r\n")
        assert peer.ended_at == 11
    event = house.watch.only("exception")
    assert (event.outcome, event.status) == ("timeout", 200)


async def test_a_plan_has_a_limit_for_each_request(autojump_clock):
    class App:
        def plan(self, request: rr.Request) -> rr.Plan:
            return rr.Plan(timeout=2 if request.path == "/" else math.inf)

        async def __call__(self, exchange: rr.Exchange) -> None:
            await trio.sleep(100)
            await exchange.respond(200, [], b"hi")

    async with open_house(App()) as house:
        quick, slow = house.peer(), house.peer()
        await quick.say(GET)
        await slow.say(GET.replace(b"/ ", b"/slow "))
        assert await quick.end() == ERROR_503
        assert quick.ended_at == 2
        assert await slow.until(b"hi") == answer(b"hi")


# Lingering


async def test_lingering_ends_when_the_peer_closes(autojump_clock):
    async with open_house() as house:
        peer = house.peer()
        await peer.say(b"nonsense\r\n")
        await trio.sleep(0.5)
        await peer.finish()
        assert house.active == 0


async def test_a_reset_ends_lingering_without_a_word(autojump_clock, caplog):
    async with open_house(hello) as house:
        peer, stream = house.slow_peer(10_000)
        await peer.say(b"nonsense\r\n")
        stream.reset()
        await wait_all_tasks_blocked()
        assert house.active == 0
    assert loud(caplog) == []
