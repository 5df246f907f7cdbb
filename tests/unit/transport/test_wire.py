"""The wire, on real sockets."""

from __future__ import annotations

import os
import socket
import struct
from contextlib import contextmanager

import pytest
import trio
import trio.testing
from stream_tools import clogged_wires, fill, read_exactly, readable, reset, tcp_pair, wire_and_peer, wires

from roadrunner_trio.transport.gone import PeerGone
from roadrunner_trio.transport.poller import AVAILABLE, Poller
from roadrunner_trio.transport.wire import SocketWire

BIG = bytes(range(256)) * 32768  # 8 MiB: more than any socket buffer takes


@pytest.fixture(params=["alone", "polled"])
async def poller(request, nursery):
    """What wires wait on: a poller that runs, or None for Trio's own means."""
    if request.param == "alone":
        return None
    if not AVAILABLE:
        pytest.skip("this system has no epoll")
    poller = Poller()
    nursery.start_soon(poller.run)
    return poller


@pytest.fixture(params=[tcp_pair, socket.socketpair], ids=["tcp", "unix"])
async def pair(request, poller):
    """A wire and the raw socket at its other end."""
    with wire_and_peer(request.param, poller) as both:
        yield both


@pytest.fixture
async def vanished(poller):
    """A wire whose peer has reset the connection."""
    with wire_and_peer(tcp_pair, poller) as (wire, peer):
        reset(peer)
        yield wire


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """An open file with known content."""
    path = tmp_path_factory.mktemp("wire") / "file"
    path.write_bytes(BIG)
    fd = os.open(path, os.O_RDONLY)
    yield fd
    os.close(fd)


async def test_it_is_a_stream_as_trio_wants_them():
    await trio.testing.check_half_closeable_stream(wires, clogged_wires)


async def test_it_is_one_over_tcp_too():
    async def made():
        return tuple(SocketWire(sock) for sock in tcp_pair())

    await trio.testing.check_half_closeable_stream(made, None)


async def test_a_peer_gone_is_a_broken_stream():
    assert issubclass(PeerGone, trio.BrokenResourceError)


# Receiving


async def test_receiving_takes_what_is_there(pair):
    wire, peer = pair
    peer.sendall(b"hello world")
    assert await wire.receive_some(5) == b"hello"
    assert await wire.receive_some() == b" world"
    peer.shutdown(socket.SHUT_WR)
    assert await wire.receive_some() == b""
    assert await wire.receive_some() == b""


@pytest.mark.parametrize("size", [0, -1])
async def test_receiving_nothing_makes_no_sense(pair, size):
    with pytest.raises(ValueError, match="at least 1"):
        await pair[0].receive_some(size)


async def test_one_receiver_at_a_time(pair, nursery):
    wire, peer = pair
    nursery.start_soon(wire.receive_some)
    await trio.testing.wait_all_tasks_blocked()
    with pytest.raises(trio.BusyResourceError, match="receiving"):
        await wire.receive_some()
    peer.sendall(b"x")
    await trio.testing.wait_all_tasks_blocked()
    peer.sendall(b"y")
    assert await wire.receive_some() == b"y"


async def test_a_reset_while_waiting_is_a_broken_stream(poller):
    async def wait(wire):
        with pytest.raises(trio.BrokenResourceError, match="broken"):
            await wire.receive_some()

    with wire_and_peer(tcp_pair, poller) as (wire, peer):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait, wire)
            await trio.testing.wait_all_tasks_blocked()
            reset(peer)


async def test_data_that_comes_with_a_cancellation_is_not_lost(pair):
    """The task is scheduled because data has come, and cancelled before it runs; or the other way round."""
    wire, peer = pair
    sent = bytearray()
    received = bytearray()
    with trio.fail_after(30):
        for n in range(60):
            async with trio.open_nursery() as nursery:

                async def receive():
                    received.extend(await wire.receive_some())

                nursery.start_soon(receive)
                if n % 3:
                    await trio.testing.wait_all_tasks_blocked()
                message = b"%d " % n
                if n % 2:
                    peer.sendall(message)
                    await trio.lowlevel.checkpoint()
                    nursery.cancel_scope.cancel(reason="in the tick of the edge")
                else:
                    nursery.cancel_scope.cancel(reason="just before the edge")
                    peer.sendall(message)
                sent.extend(message)
        peer.shutdown(socket.SHUT_WR)
        while data := await wire.receive_some():
            received.extend(data)
    assert received == sent


