"""What a drain makes of connections, wherever it finds them: on memory streams, on sockets, and to the second."""

from __future__ import annotations

import pytest
import trio
from story_tools import GET, answer, hello, last_word, loud, open_house, post
from trio.testing import wait_all_tasks_blocked

import roadrunner_trio as rr

PATIENT = rr.Limits(min_bytes_per_second=0)
CLOSED = answer(b"hi", b"connection: close")
ERROR_503 = last_word(b"503 Service Unavailable")
KINDS = pytest.mark.parametrize("kind", ["memory", "wire", "tcp"])


async def slow(request: rr.Request) -> rr.Response:
    """Takes five seconds."""
    await trio.sleep(5)
    return rr.Response("hi")


class Draining:
    """A drain that runs in the background, and how it went."""

    def __init__(self, house, grace: float = 10.0) -> None:
        self.outcome: rr.Drained | None = None
        self.ended_at: float | None = None
        house.nursery.start_soon(self.run, house.listener, grace)

    async def run(self, listener: rr.Listener, grace: float) -> None:
        self.outcome = await listener.drain(grace)
        self.ended_at = trio.current_time()


# Connections without a request


@KINDS
async def test_an_idle_connection_ends_at_once_and_is_lingered_on(kind, autojump_clock):
    async with open_house(tcp=kind == "tcp", timeouts=rr.Timeouts(park_after=None)) as house:
        peer = house.meet(kind)
        await peer.say(GET)
        peer.take()
        await trio.sleep(30)
        drain = Draining(house)
        assert await peer.end() == b""
        assert peer.ended_at == 30
        assert house.phases() == ["finishing"]
        await trio.sleep(1)
        await peer.say(GET)
        assert house.active == 1, "a request that crosses the close meets an end, not a reset"
        await house.empty()
        await wait_all_tasks_blocked()
        assert (drain.ended_at, drain.outcome) == (32, rr.Drained(finished=1, cut=0, stuck=0))
    assert house.watch.names() == ["accept", "start", "stop", "close"]


@KINDS
async def test_an_old_connection_that_never_said_anything_ends_at_once_too(kind, autojump_clock):
    async with open_house(tcp=kind == "tcp") as house:
        peer = house.meet(kind)
        await trio.sleep(1)
        Draining(house)
        await peer.end()
        assert peer.ended_at == 1


@KINDS
async def test_a_newborn_has_the_rest_of_its_second(kind, autojump_clock):
    async with open_house(tcp=kind == "tcp") as house:
        peer = house.meet(kind)
        await trio.sleep(0.25)
        drain = Draining(house)
        assert await peer.end() == b""
        assert peer.ended_at == 1
        await peer.close()
        await wait_all_tasks_blocked()
        assert (drain.ended_at, drain.outcome) == (1, rr.Drained(finished=1, cut=0, stuck=0))


@KINDS
async def test_the_request_a_newborn_sends_in_its_second_is_served(kind, autojump_clock):
    async with open_house(tcp=kind == "tcp") as house:
        peer = house.meet(kind)
        await trio.sleep(0.25)
        Draining(house)
        await trio.sleep(0.5)
        await peer.say(GET[:5])
        await trio.sleep(0.75)
        await peer.say(GET[5:])
        assert await peer.end() == CLOSED
        assert peer.ended_at == 1.5


@KINDS
async def test_whoever_joins_in_the_tick_of_the_drain_is_a_newborn_of_a_draining_server(kind, autojump_clock):
    for says in (GET, b"") * 6:
        start = trio.current_time()
        async with open_house(tcp=kind == "tcp") as house:
            await wait_all_tasks_blocked()
            peer = house.meet(kind)
            drain = Draining(house)
            await wait_all_tasks_blocked()
            assert house.active == 1
            await peer.say(says)
            assert await peer.end() == (CLOSED if says else b"")
            assert peer.ended_at == start + (0 if says else 1)
            await peer.close()
            await wait_all_tasks_blocked()
            assert drain.outcome == rr.Drained(finished=1, cut=0, stuck=0)


