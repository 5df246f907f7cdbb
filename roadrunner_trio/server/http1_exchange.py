"""One request of an HTTP/1 connection and its response, reused from request to request.

HTTP/1 has one exchange at a time, so per request only a head and a :class:`~roadrunner_trio.Request` are built. What
:mod:`.connection` tells as a story is spelled out here; there the phases, here the octets that come. Those that go are
in :mod:`.http1_sender`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Final, cast

import trio

from ..answering.buffers import Buffered, Share
from ..errors import HTTPError, ProtocolError
from ..fields import Field
from ..messages.exchange import Plan
from ..messages.request import Request
from ..protocol.heads import Framing, RequestHead
from ..protocol.http1 import encode
from ..protocol.http1.engine import CLOSED, END, NEED_DATA, SPENT, Http1Engine, Signal
from ..transport.gone import BodyTimeout, PeerGone, PeerTooSlow
from ..transport.patience import SPARED, Patience
from ..transport.phases import Phase
from ..transport.streams import PrefixedStream, RateMeter, Unmeasured
from ..transport.wire import RECEIVE_SIZE, SocketWire
from .carrier import Carrier
from .gathering import gather_body, no_room
from .http1_sender import NO_HEAD, OVER, UNREAD, Http1Sender
from .presence import Grace, in_handler, look_away, miss
from .report import tell_acknowledged, tell_send_failed

READ_AHEAD: Final = 65536
BULK_SIZE: Final = 262144
"""Octets that are read at once of a body whose peer is faster than we are: a read costs 15 µs, whatever its size."""
NO_PLAN: Final = Plan()
UNMEASURED: Final = Unmeasured(0)
"""The meter of peers of whom nothing has been awaited yet but the first octet of a head."""
GULPS: Final = 2
"""Pieces of a body taken without a wait before the neighbours have a turn: the smallest chunks make one of 4 ms."""
RELEASED: Final = "nobody waits for this request's peer any more"
NO_SHARE: Final = Share(Buffered())
"""Of those whose streams are somebody else's."""


