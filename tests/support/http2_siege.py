"""Peers of HTTP/2 that do what comes to their minds, by chance that can be repeated, and handlers that do likewise."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from random import Random
from typing import Any

import trio
from http2_scripts import Writer
from http2_tools import HELLO
from story_tools import House

import roadrunner_trio as rr

WEBSOCKET = [
    (":method", "CONNECT"),
    (":protocol", "websocket"),
    (":scheme", "http"),
    (":path", "/"),
    (":authority", "h"),
]
LONGEST = 2000
"""Seconds after which a server has to have ended every connection, whatever its peer does."""


def head(chance: Random) -> list[tuple[str, str]]:
    if chance.random() < 0.05:
        return [*WEBSOCKET, ("sec-websocket-version", "13")]
    fields = [(":method", chance.choice(["GET", "POST"])), (":scheme", "http"), (":path", "/"), (":authority", "h")]
    odd = [("content-length", "5"), ("expect", "100-continue"), ("priority", "u=1, i"), ("priority", "u=7")]
    return [*fields, chance.choice(odd)] if chance.random() < 0.2 else fields


def steps(chance: Random, writer: Writer) -> Iterator[tuple]:
    """What a peer does one after the other; nearly all of it is allowed."""
    open_: list[int] = []
    for _ in range(chance.randint(1, 40)):
        kind = chance.choices(
            ["request", "data", "trailers", "reset", "window", "settings", "ping", "sleep", "raw"], WEIGHTS
        )[0]
        if kind == "request":
            end = chance.random() < 0.5
            yield "request", head(chance), end, chance.choice([0, 0, 0, 2]), chance.random() < 0.1
            open_ += [] if end else [writer.begun[-1]]
        elif kind in ("data", "trailers") and open_:
            number, end = chance.choice(open_), kind == "trailers" or chance.random() < 0.3
            which = len(writer.begun) - 1 - writer.begun.index(number)
            if end:
                open_.remove(number)
            content = b"d" * chance.choice([0, 1, 5, 300, 5000, 16_000])
            yield ("trailers", which, [("x", "y")], True) if kind == "trailers" else ("data", which, content, end, None)
        elif kind == "reset" and writer.begun:
            which = chance.randrange(len(writer.begun))
            with suppress(ValueError):
                open_.remove(writer.begun[-1 - which])
            yield "reset", which, 8
        else:
            yield from _other(kind, chance, len(writer.begun))


WEIGHTS = [40, 20, 3, 10, 10, 4, 3, 4, 0.1]


def _other(kind: str, chance: Random, begun: int) -> Iterator[tuple]:
    if kind == "window":
        yield (
            "window",
            chance.randrange(begun) if begun and chance.random() < 0.5 else -1,
            chance.choice([1, 100, 70_000]),
        )
    elif kind == "settings":
        yield "settings", [(4, chance.choice([0, 1, 100, 65_535, 200_000]))]
    elif kind == "ping":
        yield "frame", 6, 0, -1, b"12345678"
    elif kind == "sleep":
        yield "sleep", chance.random() * 3
    elif kind == "raw":
        yield "raw", chance.randbytes(chance.randint(1, 12))


async def visit(house: House, kind: str, chance: Random) -> bool:
    """A connection from its preface to its end, whichever side makes it; whether it had one."""
    peer, writer = house.meet(kind), Writer()
    with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        await peer.stream.send_all(HELLO)
        for step in steps(chance, writer):
            if step[0] == "sleep":
                await trio.sleep(step[1])
                continue
            octets = writer.write(step)
            at = chance.randrange(len(octets)) if chance.random() < 0.2 else 0
            for piece in filter(None, (octets[:at], octets[at:])):
                await (peer.say(piece) if chance.random() < 0.5 else peer.stream.send_all(piece))
        if chance.random() < 0.5:
            if chance.random() < 0.5:
                await peer.close()
                return True
            await peer.finish()
    with trio.move_on_after(LONGEST) as waiting:
        if peer.ended_at is None:
            await peer.end()
    await peer.close()
    return not waiting.cancelled_caught


class Moody:
    """A handler that does as it pleases."""

    def __init__(self, chance: Random, *, streams: bool) -> None:
        self.chance = chance
        self.streams = streams

    async def __call__(self, request: rr.Request) -> Any:
        if self.streams and self.chance.random() < 0.6:
            return await self._read(request)
        moods = [
            self._at_once,
            self._late,
            self._large,
            self._pieces,
            self._waits,
            self._fails,
            self._clings,
            self._body,
        ]
        return await self.chance.choice(moods)(request)

    async def _read(self, request: rr.Request) -> rr.Response:
        octets = 0
        async for piece in request.stream():
            octets += len(piece)
            if self.chance.random() < 0.2:
                break
            if self.chance.random() < 0.3:
                await trio.sleep(self.chance.random())
        return rr.Response(b"%d" % octets)

    async def _at_once(self, request: rr.Request) -> rr.Response:
        return rr.Response(b"x" * self.chance.randrange(40))

    async def _late(self, request: rr.Request) -> rr.Response:
        await trio.sleep(self.chance.random() * 3)
        return rr.Response("late")

    async def _large(self, request: rr.Request) -> rr.Response:
        return rr.Response(b"y" * self.chance.randrange(300_000))

    async def _pieces(self, request: rr.Request) -> rr.StreamResponse:
        async def produce(send: Any) -> None:
            for _ in range(5):
                await trio.sleep(self.chance.random() / 2)
                await send(b"z" * self.chance.randrange(20_000))

        return rr.StreamResponse(produce)

    async def _waits(self, request: rr.Request) -> rr.Response:
        with trio.move_on_after(60):
            await request.disconnected()
        return rr.Response("gone")

    async def _fails(self, request: rr.Request) -> rr.Response:
        raise rr.HTTPError(418)

    async def _clings(self, request: rr.Request) -> rr.Response:
        try:
            await trio.sleep(100)
        finally:
            with trio.move_on_after(0.1, shield=True):
                await trio.sleep(0.05)
        return rr.Response("late")

    async def _body(self, request: rr.Request) -> rr.Response:
        return rr.Response((await request.read())[:100])
