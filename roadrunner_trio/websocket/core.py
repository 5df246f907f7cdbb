"""What a WebSocket session is without its users' words: what has come, one way to end, and its times.

Whatever ends a session (the peer's close frame, its breach of the protocol, its disappearance) stands behind the
messages that came before, so they are answered first. The handler meets it as ``ConnectionClosed``; if it does not come
to meet it, it has a second. Time is told by the listener's clock: a session has no task of its own.
"""

from __future__ import annotations

import math
from time import perf_counter
from typing import Any, Final, cast

import trio
from trio_websocket import CloseReason, ConnectionClosed

from ..answering.context import ServerContext
from ..journal import log
from ..protocol.ws import frames
from ..protocol.ws.assembly import Assembly
from ..protocol.ws.decoder import Decoder, plain
from ..protocol.ws.deflate import Inflater
from ..protocol.ws.frames import LATER, NEED_DATA, Close, Piece, Ping, Pong, Violation
from ..telemetry.websocket_events import Side
from ..transport.clock import Clock, Timer
from .inbox import Inbox, Item, Waiting
from .keepalive import NO_PINGS, PING, UNANSWERED, Keepalive, Pings
from .link import TOO_SLOW, Link
from .terms import Conn, Owner, Settings

PATIENCE: Final = 1.0
"""Seconds in which the handler may still answer what came before the end."""
QUEUE_OCTETS: Final = 1024 * 1024
"""The queue takes no further message when it holds so much."""
TURN: Final = 0.002
"""Seconds in which a peer's frames are read before its neighbours have a turn, where they are costly."""
GOING_DOWN: Final = "the server is going down"
FULL: Final = "the server holds as many messages as it can"


