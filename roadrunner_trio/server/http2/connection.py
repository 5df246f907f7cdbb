"""The story of a connection that speaks HTTP/2: one task that reads, and one for each stream in hand.

    read: octets, streams that are ready, and what they are answered in one send; again, as long as the peer likes
    and for each stream, in a task of the pool:
    read a request, read its body, dispatch it, finish

The task of the connection becomes the reader. It asks the engine for the next ready stream until there is none, and
gives each to a task that rests, or to a new one; then it reads on. While it waits for nothing but octets, and a poller
tells of them, the same is done in the poller's word, and it sleeps (:meth:`.streams.Http2Connection.read_now`). In the
task of a stream the request is planned, let in, read
and dispatched by the functions of :mod:`..connection`, for a stream is an exchange like any other. What they write
gathers, and goes out when the turn is over (:mod:`.writer`).

A task of the pool has one cancel scope, entered once in its life. RST_STREAM, a deadline or a peer that left cancel
it; then the task ends, and the next stream gets a new one. The place of a stream is free when its handler has ended,
not when its peer has lost interest: so nothing multiplies that a peer takes back.

A breach of the protocol ends the connection with a GOAWAY. A drain says GOAWAY twice, so that no request is lost that
crosses the first, and streams finish. Whatever happens, nothing but a cancellation leaves this task.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import trio

from ...answering.faults import is_operators, part_ways
from ...errors import ProtocolError
from ...journal import log
from ...protocol.http2.engine import CLOSED, ConnectionFailed, Http2Engine
from ...protocol.http2.frames import NO_ERROR
from ...transport.gone import PeerGone, PeerTooSlow
from ...transport.phases import Phase
from ...transport.streams import linger, shown
from ...transport.tls_stream import close_notify
from ..carrier import LINGER_OCTETS, QUIET, Carrier
from ..connection import OWED, Connection, admit, dispatch, prepare
from ..refusals import put_in_words
from ..report import tell_aborted, tell_rejected
from .exchange import StreamExchange
from .sender import NO_STREAM
from .streams import FLOODED, Http2Connection, Tale

LAST: Final = {Phase.READ_BODY: 503, Phase.DISPATCH: 503}
"""What a request is told that the drain's deadline has cut."""


def serve_http2(before: Carrier, early: bytes) -> Awaitable[bool]:
    """Serves what has turned out to speak HTTP/2; as :func:`serve`.

    Args:
        before: what has carried the connection until now.
        early: what has come of HTTP/2.
    """
    conn = Http2Connection(before, TALE)
    if isinstance(before, Connection):
        before.exchange.end()
        del before.exchange  # each of the two holds the other
    if early:
        conn.engine.receive(early)
    return serve(conn)


def resume(
    before: Carrier, engine: Http2Engine
) -> tuple[Http2Connection, Callable[[Http2Connection], Awaitable[bool]]]:
    """A connection of one that was parked, and what its task does."""
    return Http2Connection(before, TALE, engine), serve


async def serve(conn: Http2Connection) -> bool:
    """Serves a connection from where it is, and closes it, unless it is parked, which is said.

    Raises nothing but a cancellation of its own, and KeyboardInterrupt.
    """
    conn.task = trio.lowlevel.current_task()
    conn.task.context = conn.context.variables.copy()  # from the next wait on: a handler that drains may have woken it
    try:
        try:
            await live(conn)
            await part(conn)
            conn.finished = True
        except BaseException as exc:
            if is_onward(conn, exc):
                raise
    finally:
        if conn.parked:  # another has its place
            conn.forget()
        else:
            await conn.close()
    return conn.parked


def is_onward(conn: Http2Connection, exc: BaseException) -> bool:
    """Whether ``exc`` is the nursery's or the operator's; else it is told."""
    error, onward = part_ways(exc)
    if error is not None:
        log.error("the connection of %s failed", shown(conn.peer), exc_info=error)
    return onward is not None and (error is None or is_operators(onward))


async def live(conn: Http2Connection) -> None:
    """The life of a connection, in its one nursery, whose scope is its own; whoever ends it cuts no write."""
    if conn.writer.by_task:
        async with conn.writer.at_work():
            await run(conn)
    else:
        await run(conn)


async def run(conn: Http2Connection) -> None:
    """The reader, and the tasks of the pool beside it, until all is done or time is up."""
    async with trio.open_nursery() as nursery:
        conn.employ(nursery)
        try:
            await read(conn)
        except ConnectionFailed as failure:
            conn.fail(failure)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            conn.gone = True
        conn.over = True
        conn.hung_up = True
        conn.writer.give_up()
        conn.peer_left()
        conn.leave_if_done()
    conn.nursery = None


async def read(conn: Http2Connection) -> None:
    """The reader: octets in, streams to those who serve them, until the peer has ended or a rule is broken.

    Or until nobody has asked for anything for long, and the connection can be parked.
    """
    writer = conn.writer
    if not conn.engine.greeted:
        conn.phase.enter(Phase.READ_REQUEST, conn.context.timeouts.request)
        writer.soon()  # our SETTINGS
    while (signal := conn.begin_ready()) is not CLOSED:
        if signal is None:
            await trio.lowlevel.checkpoint()
            continue
        conn.watch()
        if writer.backlog > FLOODED:
            await writer.room()
        await receive(conn)
        if conn.parked:
            return


