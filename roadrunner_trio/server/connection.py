"""The story of one connection: one task, told from accept to close.

    handshake, then as often as the peer likes:
    read a request, read its body, dispatch it, finish

Every phase is an async function bounded by an absolute deadline; all of them live in one cancel scope, which the
listener's clock cancels when a phase's time has come. What the peer is owed then is said outside of that scope, by
``expire``. Whatever happens, nothing but a cancellation leaves this task: an exception that crossed into the
connections' nursery would cancel every neighbour.

The octets are in :mod:`.http1_exchange`; who listens and who drains is in :mod:`.listener`.
"""

from __future__ import annotations

import logging
import math
import time
from contextlib import suppress
from typing import Final

import trio

from ..answering.admission import FULL, Gate, Refusal
from ..answering.context import ServerContext
from ..answering.faults import essence
from ..errors import HTTPError, ProtocolError
from ..messages.request import Request
from ..messages.response import Response
from ..protocol.heads import Framing, RequestHead
from ..protocol.http1.encode import BodyFraming, error_response
from ..protocol.http1.engine import CLOSED, NEED_DATA, Signal
from ..protocol.http1.scan import ScanEngine
from ..telemetry.observe import RequestStarted
from ..transport.phases import Phase
from ..transport.streams import Address, linger, shown
from ..transport.tls_stream import close_notify
from ..transport.wire import RECEIVE_SIZE, BodyTimeout, PeerGone
from .door import enter
from .report import Reporting

log = logging.getLogger("roadrunner_trio")

NEWBORN: Final = 1.0
"""Seconds in which a connection that a drain finds silent may still send its first byte."""
LAST_WORD: Final = 0.5
"""Seconds in which a request that the drain's deadline cut off is told 503."""
OWED: Final = {Phase.READ_REQUEST: 408, Phase.READ_BODY: 408, Phase.DISPATCH: 503}
"""What a peer is told when the time of a phase is up (N62, N63); in the others there is nobody to be told."""
LINGER_OCTETS: Final = 20 * 1024 * 1024
"""What a lingering close reads at most: twice the default body limit, as the original (N19)."""


