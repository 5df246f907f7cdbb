"""The server's own stalls are not the peer's: who did its part while the loop stood still is served, in every phase.

A handler that blocks, a process that is stopped, a machine that swaps: the virtual clock jumps, and no task runs.
"""

from __future__ import annotations

import ssl
from contextlib import suppress

import pytest
import trio
from presence_tools import Work, needs_poller, slow_tcp_peer
from story_tools import GET, Peer, answer, hello, last_word, loud, open_house, post
from tls_tools import contexts_of_a_new_authority
from trio.testing import wait_all_tasks_blocked

import roadrunner_trio as rr

KINDS = ["memory", "wire", "tcp"]
TIMEOUTS = rr.Timeouts(handshake=10, request=30, keep_alive=60, body=100, write=30, linger=2, disconnect_grace=5)
CHUNKED = b"Transfer-Encoding: chunked"


async def length(request):
    return rr.Response(str(len(await request.read())))


def house_of(handler=length, **settings):
    return open_house(handler, tcp=True, **{"timeouts": TIMEOUTS, **settings})


async def stall(clock, seconds, *deeds):
    """Nothing turns for so long, in which others do something."""
    for deed, *args in deeds:
        deed(*args)
    clock.jump(seconds)
    await wait_all_tasks_blocked()


# Who sends


@pytest.mark.parametrize("kind", KINDS)
async def test_case_01_a_request_that_came_before_an_idle_connections_time_was_up(kind, autojump_clock, caplog):
    async with house_of() as house:
        peer = house.meet(kind)
        for _ in range(2):
            await peer.say(GET)
            assert peer.take() == answer(b"0")
            await trio.sleep(59)
            await stall(autojump_clock, 10, (peer.slip, GET))
            assert peer.take() == answer(b"0")
    assert loud(caplog) == []


@pytest.mark.parametrize("kind", KINDS)
async def test_case_01_the_first_request_of_a_connection(kind, autojump_clock):
    async with house_of() as house:
        peer = house.meet(kind)
        await trio.sleep(29)
        await stall(autojump_clock, 100, (peer.slip, GET))
        assert peer.take() == answer(b"0")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("at", [0.1, 29])
async def test_case_02_half_a_head(at, kind, autojump_clock):
    async with house_of() as house:
        peer = house.meet(kind)
        await peer.say(GET[:16])
        await trio.sleep(at)
        await stall(autojump_clock, 60, (peer.slip, GET[16:]))
        assert peer.take() == answer(b"0")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("body", ["buffered", "streaming"])
@pytest.mark.parametrize("at", [0.1, 99])
async def test_case_02_a_body_that_is_due(at, body, kind, autojump_clock):
    async with house_of(body=body) as house:
        peer = house.meet(kind)
        await peer.say(post(b"Content-Length: 50"))
        await trio.sleep(at)
        await stall(autojump_clock, 200, (peer.slip, b"x" * 50))
        assert peer.take() == answer(b"50")
        await peer.say(post(CHUNKED))
        await trio.sleep(at)
        await stall(autojump_clock, 200, (peer.slip, b"3\r\nabc\r\n0\r\n\r\n"))
        assert peer.take() == answer(b"3")


@pytest.mark.parametrize("kind", ["wire", "tcp"])
async def test_case_02_a_body_that_has_come_is_read_though_it_takes_more_than_one_read(kind, autojump_clock):
    async with house_of(body="streaming") as house:
        peer = house.meet(kind)
        await peer.say(post(b"Content-Length: 200000", body=b"x"))
        await trio.sleep(99)
        await stall(autojump_clock, 200, (peer.slip, b"x" * 100_000))
        await peer.say(b"x" * 99_999)
        assert peer.take() == answer(b"200000")


