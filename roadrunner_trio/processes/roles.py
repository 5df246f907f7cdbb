"""Who has a part in it: where processes come from, who is told how all is, and what is known of one that lives."""

from __future__ import annotations

import socket
from collections import deque
from dataclasses import dataclass, field
from typing import Protocol

import trio

from . import control
from .board import Row
from .children import Child
from .states import Worker
from .wear import Wear


class Forge(Protocol):
    """Where processes come from."""

    async def begin(self, worker: Worker, far: socket.socket) -> Child:
        """Begins one, whose end of the talk is ``far``.

        Raises:
            OSError: it cannot be begun.
            StartError: what has to be there before it is not.
        """
        ...

    def rolled(self, generation: int) -> None:
        """Nobody will be begun of another generation any more, until there is a next one."""
        ...


class StartError(Exception):
    """A worker cannot even be begun; the message says why.

    Args:
        message: one line.
        report: the traceback of the application's exception, or ``""``.
    """

    def __init__(self, message: str, report: str = "") -> None:
        super().__init__(message)
        self.report = report


class Teller(Protocol):
    """Who is told how the whole is."""

    def up(self, title: str) -> None:
        """All serve, for the first time, what is called so."""
        ...

    def status(self, text: str) -> None:
        """In a few words."""
        ...

    def reloading(self) -> None:
        """A roll has begun."""
        ...

    def reloaded(self) -> None:
        """It has ended."""
        ...

    def stopping(self, seconds: float) -> None:
        """The end has begun, and may take so long."""
        ...

    def alive(self) -> None:
        """Somebody serves, and beats."""
        ...

    def failed(self, message: str, report: str) -> None:
        """A worker could not start, for this reason."""
        ...


@dataclass(eq=False)
class Member:
    """A process that lives.

    Attributes:
        near: our end of the talk.
        words: the last lines that were no messages.
        failed: why it could not start, and the traceback.
        begun: where it is waited for until there is a process.
    """

    worker: Worker
    near: socket.socket
    row: Row | None
    wear: Wear
    child: Child | None = None
    lines: control.Lines = field(default_factory=control.Lines)
    words: deque[str] = field(default_factory=lambda: deque[str](maxlen=control.WORDS))
    failed: tuple[str, str] | None = None
    begun: trio.CancelScope = field(default_factory=trio.CancelScope)
