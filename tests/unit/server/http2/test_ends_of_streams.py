"""How streams, and connections of HTTP/2, come to their ends: resets, deadlines, drains, breaches."""

from __future__ import annotations

from contextlib import suppress

import pytest
import trio
from http2_peer import Http2Peer, open_http2
from story_tools import loud, open_house
from trio.testing import wait_all_tasks_blocked

import roadrunner_trio as rr
from roadrunner_trio.apps.asgi import asgi

KINDS = ("memory", "tcp")
NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, REFUSED_STREAM, CANCEL = 0, 1, 2, 7, 8


class Sleeper:
    """A handler that sleeps for as long as its path says, and notes how it ended."""

    def __init__(self):
        self.ends = []
        self.began = 0

    async def __call__(self, request):
        self.began += 1
        try:
            await trio.sleep(float(request.path[1:] or 0))
        except trio.Cancelled:
            self.ends.append("cancelled")
            raise
        self.ends.append("slept")
        return rr.Response("slept")


@pytest.mark.parametrize("kind", KINDS)
async def test_a_request_that_is_taken_back_is_cancelled_at_once(kind, autojump_clock):
    sleeper = Sleeper()
    async with open_http2(sleeper, kind) as (house, peer):
        number, other = peer.ask("/100"), peer.ask("/5")
        await peer.flush()
        await trio.sleep(1)
        peer.cancel(number)
        before = trio.current_time()
        await peer.flush()
        await trio.sleep(0.01)
        assert sleeper.ends == ["cancelled"]
        assert trio.current_time() - before < 0.1
        assert (await peer.answer(other)).brief == (200, b"slept")
        assert house.listener.info().gone == 1
        assert house.listener.info().streams_reset == 1
        assert (await peer.get("/0")).status == 200


async def test_who_is_to_be_left_alone_is_told_and_not_cancelled(autojump_clock):
    told = []

    class App:
        def plan(self, request):
            return rr.Plan("streaming", None)

        async def __call__(self, exchange):
            await exchange.disconnected()
            told.append(trio.current_time())
            try:
                await exchange.respond(200, (), b"x")
            except rr.PeerGone:
                told.append("gone")
                raise

    async with open_http2(App()) as (_, peer):
        number = peer.ask()
        await peer.flush()
        await trio.sleep(3)
        peer.cancel(number)
        await peer.flush()
        assert told == [3, "gone"]


@pytest.mark.parametrize("kind", ["memory", "tcp"])
async def test_an_interrupt_of_the_operators_passes_beside_an_error_which_is_logged(kind, caplog):
    class App:
        def plan(self, request):
            raise BaseExceptionGroup("", [KeyboardInterrupt(), ValueError("beside it")])

        async def __call__(self, exchange):
            raise AssertionError("not asked")

    async def interrupted():
        async with open_http2(App(), kind) as (_, peer):
            peer.ask()
            await peer.flush()
            await trio.sleep_forever()

    with pytest.raises(BaseExceptionGroup) as caught:
        await interrupted()
    assert caught.group_contains(KeyboardInterrupt)
    assert not caught.group_contains(AttributeError)
    assert "beside it" in caplog.text


async def test_a_handler_has_its_time_and_its_neighbours_theirs(autojump_clock):
    sleeper = Sleeper()
    async with open_http2(sleeper, timeouts=rr.Timeouts(handler=10)) as (house, peer):
        late, early = peer.ask("/100"), peer.ask("/9")
        await peer.flush()
        assert (await peer.answer(early)).brief == (200, b"slept")
        answer = await peer.answer(late)
        assert (answer.status, trio.current_time()) == (503, 10)
        assert house.listener.info().timed_out == 1
        assert (await peer.get("/1")).status == 200


async def test_a_response_that_takes_too_long_is_reset(autojump_clock):
    async def handler(request):
        async def produce(send):
            await send(b"x")
            await trio.sleep_forever()

        return rr.StreamResponse(produce)

    async with open_http2(handler, timeouts=rr.Timeouts(handler=10)) as (_, peer):
        answer = await peer.get()
        assert (answer.body, answer.reset, trio.current_time()) == (b"x", CANCEL, 10)
        assert (await peer.get()).status == 200


