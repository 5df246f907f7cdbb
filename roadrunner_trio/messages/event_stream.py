"""Server-sent events as a response: the source sends, and everything else an event stream owes is looked after.

Beside the source run two tasks. One waits for the heartbeat's time or the drain, whichever comes first; an event that
goes out only moves that time, a float, so events that flow cost nothing. The other waits for the peer to hang up, and
then asks by a comment: a peer that has closed answers it with a reset, one that only half-closed reads on.
"""

from __future__ import annotations

import inspect
import math
import random
from collections.abc import AsyncIterable, Awaitable, Callable
from typing import Any, Final, NamedTuple, TypeAlias, cast

import trio

from ..fields import FieldsLike, encoded
from ..protocol.codec.sse import HEARTBEAT, ServerSentEvent, comment
from ..transport.gone import PeerGone
from ..units import Duration, seconds
from .functions import check_async
from .request import Request
from .response import Send, StreamResponse

HEAD: Final = (
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # nginx would hold events back until a buffer is full
)
FAREWELL: Final = 0.5
"""Seconds before a drain's deadline at which a source is ended; a quarter of what is left, if that is less."""


class EventSender:
    """What the source of an :class:`EventStream` sends with. Several tasks may; each event goes out whole.

    Attributes:
        request: the request that the stream answers: its ``last_event_id``, its ``drain``.
    """

    __slots__ = ("_due", "_heartbeat", "_lock", "_send", "request")

    def __init__(self, request: Request, send: Send, heartbeat: float) -> None:
        self.request = request
        self._send = send
        self._heartbeat = heartbeat
        self._lock = trio.Lock()
        self._due = trio.current_time() + heartbeat

    async def send(
        self,
        data: ServerSentEvent | str | None = None,
        *,
        event: str | None = None,
        id: str | int | None = None,
        retry: Duration | None = None,
    ) -> None:
        """Sends one event, and waits until the peer's window takes it.

        Args:
            data: the text, or an event made before, to which the other arguments do not apply.
            event, id, retry: as for :class:`ServerSentEvent`.

        Raises:
            ValueError, TypeError: as :class:`ServerSentEvent`.
            PeerGone: the peer has gone, or does not take what is sent to it in time.
        """
        if not isinstance(data, ServerSentEvent):
            data = ServerSentEvent(data, event=event, id=id, retry=retry)
        elif (event, id, retry) != (None, None, None):
            raise TypeError("an event that is made already has its type, id and retry")
        async with self._lock:
            await self.write(data.encoded)

    async def comment(self, text: str) -> None:
        """Sends a comment of one line, which peers drop.

        Raises:
            ValueError: a line end in it.
            PeerGone: as :meth:`send`.
        """
        octets = comment(text)
        async with self._lock:
            await self.write(octets)

    async def write(self, octets: bytes) -> None:
        """Sends octets and puts the heartbeat off; for whoever holds the lock."""
        await self._send(octets)
        self._due = trio.current_time() + self._heartbeat

    @property
    def due(self) -> float:
        """Absolute Trio time of the next heartbeat, if nothing else goes out before."""
        return self._due

    @property
    def lock(self) -> trio.Lock:
        """Held while something goes out: whoever has it can end the source without cutting an event in two."""
        return self._lock


Source: TypeAlias = AsyncIterable[ServerSentEvent | str] | Callable[[EventSender], Awaitable[object]]
"""Where the events of a stream come from."""


class EventStream(StreamResponse):
    """Server-sent events: a response that a browser's ``EventSource`` listens to, and comes back for.

    It is ``text/event-stream``, not stored by caches and not held back by nginx. The stream ends when its source does.
    Browsers come again then; to keep one away, answer its next request with 204.

    When the server drains, the source has ``drain_grace`` seconds to end by itself, of which ``request.drain`` tells
    it; then it is cancelled, between two events, and the stream ends cleanly with ``retry``. When the peer leaves, the
    source is cancelled.

    Args:
        request: the request that is answered.
        source: an async iterable of events, or of strings that are their data; it is closed at the end, if it has
            ``aclose``. Or ``async def source(sender)``, which is given an :class:`EventSender`.
        heartbeat: seconds, or ``"5s"`` like all times here, of silence after which a comment is sent; None sends none.
        retry: seconds after which the peer is to come again when the stream has ended; sent first. None leaves that to
            the peer: a few seconds.
        drain_grace: seconds from the beginning of a drain to the end of the source, but never beyond the drain's
            deadline; ``math.inf`` is until then.
        drain_retry: ``retry`` at the end of a stream that a drain ends, spread from half to one and a half of it, for
            all of a server's streams end at once. None sends none.
        fields: as for :class:`Response`; they take precedence over the stream's own.

    Raises:
        TypeError: the source is neither async iterable nor an async function.
        ValueError: a time out of range, or a bad field.
    """

    def __init__(
        self,
        request: Request,
        source: Source,
        *,
        heartbeat: Duration | None = 15.0,
        retry: Duration | None = None,
        drain_grace: Duration = 0.0,
        drain_retry: Duration | None = 2.0,
        fields: FieldsLike = (),
    ) -> None:
        given = encoded(fields)
        names = {name for name, _ in given}
        course = _Course(
            request,
            _runner(source),
            math.inf if heartbeat is None else seconds("heartbeat", heartbeat),
            None if retry is None else ServerSentEvent(retry=retry),
            seconds("drain_grace", drain_grace, zero=True),
            None if drain_retry is None else ServerSentEvent(retry=drain_retry).retry,
        )
        super().__init__(course.produce, fields=[*(field for field in HEAD if field[0] not in names), *given])
        self.source = source