class Session:
    """The state of a session, and what its link, the clock and the drain make of it.

    Attributes:
        closed: why it is over or about to be; None while it is open.
        by: who has ended it, as in :class:`~roadrunner_trio.WebSocketClosed`.
        given_up: why the server did not wait for the peer any more, or had no room for it; None otherwise.
        fresh: a message was taken a moment ago, by a task that has waited for it.

    Args:
        owner: told when nobody has noticed its end.
    """

    __slots__ = (
        "_clock",
        "_close_sent",
        "_conn",
        "_decoder",
        "_end_by",
        "_ending",
        "_heard",
        "_keepalive",
        "_midway",
        "_owner",
        "_resting",
        "_settings",
        "_spent",
        "_stalled",
        "_told",
        "_turns",
        "_until",
        "_waiting_end",
        "armed",
        "by",
        "closed",
        "deadline",
        "fresh",
        "given_up",
        "inbox",
        "link",
        "over",
        "pings",
    )

    link: Link

    def __init__(
        self,
        settings: Settings,
        inflater: Inflater | None,
        context: ServerContext,
        conn: Conn,
        owner: Owner,
    ) -> None:
        self._settings = settings
        self._decoder = None if inflater is None else Decoder(settings.caps, inflater)
        self._clock: Clock = context.clock
        self._turns = context.turns
        self._conn = conn
        self._owner: Owner | None = owner
        # what has come
        self.inbox = Inbox(context.buffered)
        self.fresh = False
        self._midway = False
        self._heard = False
        self._stalled = False
        self._resting = False
        self._spent = self._until = 0.0
        self.pings = NO_PINGS
        # how it ends
        self.closed: CloseReason | None = None
        self.by: Side = "server"
        self.given_up: str | None = None
        self._ending: tuple[CloseReason, bytes | None] | None = None
        self._close_sent = False
        self.over = False
        self._told = False
        self._waiting_end: trio.lowlevel.ParkingLot | None = None
        # its times
        self._keepalive = Keepalive(settings)
        self._end_by = math.inf
        self.deadline = self.armed = math.inf

    def begin(self, link: Link, nursery: trio.Nursery | None, early: bytes, before: Timer) -> None:
        """The 101 is out: from now on the peer is read.

        Args:
            before: what had a deadline until now; the clock has the session in its place.
        """
        self.link = link
        self._conn.drain.watch(self, self._conn)
        self._keepalive.begin(trio.current_time())
        self.deadline = self._keepalive.ping_at
        self._clock.replace(before, self)
        link.start(nursery, early)
        if self._conn.drain.draining:
            self.told()

    # -- what the handler takes --------------------------------------------------------------------

    def queue_up(self) -> Inbox | Waiting | None:
        """As :meth:`.inbox.Inbox.queue_up`, whose wait may come to nothing; None where there is nothing to wait for."""
        inbox = self.inbox
        if inbox.items or self.closed is not None or self._ending is not None:
            return None
        return inbox.queue_up()

    async def next_item(self) -> Item:
        """What comes next: a message, or a piece of one.

        Raises:
            ConnectionClosed: the session is over.
        """
        inbox = self.inbox
        if inbox.items:
            await trio.lowlevel.checkpoint()  # a peer that floods us must still yield to its neighbours
        while not inbox.items:
            if self.closed is not None or self._ending is not None:
                raise await self.farewell()
            handed: Item | None = await trio.lowlevel.wait_task_rescheduled(inbox.queue_up())
            if handed is not None:
                self.fresh = True
                return handed
        self.fresh = True
        item = inbox.take(0 if self._decoder is None else self._decoder.held)
        if self._stalled and not self._resting:
            self._go_on()
        return item

    async def joined(self, piece: Piece) -> str | bytes:
        """A message whole, where a piece is what has come: of one that somebody began to take so, and which is passed
        over, or the first of one that comes in pieces although nobody wants it so any more."""
        while self._midway:
            self._midway = not piece.last
            item = await self.next_item()
            if type(item) is not Piece:
                return cast("str | bytes", item)
            piece = item
        whole, caps = Assembly(type(piece.data)), self._settings.caps
        whole.add(piece.data)
        while not piece.last:
            self._midway = True  # if this is given up, what is left of it
            piece = _as_piece(await self.next_item())
            whole.add(piece.data)
            if whole.size > caps.message or whole.held > caps.memory:
                self._fail(Violation(frames.TOO_BIG, "a message that is too large"))
                raise await self.farewell()
        self._midway = False
        return cast("str | bytes", whole.whole())

    async def next_piece(self, *, first: bool) -> Piece:
        """The next piece of a message.

        Raises:
            ConnectionClosed: the session is over.
        """
        if not first:
            return await self._next_begun()
        while self._midway:
            await self._next_begun()
        if not self.inbox.items and (begun := self.decoder.give_pieces()) is not None:
            self._midway = True
            self.inbox.count(0)
            await trio.lowlevel.checkpoint()
            return begun
        try:
            return await self._next_begun()
        finally:
            if not self._midway:  # given up before the first: then it comes whole, for whoever wants it
                self.decoder.give_whole()

    async def _next_begun(self) -> Piece:
        piece = _as_piece(await self.next_item())
        self._midway = not piece.last
        return piece

    @property
    def decoder(self) -> Decoder:
        """What reads frames: there is one while there are others than plain ones, each whole and alone."""
        if self._decoder is None:
            self._decoder = Decoder(self._settings.caps)
        return self._decoder

    def expect_pong(self, payload: bytes | None) -> tuple[bytes, trio.Event]:
        """As :meth:`.keepalive.Pings.expect`; few handlers ping."""
        if self.pings is NO_PINGS:
            self.pings = Pings()
        return self.pings.expect(payload)

    # -- what comes --------------------------------------------------------------------------------

    def wants(self) -> bool:
        """Whether there is room for another message; after our close frame only the peer's matters."""
        if self._stalled or self._resting or self.over or self._ending is not None:
            return False
        if self.closed is not None:
            return True
        if len(self.inbox.items) < self._settings.max_queue and self.inbox.octets < QUEUE_OCTETS:
            return True
        self._stalled = True
        return False

    def take(self, data: bytes) -> None:
        """Octets of the peer, or its end."""
        self._heard = True
        if not data:
            return self.lost("the peer closed the connection")
        is_open = self.closed is None and self._ending is None  # there was room when this was read
        alone = self._decoder is None and is_open  # as most messages, whole in what has come: that takes no decoder
        found = plain(data, 0, len(data), self._settings.plain, alone=True) if alone else None
        if found is None:
            self.decoder.receive(data)
            if self.wants():
                self._digest()
            return None
        inbox: Any = self.inbox
        if (task := inbox.task) is not None:  # as Inbox.put, without the calls
            inbox.task, inbox.handed = None, found[0]
            trio.lowlevel.reschedule(task, inbox)
        elif not inbox.put(found[0]):
            self._overflow()
        return None

    def _digest(self) -> None:
        """Reads what has come, for as long as it may take."""
        decoder, begun = self.decoder, perf_counter()
        self._until = begun + TURN - self._spent
        while (event := decoder.next_event(self._enough)) is not NEED_DATA:
            if event is not LATER:
                self._happen(event)
                if decoder.idle or not self.wants():
                    break
            if event is LATER or self._enough():
                self._resting = True
                self._turns.later(self._resume)
                break
        self._spent += perf_counter() - begun
        if decoder.at_rest:
            self._decoder = None  # an idle session needs none, nor what the decoder has read last
        if not self.inbox.count(decoder.held):
            self._overflow()

    def _enough(self) -> bool:
        return perf_counter() >= self._until

    def _resume(self) -> None:
        """Others have had their turn. This is called by Trio's own task: an exception here would be everybody's."""
        try:
            self._spent = 0.0
            if self._resting:
                self._resting = False
                self._go_on()
        except Exception:
            log.exception("a WebSocket session failed")
            self.lost("an internal error")

    def _go_on(self) -> None:
        """There is room again in the queue, or time."""
        self._stalled = False
        if self.wants():
            self._digest()
        if not (self._stalled or self._resting):
            self.link.resume()

    def _happen(self, event: object) -> None:
        match event:
            case str() | bytes() | Piece():
                if self.closed is None and not self.inbox.put(event, self.decoder.held):
                    self._overflow()
            case Ping(payload):
                if not self._close_sent:
                    self.link.push(frames.encode(frames.PONG, payload), answer=True)
            case Pong(payload):
                self.pings.answered(payload)
            case Close(code, reason):
                # Its code is answered, without its reason (RFC 6455 section 5.5.1).
                self._end(CloseReason(code, reason or None), frames.encode_close(code), "peer")
            case Violation():
                self._fail(event)
            case _:
                raise TypeError(f"{event!r} is no event")

    def _overflow(self) -> None:
        """All sessions together hold too much: this one is told so, and what made it too much is dropped."""
        self.decoder.stop()
        self.inbox.count(0)
        self.given_up = FULL
        self._fail(Violation(frames.TRY_AGAIN_LATER, FULL))

    # -- the end -----------------------------------------------------------------------------------

    async def farewell(self) -> ConnectionClosed:
        """The handler meets the end: whoever waited for that goes on."""
        self._told = True
        if self._ending is not None:
            self._depart()
        await trio.lowlevel.checkpoint()
        return ConnectionClosed(self.closed)

    def close_now(self, code: int, reason: str | None = None) -> None:
        """Closes the session, and waits for nobody; what has come and was not taken is dropped."""
        self._told = True
        self.inbox.clear()
        if self._ending is not None:
            self._depart()
        else:
            self.close(code, reason)

    async def ended(self) -> None:
        """Returns when the session is over. A checkpoint."""
        if self.over:
            await trio.lowlevel.checkpoint()
            return
        if self._waiting_end is None:
            self._waiting_end = trio.lowlevel.ParkingLot()
        await self._waiting_end.park()

    def close(self, code: int, reason: str | None) -> None:
        """Our close frame; the peer has ``close_timeout`` for its own."""
        if self.closed is not None:
            return
        self.closed = CloseReason(code, reason)
        self._close_sent = True
        self._end_by = trio.current_time() + self._settings.close_timeout
        self._arm()
        self.decoder.read_over()
        self.inbox.count(0)
        self.inbox.wake()
        self.link.push(frames.encode_close(code, reason or ""), last=True)
        if self._stalled:
            self._go_on()

    def _fail(self, violation: Violation) -> None:
        self._end(CloseReason(*violation), frames.encode_close(*violation))

    def _end(self, reason: CloseReason, frame: bytes | None, by: Side = "server") -> None:
        """The last item of the queue: the handler has a second to come to it, if somebody waits for its answer."""
        if self._ending is not None or self.over:
            return
        self._ending, self.by = (reason, frame), (by if self.closed is None else self.by)
        if self._close_sent or frame is None or self.inbox.awaited:
            self._depart()
        else:
            self._end_by = trio.current_time() + PATIENCE
            self._arm()

    def _depart(self) -> None:
        if self.over or self._ending is None:
            return
        reason, frame = self._ending
        self.closed = self.closed or reason
        if frame is not None and not self._close_sent:
            self._close_sent = True
            self.link.push(frame, last=True)
        self._complete()

    def _complete(self) -> None:
        """Nothing more is expected of the peer. The handler, if it does not know yet, has a time to find out."""
        self.link.finish()
        self._let_go()
        self._end_by = math.inf if self._told else trio.current_time() + self._settings.close_timeout
        self._arm()

    def _let_go(self) -> None:
        """It is over: nobody waits for it any longer."""
        self.over = True
        self._conn.drain.unwatch(self, self._conn)
        self._keepalive.end()
        self.inbox.wake()
        self.pings.end()
        if self._waiting_end is not None:
            self._waiting_end.unpark_all()

    async def settle(self, seconds: float) -> None:
        """Gives the peer this long to take what is owed to it, before the tasks of the link end."""
        await self.link.settle(seconds)

    async def part(self, seconds: float) -> None:
        """After the session: the end of the stream."""
        self.abandon()
        await self.link.part(seconds)

    def abandon(self) -> None:
        """Leaves nothing of the session behind, whatever has happened; a peer that was not told is, if that costs no
        wait. Whoever still has it meets the end."""
        if self.closed is None:
            self.close(frames.GOING_AWAY, GOING_DOWN)
        self._told = True
        self._resting = self._stalled = False
        self._let_go()
        self.decoder.stop()
        self.inbox.clear()
        self.link.leave()
        self._clock.disarm(self)
        self._owner = None

    # -- what the link, the clock and the drain say ------------------------------------------------

    def lost(self, why: str) -> None:
        """The peer has gone without a close frame, or was left."""
        if self.link.too_slow and self._ending is None:
            self.given_up = TOO_SLOW
        self._end(CloseReason(frames.ABNORMAL, why), None, "nobody")

    def told(self) -> None:
        """The drain's word."""
        if self._settings.close_on_drain and self._ending is None:
            self.close(frames.GOING_AWAY, GOING_DOWN)

    def _arm(self) -> None:
        self.deadline = min(self._keepalive.ping_at, self._keepalive.judge_at, self._end_by)
        if self.deadline < self.armed:
            self._clock.arm(self)

    def fire(self) -> None:
        """The clock's word, from its task: an exception here would be everybody's."""
        try:
            self._act(trio.current_time())
        except Exception:
            log.exception("a WebSocket session failed")
            self.lost("an internal error")

    def _act(self, now: float) -> None:
        keepalive = self._keepalive
        if self._end_by <= now:
            self._end_by = math.inf
            self._run_out()
        if keepalive.judge_at <= now:
            keepalive.judge_at = math.inf
            excused = self._heard or self._stalled or self._resting  # what we do not read, we cannot miss
            if (PING in self.link.owed or not excused) and keepalive.gone(self.link, now):
                self._unanswered()
        if keepalive.ping_at <= now:
            keepalive.ping_at = math.inf
            if not self._close_sent and keepalive.ping(self.link, now):
                self._heard = False
        self._arm()

    def _run_out(self) -> None:
        if self.over:
            if not self._told and self._owner is not None:
                self._owner.abandoned()
        elif self._ending is not None:
            self._depart()
        else:
            self.link.hopeless = True  # the peer has not answered our close frame
            self._complete()

    def _unanswered(self) -> None:
        if self.closed is None:
            self.given_up = UNANSWERED
        self._end_by = math.inf
        self._fail(Violation(frames.INTERNAL_ERROR, UNANSWERED))
        self.link.hopeless = True
        self._depart()


def _as_piece(item: Item) -> Piece:
    return item if type(item) is Piece else Piece(cast("str | bytes", item), last=True)