@pytest.mark.parametrize("mode", ["buffered", "streaming"])
async def test_a_body_that_does_not_come_is_408(mode, autojump_clock):
    async def echo(request):
        return rr.Response(await request.read())

    timeouts = rr.Timeouts(body=20, handler=1000)
    async with open_http2(echo, body=mode, timeouts=timeouts, limits=rr.Limits(min_bytes_per_second=0)) as (_, peer):
        number = peer.ask("/", method="POST", end=False)
        await peer.flush()
        answer = await peer.answer(number)
        assert (answer.status, trio.current_time()) == (408, 20)
        assert (await peer.get()).status == 200


@pytest.mark.parametrize("mode", ["buffered", "streaming"])
async def test_a_body_that_comes_too_slowly_is_408(mode, autojump_clock):
    async def echo(request):
        return rr.Response(await request.read())

    async with open_http2(echo, body=mode) as (_, peer):
        number = peer.ask("/", method="POST", end=False)
        await peer.flush()
        while not peer.streams[number].over:
            peer.send(number, b"x" * 50)
            await peer.flush()
            await trio.sleep(1)
            await peer.read()
            assert trio.current_time() < 10
        assert peer.streams[number].status == 408
        assert trio.current_time() >= 5


@pytest.mark.parametrize("kind", KINDS)
async def test_a_window_that_stays_shut_ends_its_stream_alone(kind, autojump_clock):
    failures = []

    async def handler(request):
        if request.path == "/small":
            return rr.Response("small")

        async def produce(send):
            try:
                for _ in range(1000):
                    await send(b"x" * 10_000)
            except rr.PeerGone as exc:
                failures.append((type(exc).__name__, trio.current_time()))
                raise

        return rr.StreamResponse(produce)

    async with open_http2(handler, kind, timeouts=rr.Timeouts(write=12)) as (house, peer):
        peer.gives_credit = False
        peer.conn.increment_flow_control_window(10_000_000)
        number = peer.ask("/large")
        await peer.flush()
        assert (await peer.get("/small")).status == 200
        answer = await peer.answer(number)
        assert (answer.status, len(answer.body)) == (200, 65535)
        assert answer.reset is not None
        assert failures == [("PeerTooSlow", 12)]
        assert house.listener.info().timed_out == 1
        assert (await peer.get("/small")).status == 200


async def test_nothing_said_at_all_ends_it(autojump_clock):
    async with open_house(protocols=["h2"]) as house:
        peer = Http2Peer(house.peer())
        assert await peer.end() == 30


async def test_an_idle_connection_has_its_time_and_is_told(autojump_clock):
    async with open_http2(Sleeper()) as (_, peer):
        await peer.get("/5")
        assert await peer.end() == 80
        assert peer.goaways == [(1, NO_ERROR)]


async def test_a_frame_that_has_begun_has_its_time(autojump_clock):
    async with open_http2(Sleeper(), limits=rr.Limits(min_bytes_per_second=0)) as (_, peer):
        await peer.get("/5")
        await peer.peer.say(b"\x00\x00\x08\x06")
        assert await peer.end() == 35


@pytest.mark.parametrize("kind", KINDS)
async def test_a_peer_that_resets_the_connection_takes_all_back(kind, autojump_clock):
    sleeper = Sleeper()
    async with open_http2(sleeper, kind) as (house, peer):
        for _ in range(5):
            peer.ask("/100")
        await peer.flush()
        assert house.phases() == ["serving 5 streams"]
        await peer.peer.close()
        assert await house.empty() <= 5
        assert sleeper.ends == ["cancelled"] * 5


async def test_a_peer_that_only_ends_what_it_sends_is_answered(autojump_clock):
    async with open_http2(Sleeper()) as (_, peer):
        number = peer.ask("/3")
        await peer.flush()
        await peer.peer.finish()
        assert (await peer.answer(number)).brief == (200, b"slept")
        assert await peer.end() < 5


async def test_a_breach_ends_the_connection_and_says_which(autojump_clock):
    sleeper, seen = Sleeper(), []

    class Watcher(rr.Observer):
        def connection_failed(self, event):
            seen.append((event.code, event.reason))

    async with open_http2(sleeper, observers=[Watcher()]) as (house, peer):
        number = peer.ask("/100")
        await peer.flush()
        await peer.peer.say(b"\x00\x00\x00\x00\x00\x00\x00\x00\x00")  # DATA on stream 0
        await peer.end()
        assert peer.goaways == [(number, PROTOCOL_ERROR)]
        assert sleeper.ends == ["cancelled"]
        assert [code for code, _ in seen] == [PROTOCOL_ERROR]
        assert house.listener.info().goaways == 1