class Connection(Reporting):
    """One connection: its stream, its engine, its one cancel scope, and the exchange it is in.

    It outlives the task that serves it only in name today; ``close`` runs once, from whoever holds it last.

    Args:
        stream: any ``trio.abc.Stream``; the connection closes it.
        context: what it shares with its neighbours; it joins the drain at once.
        peer: who is at the other end.
    """

    __slots__ = ("_idle_scope", "finished", "task")

    def __init__(self, stream: trio.abc.Stream, context: ServerContext, peer: Address) -> None:
        super().__init__(stream, ScanEngine(context.limits, context.seen), context, peer)
        self.finished = False
        self.task: trio.lowlevel.Task | None = None
        self._idle_scope: trio.CancelScope | None = None
        self.drain.join(self)

    def told(self) -> None:
        """The drain's word: an idle connection ends, unless a request has reached it; a newborn has its second."""
        if self.phase.phase is Phase.IDLE and not self.may_wait():
            self._end_idle("the server is draining")

    def make_room(self) -> bool:
        """Ends an idle connection for another's sake, at once; False when a request has reached it after all."""
        if self.arrived():
            return False
        self.gone = True  # it has been answered all it asked: there is nothing to say, nor to linger for
        self._end_idle("another connection needs its place")
        return True

    def _end_idle(self, reason: str) -> None:
        if self.wire is not None:
            # In the step of the look itself: a request that comes from now on has crossed an end that was sent.
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                if self.layer is not None:
                    self.wire.send_now(self.layer.farewell())
                self.wire.send_eof_now()
        if self._idle_scope is None:
            self.phase.end(reason)
        else:
            self._idle_scope.cancel(reason=reason)

    def may_wait(self) -> bool:
        """Whether an idle connection is worth waiting for although the server drains."""
        if self.arrived():
            return True
        grown = self.born + NEWBORN
        if self.served or trio.current_time() >= grown:
            return False
        self.phase.shorten(grown)
        return True

    def arrived(self) -> bool:
        """Whether anything of a next request has reached us, down to the socket's buffer."""
        return bool(self.engine.buffered) or (self.wire is not None and self.wire.pending())

    async def fill_idle(self) -> int | None:
        """As ``fill``; None when a drain ended the wait.

        A stream that cannot be peeked gives the wait a scope of its own, left before any checkpoint: bytes that have
        come win over the drain.
        """
        if self.wire is not None:
            return await self.fill()
        octets = None
        with trio.CancelScope() as self._idle_scope:
            octets = await self.fill()
        self._idle_scope = None
        return octets

    async def say(self, status: int) -> None:
        """An error response that ends the connection, if none has begun; a peer that is gone is no matter."""
        if not self.started:
            try:
                await self.send(error_response(status, self.extra))
            except PeerGone:
                return
            self.status, self.ended, self.kind = status, True, "none"

    async def close(self) -> None:
        """Gives up everything the connection holds; never waits for the peer beyond the last word."""
        lingering = self.phase.phase is Phase.FINISH  # it has said what it had to say
        cut_short = not (self.finished or lingering) and self.drain.cut < math.inf
        due = self.drain.cut <= trio.current_time() and self.phase.phase in (Phase.READ_BODY, Phase.DISPATCH)
        try:
            if cut_short and due:
                with trio.move_on_after(LAST_WORD, shield=True):
                    await self.say(503)
        finally:
            self.phase.close()
            self.look_away()
            self.drain.leave(self)
            self.context.counters.cut += cut_short
            self.tell_aborted("cancelled", self.status or None)
            self.tell_close()
            if self.wire is None:
                await trio.aclose_forcefully(self.stream)
            elif self.truncated:
                self.wire.reset()
            else:
                self.wire.close()  # without a wait, and without the cancelled one of aclose_forcefully

    @property
    def truncated(self) -> bool:
        """Whether a response that ends with the connection was cut: only a reset can tell the peer (N25)."""
        return self.started and not self.ended and self.framing is BodyFraming.CLOSE

    def wants_linger(self) -> bool:
        """Whether the peer may still be sending: not when it has finished, or asked for the close itself."""
        if self.gone or self.taken_over or self.truncated or self.engine.ended:
            return False
        if self.phase.phase is Phase.HANDSHAKE or not isinstance(self.stream, trio.abc.HalfCloseableStream):
            return self.started
        asked = self.ended and self.body_done and not self.head.keep_alive
        return not asked or self.arrived()


async def serve_connection(conn: Connection) -> None:
    """Serves one connection and closes it. Raises nothing but a cancellation."""
    conn.task = trio.lowlevel.current_task()
    try:
        try:
            await live(conn)
        except Exception:  # ours or an app's plan: the peer gets its answer, the neighbours notice nothing
            log.exception("the connection of %s failed", shown(conn.peer))
            conn.tell_aborted("error", 500)
            with suppress(Exception):
                await part(conn, 500)
        conn.finished = True
    finally:
        await conn.close()


async def live(conn: Connection) -> None:
    """The life of a connection, in its one cancel scope; then what it is owed at the end."""
    try:
        with conn.phase.scope:
            await handshake(conn)
            while (request := await read_request(conn)) is not None:
                if (gate := conn.context.gate) is not None and not gate.spares(request):
                    await admit(conn, request, gate)
                else:
                    if conn.expect_body(conn.context.app.plan(request)):
                        await read_body(conn, request)
                    await dispatch(conn, request)
                if not conn.body_done:
                    await finish(conn)
                if not goes_on(conn):
                    break
        await expire(conn)
    except ProtocolError as error:
        await reject(conn, error)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        conn.gone = True  # N67: nobody is there to be answered
        conn.tell_aborted("peer_gone", None)


