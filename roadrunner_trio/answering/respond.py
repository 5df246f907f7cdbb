"""Writes each kind of response through an exchange, and makes an app of a handler."""

from __future__ import annotations

import inspect
import math
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import replace
from typing import Any, Protocol, TypeAlias, cast, runtime_checkable

import trio

from ..fields import FieldsLike, encoded
from ..messages.around import Surround
from ..messages.exchange import App, BodyMode, Exchange, Lasting, Plan, TwoSteps
from ..messages.request import Request
from ..messages.response import (
    STOP,
    AnyResponse,
    Disconnected,
    Draining,
    FileResponse,
    Handoff,
    LoopResponse,
    Response,
    Send,
    StreamResponse,
    Upgrade,
    check_handoff,
)
from ..protocol.wishes import content
from ..settings import Limits, Timeouts
from ..transport.gone import PeerGone
from .callables import HANDLER, check, guarded
from .faults import cancelled
from .middleware import Middleware, checked, compose, early_of

Handler: TypeAlias = Callable[[Request], Awaitable[AnyResponse]]
"""``async def handler(request) -> AnyResponse``."""


class native(TwoSteps):
    """The app that a plain handler is: one plan for every request.

    Args:
        handler: ``async def handler(request)``, returning a response of any kind.
        plan: how its bodies are read, and how long it may take.
    """

    __slots__ = ("_plan", "handler")

    def __init__(self, handler: Handler, plan: Plan) -> None:
        self.handler = handler
        self._plan = plan

    def plan(self, request: Request) -> Plan:
        """The same for every request."""
        return self._plan

    async def answer(self, exchange: Exchange) -> Lasting | None:
        """Runs the handler and writes what it returns, unless that lasts.

        Raises:
            TypeError: it returned something that is no response.
        """
        response = await self.handler(exchange.request)
        if type(response) is Response:
            await exchange.respond(response.status, response.fields, response.body, reason=response.reason)
            return None
        return await self.written(exchange, response)

    async def written(self, exchange: Exchange, response: AnyResponse) -> Lasting | None:
        """Writes a response of whatever kind, unless it lasts.

        Raises:
            TypeError: it is no response.
        """
        writing = respond(exchange, response, self.author(exchange.request))
        if isinstance(writing, Lasting):
            return writing
        await writing
        return None

    def author(self, request: Request) -> object:
        """Who made the response to ``request``, for complaints about it."""
        return self.handler


@runtime_checkable
class Adapting(Protocol):
    """An app that takes a listener's defaults for what it leaves open."""

    def for_listener(self, defaults: Plan, middlewares: Sequence[Middleware]) -> App:
        """Itself with a listener's defaults, and inside of its middlewares; raises TypeError if it cannot be."""
        ...


@runtime_checkable
class Routed(Adapting, Protocol):
    """An app with a table of routes, as a listener sees it."""

    def reload(self, routes: Sequence[Any]) -> None:
        """Replaces its routes, or raises and keeps them."""
        ...


def default_plan(body: BodyMode, limits: Limits, timeouts: Timeouts) -> Plan:
    """What is done with every request, unless a route has it otherwise."""
    grace = math.inf if timeouts.disconnect_grace is None else timeouts.disconnect_grace
    return Plan(body, limits.max_body, timeouts.handler, grace)


def as_app(
    handler: Handler | App,
    body: BodyMode,
    limits: Limits,
    timeouts: Timeouts,
    middlewares: Sequence[Middleware] = (),
) -> App:
    """The app itself, or one made of a plain handler, inside of ``middlewares``.

    Raises:
        ValueError: bodies are to be buffered without a limit.
        TypeError: the handler or a middleware is no async function of its arguments, or an app that writes by itself
            is given middlewares.
    """
    if body not in ("buffered", "streaming"):
        raise ValueError(f"body is 'buffered' or 'streaming', not {body!r}")
    if body == "buffered" and limits.max_body is None:
        raise ValueError("buffered bodies need Limits.max_body; only body='streaming' may do without")
    return planned(handler, default_plan(body, limits, timeouts), checked(middlewares))


def planned(handler: Handler | App, plan: Plan, around: tuple[Middleware, ...]) -> App:
    """The same, with the plan of whatever has none of its own.

    Raises:
        TypeError: as :func:`as_app`.
    """
    if not inspect.isclass(handler):
        if isinstance(handler, Adapting):
            return handler.for_listener(plan, around)
        if hasattr(handler, "plan"):
            if around:
                raise TypeError(f"middlewares wrap handlers and routers; {handler!r} is an App and writes by itself")
            return cast("App", handler)
    plain: Any = handler
    check(plain, HANDLER)
    return native(compose(around, guarded(plain, HANDLER)), replace(plan, early=early_of(around)))


def serves_websockets(handler: Any) -> bool:
    """Whether an application says that it may make WebSockets of requests, by ``serves_websockets``."""
    return bool(getattr(handler, "serves_websockets", False))


def lifetime_of(handler: Handler | App, failed: Callable[[], None] | None) -> AbstractAsyncContextManager[object]:
    """The block in which what ``handler`` needs is there: its ``lifetime``, if it has one (see :class:`App`)."""
    lifetime: Callable[..., AbstractAsyncContextManager[object]] | None = getattr(handler, "lifetime", None)
    return nullcontext() if lifetime is None else lifetime(failed)


