"""What belongs to a connection and to none of its requests: the stream, and how octets come and go on it.

HTTP/1 has one exchange at a time on a carrier, HTTP/2 has many; what is in here is the same for both. A write is tried
at once, and only what the kernel does not take waits, bounded by the write timeout. A read gives octets to whoever
asks: whose they are is the protocol's affair.
"""

from __future__ import annotations

import enum
import math
import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import ClassVar, Final, TypeVarTuple

import trio

from ..answering.context import ServerContext
from ..answering.faults import part_ways
from ..journal import log
from ..protocol.proxy_header import ProxyHeader
from ..telemetry.observe import ConnectionAccepted, ConnectionEnded
from ..transport.drain import Drain
from ..transport.files import SLICE, OpenFile
from ..transport.gone import PeerGone, PeerTooSlow
from ..transport.phases import BUSY, Phase, PhaseScope
from ..transport.streams import Address, SendMeter, shown
from ..transport.tls import TLSInfo
from ..transport.tls_stream import RecordLayer, TLSStream, encrypted
from ..transport.wire import SocketWire
from .presence import RESET
from .writing import Taking, Writing

Args = TypeVarTuple("Args")

WRITE_SIZE: Final = 65536
"""Octets that the write timeout is for: a slow but honest peer may take long for all of a large response."""
HELD_MOST: Final = 16384
"""Octets that are held until a turn is over. What is larger is sent at once, and waits for a peer that is slow."""
CROWD: Final = 2
"""Connections awake at once, above which a whole response is written at the end of the turn, with those of the others:
a peer that a write wakes takes the processor from us. With fewer it would only come later."""
NEWBORN: Final = 1.0
"""Seconds in which a connection that a drain finds silent may still send its first byte."""
LATELY: Final = 0.25
"""Seconds since its last answer in which a peer may still send its next request when a drain begins: who asks again and
again has nearly always one on its way, and would have no answer to it."""
QUIET: Final = 1.0
"""Seconds after which an idle peer is taken to have read its last answer: its end need only be acknowledged."""
LAST_WORD: Final = 0.5
"""Seconds in which a request that the drain's deadline cut off is told 503."""
LINGER_OCTETS: Final = 20 * 1024 * 1024
"""What a lingering close reads at most: twice the default body limit, as the original (N19)."""


class Fate(enum.Enum):
    """What has become of a connection when its task ends."""

    CLOSED = "closed"
    PARKED = "parked"