async def handshake(conn: Connection) -> None:
    """What lies between accept and the first byte: a PROXY header and TLS, within one deadline (N30, N36)."""
    if conn.context.tls or conn.context.proxy_protocol or conn.tls:
        conn.phase.enter(Phase.HANDSHAKE, conn.context.timeouts.handshake)
        await enter(conn)
        conn.born = trio.current_time()
    conn.tell_accept()


async def read_request(conn: Connection) -> Request | None:
    """The next request, or None when there will be none. Pipelined bytes come first."""
    conn.reset()
    if conn.engine.buffered:
        conn.phase.enter(Phase.READ_REQUEST, conn.context.timeouts.request)
        await trio.lowlevel.checkpoint()  # a pipelining peer must still yield to its neighbours
        head = await complete_head(conn)
    else:
        head = await await_head(conn)
    if not isinstance(head, RequestHead):
        return None
    if conn.phase.over:
        conn.phase.phase = Phase.READ_REQUEST  # it may have come all at once
        await trio.lowlevel.checkpoint()  # read in the very tick its time ran out: raises Cancelled
    conn.served += 1
    conn.context.counters.requests += 1
    conn.head = head
    conn.request = Request(head, conn, conn.drain, conn.peer, conn.scheme, conn.context.name)
    if conn.transport is not None:
        conn.request.tls, conn.request.proxy = conn.transport
    for step in conn.context.on_head:
        step(conn)
    return conn.request


async def await_head(conn: Connection) -> RequestHead | Signal:
    """Waits until a head has begun, and reads it to its end: IDLE until the first byte of it."""
    timeouts, engine = conn.context.timeouts, conn.engine
    conn.phase.enter(Phase.IDLE, timeouts.keep_alive if conn.served else timeouts.request)
    while True:
        if conn.drain.draining and not conn.may_wait():
            return CLOSED
        if conn.plain is not None:
            engine.receive(await conn.plain.receive_by_edge(RECEIVE_SIZE))  # nobody else reads: a step less than fill()
        elif await conn.fill_idle() is None:
            return CLOSED
        if (head := engine.next_head()) is not NEED_DATA:
            return head
        if engine.buffered:
            return await complete_head(conn)


async def complete_head(conn: Connection) -> RequestHead | Signal:
    """The rest of a head that has begun: it has a time of its own (N8) and a rate to keep (N5)."""
    conn.phase.enter(Phase.READ_REQUEST, conn.context.timeouts.request)
    conn.meter.reset(conn.engine.buffered)
    while (head := conn.engine.next_head()) is NEED_DATA:
        before = trio.current_time()
        octets = await conn.fill()
        if not conn.meter.add(octets, trio.current_time() - before) and not conn.engine.ended:
            raise PeerGone("the peer sends its head more slowly than the minimum rate")  # E7
    return head


async def admit(conn: Connection, request: Request, gate: Gate) -> None:
    """Answers a request where not everybody is let in. Nobody reads the body of one that is not.

    One that is waits for its body outside: slow peers must not take the places of others.
    """
    if (refusal := gate.knock(request)) is not None:
        return await turn_away(conn, request, refusal)
    if conn.expect_body(conn.context.app.plan(request)):
        await read_body(conn, request)
    if gate.is_full:
        return await turn_away(conn, request, FULL)
    with gate:
        return await dispatch(conn, request)


async def turn_away(conn: Connection, request: Request, refusal: Refusal) -> None:
    """429 or 503, after which the connection goes on, if no body is in the way (E14)."""
    conn.phase.enter(Phase.DISPATCH, math.inf)  # it is answered: an idle connection would end with a drain's word
    conn.tell_throttled(request, refusal)
    request.detach()
    conn.body_done = conn.body_done or conn.head.framing is Framing.NONE
    close = () if conn.body_done else ((b"connection", b"close"),)
    await conn.respond(refusal.status, ((b"retry-after", b"%d" % refusal.retry_after), *close), b"")


