"""The worker's side: what it is told when it begins, and what it says while it lives.

It is a server like any other. It is given sockets instead of addresses, its drain comes as a message, and when nobody
is at the other end of the line any more it drains by itself: there is no orphan that goes on for ever.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import trio

from ..errors import StartupError
from ..journal import log
from ..server.listener import Listener
from ..server.watchdog import Stage, Watchdog
from ..telemetry.observe import ListenerDraining, ListenerRetiring, Observer
from . import control
from .board import Board, Cell, Company, Row
from .control import ASK, PULSE

PAGE: Final = os.sysconf("SC_PAGE_SIZE")
PATIENCE: Final = 30.0
"""Seconds to be told what to do; whoever starts a worker says it at once."""
STDERR: Final = 2
LOOKS: Final = 64
"""Looks at this process at once."""
Show = Callable[[socket.socket, dict[str, Any]], Awaitable[None]]
"""Shows this process on a socket, which it closes, as it is asked to, until nobody reads there any more."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """What a worker is told.

    Attributes:
        number: of the process; no two have the same.
        slot: of the place that it has; from 0.
        generation: of the roll it came with.
        sockets: descriptors to listen on, by the name of the listener.
        row: where it counts.
        rest: what else was said, by and to others.
    """

    number: int
    slot: int
    generation: int
    sockets: dict[str, list[int]]
    row: Row | None
    rest: dict[str, Any]


def assignment_of(line: socket.socket) -> Assignment:
    """Reads what is said first.

    Raises:
        StartupError: nothing is, or not what was expected: this is no worker of a supervisor.
    """
    lines, line_timeout = control.Lines(), line.gettimeout()
    line.settimeout(PATIENCE)
    try:
        while True:
            if not (data := line.recv(control.RECEIVE)):
                raise StartupError("the supervisor has gone before it has said what to do")
            for message in lines.feed(data):
                if isinstance(message, dict):
                    return _read(message)
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise StartupError(f"the supervisor does not say what to do: {exc}") from None
    finally:
        line.settimeout(line_timeout)


def _read(message: dict[str, Any]) -> Assignment:
    known = {name: message.pop(name) for name in ("number", "slot", "generation", "sockets", "board")}
    row = None
    if (board := known.pop("board")) is not None:
        descriptor, rows, width, at = board
        row = Board(descriptor, rows, width).row(at)
        row[Cell.PID] = os.getpid()
    return Assignment(**known, row=row, rest=message)


def fail(line: socket.socket, message: str, report: str = "") -> bool:
    """Tells the supervisor why there is no worker, in not more words than there is room for; whether it was told."""
    words = control.RECEIVE // 4
    while len(control.encode(failed=message[:words], report=report[-words:])) > control.RECEIVE:
        words //= 2  # a character takes up to twelve octets
    return control.tell(line, failed=message[:words], report=report[-words:])


def sockets_of(assignment: Assignment, name: str) -> list[socket.socket]:
    """The sockets of one listener, as objects that own their descriptors."""
    found = [socket.socket(fileno=descriptor) for descriptor in assignment.sockets.get(name, ())]
    for sock in found:
        sock.set_inheritable(False)
    return found


class Link(Observer):
    """The talk with the supervisor.

    Args:
        watchdog: of this process: a drain is the signal that it would be without a supervisor.
        publish: writes the owner's numbers into the board, once a second.
        show: whoever looks at the supervisor's window is shown this process by it.
    """

    def __init__(
        self,
        watchdog: Watchdog,
        publish: Callable[[memoryview], None] | None = None,
        show: Callable[[Sequence[Listener]], Show] | None = None,
    ) -> None:
        self._watchdog = watchdog
        self._publish = publish
        self._show = show
        self._line: socket.socket
        self._row: Row | None = None
        self._company: Company | None = None
        self._listeners: Sequence[Listener] = ()
        self._left = False
        self._seen: Show | None = None

    def begin(self, line: socket.socket, assignment: Assignment) -> None:
        """As the process that it is from now on: it may have been forked from another."""
        self._line, self._row = line, assignment.row
        self._company = None if self._row is None else Company(self._row)
        line.setblocking(False)
        if ASK is not None:
            faulthandler.register(ASK, file=line, all_threads=False)
        faulthandler.enable(STDERR)  # `sys.stderr` may be whatever the application likes

    # -- what it says ----------------------------------------------------------------------------

    def ready(self, listeners: Sequence[Listener], title: str) -> None:
        """All of them listen."""
        self._listeners = listeners
        self._beat()
        if self._company is not None:
            self._company.open()
        control.tell(self._line, ready=title)

    def failed(self, message: str, report: str = "") -> None:
        """It cannot start."""
        fail(self._line, message, report)

    def listener_retire(self, event: ListenerRetiring) -> None:
        """The end has begun, whoever wants it."""
        self._leave()

    def listener_drain(self, event: ListenerDraining) -> None:
        """The same, without a delay."""
        self._leave()
        if self._company is not None:
            self._company.close()

    def _leave(self) -> None:
        if not self._left:
            self._left = True
            control.tell(self._line, leaving=True)

    # -- what it hears and counts ----------------------------------------------------------------

    def join(self, listeners: Sequence[Listener]) -> None:
        """Has listeners share the door with the other workers."""
        if self._company is not None:
            for listener in listeners:
                listener.neighbours = self._company.seat()

    async def listen(self) -> None:
        """Does what the supervisor says, until it has gone."""
        lines = control.Lines()
        async with trio.open_nursery() as looks:
            while True:
                await trio.lowlevel.wait_readable(self._line)
                if not self._read(lines, looks):
                    break
            looks.cancel_scope.cancel(reason="the supervisor has gone")
        log.warning("the supervisor has gone: this worker finishes what it has begun")
        self._end()

    def _read(self, lines: control.Lines, looks: trio.Nursery) -> bool:
        """Takes what has come, and does it; False when there will be nothing more."""
        hands: list[socket.socket] = []
        try:
            data, hands = control.receive(self._line)
            for message in lines.feed(data):
                if isinstance(message, dict):
                    self._hear(message, hands, looks)
        except BlockingIOError:
            return True
        except (OSError, ValueError):
            return False
        finally:
            for hand in hands:  # nobody has said what it is for
                hand.close()
        return bool(data)

    def _hear(self, message: dict[str, Any], hands: list[socket.socket], looks: trio.Nursery) -> None:
        """What it does not know a later supervisor has said, who has a use for it elsewhere."""
        match message:
            case {"drain": int() | float() as grace}:
                delay, last = message.get("delay", 0.0), message.get("last", False)
                self._drain(grace, delay if isinstance(delay, int | float) else 0.0, last=bool(last))
            case {"look": dict()} if hands and len(looks.child_tasks) < LOOKS:
                looks.start_soon(self._look, hands.pop(0), message["look"], name="a look at this worker")
            case _:
                log.debug("the supervisor says what this worker does not know: %.200r", message)

    async def _look(self, hand: socket.socket, question: dict[str, Any]) -> None:
        """Shows what is asked for. Whatever comes of it, nobody else is to notice."""
        with hand:
            try:
                if self._show is not None:
                    self._seen = self._seen or self._show(self._listeners)
                    await self._seen(hand, question)
            except Exception as exc:
                log.error("this worker cannot show itself", exc_info=exc)

    def _drain(self, grace: float, delay: float, *, last: bool) -> None:
        if last:  # nobody else will serve those who wait in the queue
            for listener in self._listeners:
                listener.neighbours = None
        if self._watchdog.stage is Stage.SERVING:
            self._watchdog.grace, self._watchdog.delay = grace, delay
        self._end()

    def _end(self) -> None:
        """Once: a second signal would stop at once what finishes, as it does since a Ctrl-C, which all hear."""
        if self._watchdog.stage is Stage.SERVING:
            signal.raise_signal(signal.SIGTERM)

    async def beat(self) -> None:
        """Once a second, from before it listens until the end."""
        while True:
            self._beat()
            await trio.sleep(PULSE)

    def _beat(self) -> None:
        if (row := self._row) is None:
            return
        infos = [listener.info() for listener in self._listeners]
        row[Cell.CONNECTIONS] = sum(info.active for info in infos)
        row[Cell.REQUESTS] = sum(info.requests for info in infos)
        row[Cell.RESIDENT] = resident()
        if self._publish is not None:
            with row.numbers as numbers:
                self._publish(numbers)
        row.beat()

    def close(self) -> None:
        """The last numbers; nothing is said any more."""
        self._beat()
        if ASK is not None:
            faulthandler.unregister(ASK)
        self._line.close()


def resident() -> int:
    """Octets of memory that this process has; 0 where that cannot be read."""
    with suppress(OSError, ValueError, IndexError), open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * PAGE
    return 0
