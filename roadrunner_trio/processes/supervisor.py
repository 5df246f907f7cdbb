"""The supervisor: a nursery in which every task is a process.

    supervise()
     ├ signals      what the operator wants
     ├ times        wakes when the table has said so
     ├ pulse        once a second: who beats, who is worn
     └ one task a worker: begun, listened to, awaited

What happens is told to the :class:`~.slots.Table`, and what the table says is done, at once, before anybody else has a
turn. Nothing of the application is imported here, so nothing of it can stop or slow this loop.
"""

from __future__ import annotations

import math
import random
import signal
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import trio

from ..journal import log
from ..server.signals import terminal_has_gone
from ..server.watchdog import TWICE
from ..transport.dump import render_tasks
from ..transport.stdio import tell as say
from . import control
from .board import Board, Cell
from .children import UNKNOWN, ended, is_stopped
from .control import ASK, PULSE
from .roles import Forge, Member, StartError, Teller
from .slots import Table
from .states import Action, Drain, Examine, Finish, Rolled, Say, Signal, Spawn, State, Up, Worker
from .wear import Wear

LOOK: Final = 0.5
"""Seconds that a worker has to say where it is."""

ENDING: Final = (signal.SIGTERM, signal.SIGINT)
HEARD: Final = (*ENDING, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGTTIN, signal.SIGTTOU)


