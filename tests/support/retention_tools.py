"""What is left of connections that have ended, while no collector runs; and handlers and peers that end them."""

from __future__ import annotations

import gc
import logging
import tracemalloc
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import trio
import trio.lowlevel
from story_tools import House, Peer, Watch, post

import roadrunner_trio as rr
from roadrunner_trio import early
from roadrunner_trio.messages.request import Request
from roadrunner_trio.server.connection import Connection
from roadrunner_trio.server.http1_exchange import Http1Exchange
from roadrunner_trio.telemetry.logs import ERROR

LARGE: Final = 1_000_000
BODY: Final = b"x" * LARGE
UPLOAD: Final = post(b"Content-Length: %d" % LARGE, body=BODY)
HALF: Final = UPLOAD[: -LARGE // 2]


class Forgetful(Watch):
    """Notes names alone: an event holds its request."""

    class _Names(list):
        def append(self, event: tuple[str, Any]) -> None:
            super().append((event[0], None))

    def __init__(self) -> None:
        super().__init__()
        self.events = self._Names()

    def check_pairs(self) -> None:
        """As far as names tell."""
        count = Counter(self.names())
        assert count["accept"] == count["close"]
        assert count["start"] == count["stop"] + count["exception"]


class _Written(logging.Filter):
    """Makes text of a record: who keeps records, as tests do, would keep an exception, its frames and all they hold."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = record.getMessage(), ()
        if record.exc_info:
            record.exc_text, record.exc_info = logging.Formatter().formatException(record.exc_info), None
        return True


@contextmanager
def without_collector() -> Iterator[None]:
    """Nothing in a cycle is freed in here, and memory is counted."""
    loggers, written = [logging.getLogger(name) for name in ("roadrunner_trio", ERROR)], _Written()
    for logger in loggers:
        logger.addFilter(written)
    gc.disable()
    gc.freeze()  # what is there already, such as what tests have left that failed, is seen no more
    tracemalloc.start()
    try:
        yield
    finally:
        tracemalloc.stop()
        gc.unfreeze()
        gc.enable()
        for logger in loggers:
            logger.removeFilter(written)


def remains() -> list[str]:
    """The kinds of what is left of connections and requests."""
    kinds = (Connection, Http1Exchange, Request)
    return sorted(type(each).__name__ for each in gc.get_objects() if type(each) in kinds)


def held() -> int:
    """Octets."""
    return tracemalloc.get_traced_memory()[0]


# Handlers that have read all of the body, where there is one


def having_read(then: Callable[[rr.Request], Awaitable[rr.AnyResponse]]) -> rr.Handler:
    """``then``, after the body has been read."""

    async def handler(request: rr.Request) -> rr.AnyResponse:
        await request.read()
        return await then(request)

    return handler


@having_read
async def fine(request: rr.Request) -> rr.Response:
    return rr.Response("hi")


@having_read
async def crash(request: rr.Request) -> rr.Response:
    raise ValueError("a bug")


@having_read
async def not_found(request: rr.Request) -> rr.Response:
    raise rr.HTTPError(404)


@having_read
async def nothing(request: rr.Request) -> Any:
    return None


@having_read
async def two_errors(request: rr.Request) -> rr.Response:
    raise ExceptionGroup("", [ValueError("a bug"), rr.HTTPError(404)])


async def _bug() -> None:
    await trio.lowlevel.checkpoint()
    raise ValueError("a bug")


@having_read
async def nursery_of_errors(request: rr.Request) -> rr.Response:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_bug)
        nursery.start_soon(trio.sleep_forever)
        await trio.sleep_forever()
    return rr.Response("hi")


async def body_of_a_nursery(request: rr.Request) -> rr.Response:
    await request.read()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)
        await _bug()
    return rr.Response("hi")


@having_read
async def sleepy(request: rr.Request) -> rr.Response:
    await trio.sleep_forever()
    return rr.Response("hi")


@having_read
async def sleepy_nursery(request: rr.Request) -> rr.Response:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)
        nursery.start_soon(request.disconnected)
        await trio.sleep_forever()
    return rr.Response("hi")


async def deaf(request: rr.Request) -> rr.Response:
    return rr.Response("hi")


@having_read
async def broken_stream(request: rr.Request) -> rr.StreamResponse:
    async def produce(send: rr.Send) -> None:
        await send(b"tick")
        raise ValueError("a bug")

    return rr.StreamResponse(produce)


@having_read
async def endless_stream(request: rr.Request) -> rr.StreamResponse:
    async def produce(send: rr.Send) -> None:
        while True:
            await send(b"tick")
            await trio.sleep(1)

    return rr.StreamResponse(produce)


@having_read
async def broken_loop(request: rr.Request) -> rr.LoopResponse:
    async def on_message(message: Any, send: rr.Send) -> None:
        raise ValueError("a bug")

    put, get = trio.open_memory_channel[bytes](1)
    put.send_nowait(b"go")
    return rr.LoopResponse(get, on_message)


@having_read
async def broken_events(request: rr.Request) -> rr.EventStream:
    async def source(sender: rr.EventSender) -> None:
        raise ValueError("a bug")

    return rr.EventStream(request, source)


@having_read
async def endless_events(request: rr.Request) -> rr.EventStream:
    async def source(sender: rr.EventSender) -> None:
        await sender.send("tick")
        await trio.sleep_forever()

    return rr.EventStream(request, source)


@having_read
async def some_events(request: rr.Request) -> rr.EventStream:
    async def source(sender: rr.EventSender) -> None:
        await sender.send("tick")

    return rr.EventStream(request, source)


@having_read
async def handed_off(request: rr.Request) -> rr.Handoff:
    async def run(request: rr.Request, stream: trio.abc.Stream) -> None:
        await stream.receive_some()

    return rr.Handoff(run, status=101)


@having_read
async def broken_handoff(request: rr.Request) -> rr.Handoff:
    async def run(request: rr.Request, stream: trio.abc.Stream) -> None:
        raise ValueError("a bug")

    return rr.Handoff(run, status=101)


@having_read
async def huge(request: rr.Request) -> rr.Response:
    return rr.Response(bytes(20_000_000))


@early
async def refused(request: rr.Request) -> rr.Response:
    return rr.Response(status=401)


@early
async def refused_by_error(request: rr.Request) -> None:
    raise rr.HTTPError(401)


@early
async def crashes_early(request: rr.Request) -> None:
    raise ValueError("a bug")


@early
async def sleeps_early(request: rr.Request) -> None:
    await trio.sleep_forever()


# What ends it

Act = Callable[[House, Peer], Awaitable[None]]


async def leaves(house: House, peer: Peer) -> None:
    """The peer closes."""
    await peer.close()


async def hears_the_end(house: House, peer: Peer) -> None:
    """The server closes, and then the peer."""
    await peer.end()
    await peer.close()


async def finishes(house: House, peer: Peer) -> None:
    """The peer half-closes."""
    await peer.finish()


async def resets(house: House, peer: Peer) -> None:
    """The peer's kernel says that nobody is there."""
    assert peer.theirs is None
    peer.stream.reset()
    await trio.lowlevel.checkpoint()


async def waits(house: House, peer: Peer) -> None:
    """Time runs out."""
    await trio.sleep(100)
    await peer.close()


async def drains(house: House, peer: Peer) -> None:
    """The server drains, and cuts what is left."""
    await house.listener.drain(3)


async def all_is_over(house: House, peer: Peer) -> None:
    """Whoever serves is cancelled."""
    house.nursery.cancel_scope.cancel()
    with trio.CancelScope(shield=True):
        await house.empty()
