"""The edge-triggered poller, and a wire on it: no edge is lost, no octet waits for a byte that has come."""

from __future__ import annotations

import socket
from contextlib import suppress

import pytest
import trio
import trio.testing
from failing_tools import NAMES, WRONG
from stream_tools import tcp_pair, wire_and_peer

from roadrunner_trio.transport import poller as poller_module
from roadrunner_trio.transport.poller import AVAILABLE, Poller
from roadrunner_trio.transport.wire import RECEIVE_SIZE, SocketWire

pytestmark = pytest.mark.skipif(not AVAILABLE, reason="this system has no epoll; wires wait by Trio's own means")


def clog(sock: socket.socket) -> None:
    """Fills what the socket holds on its way out."""
    sock.setblocking(False)
    with suppress(BlockingIOError):
        while True:
            sock.send(b"x" * 65536)


def drink(sock: socket.socket) -> None:
    """Takes all that has come."""
    sock.setblocking(False)
    with suppress(BlockingIOError):
        while sock.recv(65536):
            pass


@pytest.fixture
async def poller(nursery):
    poller = Poller()
    nursery.start_soon(poller.run)
    return poller


@pytest.fixture
async def pair(poller):
    """A wire on the poller, and the raw socket at its other end."""
    ours, theirs = socket.socketpair()
    wire = SocketWire(ours, poller)
    with theirs:
        yield wire, theirs
        wire.close()


async def test_a_wire_on_a_poller_keeps_the_rules_of_streams():
    async def on_pollers(nursery: trio.Nursery, pairs) -> tuple[SocketWire, SocketWire]:
        poller = Poller()
        nursery.start_soon(poller.run)
        return SocketWire(pairs[0], poller), SocketWire(pairs[1], poller)

    async with trio.open_nursery() as nursery:

        async def maker():
            return await on_pollers(nursery, socket.socketpair())

        async def clogged():
            pairs = socket.socketpair()
            for sock in pairs:
                clog(sock)
            return await on_pollers(nursery, pairs)

        await trio.testing.check_half_closeable_stream(maker, clogged)
        nursery.cancel_scope.cancel()


async def test_what_comes_while_nobody_waits_is_there_afterwards(pair):
    wire, peer = pair
    peer.send(b"early")
    await trio.testing.wait_all_tasks_blocked(0.01)
    assert await wire.receive_some() == b"early"


async def test_an_edge_whose_waiter_was_cancelled_is_kept(pair):
    wire, peer = pair
    with trio.move_on_after(0.01) as scope:
        await wire.receive_some()
    assert scope.cancelled_caught
    peer.send(b"x")
    assert await wire.receive_some() == b"x"


async def test_a_cancellation_between_the_edge_and_the_read_loses_nothing(pair):
    wire, peer = pair
    scope = trio.CancelScope()
    got = []

    async def reader() -> None:
        with scope:
            got.append(await wire.receive_some())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(reader)
        await trio.testing.wait_all_tasks_blocked()
        peer.send(b"x")
        wire.edge(poller_module.select.EPOLLIN)  # the reader is scheduled now, and has not run
        scope.cancel()
    if not got:
        got.append(await wire.receive_some())
    assert got == [b"x"]


@pytest.mark.parametrize("size", [1, 100, RECEIVE_SIZE])
async def test_a_burst_is_read_to_its_end_although_it_gives_one_edge(pair, size):
    wire, peer = pair
    burst = bytes(range(256)) * 600
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.to_thread.run_sync, peer.sendall, burst)
        seen = b""
        with trio.fail_after(20):
            while len(seen) < len(burst):
                seen += await wire.receive_some(max(size, 1000) if size == 1 else size)
    assert seen == burst


async def test_octets_and_an_end_in_one_edge_are_both_read(pair):
    wire, peer = pair
    peer.send(b"last words")
    peer.shutdown(socket.SHUT_WR)
    await trio.testing.wait_all_tasks_blocked(0.01)
    assert await wire.receive_some(4) == b"last"
    assert await wire.receive_some() == b" words"
    assert await wire.receive_some() == b""
    assert await wire.receive_some() == b""
    assert wire.hung_up


