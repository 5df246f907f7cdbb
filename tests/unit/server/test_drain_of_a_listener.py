"""A listener's drain as its operator sees it: statuses, numbers, repeats, notices, and what nobody can cancel."""

from __future__ import annotations

import logging
import socket
import threading
from contextlib import asynccontextmanager

import pytest
import trio
from story_tools import GET, answer, hello, last_word, loud, open_house
from trio.testing import wait_all_tasks_blocked

import roadrunner_trio as rr
from roadrunner_trio.testing import MemoryListener

CLOSED = answer(b"hi", b"connection: close")
NOTHING = rr.Drained(finished=0, cut=0, stuck=0)


async def slow(request: rr.Request) -> rr.Response:
    """Takes five seconds."""
    await trio.sleep(5)
    return rr.Response("hi")


async def endless(request: rr.Request) -> None:
    """Waits for ever."""
    await trio.sleep_forever()


async def shielding(request: rr.Request) -> rr.Response:
    """Does not let itself be cancelled for a hundred seconds."""
    with trio.CancelScope(shield=True):
        await trio.sleep(100)
    return rr.Response("hi")


async def test_a_listener_without_connections_has_drained_at_once(autojump_clock):
    async with open_house() as house:
        assert await house.listener.drain(10) == NOTHING
        assert trio.current_time() == 0
        assert house.listener.status == "closed"


async def test_a_listener_that_never_served_has_drained_too(autojump_clock):
    listener = rr.Listener(hello, bind="127.0.0.1:0")
    assert listener.status == "new"
    assert await listener.drain() == NOTHING
    assert (listener.status, trio.current_time()) == ("closed", 0)
    with pytest.raises(RuntimeError, match="has served already"):
        await listener.serve()


@pytest.mark.parametrize("steps", range(8))
async def test_a_drain_while_a_cancellation_ends_it_lets_nobody_in_who_waits(steps):
    listener = rr.Listener(hello, bind="127.0.0.1:0")
    async with trio.open_nursery() as nursery:
        await nursery.start(listener.serve)
        with socket.create_connection(("127.0.0.1", listener.port)):
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                for _ in range(steps):
                    await trio.lowlevel.cancel_shielded_checkpoint()
                outcome = await listener.drain()
    assert outcome.stuck == 0
    assert (listener.info().active, listener.status) == (0, "closed")


async def test_a_drain_in_the_tick_in_which_somebody_comes_is_no_failure_to_accept(caplog):
    for _ in range(12):  # Trio takes the tasks of a tick in an order of chance
        async with open_house(tcp=True) as house:
            await wait_all_tasks_blocked()
            with socket.create_connection(("127.0.0.1", house.listener.port)) as peer:
                await trio.lowlevel.checkpoint()
                house.listener._start_drain(trio.current_time() + 10)
                peer.shutdown(socket.SHUT_WR)
                await house.empty()
                await wait_all_tasks_blocked()
            assert house.listener.info().accepts_failed == 0
    assert loud(caplog) == []


async def test_a_listener_that_was_cancelled_has_nothing_left_to_drain(autojump_clock):
    async with open_house() as house:
        await house.peer().say(GET)
    assert await house.listener.drain() == NOTHING


async def test_the_status_tells_the_story(autojump_clock):
    async with open_house(slow) as house:
        statuses = [house.listener.status]
        peer = house.peer()
        await peer.say(GET)
        house.nursery.start_soon(house.listener.drain)
        await wait_all_tasks_blocked()
        statuses.append(house.listener.status)
        await peer.end()
        statuses.append(house.listener.status)
        await peer.close()
        statuses.append(house.listener.status)
    assert statuses == ["accepting", "draining", "draining", "closed"]


async def test_serve_returns_when_the_last_connection_has_gone(autojump_clock):
    returned = []

    async def serve(listener):
        await listener.serve()
        returned.append(trio.current_time())

    listener = rr.Listener(slow, bind="127.0.0.1:0")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve, listener)
        await wait_all_tasks_blocked()
        stream = await trio.open_tcp_stream("127.0.0.1", listener.port)
        await stream.send_all(GET)
        await wait_all_tasks_blocked()
        await listener.drain()
        await stream.aclose()
    assert returned == [7], "five seconds of work, and two for a peer that does not close"


async def test_the_numbers_of_a_listener_can_be_read_while_it_drains(autojump_clock):
    async with open_house(slow) as house:
        busy, idle = house.peer(), house.peer()
        await busy.say(GET)
        await idle.close()
        await house.peer().say(b"")
        await trio.sleep(2)
        house.nursery.start_soon(house.listener.drain)
        await trio.sleep(1)
        info = house.listener.info()
        assert (info.active, info.accepted, info.rejected, info.requests) == (2, 3, 0, 1)
        assert house.phases() == ["in the handler", "finishing"]
        await trio.sleep(2.5)
        assert house.phases() == ["finishing"], "the idle one has gone, the busy one has answered"


