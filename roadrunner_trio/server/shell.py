"""What a server in a shell says: where it listens, and how it ended."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import trio

from ..journal import log
from ..telemetry.log_output import spoken
from ..transport.stdio import has_room, tell, within
from ..transport.streams import Address, shown
from .leaving import TELLING, leave
from .listener import Listener

if TYPE_CHECKING:
    from .listener_info import Drained


class Banner(trio.TaskStatus[tuple[Listener, ...]]):
    """Prints where the server listens, once it does; a task status, for that is who is told.

    Attributes:
        shown: whether it listens.
    """

    def __init__(self, title: str) -> None:
        self.title = title
        self.shown = False

    def started(self, value: Sequence[Listener] = ()) -> None:
        """One line an address, on standard output, if that takes it."""
        self.shown = True
        for listener in value:
            for address in listener.addresses:
                announce(self.title, address, tls=listener.tls is not None)


def announce(title: str, address: Address, *, tls: bool, by: str = "") -> None:
    """One line: what is served where, and ``by`` whom."""
    line = f"Serving {title} on {url(address, tls=tls)}{by} (Ctrl-C drains, twice stops)"
    if has_room("stdout"):
        tell(spoken(logging.INFO, line), to="stdout")


def url(address: Address, *, tls: bool) -> str:
    """An address as a person would type it."""
    if isinstance(address, str):
        return f"unix:{address}"
    return f"{'https' if tls else 'http'}://{shown(address)}"


def report(outcomes: Sequence[Drained]) -> None:
    """A line for each drain."""
    for outcome in outcomes:
        log.info("drained: %d finished, %d cut, %d stuck", outcome.finished, outcome.cut, outcome.stuck)


def give_up(outcomes: Sequence[Drained]) -> None:
    """Ends the process although a thread or a shield in it will not end; the listener's log has said which."""
    within(TELLING, partial(report, outcomes))
    leave(1, "some connections cannot be ended: leaving with exit status 1")
