"""What leaves a handler: whose fault it is, what the peer hears, what is logged; and the neighbours notice nothing."""

from __future__ import annotations

import logging

import pytest
import trio
from story_tools import GET, answer, last_word, loud, open_house, post

import roadrunner_trio as rr

ERROR_500 = last_word(b"500 Internal Server Error")
TEXT = b"content-type: text/plain; charset=utf-8"


def raising(error: BaseException, *, after: float = 0):
    """A handler that raises ``error`` for ``/`` and answers everything else."""

    async def handler(request):
        if request.path != "/":
            return rr.Response("hi")
        await trio.sleep(after)
        raise error

    return handler


OURS = [
    ValueError("secret"),
    SystemExit(3),
    trio.BrokenResourceError("the database is gone"),
    trio.ClosedResourceError(),
    trio.TooSlowError(),
    StopAsyncIteration(),
    ExceptionGroup("", [ValueError()]),
    ExceptionGroup("", [ValueError(), rr.HTTPError(404)]),
    ExceptionGroup("", [rr.HTTPError(404), rr.HTTPError(403)]),
    ExceptionGroup("", [rr.PeerGone(), ValueError()]),
    BaseExceptionGroup("", [SystemExit(3), ValueError()]),
    ExceptionGroup("", [trio.BrokenResourceError("the database is gone")]),
]


@pytest.mark.parametrize("error", OURS, ids=repr)
async def test_an_error_of_the_application_is_a_500_and_one_log_line(error, autojump_clock, caplog):
    async with open_house(raising(error)) as house:
        peer, neighbour = house.peer(), house.peer()
        await neighbour.say(GET.replace(b"/ ", b"/ok ", 1))
        await peer.say(GET)
        assert await peer.end() == ERROR_500
        await neighbour.say(GET.replace(b"/ ", b"/ok ", 1))
        assert neighbour.take() == answer(b"hi") * 2
    event = house.watch.only("exception")
    assert event.error is error, "a group is logged whole, never flattened"
    assert (event.status, event.outcome) == (500, "error")
    [record] = caplog.records
    assert (record.levelno, record.exc_info[1]) == (logging.ERROR, error)


@pytest.mark.parametrize(
    "error",
    [
        rr.HTTPError(404, "not here"),
        ExceptionGroup("", [rr.HTTPError(404, "not here")]),
        ExceptionGroup("", [ExceptionGroup("", [rr.HTTPError(404, "not here")])]),
    ],
    ids=["bare", "in a group", "in a group of groups"],
)
async def test_an_http_error_is_a_response_and_the_connection_lives(error, autojump_clock, caplog):
    async with open_house(raising(error)) as house:
        peer = house.peer()
        for _ in range(2):
            await peer.say(GET)
            assert peer.take() == answer(b"not here", TEXT, status=b"404 Not Found")
    assert house.watch.names() == ["accept", *["start", "stop"] * 2, "close"]
    assert loud(caplog) == []


async def test_an_http_error_has_fields_and_may_ask_for_the_close(autojump_clock):
    error = rr.HTTPError(429, fields=[("Retry-After", "5"), ("Connection", "close")])
    async with open_house(raising(error)) as house:
        peer = house.peer()
        await peer.say(GET)
        fields = (b"connection: close", TEXT, b"retry-after: 5")
        assert await peer.end() == answer(b"Too Many Requests", *fields, status=b"429 Too Many Requests")


async def test_an_http_error_whose_fields_are_unsound_is_a_500(autojump_clock, caplog):
    async def handler(request):
        raise rr.HTTPError(404, fields=[("A", "b\r\nc: d")])

    async with open_house(handler) as house:
        peer = house.peer()
        await peer.say(GET)
        assert await peer.end() == ERROR_500
    assert house.watch.names() == ["accept", "start", "exception", "close"]
    assert len(loud(caplog)) == 1


async def test_an_http_error_inside_a_response_cuts_it(autojump_clock, caplog):
    async def produce(send):
        await send(b"tick")
        raise rr.HTTPError(404)

    async def handler(request):
        return rr.StreamResponse(produce)

    async with open_house(handler) as house:
        peer = house.peer()
        await peer.say(GET)
        assert (await peer.end()).endswith(b"\r\n4\r\ntick\r\n")
    assert house.watch.only("exception").status == 200
    assert len(loud(caplog)) == 1


async def test_the_rest_of_a_body_does_not_keep_an_http_error_from_being_an_ordinary_response(autojump_clock):
    async with open_house(raising(rr.HTTPError(403)), body="streaming") as house:
        peer = house.peer()
        await peer.say(post(b"Content-Length: 3", body=b"abc") + GET)
        assert peer.take() == answer(b"Forbidden", TEXT, status=b"403 Forbidden") * 2


async def test_a_peer_that_vanishes_inside_a_handlers_own_nursery_is_no_error_of_the_handler(autojump_clock, caplog):
    async def handler(request):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(request.read)
        return rr.Response()

    async with open_house(handler, body="streaming") as house:
        peer = house.peer()
        await peer.say(post(b"Content-Length: 5", body=b"1"))
        await peer.close()
        assert house.active == 0
    event = house.watch.only("exception")
    assert (event.outcome, event.status) == ("gone", None)
    assert loud(caplog) == []


async def test_a_malformed_body_read_inside_a_handlers_own_nursery_is_the_peers_fault(autojump_clock, caplog):
    async def handler(request):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(request.read)
        return rr.Response()

    async with open_house(handler, body="streaming") as house:
        peer = house.peer()
        await peer.say(post(b"Transfer-Encoding: chunked", body=b"x"))
        assert await peer.end() == last_word(b"400 Bad Request")
    assert house.watch.only("rejected").reason == "bad_chunk_size"
    assert loud(caplog) == []


