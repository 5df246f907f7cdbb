"""How a connection ends before a request is whole: E1 to E8, and E26, where it does not even begin."""

from __future__ import annotations

import logging
import socket

import pytest
import trio
from story_tools import GET, answer, hello, last_word, loud, open_house, undated
from trio.testing import wait_all_tasks_blocked

import roadrunner_trio as rr

PATIENT = rr.Limits(min_bytes_per_second=0)
"""Without the minimum rate, so that a deadline is what ends a slow head."""


async def accepted_by_a_drain(handler, first: bytes):
    """What a peer hears that waits in the kernel's accept queue when a drain starts, and how the drain went."""
    listener = rr.Listener(handler, bind="127.0.0.1:0")
    async with trio.open_nursery() as nursery:
        await nursery.start(listener.serve)
        await wait_all_tasks_blocked()
        queued = socket.create_connection(("127.0.0.1", listener.port))
        queued.sendall(first)
        assert listener.info().accepted == 0, "the drain must find it in the queue"
        outcome = await listener.drain(10)
        heard = b""
        while data := queued.recv(65536):
            heard += data
        queued.close()
    return undated(heard), outcome, trio.current_time()


async def test_e01_a_connection_in_the_accept_queue_is_served_by_the_drain(autojump_clock):
    heard, outcome, _ = await accepted_by_a_drain(hello, GET)
    assert heard == answer(b"hi", b"connection: close")
    assert outcome == rr.Drained(finished=1, cut=0, stuck=0)


async def test_e01_a_silent_one_has_a_second_and_hears_nothing(autojump_clock):
    heard, outcome, time = await accepted_by_a_drain(hello, b"")
    assert heard == b""
    assert outcome == rr.Drained(finished=1, cut=0, stuck=0)
    assert time == 3, "a second to say something, then two to see the end"


async def test_e03_an_idle_connection_ends_at_once_when_a_drain_starts(autojump_clock, caplog):
    async with open_house() as house:
        peer = house.peer()
        await peer.say(GET)
        assert peer.take() == answer(b"hi")
        await trio.sleep(7)
        house.nursery.start_soon(house.listener.drain)
        assert await peer.end() == b""
        assert peer.ended_at == 7
        await peer.close()
        assert house.active == 0
    assert house.watch.names() == ["accept", "start", "stop", "close"]
    assert loud(caplog) == []


async def test_e03_a_half_read_head_is_served_although_the_server_drains(autojump_clock):
    async with open_house() as house:
        peer = house.peer()
        await peer.say(GET[:20])
        house.nursery.start_soon(house.listener.drain)
        await trio.sleep(1)
        await peer.say(GET[20:])
        assert await peer.end() == answer(b"hi", b"connection: close")
        assert peer.ended_at == 1
        await peer.close()
        assert house.active == 0
    assert house.watch.names() == ["accept", "start", "stop", "close"]


@pytest.mark.parametrize("begun", [b"", b"GET / HT"], ids=["idle", "half a head"])
async def test_e04_a_peer_that_closes_before_a_head_hears_nothing(begun, autojump_clock, caplog):
    async with open_house() as house:
        peer = house.peer()
        if begun:
            await peer.say(begun)
        await peer.finish()
        assert await peer.end() == b""
        assert (peer.ended_at, house.active) == (0, 0), "nobody is left to linger for"
    assert house.watch.names() == ["accept", "close"]
    assert loud(caplog) == []


@pytest.mark.parametrize("begun", [b"", b"GET / HT"], ids=["idle", "half a head"])
async def test_e04_a_reset_before_a_head_is_no_error(begun, autojump_clock, caplog):
    async with open_house() as house:
        peer, stream = house.slow_peer(65536)
        if begun:
            await peer.say(begun)
        await wait_all_tasks_blocked()
        stream.reset()
        await wait_all_tasks_blocked()
        assert house.active == 0
    assert house.watch.names() == ["accept", "close"]
    assert house.watch.only("close").duration == 0
    assert loud(caplog) == []


async def test_e05_a_head_that_never_ends_gets_408_at_exactly_30_seconds(autojump_clock, caplog):
    async with open_house(limits=PATIENT) as house:
        peer = house.peer()
        await peer.say(b"G")
        assert await peer.end() == last_word(b"408 Request Timeout")
        assert peer.ended_at == 30
        await peer.close()
        assert house.active == 0
    assert house.watch.names() == ["accept", "close"]
    assert loud(caplog) == []


async def test_e05_a_new_connection_that_sends_nothing_is_closed_in_silence_at_exactly_30_seconds(autojump_clock):
    async with open_house() as house:
        peer = house.peer()
        assert await peer.end() == b""
        assert peer.ended_at == 30
        assert await house.empty() == 32, "the peer did not close: two seconds of lingering"
    assert house.watch.names() == ["accept", "close"]


async def test_e06_an_idle_connection_is_closed_in_silence_at_exactly_75_seconds(autojump_clock):
    async with open_house() as house:
        peer = house.peer()
        await trio.sleep(1)
        await peer.say(GET)
        assert await peer.end() == answer(b"hi")
        assert peer.ended_at == 76
        assert await house.empty() == 78
    assert house.watch.names() == ["accept", "start", "stop", "close"]
    assert house.watch.only("close").requests == 1


