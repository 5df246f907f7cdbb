"""The story of one connection: one task, told from accept to close.

    handshake, then as often as the peer likes:
    read a request, read its body, dispatch it, finish

Every phase is an async function bounded by an absolute deadline; all of them live in one cancel scope, which the
listener's clock cancels when a phase's time has come. What the peer is owed then is said outside of that scope, by
``expire``. Whatever happens, nothing but a cancellation leaves this task: an exception that crossed into the
connections' nursery would cancel every neighbour.

What carries the octets is in :mod:`.carrier`, what they say in :mod:`.http1_exchange`; who listens and who drains is in
:mod:`.listener`. A connection that turns out to speak HTTP/2 goes on in :mod:`.http2.connection`.
"""

from __future__ import annotations

import math
import time
from typing import Final

import trio

from ..answering.admission import FULL, Gate
from ..answering.context import ServerContext
from ..answering.faults import essence, is_operators, part_ways
from ..errors import ProtocolError
from ..journal import log
from ..messages.exchange import Lasting
from ..messages.request import Request
from ..protocol.heads import RequestHead
from ..protocol.http1.engine import CLOSED, NEED_DATA, Signal
from ..protocol.http1.scan import ScanEngine
from ..telemetry.observe import RequestStarted
from ..transport.gone import PeerTooSlow
from ..transport.phases import Phase
from ..transport.streams import Address, linger, shown
from ..transport.tls_stream import close_notify
from ..transport.wire import RECEIVE_SIZE
from .carrier import LAST_WORD, LATELY, LINGER_OCTETS, NEWBORN, QUIET, Carrier, Fate
from .door import Answered, begins_http2, chooses_http2, enter, go_on
from .http1_exchange import NO_PLAN, Http1Exchange
from .refusals import Answer, enter_handler, fail, judge_early, put_in_words, turn_away
from .report import tell_aborted, tell_end, tell_rejected
from .subject import Subject

OWED: Final = {Phase.READ_REQUEST: 408, Phase.READ_BODY: 408, Phase.DISPATCH: 503}
"""What a peer is told when the time of a phase is up (N62, N63); in the others there is nobody to be told."""


