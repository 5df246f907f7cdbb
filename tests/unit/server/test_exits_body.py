"""How a connection ends inside a request body: E9 to E13, and E20, where the handler left some of it."""

from __future__ import annotations

import pytest
import trio
from story_tools import GET, answer, last_word, loud, open_house, post

import roadrunner_trio as rr

SMALL = rr.Limits(max_body=10)
PATIENT = rr.Limits(min_bytes_per_second=0)
CHUNKED = b"Transfer-Encoding: chunked"


async def length(request: rr.Request) -> rr.Response:
    """Answers with the length of the body, whoever reads it."""
    return rr.Response(str(len(await request.read())))


async def deaf(request: rr.Request) -> rr.Response:
    """Answers without a look at the body."""
    return rr.Response("hi")


async def test_e09_a_declared_length_above_the_limit_gets_413_before_a_byte_of_it(autojump_clock, caplog):
    async with open_house(length, limits=SMALL) as house:
        peer = house.peer()
        await peer.say(post(b"Content-Length: 11"))
        assert await peer.end() == last_word(b"413 Content Too Large")
        assert peer.ended_at == 0
        await trio.sleep(1)
        await peer.say(b"x" * 11)
        assert house.active == 1, "what is still sent is read and forgotten, so that no reset destroys the answer"
        assert await house.empty() == 2
    assert house.watch.names() == ["accept", "rejected", "close"]
    assert house.watch.only("rejected").reason == "content_length_too_large"
    assert loud(caplog) == []


async def test_e09_chunks_above_the_limit_get_413_before_the_chunk_is_read(autojump_clock):
    async with open_house(length, limits=SMALL) as house:
        peer = house.peer()
        await peer.say(post(CHUNKED, body=b"a\r\n0123456789\r\n"))
        assert peer.take() == b""
        await peer.say(b"1\r\n")
        assert await peer.end() == last_word(b"413 Content Too Large")
        await peer.close()
        assert house.active == 0, "the peer has read its answer: no need to linger"
    assert house.watch.names() == ["accept", "rejected", "close"]


async def test_e09_a_body_of_exactly_the_limit_is_served(autojump_clock):
    async with open_house(length, limits=SMALL) as house:
        peer = house.peer()
        await peer.say(post(b"Content-Length: 10", body=b"0123456789"))
        assert peer.take() == answer(b"10")
        await peer.say(post(CHUNKED, body=b"a\r\n0123456789\r\n0\r\n\r\n"))
        assert peer.take() == answer(b"10")


async def test_e09_lingering_takes_twenty_mebibytes_and_no_more(autojump_clock):
    async with open_house(length, limits=SMALL) as house:
        peer = house.peer()
        await peer.say(post(b"Content-Length: 30000000"))
        assert peer.take() == last_word(b"413 Content Too Large")
        for _ in range(20):
            assert house.active == 1
            await peer.say(b"x" * 1024 * 1024)
        assert (house.active, trio.current_time()) == (0, 0)
        with pytest.raises(trio.BrokenResourceError):
            await peer.say(b"x")


@pytest.mark.parametrize("before", [b"", GET], ids=["first request", "later request"])
@pytest.mark.parametrize("framing", [b"Content-Length: 5", CHUNKED], ids=["length", "chunked"])
async def test_e10_a_body_that_never_ends_gets_408_at_exactly_300_seconds(before, framing, autojump_clock):
    async with open_house(length, limits=PATIENT) as house:
        peer = house.peer()
        if before:
            await peer.say(before)
            peer.take()
        await trio.sleep(10)
        await peer.say(post(framing, body=b"1"))
        assert house.phases() == ["reading a body"]
        assert await peer.end() == last_word(b"408 Request Timeout")
        assert peer.ended_at == 310
        assert await house.empty() == 312
    assert house.watch.names() == ["accept", *["start", "stop"] * bool(before), "close"]


async def test_e10_in_streaming_mode_408_too_and_the_handler_is_told(autojump_clock, caplog):
    async with open_house(length, body="streaming", limits=PATIENT) as house:
        peer = house.peer()
        await peer.say(post(b"Content-Length: 5", body=b"1"))
        assert house.phases() == ["in the handler"]
        assert await peer.end() == last_word(b"408 Request Timeout")
        assert peer.ended_at == 300
    assert house.watch.names() == ["accept", "start", "exception", "rejected", "close"]
    event = house.watch.only("exception")
    assert isinstance(event.error, rr.BodyTimeout)
    assert (event.outcome, event.phase, event.status, event.duration) == ("timeout", "body", 408, 300)
    assert loud(caplog) == []


@pytest.mark.parametrize("mode", ["buffered", "streaming"])
async def test_e11_a_body_below_the_minimum_rate_gets_408(mode, autojump_clock, caplog):
    async with open_house(length, body=mode) as house:
        peer = house.peer()
        await peer.say(post(b"Content-Length: 1000"))
        await trio.sleep(6)
        await peer.say(b"x" * 599)
        assert await peer.end() == last_word(b"408 Request Timeout")
        assert peer.ended_at == 6
        assert await house.empty() == 8, "what it still sends must not destroy the answer"
    handler = ["start", "exception"] if mode == "streaming" else []
    assert house.watch.names() == ["accept", *handler, "rejected", "close"]
    event = house.watch.only("rejected")
    assert (event.status, event.reason) == (408, "body_timeout" if handler else "body_too_slow")
    assert [event.outcome for name, event in house.watch.events if name == "exception"] == ["timeout"] * bool(handler)
    assert loud(caplog) == []