class Carrier:
    """One connection, below its requests.

    Attributes:
        stream: what it stands on; whoever closes the carrier closes it.
        wire: the socket, where it stands on one.
        plain: the wire, if what comes from it is HTTP as it is, and a poller tells when; else None.
        layer: encrypts what is written to the wire; None where nothing does, or the stream does it.
        tls: the stream, if it encrypts.
        peer: who is at the other end, or behind the proxy there.
        scheme: of its requests, ``"http"`` or ``"https"``.
        transport: what the handshake has told of encryption and of a proxy; None when there was none.
        context: what it shares with its neighbours.
        drain: the drain it has joined.
        phase: where it is, its deadline, and its one cancel scope.
        task: who serves it.
        born: when it was accepted, in Trio's time.
        served: requests so far, the current one included.
        gone: nothing more comes from the peer, or can be said to it.
        broken: a write was not finished, so that nothing may follow.
        hung_up: the peer has ended what it sends, or is gone altogether.
        was_reset: the latter.
        closed: all is over, and nobody is to be told of anything.
        parked: a slot has its place, which needs no task; see :mod:`.dormitory`.
        moved: another has its wire, and it only waits for its application; see :mod:`.afterwards`.
        parting: it is such another, and there is nothing to be done any more but to close the wire.
    """

    __slots__ = (
        "_accept_told",
        "_meter",
        "born",
        "broken",
        "closed",
        "context",
        "drain",
        "gone",
        "hung_up",
        "layer",
        "moved",
        "parked",
        "parting",
        "peer",
        "phase",
        "plain",
        "scheme",
        "served",
        "stream",
        "task",
        "tls",
        "transport",
        "was_reset",
        "wire",
    )

    protocol: ClassVar[str] = "http/1.1"
    """What it speaks, by its name in ALPN."""

    def __init__(self, stream: trio.abc.Stream, context: ServerContext, peer: Address) -> None:
        self.stream = stream
        self.wire = stream if isinstance(stream, SocketWire) else None
        self.plain = self.wire if self.wire is not None and self.wire.polled else None
        self.layer: RecordLayer | None = None
        self.tls = encrypted(stream) if self.wire is None else None
        self.peer = peer
        self.scheme = "http" if self.tls is None else "https"
        self.transport: tuple[TLSInfo | None, ProxyHeader | None] | None = None
        self.context = context
        self.drain = context.drain
        self.phase = PhaseScope(context.clock, self.wire)
        self.task: trio.lowlevel.Task | None = None
        self.born = self.phase.now()
        self.served = 0
        self.gone = False
        self.broken = False
        self.hung_up = False
        self.was_reset = False
        self.closed = False
        self.parked = False
        self.moved = False
        self.parting = False
        self._meter: SendMeter | None = None
        self._accept_told = False
        if self.wire is not None:
            self.wire.attendant = self.wire.reader = self  # also when TLS comes between
            if context.park is not None and self.wire.polled:
                self.phase.sleeper = self

    def succeed(self, before: Carrier) -> None:
        """Takes the place of another that stops here: its stream, its drain, its peer and its past."""
        for name in Carrier.__slots__:
            setattr(self, name, getattr(before, name))
        before.phase.close()
        before.closed = True
        self.phase = PhaseScope(self.context.clock, self.wire)
        self.drain.replace(before, self)
        if self.wire is not None:
            self.wire.attendant = self
            if self.context.park is not None and self.wire.polled:
                self.phase.sleeper = self

    def has_been_here(self, born: float, served: int) -> None:
        """It goes on where it has rested without a task."""
        self.born, self.served, self._accept_told = born, served, True

    def adopt(self, sock: socket.socket, peer: Address, drain: Drain, *, tcp: bool) -> bool:
        """Goes on, in its task, with another socket in the place of the one it gave up; False when it has no task."""
        if self.plain is None or not self.plain.adopt(sock, tcp=tcp):
            return False
        self.plain.attendant = self.plain.reader = self
        self.peer, self.drain = peer, drain
        self.scheme, self.transport, self._meter = "http", None, None
        self.gone = self.broken = self.hung_up = self.was_reset = False
        self.closed = self.parked = self._accept_told = False
        self.born, self.served = self.phase.now(), 0
        return True

    # -- what a listener asks of it ----------------------------------------------------------------

    @property
    def doing(self) -> str:
        """What it does, in words."""
        return self.phase.phase.value

    @property
    def half_closes(self) -> bool:
        """Whether its stream can say that we have ended and go on listening."""
        return self.plain is not None or isinstance(self.stream, trio.abc.HalfCloseableStream)

    @property
    def streams(self) -> int:
        """Requests that it has in hand."""
        return int(self.phase.phase in BUSY)

    def told(self) -> None:
        """The drain has started."""

    def make_room(self) -> bool:
        """Ends an idle connection for another's sake, at once; False when it is none after all."""
        return False

    def heard(self) -> int:
        """Octets that have come of what is due."""
        return 0

    def idle_for(self) -> float:
        """Seconds for which it has waited for a request since the last answer; 0 when it does not wait."""
        if self.phase.phase is not Phase.IDLE:
            return 0.0
        return self.phase.now() - self.phase.since if self.served else math.inf

    def park(self) -> bool:
        """The clock's word, that it has been idle for long: whether it gives up its task."""
        return self.context.park is not None and self.context.park(self)

    # -- encryption --------------------------------------------------------------------------------

    def encrypt(self, stream: TLSStream) -> bytes:
        """Goes on under TLS, and gives what came behind the handshake.

        Raises:
            trio.BrokenResourceError: that is no TLS.
        """
        self.stream = self.tls = stream
        self.scheme = "https"
        self.plain = None
        if self.wire is not None and self.wire.polled:
            self.layer = stream.layer
        else:
            self.wire = None
        return stream.layer.open()

    # -- what comes --------------------------------------------------------------------------------

    async def receive(self, most: int) -> bytes | bytearray | None:
        """What comes next, ``b""`` at the end, None when it was nothing: a record need not have content.

        Raises:
            trio.BrokenResourceError: the connection was reset.
        """
        wire, layer = self.wire, self.layer
        if wire is None or not wire.polled:
            return await self.stream.receive_some(most)
        if layer is None:
            return await wire.receive_by_edge(most)
        if layer.ended:
            await trio.lowlevel.checkpoint()
            return b""
        layer.feed(await wire.receive_by_edge(most))
        data = layer.open()
        if data or layer.ended:
            return data
        if layer.unsaid:
            self.say_unsaid(wire, layer)  # a new key, a refusal: a peer that waits for that would send nothing else
        return None

    def say_unsaid(self, wire: SocketWire, layer: RecordLayer) -> None:
        """Sends what TLS itself has to say; not between the octets of a write that has not ended."""
        if not (wire.held or wire.sending):
            wire.hold(layer.said())

    def pending(self) -> bool:
        """Whether something has reached our socket that nobody has read."""
        return self.wire is not None and self.wire.pending()

    def hang_up(self, events: int) -> None:
        """The wire's word that the peer leaves, from the poller's task: once or twice in a connection's life."""
        self.hung_up = True
        self.was_reset = self.was_reset or bool(events & RESET)
        if not self.closed:
            self.peer_left()

    def peer_left(self) -> None:
        """What a protocol makes of it. Synchronous; must not raise."""

    def read_now(self) -> None:
        """The wire's word that octets have come for which nobody waits, from the poller's task."""
        if self.context.go_on is not None and not (self.closed or self.moved):
            self.context.go_on(self)

    flush = read_now  # at the end of a turn

    def go_on_soon(self) -> None:
        """Has the same looked at when this turn is over, and the application has returned or has not."""
        if self.context.poller is not None:
            self.context.poller.flush_soon(self)

    # -- what goes ---------------------------------------------------------------------------------

    async def send(self, data: bytes | bytearray, sent: int = 0) -> None:
        """Sends all of ``data``: at once when the socket takes it, else bounded by the write timeout (N31).

        Args:
            sent: octets of content that were sent before in the same response; what is waited for counts with them.

        Raises:
            PeerGone: the peer is gone, or does not take it in time.
        """
        if (unsent := self.send_now(data)) is not None:
            await self.send_rest(unsent, sent)

    async def send_soon(self, data: bytes, sent: int) -> None:
        """Sends ``data``, where a poller ends turns with what else is sent in this one: a system call takes 5 µs."""
        if not self.hold(data):
            await self.send(data, sent)

    def hold(self, data: bytes) -> bool:
        """Keeps ``data`` until the turn is over; False when it has to be sent now.

        Raises:
            PeerGone: the peer is gone.
        """
        wire = self.wire
        if wire is None or not wire.polled or len(data) + len(wire.held or b"") > HELD_MOST:
            return False
        if self.broken:
            raise self._barred()
        try:
            wire.hold(data if self.layer is None else self.layer.seal(data))
        except trio.BrokenResourceError as exc:
            raise self._lost("the peer went away") from exc
        return True

    def send_with_others(self, data: bytes) -> memoryview | None:
        """As :meth:`send_now`; while many connections are awake, ``data`` is kept until the turn is over."""
        poller = self.context.poller
        if poller is not None and poller.crowd > CROWD and self.hold(data):
            return None
        return self.send_now(data)

    async def send_large(self, data: memoryview, sent: int) -> None:
        """In slices, with a checkpoint between them: the kernel may take megabytes at once, while everybody waits."""
        for at in range(0, len(data), SLICE):
            if (unsent := self.send_now(data[at : at + SLICE])) is not None:
                await self.send_rest(unsent, sent)
            await trio.lowlevel.checkpoint()

    async def send_held(self) -> None:
        """Sends what is kept until the turn is over, before somebody else writes.

        Raises:
            PeerGone: as :meth:`send`.
        """
        if self.wire is not None and self.wire.held:
            await self.send(b"")

    async def send_last(self) -> None:
        """Sends what is kept, with the time of a write, before the connection ends; who is gone is no matter."""
        poller = self.context.poller
        if self.wire is not None and self.wire.held and poller is not None:
            await poller.end_of_turn()
            with suppress(PeerGone):
                await self.send_held()

    def send_now(self, data: bytes | bytearray | memoryview) -> memoryview | None:
        """What the kernel has not taken, as it has to go out: encrypted, with what was held before; None is nothing."""
        if self.broken:
            raise self._barred()
        wire = self.wire
        if wire is None:
            return memoryview(data)
        try:
            if self.layer is not None:
                data = self.layer.seal(data)
            if wire.held is not None:
                data = wire.release(data)
            sent = wire.send_now(data)
        except trio.BrokenResourceError as exc:
            raise self._lost("the peer went away") from exc
        return None if sent == len(data) else memoryview(data)[sent:]

    def end_wire(self) -> bool:
        """Sends an end, if there is a wire; False, and it does not, when the peer has yet to take what was sent.

        In the step in which the caller has looked: a request that comes from now on has crossed an end that was sent.
        """
        wire = self.wire
        if wire is not None:
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                wire.flush()
                if wire.held:
                    return False
                if self.layer is not None:
                    wire.send_now(self.layer.farewell())
                wire.send_eof_now()
        return True

    async def send_rest(self, data: memoryview, sent: int) -> None:
        """Sends what :meth:`send_now` could not, as it is, while the peer takes it."""
        stream = self.stream if self.wire is None else self.wire
        with Writing(self):
            for at in range(0, len(data), WRITE_SIZE):
                part = data[at : at + WRITE_SIZE]
                with self.taking(sent, len(part)) as taking:
                    try:
                        await stream.send_all(part)
                    except trio.BrokenResourceError as exc:
                        raise self._lost("the peer went away") from exc
                if taking.expired:
                    raise self._left()
            self.broken = False

    async def send_slice(self, wire: SocketWire, file: OpenFile, at: int, count: int, sent: int) -> int:
        """Sends octets of a file from the kernel, and says how many: fewer only when the file has become shorter."""
        if not file.is_cached(at, count):
            await file.read(at, count)  # sendfile would block the loop on a cold page
        taken = 0
        with Writing(self):
            with self.taking(sent, count) as taking:
                try:
                    taken = await wire.send_file(file.fd, at, count)
                except trio.BrokenResourceError as exc:
                    raise self._lost("the peer went away inside a file") from exc
            if taking.expired:
                raise self._left()
            self.broken = taken < count
        return taken

    def taking(self, sent: int, octets: int) -> Taking:
        if self._meter is None:
            self._meter = SendMeter(self.context.limits.min_send_rate, self.context.timeouts.write)
        return Taking(self, self._meter, min(self.context.timeouts.write, self._meter.allowance(sent, octets)), octets)

    def _left(self) -> PeerTooSlow:
        self.gone = self.broken = True
        return PeerTooSlow("the peer does not take its response in time")

    def _barred(self) -> Exception:
        """Why nothing may be written now: another task of the application does, or one has not finished."""
        if self.phase.phase is Phase.RESPOND:
            return trio.BusyResourceError("another task is sending this response")
        return PeerGone("an earlier write was not finished")

    async def try_to(self, what: str, attempt: Callable[[*Args], Awaitable[object]], *args: *Args) -> None:
        """What a stream may fail to do when all is over: that is logged, and is nobody else's affair."""
        try:
            await attempt(*args)
        except BaseException as exc:
            if part_ways(exc)[1] is not None:
                raise
            log.exception("the stream of %s failed to %s", shown(self.peer), what)

    def _lost(self, why: str) -> PeerGone:
        self.gone = self.broken = True
        return PeerGone(why)

    # -- what is told of it ------------------------------------------------------------------------

    def tell_accept(self) -> None:
        """Its beginning, once its peer is known."""
        self._accept_told = True
        observers = self.context.observers
        if observers.listener_accept:
            event = ConnectionAccepted(self.context.name, self.peer, time.time())
            observers.tell(observers.listener_accept, event)

    def tell_close(self) -> None:
        """Its end, if its beginning was told."""
        observers = self.context.observers
        if self._accept_told and not self.moved and observers.listener_conn_close:
            age = trio.current_time() - self.born
            event = ConnectionEnded(self.context.name, self.peer, age, self.served, self.protocol)
            observers.tell(observers.listener_conn_close, event)
