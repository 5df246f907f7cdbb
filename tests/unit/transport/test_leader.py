"""The task that keeps the poller's watch while its peer is alone: it costs less, and nobody else is to notice."""

from __future__ import annotations

import select
import socket
import weakref
from contextlib import contextmanager

import pytest
import trio
import trio.testing

from roadrunner_trio.transport import poller as poller_module
from roadrunner_trio.transport.poller import AVAILABLE, STREAK, STREAK_MOST, TRUST, Poller
from roadrunner_trio.transport.wire import SocketWire

pytestmark = pytest.mark.skipif(not AVAILABLE, reason="this system has no epoll; wires wait by Trio's own means")

PATIENCE = 10


@contextmanager
def served_pair(poller):
    """A wire on the poller, and the raw socket at its other end."""
    ours, theirs = socket.socketpair()
    wire = SocketWire(ours, poller)
    with theirs:
        yield wire, theirs
        wire.close()


@pytest.fixture
async def poller(nursery):
    poller = Poller()
    nursery.start_soon(poller.run)
    return poller


@pytest.fixture
async def pair(poller):
    with served_pair(poller) as found:
        yield found


@pytest.fixture
async def neighbour(poller):
    with served_pair(poller) as found:
        yield found


def is_watching(poller: Poller) -> bool:
    """Whether the poller's instrument is among Trio's."""
    relief = poller._relief
    if relief is None:
        return False
    trio.lowlevel.remove_instrument(relief)  # else KeyError
    trio.lowlevel.add_instrument(relief)
    return True


async def ask(wire, peer, times: int) -> None:
    """Its peer says something, and waits, so often that the task that runs this leads."""
    with trio.fail_after(PATIENCE):
        for number in range(times):
            said = b"%d" % number
            send_soon(peer, said)
            assert await wire.receive_some() == said


def send_soon(peer, said: bytes) -> None:
    """Once whoever runs now waits."""
    trio.lowlevel.spawn_system_task(send, peer, said)


async def send(peer, said: bytes) -> None:
    await trio.testing.wait_all_tasks_blocked()
    peer.send(said)


async def lead(poller, pair) -> None:
    await ask(*pair, STREAK + 2)
    assert poller.leader is trio.lowlevel.current_task()


@pytest.fixture
async def asks(nursery):
    """Starts a task that leads, and then does what it is told."""

    async def begin(poller, pair, then, *, task_status) -> None:
        await lead(poller, pair)
        task_status.started()
        await then()

    async def start(poller, pair, then) -> None:
        await nursery.start(begin, poller, pair, then)
        await trio.testing.wait_all_tasks_blocked()

    return start


async def echo(pair) -> None:
    wire, peer = pair
    peer.send(b"?")
    with trio.fail_after(PATIENCE):
        assert await wire.receive_some() == b"?"


async def test_a_task_that_is_woken_alone_again_and_again_leads_and_hears_all(poller, pair):
    wire, peer = pair
    await ask(wire, peer, STREAK - 1)
    assert poller.leader is None
    await ask(wire, peer, 3)
    assert poller.leader is trio.lowlevel.current_task()
    await ask(wire, peer, 10 * TRUST)
    assert poller.leader is trio.lowlevel.current_task()
    assert wire.readable is False


async def test_a_turn_of_a_leader_is_one_turn_of_the_loop(poller, pair):
    class Turns(trio.abc.Instrument):
        count = 0

        def before_io_wait(self, timeout: float) -> None:
            Turns.count += 1

    async def turns() -> int:
        before = Turns.count
        await ask(*pair, STREAK)
        return Turns.count - before

    trio.lowlevel.add_instrument(Turns())
    followed = await turns()
    await lead(poller, pair)
    assert await turns() <= followed - STREAK // 2


async def test_another_that_has_something_to_say_is_heard_and_ends_the_lead(poller, pair, neighbour):
    await lead(poller, pair)
    neighbour[1].send(b"?")
    await ask(*pair, 1)
    assert poller.leader is None
    assert not is_watching(poller)
    assert await neighbour[0].receive_some() == b"?"
    await ask(*pair, 1)
    await echo(neighbour)


async def test_a_leader_that_waits_for_its_own_peer_hears_for_others(poller, pair, neighbour, asks):
    heard = []

    async def wait() -> None:
        heard.append(await pair[0].receive_some())

    await asks(poller, pair, wait)
    assert poller.leading is pair[0]
    await echo(neighbour)
    pair[1].send(b"x")
    await trio.testing.wait_all_tasks_blocked(0.01)
    assert heard == [b"x"]


