"""An exception that was meant for somebody else ends the request that raises it, and nothing besides.

A ``trio.Cancelled`` that was kept and is raised again in another task looks to Trio like that task's own: let out of a
connection it would end the connections' nursery, and with it the listener and every neighbour, without a word.
"""

from __future__ import annotations

import logging
import socket

import pytest
import trio
from presence_tools import reset
from story_tools import GET, answer, hello, last_word, loud, open_house
from stray_tools import ANSWERED, FOREIGN, NEXT_DOOR, POINTS, Planning, asking, foreign, raising, watching
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

import roadrunner_trio as rr

ERROR_500 = last_word(b"500 Internal Server Error")
KINDS = ("memory", "tcp")


def errors(caplog):
    """What was logged as an error."""
    return [record for record in caplog.records if record.levelno >= logging.ERROR]


# Where the application is awaited


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("what", FOREIGN)
@pytest.mark.parametrize("point", POINTS)
async def test_case_46_a_stray_is_a_500_or_a_cut_and_the_neighbours_notice_nothing(
    point, what, kind, autojump_clock, caplog
):
    error = await foreign(what)
    async with open_house(**POINTS[point](raising(error)), tcp=True) as house:
        neighbour, peer = house.meet(kind), house.meet(kind)
        await neighbour.say(NEXT_DOOR)
        await peer.say(asking(point))
        await trio.sleep(0.5)
        heard = peer.take()
        if point in ANSWERED:
            assert heard == ERROR_500
        else:
            assert not heard.endswith(b"\r\n0\r\n\r\n"), "what was not completed does not look complete"
        assert await neighbour.until(b"hi") == answer(b"hi")
        assert house.listener.status == "accepting"
        newcomer = house.meet(kind)
        await newcomer.say(NEXT_DOOR)
        assert await newcomer.until(b"hi") == answer(b"hi")
        await peer.close()
    if point.startswith("websocket"):
        return  # of what becomes of a session its own tests tell
    event = house.watch.only("exception")
    assert event.outcome == "error"
    [record] = errors(caplog)
    assert record.exc_info[1] is event.error
    assert "meant for somebody else" in caplog.text
    assert type(error).__name__ in caplog.text, "and what it was"


@pytest.mark.parametrize("what", FOREIGN)
async def test_case_46_in_a_group_with_an_error_both_are_logged(what, autojump_clock, caplog):
    error = await foreign(what)

    async def act():
        raise BaseExceptionGroup("", [error, ValueError("a bug beside it")])

    async with open_house(**POINTS["handler"](act)) as house:
        peer = house.peer()
        await peer.say(GET)
        assert await peer.end() == ERROR_500
    assert len(errors(caplog)) == 1
    assert "a bug beside it" in caplog.text


@pytest.mark.parametrize("what", FOREIGN)
async def test_case_46_a_stray_in_a_response_that_ends_with_the_connection_resets_it(what, autojump_clock, caplog):
    error = await foreign(what)
    async with open_house(**POINTS["stream"](raising(error)), tcp=True) as house:
        with socket.create_connection(("127.0.0.1", house.listener.port)) as peer:
            peer.sendall(b"GET / HTTP/1.0\r\n\r\n")
            await wait_all_tasks_blocked()
            assert peer.recv(1000).endswith(b"\r\n\r\ntick")
            with pytest.raises(ConnectionResetError):
                peer.recv(1)
        assert house.active == 0
    assert len(errors(caplog)) == 1


@pytest.mark.parametrize("kind", KINDS)
async def test_case_46_a_nursery_of_the_applications_own_takes_a_stray_for_its_own(kind, autojump_clock, caplog):
    """That is Trio's affair, and stays in the handler."""
    error = await foreign("cancellation")

    async def act():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(raising(error))

    async with open_house(**POINTS["handler"](act), tcp=True) as house:
        peer = house.meet(kind)
        await peer.say(GET)
        assert peer.take() == answer(b"hi")
    assert loud(caplog) == []


# Where it is called


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("what", FOREIGN)
@pytest.mark.parametrize("place", ["plan", "step"])
async def test_case_46_before_the_handler_a_stray_is_a_500_too(place, what, kind, autojump_clock, caplog):
    error = await foreign(what)

    class Step(rr.RequestIds):
        def __call__(self, exchange):
            if exchange.request.path == "/":
                raise error

    settings = {"handler": Planning(error)} if place == "plan" else POINTS["handler"](trio.lowlevel.checkpoint)
    async with open_house(**settings, tcp=True, request_ids=None if place == "plan" else Step()) as house:
        neighbour, peer = house.meet(kind), house.meet(kind)
        await neighbour.say(NEXT_DOOR)
        await peer.say(GET)
        assert await peer.end() == ERROR_500
        assert await neighbour.until(b"hi") == answer(b"hi")
        assert house.listener.status == "accepting"
    [record] = errors(caplog)
    assert record.exc_info[1] is error
    assert house.listener.info().aborted == 1


