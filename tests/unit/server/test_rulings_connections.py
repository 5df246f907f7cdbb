"""Rulings on connections: their clocks, the cap, drains, and what the operator sees."""

from __future__ import annotations

import logging
import ssl

import pytest
import trio
from story_tools import GET, Peer, answer, hello, last_word, loud, open_house, post
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

import roadrunner_trio as rr

PATIENT = rr.Limits(min_bytes_per_second=0)
ERROR_408 = last_word(b"408 Request Timeout")


async def slow(request: rr.Request) -> rr.Response:
    """Takes five seconds."""
    await trio.sleep(5)
    return rr.Response("slow")


async def test_n05_an_idle_gap_makes_nobody_slow(autojump_clock):
    async with open_house() as house:
        peer = house.peer()
        for _ in range(3):
            await trio.sleep(29)
            await peer.say(GET[:20])
            await peer.say(GET[20:])
            assert peer.take() == answer(b"hi")


async def test_n08_idle_head_and_body_have_a_time_each(autojump_clock):
    async with open_house(limits=PATIENT) as house:
        peer = house.peer()
        for gap in (29, 59):
            await trio.sleep(gap)
            head = post(b"Content-Length: 2")
            await peer.say(head[:1])
            await trio.sleep(29)
            await peer.say(head[1:] + b"1")
            await trio.sleep(299)
            await peer.say(b"2")
            assert peer.take() == answer(b"hi")


async def test_n19_lingering_is_bounded_however_the_peer_trickles(autojump_clock):
    async with open_house() as house:
        peer = house.peer()
        await peer.say(post(b"Content-Length: 99999999"))
        assert peer.take() == last_word(b"413 Content Too Large")
        for _ in range(3):
            await trio.sleep(0.5)
            await peer.say(b"x")
        assert await house.empty() == 2


async def test_n20_a_busy_connection_is_told_of_the_drain_in_its_last_answer(autojump_clock):
    async with open_house(slow) as house:
        peer = house.peer()
        await peer.say(GET)
        house.nursery.start_soon(house.listener.drain)
        assert await peer.end() == answer(b"slow", b"connection: close")
        assert peer.ended_at == 5


async def test_n27_requests_are_heads_that_were_accepted(autojump_clock):
    async with open_house(limits=rr.Limits(max_body=1)) as house:
        peer = house.peer()
        await peer.say(GET * 3 + post(b"Content-Length: 2"))
        await peer.close()
        assert house.listener.info().requests == 4
        await house.peer().say(b"nonsense\r\n")
        assert house.listener.info().requests == 4
    assert [event.requests for name, event in house.watch.events if name == "close"] == [4, 0]


async def test_n28_n38_options_that_would_do_nothing_are_refused(autojump_clock):
    for name in ("rate_check_interval", "graceful_drain", "slot_reconciliation", "num_acceptors", "handler_spawn"):
        for settings in (rr.Limits, rr.Timeouts):
            with pytest.raises(TypeError):
                settings(**{name: 1})
        with pytest.raises(TypeError):
            rr.Listener(hello, **{name: 1})


@pytest.mark.parametrize("leave", [Peer.close, Peer.finish], ids=["close", "half-close"])
async def test_n29_a_loop_response_learns_that_its_peer_has_gone(leave, autojump_clock, caplog):
    heard = []

    async def on_message(message, send):
        heard.append((message, trio.current_time()))

    async def handler(request):
        house.put, get = trio.open_memory_channel(1)
        return rr.LoopResponse(get, on_message)

    async with open_house(handler) as house:
        peer = house.peer()
        await peer.say(GET)
        await trio.sleep(3)
        await leave(peer)
        assert heard == [(rr.Disconnected(), 3)]
        assert not peer.heard.endswith(b"0\r\n\r\n"), "it is cut, not ended"
        assert house.active == 0
        with pytest.raises(trio.BrokenResourceError):
            house.put.send_nowait(b"nobody reads this")
        house.put.close()
    assert house.watch.only("exception").outcome == "gone"
    assert loud(caplog) == []


@pytest.mark.parametrize("first", [b"", b"GET / HTTP/1.1\r\n\r\n"], ids=["silence", "no TLS"])
async def test_n30_a_bad_tls_handshake_is_the_trouble_of_one_connection(first, autojump_clock, caplog):
    async with open_house() as house:
        stranger = Peer(*memory_stream_pair())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        house.connect(stranger, trio.SSLStream(stranger.theirs, context, server_side=True, https_compatible=True))
        await stranger.say(first)
        peer = house.peer()
        await peer.say(GET)
        assert peer.take() == answer(b"hi"), "the neighbour does not wait for it"
        await peer.close()
        assert await house.empty() == (0 if first else 10)
    assert house.watch.names() == ["accept", "start", "stop", "close"], "it never was a connection"
    assert loud(caplog) == []


async def test_n31_a_peer_that_does_not_read_has_30_seconds(autojump_clock, caplog):
    async def handler(request):
        return rr.Response(b"x" * 65536)

    async with open_house(handler) as house:
        peer, _ = house.slow_peer(10_000)
        await peer.say(GET)
        assert house.phases() == ["writing to a slow peer"]
        assert await house.empty() == 30
        assert len(peer.heard) == 10_000
    event = house.watch.only("exception")
    assert (event.outcome, event.duration) == ("timeout", 30), "it is there: it is we who leave"
    assert isinstance(event.error, rr.PeerTooSlow)
    assert loud(caplog) == []