class Connection(Carrier):
    """One connection: what carries it, and the exchange it is in.

    Args:
        stream: any ``trio.abc.Stream``; the connection closes it.
        context: what it shares with its neighbours; it joins the drain at once.
        peer: who is at the other end.
    """

    __slots__ = ("_idle_scope", "exchange", "finished", "second")

    def __init__(self, stream: trio.abc.Stream, context: ServerContext, peer: Address) -> None:
        super().__init__(stream, context, peer)
        self.exchange = Http1Exchange(self, ScanEngine(context.limits, context.seen))
        self.finished = False
        self.second: bytes | None = None  # what has come of HTTP/2, if that is spoken: then another story tells of it
        self._idle_scope: trio.CancelScope | None = None
        self.drain.join(self)

    def told(self) -> None:
        """The drain's word: an idle connection ends, unless a request has reached it or may be about to."""
        if self.phase.phase is Phase.IDLE and not self.may_wait():
            self._end_idle("the server is draining")

    def make_room(self) -> bool:
        """Ends an idle connection for another's sake, at once; False when it is not idle after all."""
        if self.arrived() or (self.wire is not None and self.wire.held):
            return False
        self.gone = True  # it has been answered all it asked: there is nothing to say, nor to linger for
        self._end_idle("another connection needs its place")
        return True

    def _end_idle(self, reason: str) -> None:
        if not self.end_wire():  # the peer has yet to take an answer: it has the time of a write for that
            self.phase.shorten(self.phase.now() + self.context.timeouts.write)
        elif self._idle_scope is None:
            self.phase.end(reason)
        else:
            self._idle_scope.cancel(reason=reason)

    def peer_left(self) -> None:
        """The poller's word, passed on."""
        self.exchange.peer_left()

    def may_wait(self) -> bool:
        """Whether an idle connection is worth waiting for although the server drains."""
        if self.arrived():
            return True
        grown = self.phase.since + LATELY if self.served else self.born + NEWBORN
        if trio.current_time() >= grown or (self.served and self.drain.cut < grown):
            return False
        self.phase.shorten(grown)
        return True

    def heard(self) -> int:
        """Octets that have come of the head or the body that is due."""
        return self.exchange.engine.buffered + (self.exchange.received if self.phase.phase is Phase.READ_BODY else 0)

    def arrived(self) -> bool:
        """Whether anything of a next request has reached us, down to the socket's buffer."""
        return not self.closed and (bool(self.exchange.engine.buffered) or self.pending())

    async def fill_idle(self) -> int | None:
        """As the exchange's ``fill``; None when a drain ended the wait.

        A stream that cannot be peeked gives the wait a scope of its own, left before any checkpoint: bytes that have
        come win over the drain.
        """
        if self.wire is not None:
            return await self.exchange.fill()
        octets = None
        with trio.CancelScope() as self._idle_scope:
            octets = await self.exchange.fill()
        self._idle_scope = None
        return octets

    async def close(self) -> None:
        """Gives up everything the connection holds; never waits for the peer beyond the last word."""
        exchange = self.exchange
        lingering = self.phase.phase is Phase.FINISH  # it has said what it had to say
        cut_short = not (self.finished or lingering) and self.drain.cut < math.inf
        in_hand = self.phase.phase in (Phase.READ_BODY, Phase.DISPATCH)
        try:
            if cut_short and in_hand and self.drain.cut <= trio.current_time():
                with trio.move_on_after(LAST_WORD, shield=True):
                    await self.try_to("take the last word", exchange.say, 503)
        finally:
            self.phase.close()
            exchange.end()
            self.drain.leave(self)
            self.context.counters.cut += cut_short
            tell_aborted(exchange, "cancelled", exchange.status or None)
            exchange.request.detach()
            self.tell_close()
            if self.wire is not None:  # without a wait, and without the cancelled one of aclose_forcefully
                self.wire.reset() if exchange.truncated else self.wire.close()
            exchange.reset()
            self.closed = True
            del self.exchange  # each of the two holds the other
            if self.wire is None and not self.moved:
                await self.try_to("close", trio.aclose_forcefully, self.stream)

    def wants_linger(self) -> bool:
        """Whether the peer may still be sending: not when it has finished, or asked for the close itself."""
        exchange = self.exchange
        if self.gone or exchange.taken_over or exchange.truncated or exchange.engine.ended:
            return False
        if self.phase.phase is Phase.HANDSHAKE or not self.half_closes:
            return exchange.started
        return not (exchange.ended and exchange.body_done and not exchange.head.keep_alive) or self.arrived()


async def serve_connection(conn: Connection) -> Fate:
    """Serves one connection and closes it, unless it is parked, which is said.

    Raises nothing but a cancellation of its own, and KeyboardInterrupt.
    """
    conn.task = trio.lowlevel.current_task()
    try:
        try:
            await live(conn)
            if conn.second is not None:
                conn.parked = await go_on(conn, conn.second)
            conn.finished = True
        except BaseException as exc:
            if await is_onward(conn, exc):
                raise
    finally:
        if not conn.closed:  # else another has its place
            await conn.close()
    return Fate.PARKED if conn.parked else Fate.CLOSED


async def live(conn: Connection) -> None:
    """The life of a connection, in its one cancel scope; then what it is owed at the end."""
    exchange = conn.exchange
    try:
        with conn.phase.scope:
            await handshake(conn)
            while not conn.parting and await read_request(conn):
                if (gate := conn.context.gate) is not None and not gate.spares(exchange.request):
                    await admit(exchange, gate)
                elif not exchange.expect_body(conn.context.app.plan(exchange.request)) or await prepare(exchange):
                    await dispatch(exchange)
                if not exchange.body_done or exchange.waits:
                    await finish(exchange)
                if not (goes_on(conn) or await conn.context.rest(conn)):
                    break
        await expire(conn)
    except ProtocolError as error:
        await reject(conn, error)
    except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
        conn.gone = True  # N67: nobody is there to be answered
        tell_aborted(exchange, "timeout" if isinstance(error, PeerTooSlow) else "peer_gone", None)


