"""Handlers of event streams, and what came of them."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from typing import Any

import trio
from sse_tools import Interpreter
from story_tools import Peer

from roadrunner_trio import EventSender, EventStream, Request, ServerSentEvent


def streaming(source: Any, *, call: bool = False, **settings: Any) -> Callable[[Request], Any]:
    """A handler of event streams."""

    async def handler(request: Request) -> EventStream:
        return EventStream(request, source() if call else source, **settings)

    return handler


async def silence(sender: EventSender) -> None:
    await trio.sleep_forever()


def chunks(heard: bytes) -> bytes:
    """The content of a chunked response, or of as much of one as was heard."""
    _, _, rest = heard.partition(b"\r\n\r\n")
    return b"".join(re.findall(rb"\r\n((?:(?!\r\n).)+)(?=\r\n)", b"\r\n" + rest, re.DOTALL)[1::2])


def ends_cleanly(heard: bytes) -> bool:
    return heard.endswith(b"\r\n0\r\n\r\n")


async def drained(peer: Peer) -> tuple[bytes, float]:
    """What came of a stream, and the ``retry`` in seconds that came last."""
    await peer.end()
    assert ends_cleanly(peer.heard), peer.heard
    reader = Interpreter()
    reader.feed(chunks(peer.heard))
    assert reader.retry is not None
    return chunks(peer.heard), reader.retry / 1000


async def ticks(sender: EventSender) -> None:
    for number in range(1, 1_000_000):
        await sender.send(str(number), id=number)
        await trio.sleep(1)


async def numbers() -> AsyncIterator[ServerSentEvent | str]:
    yield "one"
    yield ServerSentEvent("two\r\nlines", event="number", id=2)