async def test_an_error_after_the_peer_has_gone_is_still_the_applications(autojump_clock, caplog):
    async def handler(request):
        await request.disconnected()
        raise ValueError

    async with open_house(handler) as house:
        peer = house.peer()
        await peer.say(GET)
        await peer.close()
        assert house.active == 0
    assert isinstance(house.watch.only("exception").error, ValueError)
    assert len(loud(caplog)) == 1


# What nobody may catch


@pytest.mark.parametrize("grouped", [False, True], ids=["bare", "in a group"])
async def test_a_keyboard_interrupt_passes_out(grouped, autojump_clock):
    error = BaseExceptionGroup("", [KeyboardInterrupt(), ValueError()]) if grouped else KeyboardInterrupt()
    houses = []

    async def interrupted():
        async with open_house(raising(error)) as house:
            houses.append(house)
            peer, neighbour = house.peer(), house.peer()
            await neighbour.say(GET.replace(b"/ ", b"/ok ", 1))
            await peer.say(GET)
            await trio.sleep_forever()

    with pytest.raises(BaseExceptionGroup) as caught:
        await interrupted()
    assert caught.group_contains(KeyboardInterrupt)
    [house] = houses
    house.watch.check_pairs()
    assert house.watch.only("exception").outcome == "cancelled"
    assert house.watch.names().count("close") == 2
    assert house.active == 0


async def test_a_scope_of_the_handlers_own_does_not_end_the_connection(autojump_clock):
    async def handler(request):
        with trio.move_on_after(5):
            await trio.sleep_forever()
        with trio.CancelScope() as scope:
            scope.cancel()
            await trio.lowlevel.checkpoint()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            nursery.cancel_scope.cancel()
        return rr.Response("hi")

    async with open_house(handler) as house:
        peer = house.peer()
        for _ in range(2):
            await peer.say(GET)
            assert await peer.until(b"hi") == answer(b"hi")
        assert trio.current_time() == 10
    assert house.watch.names() == ["accept", *["start", "stop"] * 2, "close"]


async def test_a_scope_around_a_read_leaves_the_connections_deadlines_alone(autojump_clock):
    async def handler(request):
        with trio.move_on_after(5):
            await request.stream().__anext__()
        await trio.sleep(1000)
        return rr.Response("hi")

    async with open_house(handler, body="streaming") as house:
        peer = house.peer()
        await peer.say(post(b"Content-Length: 5"))
        await trio.sleep(600)
        await peer.say(b"12345")
        assert await peer.until(b"hi") == answer(b"hi")
        assert trio.current_time() == 1005


async def test_a_handlers_clean_up_may_take_its_time_but_is_cancelled_with_it(autojump_clock):
    done = []

    async def handler(request):
        try:
            await trio.sleep_forever()
        finally:
            with trio.move_on_after(3, shield=True):
                await trio.sleep_forever()
            done.append(trio.current_time())

    async with open_house(handler, timeouts=rr.Timeouts(handler=5)) as house:
        peer = house.peer()
        await peer.say(GET)
        assert await peer.end() == last_word(b"503 Service Unavailable")
        assert (peer.ended_at, done) == (8, [8])


# Apps and observers


async def test_an_app_whose_plan_raises_is_a_500_and_the_neighbours_notice_nothing(autojump_clock, caplog):
    class App:
        def plan(self, request: rr.Request) -> rr.Plan:
            if request.path == "/":
                raise LookupError("secret")
            return rr.Plan()

        async def __call__(self, exchange: rr.Exchange) -> None:
            await exchange.respond(200, [], b"hi")

    async with open_house(App()) as house:
        peer, neighbour = house.peer(), house.peer()
        await peer.say(GET)
        assert await peer.end() == ERROR_500
        await neighbour.say(GET.replace(b"/ ", b"/ok ", 1))
        assert neighbour.take() == answer(b"hi")
        assert await house.empty() == 77
    assert house.watch.names() == ["accept", "accept", "start", "stop", "close", "close"]
    assert caplog.messages == ["the connection of memory failed"]


async def test_an_app_that_returns_without_a_response_is_a_500(autojump_clock, caplog):
    class App:
        def plan(self, request: rr.Request) -> rr.Plan:
            return rr.Plan()

        async def __call__(self, exchange: rr.Exchange) -> None:
            return

    async with open_house(App()) as house:
        peer = house.peer()
        await peer.say(GET)
        assert await peer.end() == ERROR_500
    assert len(loud(caplog)) == 1


async def test_an_app_that_raises_behind_its_response_leaves_the_connection_to_its_peer(autojump_clock, caplog):
    class App:
        def plan(self, request: rr.Request) -> rr.Plan:
            return rr.Plan()

        async def __call__(self, exchange: rr.Exchange) -> None:
            await exchange.respond(200, [], b"hi")
            raise ValueError

    async with open_house(App()) as house:
        peer = house.peer()
        await peer.say(GET + GET)
        assert peer.take() == answer(b"hi") * 2, "the response stands, and did not say that the connection ends"
        assert peer.ended_at is None
    failures = [event for name, event in house.watch.events if name == "exception"]
    assert [(event.status, event.outcome) for event in failures] == [(200, "error")] * 2
    assert len(loud(caplog)) == 2


async def test_an_observer_that_raises_is_switched_off_and_nobody_else_notices(autojump_clock, caplog):
    class Broken(rr.Observer):
        calls = 0

        def request_start(self, event: rr.RequestStarted) -> None:
            self.calls += 1
            raise ValueError

    broken = Broken()
    async with open_house(observers=[broken]) as house:
        peer = house.peer()
        await peer.say(GET * 3)
        assert peer.take() == answer(b"hi") * 3
    assert broken.calls == 1
    assert len(loud(caplog)) == 1