async def test_one_stream_too_many_is_refused_and_the_others_go_on(autojump_clock):
    sleeper = Sleeper()
    async with open_http2(sleeper, limits=rr.Limits(max_concurrent_streams=3)) as (house, peer):
        peer.dare()
        numbers = [peer.ask("/5") for _ in range(4)]
        await peer.flush()
        answers = [await peer.answer(number) for number in numbers]
        assert [(answer.status, answer.reset) for answer in answers] == [(200, None)] * 3 + [(0, REFUSED_STREAM)]
        assert house.listener.info().streams_refused == 1
        assert sleeper.began == 3


async def test_a_place_is_free_when_the_handler_has_ended_not_when_its_peer_has(autojump_clock):
    running, most = [0], [0]

    async def stubborn(request):
        running[0] += 1
        most[0] = max(most[0], running[0])
        try:
            with trio.CancelScope(shield=True):
                await trio.sleep(10)
        finally:
            running[0] -= 1
        return rr.Response("x")

    async with open_http2(stubborn, limits=rr.Limits(max_concurrent_streams=3)) as (_, peer):
        peer.dare()
        for _ in range(20):
            number = peer.ask()
            await peer.flush()
            if not peer.streams[number].over:
                peer.cancel(number)
                await peer.flush()
        assert most == [3]
        await trio.sleep(11)
        assert running == [0]


# -- drain -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
async def test_a_drain_says_it_twice_and_lets_finish(kind, autojump_clock):
    sleeper = Sleeper()
    async with open_http2(sleeper, kind) as (house, peer):
        number = peer.ask("/3")
        await peer.flush()
        outcome = []

        async def drain():
            outcome.append(await house.listener.drain(10))

        house.nursery.start_soon(drain)
        await wait_all_tasks_blocked()
        crossing = peer.ask("/0")  # before the peer has read the first GOAWAY
        await peer.peer.say(peer.conn.data_to_send())
        await peer.end()
        assert peer.streams[number].brief == (200, b"slept")
        assert peer.streams[crossing].status == 200
        assert [last for last, _ in peer.goaways] == [2**31 - 1, crossing]
        assert {code for _, code in peer.goaways} == {NO_ERROR}
        await trio.sleep(5)
        assert (outcome[0].finished, outcome[0].cut) == (1, 0)


@pytest.mark.parametrize("kind", KINDS)
async def test_what_is_being_written_when_the_last_stream_ends_is_written_whole(kind, autojump_clock):
    async with open_http2(flooding, kind) as (house, peer):
        number = peer.ask("/")
        house.nursery.start_soon(house.listener.drain, 100)
        for _ in range(5):
            with suppress(trio.BrokenResourceError):
                await peer.flush()
            await trio.sleep(1)
        await peer.end()
        assert (peer.streams[number].ended, len(peer.streams[number].body)) == (True, 300_000)


async def flooding(request):
    async def produce(send):
        for _ in range(30):
            await send(b"x" * 10_000)

    return rr.StreamResponse(produce)


async def test_an_idle_connection_is_drained_in_a_round_trip(autojump_clock):
    async with open_http2(Sleeper()) as (house, peer):
        await peer.get("/1")

        house.nursery.start_soon(house.listener.drain, 10)
        await wait_all_tasks_blocked()
        await peer.read()  # answers the PING
        assert await peer.end() == 1


async def test_one_that_answers_no_ping_has_a_second(autojump_clock):
    async with open_http2(Sleeper()) as (house, peer):
        await peer.get("/1")
        house.nursery.start_soon(house.listener.drain, 10)
        assert await peer.end() == 2


@pytest.mark.parametrize("grace", [0, 0.5])
@pytest.mark.parametrize("kind", [*KINDS, "wire"])
async def test_a_peer_that_has_left_hears_no_last_word_and_nobody_is_told(kind, grace, autojump_clock, caplog):
    async with open_house(Sleeper(), tcp=True) as house:
        peer = await Http2Peer(house.meet(kind)).greet()
        peer.ask("/100")
        await peer.flush()
        await peer.peer.close()
        await house.listener.drain(grace)
        assert loud(caplog) == []