@pytest.mark.parametrize("mode", ["buffered", "streaming"])
async def test_e11_case_15_a_small_body_that_comes_late_is_whole_and_so_not_slow(mode, autojump_clock):
    async with open_house(length, body=mode) as house:
        for seconds in (1.5, 5, 20):
            peer = house.peer()
            await peer.say(post(b"Content-Length: 20"))
            await trio.sleep(seconds)
            await peer.say(b"x" * 20)
            assert peer.take() == answer(b"20"), seconds


MALFORMED = [
    (b"5 apples\r\n", b"400 Bad Request", "bad_chunk_size"),
    (b"1\r\nab\r\n", b"400 Bad Request", "bad_chunk"),
    (b"0\r\nno colon\r\n", b"400 Bad Request", "bad_header"),
    (b"0\r\ncontent-length: 5\r\n\r\n", b"400 Bad Request", "bad_trailer"),
    (b"0\r\n" + b"a: b\r\n" * 201, b"431 Request Header Fields Too Large", "too_many_headers"),
]


@pytest.mark.parametrize("mode", ["buffered", "streaming"])
@pytest.mark.parametrize(("body", "status", "reason"), MALFORMED, ids=[reason for _, _, reason in MALFORMED])
async def test_e12_a_body_that_is_refused_gets_its_status_at_once(mode, body, status, reason, autojump_clock, caplog):
    async with open_house(length, body=mode) as house:
        peer = house.peer()
        await peer.say(post(CHUNKED, body=body))
        assert await peer.end() == last_word(status)
        assert peer.ended_at == 0
        assert await house.empty() == 2
    handler = ["start", "exception"] if mode == "streaming" else []
    assert house.watch.names() == ["accept", *handler, "rejected", "close"]
    event = house.watch.only("rejected")
    assert (event.status, event.reason) == (int(status[:3]), reason)
    assert loud(caplog) == []


@pytest.mark.parametrize("mode", ["buffered", "streaming"])
@pytest.mark.parametrize("framing", [b"Content-Length: 5", CHUNKED], ids=["length", "chunked"])
async def test_e12_a_peer_that_leaves_inside_a_body_hears_nothing(mode, framing, autojump_clock, caplog):
    async with open_house(length, body=mode) as house:
        peer = house.peer()
        await peer.say(post(framing, body=b"1"))
        await peer.finish()
        assert await peer.end() == b""
        assert (peer.ended_at, house.active) == (0, 0)
    handler = ["start", "exception"] if mode == "streaming" else []
    assert house.watch.names() == ["accept", *handler, "close"], "it broke no rule: nothing is rejected (N67)"
    assert [event.outcome for name, event in house.watch.events if name == "exception"] == ["gone"] * bool(handler)
    assert loud(caplog) == []


async def test_e13_unusable_framing_is_refused_before_a_streaming_handler_runs(autojump_clock):
    async with open_house(deaf, body="streaming") as house:
        for fields in (
            (b"Content-Length: 1", CHUNKED),
            (b"Content-Length: x",),
            (b"Transfer-Encoding: chunked, gzip",),
        ):
            peer = house.peer()
            await peer.say(post(*fields))
            assert await peer.end() == last_word(b"400 Bad Request")
            await peer.close()
        assert house.active == 0
    assert house.watch.names() == ["accept", "rejected", "close"] * 3


async def test_e20_the_rest_of_a_body_that_does_not_come_in_time_ends_the_connection(autojump_clock, caplog):
    async with open_house(deaf, body="streaming") as house:
        peer = house.peer()
        await peer.say(post(b"Content-Length: 5", body=b"1"))
        assert peer.take() == answer(b"hi"), "it was sent in the belief that the connection goes on"
        assert house.phases() == ["finishing"]
        assert await peer.end() == b""
        assert peer.ended_at == 2
        assert await house.empty() == 4, "skipped for two seconds, then lingered on for two"
    assert house.watch.names() == ["accept", "start", "stop", "close"]
    assert loud(caplog) == []


async def test_e20_the_rest_of_a_body_that_is_malformed_ends_the_connection(autojump_clock, caplog):
    async with open_house(deaf, body="streaming") as house:
        peer = house.peer()
        await peer.say(post(CHUNKED, body=b"1\r\nxyz" + GET))
        assert await peer.end() == answer(b"hi"), "one answer to one request"
        assert peer.ended_at == 0
    assert house.watch.names() == ["accept", "start", "stop", "close"]
    assert loud(caplog) == []


async def test_e20_the_rest_of_a_body_above_the_limit_ends_the_connection(autojump_clock):
    async with open_house(deaf, body="streaming", limits=SMALL) as house:
        peer = house.peer()
        await peer.say(post(CHUNKED, body=b"b\r\n0123456789X\r\n0\r\n\r\n" + GET))
        assert await peer.end() == answer(b"hi")
        assert peer.ended_at == 0
    assert house.watch.names() == ["accept", "start", "stop", "close"]


async def test_e20_a_peer_that_leaves_inside_the_rest_of_a_body_ends_the_connection(autojump_clock):
    async with open_house(deaf, body="streaming") as house:
        peer = house.peer()
        await peer.say(post(b"Content-Length: 5", body=b"1"))
        await peer.finish()
        assert await peer.end() == answer(b"hi")
        assert (peer.ended_at, house.active) == (0, 0)
    assert house.watch.names() == ["accept", "start", "stop", "close"]
