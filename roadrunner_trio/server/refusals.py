"""What a peer is told in place of what it asked for: its request was not let in, or the application failed."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeAlias

import trio

from ..answering.admission import Refusal
from ..answering.faults import essence, part_ways
from ..answering.respond import respond
from ..errors import HTTPError, ProtocolError
from ..journal import log
from ..messages.exchange import Exchange
from ..messages.response import Response
from ..protocol.heads import Framing
from ..transport.gone import BodyTimeout, PeerGone
from ..transport.phases import Phase
from .presence import miss
from .report import tell_throttled
from .subject import Subject

Answer: TypeAlias = Callable[[Exchange], Awaitable[None]]
"""What answers an exchange: an application, or what stands in for one."""


def enter_handler(exchange: Subject) -> None:
    """The application has the exchange from here on; a peer that has hung up already is missed."""
    exchange.phase.enter(Phase.DISPATCH, exchange.plan.timeout)
    if exchange.conn.hung_up:
        miss(exchange)


async def judge_early(exchange: Subject) -> Answer | None:
    """Asks those who judge by the head alone; gives the answer of the first who has one, be it an exception."""
    enter_handler(exchange)
    exchange.judged = True
    try:
        for check in exchange.plan.early:
            response = await check(exchange.request)
            if response is not None:
                return partial(_respond, response, check)
    except BaseException as exc:
        if part_ways(exc)[1] is not None:
            raise
        return partial(_raise, [exc])
    finally:
        exchange.judged = False
    return None


async def _raise(held: list[BaseException], exchange: Exchange) -> None:
    raise held.pop()  # and nobody holds what holds this frame


async def _respond(response: object, check: object, exchange: Exchange) -> None:
    await respond(exchange, response, check)


async def put_in_words(exchange: Subject, error: ProtocolError) -> None:
    """What the application has to say of a body that is refused, within ``linger``: else the server says its own word.

    With HTTP/1 the connection ends with it, as the body cannot be read to its end: the application says so.
    """
    refuse, request = exchange.plan.refuse, exchange.request
    if refuse is None or request.over or exchange.started or exchange.gone:
        return
    exchange.judged = True  # the words are not a way around the limit
    try:
        with trio.move_on_at(min(trio.current_time() + exchange.context.timeouts.linger, exchange.drain.cut)):
            await refuse(exchange, error)
    except BaseException as exc:
        fault, onward = essence(exc, peer_gone=exchange.gone)
        if onward is not None:
            raise
        if not isinstance(fault, PeerGone):
            log.error("the application's words for %d failed", error.status, exc_info=fault)
    finally:
        exchange.judged = False
        request.detach()


async def turn_away(exchange: Subject, refusal: Refusal) -> None:
    """429 or 503, after which the connection goes on, if no body is in the way (E14)."""
    exchange.phase.enter(Phase.DISPATCH, math.inf)  # it is answered: an idle connection would end with a drain's word
    tell_throttled(exchange, refusal)
    exchange.request.detach()
    exchange.body_done = exchange.body_done or exchange.head.framing is Framing.NONE
    close = () if exchange.body_done else ((b"connection", b"close"),)
    await exchange.respond(refusal.status, ((b"retry-after", b"%d" % refusal.retry_after), *close), b"")


async def fail(exchange: Subject, error: BaseException) -> BaseException | None:
    """Answers what the application raised; or gives what ends the connection, when that is the peer's doing.

    Gives, and does not raise: its frame would hold the exception that holds its frame. The body has had its use: in
    Trio the exception of a nursery's body is a cycle of frames, down to those that hold the request.
    """
    exchange.request.drop_body()
    match error:
        case BodyTimeout():
            late = ProtocolError(408, "body_timeout")
            late.__cause__ = error
            return late
        case ProtocolError() | PeerGone():
            return error
        case trio.BrokenResourceError() if exchange.gone or exchange.taken_over:
            return error
        case HTTPError() if not exchange.started:
            response = Response.text(error.detail, status=error.status, fields=error.fields)
            await exchange.respond(response.status, response.fields, response.body)
        case _ if exchange.ended:
            pass  # the peer has its answer, without a word of an end: frameworks answer 500, and raise
        case _:
            exchange.keep = False
            await exchange.say(500)
    return None