# Looking without taking


async def test_pending_looks_and_takes_nothing(pair):
    wire, peer = pair
    assert not wire.pending()
    peer.sendall(b"hello")
    assert wire.pending()
    assert wire.pending()
    assert await wire.receive_some() == b"hello"
    assert not wire.pending()


async def test_a_byte_that_is_being_received_is_pending():
    """Taken from the socket, not yet given to the task: nobody may think that nothing has come."""
    in_hand = 0

    async def receive(wire):
        nonlocal received
        received = bool(await wire.receive_some())

    with wire_and_peer() as (wire, peer):
        for _ in range(50):  # in which order Trio runs two tasks is left to chance
            received = False
            peer.sendall(b"x")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(receive, wire)
                while not received:
                    assert wire.pending()
                    in_hand += not readable(wire.socket)
                    await trio.lowlevel.checkpoint()
            assert not wire.pending()
    assert in_hand


async def test_an_end_is_not_a_byte(pair):
    wire, peer = pair
    peer.sendall(b"x")
    peer.shutdown(socket.SHUT_WR)
    assert wire.pending()
    assert await wire.receive_some() == b"x"
    assert not wire.pending()


async def test_a_reset_is_not_a_byte(vanished):
    assert not vanished.pending()
    vanished.close()
    assert not vanished.pending()


# Sending at once


async def test_sending_now_takes_what_fits(pair):
    wire, peer = pair
    assert wire.send_now(b"hello") == 5
    assert wire.send_now(memoryview(b" world")) == 6
    assert await read_exactly(peer, 11) == b"hello world"
    sent = wire.send_now(BIG)
    assert 0 < sent < len(BIG)
    assert await read_exactly(peer, sent) == BIG[:sent]


async def test_sending_now_takes_nothing_when_the_socket_is_full(pair):
    wire, _ = pair
    fill(wire.socket)
    assert wire.send_now(b"hello") == 0


async def test_sending_now_to_a_peer_that_has_gone(vanished):
    with pytest.raises(trio.BrokenResourceError):
        vanished.send_now(b"hello")
    vanished.close()
    with pytest.raises(trio.ClosedResourceError):
        vanished.send_now(b"hello")


async def test_one_sender_at_a_time(pair, nursery):
    wire, peer = pair
    nursery.start_soon(wire.send_all, BIG)
    await trio.testing.wait_all_tasks_blocked()
    with pytest.raises(trio.BusyResourceError, match="sending"):
        wire.send_now(b"x")
    for send in (wire.send_all(b"x"), wire.send_eof(), wire.wait_send_all_might_not_block(), wire.send_file(0, 0, 1)):
        with pytest.raises(trio.BusyResourceError, match="sending"):
            await send
    assert await read_exactly(peer, len(BIG)) == BIG
    await trio.testing.wait_all_tasks_blocked()
    assert wire.send_now(b"x") == 1


async def test_a_cancelled_send_leaves_the_wire_to_the_next_sender(pair):
    wire, peer = pair
    with trio.move_on_after(0) as scope:
        await wire.send_all(b"never")
    assert scope.cancelled_caught
    await wire.send_all(b"hello")
    assert await read_exactly(peer, 5) == b"hello"


# The end


async def test_half_closed_it_still_receives(pair):
    wire, peer = pair
    await wire.send_eof()
    await wire.send_eof()
    assert peer.recv(10) == b""
    peer.sendall(b"late")
    assert await wire.receive_some() == b"late"
    with pytest.raises(trio.ClosedResourceError, match="send_eof"):
        await wire.send_all(b"x")
    with pytest.raises(trio.ClosedResourceError, match="send_eof"):
        await wire.send_file(0, 0, 1)
    await wire.wait_send_all_might_not_block()


