"""Every point where an application's code runs, and exceptions that were meant for somebody else."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

import trio
from story_tools import GET
from websocket_tools import handshake

import roadrunner_trio as rr
from roadrunner_trio import early, websocket

NEXT_DOOR: Final = GET.replace(b"/ ", b"/next-door ", 1)
"""What neighbours ask for; it takes a second."""

Act = Callable[[], Awaitable[Any]]
"""What is done at a point."""


async def foreign(kind: str) -> BaseException:
    """A cancellation that was another scope's, or the end of a generator."""
    if kind == "generator's end":
        return GeneratorExit()
    with trio.CancelScope() as scope:
        scope.cancel(reason="it was meant for somebody else")
        try:
            await trio.lowlevel.checkpoint()
        except trio.Cancelled as exc:
            return exc
    raise AssertionError("nothing was cancelled")


FOREIGN: Final = ("cancellation", "generator's end")


def raising(error: BaseException) -> Act:
    """Raises ``error``."""

    async def act() -> None:
        await trio.lowlevel.checkpoint()
        raise error

    return act


def neighbourly(handler: Callable[[rr.Request], Awaitable[rr.AnyResponse]]) -> rr.Handler:
    """``handler``, and beside it the one for neighbours."""

    async def both(request: rr.Request) -> rr.AnyResponse:
        if request.path == "/next-door":
            await trio.sleep(1)
            return rr.Response("hi")
        return await handler(request)

    return both


def _handling(respond: Callable[[rr.Request], Any]) -> dict[str, Any]:
    async def handler(request: rr.Request) -> rr.AnyResponse:
        return respond(request)

    return {"handler": neighbourly(handler)}


def _in_handler(act: Act) -> dict[str, Any]:
    async def handler(request: rr.Request) -> rr.AnyResponse:
        await act()
        return rr.Response("hi")

    return {"handler": neighbourly(handler)}


def _in_a_group(act: Act) -> dict[str, Any]:
    async def handler(request: rr.Request) -> rr.AnyResponse:
        try:
            await act()
        except BaseException as exc:
            raise BaseExceptionGroup("", [BaseExceptionGroup("", [exc])]) from None
        return rr.Response("hi")

    return {"handler": neighbourly(handler)}


def _in_middleware(act: Act, *, before: bool) -> dict[str, Any]:
    async def middleware(request: rr.Request, call_next: rr.CallNext) -> rr.AnyResponse:
        ours = request.path == "/"
        if ours and before:
            await act()
        response = await call_next(request)
        if ours:
            await act()
        return response

    return {**_handling(lambda request: rr.Response("hi")), "middlewares": [middleware]}


def _in_early_check(act: Act) -> dict[str, Any]:
    @early
    async def check(request: rr.Request) -> None:
        if request.path == "/":
            await act()

    return {**_handling(lambda request: rr.Response("hi")), "middlewares": [check]}


def _in_stream(act: Act, *, first: bytes) -> dict[str, Any]:
    async def produce(send: rr.Send) -> None:
        if first:
            await send(first)
        await act()

    return _handling(lambda request: rr.StreamResponse(produce))


def _in_loop(act: Act) -> dict[str, Any]:
    async def on_message(message: Any, send: rr.Send) -> None:
        if type(message) is bytes:  # and not the drain's word, nor the peer's end
            await act()

    def respond(request: rr.Request) -> rr.LoopResponse:
        put, get = trio.open_memory_channel[bytes](1)
        put.send_nowait(b"go")
        return rr.LoopResponse(get, on_message)

    return _handling(respond)


def _in_events(act: Act, *, iterated: bool) -> dict[str, Any]:
    async def source(sender: rr.EventSender) -> None:
        await sender.send("tick")
        await act()

    async def iterate() -> Any:
        yield "tick"
        await act()

    return _handling(lambda request: rr.EventStream(request, iterate() if iterated else source))


def _in_handoff(act: Act) -> dict[str, Any]:
    async def run(request: rr.Request, stream: trio.abc.Stream) -> None:
        await act()

    return _handling(lambda request: rr.Handoff(run, status=101))


def _in_websocket(act: Act, *, accepted: bool) -> dict[str, Any]:
    async def session(request: rr.WebSocketRequest) -> None:
        if accepted:
            await request.accept()
        await act()

    return {"handler": neighbourly(websocket(session))}


POINTS: Final[dict[str, Callable[[Act], dict[str, Any]]]] = {
    "handler": _in_handler,
    "group in a handler": _in_a_group,
    "middleware, before": lambda act: _in_middleware(act, before=True),
    "middleware, after": lambda act: _in_middleware(act, before=False),
    "early check": _in_early_check,
    "stream, before it has sent": lambda act: _in_stream(act, first=b""),
    "stream": lambda act: _in_stream(act, first=b"tick"),
    "loop": _in_loop,
    "event stream": lambda act: _in_events(act, iterated=False),
    "event stream that is iterated": lambda act: _in_events(act, iterated=True),
    "hand-off": _in_handoff,
    "websocket, not accepted": lambda act: _in_websocket(act, accepted=False),
    "websocket": lambda act: _in_websocket(act, accepted=True),
}
"""The settings of a house in whose ``/`` the act is done at that point, and which answers ``/next-door``."""

ANSWERED: Final = {"handler", "group in a handler", "middleware, before", "middleware, after", "early check"}
"""Where nothing has been said yet, and 500 can be."""


def asking(point: str) -> bytes:
    """A request that comes to ``point``."""
    return handshake() if point.startswith("websocket") else GET


class Planning:
    """An app whose plan raises for ``/``."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def plan(self, request: rr.Request) -> rr.Plan:
        if request.path == "/":
            raise self.error
        return rr.Plan()

    async def __call__(self, exchange: rr.Exchange) -> None:
        await trio.sleep(1)
        await exchange.respond(200, [], b"hi")


def watching(hook: str, error: BaseException) -> rr.Observer:
    """An observer that raises at ``hook``."""

    def listen(event: Any) -> None:
        raise error

    observer = rr.Observer()
    setattr(observer, hook, listen)
    return observer