@pytest.mark.parametrize("kind", ["wire", "tcp"])
async def test_a_request_in_the_sockets_buffer_is_served(kind, autojump_clock):
    for _ in range(12):
        async with open_house(tcp=kind == "tcp") as house:
            peer = house.meet(kind)
            await peer.say(GET)
            peer.take()
            await trio.sleep(5)
            peer.slip(GET)
            house.listener._start_drain(trio.current_time() + 10)
            assert await peer.end() == CLOSED


@KINDS
async def test_a_request_that_comes_in_the_tick_of_the_drain_is_served(kind, autojump_clock):
    announced = set()
    for _ in range(24):
        async with open_house(tcp=kind == "tcp") as house:
            peer = house.meet(kind)
            await peer.say(GET)
            peer.take()
            await trio.sleep(5)
            Draining(house)
            peer.slip(GET)
            heard = await peer.end()
            assert heard in (CLOSED, answer(b"hi"))
            announced.add(heard == CLOSED)
    assert True in announced


@pytest.mark.parametrize("kind", ["wire", "tcp"])
async def test_a_request_that_a_read_holds_while_the_drain_starts_is_served(kind, autojump_clock):
    async def handler(request):
        if request.path == "/":
            await trio.sleep(1)
            Draining(house)
        return rr.Response(request.path)

    for _ in range(12):
        async with open_house(handler, tcp=kind == "tcp") as house:
            peer = house.meet(kind)
            await peer.say(GET)
            await peer.say(GET.replace(b"/ ", b"/next ", 1))
            assert (await peer.end()).count(b"200 OK") == 2


# Requests under way


@KINDS
async def test_a_half_read_head_is_served_with_close(kind, autojump_clock):
    async with open_house(tcp=kind == "tcp") as house:
        peer = house.meet(kind)
        await peer.say(GET)
        peer.take()
        await peer.say(GET[:-2])
        drain = Draining(house)
        await trio.sleep(0.75)
        await peer.say(GET[-2:])
        assert await peer.end() == CLOSED
        assert peer.ended_at == 0.75
        await peer.close()
        await wait_all_tasks_blocked()
        assert drain.outcome == rr.Drained(finished=1, cut=0, stuck=0)


async def test_a_half_read_head_keeps_its_own_deadline(autojump_clock):
    async with open_house(limits=PATIENT) as house:
        peer = house.peer()
        await peer.say(GET[:-2])
        await trio.sleep(25)
        Draining(house)
        assert await peer.end() == last_word(b"408 Request Timeout")
        assert peer.ended_at == 30


@pytest.mark.parametrize("mode", ["buffered", "streaming"])
async def test_a_half_read_body_is_served_with_close(mode, autojump_clock):
    async def handler(request):
        return rr.Response(await request.read())

    async with open_house(handler, body=mode) as house:
        peer = house.peer()
        await peer.say(post(b"Content-Length: 4", body=b"ab"))
        Draining(house)
        await trio.sleep(0.75)
        await peer.say(b"cd")
        assert await peer.end() == answer(b"abcd", b"connection: close")
        assert peer.ended_at == 0.75


@KINDS
async def test_a_busy_connection_answers_with_close(kind, autojump_clock):
    async with open_house(slow, tcp=kind == "tcp") as house:
        peer = house.meet(kind)
        await peer.say(GET + GET)
        await trio.sleep(2)
        drain = Draining(house)
        assert await peer.end() == CLOSED, "and what it sent ahead is not served: it has been told of the close"
        assert peer.ended_at == 5
        await peer.close()
        await wait_all_tasks_blocked()
        assert (drain.ended_at, drain.outcome) == (5, rr.Drained(finished=1, cut=0, stuck=0))


async def test_requests_behind_a_response_that_promised_to_go_on_are_served(autojump_clock):
    async def handler(request):
        async def produce(send):
            await trio.sleep(5)
            await send(b"tick")

        return rr.StreamResponse(produce) if request.path == "/" else rr.Response("hi")

    async with open_house(handler) as house:
        peer = house.peer()
        await peer.say(GET + GET.replace(b"/ ", b"/next ", 1))
        await trio.sleep(2)
        Draining(house)
        heard = await peer.end()
        assert heard.startswith(b"HTTP/1.1 200 OK\r\ndate: D\r\ntransfer-encoding: chunked\r\n\r\n")
        assert heard.endswith(b"0\r\n\r\n" + CLOSED)


