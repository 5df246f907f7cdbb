"""A supervisor on a machine that is short of something: it goes on, and so do those that serve."""

from __future__ import annotations

import errno
import os
import signal
import socket
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import trio

from roadrunner_trio.processes import control, supervisor
from roadrunner_trio.processes.board import Board
from roadrunner_trio.processes.children import UNKNOWN, Child, start
from roadrunner_trio.processes.roles import Member
from roadrunner_trio.processes.slots import Table
from roadrunner_trio.processes.states import Policy, Rolled, State, Worker
from roadrunner_trio.processes.supervisor import Supervisor
from roadrunner_trio.processes.upgrade import Held
from roadrunner_trio.processes.wear import Wear
from roadrunner_trio.processes.zygote import Forked, Zygote, _fork_on_demand

NONE_LEFT = OSError(errno.EMFILE, "there are too many")


class Forge:
    """Begins processes that only note what they are sent."""

    def __init__(self) -> None:
        self.sent: list[int] = []
        self.kept: list[int] = []
        self.begun = trio.Event()
        self.go_on = trio.Event()

    async def begin(self, worker: Worker, far: socket.socket) -> Any:
        self.begun.set()
        await self.go_on.wait()

        async def wait() -> int:
            return 0

        return SimpleNamespace(pid=1, send=self.sent.append, wait=wait, close=lambda: None)

    def rolled(self, generation: int) -> None:
        self.kept.append(generation)


@pytest.fixture
def board() -> Iterator[Board]:
    made = Board.create()
    yield made
    made.close()


def supervising(board: Board, policy: Policy | None = None) -> tuple[Supervisor, Forge]:
    forge = Forge()
    teller: Any = SimpleNamespace(status=lambda text: None, failed=lambda *why: None, reloaded=lambda: None)
    teller.alive = lambda: None
    return Supervisor(Table(policy or Policy(), lambda: 0.5), board, forge, {}, teller), forge


async def test_an_upgrade_for_which_there_is_no_process_is_none(board: Board, caplog: pytest.LogCaptureFixture) -> None:
    async def upgrade(supervisor: Supervisor) -> None:
        raise FileNotFoundError(errno.ENOENT, "there is no such interpreter any more")

    made, _ = supervising(board)
    await made._run_upgrade(upgrade)
    assert [record.getMessage() for record in caplog.records] == [
        "not upgraded: [Errno 2] there is no such interpreter any more"
    ]