async def test_a_second_drain_can_only_shorten_the_first(autojump_clock):
    outcomes = []

    async def drain(grace):
        outcomes.append((await house.listener.drain(grace), trio.current_time()))

    async with open_house(endless) as house:
        peer = house.peer()
        await peer.say(GET)
        house.nursery.start_soon(drain, 20)
        await trio.sleep(1)
        house.nursery.start_soon(drain, 1000)
        await trio.sleep(1)
        house.nursery.start_soon(drain, 5)
        assert await peer.end() == last_word(b"503 Service Unavailable")
        assert peer.ended_at == 7
    assert outcomes == [(rr.Drained(finished=0, cut=1, stuck=0), 7)] * 3


async def test_a_second_drain_does_not_lengthen_the_first(autojump_clock):
    async with open_house(endless) as house:
        peer = house.peer()
        await peer.say(GET)
        house.nursery.start_soon(house.listener.drain, 5)
        await trio.sleep(1)
        house.nursery.start_soon(house.listener.drain, 1000)
        await peer.end()
        assert peer.ended_at == 5


async def test_nobody_gets_in_any_more(autojump_clock):
    listener = rr.Listener(slow, bind="127.0.0.1:0")
    async with trio.open_nursery() as nursery:
        await nursery.start(listener.serve)
        port = listener.port
        async with await trio.open_tcp_stream("127.0.0.1", port) as busy:
            await busy.send_all(GET)
            await wait_all_tasks_blocked()
            nursery.start_soon(listener.drain)
            await wait_all_tasks_blocked()
            with pytest.raises(OSError, match="connect"):
                await trio.open_tcp_stream("127.0.0.1", port)
            assert (await busy.receive_some()).endswith(b"hi")


# Stuck


async def test_a_handler_that_shields_itself_is_named_and_counted_a_second_after_the_deadline(autojump_clock, caplog):
    async with open_house(shielding) as house:
        peer, idle = house.peer(), house.peer()
        await idle.say(b"")
        await peer.say(GET)
        await trio.sleep(1)
        assert await house.listener.drain(10) == rr.Drained(finished=1, cut=0, stuck=1)
        assert trio.current_time() == 12
        assert house.listener.status == "draining", "serve still waits for it"
        [record] = caplog.records
        assert record.levelno == logging.ERROR
        assert record.getMessage().startswith("the connection of memory is stuck")
        assert "in shielding" in record.getMessage(), "the log says where"
        assert await house.listener.drain() == rr.Drained(finished=1, cut=0, stuck=1), "asked again: still so"
        await trio.sleep(88)
        await peer.end()
        assert house.listener.status == "closed"
        assert await house.listener.drain() == rr.Drained(finished=1, cut=1, stuck=0), "now it has been cut"


async def test_a_loop_that_stands_still_at_the_deadline_makes_nobody_stuck(autojump_clock, caplog):
    async with open_house(endless) as house:
        peer = house.peer()
        await peer.say(GET)
        async with trio.open_nursery() as nursery:
            outcomes = []

            @nursery.start_soon
            async def drain():
                outcomes.append(await house.listener.drain(10))

            await trio.sleep(9)
            autojump_clock.jump(60)
        assert outcomes == [rr.Drained(finished=0, cut=1, stuck=0)]
        assert await peer.end() == last_word(b"503 Service Unavailable")
    assert loud(caplog) == []


async def test_who_is_stuck_is_told_a_second_after_the_loop_has_had_its_turn(autojump_clock, caplog):
    async with open_house(shielding) as house:
        peer = house.peer()
        await peer.say(GET)
        house.nursery.start_soon(house.listener.drain, 10)
        await trio.sleep(9)
        autojump_clock.jump(60)
        await trio.sleep(0.9)
        assert loud(caplog) == []
        await trio.sleep(0.2)
        assert len(loud(caplog)) == 1
        started = trio.current_time()
        assert (await house.listener.drain()).stuck == 1
        assert trio.current_time() == started, "asked again, it says so at once"


async def test_a_handler_in_a_thread_is_named_and_counted_too(caplog):
    release = threading.Event()

    def block():
        release.wait(30)

    async def handler(request):
        await trio.to_thread.run_sync(block)
        return rr.Response("hi")

    async with open_house(handler) as house:
        await house.peer().say(GET)
        start = trio.current_time()
        try:
            outcome = await house.listener.drain(0.05)
        finally:
            release.set()
        assert outcome == rr.Drained(finished=0, cut=0, stuck=1)
        assert 1.05 <= trio.current_time() - start < 10
        await house.empty()
    [message] = loud(caplog)
    assert "in handler" in message


# Notices