@pytest.mark.parametrize("pair_of", [tcp_pair, socket.socketpair], ids=["tcp", "unix"])
@pytest.mark.parametrize("where", [b"", b"ab"])
async def test_urgent_data_hides_nothing_behind_it(poller, pair_of, where):
    """A read stops short at the mark, whatever lies behind it."""
    with wire_and_peer(pair_of, poller) as (wire, peer):
        for _ in range(3):
            if where:
                peer.send(where)
            peer.send(b"!", socket.MSG_OOB)
            peer.send(b"cd")
            await trio.testing.wait_all_tasks_blocked(0.01)
            seen = b""
            with trio.fail_after(10):
                while not seen.endswith(b"d"):
                    seen += await wire.receive_some()
            assert seen.replace(b"!", b"") == where + b"cd"
        assert not wire.hung_up
        peer.send(b"e")
        assert await wire.receive_some() == b"e"


async def test_descriptors_hide_nothing_behind_them(pair):
    """On a Unix socket no read goes on behind a message that brings some, and no edge tells of it."""
    wire, peer = pair
    socket.send_fds(peer, [b"first "], [peer.fileno()])
    socket.send_fds(peer, [b"second "], [peer.fileno()])
    peer.send(b"third")
    await trio.testing.wait_all_tasks_blocked(0.01)
    with trio.fail_after(10):
        assert b"".join([await wire.receive_some() for _ in range(3)]) == b"first second third"


async def test_without_a_task_the_same_is_seen(pair):
    wire, peer = pair
    socket.send_fds(peer, [b"first "], [peer.fileno()])
    peer.send(b"second")
    await trio.testing.wait_all_tasks_blocked(0.01)
    assert wire.receive_now() == b"first "
    assert wire.readable
    assert wire.receive_now() == b"second"
    assert not wire.readable


class Noting:
    """A reader and a writer of nothing, that count when they are told."""

    def __init__(self) -> None:
        self.reads = self.writes = 0

    def read_now(self) -> None:
        self.reads += 1

    def write_now(self) -> None:
        self.writes += 1


async def test_room_is_told_to_the_writer_whoever_reads(pair, nursery):
    wire, peer = pair
    wire.writer = noting = Noting()
    nursery.start_soon(wire.receive_some)
    await trio.testing.wait_all_tasks_blocked(0.01)
    clog(wire.socket)
    wire.want_room()
    await trio.testing.wait_all_tasks_blocked(0.01)
    assert noting.writes == 0
    peer.send(b"x")
    drink(peer)
    await trio.testing.wait_all_tasks_blocked(0.01)
    assert noting.writes == 1
    assert noting.reads == 0


async def test_room_is_no_news_for_the_reader(pair):
    wire, peer = pair
    wire.reader = noting = Noting()
    wire.want_room()
    await trio.testing.wait_all_tasks_blocked(0.01)
    assert noting.reads == 0
    peer.send(b"x")
    await trio.testing.wait_all_tasks_blocked(0.01)
    assert noting.reads == 1
    assert not wire.hung_up


async def test_a_vanished_peer_is_known_without_a_reader(pair):
    wire, peer = pair
    peer.shutdown(socket.SHUT_WR)
    await trio.testing.wait_all_tasks_blocked(0.01)
    assert wire.hung_up


async def test_a_close_wakes_who_waits(pair):
    wire, _ = pair
    async with trio.open_nursery() as nursery:

        async def reader() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await wire.receive_some()

        nursery.start_soon(reader)
        await trio.testing.wait_all_tasks_blocked()
        wire.close()


async def test_the_number_of_a_closed_socket_may_be_used_again(poller):
    for _ in range(3):
        ours, theirs = socket.socketpair()
        wire = SocketWire(ours, poller)
        with theirs:
            theirs.send(b"x")
            assert await wire.receive_some() == b"x"
            wire.close()
            wire.close()


async def test_an_edge_of_a_socket_just_forgotten_is_nobody_s(poller):
    ours, theirs = socket.socketpair()
    wire = SocketWire(ours, poller)
    theirs.send(b"x")
    poller._watched[ours.fileno()] = None  # as when one edge's task closes the next one's socket
    await trio.testing.wait_all_tasks_blocked(0.01)
    assert not wire.readable
    ours.close()
    theirs.close()


async def test_readers_beside_a_flood_make_progress(poller):
    flooded, flooder = socket.socketpair()
    quiet, asker = socket.socketpair()
    wire, neighbour = SocketWire(flooded, poller), SocketWire(quiet, poller)
    flooder.setblocking(False)
    served = 0

    async def flood() -> None:
        while True:
            try:
                flooder.send(b"x" * 65536)
            except BlockingIOError:
                await trio.lowlevel.checkpoint()

    async def drink() -> None:
        while True:
            await wire.receive_some()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(flood)
        nursery.start_soon(drink)
        with trio.fail_after(10):
            for _ in range(20):
                asker.send(b"?")
                assert await neighbour.receive_some() == b"?"
                served += 1
        nursery.cancel_scope.cancel()
    assert served == 20
    for end in (wire, neighbour, flooder, asker):
        end.close()


