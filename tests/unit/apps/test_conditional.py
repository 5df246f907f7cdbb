"""Tags of buffered responses, and what they spare."""

from __future__ import annotations

import gzip

import pytest

import roadrunner_trio as rr
from roadrunner_trio.apps.asgi import Mount, asgi
from roadrunner_trio.apps.compress import Compress
from roadrunner_trio.apps.conditional import Conditional
from roadrunner_trio.apps.router import Router
from roadrunner_trio.testing import open_server

TEXT = "The quick brown fox. " * 200


async def asked(make, *, method="GET", fields=(), middlewares=None):
    async def handler(request):
        return make()

    async with open_server(handler, middlewares=middlewares or [Conditional()]) as server:
        return await server.client().request(method, "/", fields=list(dict(fields).items()))


def text():
    return rr.Response.text(TEXT, fields={"cache-control": "no-cache", "set-cookie": "a=b", "content-language": "en"})


async def test_who_has_it_is_not_sent_it_again():
    for method in ("GET", "HEAD"):
        first = await asked(text, method=method)
        tag = first.header("etag")
        assert (first.status, tag[:3]) == (200, 'W/"')
        again = await asked(text, method=method, fields={"if-none-match": tag})
        assert (again.status, again.body) == (304, b"")
        assert {name for name, _ in again.fields} == {b"date", b"cache-control", b"set-cookie", b"etag"}
        assert (await asked(text, method=method, fields={"if-none-match": '"other"'})).status == 200


async def test_another_content_has_another_tag():
    one, other = await asked(text), await asked(lambda: rr.Response.text(TEXT + "."))
    assert one.header("etag") != other.header("etag")


async def test_a_tag_or_a_date_of_the_handlers_is_taken_as_it_is():
    def tagged():
        return rr.Response(TEXT, fields={"etag": '"v1"', "last-modified": "Sun, 06 Nov 1994 08:49:37 GMT"})

    assert (await asked(tagged)).header("etag") == '"v1"'
    for fields, status in (
        ({"if-none-match": '"v1"'}, 304),
        ({"if-modified-since": "Sun, 06 Nov 1994 08:49:37 GMT"}, 304),
        ({"if-match": '"v2"'}, 412),
        ({"if-match": '"v1"'}, 200),
        ({"if-unmodified-since": "Sat, 05 Nov 1994 08:49:37 GMT"}, 412),
    ):
        assert (await asked(tagged, fields=fields)).status == status
    response = await asked(lambda: rr.Response(TEXT, fields={"last-modified": "Sun, 06 Nov 1994 08:49:37 GMT"}))
    assert response.header("etag") is not None


@pytest.mark.parametrize(
    "make",
    [
        lambda: rr.Response(TEXT, status=201),
        lambda: rr.Response(TEXT, status=404),
        lambda: rr.Response(TEXT, fields={"cache-control": "private, no-store"}),
        rr.Response,
    ],
)
async def test_what_has_none(make):
    response = await asked(make)
    assert response.header("etag") is None
    assert (await asked(make, fields={"if-modified-since": "Sun, 06 Nov 2094 08:49:37 GMT"})).status == response.status


async def test_other_methods_and_streams_are_left_alone():
    assert (await asked(text, method="POST")).header("etag") is None
    assert (await asked(text, method="POST", fields={"if-match": '"other"'})).status == 200

    async def produce(send):
        await send(b"x")

    assert (await asked(lambda: rr.StreamResponse(produce))).header("etag") is None


async def test_inside_of_compression():
    both = [Compress(codings=["gzip"]), Conditional()]
    fields = {"accept-encoding": "gzip"}
    first = await asked(text, fields=fields, middlewares=both)
    assert gzip.decompress(first.body).decode() == TEXT
    again = await asked(text, fields={**fields, "if-none-match": first.header("etag")}, middlewares=both)
    assert (again.status, again.header("etag")) == (304, first.header("etag"))
    assert again.header("vary") == first.header("vary") == "accept-encoding"
    plain = await asked(text, fields={"if-none-match": first.header("etag")}, middlewares=both)
    assert plain.status == 304


async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    if scope["path"] == "/pieces":
        await send({"type": "http.response.body", "body": b"x", "more_body": True})
    await send({"type": "http.response.body", "body": TEXT.encode()})


async def test_an_application_of_asgi():
    router = Router([Mount("/", asgi(app, lifespan="off"))])
    async with open_server(router, middlewares=[Conditional()]) as server:
        client = server.client()
        first = await client.get("/")
        assert (first.status, first.text) == (200, TEXT)
        again = await client.get("/", fields={"if-none-match": first.header("etag")})
        assert (again.status, again.body) == (304, b"")
        assert (await client.get("/pieces")).header("etag") is None