async def test_a_stream_with_nothing_behind_it_ends_the_connection(autojump_clock):
    async def produce(send):
        await trio.sleep(5)

    async def handler(request):
        return rr.StreamResponse(produce)

    async with open_house(handler) as house:
        peer = house.peer()
        await peer.say(GET)
        await trio.sleep(2)
        Draining(house)
        assert (await peer.end()).endswith(b"\r\n\r\n0\r\n\r\n")
        assert peer.ended_at == 5


# Whoever is told


async def test_a_handler_sees_the_drain_and_its_deadline(autojump_clock):
    seen = []

    async def produce(send):
        for _ in range(100):
            await send(b".")
            with trio.move_on_after(1):
                await drains[0].started.wait()
                break
        seen.append((trio.current_time(), drains[0].deadline, drains[0].remaining, drains[0].draining))

    drains = []

    async def handler(request):
        drains.append(request.drain)
        seen.append((request.drain.draining, request.drain.deadline))
        return rr.StreamResponse(produce)

    async with open_house(handler) as house:
        peer = house.peer()
        await peer.say(GET)
        await trio.sleep(2.5)
        drain = Draining(house, 7)
        assert (await peer.end()).endswith(b"1\r\n.\r\n" * 3 + b"0\r\n\r\n")
        await peer.close()
        await wait_all_tasks_blocked()
        assert drain.outcome == rr.Drained(finished=1, cut=0, stuck=0)
    assert seen == [(False, float("inf")), (2.5, 9.5, 7, True)]


async def test_a_loop_response_gets_the_drain_as_a_message(autojump_clock):
    heard = []

    async def on_message(message, send):
        heard.append((trio.current_time(), message))
        if isinstance(message, rr.Draining):
            await send(b"bye")
            return rr.STOP
        return None

    async def handler(request):
        house.put, get = trio.open_memory_channel(1)
        return rr.LoopResponse(get, on_message)

    async with open_house(handler) as house:
        peer = house.peer()
        await peer.say(GET)
        await house.put.send("tick")
        await trio.sleep(3)
        drain = Draining(house, 7)
        assert (await peer.end()).endswith(b"\r\n\r\n3\r\nbye\r\n0\r\n\r\n")
        assert peer.ended_at == 3
        await peer.close()
        await wait_all_tasks_blocked()
        assert drain.outcome == rr.Drained(finished=1, cut=0, stuck=0)
        house.put.close()
    assert heard == [(0, "tick"), (3, rr.Draining(10))]


async def test_whoever_comes_to_wait_for_a_drain_that_has_begun_is_told_at_once(autojump_clock):
    async def handler(request):
        await trio.sleep(2)
        await request.drain.started.wait()
        return rr.Response(str(request.drain.remaining))

    async with open_house(handler) as house:
        peer = house.peer()
        await peer.say(GET)
        Draining(house)
        assert await peer.end() == answer(b"8.0", b"connection: close")


async def test_a_drain_that_is_acknowledged_is_counted_and_observed(autojump_clock):
    async def handler(request):
        await request.drain.started.wait()
        request.acknowledge_drain()
        await trio.sleep(1)
        return rr.Response("hi")

    async with open_house(handler) as house:
        await house.peer().say(GET)
        await house.peer().say(GET)
        Draining(house)
        await wait_all_tasks_blocked()
        assert house.listener.info().acknowledged == 2
    requests = {event.request for name, event in house.watch.events if name == "start"}
    assert {event.request for name, event in house.watch.events if name == "acknowledged"} == requests


# The deadline


