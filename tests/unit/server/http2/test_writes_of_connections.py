"""What breaks a connection of HTTP/2, or another's stream on it, from within: by its peer, or by the application."""

from __future__ import annotations

import ssl
import sys

import pytest
import trio
import trustme
from http2_peer import Answer, Http2Peer, open_http2
from http2_tools import HELLO, request
from story_tools import loud, open_house
from trio.testing import wait_all_tasks_blocked

import roadrunner_trio as rr

KINDS = ("memory", "tcp")
needs_poller = pytest.mark.skipif(sys.platform != "linux", reason="only where a poller ends turns")


async def hello(request):
    return rr.Response("hi")


async def dig(peer) -> int:
    """A CONNECT, whose answer has come."""
    number = peer.conn.get_next_available_stream_id()
    peer.conn.send_headers(number, [(":method", "CONNECT"), (":authority", "example.com:443")])
    peer.streams[number] = Answer()
    await peer.flush()
    await peer.until(lambda: peer.streams[number].status == 200)
    return number


def tunnel(run):
    async def handler(request):
        return rr.Handoff(run, status=200) if request.method == "CONNECT" else rr.Response("hi")

    return handler


@pytest.mark.parametrize("kind", KINDS)
async def test_a_tunnel_that_is_closed_while_a_task_sends_on_it(kind, autojump_clock):
    ends = []

    async def run(request, stream):
        async def send():
            try:
                await stream.send_all(b"x" * 300_000)
            except Exception as exc:
                ends.append((type(exc).__name__, trio.current_time()))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            await trio.sleep(3)
            await stream.aclose()

    async with open_house(tunnel(run), tcp=kind == "tcp") as house:
        peer = await Http2Peer(house.meet(kind), gives_credit=False).greet()
        number = await dig(peer)
        await trio.sleep(4)
        assert ends == [("ClosedResourceError", 3)]
        await peer.read()
        assert peer.streams[number].reset is not None
        peer.conn.increment_flow_control_window(300_000)
        await peer.flush()
        assert (await peer.get()).brief == (200, b"hi")


@pytest.mark.parametrize("kind", KINDS)
async def test_a_connection_that_ends_takes_its_tunnels_with_it(kind, autojump_clock):
    ends = []

    async def run(request, stream):
        try:
            while await stream.receive_some():
                pass
        except trio.BrokenResourceError as exc:
            ends.append((str(exc), trio.current_time()))
            raise

    async with open_house(tunnel(run), tcp=kind == "tcp") as house:
        peer = await Http2Peer(house.meet(kind)).greet()
        peer.send(await dig(peer), b"x")
        await peer.flush()
        await trio.sleep(3)
        await peer.peer.finish()
        assert await house.empty() == pytest.approx(3, abs=0.1)
        assert ends == [("the connection has ended, and the stream has not", pytest.approx(3, abs=0.1))]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("early", [True, False])
async def test_a_window_that_nobody_can_open_any_more_is_not_waited_for(early, kind, autojump_clock):
    ends = []

    async def handler(request):
        async def produce(send):
            try:
                await trio.sleep(0 if early else 2)
                await send(b"x" * 300_000)
            except rr.PeerGone as exc:
                ends.append((str(exc), trio.current_time()))
                raise

        return rr.StreamResponse(produce)

    async with open_house(handler, tcp=kind == "tcp", timeouts=rr.Timeouts(disconnect_grace=None)) as house:
        peer = await Http2Peer(house.meet(kind), gives_credit=False).greet()
        number = peer.ask()
        await peer.flush()
        await trio.sleep(1)
        await peer.peer.finish()
        await house.empty()
        assert ends == [("the peer has left, and lets nothing more through", pytest.approx(1 if early else 2, abs=0.1))]
        await peer.read()
        assert len(peer.streams[number].body) == 65_535


@pytest.mark.parametrize("kind", KINDS)
async def test_a_task_that_is_left_behind_in_a_tunnel(kind, autojump_clock):
    ends = []

    async with trio.open_nursery() as elsewhere:

        async def send(stream):
            try:
                await stream.send_all(b"x" * 300_000)
            except Exception as exc:
                ends.append((type(exc).__name__, trio.current_time()))

        async def run(request, stream):
            elsewhere.start_soon(send, stream)
            await trio.sleep(3)

        async with open_house(tunnel(run), tcp=kind == "tcp") as house:
            peer = await Http2Peer(house.meet(kind), gives_credit=False).greet()
            number = await dig(peer)
            peer.conn.end_stream(number)
            await peer.flush()
            await trio.sleep(4)
            assert ends == [("ClosedResourceError", 3)]
            peer.conn.increment_flow_control_window(300_000)
            await peer.flush()
            assert (await peer.get()).brief == (200, b"hi")


@pytest.mark.parametrize("kind", KINDS)
async def test_bodies_that_are_gathered_count_as_they_come(kind, autojump_clock):
    limits = rr.Limits(max_buffered=100_000)
    async with open_http2(hello, kind, body="buffered", limits=limits) as (house, peer):
        numbers = []
        for _ in range(2):
            numbers.append(number := peer.ask("/", method="POST", end=False))
            await peer.flush()
            peer.send(number, b"x" * 60_000)
            await peer.flush()
        await peer.read()
        assert house.listener.info().buffered == 60_000
        assert peer.streams[numbers[1]].status == 503


