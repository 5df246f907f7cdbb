"""While many connections are awake their responses are written when the turn is over; and nothing overtakes them."""

from __future__ import annotations

import ssl
import sys

import pytest
import trio
import trustme
from story_tools import GET, answer, open_house

import roadrunner_trio as rr
from roadrunner_trio.server.carrier import CROWD, HELD_MOST
from roadrunner_trio.transport.wire import SocketWire

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only where a poller ends turns")

MANY = 6
CLOSE = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"


@pytest.fixture
def held(monkeypatch):
    """How long what was held is, each time."""
    lengths, hold = [], SocketWire.hold

    def noted(wire, data):
        lengths.append(len(data))
        hold(wire, data)

    monkeypatch.setattr(SocketWire, "hold", noted)
    return lengths


@pytest.fixture(scope="module")
def contexts():
    authority = trustme.CA()
    server, client = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(server)
    authority.configure_trust(client)
    return server, client


async def hello(request):
    return rr.Response(b"hello")


async def large(request):
    return rr.Response(b"x" * HELD_MOST)


async def test_one_alone_is_answered_at_once(autojump_clock, held):
    async with open_house(hello, tcp=True) as house:
        peer = house.tcp_peer()
        for _ in range(3):
            await peer.say(GET)
            assert peer.take() == answer(b"hello")
    assert held == []


@pytest.mark.parametrize(("handler", "kept"), [(hello, True), (large, False)])
async def test_a_crowd_is_answered_when_the_turn_is_over(handler, kept, autojump_clock, held):
    async with open_house(handler, tcp=True) as house:
        peers = [house.tcp_peer() for _ in range(MANY)]
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(3):
            for peer in peers:
                peer.slip(GET)
            await trio.testing.wait_all_tasks_blocked()
            assert house.listener._context.poller.crowd > CROWD
            body = (await handler(None)).body
            assert [peer.take() for peer in peers] == [answer(body)] * MANY
    assert bool(held) is kept


async def test_what_is_pipelined_in_a_crowd_comes_in_order(autojump_clock, held):
    async def path(request):
        return rr.Response(request.path.encode() * (5000 if request.path == "/4" else 1))

    async with open_house(path, tcp=True) as house:
        peers = [house.tcp_peer() for _ in range(MANY)]
        await trio.testing.wait_all_tasks_blocked()
        requests = b"".join(GET.replace(b"/ ", b"/%d " % number) for number in range(9))
        for peer in peers:
            peer.slip(requests)
        await trio.testing.wait_all_tasks_blocked()
        right = b"".join(answer(b"/%d" % number * (5000 if number == 4 else 1)) for number in range(9))
        assert [peer.take() for peer in peers] == [right] * MANY
    assert held


async def test_a_crowd_that_wants_the_end_has_its_answers_first(autojump_clock, held, contexts):
    server, client = contexts
    heard = []

    async def ask(port, ready, go):
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        peer = trio.SSLStream(stream, client, server_hostname="localhost")
        await peer.do_handshake()
        ready.append(peer)
        await go.wait()
        await peer.send_all(CLOSE)
        heard.append(b"".join([piece async for piece in peer])[-5:])  # raises, should the end not be clean
        await trio.aclose_forcefully(peer)

    async with open_house(hello, tcp=True, tls=server) as house, trio.open_nursery() as nursery:
        ready, go = [], trio.Event()
        for _ in range(MANY):
            nursery.start_soon(ask, house.listener.port, ready, go)
        while len(ready) < MANY:
            await trio.testing.wait_all_tasks_blocked()
        go.set()
    assert heard == [b"hello"] * MANY


async def test_the_word_of_a_drain_does_not_overtake_what_is_held(autojump_clock, contexts):
    """Over TLS that would be another record than is due: "bad record mac"."""
    server, client = contexts
    async with open_house(hello, tcp=True, tls=server) as house:
        stream = await trio.open_tcp_stream("127.0.0.1", house.listener.port)
        peer = trio.SSLStream(stream, client, server_hostname="localhost")
        await peer.send_all(GET)
        assert (await peer.receive_some()).endswith(b"hello")
        await trio.testing.wait_all_tasks_blocked()
        [conn] = house.listener._members()
        assert conn.hold(b"held")  # and in the same step, before the turn is over
        await house.listener.drain(5)
        assert b"".join([piece async for piece in peer]) == b"held"
        await peer.aclose()


class Full:
    """A socket that takes nothing, until it is told to."""

    def __init__(self, sock):
        self.sock, self.full = sock, True

    def __getattr__(self, name):
        return getattr(self.sock, name)

    def send(self, data):
        if self.full:
            raise BlockingIOError
        return self.sock.send(data)


async def test_a_drain_leaves_the_time_of_a_write_to_who_has_not_taken_an_answer(autojump_clock):
    async with open_house(hello, tcp=True, timeouts=rr.Timeouts(write=7)) as house:
        peer = house.tcp_peer()
        await peer.say(GET)
        await trio.sleep(1)
        [conn] = house.listener._members()
        conn.wire.socket = full = Full(conn.wire.socket)
        assert conn.hold(b"held")
        house.listener.notify(20)
        await trio.sleep(1)
        full.full = False
        conn.wire.flush()
        await trio.sleep(10)
        assert peer.heard.endswith(b"held")
        assert (peer.ended_at, house.active) == (8, 0)


class Slow(Full):
    """One that takes nothing the first two times: at the end of a turn, and when a connection ends."""

    def __init__(self, sock):
        super().__init__(sock)
        self.left = 2

    def send(self, data):
        self.left -= 1
        self.full = self.left >= 0
        return super().send(data)


@pytest.mark.parametrize("last", [CLOSE, GET])
async def test_the_last_answer_has_the_time_of_a_write(last, autojump_clock, monkeypatch):
    monkeypatch.setattr("roadrunner_trio.server.carrier.CROWD", 0)
    async with open_house(hello, tcp=True) as house:
        peer = house.tcp_peer()
        await peer.say(GET)
        assert peer.take() == answer(b"hello")
        [conn] = house.listener._members()
        conn.wire.socket = Slow(conn.wire.socket)
        peer.slip(last)
        await peer.finish()
        assert await peer.end() == answer(b"hello", *([b"connection: close"] if last is CLOSE else []))


async def test_who_has_not_taken_an_answer_makes_no_room_for_another(autojump_clock):
    async with open_house(hello, tcp=True) as house:
        peer = house.tcp_peer()
        await peer.say(GET)
        [conn] = house.listener._members()
        assert conn.hold(b"held")
        assert conn.make_room() is False
        await trio.sleep(1)
        assert peer.heard.endswith(b"held")
        assert conn.make_room() is True


async def test_a_stream_that_is_handed_over_has_nothing_before_it(autojump_clock):
    async def take(request):
        async def talk(request, stream):
            await stream.send_all(b"mine")

        return rr.Handoff(talk) if request.path == "/take" else rr.Response(b"hello")

    async with open_house(take, tcp=True) as house:
        peers = [house.tcp_peer() for _ in range(MANY)]
        await trio.testing.wait_all_tasks_blocked()
        for peer in peers:
            peer.slip(GET + GET.replace(b"/ ", b"/take "))
        await trio.testing.wait_all_tasks_blocked()
        await trio.sleep(5)
        assert [peer.take() for peer in peers] == [answer(b"hello") + b"mine"] * MANY