def respond(exchange: Exchange, response: object, handler: object) -> Awaitable[object]:
    """Writes a response of any kind: gives what is to be awaited for that.

    No coroutine itself: it would only wait for another, and an event stream or a WebSocket waits for hours.

    Raises:
        TypeError: it is none; the message names ``handler``, whose fault that is.
    """
    around: Surround | None = getattr(response, "around", None)
    if around is not None:
        exchange = around(exchange)
    match response:
        case Response():
            return exchange.respond(response.status, response.fields, response.body, reason=response.reason)
        case StreamResponse():
            return _stream(exchange, response)
        case LoopResponse():
            return _loop(exchange, response)
        case FileResponse():
            from .file_response import respond_file  # a server has imported it before it accepts any

            return respond_file(exchange, response)
        case Handoff():
            return _hand_off(exchange, response)
        case Upgrade():
            return response.decide(exchange, response.fields)
        case _:
            name = getattr(handler, "__qualname__", repr(handler))
            raise TypeError(f"{name} returned {response!r}, which is not a response{_forgotten(response)}")


def _forgotten(response: object) -> str:
    """What may have been forgotten, in words; a coroutine is closed, or Python would warn of it somewhere else."""
    if inspect.iscoroutine(response):
        response.close()
    if isinstance(response, Awaitable):
        return " (forgot await?)"
    if isinstance(response, str | dict | list):
        return f" (write Response.{'text' if isinstance(response, str) else 'json'}(...))"
    return " (forgot return?)" if response is None else ""


def _sender(exchange: Exchange) -> tuple[Send, Callable[[], None]]:
    """``send`` as applications get it, and a way to revoke it: kept, it must not write into the next response."""
    open_ = True

    async def send(data: bytes) -> None:
        if not open_:
            raise RuntimeError("this response is over")
        await exchange.send_body(content(data))

    def revoke() -> None:
        nonlocal open_
        open_ = False

    return send, revoke


async def _stream(exchange: Exchange, response: StreamResponse) -> None:
    exchange.kind = "stream"
    trailers: FieldsLike | None = None
    try:
        if await exchange.start_response(response.status, response.fields, reason=response.reason):
            send, revoke = _sender(exchange)
            try:
                trailers = await response.produce(send)
            finally:
                revoke()
    finally:
        if (close := getattr(response.source, "aclose", None)) is not None:
            await close()  # also when nobody wanted any content of it, as after HEAD
    await exchange.end_response(encoded(trailers) if trailers else ())


async def _loop(exchange: Exchange, response: LoopResponse) -> None:
    """One mailbox: the application's messages, the drain's word and the peer's end come one at a time, in order."""
    exchange.kind = "loop"
    with response.messages:
        if not await exchange.start_response(response.status, response.fields, reason=response.reason):
            return await exchange.end_response()
        send, revoke = _sender(exchange)
        try:
            ended = await _serve_messages(exchange, response, send)
        finally:
            revoke()
        if not ended:
            raise PeerGone("the peer went away inside a loop response")
        await exchange.end_response()
    return None


async def _serve_messages(exchange: Exchange, response: LoopResponse, send: Send) -> bool:
    """Passes messages to the handler until it is done; False when the peer was gone first."""
    into, mailbox = trio.open_memory_channel[Any](0)
    ended, failure = False, None
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_forward, response.messages, into, name="loop response: messages")
            nursery.start_soon(_announce_drain, exchange, into.clone(), name="loop response: drain")
            nursery.start_soon(_announce_end, exchange, into.clone(), name="loop response: peer")
            try:
                ended = await _take_messages(mailbox, response, send)
            except BaseException as exc:  # not in the nursery, where it would become a group; or nothing, if it strayed
                if cancelled():
                    raise
                failure = exc
            nursery.cancel_scope.cancel(reason="the loop response is over")
        if failure is not None:
            raise failure
        return ended
    finally:
        del failure  # it holds this frame


async def _take_messages(mailbox: trio.MemoryReceiveChannel[Any], response: LoopResponse, send: Send) -> bool:
    while (message := await mailbox.receive()) is not STOP:
        verdict = await response.on_message(message, send)
        if isinstance(message, Disconnected):
            return False
        if verdict is STOP:
            break
    return True


async def _forward(messages: trio.MemoryReceiveChannel[Any], into: trio.MemorySendChannel[Any]) -> None:
    async for message in messages:
        await into.send(message)
    await into.send(STOP)


async def _announce_drain(exchange: Exchange, into: trio.MemorySendChannel[Any]) -> None:
    await exchange.drain.started.wait()
    await into.send(Draining(exchange.drain.deadline))


async def _announce_end(exchange: Exchange, into: trio.MemorySendChannel[Any]) -> None:
    await exchange.disconnected()
    await into.send(Disconnected())


async def _hand_off(exchange: Exchange, handoff: Handoff) -> None:
    exchange.kind = "handoff"
    check_handoff(handoff)
    stream = await exchange.take_over(handoff.status, handoff.fields, replay_head=handoff.replay_head)
    async with stream:
        await handoff.run(exchange.request, stream)
