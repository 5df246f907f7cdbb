"""What is sent in pieces within one turn of Trio's loop is written once, when the turn is over."""

from __future__ import annotations

import socket
from contextlib import suppress

import pytest
import trio
import trio.testing
from presence_tools import needs_poller, slow_tcp_peer
from story_tools import GET, open_house

import roadrunner_trio as rr
from roadrunner_trio.server.carrier import HELD_MOST
from roadrunner_trio.server.http1_sender import TURN
from roadrunner_trio.transport.poller import SHARE, Poller
from roadrunner_trio.transport.wire import SocketWire

pytestmark = needs_poller

HEAD = b"HTTP/1.1 200 OK\r\ndate: D\r\ntransfer-encoding: chunked\r\n\r\n"


@pytest.fixture
async def poller(nursery):
    poller = Poller()
    nursery.start_soon(poller.run)
    await trio.testing.wait_all_tasks_blocked()
    return poller


@pytest.fixture
async def pair(poller):
    """A wire on the poller, and the raw socket at its other end."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    wire = SocketWire(ours, poller)
    with theirs:
        yield wire, theirs
        wire.close()


def taken(sock: socket.socket) -> bytes | None:
    """What one read gives; None when nothing has come."""
    with suppress(BlockingIOError):
        return sock.recv(10_000_000)
    return None


def clog(sock: socket.socket) -> int:
    """Fills what the socket holds on its way out, and says how much that is."""
    octets = 0
    with suppress(BlockingIOError):
        while True:
            octets += sock.send(bytes(65536))
    return octets


async def take(sock: socket.socket, octets: int) -> bytes:
    """Exactly so many octets, as they come."""
    got = b""
    while len(got) < octets:
        with suppress(BlockingIOError):
            got += sock.recv(octets - len(got))
        await trio.testing.wait_all_tasks_blocked()
    return got


async def test_it_is_written_in_one_go_when_the_turn_is_over(pair):
    wire, theirs = pair
    wire.hold(b"one ")
    wire.hold(b"two")
    assert taken(theirs) is None
    await trio.lowlevel.checkpoint()
    await trio.lowlevel.checkpoint()
    assert taken(theirs) == b"one two"
    wire.hold(b"three")
    await trio.testing.wait_all_tasks_blocked()
    assert taken(theirs) == b"three"


async def test_who_sends_takes_along_what_is_held(pair):
    wire, theirs = pair
    assert wire.release(b"alone") == b"alone"
    wire.hold(b"held, ")
    await wire.send_all(wire.release(b"sent"))
    assert taken(theirs) == b"held, sent"
    await trio.testing.wait_all_tasks_blocked()
    assert taken(theirs) is None


async def test_what_the_kernel_does_not_take_goes_out_when_there_is_room(pair):
    wire, theirs = pair
    for text in (b"first", b"second"):  # asked for once, room is reported for good
        octets = clog(wire.socket)
        wire.hold(text)
        await trio.testing.wait_all_tasks_blocked()
        assert wire.held == text
        await take(theirs, octets)
        await trio.testing.wait_all_tasks_blocked()
        assert await take(theirs, len(text)) == text
        assert not wire.held


async def test_room_is_no_news_for_a_reader(pair, nursery):
    wire, theirs = pair
    read = []

    async def reader():
        read.append(await wire.receive_some())

    nursery.start_soon(reader)
    octets = clog(wire.socket)
    wire.hold(b"held")
    await trio.testing.wait_all_tasks_blocked()
    await take(theirs, octets)
    assert not read
    assert not wire.readable
    theirs.send(b"x")
    await trio.testing.wait_all_tasks_blocked()
    assert read == [b"x"]


async def test_an_end_is_told_together_with_room(pair):
    wire, theirs = pair
    octets = clog(wire.socket)
    wire.hold(b"held")
    await trio.testing.wait_all_tasks_blocked()
    theirs.shutdown(socket.SHUT_WR)
    await take(theirs, octets)
    assert wire.hung_up
    assert await take(theirs, 4) == b"held"


async def test_who_holds_next_learns_that_the_peer_has_gone(pair):
    wire, theirs = pair
    wire.hold(b"lost")
    theirs.close()
    await trio.testing.wait_all_tasks_blocked()
    with pytest.raises(trio.BrokenResourceError, match="broken"):
        wire.hold(b"more")


async def test_nothing_is_held_while_another_task_sends(pair, nursery):
    """It would go out in the middle of what that one sends."""
    wire, _ = pair
    clog(wire.socket)
    nursery.start_soon(wire.send_all, b"whole")
    await trio.testing.wait_all_tasks_blocked()
    with pytest.raises(trio.BusyResourceError, match="sending"):
        wire.hold(b"x")
    assert not wire.held


async def test_whatever_ends_a_wire_writes_it_before(poller):
    for how in (SocketWire.close, SocketWire.reset, SocketWire.send_eof_now):
        ours, theirs = socket.socketpair()
        wire = SocketWire(ours, poller)
        wire.hold(b"the last")
        how(wire)
        assert theirs.recv(100) == b"the last"
        await trio.testing.wait_all_tasks_blocked()  # the turn's end finds it closed
        wire.close()
        theirs.close()


async def test_many_are_written_to_in_turns_with_others(poller):
    pairs = [socket.socketpair() for _ in range(3 * SHARE)]
    wires = [SocketWire(ours, poller) for ours, _ in pairs]
    for wire in wires:
        wire.hold(b"x")
    some = 0
    while any(wire.held for wire in wires):
        await trio.lowlevel.checkpoint()
        some += 0 < sum(not wire.held for wire in wires) < len(wires)
    assert some
    for wire, (_, theirs) in zip(wires, pairs, strict=True):
        assert theirs.recv(2) == b"x"
        wire.close()
        theirs.close()


async def test_nobody_waits_for_turns_any_more_after_a_cancellation():
    poller = Poller()
    ours, theirs = socket.socketpair()
    wire = SocketWire(ours, poller)
    with trio.move_on_after(0.01):
        await poller.run()
    wire.hold(b"x")  # would wake a task that is not there
    wire.close()
    theirs.close()


def streaming(produce):
    async def handler(request):
        return rr.StreamResponse(produce)

    return handler


async def test_a_response_in_pieces_that_waits_for_nothing_is_one_write(autojump_clock, monkeypatch):
    writes = []

    async def produce(send):
        for _ in range(TURN - 1):
            await send(b"x")

    send_now = SocketWire.send_now
    monkeypatch.setattr(SocketWire, "send_now", lambda wire, data: writes.append(len(data)) or send_now(wire, data))
    async with open_house(streaming(produce), tcp=True) as house:
        peer = house.tcp_peer()
        await peer.say(GET)
        assert peer.take() == HEAD + b"1\r\nx\r\n" * (TURN - 1) + b"0\r\n\r\n"
    assert len(writes) == 1


async def test_a_piece_is_out_while_its_producer_waits(autojump_clock):
    async def produce(send):
        await trio.sleep(1)
        await send(b"a")
        await send(b"b")
        await trio.sleep(1)
        await send(bytes(HELD_MOST))
        await send(b"c")

    async with open_house(streaming(produce), tcp=True) as house:
        peer = house.tcp_peer()
        await peer.say(GET)
        assert peer.take() == HEAD
        await trio.sleep(1.5)
        assert peer.take() == b"1\r\na\r\n1\r\nb\r\n"
        await trio.sleep(1)
        assert peer.take() == b"4000\r\n" + bytes(HELD_MOST) + b"\r\n1\r\nc\r\n0\r\n\r\n"


@pytest.mark.parametrize("size", [100, HELD_MOST])
async def test_a_peer_that_does_not_read_meets_the_write_timeout(size, autojump_clock):
    async def produce(send):
        while True:
            await send(bytes(size))

    async with open_house(streaming(produce), tcp=True, timeouts=rr.Timeouts(write=7)) as house:
        peer = slow_tcp_peer(house)
        await peer.say(GET)
        await trio.sleep(6.9)
        assert house.active == 1
        await trio.sleep(0.2)
        assert house.active == 0
        assert house.watch.only("exception").outcome == "timeout"
        peer.stream.close()