# Who raises


class Wrong:
    """Watched, and fails whenever it is called."""

    def __init__(self, wrong):
        self.wrong = wrong
        self.calls = 0

    def edge(self, events: int) -> None:
        self.calls += 1
        raise self.wrong

    def flush(self) -> None:
        self.calls += 1
        raise self.wrong


@pytest.mark.parametrize("wrong", WRONG, ids=NAMES)
async def test_who_raises_at_an_edge_is_logged_once_and_the_others_are_served(poller, pair, wrong, caplog):
    wire, peer = pair
    culprit = Wrong(wrong)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        poller.watch(ours, culprit)
        for said in (b"1", b"2", b"3"):
            theirs.send(said)
            peer.send(said)
            assert await wire.receive_some() == said
            await trio.testing.wait_all_tasks_blocked(0.01)
        assert culprit.calls >= 3
        poller.forget(ours)
        assert not poller._failed, "what is forgotten is not kept"
    assert caplog.messages == ["Wrong failed at what its socket has to say"]
    assert caplog.records[0].exc_info[1] is wrong


@pytest.mark.parametrize("wrong", WRONG, ids=NAMES)
async def test_who_raises_at_the_end_of_a_turn_is_logged_and_the_others_are_written(poller, pair, wrong, caplog):
    wire, peer = pair
    peer.setblocking(False)
    for said in (b"1", b"2"):
        poller.flush_soon(Wrong(wrong))
        wire.hold(said)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert peer.recv(10) == said
    assert {record.getMessage() for record in caplog.records} == {"Wrong failed at what its socket has to say"}


@pytest.mark.parametrize("how", ["edge", "flush"])
async def test_ctrl_c_ends_the_poller(how):
    poller = Poller()
    culprit = Wrong(KeyboardInterrupt())
    ours, theirs = socket.socketpair()
    with ours, theirs:
        poller.watch(ours, culprit)
        if how == "edge":
            theirs.send(b"x")
        else:
            poller.flush_soon(culprit)
        with pytest.raises(BaseExceptionGroup) as raised, trio.fail_after(5):
            await poller.run()
        assert [type(exc) for exc in raised.value.exceptions] == [KeyboardInterrupt]
    poller.close()


class Held:
    """Something that is written at the end of a turn."""

    def __init__(self, told: list[str]) -> None:
        self.told = told

    def flush(self) -> None:
        self.told.append("written")


async def test_the_end_of_a_turn_in_which_nothing_is_held_is_at_once(poller, autojump_clock):
    await trio.testing.wait_all_tasks_blocked()
    with trio.CancelScope() as scope:
        scope.cancel()
        await poller.end_of_turn()  # no checkpoint
    assert not scope.cancelled_caught


async def test_who_waits_for_the_end_of_a_turn_goes_on_when_all_is_written(poller, nursery, autojump_clock):
    told: list[str] = []

    async def holds() -> None:
        poller.flush_soon(Held(told))
        await poller.end_of_turn()
        told.append("on")

    await trio.testing.wait_all_tasks_blocked()
    for _ in range(3):
        nursery.start_soon(holds)
    await trio.testing.wait_all_tasks_blocked()
    assert told == ["written"] * 3 + ["on"] * 3


async def test_who_is_cancelled_meanwhile_is_not_missed(poller, nursery, autojump_clock):
    told: list[str] = []
    await trio.testing.wait_all_tasks_blocked()
    poller.flush_soon(Held(told))
    with trio.CancelScope() as scope:
        scope.cancel()
        await poller.end_of_turn()
    assert scope.cancelled_caught
    await trio.testing.wait_all_tasks_blocked()
    assert (told, poller._ending) == (["written"], [])


def test_newcomers_are_a_crowd_and_what_was_known_before_fades():
    poller = Poller()
    poller.came(10)
    assert poller.crowd == 10
    crowds = []
    for _ in range(5):
        poller.came(1)
        crowds.append(poller.crowd)
    assert crowds == [5, 2, 1, 1, 1]
    poller.close()
