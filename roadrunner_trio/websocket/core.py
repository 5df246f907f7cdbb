"""What a WebSocket session is without its users' words: a bounded queue, one way to end, and its times.

Whatever ends a session (the peer's close frame, its breach of the protocol, its disappearance) stands in the queue
behind the messages that came before, so they are answered first. The handler meets it as ``ConnectionClosed``; if it
does not come to meet it, it has a second. Time is told by the listener's clock: a session has no task of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, cast

import trio
from trio_websocket import CloseReason, ConnectionClosed

from ..journal import log
from ..protocol.ws import frames
from ..protocol.ws.decoder import Caps, Decoder
from ..protocol.ws.deflate import Compression
from ..protocol.ws.frames import LATER, NEED_DATA, Close, Piece, Ping, Pong, Violation
from ..transport.clock import Clock
from ..transport.drain import Drain
from ..transport.poller import WOKEN
from .link import Link

PATIENCE: Final = 1.0
"""Seconds in which the handler may still answer what came before the end."""
QUEUE_OCTETS: Final = 1024 * 1024
"""The queue takes no further message when it holds so much."""
PING: Final = frames.encode(frames.PING, b"")
"""The server's own."""
GOING_DOWN: Final = "the server is going down"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What :func:`~roadrunner_trio.websocket` was told; see there."""

    origins: frozenset[str] | None
    subprotocols: tuple[str, ...]
    compression: Compression | None
    caps: Caps
    max_queue: int
    ping_interval: float
    ping_timeout: float
    close_timeout: float
    close_on_drain: bool


class Session:
    """The state of a session, and what its link, the clock and the drain make of it.

    Args:
        abandoned: called when the session is over and the handler has not noticed in time.
    """

    __slots__ = (
        "_abandoned",
        "_alive_by",
        "_clock",
        "_close_sent",
        "_closed",
        "_decoder",
        "_drain",
        "_end_by",
        "_ending",
        "_fresh",
        "_heard",
        "_link",
        "_octets",
        "_over",
        "_ping_at",
        "_pings",
        "_queue",
        "_settings",
        "_stalled",
        "_told",
        "_waiting",
        "_waiting_end",
        "armed",
        "deadline",
    )

    def __init__(
        self, settings: Settings, decoder: Decoder, clock: Clock, drain: Drain, abandoned: Callable[[], None]
    ) -> None:
        self._settings = settings
        self._decoder = decoder
        self._clock = clock
        self._drain = drain
        self._abandoned = abandoned
        self._link: Link = cast("Link", None)
        # what has come
        self._queue: list[str | bytes | Piece] = []
        self._octets = 0
        self._stalled = False
        self._waiting: list[trio.lowlevel.Task] = []
        self._fresh = False
        self._pings: dict[bytes, trio.Event] | None = None
        # how it ends
        self._ending: tuple[CloseReason, bytes | None] | None = None
        self._closed: CloseReason | None = None
        self._close_sent = False
        self._over = False
        self._told = False
        self._waiting_end: trio.lowlevel.ParkingLot | None = None
        # its times
        self._heard = True
        self._ping_at = self._alive_by = self._end_by = math.inf
        self.deadline = self.armed = math.inf

    def begin(self, link: Link, nursery: trio.Nursery | None, early: bytes) -> None:
        """The 101 is out: from now on the peer is read."""
        self._link = link
        self._drain.watch(self)
        self._ping_at = trio.current_time() + self._settings.ping_interval
        self._arm()
        link.start(nursery, early)
        if self._drain.draining:
            self.told()

    # -- the queue ---------------------------------------------------------------------------------

    async def next_item(self) -> str | bytes | Piece:
        """What stands first in the queue, as soon as something does."""
        queue = self._queue
        if queue:
            await trio.lowlevel.checkpoint()  # a peer that floods us must still yield to its neighbours
        while not queue:
            if self._closed is not None or self._ending is not None:
                raise await self._farewell()
            task = trio.lowlevel.current_task()
            self._waiting.append(task)

            def abort(_: object, task: trio.lowlevel.Task = task) -> trio.lowlevel.Abort:
                self._waiting.remove(task)
                return trio.lowlevel.Abort.SUCCEEDED

            await trio.lowlevel.wait_task_rescheduled(abort)
        self._fresh = True
        item = queue.pop(0)
        self._octets -= len(item.data if type(item) is Piece else item)
        if self._stalled:
            self._go_on()
        return item

    def _go_on(self) -> None:
        """There is room again in the queue, or others have had their turn."""
        self._stalled = False
        if self.wants():
            self._digest()
        if not self._stalled:
            self._link.resume()

    def _pause(self) -> None:
        """The peer sends very small frames in great number: its neighbours come first."""
        self._stalled = True
        trio.lowlevel.current_trio_token().run_sync_soon(self._resume)

    def _resume(self) -> None:
        """The word of Trio's own task: an exception here would be everybody's."""
        try:
            if self._stalled:
                self._go_on()
        except Exception:
            log.exception("a WebSocket session failed")
            self.lost("an internal error")

    # -- the end -----------------------------------------------------------------------------------

    @property
    def closed(self) -> CloseReason | None:
        """Why the session is over or about to be; None while it is open."""
        return self._closed

    async def _farewell(self) -> ConnectionClosed:
        """The handler meets the end: whoever waited for that goes on."""
        self._told = True
        if self._ending is not None:
            self._depart()
        await trio.lowlevel.checkpoint()
        return ConnectionClosed(self._closed)

    def _close(self, code: int, reason: str | None) -> None:
        """Our close frame; the peer has ``close_timeout`` for its own."""
        if self._closed is not None:
            return
        self._closed = CloseReason(code, reason)
        self._close_sent = True
        self._end_by = trio.current_time() + self._settings.close_timeout
        self._arm()
        self._wake()
        self._link.push(frames.encode_close(code, reason or ""))
        if self._stalled:
            self._go_on()

    def _fail(self, violation: Violation) -> None:
        self._end(CloseReason(*violation), frames.encode_close(*violation))

    def _end(self, reason: CloseReason, frame: bytes | None) -> None:
        """The last item of the queue: the handler has a second to come to it, if somebody waits for its answer."""
        if self._ending is not None or self._over:
            return
        self._ending = (reason, frame)
        if self._close_sent or frame is None or (self._waiting and not self._queue):
            self._depart()
        else:
            self._end_by = trio.current_time() + PATIENCE
            self._arm()

    def _depart(self) -> None:
        if self._over or self._ending is None:
            return
        reason, frame = self._ending
        self._closed = self._closed or reason
        if frame is not None and not self._close_sent:
            self._close_sent = True
            self._link.push(frame)
        self._complete()

    def _complete(self) -> None:
        """Nothing more is expected of the peer. The handler, if it does not know yet, has a time to find out."""
        self._over = True
        self._drain.unwatch(self)
        self._link.finish()
        self._wake()
        if self._pings is not None:
            for answered in self._pings.values():
                answered.set()
        if self._waiting_end is not None:
            self._waiting_end.unpark_all()
        self._ping_at = self._alive_by = math.inf
        self._end_by = math.inf if self._told else trio.current_time() + self._settings.close_timeout
        self._arm()

    def _wake(self) -> None:
        for task in self._waiting:
            trio.lowlevel.reschedule(task)
        self._waiting.clear()

    async def settle(self, seconds: float) -> None:
        """Gives the peer this long to take what is owed to it, before the tasks of the link end."""
        await self._link.settle(seconds)

    async def part(self, seconds: float) -> None:
        """After the session: the end of the stream."""
        self.abandon()
        await self._link.part(seconds)

    def abandon(self) -> None:
        """Leaves nothing of the session behind, whatever has happened; a peer that was not told is, if that costs no
        wait."""
        if self._closed is None:
            self._close(frames.GOING_AWAY, GOING_DOWN)
        self._over = self._told = True
        self._drain.unwatch(self)
        self._link.leave()
        self._clock.disarm(self)

    # -- what the link, the clock and the drain say ------------------------------------------------

    def wants(self) -> bool:
        """Whether there is room for another message; after our close frame only the peer's matters."""
        if self._stalled or self._over or self._ending is not None:
            return False
        if self._closed is not None:
            return True
        if len(self._queue) < self._settings.max_queue and self._octets < QUEUE_OCTETS:
            return True
        self._stalled = True
        return False

    def take(self, data: bytes) -> None:
        """Octets of the peer, or its end."""
        self._heard = True
        if not data:
            return self.lost("the peer closed the connection")
        decoder = self._decoder
        if self._closed is None and self._ending is None:  # there was room when this was read
            if (message := decoder.receive_plain(data)) is not None:
                self._queue.append(message)
                self._octets += len(message)
                if self._waiting:
                    trio.lowlevel.reschedule(self._waiting.pop(0), WOKEN)
                if decoder.idle:
                    return None
        else:
            decoder.receive(data)
        if self.wants():
            self._digest()
        return None

    def _digest(self) -> None:
        decoder = self._decoder
        while True:
            event = decoder.next_event()
            kind = type(event)
            if kind is str or kind is bytes:
                self._queue_up(cast("str | bytes", event), len(cast("str | bytes", event)))
            elif event is NEED_DATA:
                return None
            elif event is LATER:
                return self._pause()
            else:
                self._control(event)
            if decoder.idle or not self.wants():
                return None

    def _queue_up(self, item: str | bytes | Piece, size: int) -> None:
        if self._closed is None:
            self._queue.append(item)
            self._octets += size
            if self._waiting:
                trio.lowlevel.reschedule(self._waiting.pop(0), WOKEN)

    def _control(self, event: object) -> None:
        match event:
            case Ping(payload):
                if not self._close_sent:
                    self._link.push(frames.encode(frames.PONG, payload), answer=True)
            case Pong(payload):
                self._ponged(payload)
            case Close(code, reason):
                # Its code is answered, without its reason (RFC 6455 section 5.5.1).
                self._end(CloseReason(code, reason or None), frames.encode_close(code))
            case Violation():
                self._fail(event)
            case Piece(data):
                self._queue_up(event, len(data))
            case _:
                raise TypeError(f"{event!r} is no event")

    def _ponged(self, payload: bytes) -> None:
        """A pong answers all pings up to its own (RFC 6455 section 5.5.3)."""
        if self._pings is not None and payload in self._pings:
            for sent in list(self._pings):
                self._pings.pop(sent).set()
                if sent == payload:
                    break

    def lost(self, why: str) -> None:
        """The peer has gone without a close frame."""
        self._end(CloseReason(frames.ABNORMAL, why), None)

    def told(self) -> None:
        """The drain's word."""
        if self._settings.close_on_drain and self._ending is None:
            self._close(frames.GOING_AWAY, GOING_DOWN)

    def _arm(self) -> None:
        self.deadline = min(self._ping_at, self._alive_by, self._end_by)
        if self.deadline < self.armed:
            self._clock.arm(self)

    def fire(self) -> None:
        """The clock's word, from its task: an exception here would be everybody's."""
        try:
            self._act()
        except Exception:
            log.exception("a WebSocket session failed")
            self.lost("an internal error")

    def _act(self) -> None:
        now = trio.current_time()
        if self._end_by <= now:
            self._end_by = math.inf
            self._run_out()
        if self._alive_by <= now:
            self._alive_by = math.inf
            if PING in self._link.owed or not (self._heard or self._stalled):  # it does not even take our ping
                self._end_by = math.inf
                self._unanswered()
        if self._ping_at <= now:
            self._ping_at = now + self._settings.ping_interval
            if not self._close_sent:
                self._ping(now)
        self._arm()

    def _run_out(self) -> None:
        if self._over:
            if not self._told:
                self._abandoned()
        elif self._ending is not None:
            self._depart()
        else:
            self._link.hopeless = True  # the peer has not answered our close frame
            self._complete()

    def _ping(self, now: float) -> None:
        if self._alive_by == math.inf:
            self._heard = False
            self._alive_by = now + self._settings.ping_timeout
        self._link.push(PING)

    def _unanswered(self) -> None:
        reason = (frames.INTERNAL_ERROR, "keepalive ping timeout")
        self._end(CloseReason(*reason), frames.encode_close(*reason))
        self._link.hopeless = True
        self._depart()