@pytest.mark.parametrize("mode", ["buffered", "streaming"])
async def test_a_body_with_the_end_of_the_peer_right_behind(mode, autojump_clock):
    read = []

    async def handler(request):
        read.append(len(await request.read()))
        return rr.Response("hi")

    async with open_http2(handler, body=mode) as (house, peer):
        number = peer.ask("/", method="POST", end=False)
        await peer.flush()
        [conn] = house.listener._members()
        conn.hang_up(0)  # the poller has seen the end before the reader has seen what is in front of it
        await wait_all_tasks_blocked()
        peer.send(number, b"x" * 1000, end=True)
        await peer.flush()
        assert (await peer.answer(number)).brief == (200, b"hi")
        assert read == [1000]


async def test_a_tunnel_that_is_read_is_not_reset_for_its_body(autojump_clock):
    read = []

    async def run(request, stream):
        while data := await stream.receive_some(65536):
            read.append(len(data))
            await trio.sleep(1)

    settings = {"timeouts": rr.Timeouts(body=5), "limits": rr.Limits(stream_window=262_144, connection_window=262_144)}
    async with open_house(tunnel(run), **settings) as house:
        peer = await Http2Peer(house.meet("memory")).greet()
        number = await dig(peer)
        for _ in range(30):
            room = peer.conn.local_flow_control_window(number)
            if room:
                peer.send(number, b"x" * room)
            await peer.flush()
            await trio.sleep(1)
            assert peer.streams[number].reset is None, trio.current_time()


class Full:
    """A socket that takes only so much, until it is told to take all."""

    def __init__(self, sock, room=0):
        self.sock, self.full, self.room, self.sent = sock, True, room, b""

    def __getattr__(self, name):
        return getattr(self.sock, name)

    def send(self, data):
        if self.full:
            data, self.room = data[: self.room], 0
            if not data:
                raise BlockingIOError
        self.sent += data
        return self.sock.send(data)


@needs_poller
async def test_who_has_not_taken_an_answer_makes_no_room(autojump_clock):
    async with open_http2(hello, "tcp") as (house, peer):
        await peer.get()
        [conn] = house.listener._members()
        conn.wire.socket = full = Full(conn.wire.socket)
        number = peer.ask()
        peer.peer.slip(peer.conn.data_to_send())
        await wait_all_tasks_blocked()
        assert house.phases() == ["idle"]
        assert conn.make_room() is False
        full.full = False
        conn.writer.write_now()
        await trio.sleep(1)
        await peer.read()
        assert peer.streams[number].brief == (200, b"hi")
        assert conn.make_room() is True


async def test_what_is_being_written_when_its_idle_time_is_up_is_written(autojump_clock):
    async def large(request):
        return rr.Response(b"x" * 50_000)

    async with open_house(large, timeouts=rr.Timeouts(keep_alive=5, write=30)) as house:
        raw, stream = house.slow_peer(10_000)
        peer = await Http2Peer(raw).greet()
        number = peer.ask()
        await peer.flush()
        await trio.sleep(8)
        stream.grant(1_000_000)
        await trio.sleep(8)
        await peer.read()
        assert peer.streams[number].ended


async def test_trailers_that_are_too_large_end_a_tunnel(autojump_clock, caplog):
    ends = []

    async def run(request, stream):
        try:
            await stream.receive_some()
        except BaseException as exc:
            ends.append(type(exc).__name__)
            raise

    async with open_house(tunnel(run), limits=rr.Limits(max_fields=10)) as house:
        peer = await Http2Peer(house.meet("memory")).greet()
        number = await dig(peer)
        peer.conn.send_headers(number, [(f"x-{n}", "y") for n in range(20)], end_stream=True)
        await peer.flush()
        await trio.sleep(1)
        assert ends == ["BrokenResourceError"]
        assert (await peer.get()).brief == (200, b"hi")
    assert loud(caplog) == []


async def test_a_frame_that_is_due_keeps_its_time_when_the_last_stream_ends(autojump_clock):
    async def slow(request):
        await trio.sleep(5)
        return rr.Response("hi")

    timeouts = rr.Timeouts(request=10, keep_alive=60)
    async with open_http2(slow, timeouts=timeouts, limits=rr.Limits(min_bytes_per_second=0)) as (_, peer):
        number = peer.ask()
        await peer.flush()
        await trio.sleep(1)
        await peer.peer.say(b"\0\0\x04")
        assert (await peer.answer(number)).brief == (200, b"hi")
        assert await peer.end() == 11


@needs_poller
async def test_what_tls_itself_has_to_say_does_not_come_between_the_octets_of_a_record(autojump_clock):
    authority = trustme.CA()
    server, client = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(server)
    authority.configure_trust(client)
    for context in (server, client):
        context.set_alpn_protocols(["h2"])
    async with open_house(hello, tcp=True, tls=server) as house:
        stream = await trio.open_tcp_stream("127.0.0.1", house.listener.port)
        peer = trio.SSLStream(stream, client, server_hostname="localhost")
        await peer.send_all(HELLO + request(1))
        await wait_all_tasks_blocked()
        [conn] = house.listener._members()
        conn.wire.socket = full = Full(conn.wire.socket, room=10)
        await peer.send_all(request(3))
        await wait_all_tasks_blocked()
        rest = bytes(conn.writer.unsent)
        assert len(full.sent) == 10
        assert rest
        conn.layer._unsaid += b"a new key"
        await stream.send_all(b"\x17\x03\x03")  # a record begins, and has no content yet
        await wait_all_tasks_blocked()
        full.full = False
        conn.wire.edge(4)  # there is room
        await wait_all_tasks_blocked()
        assert full.sent[10:] == rest + b"a new key"
        await trio.aclose_forcefully(stream)
