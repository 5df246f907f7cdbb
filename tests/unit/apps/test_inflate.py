"""Bodies that come compressed."""

from __future__ import annotations

import gzip

import pytest

import roadrunner_trio as rr
from roadrunner_trio.apps.asgi import Mount, asgi
from roadrunner_trio.apps.inflate import Inflate
from roadrunner_trio.apps.router import Router
from roadrunner_trio.protocol.codec.coders import codings, encode
from roadrunner_trio.testing import open_server

BODY = b"The quick brown fox. " * 1000
both = pytest.mark.parametrize("mode", ["buffered", "streaming"])


async def echo(request):
    said = f"{request.header('content-encoding')} {request.header('content-length')}"
    return rr.Response(await request.read(), fields={"x-said": said})


async def posted(body, coding, mode="buffered", handler=echo, **settings):
    async with open_server(handler, body=mode, middlewares=[Inflate(**settings)]) as server:
        fields = {} if coding is None else {"content-encoding": coding}
        return await server.client().request("POST", "/", fields=fields, body=body)


@both
@pytest.mark.parametrize("coding", codings())
async def test_each_coding(coding, mode):
    response = await posted(encode(coding, BODY), coding, mode)
    assert (response.status, response.body) == (200, BODY)
    assert response.header("x-said") == "None None"


@both
async def test_what_is_not_coded_is_left_alone(mode):
    for coding in (None, "identity", ""):
        assert (await posted(BODY, coding, mode)).body == BODY
    assert (await posted(gzip.compress(BODY), "X-GZIP", mode)).body == BODY


@both
@pytest.mark.parametrize("coding", ["deflate", "compress", "gzip, gzip", "aws-chunked"])
async def test_what_is_not_known_is_415(coding, mode):
    response = await posted(BODY, coding, mode)
    assert (response.status, response.header("accept-encoding")) == (415, ", ".join(codings()))


@both
async def test_a_bomb_is_413(mode):
    for coding in codings():
        bomb = encode(coding, bytes(30_000_000))
        assert (await posted(bomb, coding, mode, most="1M")).status == 413
    assert (await posted(gzip.compress(bytes(1000)), "gzip", mode, most=1000)).status == 200
    assert (await posted(gzip.compress(bytes(1001)), "gzip", mode, most=1000)).status == 413


@both
@pytest.mark.parametrize("body", [BODY, gzip.compress(BODY)[:-4], gzip.compress(BODY)[:50], b""])
async def test_what_is_not_in_its_coding_is_400(body, mode):
    assert (await posted(body, "gzip", mode)).status == 400


@both
@pytest.mark.parametrize("coding", codings())
async def test_what_stands_behind_the_end_is_not_lost_without_a_word(coding, mode):
    for behind in (b"x", encode(coding, BODY)):
        assert (await posted(encode(coding, BODY) + behind, coding, mode)).status == 400


async def test_an_application_of_asgi_is_told_in_which_coding_its_body_comes():
    async def app(scope, receive, send):
        said = dict(scope["headers"])
        fields = [(b"x-said", said[b"content-encoding"] + b" " + said[b"content-length"])]
        await send({"type": "http.response.start", "status": 200, "headers": fields})
        await send({"type": "http.response.body", "body": (await receive())["body"]})

    coded = gzip.compress(BODY)
    response = await posted(coded, "gzip", "streaming", Router([Mount("/", asgi(app, lifespan="off"))]))
    assert (response.header("x-said"), response.body) == (f"gzip {len(coded)}", coded)


async def test_json_and_bounds_see_what_is_inflated():
    async def handler(request):
        return rr.Response.json(await request.json(max=100))

    for mode in ("buffered", "streaming"):
        assert (await posted(gzip.compress(b"[1]"), "gzip", mode, handler)).body == b"[1]"
        assert (await posted(gzip.compress(b" " * 101), "gzip", mode, handler)).status == 413


def test_there_has_to_be_a_bound():
    with pytest.raises(ValueError):
        Inflate(most=0)