INCOMPLETE = {
    "head": (GET[:16], GET[16:], answer(b"0"), {}),
    "body": (post(b"Content-Length: 50"), b"x" * 50, answer(b"50"), {}),
    "body that a handler reads": (post(b"Content-Length: 50"), b"x" * 50, answer(b"50"), {"body": "streaming"}),
    "chunks": (post(CHUNKED), b"3\r\nabc\r\n0\r\n\r\n", answer(b"3"), {}),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("what", INCOMPLETE)
async def test_a_stall_of_the_whole_machine_is_no_low_rate(what, times, kind, autojump_clock):
    """It passes no deadline, and the peer stands still as well; afterwards it goes on as before."""
    first, rest, said, settings = INCOMPLETE[what]
    async with house_of(**settings) as house:
        peer = house.meet(kind)
        await peer.say(first)
        for at in range(times):
            await trio.sleep(1)
            await stall(autojump_clock, 8)
            await peer.say(rest[at : at + 1])
        await trio.sleep(1)
        await peer.say(rest[times:])
        assert peer.take() == said


@pytest.mark.parametrize("kind", KINDS)
async def test_but_a_peer_that_is_slow_is_slow_after_it_too(kind, autojump_clock):
    async with house_of() as house:
        peer = house.meet(kind)
        await peer.say(GET[:4])
        await trio.sleep(1)
        await stall(autojump_clock, 20)
        for octet in GET[4:-2]:
            if not house.active:
                break
            await trio.sleep(1)
            with suppress(trio.BrokenResourceError):
                await peer.say(bytes([octet]))
        assert peer.take() == b""
        assert 25 <= trio.current_time() < 45, "it had what was left of its time, and what the loop was late"


@pytest.mark.parametrize("kind", KINDS)
async def test_the_rest_of_a_body_that_the_handler_did_not_read(kind, autojump_clock):
    async with house_of(hello, body="streaming") as house:
        peer = house.meet(kind)
        await peer.say(post(b"Content-Length: 5", body=b"1"))
        assert peer.take() == answer(b"hi")
        await trio.sleep(1.5)
        await stall(autojump_clock, 10, (peer.slip, b"2345" + GET))
        assert peer.take() == answer(b"hi")


@pytest.mark.parametrize("kind", KINDS)
async def test_a_proxy_header(kind, autojump_clock):
    proxies = rr.ProxyProtocol(["127.0.0.0/8", "unix"])
    header = b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 80\r\n"
    async with house_of(proxy_protocol=proxies) as house:
        peer = house.meet("tcp" if kind == "memory" else kind)
        await peer.say(header[:9])
        await trio.sleep(9)
        await stall(autojump_clock, 20, (peer.slip, header[9:] + GET))
        assert peer.take() == answer(b"0")


class Client:
    """A client's end of TLS that says what it says in one step."""

    def __init__(self, peer: Peer, context: ssl.SSLContext) -> None:
        self.peer = peer
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname="test.example")

    def shake(self) -> bytes:
        """What it says next in its handshake."""
        self.incoming.write(self.peer.heard)
        self.peer.heard = b""
        with suppress(ssl.SSLWantReadError):
            self.tls.do_handshake()
        return self.outgoing.read()

    def sealed(self, data: bytes) -> bytes:
        """``data`` in a record."""
        self.tls.write(data)
        return self.outgoing.read()

    def heard(self) -> bytes:
        """What has come since the last time."""
        self.incoming.write(self.peer.heard)
        self.peer.heard = b""
        return self.tls.read()


@pytest.mark.parametrize("at", ["hello", "finished", "idle", "head"])
@pytest.mark.parametrize("kind", KINDS)
async def test_case_01_the_same_under_tls(kind, at, autojump_clock):
    server, trusting = contexts_of_a_new_authority()

    async def say(place, data, seconds):
        if place != at:
            return await peer.say(data)
        await trio.sleep(seconds - 1)
        return await stall(autojump_clock, 2 * seconds, (peer.slip, data))

    async with house_of(tls=server) as house:
        peer = house.meet(kind)
        client = Client(peer, trusting)
        await say("hello", client.shake(), 10)
        await say("finished", client.shake(), 10)
        await peer.say(client.sealed(GET))
        assert client.heard().endswith(b"\r\n\r\n0")
        await say("idle", client.sealed(GET[:9]), 60)
        await say("head", client.sealed(GET[9:]), 30)
        assert client.heard().endswith(b"\r\n\r\n0")


# Who takes


@pytest.mark.parametrize("how", ["buffered", "stream"])
async def test_a_peer_that_takes_its_response_slowly(how, autojump_clock):
    async def handler(request):
        if how == "buffered":
            return rr.Response(bytes(100_000))
        return rr.StreamResponse(lambda send: send(bytes(100_000)))

    async with house_of(handler) as house:
        peer, stream = house.slow_peer(10_000)
        await peer.say(GET)
        await trio.sleep(29)
        await stall(autojump_clock, 20, (stream.grant, 40_000))
        await trio.sleep(5)
        stream.grant(10**6)
        await wait_all_tasks_blocked()
        assert peer.heard.count(b"\0") == 100_000
        assert house.phases() == ["idle"]


def swallow(peer, into):
    """Reads all that has come, in one step."""
    while data := peer.stream.receive_now():
        into += data


@pytest.mark.parametrize("how", ["buffered", "stream", "file"])
async def test_a_peer_on_a_socket_that_takes_its_response_slowly(how, autojump_clock, tmp_path):
    size = 30_000_000
    (tmp_path / "file").write_bytes(bytes(size))

    async def handler(request):
        if how == "file":
            return rr.FileResponse(tmp_path / "file")
        if how == "buffered":
            return rr.Response(bytes(size))
        return rr.StreamResponse(lambda send: send(bytes(size)))

    async with house_of(handler) as house:
        peer, heard = slow_tcp_peer(house), bytearray()
        await peer.say(GET)
        while len(heard) < size:
            assert house.phases() == ["writing to a slow peer"]
            await trio.sleep(29)
            await stall(autojump_clock, 20, (swallow, peer, heard))
            swallow(peer, heard)
            await wait_all_tasks_blocked()
            if house.phases() == ["idle"]:
                break
        swallow(peer, heard)
        assert heard.count(b"\0") == size
        peer.stream.close()


