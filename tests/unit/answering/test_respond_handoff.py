"""Hand-offs: after them the wire speaks another protocol."""

from __future__ import annotations

import pytest
import trio
from story_tools import GET, last_word, loud, open_house, post

import roadrunner_trio as rr

UPGRADE = b"GET /echo HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n"
CONNECT = b"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\n"
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n"
TO_ECHO = {"status": 101, "fields": [("Connection", "upgrade"), ("Upgrade", "echo")]}


async def echo(request, stream):
    """Says everything again, until its peer has finished."""
    while data := await stream.receive_some():
        await stream.send_all(data.upper())


def handing(run=echo, **settings):
    """A handler that hands every stream over."""

    async def handler(request):
        return rr.Handoff(run, **settings)

    return handler


async def test_an_upgrade(autojump_clock):
    async with open_house(handing(**TO_ECHO)) as house:
        peer = house.peer()
        await peer.say(UPGRADE)
        assert peer.take() == SWITCHED
        await peer.say(b"hello")
        assert peer.take() == b"HELLO"
        assert peer.ended_at is None
        await peer.finish()
        assert await peer.end() == b""
        assert peer.ended_at == 0
    stop = house.watch.only("stop")
    assert (stop.kind, stop.status, stop.outcome) == ("handoff", 101, "complete")


async def test_a_tunnel(autojump_clock):
    async with open_house(handing(status=200)) as house:
        peer = house.peer()
        await peer.say(CONNECT)
        assert peer.take() == b"HTTP/1.1 200 OK\r\n\r\n"
        await peer.say(b"hello")
        assert peer.take() == b"HELLO"
    assert house.watch.only("exception").status == 200


async def test_the_run_knows_its_request(autojump_clock):
    async def run(request, stream):
        await stream.send_all(f"{request.method} {request.path} {request.header('upgrade')}".encode())

    async with open_house(handing(run)) as house:
        peer = house.peer()
        await peer.say(UPGRADE)
        assert await peer.end() == b"GET /echo echo"


async def test_bytes_that_came_too_early_come_first(autojump_clock):
    async def run(request, stream):
        await stream.send_all(await stream.receive_some(3) + b"|")
        await echo(request, stream)

    async with open_house(handing(run, **TO_ECHO)) as house:
        peer = house.peer()
        await peer.say(UPGRADE + b"early")
        await peer.say(b" late")
        assert peer.take() == SWITCHED + b"ear|LY LATE"


async def test_a_library_that_reads_the_head_itself_gets_it_again(autojump_clock):
    async with open_house(handing(replay_head=True)) as house:
        peer = house.peer()
        await peer.say(UPGRADE + b"early")
        await peer.say(b" late")
        assert peer.take() == (UPGRADE + b"early late").upper()
    assert house.watch.events[2][1].status == 101


async def test_a_body_is_not_replayed_with_its_head(autojump_clock):
    request = post(b"Content-Length: 4", body=b"body")
    async with open_house(handing(replay_head=True)) as house:
        peer = house.peer()
        await peer.say(request + b"early")
        assert peer.take() == (request.removesuffix(b"body") + b"early").upper()


@pytest.mark.parametrize("reads", [True, False])
async def test_a_body_must_have_been_read(reads, autojump_clock, caplog):
    async def handler(request):
        if reads:
            assert await request.read() == b"body"
        return rr.Handoff(echo, **TO_ECHO)

    async with open_house(handler, body="streaming") as house:
        peer = house.peer()
        await peer.say(post(b"Content-Length: 4", body=b"body"))
        if reads:
            assert peer.take() == SWITCHED
        else:
            assert peer.take() == last_word(b"500 Internal Server Error")
            assert "read the request's body before handing its stream over" in caplog.text
    assert len(loud(caplog)) == (not reads)


async def test_it_has_no_deadline_of_its_own(autojump_clock):
    async with open_house(handing(**TO_ECHO)) as house:
        peer = house.peer()
        await peer.say(UPGRADE)
        assert house.phases() == ["handed off"]
        await trio.sleep(80_000)
        await peer.say(b"still here")
        assert peer.take() == SWITCHED + b"STILL HERE"


async def test_requests_behind_it_are_not_requests(autojump_clock):
    async with open_house(handing(**TO_ECHO)) as house:
        peer = house.peer()
        await peer.say(UPGRADE + GET)
        await peer.finish()
        assert await peer.end() == SWITCHED + GET.upper()
        assert house.listener.info().requests == 1


async def test_what_it_raises_is_logged_once_and_nothing_is_written_into_its_protocol(autojump_clock, caplog):
    async def run(request, stream):
        await stream.send_all(b"half a fra")
        raise ValueError("oops")

    async with open_house(handing(run, **TO_ECHO)) as house:
        peer = house.peer()
        await peer.say(UPGRADE)
        assert await peer.end() == SWITCHED + b"half a fra"
    assert house.watch.only("exception").outcome == "error"
    assert len(loud(caplog)) == 1


async def test_a_stream_that_is_closed_already_is_closed(autojump_clock, caplog):
    async def run(request, stream):
        await stream.aclose()

    async with open_house(handing(run, **TO_ECHO)) as house:
        peer = house.peer()
        await peer.say(UPGRADE)
        assert await peer.end() == SWITCHED
    assert house.watch.only("stop").outcome == "complete"
    assert loud(caplog) == []


async def test_over_a_socket_it_can_be_half_closed(autojump_clock):
    async def run(request, stream):
        await stream.send_all(b"bye")
        await stream.send_eof()
        while await stream.receive_some():
            pass

    async with open_house(handing(run, **TO_ECHO)) as house:
        peer = house.wire_peer()
        await peer.say(UPGRADE)
        assert await peer.end() == SWITCHED + b"bye"
        assert house.active == 1
        await peer.finish()
        await house.empty()


async def test_a_drain_tells_it_and_it_leaves_by_itself(autojump_clock):
    async def run(request, stream):
        await request.drain.started.wait()
        await stream.send_all(b"bye until %d" % request.drain.deadline)

    async with open_house(handing(run, **TO_ECHO)) as house:
        peer = house.peer()
        await peer.say(UPGRADE)
        await trio.sleep(5)
        assert await house.listener.drain(10) == rr.Drained(finished=1, cut=0, stuck=0)
        assert peer.take() == SWITCHED + b"bye until 15"
        assert trio.current_time() == 5


async def test_a_drain_that_it_ignores_cuts_it_at_the_deadline(autojump_clock):
    async with open_house(handing(**TO_ECHO)) as house:
        peer = house.peer()
        await peer.say(UPGRADE)
        assert await house.listener.drain(10) == rr.Drained(finished=0, cut=1, stuck=0)
        assert trio.current_time() == 10
        assert await peer.end() == SWITCHED


async def test_a_peer_of_1_0_is_not_upgraded(autojump_clock):
    async with open_house(handing(**TO_ECHO)) as house:
        peer = house.peer()
        await peer.say(UPGRADE.replace(b"1.1", b"1.0"))
        assert b" 400 Bad Request\r\n" in await peer.end()


@pytest.mark.parametrize("name", ["Content-Length", "transfer-encoding"])
def test_what_follows_has_no_delimiter(name):
    with pytest.raises(ValueError, match="no content"):
        rr.Handoff(echo, status=200, fields=[(name, "5")])
