"""A body of the smallest chunks that has come at once: its neighbours have their turns between its pieces."""

from __future__ import annotations

import pytest
import trio
from story_tools import GET, answer, open_house, post

import roadrunner_trio as rr

CRUMBS = post(b"Transfer-Encoding: chunked", body=b"1\r\na\r\n" * 9_000 + b"0\r\n\r\n")


async def read(request):
    return rr.Response(b"%d" % len(await request.read()))


async def stream(request):
    return rr.Response(b"%d" % sum([len(piece) async for piece in request.stream()]))


async def leave_it(request):
    return rr.Response(b"9000")


@pytest.mark.parametrize(
    ("handler", "body"),
    [(read, "buffered"), (read, "streaming"), (stream, "buffered"), (stream, "streaming"), (leave_it, "streaming")],
)
async def test_a_body_of_crumbs_leaves_turns_to_others(handler, body, autojump_clock):
    turns = 0

    async def count():
        nonlocal turns
        while not peer.heard.endswith(b"9000"):
            await trio.lowlevel.checkpoint()
            turns += 1

    async with open_house(handler, body=body) as house:
        peer = house.peer()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(count)
            await peer.stream.send_all(CRUMBS)
        assert turns >= 8, "one for every two pieces, and a few for the rest"
        assert peer.take() == answer(b"9000")
        await peer.say(GET)
        assert peer.take().startswith(b"HTTP/1.1 200 OK")