class Http1Exchange(Http1Sender):
    """The request in hand, its body, and (in its base) its response.

    Attributes:
        engine: splits what the peer sends.
        plan: what the application wants done with the request in hand.
        meter: how fast its peer sends it, where that has to be asked.
        grace: the time it has left when its peer has gone; made when first needed.
        waits: those of the application for something of the request in hand; None is nobody's.
        judged: by its head alone, for the time being: its body is not to be read, or is refused.
        taken: what :attr:`received` was when it lost its engine; None while it has it.
    """

    __slots__ = (
        "_bulk",
        "_gulps",
        "_readers",
        "_reading",
        "_received",
        "_spared",
        "_waiting",
        "engine",
        "grace",
        "judged",
        "meter",
        "plan",
        "taken",
        "waits",
    )

    def __init__(self, conn: Carrier, engine: Http1Engine) -> None:
        super().__init__(conn)
        self.engine = engine
        self.plan = NO_PLAN
        self.meter: RateMeter = UNMEASURED
        self.grace: Grace | None = None
        self._reading = self.judged = False
        self._received = 0
        self._readers: trio.lowlevel.ParkingLot | None = None
        self._waiting: trio.lowlevel.ParkingLot | None = None
        self.waits: list[_Wait] | None = None
        self.taken: int | None = None

    # -- what it has of its connection -------------------------------------------------------------

    @property
    def wire(self) -> SocketWire | None:
        """The socket, where the connection stands on one."""
        return self.conn.wire

    @property
    def gone(self) -> bool:
        """Whether nothing more comes from the peer, or can be said to it."""
        return self.conn.gone

    @property
    def gone_now(self) -> bool:
        """Whether the peer is known to have gone, or to have ended what it sends; nobody waits or reads to find out."""
        return self.conn.hung_up or self.conn.gone or self.engine.ended

    @property
    def was_reset(self) -> bool:
        """Whether the peer has reset the connection."""
        return self.conn.was_reset

    @property
    def received(self) -> int:
        """Octets of the request's content that have been read."""
        return self.engine.body_taken if self.taken is None else self.taken

    # -- the octets that come ----------------------------------------------------------------------

    def take_early(self, early: bytes) -> None:
        """What came with the handshake, before anybody read."""
        if early:
            self.engine.receive(early)
        if self.conn.layer is not None and self.conn.layer.ended:
            self.engine.receive(b"")

    async def fill(self, most: int = RECEIVE_SIZE) -> int:
        """Reads once from the peer into the engine and says how many octets came.

        None may have come although the peer goes on: a record need not have content.

        Two tasks may want to: one that takes the body, one that waits for the peer to go. The first reads for both,
        and both count what came, else the peer would look slow to the second.
        """
        if self._reading:
            before = self._received
            await self._park()
            return self._received - before
        conn, self._reading = self.conn, True
        try:
            if conn.plain is not None:
                data: bytes | bytearray | None = await conn.plain.receive_by_edge(most)
            else:
                data = await conn.receive(most)
        except trio.BrokenResourceError as exc:
            conn.gone = True
            raise PeerGone("the connection was reset") from exc
        finally:
            self._reading = False
            if self._readers is not None:
                self._readers.unpark_all()
        if data is None:
            return 0
        self.engine.receive(bytes(data))
        self._received += len(data)
        return len(data)

    async def _park(self) -> None:
        if self._readers is None:
            self._readers = trio.lowlevel.ParkingLot()
        await self._readers.park()

    async def complete_head(self) -> RequestHead | Signal:
        """The rest of a head that has begun: it has a time of its own (N8) and a rate to keep (N5).

        Raises:
            ProtocolError: it is malformed, or above a limit.
            PeerTooSlow: the peer sends it more slowly than the minimum rate.
        """
        self.phase.enter(Phase.READ_REQUEST, self.timeouts.request)
        self.measure(self.engine.buffered)
        while (head := self.engine.next_head()) is NEED_DATA:
            if self.meter.slow and not self.engine.ended:
                raise PeerTooSlow("the peer sends its head more slowly than the minimum rate")  # E7
            before = self.meter.begin()
            self.meter.add(await self.fill(), self.phase.now() - before)
        return head

    def measure(self, octets: int = 0) -> None:
        """From now on it counts how fast the peer sends; it has sent ``octets``."""
        if self.meter is UNMEASURED:
            context = self.conn.context
            self.meter = RateMeter(context.limits.min_bytes_per_second, context.clock)
        self.meter.reset(octets)

    def expect_body(self, plan: Plan) -> bool:
        """Prepares for the body of the current head as planned; whether anything is to be done before the handler runs.

        Raises:
            ProtocolError: 413, when it is declared larger than planned.
        """
        self.plan = plan
        if self.head.framing is Framing.NONE:
            self.body_done = True
            self.request.keep_body(b"")
            return bool(plan.early)
        self.engine.limit_body(plan.max_body)
        if plan.body == "buffered" and not plan.early and self._body_came_along():
            return False
        self.continue_owed = self.head.expects_continue and not self.engine.buffered  # N17
        self.measure()
        self._bulk = self._spared = False
        self._gulps = 0
        return plan.body == "buffered" or bool(plan.early)

    def _body_came_along(self) -> bool:
        """Keeps the body if all of it came with its head, as small ones do: it needs no phase, and no wait."""
        length = self.head.content_length
        if not 0 < length <= self.engine.buffered:
            return False
        if not self.share.hold(length):
            raise no_room(self)
        self.request.keep_body(cast("bytes", self.engine.next_body()))
        self.body_done = True  # who has the last piece knows that it is the last
        return True

    async def receive_body(self) -> bytes:
        """The next piece of the body; ``b""`` at its end.

        Raises:
            RuntimeError: the exchange has ended in the meantime, and what comes now is not this request's; or nobody is
                to read it yet.
        """
        request = self.request
        if self.judged:
            raise RuntimeError(UNREAD)
        while not self.body_done:
            if self._gulps >= GULPS:
                await self._yield()
                if request.over:
                    raise RuntimeError(OVER)
            if (piece := self._next_piece()) is not None:
                return piece
            if not self.body_done:
                await self._await_body(request)
        return b""

    async def gather_body(self) -> bytes:
        """The whole body, which counts among what all connections hold until the exchange is over."""
        return await gather_body(self)

    def _next_piece(self) -> bytes | None:
        """A piece that is there, or None; at the end of the body too, which is then done."""
        try:
            piece = self.engine.next_body()
        except ProtocolError:
            self.spoiled = True
            raise
        if isinstance(piece, bytes):
            self._gulps += 1
            if self.head.framing is Framing.LENGTH and self.engine.body_taken == self.head.content_length:
                self.body_done = True
            if self._readers is not None:
                self._readers.unpark_all()  # there is room again to read ahead
            return piece
        if piece is END:
            self.body_done = True
            self.request.trailers = self.engine.trailers()  # N68
        elif piece is CLOSED:
            self.conn.gone = True
            raise PeerGone("the peer went away inside a request body")  # N67
        return None

    async def _await_body(self, request: Request) -> None:
        if self.meter.slow and not self.engine.ended:
            raise self._too_slow()  # E11; not before more is needed: what has come in the meantime may be all
        if self.continue_owed:
            self.continue_owed = False
            await self.send_interim(100)
            if request.over:
                raise RuntimeError(OVER)
        before, most = self.meter.begin(), BULK_SIZE if self._bulk else RECEIVE_SIZE
        if self.phase.phase in (Phase.READ_BODY, Phase.FINISH):
            octets = await self.fill(most)
            waited = self.phase.now() - before
        else:
            octets, waited = await self._fill_for_handler(request, before, most)
        self._gulps = 0
        self._bulk = octets > RECEIVE_SIZE // 2
        self.meter.add(octets, waited)

    async def _yield(self) -> None:
        """The neighbours' turn: a body of crumbs that has come at once is costly, and there is no wait in it."""
        self._gulps = 0
        await trio.lowlevel.checkpoint()

    def _too_slow(self) -> Exception:
        self.spoiled = True
        if self.phase.phase in (Phase.READ_BODY, Phase.FINISH):
            return ProtocolError(408, "body_too_slow")
        return BodyTimeout("the peer sends its body more slowly than the minimum rate")

    async def _fill_for_handler(self, request: Request, now: float, most: int) -> tuple[int, float]:
        """Inside user code a wait has a scope of its own: the connection's deadline is not moved from there.

        Returns:
            The octets, and the seconds that count: when we were late, a second is left for what follows.
        """
        octets, left = 0, self.timeouts.body - self.meter.waited
        with _Wait(self, request, now + left) as wait:
            octets = await self.fill(most)
        if wait.released:
            raise RuntimeError(OVER)
        if wait.expired:
            self.spoiled = True
            raise BodyTimeout("the peer took too long to send its body")
        seconds = trio.current_time() - now
        late = seconds > left or wait.deadline > now + left  # the clock may not have had its turn
        return octets, max(0.0, left - SPARED) if late else seconds

    def may_be_spared(self) -> bool:
        """Whether a peer whose time is up has sent what nobody has taken yet: once a body, or a drip could go on."""
        wire = self.wire
        if self._spared or wire is None:
            return False
        self._spared = wire.pending()
        return self._spared

    def dismiss(self) -> None:
        """The exchange has ended: so does every wait in its name."""
        for wait in self.waits or ():
            wait.dismiss()

    def forget(self) -> None:
        """As of what it sends; nobody counts the time of a peer that has left."""
        super().forget()
        self.plan = NO_PLAN
        look_away(self)

    def end(self) -> None:
        """There will be no other request: nobody waits in its name, and no clock holds anything of it."""
        self.meter.close()
        self.dismiss()
        look_away(self)

    def release_waiters(self) -> None:
        """The response is complete, or a WebSocket decided upon: nobody waits for the peer any more."""
        if self.waits:
            for wait in self.waits:
                wait.release()
        if self.ended:
            if self.phase.deadline != math.inf:
                self.phase.deadline = math.inf  # the time of a handler is until its response is complete
            self._offer()

    def _offer(self) -> None:
        """What has come of a next request need not wait for an application that goes on; what comes tells by itself."""
        wire = self.conn.wire
        if wire is not None and (wire.readable or not self.keep or self.engine.buffered):
            self.conn.go_on_soon()

    async def settle(self) -> None:
        """Dismisses, and returns when all have gone: only then may somebody else read."""
        self.dismiss()
        while self.waits:
            await self._park()

    def has_left(self, wait: _Wait) -> None:
        """One of the waits is over."""
        if self.waits is not None:
            self.waits.remove(wait)
            self.waits = self.waits or None
            if self.ended and self.waits is None:
                self._offer()
        if (wait.dismissed or wait.released) and self._readers is not None:
            self._readers.unpark_all()  # the connection waits for this

    async def skip_body(self) -> bool:
        """Reads and forgets the rest of the body; False when it cannot be had, and the connection not be reused."""
        if self.continue_owed:
            return False  # nobody knows whether the peer will send it (RFC 9110 section 10.1.1)
        try:
            while not self.body_done:
                if self._gulps >= GULPS:
                    await self._yield()
                if self._next_piece() is None and not self.body_done:
                    await self._await_body(self.request)
        except (ProtocolError, PeerGone):
            return False
        return True

    # -- the peer that leaves ----------------------------------------------------------------------

    async def disconnected(self) -> None:
        """Returns when the peer has gone: a reset, or the end of what it sends; or when waiters are released."""
        conn, engine, request = self.conn, self.engine, self.request
        if conn.wire is not None and conn.wire.polled:
            if not (conn.hung_up or conn.gone or engine.ended):
                self._waiting = self._waiting or trio.lowlevel.ParkingLot()
                with _Wait(self, request, math.inf):
                    await self._waiting.park()
            return
        while not (conn.gone or engine.ended):
            with _Wait(self, request, math.inf) as wait:
                if engine.buffered >= READ_AHEAD:
                    await self._park()
                else:
                    with suppress(PeerGone):
                        await self.fill()
            if wait.released:
                return

    def peer_left(self) -> None:
        """The connection's word, which has it from the poller."""
        if self._waiting is not None:
            self._waiting.unpark_all()  # before any cancellation: who waits for the end is to learn of it
        if in_handler(self):
            miss(self)

    def give_up(self, reason: str) -> None:
        """Cancels the request in hand, to which nothing will be written any more, and so ends the connection."""
        if not self.phase.scope.cancel_called:
            self.conn.gone = self.conn.broken = True
            self.phase.deadline = math.inf  # time that runs out while the handler cleans up is no timeout
            self.phase.end(reason)

    def acknowledge_drain(self) -> None:
        """Counts and tells that the handler knows of the drain."""
        tell_acknowledged(self)

    async def take_over(
        self, status: int | None, fields: Sequence[Field] = (), *, replay_head: bool = False
    ) -> trio.abc.Stream:
        """Writes a head, if any, and gives up the rest of the wire: HANDED_OFF has no deadline but the drain's."""
        if not self.body_done:
            raise RuntimeError("read the request's body before handing its stream over")
        if status == 101 and self.head.version < (1, 1):
            raise HTTPError(400, "An HTTP/1.0 connection cannot be upgraded.\n")  # RFC 9110 section 15.2
        self.keep = False
        if status is not None:
            try:
                await self.conn.send(encode.head(encode.status_line(status), (*fields, *self.extra)))
            except PeerGone as exc:
                tell_send_failed(self, "handoff_response", exc)
                raise
        else:
            await self.conn.send_held()  # the answer to the request before
        self.status = status or 101
        self.taken_over = True
        if self.wire is None or not self.wire.polled:
            await self.settle()  # who waits for the peer to go reads here, and two cannot read one stream
        self.phase.enter(Phase.HANDED_OFF, math.inf)
        early, head = self.engine.release(), self.head
        if self.wire is not None and self.wire.polled and not self.engine.ended:
            self._strip()
        return PrefixedStream(head.raw + early if replay_head else early, self.conn.stream)

    def _strip(self) -> None:
        """Lets go of what reads requests: the stream may be another's for days, and no more of them come."""
        self.taken = self.received
        self.meter.close()
        self.engine, self.meter, self.head = SPENT, UNMEASURED, NO_HEAD
        if not self.share.held:
            self.share = NO_SHARE


class _Wait(Patience):
    """Around a wait in the application's name, which is over when its exchange is, or when nobody waits any more.

    Raises:
        RuntimeError: the exchange is over.
    """

    __slots__ = ("dismissed", "exchange", "released", "request")

    def __init__(self, exchange: Http1Exchange, request: Request, deadline: float) -> None:
        super().__init__(exchange.clock, deadline, exchange.may_be_spared)
        self.exchange = exchange
        self.request = request
        self.dismissed = False
        self.released = False

    def dismiss(self) -> None:
        """Ends it, though its time is not up."""
        self.dismissed = True
        self.scope.cancel(reason=OVER)

    def release(self) -> None:
        """Ends it, and what it is for goes on."""
        self.released = True
        self.scope.cancel(reason=RELEASED)

    def __enter__(self) -> _Wait:
        if self.request.over:
            raise RuntimeError(OVER)
        self.exchange.waits = self.exchange.waits or []
        self.exchange.waits.append(self)
        super().__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        self.exchange.has_left(self)
        caught = super().__exit__(kind, value, traceback)
        if (self.request.over or (self.dismissed and not self.released)) and (caught or kind is None):
            raise RuntimeError(OVER)
        return caught