async def handshake(conn: Connection) -> None:
    """What lies between accept and the first byte: a PROXY header and TLS, within one deadline (N30, N36)."""
    if conn.served or conn.phase.phase is Phase.IDLE:
        return  # it goes on where another has stopped
    if conn.context.tls or conn.context.proxy_protocol or conn.tls:
        conn.phase.enter(Phase.HANDSHAKE, conn.context.timeouts.handshake)
        conn.exchange.take_early(await enter(conn))
        conn.born = trio.current_time()
    conn.tell_accept()
    if chooses_http2(conn):
        raise ProtocolError(505, "http2")


async def read_request(conn: Connection) -> bool:
    """Reads the next request; False when there will be none. Pipelined bytes come first."""
    exchange = conn.exchange
    exchange.reset()
    if conn.task is not None:  # from the next wait on: no request sees the context variables that the last one has set
        conn.task.context = conn.context.variables.copy()
    if exchange.engine.buffered:
        conn.phase.enter(Phase.READ_REQUEST, conn.context.timeouts.request)
        await trio.lowlevel.checkpoint()  # a pipelining peer must still yield to its neighbours
        head = await exchange.complete_head()
    else:
        head = await await_head(conn)
    if not isinstance(head, RequestHead):
        return False
    if conn.phase.over:
        conn.phase.phase = Phase.READ_REQUEST  # it may have come all at once
        await trio.lowlevel.checkpoint()  # read in the very tick its time ran out: raises Cancelled
    conn.served += 1
    conn.context.counters.requests += 1
    exchange.head = head
    exchange.request = Request(head, exchange, conn.drain, conn.peer, conn.scheme, conn.context.name)
    if conn.transport is not None:
        exchange.request.tls, exchange.request.proxy = conn.transport
    if conn.context.on_head:
        exchange.plan = NO_PLAN  # of the last request: if a step refuses this one, that is not to have a word in it
        for step in conn.context.on_head:
            step(exchange)
    return True


async def await_head(conn: Connection) -> RequestHead | Signal:
    """Waits until a head has begun, and reads it to its end: IDLE until the first byte of it."""
    timeouts, exchange, engine = conn.context.timeouts, conn.exchange, conn.exchange.engine
    conn.phase.rest(timeouts.keep_alive if conn.served else timeouts.request, timeouts.park_after)
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
            return await exchange.complete_head()


async def admit(exchange: Subject, gate: Gate) -> None:
    """Answers a request where not everybody is let in. Nobody reads the body of one that is not.

    One that is waits for its body outside: slow peers must not take the places of others.
    """
    if (refusal := gate.knock(exchange.request)) is not None:
        return await turn_away(exchange, refusal)
    if exchange.expect_body(exchange.context.app.plan(exchange.request)) and not await prepare(exchange):
        return None
    if gate.is_full:
        return await turn_away(exchange, FULL)
    with gate:
        return await dispatch(exchange)


async def prepare(exchange: Subject) -> bool:
    """What the plan wants done before the handler runs; False when the request has been answered by its head alone."""
    if exchange.plan.early and (answer := await judge_early(exchange)) is not None:
        await dispatch(exchange, answer)
        return False
    if exchange.plan.body == "buffered" and not exchange.body_done:
        await read_body(exchange)
    return True


async def read_body(exchange: Subject) -> None:
    """The whole body, for the handler to find."""
    exchange.phase.enter(Phase.READ_BODY, exchange.timeouts.body)
    exchange.request.keep_body(await exchange.gather_body())
    if exchange.phase.over:
        await trio.lowlevel.checkpoint()