async def test_a_notice_tells_those_who_are_there_and_not_newcomers(autojump_clock):
    async def handler(request):
        with trio.move_on_after(3):
            await request.drain.started.wait()
        return rr.Response(str(request.drain.draining))

    async with open_house(handler) as house:
        idle, busy = house.peer(), house.peer()
        await trio.sleep(2)
        await busy.say(GET)
        house.listener.notify()
        newcomer = house.peer()
        await newcomer.say(GET)
        assert await idle.end() == b""
        assert await busy.end() == answer(b"True", b"connection: close")
        assert (idle.ended_at, busy.ended_at) == (2, 2)
        assert await newcomer.until(b"False") == answer(b"False")
        assert house.listener.status == "accepting"


async def test_a_later_drain_reaches_those_noticed_and_newcomers(autojump_clock):
    async with open_house(endless) as house:
        noticed = house.peer()
        await noticed.say(GET)
        house.listener.notify(3)
        newcomer = house.peer()
        await newcomer.say(GET)
        await trio.sleep(10)
        assert noticed.ended_at is None, "a notice cuts nobody"
        house.listener.notify(3)
        third = house.peer()
        await third.say(GET)
        assert house.active == 3
        assert await house.listener.drain(5) == rr.Drained(finished=0, cut=3, stuck=0)
        for peer in (noticed, newcomer, third):
            assert await peer.end() == last_word(b"503 Service Unavailable")
            assert peer.ended_at == 15


async def test_a_notice_that_is_over_takes_nobodys_last_word(autojump_clock):
    async with open_house(limits=rr.Limits(min_bytes_per_second=0)) as house:
        peer, other = house.peer(), house.peer()
        await peer.say(b"G")
        house.listener.notify(1)
        await trio.sleep(10)
        await other.close()
        house.nursery.start_soon(house.listener.drain, 1000)
        assert await peer.end() == last_word(b"408 Request Timeout")
        assert peer.ended_at == 30
        assert await house.empty() == 32


async def test_a_notice_to_a_draining_listener_changes_nothing(autojump_clock):
    async with open_house(endless) as house:
        peer = house.peer()
        await peer.say(GET)
        house.nursery.start_soon(house.listener.drain, 10)
        await trio.sleep(1)
        house.listener.notify(1)
        house.nursery.start_soon(house.listener.drain, 1000)
        await peer.end()
        assert peer.ended_at == 10


async def test_a_notice_before_the_beginning_or_after_the_end_does_nothing(autojump_clock):
    async with open_house() as house:
        pass
    house.listener.notify()
    assert house.listener.status == "closed"
    listener = rr.Listener(hello)
    listener.notify()
    assert listener.status == "new"


# Numbers


async def test_the_numbers_add_up_to_those_who_were_there(autojump_clock):
    async def handler(request):
        if request.path == "/stuck":
            return await shielding(request)
        await trio.sleep(5 if request.path == "/" else 1000)
        return rr.Response("hi")

    async with open_house(handler) as house:
        for path, peers in {b"/": 3, b"/long": 2, b"/stuck": 1}.items():
            for _ in range(peers):
                await house.peer().say(GET.replace(b"/ ", path + b" ", 1))
        for _ in range(4):
            house.peer()
        gone = house.peer()
        await gone.close()
        await trio.sleep(1)
        outcome = await house.listener.drain(10)
        assert outcome == rr.Drained(finished=7, cut=2, stuck=1)
        assert house.listener.info().accepted == 11


async def test_a_connection_that_only_lingers_at_the_deadline_was_not_cut(autojump_clock):
    async with open_house() as house:
        await house.peer().say(b"GET / HTTP/1.1\r\nbad line\r\n")
        await wait_all_tasks_blocked()
        assert house.phases() == ["finishing"]
        assert await house.listener.drain(1) == rr.Drained(finished=1, cut=0, stuck=0)
        assert trio.current_time() == 1


async def test_a_drain_in_the_very_tick_in_which_it_listens():
    """An application that ends as soon as it has started may ask for that: the accept loop finds its socket closed."""

    class Begun(trio.TaskStatus):
        def started(self, value=None):
            value._start_drain(trio.current_time() + 1)

    listener = rr.Listener(hello, bind="127.0.0.1:0")
    with trio.fail_after(1):
        await listener.serve(task_status=Begun())
    assert (listener.status, listener.drained) == ("closed", True)


@pytest.mark.parametrize("told", ["forgo_start", "drain"])
async def test_a_start_up_that_is_forgone_is_an_end_in_order(told, autojump_clock):
    class Slow:
        def plan(self, request):
            return rr.Plan()

        async def __call__(self, exchange):
            raise AssertionError

        @asynccontextmanager
        async def lifetime(self, failed=None):
            await trio.sleep_forever()
            yield

    listener = rr.Listener(Slow(), bind=MemoryListener())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(listener.serve)
        await trio.sleep(1)
        assert (listener.status, listener.drained) == ("starting", False)
        if told == "drain":
            await listener.drain(5)
        else:
            listener.forgo_start()
    assert (listener.status, listener.drained) == ("closed", True)
    assert trio.current_time() == 1