HOOKS = ["listener_accept", "request_start", "request_stop", "listener_conn_close"]


@pytest.mark.parametrize("what", FOREIGN)
@pytest.mark.parametrize("hook", HOOKS)
async def test_case_46_an_observer_that_raises_a_stray_is_switched_off(hook, what, autojump_clock, caplog):
    observer = watching(hook, await foreign(what))
    async with open_house(observers=[observer], tcp=True) as house:
        for _ in range(2):
            peer = house.tcp_peer()
            await peer.say(GET)
            assert peer.take() == answer(b"hi")
            await peer.close()
    assert len(errors(caplog)) == 1
    assert f"raised in {hook} and is switched off" in caplog.text


@pytest.mark.parametrize("what", FOREIGN)
async def test_case_46_an_observer_that_raises_a_stray_beside_an_error_is_switched_off(what, autojump_clock, caplog):
    observer = watching("request_exception", await foreign(what))
    async with open_house(**POINTS["handler"](raising(ValueError("a bug"))), observers=[observer]) as house:
        peer = house.peer()
        await peer.say(GET)
        assert await peer.end() == ERROR_500
    assert len(errors(caplog)) == 2


class Bad(trio.abc.Stream):
    """A stream that raises at one place."""

    def __init__(self, inner, place, error):
        self.inner, self.place, self.error = inner, place, error

    async def _at(self, place):
        if place == self.place:
            raise self.error

    async def send_all(self, data):
        await self._at("send")
        await self.inner.send_all(data)

    async def wait_send_all_might_not_block(self):
        await self.inner.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes=None):
        await self._at("receive")
        return await self.inner.receive_some(max_bytes)

    async def aclose(self):
        try:
            await self.inner.aclose()
        finally:
            await self._at("close")


ERRORS = [*FOREIGN, "system error"]


async def an_error(what):
    return OSError("of the stream's own") if what == "system error" else await foreign(what)


@pytest.mark.parametrize("what", ERRORS)
async def test_case_46_a_stream_that_fails_in_a_way_of_its_own_harms_nobody(what, autojump_clock, caplog):
    error, told = await an_error(what), []
    async with open_house() as house:
        for place in ("send", "receive", "close"):
            ours, theirs = memory_stream_pair()
            house.door.put.send_nowait(Bad(theirs, place, error))
            await ours.send_all(GET)
            await ours.send_eof()
            await house.empty()
            await wait_all_tasks_blocked()
            assert house.listener.status == "accepting"
            told.append(len(errors(caplog)))
        peer = house.peer()
        await peer.say(GET)
        assert peer.take() == answer(b"hi")
    # Trio's forceful close takes a cancellation for its own.
    assert told == [1, 2, 2 if isinstance(error, trio.Cancelled) else 3]


@pytest.mark.parametrize("what", ERRORS)
async def test_case_46_at_the_deadline_of_a_drain_too(what, autojump_clock, caplog):
    async def handler(request):
        await trio.sleep_forever()

    async with open_house(handler) as house:
        ours, theirs = memory_stream_pair()
        house.door.put.send_nowait(Bad(theirs, "send", await an_error(what)))
        await ours.send_all(GET)
        await wait_all_tasks_blocked()
        assert await house.listener.drain(3) == rr.Drained(finished=0, cut=1, stuck=0)
    assert [record.getMessage() for record in errors(caplog)] == ["the stream of Bad failed to take the last word"]


# A cancellation that is a task's own, beside one that is not


class SingleFlight:
    """One computation for all who ask meanwhile; its exception is theirs, too."""

    flight: dict | None = None

    async def get(self, compute):
        if (flight := self.flight) is not None:
            await flight["done"].wait()
            raise flight["error"]
        self.flight = flight = {"done": trio.Event()}
        try:
            return await compute()
        except BaseException as exc:
            flight["error"] = exc
            raise
        finally:
            self.flight = None
            flight["done"].set()


async def test_case_46_who_waited_for_a_computation_whose_first_asker_was_reset_is_told_500(autojump_clock, caplog):
    cache = SingleFlight()

    async with open_house(**POINTS["handler"](lambda: cache.get(trio.sleep_forever)), tcp=True) as house:
        neighbour, first, *others = (house.tcp_peer() for _ in range(4))
        await neighbour.say(NEXT_DOOR)
        await first.say(GET)
        for other in others:
            await other.say(GET)
        await reset(first)
        for other in others:
            assert await other.end() == ERROR_500
        assert await neighbour.until(b"hi") == answer(b"hi")
        assert house.listener.status == "accepting"
    outcomes = [event.outcome for name, event in house.watch.events if name == "exception"]
    assert sorted(outcomes) == ["error", "error", "gone"]
    assert len(errors(caplog)) == 2


