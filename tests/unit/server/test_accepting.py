"""The accept loop: alone it takes what there is; in company one at a time, more only while there are many."""

from __future__ import annotations

import errno
import socket
from contextlib import ExitStack

import pytest
import trio
from story_tools import hello
from trio.testing import wait_all_tasks_blocked

import roadrunner_trio as rr
from roadrunner_trio.server.accepting import BACK_OFF, TOGETHER, AcceptLoop, Host


class Scene:
    """A door, who comes, and who is let in."""

    def __init__(self, stack: ExitStack) -> None:
        self.stack = stack
        self.door = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=128))
        self.door.setblocking(False)
        self.let_in = 0
        self.steps: list[int] = []
        self.failed: list[OSError] = []
        self.loop = AcceptLoop(self.door, Host(self.admit, self.steps.append, self.failed.append, self.count))

    def come(self, count: int) -> None:
        """So many connect."""
        for _ in range(count):
            self.stack.enter_context(socket.create_connection(self.door.getsockname()))

    def admit(self, sock: socket.socket, peer: object) -> None:
        self.let_in += 1
        self.stack.enter_context(sock)

    def count(self) -> tuple[int, int]:
        return self.let_in, self.let_in


class Others:
    """Neighbours that want so many to be left for them."""

    def __init__(self, most: float = float("inf"), wait: float = 0.25) -> None:
        self.most = most
        self.wait = wait
        self.asked: list[tuple[int, int]] = []
        self.noted: list[int] = []

    def patience(self, present: int, accepted: int) -> float:
        self.asked.append((present, accepted))
        return self.wait if present >= self.most else 0.0

    def note(self, present: int) -> None:
        self.noted.append(present)

    def insistence(self) -> int:
        return 1


@pytest.fixture
def scene():
    with ExitStack() as stack:
        yield Scene(stack)


async def test_alone_it_takes_all_that_wait(scene, nursery, autojump_clock):
    scene.come(20)
    nursery.start_soon(scene.loop.run, None)
    await wait_all_tasks_blocked()
    assert scene.steps == [20]


async def test_in_company_it_takes_one_and_twice_as_many_while_some_are_left(scene, nursery, autojump_clock):
    scene.come(2 * TOGETHER + 15 + 3)
    nursery.start_soon(scene.loop.run, Others())
    await wait_all_tasks_blocked()
    assert scene.steps == [1, 2, 4, 8, TOGETHER, TOGETHER, 3]
    scene.come(2)
    await wait_all_tasks_blocked()
    assert scene.steps[7:] == [1, 1]  # its last batch had left nobody


async def test_it_looks_away_when_it_is_others_turn_and_takes_one_if_nobody_came(scene, nursery, autojump_clock):
    others = Others(most=2)
    scene.come(5)
    nursery.start_soon(scene.loop.run, others)
    await wait_all_tasks_blocked()
    assert scene.let_in == 2
    await trio.sleep(0.3)
    assert scene.let_in == 3
    await trio.sleep(0.25)
    assert scene.let_in == 4
    assert others.asked[0] == (0, 0)


@pytest.mark.parametrize("company", [None, Others()], ids=["alone", "in company"])
async def test_a_shortage_is_told_and_waited_out(scene, nursery, autojump_clock, monkeypatch, company):
    def short() -> None:
        raise OSError(errno.EMFILE, "too many")

    accept, short_of = scene.loop._accept, [True]
    monkeypatch.setattr(type(accept), "__call__", lambda self: short() if short_of else None)
    scene.come(1)
    nursery.start_soon(scene.loop.run, company)
    await trio.sleep(BACK_OFF * 1.5)
    assert [each.errno for each in scene.failed] == [errno.EMFILE] * 2
    assert scene.steps == []


async def test_one_that_has_vanished_takes_nobody_s_place(scene, monkeypatch, autojump_clock):
    found = [OSError(errno.ECONNABORTED, "gone"), (socket.socket(), ("127.0.0.1", 1))]

    def accept(self: object) -> object:
        one = found.pop(0) if found else None
        if isinstance(one, OSError):
            raise one
        return one

    monkeypatch.setattr(type(scene.loop._accept), "__call__", accept)
    assert scene.loop.take(5)
    assert (scene.let_in, scene.failed, scene.steps) == (1, [], [1])


async def test_a_door_that_is_closed_is_no_shortage(scene, monkeypatch):
    scene.door.close()
    assert not scene.loop.take(1)
    assert scene.failed == []


async def test_neighbours_are_told_of_each_that_goes(nursery, autojump_clock):
    listener = rr.Listener(hello, bind="127.0.0.1:0")
    listener.neighbours = others = Others()
    await nursery.start(listener.serve)
    peers = [await trio.open_tcp_stream("127.0.0.1", listener.port) for _ in range(3)]
    await wait_all_tasks_blocked()
    assert (others.asked[-1], others.noted) == ((3, 3), [])
    for left, peer in zip((2, 1, 0), peers, strict=True):
        await peer.aclose()
        await wait_all_tasks_blocked()
        assert others.noted[-1] == left
    assert others.noted == [2, 1, 0]
