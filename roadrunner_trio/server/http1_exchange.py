"""How one HTTP/1 connection reads bodies, and answers: the exchange that its connection is.

A connection serves one request after another, so it is its own exchange and per request only a head and a
:class:`~roadrunner_trio.Request` are built. What :mod:`.connection` tells as a story is spelled out here; there the
phases, here the octets that come. Those that go are in :mod:`.http1_sender`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

import trio

from ..answering.context import ServerContext
from ..errors import HTTPError, ProtocolError
from ..fields import Field
from ..messages.exchange import Plan
from ..protocol.heads import Framing
from ..protocol.http1 import encode
from ..protocol.http1.engine import CLOSED, END, Http1Engine
from ..protocol.proxy_header import ProxyHeader
from ..settings import Timeouts
from ..telemetry.observe import DrainAcknowledged
from ..transport.clock import Clock
from ..transport.phases import Phase
from ..transport.streams import Address, PrefixedStream, RateMeter
from ..transport.tls import TLSInfo
from ..transport.tls_stream import RecordLayer, TLSStream, encrypted
from ..transport.wire import RECEIVE_SIZE, BodyTimeout, PeerGone, SocketWire
from .http1_sender import Http1Sender

READ_AHEAD: Final = 65536
BULK_SIZE: Final = 262144
"""Octets that are read at once of a body whose peer is faster than we are: a read costs 15 µs, whatever its size."""


class Http1Exchange(Http1Sender):
    """The current request of a connection and its response.

    Attributes:
        plain: the wire, if what comes from it is HTTP as it is, and a poller tells when; else None.
    """

    __slots__ = (
        "_bulk",
        "_readers",
        "_reading",
        "_received",
        "engine",
        "meter",
        "peer",
        "plain",
        "plan",
        "scheme",
        "tls",
        "transport",
    )

    plan: Plan

    def __init__(self, stream: trio.abc.Stream, engine: Http1Engine, context: ServerContext, peer: Address) -> None:
        super().__init__(stream, context)
        self.engine = engine
        self.peer = peer
        self.plain = self.wire if self.wire is not None and self.wire.polled else None
        self.tls = encrypted(stream)
        self.scheme = "http" if self.tls is None else "https"
        self.transport: tuple[TLSInfo | None, ProxyHeader | None] | None = None
        self.meter = RateMeter(context.limits.min_bytes_per_second)
        self._reading = False
        self._received = 0
        self._readers: trio.lowlevel.ParkingLot | None = None
        self.reset()

    @property
    def clock(self) -> Clock:
        """The listener's."""
        return self.context.clock

    @property
    def timeouts(self) -> Timeouts:
        """The listener's."""
        return self.context.timeouts

    def encrypt(self, stream: TLSStream) -> None:
        """Goes on under TLS.

        Raises:
            trio.BrokenResourceError: what came behind the handshake is no TLS.
        """
        self.stream = self.tls = stream
        self.scheme = "https"
        self.plain = None
        if self.wire is not None and self.wire.polled:
            self.layer = stream.layer
        else:
            self.wire = None
        if early := stream.layer.open():
            self.engine.receive(early)
        if stream.layer.ended:
            self.engine.receive(b"")

    async def fill(self, most: int = RECEIVE_SIZE) -> int:
        """Reads once from the peer into the engine and says how many octets came: the only place that reads.

        None may have come although the peer goes on: a record need not have content.

        Two tasks may want to: one that takes the body, one that waits for the peer to go. The first reads for both,
        and both count what came, else the peer would look slow to the second.
        """
        if self._reading:
            before = self._received
            await self._park()
            return self._received - before
        self._reading = True
        try:
            if self.plain is not None:
                data: bytes | bytearray | None = await self.plain.receive_by_edge(most)
            elif self.layer is not None and self.wire is not None:
                data = await self._receive_records(self.wire, self.layer, most)
            else:
                data = await self.stream.receive_some(most)
        except trio.BrokenResourceError as exc:
            self.gone = True
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

    async def _receive_records(self, wire: SocketWire, layer: RecordLayer, most: int) -> bytes | None:
        """What the next records hold; ``b""`` at the end, None when they hold nothing."""
        if layer.ended:
            await trio.lowlevel.checkpoint()
            return b""
        layer.feed(await wire.receive_by_edge(most))
        data = layer.open()
        if data or layer.ended:
            return data
        if layer.unsaid and not (wire.held or wire.sending):
            wire.hold(layer.said())  # a new key, a refusal: a peer that waits for that would send nothing else
        return None

    async def _park(self) -> None:
        if self._readers is None:
            self._readers = trio.lowlevel.ParkingLot()
        await self._readers.park()

    def expect_body(self, plan: Plan) -> bool:
        """Prepares for the body of the current head as planned; whether it is to be read before the handler runs.

        Raises:
            ProtocolError: 413, when it is declared larger than planned.
        """
        self.plan = plan
        if self.head.framing is Framing.NONE:
            self.body_done = True
            self.request.keep_body(b"")
            return False
        self.engine.limit_body(plan.max_body)
        self.continue_owed = self.head.expects_continue and not self.engine.buffered  # N17
        self.meter.reset()
        self._bulk = False
        return plan.body == "buffered"

    async def receive_body(self) -> bytes:
        """The next piece of the body; ``b""`` at its end."""
        while not self.body_done:
            try:
                piece = self.engine.next_body()
            except ProtocolError:
                self.spoiled = True
                raise
            if isinstance(piece, bytes):
                if self._readers is not None:
                    self._readers.unpark_all()  # there is room again to read ahead
                return piece
            if piece is END:
                self.body_done = True
                self.request.trailers = self.engine.trailers()  # N68
            elif piece is CLOSED:
                self.gone = True
                raise PeerGone("the peer went away inside a request body")  # N67
            else:
                await self._await_body()
        return b""

    async def _await_body(self) -> None:
        if self.continue_owed:
            self.continue_owed = False
            await self.send_interim(100)
        before, most = trio.current_time(), BULK_SIZE if self._bulk else RECEIVE_SIZE
        if self.phase.phase in (Phase.READ_BODY, Phase.FINISH):
            octets = await self.fill(most)
        else:
            octets = await self._fill_for_handler(before, most)
        self._bulk = octets > RECEIVE_SIZE // 2
        if not self.meter.add(octets, trio.current_time() - before) and not self.engine.ended:
            self.gone = True
            raise PeerGone("the peer sends its body more slowly than the minimum rate")  # E11

    async def _fill_for_handler(self, now: float, most: int) -> int:
        """Inside user code a wait has a scope of its own: the connection's deadline is not moved from there."""
        octets = 0
        with trio.move_on_at(now + self.context.timeouts.body - self.meter.waited) as scope:
            octets = await self.fill(most)
        if scope.cancelled_caught:
            self.spoiled = True
            raise BodyTimeout("the peer took too long to send its body")
        return octets

    async def skip_body(self) -> bool:
        """Reads and forgets the rest of the body; False when it cannot be had, and the connection not be reused."""
        if self.continue_owed:
            return False  # nobody knows whether the peer will send it (RFC 9110 section 10.1.1)
        try:
            while await self.receive_body():
                pass
        except (ProtocolError, PeerGone):
            return False
        return True

    async def disconnected(self) -> None:
        """Returns when the peer has gone: a reset, or the end of what it sends."""
        while not (self.gone or self.engine.ended):
            if self.engine.buffered >= READ_AHEAD:
                await self._park()
            else:
                try:
                    await self.fill()
                except PeerGone:
                    return

    def acknowledge_drain(self) -> None:
        """Counts and tells that the handler knows of the drain."""
        self.context.counters.acknowledged += 1
        observers = self.context.observers
        if observers.drain_acknowledged:
            deadline = self.drain.deadline if self.drain.draining else None
            event = DrainAcknowledged(self.request, deadline, time.time())
            observers.tell(observers.drain_acknowledged, event)

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
                await self.send(encode.head(encode.status_line(status), (*fields, *self.extra)))
            except PeerGone as exc:
                self._tell_send_failed("handoff_response", exc)
                raise
        self.status = status or 101
        self.taken_over = True
        self.phase.enter(Phase.HANDED_OFF, float("inf"))
        early = self.engine.release()
        return PrefixedStream(self.head.raw + early if replay_head else early, self.stream)