async def read_body(conn: Connection, request: Request) -> None:
    """The whole body, for the handler to find."""
    conn.phase.enter(Phase.READ_BODY, conn.context.timeouts.body)
    pieces: list[bytes] = []
    while piece := await conn.receive_body():
        pieces.append(piece)
    request.keep_body(b"".join(pieces))
    if conn.phase.over:
        await trio.lowlevel.checkpoint()


async def dispatch(conn: Connection, request: Request) -> None:
    """Runs the application, which writes its response; one ``except`` covers both (N3). Every start has its end."""
    observers = conn.context.observers
    if observers.request_start:
        observers.tell(observers.request_start, RequestStarted(request, time.time()))
    conn.phase.enter(Phase.DISPATCH, conn.plan.timeout)
    if conn.hung_up:
        conn.miss()
    began, error = conn.phase.now(), None
    try:
        await conn.context.app(conn)
        conn.ended |= conn.taken_over
        if not conn.ended:
            raise RuntimeError("the application returned without ending its response")
    except BaseException as exc:
        error = essence(exc, peer_gone=conn.gone or conn.taken_over)
        await fail(conn, error)
    finally:
        request.detach()
        if observers.request_stop or error is not None or not conn.ended:
            conn.tell_end(request, trio.current_time() - began, error)


async def fail(conn: Connection, error: BaseException) -> None:
    """Answers what the application raised.

    Raises:
        ProtocolError, trio.BrokenResourceError: the peer's doing; the end of the connection.
    """
    match error:
        case BodyTimeout():
            raise ProtocolError(408, "body_timeout") from error
        case ProtocolError() | PeerGone():
            raise error
        case trio.BrokenResourceError() if conn.gone or conn.taken_over:
            raise error
        case HTTPError() if not conn.started:
            response = Response.text(error.detail, status=error.status, fields=error.fields)
            await conn.respond(response.status, response.fields, response.body)
        case _:
            conn.keep = False
            await conn.say(500)


async def finish(conn: Connection) -> None:
    """What is left of the body is read, within ``linger``, if the connection is to go on."""
    if conn.keep and conn.ended and not conn.spoiled:
        conn.phase.enter(Phase.FINISH, conn.context.timeouts.linger)
        await conn.skip_body()


def goes_on(conn: Connection) -> bool:
    """Whether there may be another request."""
    if not (conn.keep and conn.ended and conn.body_done) or conn.spoiled:
        return False
    conn.engine.next_cycle()
    return not conn.drain.draining or conn.arrived()


async def expire(conn: Connection) -> None:
    """What the peer is owed when the connection ends by our will: the table of phases, then a close it can read."""
    status = OWED.get(conn.phase.phase) if conn.phase.expired and not conn.started else None
    conn.tell_aborted("timeout" if conn.phase.expired else "peer_gone", status)
    await part(conn, status)


async def reject(conn: Connection, error: ProtocolError) -> None:
    """The one answer to a peer that broke the protocol or a limit, and the end of the connection."""
    conn.tell_rejected(error)
    await part(conn, error.status)


async def part(conn: Connection, status: int | None) -> None:
    """The last word, if any, and a lingering close: a reset must not destroy what the peer has yet to read (N72)."""
    if status is None and conn.tls is None and not conn.wants_linger():
        conn.finished = True
        return
    seconds = conn.context.timeouts.linger
    with trio.move_on_at(min(trio.current_time() + seconds, conn.drain.cut)):
        if status is not None:
            await conn.say(status)
        conn.finished = True  # whatever cuts the lingering short, the peer has had its due
        if conn.tls is not None and not (conn.gone or conn.broken or conn.taken_over or conn.truncated):
            conn.stream = await close_notify(conn.tls)
        if conn.wants_linger():
            conn.phase.phase = Phase.FINISH
            await linger(conn.stream, seconds, LINGER_OCTETS)