async def test_a_dump_for_which_there_is_no_thread_is_none(
    board: Board, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def none(*args: object, **options: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(trio.to_thread, "run_sync", none)
    await supervising(board)[0]._dump()
    assert "can't start new thread" in caplog.text


async def test_a_worker_for_which_there_is_no_socket_is_tried_again_later(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none() -> None:
        raise NONE_LEFT

    made, _ = supervising(board)
    made.table.up = True
    made.table.start(1, trio.current_time())
    [worker] = made.table.workers.values()
    made.table.actions.clear()
    monkeypatch.setattr(supervisor.control, "pair", none)
    monkeypatch.setattr(made, "act", lambda: None)
    await made._begin(worker)
    assert list(made.table.workers) == [worker.number + 1]


async def test_a_worker_that_is_told_to_go_before_it_has_come_is_told_then(board: Board) -> None:
    made, forge = supervising(board)
    made.table.up = True
    made.table.start(2, trio.current_time())
    made.table.actions.clear()
    worker = made.table.workers[2]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(made._begin, worker)
        await forge.begun.wait()
        made.table.resize(1, trio.current_time())
        assert worker.state is State.DRAINING
        forge.go_on.set()
    assert forge.sent == [signal.SIGTERM]


async def test_a_worker_that_is_told_to_go_is_not_waited_for(board: Board) -> None:
    made, forge = supervising(board)
    made.table.up = True
    made.table.start(2, trio.current_time())
    made.table.actions.clear()
    worker = made.table.workers[2]
    with trio.fail_after(5):
        async with trio.open_nursery() as made._nursery:
            made._nursery.start_soon(made._begin, worker)
            await forge.begun.wait()
            made.table.resize(1, trio.current_time())
            made.act()
    assert forge.sent == []
    assert worker.number not in made.table.workers


async def test_what_a_failed_roll_has_imported_is_let_go(board: Board) -> None:
    made, forge = supervising(board)
    made._rolled(Rolled(2, "worker 3 could not start"))
    assert forge.kept == [1]


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="where processes have descriptors")
def test_a_process_for_which_there_is_no_descriptor_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[int] = []

    def none(pid: int) -> int:
        begun.append(pid)
        raise NONE_LEFT

    monkeypatch.setattr(os, "pidfd_open", none)
    with pytest.raises(OSError, match="too many"):
        start([sys.executable, "-c", "import time; time.sleep(600)"], (), folder=None, env=os.environ)
    with pytest.raises(ProcessLookupError):
        os.kill(begun[0], 0)


async def test_where_there_are_no_descriptors_who_has_forked_it_tells_of_its_end(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    monkeypatch.delattr(os, "pidfd_open", raising=False)
    near, far = control.pair()
    with near, far:
        for word, status in (({"exited": os.getpid(), "status": 7}, 7), ({}, UNKNOWN)):
            zygote = Zygote(Child(1), near)
            found: list[float] = []

            async def wait(zygote: Zygote = zygote, found: list[float] = found) -> None:
                found.append(await Forked(os.getpid(), zygote).wait())

            async with trio.open_nursery() as nursery:
                nursery.start_soon(wait)
                await trio.sleep(1000)
                assert not found
                if word:
                    zygote._hear(word)
                else:
                    zygote.over = True
                    zygote._wake()
            assert found == [status]


def test_a_fork_that_cannot_be_had_is_told_and_the_next_one_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([BlockingIOError(errno.EAGAIN, "too many processes"), 0])

    def fork() -> int:
        answer = next(answers)
        if isinstance(answer, OSError):
            raise answer
        return answer

    monkeypatch.setattr(os, "fork", fork)
    near, line = control.pair()
    ears, mouth = os.pipe()
    with near, line:
        for number in (4, 5):
            _, far = control.pair()
            with _, far:
                socket.send_fds(near, [control.encode(fork=number)], [far.fileno()])
        found = _fork_on_demand(line, ears)
        assert found is not None
        found.close()
        [said] = control.Lines().feed(near.recv(10_000))
        assert isinstance(said, dict)
        assert said["refused"] == 4
        assert "too many processes" in said["why"]
    os.close(ears)
    os.close(mouth)


def test_one_whose_supervisor_was_killed_ends_when_its_children_have() -> None:
    near, line = control.pair()
    ears, mouth = os.pipe()
    with line:
        control.tell(line, forked=1, pid=2)  # which nobody has read: so the end is a reset
        near.close()
        assert _fork_on_demand(line, ears) is None
    os.close(ears)
    os.close(mouth)


def test_a_line_that_no_parser_can_take_is_a_line() -> None:
    deep = "[" * 500_000
    assert list(control.Lines().feed(deep.encode() + b"\n")) == [deep]


def member_of(made: Supervisor) -> tuple[Member, socket.socket]:
    """A worker that serves, and its own end of the talk."""
    made.table.up = True
    made.table.start(1, 0.0)
    made.table.actions.clear()
    [worker] = made.table.workers.values()
    made.table.ready(worker, 1.0)
    near, far = control.pair()
    member = Member(worker, near, made.board.give(), Wear())
    made.members[worker.number] = member
    return member, far


async def test_of_lines_without_end_the_last_are_kept(board: Board) -> None:
    made, _ = supervising(board)
    member, far = member_of(made)
    with far, member.near:
        for number in range(control.WORDS * 3):
            far.send(b"%d %s\n" % (number, b"x" * 5000))
            assert made._read(member)
    assert len(member.words) == control.WORDS
    assert member.words[-1].startswith(f"{control.WORDS * 3 - 1} x")
    assert {len(word) for word in member.words} == {control.LONGEST_WORD}


async def test_what_nobody_understands_is_logged_in_short(board: Board, caplog: pytest.LogCaptureFixture) -> None:
    made, _ = supervising(board)
    member, far = member_of(made)
    with far, member.near:
        far.send(control.encode(dance="x" * 10000))
        assert made._read(member)
    [record] = caplog.records
    assert "says what nobody understands: {'dance': 'xxx" in record.getMessage()
    assert len(record.getMessage()) < 1200


async def test_who_has_gone_without_reading_what_was_said_has_gone(
    board: Board, caplog: pytest.LogCaptureFixture
) -> None:
    made, _ = supervising(board)
    member, far = member_of(made)
    with member.near:
        control.tell(member.near, drain=1.0)
        far.close()
        assert not made._read(member)
    assert caplog.records == []


async def test_who_was_stopped_himself_blames_nobody_for_silence(
    board: Board, monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    made, _ = supervising(board, Policy(silence_limit=30.0))
    member, far = member_of(made)
    said: list[float] = []
    monkeypatch.setattr(Table, "heartbeat", lambda table, worker, now, age: said.append(now))
    with far, member.near:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(made._pulse)
            await trio.sleep(1.5)
            assert len(said) == 1
            autojump_clock.jump(100)  # nothing of this process runs, as behind SIGSTOP
            await trio.sleep(0.1)
            assert len(said) == 1
            await trio.sleep(1)
            assert len(said) == 2
            nursery.cancel_scope.cancel()


async def test_a_signal_that_has_come_is_heard_before_another_program_is_there() -> None:
    heard: list[int] = []

    async def hear(*, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        with trio.open_signal_receiver(signal.SIGTERM) as received:
            task_status.started()
            async for number in received:
                heard.append(number)

    async with trio.open_nursery() as nursery:
        await nursery.start(hear)
        with Held() as held:
            signal.raise_signal(signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGTERM)  # another thread may have it, or it is held back
            await held.hear_out()
            assert heard or signal.SIGTERM in signal.sigpending()
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert set(heard) == {signal.SIGTERM}
        nursery.cancel_scope.cancel()