async def test_n31_a_handler_has_no_limit_unless_it_is_given_one(autojump_clock):
    async def handler(request):
        await trio.sleep(80_000)
        return rr.Response("done")

    async with open_house(handler) as house:
        peer = house.peer()
        await peer.say(GET)
        assert await peer.until(b"done") == answer(b"done")
    async with open_house(handler, timeouts=rr.Timeouts(handler=7)) as house:
        start = trio.current_time()
        peer = house.peer()
        await peer.say(GET)
        assert await peer.end() == last_word(b"503 Service Unavailable")
        assert peer.ended_at == start + 7


async def test_n34_when_a_listener_is_cancelled_no_connection_outlives_it(autojump_clock):
    async with open_house(slow) as house:
        for _ in range(3):
            await house.peer().say(GET)
        house.nursery.cancel_scope.cancel()
    assert house.watch.names().count("close") == 3
    assert {event.outcome for name, event in house.watch.events if name == "exception"} == {"cancelled"}


async def test_n35_a_drain_can_be_watched(autojump_clock):
    async with open_house(slow) as house:
        assert house.listener.status == "accepting"
        await house.peer().say(GET)
        house.nursery.start_soon(house.listener.drain)
        await trio.sleep(1)
        assert house.listener.status == "draining"
        info = house.listener.info()
        assert (info.active, info.accepted, info.requests) == (1, 1, 1)
        [conn] = house.listener.connections()
        assert (conn.phase, conn.age, conn.requests) == ("in the handler", 1, 1)
        assert await house.empty() == 7
        await wait_all_tasks_blocked()
        assert house.listener.status == "closed"


async def test_n37_a_drained_listener_stays_closed(autojump_clock):
    async with open_house() as house:
        await house.listener.drain()
        assert house.listener.status == "closed"
        with pytest.raises(RuntimeError, match="has served already"):
            await house.listener.serve()
        with pytest.raises(trio.BrokenResourceError):
            house.peer()


async def test_n39_a_stream_handed_off_is_told_of_a_drain_and_falls_to_its_deadline(autojump_clock):
    told = []

    async def run(request, stream):
        await request.drain.started.wait()
        told.append((trio.current_time(), request.drain.deadline))
        await trio.sleep_forever()

    async def handler(request):
        return rr.Handoff(run, status=101, fields={"connection": "upgrade", "upgrade": "echo"})

    async with open_house(handler) as house:
        peer = house.peer()
        await peer.say(GET)
        assert house.phases() == ["handed off"]
        await trio.sleep(3)
        assert await house.listener.drain(10) == rr.Drained(finished=0, cut=1, stuck=0)
        assert told == [(3, 13)]
        await peer.end()
        assert peer.ended_at == 13
    assert house.watch.only("exception").outcome == "cancelled"


async def test_n62_silence_is_closed_in_silence(autojump_clock):
    async with open_house() as house:
        peer = house.peer()
        await trio.sleep(29)
        await peer.say(b"\r\n")
        assert await peer.end() == b"", "an empty line before a request line is no request (RFC 9112 section 2.2)"
        assert peer.ended_at == 30


@pytest.mark.parametrize("before", [b"", GET], ids=["first", "later"])
async def test_n62_n63_408_exactly_when_a_byte_of_a_head_has_come(before, autojump_clock):
    async with open_house(limits=PATIENT) as house:
        peer = house.peer()
        if before:
            await peer.say(before)
            peer.take()
        await trio.sleep(20)
        await peer.say(b"\r\nG")
        assert await peer.end() == ERROR_408
        assert peer.ended_at == 50


async def test_n69_n70_the_cap_is_1000_and_whoever_is_above_it_is_counted(autojump_clock):
    assert rr.Limits().max_connections == 1000
    async with open_house(limits=rr.Limits(max_connections=2)) as house:
        peers = [house.peer() for _ in range(5)]
        await wait_all_tasks_blocked()
        info = house.listener.info()
        assert (info.active, info.max_connections, info.accepted, info.rejected) == (2, 2, 2, 3)
        assert [peer.ended_at for peer in peers] == [None, None, 0, 0, 0]
    assert house.watch.names().count("conn_rejected") == 3
    assert house.watch.names().count("accept") == 2


EARLY = [
    (b"nonsense\r\n", b"400 Bad Request"),
    (b"GET /" + b"a" * 9000, b"414 URI Too Long"),
    (post(b"Content-Length: 99999999"), b"413 Content Too Large"),
    (post(b"Expect: 100-continue", b"Content-Length: 99999999"), b"413 Content Too Large"),
]


@pytest.mark.parametrize(("head", "status"), EARLY, ids=["400", "414", "413", "413 with Expect"])
async def test_n72_an_early_answer_is_followed_by_a_half_close_and_two_seconds_of_reading(head, status, autojump_clock):
    async with open_house() as house:
        peer = house.peer()
        await peer.say(head)
        assert await peer.end() == last_word(status)
        assert peer.ended_at == 0
        await trio.sleep(1)
        await peer.say(b"x" * 100_000)
        assert house.phases() == ["finishing"]
        assert await house.empty() == 2


async def test_n72_a_refusal_is_one_quiet_line(autojump_clock, caplog):
    caplog.set_level(logging.DEBUG, "roadrunner_trio")
    async with open_house() as house:
        await house.peer().say(b"nonsense\r\n")
    assert [record.levelname for record in caplog.records] == ["INFO"]