async def test_e06_half_a_later_head_gets_408_at_exactly_30_seconds_from_its_first_byte(autojump_clock):
    async with open_house(limits=PATIENT) as house:
        peer = house.peer()
        await peer.say(GET)
        assert peer.take() == answer(b"hi")
        await trio.sleep(50)
        await peer.say(b"G")
        assert await peer.end() == last_word(b"408 Request Timeout")
        assert peer.ended_at == 80
    assert house.watch.names() == ["accept", "start", "stop", "close"]


async def test_e07_a_head_below_the_minimum_rate_is_cut_in_silence(autojump_clock, caplog):
    async with open_house() as house:
        peer = house.peer()
        await peer.say(b"GET / HTTP/1.1\r\n")
        await trio.sleep(5)
        await peer.say(b"Host: h\r\n")
        assert house.active == 1, "the first five seconds are free"
        await trio.sleep(0.5)
        await peer.say(b"A: b\r\n")
        assert await peer.end() == b""
        assert (peer.ended_at, house.active) == (5.5, 0)
    assert house.watch.names() == ["accept", "close"]
    assert loud(caplog) == []


async def test_e07_case_15_a_head_that_was_typed_and_is_whole_is_not_slow(autojump_clock):
    async with open_house() as house:
        peer = house.peer()
        for line in (b"GET / HTTP/1.1\r\n", b"Host: h\r\n\r\n"):
            await peer.say(line)
            await trio.sleep(20)
        assert peer.take() == answer(b"hi")


REFUSED = [
    (b"NONSENSE\r\n", b"400 Bad Request", "bad_request_line"),
    (b"\x16\x03\x01\x02\x00\x01\x00", b"400 Bad Request", "tls_on_a_plain_port"),
    (b"GET / HTTP/1.1\r\n\r\n", b"400 Bad Request", "missing_host"),
    (b"GET / HTTP/1.1\r\nHost : h\r\n", b"400 Bad Request", "bad_header"),
    (b"GET /" + b"a" * 9000, b"414 URI Too Long", "request_line_too_long"),
    (b"GET / HTTP/1.1\r\nHost: h\r\nA: " + b"a" * 17000, b"431 Request Header Fields Too Large", "header_too_long"),
    (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 201, b"431 Request Header Fields Too Large", "too_many_headers"),
    (b"GET / HTTP/2.0\r\n", b"505 HTTP Version Not Supported", "bad_version"),
    (
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"501 Not Implemented",
        "bad_transfer_encoding",
    ),
]


@pytest.mark.parametrize(("head", "status", "reason"), REFUSED, ids=[reason for _, _, reason in REFUSED])
async def test_e08_a_head_that_is_refused_gets_its_status_at_once(head, status, reason, autojump_clock, caplog):
    caplog.set_level(logging.DEBUG, "roadrunner_trio")
    async with open_house() as house:
        peer = house.peer()
        await peer.say(head)
        assert await peer.end() == last_word(status)
        assert peer.ended_at == 0
        assert house.phases() == ["finishing"]
        assert await house.empty() == 2, "lingering, so that no reset destroys the answer (N72)"
    assert house.watch.names() == ["accept", "rejected", "close"]
    event = house.watch.only("rejected")
    assert (event.status, event.reason, event.peer) == (int(status[:3]), reason, "memory")
    assert caplog.messages == [f"refused a request of memory: {reason} ({event.status})"]


async def test_e08_a_later_head_that_is_refused_ends_the_connection_too(autojump_clock):
    async with open_house() as house:
        peer = house.peer()
        await peer.say(GET + b"NONSENSE\r\n" + GET)
        assert await peer.end() == answer(b"hi") + last_word(b"400 Bad Request")
    assert house.watch.names() == ["accept", "start", "stop", "rejected", "close"]


async def test_e26_a_connection_above_the_cap_is_closed_and_counted(autojump_clock):
    async with open_house(limits=rr.Limits(max_connections=1)) as house:
        first = house.peer()
        await first.say(GET)
        second = house.peer()
        assert await second.end() == b"", "a foreign listener's stream may be TLS: nothing can be said on it"
        info = house.listener.info()
        assert (info.active, info.accepted, info.rejected) == (1, 1, 1)
        await first.close()
        third = house.peer()
        await third.say(GET)
        assert third.take() == answer(b"hi"), "the slot is free again"
    assert house.watch.only("conn_rejected")[:2] == ("main", "max_connections")
    assert house.watch.names().count("accept") == 2


async def test_e26_on_a_plain_socket_it_hears_503_and_when_to_come_back(autojump_clock):
    listener = rr.Listener(hello, bind="127.0.0.1:0", limits=rr.Limits(max_connections=1))
    async with trio.open_nursery() as nursery:
        await nursery.start(listener.serve)
        async with await trio.open_tcp_stream("127.0.0.1", listener.port) as first:
            await first.send_all(GET)
            await first.receive_some()
            async with await trio.open_tcp_stream("127.0.0.1", listener.port) as second:
                await second.send_all(GET)
                heard = b"".join([data async for data in second])
            assert undated(heard) == answer(
                b"", b"connection: close", b"retry-after: 1", status=b"503 Service Unavailable"
            )
            assert listener.info().rejected == 1
        nursery.cancel_scope.cancel()
    assert listener.info().active == 0
