"""The notice board of the demo: whoever listens to ``/events``, and what they are told.

A beat a second says what the server sees, a note is what a visitor wrote, progress is how far an upload has been read.
"""

from __future__ import annotations

import json
import math
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Final

import trio

from .. import Broadcast, ConnectionInfo, Listener, ServerSentEvent, Subscription
from ..transport.streams import shown

BEAT: Final = 1.0
"""Seconds from one beat to the next."""
SHOWN: Final = 12
"""Connections a beat describes; a busy server has more than a page can show."""


class Board:
    """What is told to every reader, and kept for those who come again.

    Attributes:
        listener: whose connections are shown, or None before the first beat.
    """

    def __init__(self) -> None:
        self.listener: Listener | None = None
        self._readers = self._active = 0
        self._news = Broadcast()

    def subscribe(self, last_event_id: str | None = None) -> Subscription:
        """What is told from now on, and before that what was told after an id."""
        return self._news.subscribe(last_event_id)

    @contextmanager
    def reader(self) -> Generator[None, None, None]:
        """Somebody reads, for as long as the block lasts."""
        self._readers += 1
        try:
            yield
        finally:
            self._readers -= 1

    def only_readers(self) -> bool:
        """Whether, at the last beat, whoever was connected did nothing but read: of a drain all has been seen."""
        return self._active <= self._readers

    def publish(self, name: str, value: Any) -> ServerSentEvent:
        """Tells every reader, without waiting for any."""
        return self._news.publish(json.dumps(value, separators=(",", ":")), event=name)

    def connections(self) -> list[ConnectionInfo]:
        """The connections of the listener that is shown, oldest first."""
        return [] if self.listener is None else self.listener.connections()

    async def beat(self, listener: Listener) -> None:
        """Tells every reader, once a second and for ever, what ``listener`` sees."""
        self.listener = listener
        while True:
            seen = seen_by(listener)
            self._active = seen["active"]
            self.publish("beat", seen)
            await trio.sleep(BEAT)


def seen_by(listener: Listener) -> dict[str, Any]:
    """Status, numbers and connections of a listener, as JSON takes them."""
    info = listener.info()
    return {
        "status": listener.status,
        "active": info.active,
        "accepted": info.accepted,
        "requests": info.requests,
        "connections": [_described(each) for each in listener.connections()[-SHOWN:]],
    }


def _described(connection: ConnectionInfo) -> dict[str, Any]:
    bounded = connection.deadline != math.inf
    return {
        "peer": shown(connection.peer),
        "phase": connection.phase,
        "age": round(connection.age, 2),
        "left": round(connection.deadline, 2) if bounded else None,
        "requests": connection.requests,
        "doing": connection.doing,
    }