async def test_a_leader_whose_peer_never_stops_keeps_others_waiting_for_some_turns_only(poller, pair, neighbour, asks):
    turns, scope = 0, trio.CancelScope()

    async def listen() -> None:
        nonlocal turns
        with scope:
            while True:
                await pair[0].receive_some()
                turns += 1
                pair[1].send(b"more")  # there again before anybody has looked for others

    await asks(poller, pair, listen)
    pair[1].send(b"first")
    neighbour[1].send(b"?")
    began = turns
    with trio.fail_after(PATIENCE):
        assert await neighbour[0].receive_some() == b"?"
    assert turns - began <= 2 * TRUST
    scope.cancel()


@pytest.mark.parametrize("how", ["sleeps", "ends"])
async def test_a_leader_that_does_anything_else_has_given_up_the_watch(poller, pair, neighbour, asks, how):
    async def elsewhere() -> None:
        if how == "sleeps":
            await trio.sleep_forever()

    await asks(poller, pair, elsewhere)
    await echo(neighbour)
    assert poller.leader is None
    assert not is_watching(poller)


async def test_a_leader_that_is_cancelled_loses_nothing_and_gives_up_the_watch(poller, pair, neighbour, asks):
    scope, heard = trio.CancelScope(), []

    async def wait() -> None:
        with scope:
            await pair[0].receive_some()
        await trio.lowlevel.checkpoint()
        heard.append(await pair[0].receive_some())

    await asks(poller, pair, wait)
    scope.cancel()
    await trio.testing.wait_all_tasks_blocked(0.01)
    assert poller.leader is None
    pair[1].send(b"x")
    await echo(neighbour)
    await trio.testing.wait_all_tasks_blocked(0.01)
    assert heard == [b"x"]


async def test_a_leader_whose_wire_is_closed_is_told(poller, pair, neighbour, asks):
    told = []

    async def wait() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await pair[0].receive_some()
        told.append("closed")

    await asks(poller, pair, wait)
    pair[0].close()
    await trio.testing.wait_all_tasks_blocked(0.01)
    assert told == ["closed"]
    await echo(neighbour)


async def test_the_close_of_another_wire_does_not_disturb_the_leader(poller, pair, neighbour, asks):
    heard = []

    async def wait() -> None:
        heard.append(await pair[0].receive_some())

    await asks(poller, pair, wait)
    neighbour[0].close()
    await trio.testing.wait_all_tasks_blocked(0.01)
    pair[1].send(b"x")
    await trio.testing.wait_all_tasks_blocked(0.01)
    assert heard == [b"x"]


async def test_a_leader_reads_the_end_behind_the_data(poller, pair):
    wire, peer = pair
    await lead(poller, pair)

    async def last_words() -> None:
        await trio.testing.wait_all_tasks_blocked()
        peer.send(b"last")
        peer.shutdown(socket.SHUT_WR)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(last_words)
        with trio.fail_after(PATIENCE):
            assert await wire.receive_some() == b"last"
            assert await wire.receive_some() == b""


async def test_a_leader_that_is_busy_learns_from_the_poller_that_its_peer_has_gone(poller, pair, asks):
    class Attendant:
        told = 0

        def hang_up(self, events: int) -> None:
            self.told |= events

    attendant = pair[0].attendant = Attendant()
    await asks(poller, pair, trio.sleep_forever)
    pair[1].close()
    await trio.testing.wait_all_tasks_blocked(0.01)
    assert attendant.told & select.EPOLLHUP


async def test_a_lead_that_does_not_last_is_granted_later_the_next_time(poller, pair, monkeypatch):
    monkeypatch.setattr(poller_module, "STREAK_MOST", 4 * STREAK)
    assert STREAK_MOST > 4 * STREAK
    due = STREAK
    for _ in range(4):
        await ask(*pair, due + 2)
        assert poller.leader is trio.lowlevel.current_task()
        await trio.lowlevel.checkpoint()
        await trio.testing.wait_all_tasks_blocked()
        assert poller.leader is None
        due = min(2 * due, 4 * STREAK)
        assert poller._due == due
    await ask(*pair, 2 * due + 2)  # this one lasts
    await trio.lowlevel.checkpoint()
    assert poller._due == STREAK


async def test_the_end_of_the_poller_ends_the_lead(nursery, asks):
    poller, scope = Poller(), trio.CancelScope()

    async def run() -> None:
        with scope:
            await poller.run()

    async def wait() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await pair[0].receive_some()

    nursery.start_soon(run)
    with served_pair(poller) as pair:
        await asks(poller, pair, wait)
        assert is_watching(poller)
        scope.cancel()
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert poller.leader is None
        assert not is_watching(poller)
    await trio.testing.wait_all_tasks_blocked(0.01)
    poller.close()


async def test_a_poller_that_was_led_is_gone_when_nobody_has_it_any_more():
    async with trio.open_nursery() as nursery:
        poller = Poller()
        nursery.start_soon(poller.run)
        with served_pair(poller) as pair:
            await lead(poller, pair)
        nursery.cancel_scope.cancel()
    gone = weakref.ref(poller)
    del poller, pair
    assert gone() is None
