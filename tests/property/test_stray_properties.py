"""Law of a request: whoever goes on with it when it is over takes nothing of the next, whenever its octets come."""

from __future__ import annotations

from typing import NamedTuple

import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from script_tools import errors_logged, kinds, run
from story_tools import open_house

import roadrunner_trio as rr

TIMEOUTS = rr.Timeouts(linger=1000.0)
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n"


class Asked(NamedTuple):
    """A request, and what its handler makes of it."""

    body: bytes
    chunked: bool
    left: list[str]
    """Who is left behind."""
    reads: int
    """Pieces that the handler takes; -1 is all."""
    thinks: float
    shielded: bool

    def octets(self, number: int) -> bytes:
        """As it is sent."""
        head = b"POST /%d HTTP/1.1\r\nHost: h\r\n" % number
        if not self.chunked:
            return head + b"Content-Length: %d\r\n\r\n" % len(self.body) + self.body
        chunk = b"%x\r\n%b\r\n" % (len(self.body), self.body) if self.body else b""
        return head + b"Transfer-Encoding: chunked\r\n\r\n" + chunk + b"0\r\n\r\n"


asked = st.builds(
    Asked,
    st.sampled_from([b"", b"x", b"0123456789", SMUGGLED, SMUGGLED * 3]),
    st.booleans(),
    st.lists(st.sampled_from(["stream", "pieces", "watch"]), max_size=3),
    st.sampled_from([0, 1, -1]),
    st.sampled_from([0, 0.1, 0.5]),
    st.booleans(),
)
cuts = st.lists(st.tuples(st.integers(0, 600), st.sampled_from([0, 0, 0.05, 0.1, 0.3])), max_size=12)


async def go_on(request: rr.Request, how: str, shielded: bool) -> None:
    """A task that is left behind."""
    with trio.CancelScope(shield=shielded):
        try:
            if how == "watch":
                await request.disconnected()
            elif how == "stream":
                async for _ in request.stream():
                    pass
            else:
                while await request.next_piece():
                    pass
        except (RuntimeError, rr.PeerGone):
            return


async def conversation(requests: list[Asked], pauses: list[tuple[int, float]], kind: str) -> None:
    served: list[tuple[str, bytes | None]] = []

    async def handler(request: rr.Request) -> rr.Response:
        about = requests[int(request.path[1:])]
        for how in about.left:
            behind.start_soon(go_on, request, how, about.shielded)
        body = None
        if about.reads < 0 and set(about.left) <= {"watch"}:
            body = await request.read()
        elif about.reads:
            await request.next_piece()
        await trio.sleep(about.thinks)
        served.append((request.path, body))
        return rr.Response(request.path)

    with errors_logged() as logged:
        async with trio.open_nursery() as behind:
            async with open_house(handler, tcp=True, timeouts=TIMEOUTS, body="streaming") as house:
                peer = house.meet(kind)
                said, at = b"".join(each.octets(number) for number, each in enumerate(requests)), 0
                for cut, pause in [*sorted(pauses), (len(said), 0)]:
                    await peer.say(said[at:cut])
                    await trio.sleep(pause)
                    at = max(at, cut)
                await peer.until(b"/%d" % (len(requests) - 1))
                assert house.phases() == ["idle"]
            behind.cancel_scope.cancel()

    read = [each.body if each.reads < 0 and set(each.left) <= {"watch"} else None for each in requests]
    assert served == [(f"/{number}", body) for number, body in enumerate(read)]
    assert peer.heard.count(b"HTTP/1.1 200 OK\r\n") == len(requests)
    assert not logged


@settings(max_examples=300, deadline=None)
@given(st.lists(asked, min_size=2, max_size=4), cuts, kinds)
def test_case_34_every_request_is_served_once_with_its_own_body_whoever_is_left_behind(requests, pauses, kind):
    run(conversation, requests, pauses, kind)
