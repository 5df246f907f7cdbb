"""Bytes replayed, rates measured, closes that do not destroy, and addresses in words."""

from __future__ import annotations

import socket
import ssl

import pytest
import trio
import trio.testing
from stream_tools import clogged_wires, read_exactly, tcp_pair, wire_and_peer, wires

from roadrunner_trio.transport import streams
from roadrunner_trio.transport.poller import AVAILABLE, Poller
from roadrunner_trio.transport.streams import (
    PrefixedStream,
    RateMeter,
    address_of,
    linger,
    peer_of,
    shown,
    tidy,
    wired,
)
from roadrunner_trio.transport.wire import SocketWire


class Whole(trio.abc.Stream):
    """A stream that cannot be half-closed."""

    def __init__(self, inner):
        self.inner = inner

    async def send_all(self, data):
        await self.inner.send_all(data)

    async def wait_send_all_might_not_block(self):
        await self.inner.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes=None):
        return await self.inner.receive_some(max_bytes)

    async def aclose(self):
        await self.inner.aclose()


# A stream whose first bytes have been read


async def test_the_prefix_comes_first_then_the_streams_own():
    ours, theirs = trio.testing.memory_stream_pair()
    stream = PrefixedStream(b"early", ours)
    await theirs.send_all(b"late")
    assert await stream.receive_some(2) == b"ea"
    assert await stream.receive_some() == b"rly"
    assert await stream.receive_some() == b"late"
    await theirs.send_eof()
    assert await stream.receive_some() == b""


async def test_without_a_prefix_it_is_the_stream():
    ours, theirs = trio.testing.memory_stream_pair()
    await theirs.send_all(b"late")
    assert await PrefixedStream(b"", ours).receive_some(2) == b"la"


@pytest.mark.parametrize("prefix", [b"", b"early"])
async def test_receiving_nothing_makes_no_sense(prefix):
    ours, _ = trio.testing.memory_stream_pair()
    with pytest.raises(ValueError, match="max_bytes"):
        await PrefixedStream(prefix, ours).receive_some(0)


async def test_reading_the_prefix_is_a_checkpoint_that_loses_nothing():
    ours, _ = trio.testing.memory_stream_pair()
    stream = PrefixedStream(b"early", ours)
    with trio.CancelScope() as scope:
        scope.cancel(reason="at the first checkpoint")
        await stream.receive_some()
    assert scope.cancelled_caught
    with trio.testing.assert_checkpoints():
        assert await stream.receive_some() == b"early"


async def test_a_close_drops_what_is_left():
    ours, _ = trio.testing.memory_stream_pair()
    stream = PrefixedStream(b"early", ours)
    await stream.aclose()
    with pytest.raises(trio.ClosedResourceError):
        await stream.receive_some()


async def replayed(make):
    """A pair as ``make`` makes it, each end having read a prefix already."""
    ends = [PrefixedStream(b"early", stream) for stream in await make()]
    for end in ends:
        assert await end.receive_some() == b"early"
    return tuple(ends)


async def test_it_is_a_stream_as_trio_wants_them():
    async def whole():
        return tuple(map(Whole, await wires()))

    async def clogged():
        return tuple(map(Whole, await clogged_wires()))

    await trio.testing.check_two_way_stream(lambda: replayed(whole), lambda: replayed(clogged))


async def test_over_a_stream_that_can_be_half_closed_it_is_one_too():
    await trio.testing.check_half_closeable_stream(lambda: replayed(wires), lambda: replayed(clogged_wires))


async def test_over_any_other_stream_it_is_not():
    ours, _ = trio.testing.memory_stream_pair()
    with pytest.raises(RuntimeError, match="a Whole cannot be half-closed"):
        await PrefixedStream(b"", Whole(ours)).send_eof()


# The minimum rate: violated when more than five seconds have passed and less than R octets a second have come


def metered(meter, octets, seconds):
    """Whether the peer is too slow once it has sent this as well."""
    meter.add(octets, seconds)
    return meter.slow


@pytest.mark.parametrize(
    ("octets", "seconds", "slow"),
    [
        (0, 5.0, False),
        (1, 5.0, False),
        (500, 5.001, True),
        (501, 5.001, False),
        (599, 6.0, True),
        (600, 6.0, False),
        (2999, 30.0, True),
        (3000, 30.0, False),
    ],
)
def test_the_bounds_are_exact(octets, seconds, slow):
    assert metered(RateMeter(100), octets, seconds) is slow


def test_octets_and_seconds_add_up():
    meter = RateMeter(100)
    assert not metered(meter, 500, 4.5)
    assert not metered(meter, 1, 0.5)
    assert not metered(meter, 99, 1.0)
    assert metered(meter, 99, 1.0)
    assert not metered(meter, 1, 0.0)


