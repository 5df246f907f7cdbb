"""Opening handshakes, octet for octet, over a socket: each whole, octet by octet and cut; the server lives on."""

from __future__ import annotations

import pytest
import trio
from socket_tools import PATIENCE, Peer, no_connections
from vector_tools import Vector, cuts, load

from roadrunner_trio import Limits, Listener, WebSocketRequest, websocket

VECTORS = load("ws-handshake")
PROBE = next(vector for vector in VECTORS if vector.id == "ws-handshake-plain")


async def echo(request: WebSocketRequest) -> None:
    session = await request.accept()
    async for message in session:
        await session.send_message(message)


def grades(vector: Vector, status: int, fields: dict[str, str]) -> set[str]:
    """The grades of the outcomes that fit an answer."""
    return {
        expected["grade"]
        for expected in vector.expect
        if status in expected["error"]
        and all(fields.get(name) == value for name, value in (expected.get("last_headers") or {}).items())
    }


async def answer(port: int, parts: list[bytes]) -> tuple[int, dict[str, str]]:
    with trio.fail_after(PATIENCE), await Peer.connect(port) as peer:
        for part in parts:
            await peer.send(part)
            for _ in range(4):
                await trio.lowlevel.checkpoint()
        await peer.until(lambda: b"\r\n\r\n" in peer.received)
        line, *lines = bytes(peer.received).partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
        fields = dict(each.split(": ", 1) for each in lines)
        if line.startswith("HTTP/1.1 101 "):  # a session that works: an empty close, and its answer
            peer.received.clear()
            await peer.send(b"\x88\x80\x00\x00\x00\x00")
            assert await peer.end()
            assert peer.received == b"\x88\x00"
        return int(line.split(" ")[1]), fields


async def run(vector: Vector) -> dict[str, tuple[int, dict[str, str]]]:
    async with trio.open_nursery() as nursery:
        limits = Limits(min_bytes_per_second=0)
        listener = await nursery.start(
            Listener(websocket(echo, compression=True), bind="127.0.0.1:0", limits=limits).serve
        )
        seen = {}
        for how, parts in cuts(vector):
            seen[how] = await answer(listener.port, parts)
            assert (await answer(listener.port, [PROBE.data]))[0] == 101
        await no_connections(listener)
        nursery.cancel_scope.cancel()
    return seen


@pytest.mark.parametrize("vector", VECTORS, ids=str)
async def test_handshake(vector, tally):
    seen = await run(vector)
    found = {how: grades(vector, *answered) for how, answered in seen.items()}
    strict = all("strict" in grade for grade in found.values())
    tally.add("websocket", vector.category, "strict" if strict else max(min(found.values(), key=len), default=None))
    assert strict, seen
    assert len({status for status, _ in seen.values()}) == 1
