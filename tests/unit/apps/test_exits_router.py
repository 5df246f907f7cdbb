"""What is no end of a connection any more: E15 and E16, where no route answers (N1, N2)."""

from __future__ import annotations

import pytest
from story_tools import GET, answer, hello, loud, open_house, post

import roadrunner_trio as rr
from roadrunner_trio.apps.router import Route, Router

TEXT = b"content-type: text/plain; charset=utf-8"
ROUTES = [Route("/", hello, methods=["GET"])]


async def test_e15_no_route_gets_404_and_the_connection_goes_on(autojump_clock, caplog):
    async with open_house(Router(ROUTES)) as house:
        peer = house.peer()
        await peer.say(GET.replace(b"GET /", b"GET /nope") + GET)
        assert peer.take() == answer(b"Not Found", TEXT, status=b"404 Not Found") + answer(b"hi")
        assert peer.ended_at is None
        await peer.close()
    assert house.watch.names() == ["accept", "start", "stop", "start", "stop", "close"]
    assert loud(caplog) == []


async def test_e16_a_method_no_route_takes_gets_405_and_the_connection_goes_on(autojump_clock, caplog):
    async with open_house(Router(ROUTES)) as house:
        peer = house.peer()
        await peer.say(post(b"Content-Length: 4", body=b"body") + GET)
        refused = answer(b"Method Not Allowed", TEXT, b"allow: GET, HEAD, OPTIONS", status=b"405 Method Not Allowed")
        assert peer.take() == refused + answer(b"hi")
        assert peer.ended_at is None
        await peer.close()
    assert house.watch.names() == ["accept", "start", "stop", "start", "stop", "close"]
    assert loud(caplog) == []


@pytest.mark.parametrize("limit", [4, None])
async def test_e15_a_body_that_does_not_come_ends_it_after_the_answer(limit, autojump_clock):
    async with open_house(
        Router(ROUTES), limits=rr.Limits(max_body=limit, min_bytes_per_second=0), body="streaming"
    ) as house:
        peer = house.peer()
        await peer.say(post(b"Content-Length: 4", body=b"bod").replace(b"POST /", b"POST /nope"))
        assert peer.take() == answer(b"Not Found", TEXT, status=b"404 Not Found")
        assert await peer.end() == b""
        assert peer.ended_at == 2, "linger is all there is for an unread body"