def test_a_reset_begins_anew_with_what_is_there():
    meter = RateMeter(100)
    meter.add(0, 9.0)
    assert meter.slow
    meter.reset()
    assert not metered(meter, 0, 5.0)
    meter.reset(550)
    assert not metered(meter, 50, 6.0)
    assert metered(meter, 0, 0.1)


def test_zero_turns_the_rule_off():
    assert not metered(RateMeter(0), 0, 1e9)


# A lingering close


async def test_lingering_half_closes_first_and_lasts_as_long_as_it_may(autojump_clock):
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(linger, ours, 2.0, 1000)
        assert await theirs.receive_some() == b""
        assert trio.current_time() == 0
        for _ in range(3):
            await trio.sleep(0.6)
            await theirs.send_all(b"still here")
    assert trio.current_time() == 2.0


async def test_lingering_ends_when_the_peer_closes(autojump_clock):
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(linger, ours, 2.0, 1000)
        await trio.sleep(0.5)
        await theirs.send_all(b"one moment")
        await theirs.send_eof()
    assert trio.current_time() == 0.5


async def test_lingering_reads_no_more_than_it_may(autojump_clock):
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(linger, ours, 2.0, 1000)
        for _ in range(10):
            await trio.sleep(0.1)
            await theirs.send_all(b"x" * 100)
    assert trio.current_time() == pytest.approx(1.0)


async def test_lingering_on_nothing_only_half_closes(autojump_clock):
    ours, theirs = trio.testing.memory_stream_pair()
    await linger(ours, 2.0, 0)
    assert await theirs.receive_some() == b""
    assert trio.current_time() == 0


async def test_lingering_on_a_stream_that_cannot_be_half_closed_only_reads(autojump_clock):
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(linger, Whole(ours), 2.0, 1000)
        with trio.move_on_after(1) as scope:
            await theirs.receive_some()
    assert scope.cancelled_caught
    assert trio.current_time() == 2.0


async def test_lingering_on_a_stream_that_is_broken_or_closed_ends_quietly(autojump_clock):
    ours, theirs = trio.testing.memory_stream_pair()
    ours.receive_stream.close()
    await linger(ours, 2.0, 1000)
    ours, theirs = trio.testing.memory_stream_pair()
    theirs.send_stream.close()
    await linger(Whole(ours), 2.0, 1000)
    with wire_and_peer() as (wire, peer):
        SocketWire(peer).reset()
        await linger(wire, 2.0, 1000)
    assert trio.current_time() == 0


@pytest.fixture
async def poller(nursery):
    if not AVAILABLE:
        pytest.skip("this system has no epoll")
    poller = Poller()
    nursery.start_soon(poller.run)
    return poller


LONG = 60.0
both = pytest.mark.parametrize("pair", [tcp_pair, socket.socketpair], ids=["tcp", "unix"])


@both
async def test_on_an_idle_peer_it_lasts_until_its_system_knows_of_the_end(pair, poller):
    with wire_and_peer(pair, poller) as (wire, peer):
        await wire.send_all(b"an answer")
        assert await read_exactly(peer, 9) == b"an answer"
        with trio.fail_after(LONG / 2):
            await linger(wire, LONG, 1000, idle=True)
        wire.close()
        assert peer.recv(1) == b"", "an end, and no reset"


async def test_the_end_may_be_acknowledged_late(poller, monkeypatch):
    """As from a peer far away: an edge tells of it."""
    waits = []
    wait = streams.trio.Event.wait
    monkeypatch.setattr(streams.trio.Event, "wait", lambda event: waits.append(event) or wait(event))
    with wire_and_peer(tcp_pair, poller) as (wire, peer):
        for _ in range(20):  # so that the kernel believes in a conversation, and delays what it acknowledges
            await wire.send_all(b"x")
            await read_exactly(peer, 1)
        with trio.fail_after(LONG / 2):
            await linger(wire, LONG, 1000, idle=True)
        assert wire.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == 5, "FIN-WAIT-2"
    if not waits:
        pytest.skip("this kernel acknowledges at once")


@both
async def test_what_crossed_the_end_is_read_to_the_peers_end(pair, poller, nursery):
    """Closed upon it, the kernel would send a reset."""
    with wire_and_peer(pair, poller) as (wire, peer):
        ended = trio.Event()

        async def lingering():
            await linger(wire, LONG, 1000, idle=True)
            ended.set()

        peer.send(b"GET / HTTP/1.1")
        nursery.start_soon(lingering)
        with trio.move_on_after(0.2):
            await ended.wait()
        assert not ended.is_set()
        assert not wire.pending()
        peer.shutdown(socket.SHUT_WR)
        with trio.fail_after(LONG / 2):
            await ended.wait()