async def test_at_the_deadline_everybody_gets_what_is_still_possible(autojump_clock, caplog):
    async def produce(send):
        await send(b"tick")
        await trio.sleep_forever()

    async def handler(request):
        if request.path == "/stream":
            return rr.StreamResponse(produce)
        if request.path == "/big":
            return rr.Response(b"x" * 100_000)
        await trio.sleep_forever()
        return None

    async with open_house(handler, limits=PATIENT) as house:
        waiting, streaming, reading, half, idle = (house.peer() for _ in range(5))
        stuck_reader, _ = house.slow_peer(1000)
        await waiting.say(GET)
        await streaming.say(GET.replace(b"/ ", b"/stream ", 1))
        await reading.say(post(b"Content-Length: 5"))
        await half.say(b"GET /")
        await stuck_reader.say(GET.replace(b"/ ", b"/big ", 1))
        await trio.sleep(3)
        outcome = await house.listener.drain(4)
        assert trio.current_time() == 7
        assert outcome == rr.Drained(finished=1, cut=5, stuck=0), "the idle one had ended by itself"
        assert [peer.ended_at for peer in (waiting, streaming, reading, half, idle)] == [7, 7, 7, 7, 3]
        assert waiting.take() == reading.take() == ERROR_503
        assert streaming.take().endswith(b"4\r\ntick\r\n")
        assert half.take() == idle.take() == b""
        assert len(stuck_reader.heard) == 1000
    assert loud(caplog) == []


async def test_a_peer_that_does_not_read_its_503_holds_nobody_up(autojump_clock):
    async def handler(request):
        await trio.sleep_forever()

    async with open_house(handler) as house:
        peer, _ = house.slow_peer(0)
        await peer.say(GET)
        assert await house.listener.drain(4) == rr.Drained(finished=0, cut=1, stuck=0)
        assert trio.current_time() == 4.5, "half a second for the last word"


async def test_without_any_grace_nobody_is_waited_for(autojump_clock):
    async with open_house(slow) as house:
        busy, idle = house.peer(), house.peer()
        await idle.say(b"")
        await busy.say(GET)
        assert await house.listener.drain(0) == rr.Drained(finished=0, cut=2, stuck=0)
        assert trio.current_time() == 0
        assert await busy.end() == ERROR_503


async def test_an_idle_connection_whose_lingering_falls_to_the_deadline_has_finished(autojump_clock):
    async with open_house() as house:
        await house.peer().say(GET)
        assert await house.listener.drain(1) == rr.Drained(finished=1, cut=0, stuck=0)
        assert trio.current_time() == 1


async def test_so_has_one_that_skips_the_rest_of_a_body(autojump_clock):
    async with open_house(body="streaming") as house:
        peer = house.peer()
        await peer.say(post(b"Content-Length: 5", body=b"1"))
        assert peer.take() == answer(b"hi")
        assert await house.listener.drain(1) == rr.Drained(finished=1, cut=0, stuck=0)
        assert trio.current_time() == 1


async def test_a_handler_that_overruns_in_its_clean_up_is_cut(autojump_clock):
    async def handler(request):
        try:
            await trio.sleep_forever()
        finally:
            with trio.move_on_after(0.5, shield=True):
                await trio.sleep_forever()

    async with open_house(handler) as house:
        peer = house.peer()
        await peer.say(GET)
        assert await house.listener.drain(3) == rr.Drained(finished=0, cut=1, stuck=0)
        assert trio.current_time() == 3.5
        assert await peer.end() == ERROR_503


async def test_a_bare_stream_is_drained_by_whoever_serves_it(autojump_clock):
    drain = rr.Drain()
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: rr.serve_connection(theirs, hello, drain=drain))
        await trio.sleep(2)
        drain.start(trio.current_time() + 5)
        assert await ours.receive_some() == b""
        assert trio.current_time() == 2
        await ours.aclose()
    assert trio.current_time() == 2


async def test_lingering_on_a_bare_stream_ends_with_the_drain_as_well(autojump_clock):
    drain = rr.Drain()
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: rr.serve_connection(theirs, hello, drain=drain))
        await trio.sleep(2)
        drain.start(trio.current_time() + 0.5)
        assert await ours.receive_some() == b""
    assert trio.current_time() == 2.5


@KINDS
async def test_who_notifies_when_told_of_a_request_does_not_end_that(kind, autojump_clock):
    class Notifies(rr.Observer):
        def request_start(self, event):
            house.listener.notify()

    async with open_house(tcp=kind == "tcp", observers=[Notifies()]) as house:
        peer = house.meet(kind)
        await peer.say(GET)
        assert await peer.end() == CLOSED
