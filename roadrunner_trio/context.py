"""What every connection of a listener shares."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from .clock import Clock
from .drain import Drain
from .exchange import App
from .observe import Observers
from .poller import Poller
from .settings import Limits, Timeouts

_ID_OCTETS = 8
_BATCH = 64


@dataclass(slots=True)
class Counters:
    """Cumulative since the listener was made.

    Attributes:
        accepted: connections that got a slot.
        rejected: connections turned away at the cap.
        requests: heads that were accepted (behaviour 1.8).
        acknowledged: drains acknowledged by handlers.
        cut: connections that a drain's deadline ended.
    """

    accepted: int = 0
    rejected: int = 0
    requests: int = 0
    acknowledged: int = 0
    cut: int = 0


@dataclass(slots=True)
class ServerContext:
    """The app and the rules, made once a listener.

    Attributes:
        drain: joined by connections as they come; replaced when the listener only notifies.
    """

    app: App
    name: str = "main"
    timeouts: Timeouts = field(default_factory=Timeouts)
    limits: Limits = field(default_factory=Limits)
    observers: Observers = field(default_factory=Observers)
    drain: Drain = field(default_factory=Drain)
    clock: Clock = field(default_factory=Clock)
    poller: Poller | None = None
    counters: Counters = field(default_factory=Counters)
    _ids: list[str] = field(default_factory=list[str])

    def next_request_id(self) -> str:
        """16 hexadecimal digits from the system's generator, drawn 64 at a time."""
        if not self._ids:
            batch = os.urandom(_ID_OCTETS * _BATCH).hex()
            self._ids = [batch[at : at + 2 * _ID_OCTETS] for at in range(0, len(batch), 2 * _ID_OCTETS)]
        return self._ids.pop()