async def test_a_peer_that_has_made_room_in_the_very_last_moment_has_a_second_for_more(autojump_clock):
    """And no more: it is cut while it takes nothing."""

    async def handler(request):
        return rr.Response(bytes(30_000_000))

    async with house_of(handler) as house:
        peer, heard = slow_tcp_peer(house), bytearray()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("roadrunner_trio.transport.wire.SocketWire.has_room", lambda wire: True)
            await peer.say(GET)
            assert await house.empty() == 31
        swallow(peer, heard)
        assert len(heard) < 30_000_000
        peer.stream.close()
    assert house.watch.only("exception").outcome == "timeout"


@pytest.mark.parametrize("rate", [1, 1000])
async def test_a_rate_that_the_peer_did_not_keep_up_with_is_no_busy_loop(rate, autojump_clock):
    """A peer that takes some in the end, when its balance is used up: the wait has to be one."""

    async def handler(request):
        return rr.StreamResponse(produce)

    async def produce(send):
        for _ in range(1000):
            await send(bytes(60_000))

    limits = rr.Limits(min_send_rate=rate * 1000)
    async with house_of(handler, limits=limits) as house:
        peer, heard = slow_tcp_peer(house), bytearray()
        await peer.say(GET)
        while house.active:
            await trio.sleep(25)
            swallow(peer, heard)
            await wait_all_tasks_blocked()
            assert trio.current_time() < 10_000
        peer.stream.close()


# Our own time


@pytest.mark.parametrize("kind", KINDS)
async def test_a_handler_that_was_done_in_time_if_only_it_had_had_its_turn(kind, autojump_clock, caplog):
    async def handler(request):
        await trio.sleep(3)
        return rr.Response("hi")

    async with house_of(handler, timeouts=rr.Timeouts(handler=5)) as house:
        peer = house.meet(kind)
        await peer.say(GET)
        await trio.sleep(2)
        await stall(autojump_clock, 10)
        assert peer.take() == answer(b"hi")
    assert loud(caplog) == []


async def test_an_early_check_likewise(autojump_clock):
    @rr.early
    async def check(request):
        await trio.sleep(3)

    async with house_of(middlewares=[check], timeouts=rr.Timeouts(handler=5)) as house:
        peer = house.peer()
        await peer.say(GET)
        await stall(autojump_clock, 10)
        assert peer.take() == answer(b"0")


@needs_poller
async def test_a_peer_that_has_half_closed_has_its_grace_in_time_that_counts(autojump_clock):
    work = Work(6)
    async with house_of(work) as house:
        peer = house.tcp_peer()
        await peer.say(GET)
        await trio.sleep(2)
        await peer.finish()
        await stall(autojump_clock, 10)
        assert await peer.end() == answer(b"done")
    assert work.cancelled == []


# Once, and not for ever


@pytest.mark.parametrize("kind", KINDS)
async def test_who_does_nothing_has_what_was_left_of_its_time_and_no_more(kind, autojump_clock):
    async with house_of(limits=rr.Limits(min_bytes_per_second=0)) as house:
        head, body = house.meet(kind), house.meet(kind)
        await head.say(GET[:9])
        await body.say(post(b"Content-Length: 5"))
        await trio.sleep(29)
        await stall(autojump_clock, 4)
        assert await head.end() == last_word(b"408 Request Timeout")
        assert head.ended_at == 36, "late by 3 at 33"
        assert await body.end() == last_word(b"408 Request Timeout")
        assert body.ended_at == 100, "its time was not up"


@pytest.mark.parametrize("kind", KINDS)
async def test_a_server_that_stalls_again_and_again_waits_for_nobody_for_ever(kind, autojump_clock):
    async with house_of(limits=rr.Limits(min_bytes_per_second=0)) as house:
        peer = house.meet(kind)
        await peer.say(GET[:9])
        for _ in range(2):
            await stall(autojump_clock, 40)
        assert await peer.end() == last_word(b"408 Request Timeout")
        assert peer.ended_at == 80, "put off to 50 at 40"


@pytest.mark.parametrize("kind", ["wire", "tcp"])
async def test_but_who_has_done_its_part_is_served_even_then(kind, autojump_clock):
    async with house_of(limits=rr.Limits(min_bytes_per_second=0)) as house:
        peer = house.meet(kind)
        await peer.say(GET[:9])
        await stall(autojump_clock, 40, (peer.slip, GET[9:12]))
        await stall(autojump_clock, 40, (peer.slip, GET[12:]))
        assert peer.take() == answer(b"0")


async def test_a_foreign_stream_that_makes_its_sender_wait_is_excused_too(autojump_clock):
    """What it has taken of a cancelled write nobody knows, so it must not be cancelled before it is late."""

    async def handler(request):
        return rr.Response(bytes(100_000))

    async with house_of(handler) as house:
        peer, stream = house.slow_peer(0)
        await peer.say(GET)
        await stall(autojump_clock, 31)
        stream.grant(10**6)
        await wait_all_tasks_blocked()
        assert peer.heard.count(b"\0") == 100_000