@pytest.mark.parametrize("start", ["receive_some", "send_all", "send_file", "wait_send_all_might_not_block"])
async def test_a_close_interrupts_who_waits(pair, file, start):
    wire, _ = pair
    args = {"send_all": (BIG,), "send_file": (file, 0, len(BIG))}.get(start, ())
    if start.startswith("wait"):
        fill(wire.socket)

    async def wait():
        with pytest.raises(trio.ClosedResourceError):
            await getattr(wire, start)(*args)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        await wire.aclose()


async def test_a_close_in_the_checkpoint_of_a_send_is_a_close(pair):
    """Once the send has begun and before it touches the socket, another task may run, and close."""
    wire, _ = pair

    async def wait():
        with pytest.raises(trio.ClosedResourceError):
            await wire.wait_send_all_might_not_block()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        while not wire.sending:
            await trio.lowlevel.checkpoint()
        wire.close()


async def test_closing_twice_is_closing(pair):
    wire, peer = pair
    await wire.aclose()
    await wire.aclose()
    wire.close()
    wire.reset()
    assert peer.recv(1) == b""


async def test_a_cancelled_close_has_closed(pair):
    wire, peer = pair
    with trio.CancelScope() as scope:
        scope.cancel(reason="at once")
        await wire.aclose()
    assert scope.cancelled_caught
    assert peer.recv(1) == b""


async def test_a_reset_tells_the_peer_that_it_has_not_got_the_whole():
    with wire_and_peer() as (wire, peer):
        await wire.send_all(b"half of a body")
        wire.reset()
        assert peer.recv(100) == b"half of a body"
        with pytest.raises(ConnectionResetError):
            peer.recv(100)


async def test_a_reset_that_the_system_refuses_still_closes():
    class Stubborn(socket.socket):
        def setsockopt(self, *_):
            raise OSError(22, "Invalid argument")

    ours, theirs = socket.socketpair()
    with theirs:
        wire = SocketWire(Stubborn(fileno=ours.detach()))
        wire.reset()
        assert theirs.recv(1) == b""


# Checkpoints


@contextmanager
def cancelled():
    """Whatever is awaited inside is cancelled at its first checkpoint; it fails when there is none."""
    with trio.CancelScope() as scope:
        scope.cancel(reason="at the first checkpoint")
        yield
    assert scope.cancelled_caught


async def test_every_await_is_a_checkpoint(pair, file):
    wire, peer = pair
    peer.sendall(b"ab")
    calls = [
        (wire.receive_some, 1),
        (wire.send_all, b"x"),
        (wire.send_all, b""),
        (wire.send_file, file, 0, 1),
        (wire.send_file, file, 0, 0),
        (wire.wait_send_all_might_not_block,),
        (wire.send_eof,),
        (wire.send_eof,),
        (wire.aclose,),
        (wire.aclose,),
    ]
    for call, *args in calls:
        with cancelled():
            if call != wire.aclose:
                await call(*args)
            else:
                await trio.lowlevel.checkpoint()
        with trio.testing.assert_checkpoints():
            await call(*args)


async def test_a_cancelled_receive_takes_nothing(pair):
    wire, peer = pair
    peer.sendall(b"hello")
    with cancelled():
        await wire.receive_some()
    assert await wire.receive_some() == b"hello"


@pytest.mark.parametrize("call", ["receive_some", "send_all", "send_file", "send_eof"])
async def test_a_call_that_fails_is_a_checkpoint_too(vanished, file, call):
    args = {"send_all": (b"x",), "send_file": (file, 0, 1)}.get(call, ())
    with trio.testing.assert_checkpoints(), pytest.raises(trio.BrokenResourceError):
        await getattr(vanished, call)(*args)
    vanished.close()
    with trio.testing.assert_checkpoints(), pytest.raises(trio.ClosedResourceError):
        await getattr(vanished, call)(*args)


# Its socket


async def test_it_never_blocks():
    ours, theirs = socket.socketpair()
    wire = SocketWire(ours)
    assert not wire.socket.getblocking()
    wire.close()
    theirs.close()


async def test_a_wire_does_not_change_how_its_socket_closes(pair):
    linger = pair[0].socket.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8)
    assert struct.unpack("ii", linger)[0] == 0
