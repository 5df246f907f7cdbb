"""One event to many peers: a bounded log that every subscription reads at its own pace.

There is one queue, not one a subscriber: a subscription is a place in the log. So publishing waits for nobody, memory
is bounded whoever reads slowly, leaving needs no word, and a peer that comes again goes on where it was.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import AsyncIterator
from typing import Final

import trio

from ..protocol.codec.sse import ServerSentEvent

GAP: Final = ServerSentEvent("", event="gap")


class Broadcast:
    """Events for any number of event streams: ``EventStream(request, broadcast.subscribe(request.last_event_id))``.

    Args:
        history: how many events are kept: for peers that come again, and for those that are slow.
        gap: what a peer is told that has missed events, because they are no longer kept or because nobody here knows
            the id it gives. Browsers drop an event of a type that their page does not listen to. None says nothing.

    Raises:
        ValueError: no event is to be kept.
    """

    __slots__ = ("_end", "_kept", "_news", "_series", "gap")

    def __init__(self, *, history: int = 256, gap: ServerSentEvent | None = GAP) -> None:
        if history < 1:
            raise ValueError(f"a broadcast keeps at least one event, not {history}")
        self.gap = gap
        self._kept: deque[ServerSentEvent] = deque(maxlen=history)
        self._end = 0
        self._news = trio.lowlevel.ParkingLot()
        self._series = secrets.token_hex(4)

    def publish(
        self, data: ServerSentEvent | str, *, event: str | None = None, id: str | int | None = None
    ) -> ServerSentEvent:
        """Gives an event to all who are subscribed, without waiting for any, and keeps it. Synchronous.

        Args:
            data: the text, or an event made before, to which the other arguments do not apply.
            event: its type.
            id: its id, unique among those kept; by default one that no other server gives.

        Returns:
            The event as it goes out: one made before gets an id if it has none, else peers could not go on after it.

        Raises:
            ValueError, TypeError: as :class:`ServerSentEvent`.
        """
        if not isinstance(data, ServerSentEvent):
            data = ServerSentEvent(data, event=event, id=self._next_id() if id is None else id)
        elif (event, id) != (None, None):
            raise TypeError("an event that is made already has its type and id")
        elif data.id is None:
            data = ServerSentEvent(data.data, event=data.event, id=self._next_id(), retry=data.retry)
        self._kept.append(data)
        self._end += 1
        self._news.unpark_all()
        return data

    def _next_id(self) -> str:
        return f"{self._series}-{self._end + 1}"

    def subscribe(self, last_event_id: str | None = None) -> Subscription:
        """The events from now on; with an id, those after the event of that id first.

        When the id is not among those kept, the peer is told of the gap and gets all that is kept.
        """
        if not last_event_id:
            return Subscription(self, self._end)
        for back, event in enumerate(reversed(self._kept)):
            if event.id == last_event_id:
                return Subscription(self, self._end - back)
        return Subscription(self, -1)

    async def take(self, at: int) -> tuple[int, ServerSentEvent]:
        """The next event for a subscription that is ``at`` some place, and the place after it."""
        await trio.lowlevel.checkpoint()
        while at == self._end:
            await self._news.park()
        first = self._end - len(self._kept)
        if at < first or at < 0:
            if self.gap is not None:
                return first, self.gap
            return await self.take(first)
        return at + 1, self._kept[at - first]


class Subscription(AsyncIterator[ServerSentEvent]):
    """The events of a :class:`Broadcast` for one peer, for ``async for``. Owes no clean-up and may be left half-way."""

    __slots__ = ("_at", "_broadcast")

    def __init__(self, broadcast: Broadcast, at: int) -> None:
        self._broadcast = broadcast
        self._at = at

    async def __anext__(self) -> ServerSentEvent:
        self._at, event = await self._broadcast.take(self._at)
        return event