async def test_the_deadline_cuts_what_is_left(autojump_clock):
    async def handler(request):
        if request.path == "/silent":
            await trio.sleep_forever()

        async def produce(send):
            await send(b"x")
            await trio.sleep_forever()

        return rr.StreamResponse(produce)

    async with open_http2(handler) as (house, peer):
        silent, begun = peer.ask("/silent"), peer.ask("/begun")
        await peer.flush()
        house.nursery.start_soon(house.listener.drain, 4)
        await peer.end()
        assert trio.current_time() == 4
        assert peer.streams[silent].status == 503
        assert (peer.streams[begun].status, peer.streams[begun].reset) == (200, INTERNAL_ERROR)
        assert house.listener.info().cut == 1


async def test_after_so_many_requests_the_peer_is_sent_away_and_loses_nothing(autojump_clock):
    async with open_http2(Sleeper(), limits=rr.Limits(max_requests_http2=5)) as (_, peer):
        numbers = [peer.ask("/2") for _ in range(5)]
        await peer.flush()
        answers = [await peer.answer(number) for number in numbers]
        assert [answer.status for answer in answers] == [200] * 5
        await peer.end()
        assert peer.goaways[0][0] == 2**31 - 1


async def test_one_that_turns_out_to_speak_it_during_a_drain(autojump_clock):
    async with open_house(Sleeper()) as house:
        stream = house.peer()
        peer = Http2Peer(stream)
        peer.conn.initiate_connection()
        number = peer.ask("/3")
        hello = peer.conn.data_to_send()
        await stream.say(hello[:3])  # it could be anything
        house.nursery.start_soon(house.listener.drain, 20)
        await wait_all_tasks_blocked()
        await stream.say(hello[3:])
        assert (await peer.answer(number)).brief == (200, b"slept")
        assert await peer.end() < 5
        assert [last for last, _ in peer.goaways] == [2**31 - 1, number]


async def test_a_body_that_nobody_reads_does_not_keep_the_others_waiting_for_ever(autojump_clock):
    async def handler(request):
        if request.path == "/sleep":
            await trio.sleep_forever()
        return rr.Response(str(len(await request.read())))

    async with open_http2(handler, body="streaming", timeouts=rr.Timeouts(body=50)) as (house, peer):
        number = peer.ask("/sleep", method="POST", end=False)
        await peer.flush()
        while window := peer.conn.local_flow_control_window(number):
            peer.send(number, b"x" * window)
            await peer.flush()
        answer = await peer.answer(number)
        assert (answer.reset, trio.current_time()) == (CANCEL, 50)
        assert house.listener.info().gone == 1
        assert (await peer.get("/read", method="POST", body=b"abc")).body == b"3"


# -- who is let in ---------------------------------------------------------------------------------


async def test_requests_beyond_what_the_application_bears(autojump_clock):
    async with open_http2(Sleeper(), limits=rr.Limits(max_concurrent_requests=2)) as (house, peer):
        numbers = [peer.ask("/2") for _ in range(4)]
        await peer.flush()
        answers = [await peer.answer(number) for number in numbers]
        assert sorted(answer.status for answer in answers) == [200, 200, 503, 503]
        assert house.listener.info().throttled == 2
        assert next(a for a in answers if a.status == 503).header("retry-after") == "1"


async def test_an_idle_connection_makes_room(autojump_clock):
    async with open_http2(Sleeper(), evict_idle=True, limits=rr.Limits(max_connections=1)) as (house, peer):
        await peer.get("/1")
        await trio.sleep(2)
        other = await Http2Peer(house.peer()).greet()
        assert (await other.get("/1")).status == 200
        await peer.end()
        assert house.listener.info().evicted == 1
        assert peer.goaways == [(1, NO_ERROR)]


async def test_the_time_of_a_handler_is_until_its_response_is_complete(autojump_clock):
    """An application of ASGI may work on behind it, as on HTTP/1; and nobody waits for that."""
    done = []

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"sent"})
        await trio.sleep(20)
        done.append((scope["http_version"], trio.current_time()))

    async with open_http2(asgi(app, lifespan="off"), timeouts=rr.Timeouts(handler=10)) as (house, peer):
        assert (await peer.get()).brief == (200, b"sent")
        assert (await peer.get()).brief == (200, b"sent")
        assert trio.current_time() == 0
        await trio.sleep(25)
        assert done == [("2", 20), ("2", 20)]
        assert house.listener.info().timed_out == 0