async def test_a_peer_that_acknowledges_nothing_has_its_seconds(poller, monkeypatch):
    monkeypatch.setattr(streams._Acknowledgement, "_is_due", lambda self: True)
    with wire_and_peer(tcp_pair, poller) as (wire, _):
        began = trio.current_time()
        await linger(wire, 0.2, 1000, idle=True)
        assert trio.current_time() - began >= 0.2


async def test_without_a_poller_nobody_tells_and_it_lasts_as_long_as_ever():
    with wire_and_peer() as (wire, _):
        began = trio.current_time()
        await linger(wire, 0.2, 1000, idle=True)
        assert trio.current_time() - began >= 0.2


async def test_closed_meanwhile_it_waits_for_nothing(poller, nursery):
    with wire_and_peer(tcp_pair, poller) as (wire, _):
        acknowledgement = streams._Acknowledgement(wire)
        wire.close()
        assert not acknowledgement._is_due()


async def test_an_idle_peer_that_has_reset_is_no_error(poller):
    with wire_and_peer(tcp_pair, poller) as (wire, peer):
        SocketWire(peer).reset()
        with trio.fail_after(LONG / 2):
            await linger(wire, LONG, 1000, idle=True)


async def test_a_cancellation_is_not_swallowed(autojump_clock):
    ours, _ = trio.testing.memory_stream_pair()
    with trio.move_on_after(1) as scope:
        await linger(ours, 2.0, 1000)
    assert scope.cancelled_caught


# Whose stream


async def test_a_socket_stream_becomes_a_wire():
    ours, theirs = tcp_pair()
    ours.setblocking(False)
    stream = trio.SocketStream(trio.socket.from_stdlib_socket(ours))
    wire = wired(stream)
    assert isinstance(wire, SocketWire)
    await wire.send_all(b"hello")
    assert theirs.recv(5) == b"hello"
    assert stream.socket.fileno() == -1
    await wire.aclose()
    theirs.close()


async def test_any_other_stream_stays_what_it_is():
    ours, _ = trio.testing.memory_stream_pair()
    assert wired(ours) is ours


async def test_the_peer_of_a_socket_is_its_address():
    with wire_and_peer() as (wire, peer):
        host, port = peer.getsockname()
        assert peer_of(wire) == (host, port)
        tls = trio.SSLStream(wire, ssl.create_default_context(), server_hostname="test")
        assert peer_of(tls) == (host, port)
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(socket.socket(fileno=wire.socket.detach())))
        assert peer_of(stream) == (host, port)
        await stream.aclose()


async def test_other_streams_are_named_by_their_kind():
    ours, _ = trio.testing.memory_stream_pair()
    assert peer_of(ours) == "memory"
    assert peer_of(Whole(ours)) == "Whole"


def test_a_peer_that_has_gone_is_unknown():
    ours, theirs = tcp_pair()
    theirs.close()
    ours.close()
    assert address_of(ours) == "unknown"


def test_the_peer_of_a_unix_socket(tmp_path):
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
        listener.bind(path)
        listener.listen()
        client.connect(path)
        server, _ = listener.accept()
        with server:
            assert address_of(client) == path
            assert address_of(server) == "unix"


@pytest.mark.parametrize(
    ("name", "address", "text"),
    [
        (("192.0.2.1", 80), ("192.0.2.1", 80), "192.0.2.1:80"),
        (("2001:db8::1", 8080, 7, 3), ("2001:db8::1", 8080), "[2001:db8::1]:8080"),
        ("/run/server", "/run/server", "/run/server"),
        (("::ffff:192.0.2.1", 80, 0, 0), ("192.0.2.1", 80), "192.0.2.1:80"),
        (("::ffff:192.0.2.1", 0), ("192.0.2.1", 0), "192.0.2.1"),
        (("fe80::1%eth0.7", 80, 0, 3), ("fe80::1%eth0.7", 80), "[fe80::1%eth0.7]:80"),
        (b"\0abstract", "@abstract", "@abstract"),
        ("\0abstract", "@abstract", "@abstract"),
        (b"/run/\xff", "/run/\udcff", "/run/\\udcff"),
        ("/run/\n2026 \x1b[2J\u202e", "/run/\n2026 \x1b[2J\u202e", "/run/\\x0a2026 \\x1b[2J\\u202e"),
        ("", "unix", "unix"),
        (b"", "unix", "unix"),
    ],
)
def test_addresses_have_one_form(name, address, text):
    assert tidy(name) == address
    assert shown(address) == text