async def dispatch(exchange: Subject, app: Answer | None = None) -> None:
    """Runs the application, or ``app``, which writes its response; one ``except`` covers both (N3)."""
    request, observers = exchange.request, exchange.conn.context.observers
    enter_handler(exchange)  # first: who is told may have a drain begin, which ends those that are idle
    if observers.request_start:
        observers.tell(observers.request_start, RequestStarted(request, time.time()))
    began, error, onward = exchange.phase.now(), None, None
    try:
        try:
            rest = await (app or exchange.conn.context.answer)(exchange)
            if isinstance(rest, Lasting):  # a WebSocket: here, without the frames of what has led to it
                async with rest:
                    await rest.body()
            if not (exchange.ended or exchange.taken_over):
                raise RuntimeError("the application returned without ending its response")
            exchange.ended = True
        except BaseException as exc:
            error, onward = essence(exc, peer_gone=exchange.gone or exchange.taken_over)
        if error is not None:
            onward = await fail(exchange, error)
        if onward is not None:
            raise onward
    finally:
        request.detach()
        if observers.ends or error is not None or not exchange.ended:
            tell_end(observers, exchange, request, exchange.phase.now() - began, error)
        del error, onward  # each holds this frame, and with it the request, until a collector comes


async def finish(exchange: Http1Exchange) -> None:
    """What is left of the body is read, within ``linger``, if the connection is to go on; who still does that goes."""
    if exchange.keep and exchange.ended and not exchange.spoiled:
        exchange.phase.enter(Phase.FINISH, exchange.timeouts.linger)
        await exchange.settle()
        await exchange.skip_body()


def goes_on(conn: Connection) -> bool:
    """Whether there may be another request."""
    exchange = conn.exchange
    if not (exchange.keep and exchange.ended and exchange.body_done) or exchange.spoiled:
        return False
    exchange.engine.next_cycle()
    return not conn.drain.draining or conn.arrived()


async def expire(conn: Connection) -> None:
    """What the peer is owed when the connection ends by our will: the table of phases, then a close it can read."""
    if conn.parked:
        return
    status = OWED.get(conn.phase.phase) if conn.phase.expired and not conn.exchange.started else None
    tell_aborted(conn.exchange, "timeout" if conn.phase.expired else "peer_gone", status)
    await part(conn, status)


async def reject(conn: Connection, error: ProtocolError) -> None:
    """The one answer to a peer that broke the protocol or a limit, and the end of the connection; or it is HTTP/2."""
    if (preface := begins_http2(conn, conn.exchange.engine)) is not None:
        conn.second = preface
        return
    tell_rejected(conn.exchange, error)
    await put_in_words(conn.exchange, error)
    await part(conn, None if isinstance(error, Answered) else error.status)


async def is_onward(conn: Connection, exc: BaseException) -> bool:
    """Whether ``exc`` is the nursery's or the operator's; else it is told, and the peer has its last word."""
    error, onward = part_ways(exc)
    if error is None or conn.closed:  # HTTP/2 has told what there is to tell
        return True
    log.error("the connection of %s failed", shown(conn.peer), exc_info=error)  # ours, or an app's plan
    tell_aborted(conn.exchange, "error", 500)
    if onward is not None:
        return is_operators(onward)
    try:
        await (expire(conn) if conn.phase.expired else part(conn, 500))  # what was told of it
    except BaseException as worse:
        if part_ways(worse)[1] is not None:
            raise
    conn.finished = True
    return False


async def part(conn: Connection, status: int | None) -> None:
    """The last word, if any, and a lingering close: a reset must not destroy what the peer has yet to read (N72)."""
    exchange = conn.exchange
    exchange.give_back()  # nobody asks for the body any more, and others may have no room for theirs
    await conn.send_last()
    if status is None and conn.tls is None and not conn.wants_linger():
        conn.finished = True
        return
    seconds, quiet = conn.context.timeouts.linger, conn.idle_for() >= QUIET
    with trio.move_on_at(min(trio.current_time() + seconds, conn.drain.cut)) as last:
        if status is not None:
            await exchange.say(status)
        conn.finished = True  # whatever cuts the lingering short, the peer has had its due
        await exchange.settle()
        if conn.tls is not None and not (conn.gone or conn.broken or exchange.taken_over or exchange.truncated):
            conn.stream = await close_notify(conn.tls)
        if conn.wants_linger():
            conn.phase.phase, conn.phase.deadline = Phase.FINISH, last.deadline
            await linger(conn.stream, seconds, LINGER_OCTETS, idle=quiet)
