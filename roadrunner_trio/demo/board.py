"""The notice board of the demo: whoever listens to ``/events``, and what they are told.

A beat a second says what the server sees, a note is what a visitor wrote, progress is how far an upload has been read.
"""

from __future__ import annotations

import json
import math
from typing import Any, Final, NamedTuple

import trio

from .. import ConnectionInfo, Listener
from ..streams import shown

BEAT: Final = 1.0
"""Seconds from one beat to the next."""
SHOWN: Final = 12
"""Connections a beat describes; a busy server has more than a page can show."""


class Notice(NamedTuple):
    """What a reader is told: the name of a server-sent event, and its data, one line of JSON."""

    name: str
    data: str


class Board:
    """A fan-out: one message in, one to each reader.

    Attributes:
        listener: whose connections are shown, or None before the first beat.
    """

    def __init__(self) -> None:
        self.listener: Listener | None = None
        self._readers: set[trio.MemorySendChannel[Notice]] = set()

    def join(self) -> trio.MemoryReceiveChannel[Notice]:
        """A new reader's own channel; closing it is how to leave."""
        sender, messages = trio.open_memory_channel[Notice](16)
        self._readers.add(sender)
        return messages

    def publish(self, name: str, value: Any) -> int:
        """Gives every reader a notice, without waiting for any; returns how many took it."""
        notice = Notice(name, json.dumps(value, separators=(",", ":")))
        taken = 0
        for sender in tuple(self._readers):
            try:
                sender.send_nowait(notice)
                taken += 1
            except trio.BrokenResourceError:  # its response is over, and closed the channel
                self._readers.discard(sender)
                sender.close()
            except trio.WouldBlock:
                pass  # a reader 16 notices behind misses this one: the others do not wait for it
        return taken

    def connections(self) -> list[ConnectionInfo]:
        """The connections of the listener that is shown, oldest first."""
        return [] if self.listener is None else self.listener.connections()

    async def beat(self, listener: Listener) -> None:
        """Tells every reader, once a second and for ever, what ``listener`` sees."""
        self.listener = listener
        while True:
            self.publish("beat", seen_by(listener))
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
    }