async def receive(conn: Http2Connection) -> None:
    """What comes next, for the engine; of a frame that has begun no slower than a peer may be (E7).

    Where a poller tells of octets, they are taken in its word, and this returns when there is more to be done.

    Raises:
        PeerTooSlow: it is slower.
        trio.BrokenResourceError, ConnectionFailed: the same of what was taken and begun meanwhile.
    """
    due, wire = conn.phase.phase is Phase.READ_REQUEST, conn.wire
    if not (due or conn.has_said_end) and wire is not None and wire.polled:
        if wire.readable:
            await trio.lowlevel.checkpoint()
            if not conn.begin_now():
                return
        conn.listener = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(conn.deafen)
        return
    meter, began = conn.meter_in, trio.current_time()
    if meter.slow and due:
        raise PeerTooSlow("the peer sends a frame more slowly than the minimum rate")
    came = await conn.receive(conn.most)
    if came is not None:  # a record of TLS need not have content
        conn.take(came)
        meter.add(len(came), trio.current_time() - began)


async def serve_streams(conn: Http2Connection, exchange: StreamExchange) -> None:
    """A task of the pool: one stream after another, each in a context of its own, until one has to be cancelled."""
    exchange.task = task = trio.lowlevel.current_task()
    try:
        with exchange.phase.scope:
            while exchange.stream is not NO_STREAM:
                await serve_stream(exchange)
                if not conn.let_go(exchange, rests=not exchange.phase.over):
                    return
                task.context = conn.context.variables.copy()  # from the next wait on
                exchange.parked = True
                await trio.lowlevel.wait_task_rescheduled(exchange.unpark)
    finally:
        exchange.end()
        conn.let_go(exchange, rests=False)


async def serve_stream(exchange: StreamExchange) -> None:
    """One request, from its head to the end of its stream. Raises nothing but a cancellation, and KeyboardInterrupt."""
    context = exchange.context
    try:
        read_request(exchange)
        if (gate := context.gate) is not None and not gate.spares(exchange.request):
            await admit(exchange, gate)
        elif not exchange.expect_body(context.app.plan(exchange.request)) or await prepare(exchange):
            await dispatch(exchange)
    except ProtocolError as error:
        await reject(exchange, error)
    except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
        tell_aborted(exchange, "timeout" if isinstance(error, PeerTooSlow) else "peer_gone", None)
    except BaseException as exc:
        if not answered(exchange, exc):
            raise
    finally:
        finish(exchange)


def answered(exchange: StreamExchange, exc: BaseException) -> bool:
    """Answers a request that has failed in our hands; False when there is something in ``exc`` that has to go on."""
    fault, onward = part_ways(exc)
    if fault is not None:
        log.error("a stream of %s failed", shown(exchange.peer), exc_info=fault)  # ours, or an app's plan
        tell_aborted(exchange, "error", 500)
        exchange.say_now(500)
    return onward is None


def read_request(exchange: StreamExchange) -> None:
    """The request, whose head has been judged.

    Raises:
        ProtocolError: it is not one that is answered otherwise.
        PeerGone: it has been taken back meanwhile.
    """
    stream, context = exchange.stream, exchange.context
    if stream.error is not None:
        exchange.phase.phase = Phase.READ_REQUEST
        raise ProtocolError(stream.error.status, stream.error.reason)  # it is a value
    exchange.begin(stream)
    context.counters.requests += 1
    if stream.lost:
        raise PeerGone("the peer has taken its request back")
    for step in context.on_head:
        step(exchange)


async def reject(exchange: StreamExchange, error: ProtocolError) -> None:
    """The one answer to a request that breaks the protocol or a limit, and the end of its stream."""
    tell_rejected(exchange, error)
    await put_in_words(exchange, error)
    exchange.say_now(error.status)


def finish(exchange: StreamExchange) -> None:
    """The end of a stream, whatever it has come to; one that was cut short is told why, if anybody is there."""
    if not (exchange.ended or exchange.taken_over):
        expire(exchange)
    exchange.close()


def expire(exchange: StreamExchange) -> None:
    """What the peer is owed when its request ends by our will, or by the drain's deadline."""
    phase, status = exchange.phase, None
    if phase.expired or exchange.drain.cut <= trio.current_time():
        status = (OWED if phase.expired else LAST).get(phase.phase)
    tell_aborted(exchange, "timeout" if phase.expired else "peer_gone" if exchange.gone else "cancelled", status)
    if status is not None:
        exchange.say_now(status)


async def part(conn: Http2Connection) -> None:
    """The last word, and a close that the peer can read: a reset must not destroy what it has yet to read (N72)."""
    if conn.gone or conn.broken or conn.parked:
        return
    timeouts, quiet = conn.context.timeouts, conn.phase.phase is Phase.IDLE and conn.idle_for() >= QUIET
    conn.engine.goaway(NO_ERROR)
    with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        patience = timeouts.linger if conn.engine.failed is not None else timeouts.write
        with trio.move_on_at(min(trio.current_time() + patience, conn.drain.cut)) as waiting:
            await conn.writer.settle()
        if waiting.cancelled_caught:
            return
        with trio.move_on_at(min(trio.current_time() + timeouts.linger, conn.drain.cut)):
            if conn.tls is not None:
                conn.stream = await close_notify(conn.tls)
            conn.phase.phase = Phase.FINISH
            await linger(conn.stream, timeouts.linger, LINGER_OCTETS, idle=quiet)


TALE: Final = Tale(serve_streams, resume)
