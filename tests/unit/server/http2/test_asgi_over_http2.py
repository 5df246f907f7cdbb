"""Applications of ASGI over HTTP/2: what they are told, and what becomes of what they send."""

from __future__ import annotations

import pytest
import trio
from http2_peer import open_http2

from roadrunner_trio.apps.asgi import asgi

KINDS = ("memory", "tcp")


@pytest.mark.parametrize("kind", KINDS)
async def test_a_scope_and_a_body(kind, autojump_clock):
    scopes = []

    async def app(scope, receive, send):
        scopes.append(scope)
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message["body"], message["more_body"]
        await send({"type": "http.response.start", "status": 201, "headers": [(b"x-a", b"1")]})
        await send({"type": "http.response.body", "body": body.upper()})

    async with open_http2(asgi(app, lifespan="off"), kind) as (_, peer):
        for _ in range(2):
            answer = await peer.get("/a%20b?c=d", method="POST", body=b"abc", fields=[("x-b", "2")])
            assert (answer.brief, answer.header("x-a")) == ((201, b"ABC"), "1")
    for scope in scopes:
        assert (scope["http_version"], scope["scheme"], scope["method"]) == ("2", "http", "POST")
        assert (scope["path"], scope["raw_path"], scope["query_string"]) == ("/a b", b"/a%20b", b"c=d")
        assert (b"host", b"h") in scope["headers"]
        assert (b"x-b", b"2") in scope["headers"]


async def test_pieces_hints_and_trailers(autojump_clock):
    async def app(scope, receive, send):
        assert {"http.response.trailers", "http.response.early_hint"} <= scope["extensions"].keys()
        await send({"type": "http.response.early_hint", "links": [b"</a>; rel=preload"]})
        await send({"type": "http.response.start", "status": 200, "headers": [], "trailers": True})
        for n in range(3):
            await send({"type": "http.response.body", "body": b"%d" % n, "more_body": True})
        await send({"type": "http.response.body"})
        await send({"type": "http.response.trailers", "headers": [(b"x-sum", b"3")]})

    async with open_http2(asgi(app, lifespan="off")) as (_, peer):
        answer = await peer.get(fields=[("te", "trailers")])
        assert (answer.interim, answer.brief, answer.trailers) == ([103], (200, b"012"), [("x-sum", "3")])


async def test_an_application_whose_peer_has_taken_its_request_back_is_told(autojump_clock):
    told = []

    async def app(scope, receive, send):
        await receive()
        told.append(((await receive())["type"], trio.current_time()))
        try:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"x"})
        except OSError:
            told.append("gone")

    async with open_http2(asgi(app, lifespan="off")) as (house, peer):
        number = peer.ask()
        await peer.flush()
        await trio.sleep(3)
        peer.cancel(number)
        await peer.flush()
        assert told == [("http.disconnect", 3), "gone"]
        assert house.listener.info().failed == 0


async def test_one_that_answers_before_the_body_has_come(autojump_clock):
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 413, "headers": []})
        await send({"type": "http.response.body", "body": b"no"})

    async with open_http2(asgi(app, lifespan="off")) as (_, peer):
        number = peer.ask("/", method="POST", end=False)
        await peer.flush()
        answer = await peer.answer(number)
        assert answer.brief == (413, b"no")
        await peer.until(lambda: answer.reset is not None)
        assert answer.reset == 0