class _Course(NamedTuple):
    """How a stream goes from its first octet to its last. Apart from the response, which holds what produces it."""

    request: Request
    run: Callable[[EventSender], Awaitable[object]]
    heartbeat: float
    first: ServerSentEvent | None
    drain_grace: float
    last: float | None

    async def produce(self, send: Send) -> None:
        """All of it."""
        sender = EventSender(self.request, send, self.heartbeat)
        if self.first is not None:
            await sender.send(self.first)
        await _Session(sender, self.drain_grace).run(self.run)
        if self.request.drain.draining and self.last is not None:
            await sender.send(retry=self.last * random.uniform(0.5, 1.5))


class _Session:
    """One stream under way: its source, and what watches over it."""

    __slots__ = ("failure", "grace", "scope", "sender")

    def __init__(self, sender: EventSender, grace: float) -> None:
        self.sender = sender
        self.grace = grace
        self.scope = trio.CancelScope()
        self.failure: BaseException | None = None

    async def run(self, source: Callable[[EventSender], Awaitable[object]]) -> None:
        """Runs the source to its end, and raises what it raised, or that the peer has gone."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch, self._beat_until_drain, name="event stream: heartbeat, drain")
            nursery.start_soon(self._watch, self._meet_hang_up, name="event stream: peer")
            try:
                with self.scope:
                    await source(self.sender)
            except BaseException as exc:  # not in the nursery, where it would become a group; or nothing, if it strayed
                if trio.current_effective_deadline() == -math.inf:
                    raise
                self.failure = exc
            async with self.sender.lock:  # else a heartbeat that waits for the peer's window would be cut in two
                nursery.cancel_scope.cancel(reason="the event stream is over")
        try:
            if self.failure is not None:
                raise self.failure
        finally:
            self.failure = None  # it holds this frame, which holds us

    async def _watch(self, watch: Callable[[], Awaitable[None]]) -> None:
        try:
            await watch()
        except PeerGone as exc:
            self.failure = self.failure or exc
            self.scope.cancel(reason="the peer of the event stream has gone")

    async def _beat_until_drain(self) -> None:
        sender, drain = self.sender, self.sender.request.drain
        while not drain.draining:
            with trio.move_on_at(sender.due):
                await drain.started.wait()
            await self._beat()
        sender.request.acknowledge_drain()
        end = min(trio.current_time() + self.grace, drain.deadline - min(FAREWELL, drain.remaining / 4))
        while trio.current_time() < end:
            await trio.sleep_until(min(sender.due, end))
            await self._beat()
        async with sender.lock:
            self.scope.cancel(reason="the server drains, and with it the event stream ends")

    async def _beat(self) -> None:
        if trio.current_time() >= self.sender.due:
            async with self.sender.lock:
                if trio.current_time() >= self.sender.due:
                    await self.sender.write(HEARTBEAT)

    async def _meet_hang_up(self) -> None:
        await self.sender.request.disconnected()
        async with self.sender.lock:
            await self.sender.write(HEARTBEAT)


def _runner(source: Any) -> Callable[[EventSender], Awaitable[object]]:
    """The source as a function, whichever it is."""
    if hasattr(source, "__aiter__"):

        async def run(sender: EventSender) -> None:
            await _send_each(sender, source)

        return run
    if inspect.isasyncgenfunction(source):
        raise TypeError(f"{source!r} is an async generator function: call it, and give what it returns")
    wanted = "an event stream's source is an async iterable or an async function"
    check_async(source, wanted, "async def source(sender)")
    return cast("Callable[[EventSender], Awaitable[object]]", source)


async def _send_each(sender: EventSender, events: Any) -> None:
    try:
        async for each in events:
            await sender.send(each)
    finally:
        if hasattr(events, "aclose"):
            await events.aclose()
