"""A body of the smallest chunks that has come at once: its neighbours have their turns between its pieces."""

from __future__ import annotations

import pytest
import trio
from story_tools import GET, answer, open_house, post

import roadrunner_trio as rr
from roadrunner_trio.server.http1_exchange import GULPS, Http1Exchange


class Steps(trio.abc.Instrument):
    """Counts what is taken of a body in one step of a task."""

    pieces = most = 0

    def before_task_step(self, task):
        self.pieces = 0

    def after_task_step(self, task):
        self.most = max(self.most, self.pieces)


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
async def test_a_body_of_crumbs_leaves_turns_to_others(handler, body, autojump_clock, monkeypatch):
    steps = Steps()
    take = Http1Exchange._next_piece

    def counted(exchange):
        steps.pieces += 1
        return take(exchange)

    monkeypatch.setattr(Http1Exchange, "_next_piece", counted)
    trio.lowlevel.add_instrument(steps)
    async with open_house(handler, body=body) as house:
        peer = house.peer()
        await peer.say(CRUMBS)
        assert await peer.until(b"9000") == answer(b"9000")
        await peer.say(GET)
        assert peer.take().startswith(b"HTTP/1.1 200 OK")
    trio.lowlevel.remove_instrument(steps)
    assert GULPS <= steps.most <= GULPS + 1, "two pieces in a step, and the end of the body"
