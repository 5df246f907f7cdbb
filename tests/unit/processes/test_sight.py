"""What a supervisor can show of its workers, and how one is asked for more."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import trio

from roadrunner_trio.processes import control
from roadrunner_trio.processes.board import Board, Cell
from roadrunner_trio.processes.roles import Member
from roadrunner_trio.processes.sight import look, staff, whole
from roadrunner_trio.processes.slots import Table
from roadrunner_trio.processes.states import Policy
from roadrunner_trio.processes.wear import Wear


@pytest.fixture
def board() -> Iterator[Board]:
    made = Board.create()
    yield made
    made.close()


def company(board: Board, count: int) -> tuple[Any, list[socket.socket]]:
    """A supervisor's table with so many workers, and their own ends of the talk."""
    table, members, ends = Table(Policy(), lambda: 0.5), {}, []
    table.start(count, 10.0)
    for worker in table.workers.values():
        near, far = control.pair()
        members[worker.number] = Member(worker, near, board.give(), Wear())
        ends.append(far)
    return SimpleNamespace(table=table, members=members), ends


def close(supervisor: Any, ends: list[socket.socket]) -> None:
    for each in (*ends, *(member.near for member in supervisor.members.values())):
        each.close()


def test_a_row_for_each_and_one_for_the_whole(board: Board) -> None:
    supervisor, ends = company(board, 2)
    table = supervisor.table
    assert whole(supervisor)["doing"] == "starting"
    for number in (2, 1):
        table.ready(table.workers[number], 11.0)
    row = supervisor.members[2].row
    row[Cell.CONNECTIONS], row[Cell.REQUESTS], row[Cell.RESIDENT] = 7, 1000, 1 << 20
    supervisor.members[1].child = SimpleNamespace(pid=4711)
    assert whole(supervisor)["doing"] == ""
    first, second = staff(supervisor)
    assert (first["id"], first["slot"], first["state"], first["pid"]) == ("1", 0, "ready", 4711)
    assert (second["connections"], second["requests"], second["resident"]) == (7, 1000, 1 << 20)
    assert (first["served"], first["since"], first["deadline"], first["silent"]) == (True, 11.0, None, 0)
    close(supervisor, ends)


def test_old_and_new_stand_side_by_side_while_all_are_renewed(board: Board) -> None:
    supervisor, ends = company(board, 2)
    table = supervisor.table
    for worker in list(table.workers.values()):
        table.ready(worker, 11.0)
    table.roll(12.0)
    near, far = control.pair()
    supervisor.members[3] = Member(table.workers[3], near, None, Wear())  # there was no row to be had
    assert whole(supervisor) | {"pid": 0} == {"pid": 0, "slots": 2, "generation": 2, "doing": "rolling"}
    rows = [(row["id"], row["slot"], row["generation"], row["state"], row["served"]) for row in staff(supervisor)]
    assert rows == [("1", 0, 1, "ready", True), ("3", 0, 2, "starting", False), ("2", 1, 1, "ready", True)]
    table.stop(13.0)
    assert whole(supervisor)["doing"] == "stopping"
    assert {row["state"] for row in staff(supervisor)} == {"draining"}
    close(supervisor, [*ends, far])


async def test_who_is_asked_gets_a_socket_and_what_it_says_there_comes_back(board: Board) -> None:
    supervisor, [far] = company(board, 1)
    assert look(supervisor, 1, {"what": "stream"}) is None  # it does not listen yet
    supervisor.table.ready(supervisor.table.workers[1], 11.0)
    assert look(supervisor, 2, {"what": "stream"}) is None
    stream = look(supervisor, 1, {"what": "stream"})
    assert stream is not None
    data, [hand] = control.receive(far)
    assert not hand.get_inheritable()
    assert list(control.Lines().feed(data)) == [{"look": {"what": "stream"}}]
    hand.sendall(b"here")
    hand.close()
    async with stream:
        with trio.fail_after(10):
            assert await stream.receive_some(10) == b"here"
            assert await stream.receive_some(10) == b""
    close(supervisor, [far])


async def test_who_does_not_listen_is_not_waited_for(board: Board) -> None:
    supervisor, [far] = company(board, 1)
    supervisor.table.ready(supervisor.table.workers[1], 11.0)
    near = supervisor.members[1].near
    while control.tell(near, text="x" * 10000):
        pass
    while control.tell(near, text=""):
        pass
    assert look(supervisor, 1, {"what": "stream"}) is None
    far.close()
    assert look(supervisor, 1, {"what": "stream"}) is None
    close(supervisor, [])
