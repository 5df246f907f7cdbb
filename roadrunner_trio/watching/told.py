"""A worker shows itself to its supervisor, on a socket that came with the question, in lines: a word, then JSON.

The word is the name of the event. A look lasts for as long as somebody reads: when he has gone, or does not, it ends.
"""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Any, Final

import trio

from ..server.listener import Listener
from .pane import Pane

PATIENCE: Final = 10.0
"""Seconds in which the supervisor takes what is shown."""
LONGEST: Final = 8 << 20
"""Octets of a line."""
RECEIVE: Final = 65536


def show(listeners: Sequence[Listener]) -> Callable[[socket.socket, dict[str, Any]], Awaitable[None]]:
    """What shows these listeners, and this process, to whoever asks."""
    pane = Pane(listeners)

    async def answer(hand: socket.socket, question: dict[str, Any]) -> None:
        hand.setblocking(False)
        async with trio.SocketStream(trio.socket.from_stdlib_socket(hand)) as stream:

            async def say(name: str, told: dict[str, Any]) -> None:
                line = f"{name} {json.dumps(told, separators=(',', ':'))}\n".encode()
                with trio.fail_after(PATIENCE):
                    await stream.send_all(line)

            try:
                await _answer(pane, say, question)
            except (trio.BrokenResourceError, trio.TooSlowError):
                return  # nobody reads any more

    return answer


async def _answer(
    pane: Pane, say: Callable[[str, dict[str, Any]], Awaitable[object]], question: dict[str, Any]
) -> None:
    match question:
        case {"what": "stream"}:
            await pane.follow(say)
        case {"what": "numbers"}:
            await pane.count(say)
        case {"what": "closer", "id": str(wanted)}:
            if (found := pane.closer(wanted)) is not None:
                await say("closer", found)
        case _:
            return  # of a later supervisor


async def heard(stream: trio.abc.ReceiveStream) -> AsyncGenerator[tuple[str, str], None]:
    """What is shown on a stream: names of events, and what each tells, as JSON. Ends when the worker does.

    Raises:
        ValueError: a line without an end.
    """
    rest = b""
    while True:
        try:
            data = await stream.receive_some(RECEIVE)
        except trio.BrokenResourceError:
            return
        if not data:
            return
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            name, _, told = line.decode("utf-8", "replace").partition(" ")
            yield name, told
        if len(rest) > LONGEST:
            raise ValueError(f"a line of more than {LONGEST} octets")


async def first(stream: trio.abc.ReceiveStream) -> str | None:
    """What the first of them tells; None when there is none."""
    async with aclosing(heard(stream)) as events:
        async for _, told in events:
            return told
    return None
