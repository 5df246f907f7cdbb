"""Whatever an application sends, in whatever order: its peer reads whole responses, or one that is visibly cut."""

from __future__ import annotations

import logging
from typing import Any

import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st
from script_tools import responses
from story_tools import open_house

from roadrunner_trio.apps.asgi import asgi

LENGTHS = st.sampled_from([[], [(b"content-length", b"3")], [(b"content-length", b"0")], [(b"connection", b"close")]])
STARTS = st.builds(
    lambda status, headers, trailers: {
        "type": "http.response.start",
        "status": status,
        "headers": headers,
        "trailers": trailers,
    },
    st.sampled_from([200, 204, 304, 404, 103, 999]),
    LENGTHS,
    st.booleans(),
)
BODIES = st.builds(
    lambda body, more: {"type": "http.response.body", "body": body, "more_body": more},
    st.sampled_from([b"", b"abc", b"ab", b"x" * 20_000, bytearray(b"abc"), "text"]),
    st.booleans(),
)
TRAILERS = st.builds(
    lambda headers, more: {"type": "http.response.trailers", "headers": headers, "more_trailers": more},
    st.sampled_from([[], [(b"x", b"1")], [(b"content-length", b"1")]]),
    st.booleans(),
)
HINTS = st.just({"type": "http.response.early_hint", "links": [b"</a>"]})
OTHERS = st.sampled_from([{"type": "nonsense"}, {}, {"type": "websocket.accept"}, "receive", "wait"])
ACTS = st.lists(st.one_of(STARTS, BODIES, BODIES, TRAILERS, HINTS, OTHERS), max_size=8)
REQUESTS = st.sampled_from(
    [
        b"GET / HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nTE: trailers\r\n\r\n",
        b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc",
        b"GET / HTTP/1.0\r\n\r\n",
    ]
)


async def heard(acts: list[Any], careless: bool, requests: list[bytes], kind: str) -> bytes:
    """What a peer hears of an application that does this for each of its requests."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for act in acts:
            try:
                if act == "receive":
                    with trio.move_on_after(1):
                        await receive()
                elif act == "wait":
                    await trio.sleep(1)
                else:
                    await send(act)
            except Exception:
                if not careless:
                    raise

    async with open_house(asgi(app, lifespan="off"), tcp=True) as house:
        peer = house.meet(kind)
        await peer.say(b"".join(requests))
        await trio.sleep(100)
        await peer.close()
        await house.empty()
        return peer.heard


@settings(max_examples=200, deadline=None)
@given(ACTS, st.booleans(), st.lists(REQUESTS, min_size=1, max_size=3), st.sampled_from(["memory", "tcp"]))
def test_a_peer_reads_whole_responses_or_one_that_is_visibly_cut(acts, careless, requests, kind):
    logging.getLogger("roadrunner_trio").setLevel(logging.CRITICAL)
    try:
        clock = trio.testing.MockClock(autojump_threshold=0)
        data = trio.run(heard, acts, careless, requests, kind, clock=clock)
    finally:
        logging.getLogger("roadrunner_trio").setLevel(logging.NOTSET)
    statuses, _ = responses(data, ended=True, methods=[request.split(b" ", 1)[0].decode() for request in requests])
    assert statuses
    assert set(statuses) <= {200, 204, 304, 404, 500}