WAYS = ["drain", "reset", "limit", "serve cancelled"]


async def end_it(house, peer, way):
    """Ends the request of ``peer``."""
    if way == "drain":
        await house.listener.drain(3)
    elif way == "reset":
        await reset(peer)
        await house.empty()  # a loop response has its grace, for a last message
    elif way == "limit":
        await trio.sleep(7)
    else:
        house.nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            await house.empty()


def outcome_of(way):
    """What the observers are told."""
    return {"reset": "gone", "limit": "timeout"}.get(way, "cancelled")


HANDED_OVER = ("hand-off", "websocket")
"""What has no limit, and meets a reset by itself."""


@pytest.mark.parametrize(
    ("point", "way"),
    [(point, way) for point in POINTS for way in WAYS if point not in HANDED_OVER or way not in ("reset", "limit")],
)
async def test_a_cancellation_of_the_servers_own_is_no_error_at_any_point(point, way, autojump_clock, caplog):
    timeouts = rr.Timeouts(handler=5) if way == "limit" else rr.Timeouts()
    async with open_house(**POINTS[point](trio.sleep_forever), tcp=True, timeouts=timeouts) as house:
        peer = house.tcp_peer()
        await peer.say(asking(point))
        await end_it(house, peer, way)
        assert house.active == 0 or way == "limit"
    assert loud(caplog) == []
    if point == "early check":
        assert house.listener.info().aborted == 1, "the handler was never called"
    elif point != "websocket":
        outcomes = [event.outcome for name, event in house.watch.events if name in ("exception", "stop")]
        assert outcomes in ([outcome_of(way)], ["complete"] * point.startswith(("event stream", "loop")))


@pytest.mark.parametrize("way", WAYS)
async def test_case_46_an_error_beside_a_cancellation_is_logged_and_the_listener_lives(way, autojump_clock, caplog):
    """At the deadline of a drain, too, it must not come out of ``Listener.serve``: the house would fall with it."""

    async def act():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            try:
                await trio.sleep_forever()
            finally:
                raise ValueError("in the clean-up")

    timeouts = rr.Timeouts(handler=5) if way == "limit" else rr.Timeouts()
    async with open_house(**POINTS["handler"](act), tcp=True, timeouts=timeouts) as house:
        peer = house.tcp_peer()
        await peer.say(GET)
        if way in ("reset", "limit"):
            neighbour = house.tcp_peer()
            house.nursery.start_soon(end_it, house, peer, way)
            await trio.sleep(4.5)
            await neighbour.say(NEXT_DOOR)
            assert await neighbour.until(b"hi") == answer(b"hi")
            assert house.listener.status == "accepting"
        else:
            await end_it(house, peer, way)
        if way in ("drain", "limit"):
            assert await peer.end() == last_word(b"503 Service Unavailable"), "what the observers were told"
    [record] = errors(caplog)
    assert "in the clean-up" in caplog.text
    assert record.exc_info is not None
    event = house.watch.only("exception")
    assert (event.outcome, event.status) == (outcome_of(way), 503 if way in ("drain", "limit") else None)


async def test_an_interrupt_of_the_operators_passes_beside_an_error_and_the_error_is_logged(caplog):
    both = BaseExceptionGroup("", [KeyboardInterrupt(), ValueError("beside it")])

    async def interrupted():
        async with open_house(**POINTS["handler"](raising(both))) as house:
            await house.peer().say(GET)
            await trio.sleep_forever()

    with pytest.raises(BaseExceptionGroup) as caught:
        await interrupted()
    assert caught.group_contains(KeyboardInterrupt)
    assert "beside it" in caplog.text


# Where connections come from


class Astray(trio.abc.Listener):
    """Ready-made, and its author's mistake."""

    def __init__(self, error):
        self.error = error

    async def accept(self):
        await trio.lowlevel.checkpoint()
        raise self.error

    async def aclose(self):
        await trio.lowlevel.checkpoint()


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("what", FOREIGN)
async def test_case_46_a_listener_whose_accept_raises_a_stray_does_not_end_in_silence(what, grouped, caplog):
    error = await foreign(what)
    listener = rr.Listener(hello, bind=Astray(BaseExceptionGroup("", [error]) if grouped else error))
    with pytest.raises(ExceptionGroup) as caught:
        await listener.serve()
    assert caught.group_contains(RuntimeError, match="meant for somebody else")
    [line] = loud(caplog)
    assert line == "listener 'main' ends: what it accepts from raised somebody else's cancellation"
    assert listener.status == "closed"