class Supervisor:
    """One supervisor, for one run.

    Args:
        table: decides.
        board: shared with the workers.
        forge: makes processes.
        assignment: what is said to a worker first, besides its numbers.
        teller: is told how the whole is.
        wear: when a worker has served for long enough.
        retire: given the numbers of a process that is gone, before they are forgotten.
        close: closes the sockets that are listened on, for this process.
        upgrade: replaces this process by a fresh one; returns when that cannot be.
    """

    def __init__(
        self,
        table: Table,
        board: Board,
        forge: Forge,
        assignment: dict[str, Any],
        teller: Teller,
        *,
        wear: Wear | None = None,
        retire: Callable[[memoryview], None] | None = None,
        close: Callable[[], None] = lambda: None,
        upgrade: Callable[[Supervisor], Awaitable[None]] | None = None,
        renewals: Sequence[Callable[[], Awaitable[object]]] = (),
    ) -> None:
        self.table = table
        self.board = board
        self.forge = forge
        self.assignment = assignment
        self.teller = teller
        self.members: dict[int, Member] = {}
        self._wear = wear or Wear()
        self._retire = retire
        self._close = close
        self._upgrade = upgrade
        self._renewals = renewals
        self._changed = trio.Event()
        self._last_signal = (0, -math.inf)
        self._upgrading = False
        self._status = 0
        self._title = ""
        self._told: set[tuple[int, str]] = set()
        self._done = trio.Event()
        self._nursery: trio.Nursery

    # -- its life --------------------------------------------------------------------------------

    async def run(self, count: int, *services: Callable[[], Awaitable[object]], adopted: Sequence[Member] = ()) -> int:
        """Supervises until all processes have ended; returns the exit status.

        Args:
            count: workers.
            services: run beside.
            adopted: processes that a predecessor has begun, and that are renewed; the table has their slots.
        """
        async with trio.open_nursery() as beside:
            async with trio.open_nursery() as self._nursery:
                await beside.start(self._hear_signals, name="signals")
                beside.start_soon(self._watch_time, name="times")
                beside.start_soon(self._pulse, name="pulse")
                for service in services:
                    beside.start_soon(service)
                for member in adopted:
                    self.members[member.worker.number] = member
                    self._nursery.start_soon(self._attend, member, name=_named(member.worker))
                if adopted:
                    self.table.adopt([member.worker for member in adopted], trio.current_time())
                    self.table.resize(count, trio.current_time())
                    self.roll("upgraded")
                else:
                    self.table.start(count, trio.current_time())
                self.act()
                await self._done.wait()
                self._nursery.cancel_scope.cancel(reason="every worker has ended")
            beside.cancel_scope.cancel(reason="every worker has ended")
        return self._status

    def numbers(self) -> dict[int, memoryview]:
        """What the workers count for whoever has them count, by the number of each."""
        rows = {member.worker.number: member.row for member in self.members.values()}
        return {number: row.numbers for number, row in rows.items() if row is not None}

    def act(self) -> None:
        """Does what the table has said, in order. To be called after everything that was told to it."""
        actions, self.table.actions = self.table.actions, []
        for action in actions:
            self._perform(action)
        serving = len(self.table.serving)
        self.teller.status(f"{serving} of {len(self.table.slots)} ready, generation {self.table.generation}")
        self._changed.set()

    def _perform(self, action: Action) -> None:
        match action:
            case Spawn(worker):
                self._nursery.start_soon(self._begin, worker, name=_named(worker))
            case Drain(worker):
                self._drain(action)
            case Signal(worker, how):
                self._signal(worker, how)
            case Examine(worker, age):
                self._nursery.start_soon(self._examine, worker, age, name=f"a look at worker {worker.number}")
            case _:
                self._tell(action)

    def _tell(self, action: Action) -> None:
        match action:
            case Say(level, text):
                log.log({"info": 20, "warning": 30, "error": 40}[level], "%s", text)
            case Up():
                self.teller.up(self._title)
            case Rolled():
                self._rolled(action)
            case Finish(status):
                self._status = status
                self._done.set()
            case _:
                raise RuntimeError(f"nobody knows what to do about {action}")

    # -- signals ---------------------------------------------------------------------------------

    async def _hear_signals(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        # What is ignored stays so, as by `nohup`; but every shell ignores SIGINT for what it starts in the background.
        heard = [each for each in HEARD if each in ENDING or signal.getsignal(each) != signal.SIG_IGN]
        with trio.open_signal_receiver(*heard) as received:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, HEARD)  # a predecessor has held them back for us
            task_status.started()
            async for number in received:
                self._heard(signal.Signals(number))

    def _heard(self, number: signal.Signals) -> None:
        if number in ENDING or (number is signal.SIGHUP and terminal_has_gone()):
            self._end(number)
        elif number is signal.SIGHUP:
            self.roll(number.name)
        elif number in (signal.SIGTTIN, signal.SIGTTOU):
            more = 1 if number is signal.SIGTTIN else -1
            self.table.resize(len(self.table.slots) + more, trio.current_time())
            self.act()
        elif number is signal.SIGUSR1:
            self._nursery.start_soon(self._dump, name="dump")
        elif self._upgrade is None:
            log.info("%s: ignored", number.name)
        elif self._upgrading or self.table.stopping or not self.table.up:
            log.warning("%s: ignored, for the server starts, stops, or is being upgraded", number.name)
        else:
            self._upgrading = True
            self._nursery.start_soon(self._run_upgrade, self._upgrade, name="upgrade")

    def _end(self, number: signal.Signals) -> None:
        last, at = self._last_signal
        now = trio.current_time()
        if (number == last or signal.SIGHUP in (number, last)) and now - at < TWICE:
            return  # a terminal, or `timeout`, that says it twice
        self._last_signal = number, now
        if self.table.waiting(now):
            log.info("%s: draining for at most %g s; again to stop at once", number.name, self.table.policy.grace)
            self.table.stop(now)
            self._close()
        elif self.table.stopping:
            log.info("%s: stopping at once", number.name)
            self.table.stop(now, 128 + number)
        else:
            policy = self.table.policy
            log.info("%s: draining for at most %g s; again to stop at once", number.name, policy.delay + policy.grace)
            self.stop()
            return
        self.act()

    def stop(self) -> None:
        """Ends all, politely."""
        policy, now = self.table.policy, trio.current_time()
        self.teller.stopping(policy.delay + policy.grace)
        self.table.stop(now)
        self._nursery.start_soon(self._shut, policy.delay, name="close")
        self.act()

    async def _shut(self, delay: float) -> None:
        """Nobody may wait in a queue that no worker will ever look at."""
        await trio.sleep(delay)
        self._close()

    def roll(self, why: str) -> None:
        """Renews all workers."""
        if self.table.stopping:
            return
        many = len(self.table.slots)
        log.info("%s: renewing %s", why, f"{many} workers, one after the other" if many > 1 else "the worker")
        self.teller.reloading()
        self._nursery.start_soon(self._roll, name="roll")

    async def _roll(self) -> None:
        for renew in self._renewals:
            try:
                await renew()
            except Exception as exc:
                log.error("what was to be renewed is not", exc_info=exc)
        self.table.roll(trio.current_time())
        self.act()

    def _rolled(self, action: Rolled) -> None:
        if action.failed:
            log.error("not renewed, for %s; those that were there serve on", action.failed)
        else:
            log.info("all workers are renewed: generation %d", action.generation)
        self.forge.rolled(self.table.generation)
        self.teller.reloaded()

    async def _run_upgrade(self, upgrade: Callable[[Supervisor], Awaitable[None]]) -> None:
        try:
            await upgrade(self)
        except OSError as exc:  # the machine is short of something
            log.error("not upgraded: %s", exc)
        except Exception as exc:  # our own program is being replaced
            log.error("not upgraded", exc_info=exc)
        finally:
            self._upgrading = False

    async def _dump(self) -> None:
        text = "supervisor: " + render_tasks()
        try:
            await trio.to_thread.run_sync(say, text, abandon_on_cancel=True)
        except RuntimeError as exc:  # there is no thread to be had
            log.error("the supervisor cannot say where it is: %s", exc)
        for member in self.members.values():
            if member.child is not None and member.worker.served_at is not None:
                member.child.send(signal.SIGUSR1)

    # -- time ------------------------------------------------------------------------------------

    async def _watch_time(self) -> None:
        while True:
            self._changed = trio.Event()
            with trio.move_on_at(self.table.due):
                await self._changed.wait()
                continue
            self.table.tick(trio.current_time())
            self.act()

    async def _pulse(self) -> None:
        while True:
            before = trio.current_time()
            await trio.sleep(PULSE)
            now, alive = trio.current_time(), False
            if now - before > 2 * PULSE:
                continue  # this process was stopped, and so may they have been: they have one more second to beat
            for member in list(self.members.values()):
                if (row := member.row) is None or not member.worker.serves:
                    continue
                self.table.heartbeat(member.worker, now, row.age)
                alive = alive or row.age < 10 * PULSE
                age = now - (member.worker.served_at or now)
                if why := member.wear.why(row[Cell.REQUESTS], age, row[Cell.RESIDENT]):
                    self.table.recycle(member.worker, now, why)
            self.act()
            if alive:
                self.teller.alive()

    async def settled(self) -> None:
        """Waits until nobody starts, and nobody is to be renewed."""
        while not self.table.calm:
            await self._changed.wait()

    async def changed(self) -> None:
        """Waits until something has happened, or a second has passed in which nothing did."""
        await self._changed.wait()

    # -- one worker ------------------------------------------------------------------------------

    async def _begin(self, worker: Worker) -> None:
        try:
            near, far = control.pair()
        except OSError as exc:
            self.table.exited(worker, trio.current_time(), 1, f"could not start: {exc}")
            self.act()
            return
        member = Member(worker, near, self.board.give(), self._wear.drawn(random.random))
        self.members[worker.number] = member
        try:
            with far:
                control.tell(near, **self.assignment, **self._numbers(member))
                with member.begun:
                    member.child = await self.forge.begin(worker, far)
            if member.child is None:  # it was told to go before it had come
                self._gone(member, 1)
                return
            if worker.number not in self.table.workers or worker.killed:
                member.child.send(signal.SIGKILL)
            elif worker.state is not State.STARTING:
                member.child.send(signal.SIGTERM)  # as it came
        except (OSError, StartError) as exc:
            member.failed = str(exc), exc.report if isinstance(exc, StartError) else ""
            self._gone(member, 1)
            return
        await self._attend(member)

    def _numbers(self, member: Member) -> dict[str, Any]:
        board, row = self.board, member.row
        worker = member.worker
        return {
            "number": worker.number,
            "slot": worker.slot,
            "generation": worker.generation,
            "board": None if row is None else [board.descriptor, board.rows, board.width, row.number],
        }

    async def _attend(self, member: Member) -> None:
        """From its beginning to its end."""
        child = member.child
        if child is None:
            raise RuntimeError("there is no process to attend to")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._listen, member, name=f"{_named(member.worker)}: talk")
            status = await child.wait()
            nursery.cancel_scope.cancel(reason="the worker has ended")
        self._read(member)
        self._gone(member, status)

    async def _listen(self, member: Member) -> None:
        while True:
            await trio.lowlevel.wait_readable(member.near)
            if not self._read(member):
                return

    def _read(self, member: Member) -> bool:
        """Takes what has come; False when there will be nothing more."""
        try:
            data = member.near.recv(control.RECEIVE)
            for item in member.lines.feed(data):
                self._told_by(member, item)
        except BlockingIOError:
            return True
        except ConnectionResetError:  # it has gone, and has not read what was said last
            return False
        except (OSError, ValueError) as exc:
            log.error("worker %d: %s", member.worker.number, exc)
            return False
        return bool(data)

    def _told_by(self, member: Member, item: dict[str, Any] | str) -> None:
        now = trio.current_time()
        match item:
            case str():
                member.words.append(item[: control.LONGEST_WORD])
                return
            case {"ready": str(title)}:
                self._title = title
                self.table.ready(member.worker, now)
            case {"leaving": _}:
                self.table.leaving(member.worker, now)
            case {"failed": str(message), "report": str(report)}:
                member.failed = message, report
            case _:
                log.error("worker %d says what nobody understands: %.1000r", member.worker.number, item)
        self.act()

    def _gone(self, member: Member, status: int) -> None:
        worker = member.worker
        del self.members[worker.number]
        member.near.close()
        if member.child is not None:
            member.child.close()
        if member.row is not None:
            if self._retire is not None:
                with member.row.numbers as numbers:
                    self._retire(numbers)
            self.board.take_back(member.row)
        why = ended(status)
        if member.failed is not None:
            key = (worker.generation, member.failed[0])
            if key not in self._told:
                self.teller.failed(*member.failed)
            why = f"could not start: {member.failed[0]}" if self.table.up else ""
            self._told.add(key)
        elif worker.served_at is None:
            why += " before it served"
        if status == UNKNOWN:  # somebody else's child; so it is as good as it was asked to be
            status = 0 if worker.state is State.DRAINING else 1
        self.table.exited(worker, trio.current_time(), status or int(member.failed is not None), why)
        self.act()

    # -- what is done to it ----------------------------------------------------------------------

    def _drain(self, action: Drain) -> None:
        member = self.members.get(action.worker.number)
        if member is None:
            return
        if member.child is None:
            member.begun.cancel(reason="the worker is not wanted any more")
        elif action.worker.served_at is None:
            member.child.send(signal.SIGTERM)  # it does not listen to us yet
        else:
            control.tell(member.near, drain=action.grace, delay=action.delay, last=action.last)

    def _signal(self, worker: Worker, how: str) -> None:
        member = self.members.get(worker.number)
        if member is not None and member.child is None:
            member.begun.cancel(reason="the worker is not wanted any more")
        elif member is not None and member.child is not None:
            kinds = {"again": signal.SIGTERM, "abort": signal.SIGABRT, "kill": signal.SIGKILL}
            member.child.send(kinds[how])

    async def _examine(self, worker: Worker, age: float) -> None:
        """Says where a worker is whose loop does not turn."""
        member = self.members.get(worker.number)
        if member is None or member.child is None:
            return
        where = "it is stopped" if is_stopped(member.child.pid) else "it does not say where"
        if ASK is not None:
            member.words.clear()
            member.child.send(ASK)
            await trio.sleep(LOOK)
            where = "; ".join(line.strip() for line in member.words if line.strip()) or where
        text = "worker %d (process %d) has been silent for %.0f s: %s"
        log.warning(text, worker.number, member.child.pid, age + LOOK, where)


def _named(worker: Worker) -> str:
    return f"worker {worker.number} in slot {worker.slot}"
