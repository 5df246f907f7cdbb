"""The wing over HTTP/2: files, what middlewares make of a response, forms of bodies, and trailers past them all."""

from __future__ import annotations

import gzip

import pytest
import trio
from http2_peer import open_http2

import roadrunner_trio as rr
from roadrunner_trio.apps.asgi import Mount, asgi
from roadrunner_trio.apps.compress import Compress
from roadrunner_trio.apps.conditional import Conditional
from roadrunner_trio.apps.cors import CORS
from roadrunner_trio.apps.guards import CSRF, SecurityHeaders
from roadrunner_trio.apps.inflate import Inflate
from roadrunner_trio.apps.router import Route, Router
from roadrunner_trio.apps.static import Static

TEXT = b"roadrunner " * 2000
PAGE = "https://a.example"
ASKED = [("accept-encoding", "gzip"), ("origin", PAGE), ("te", "trailers")]
ENDS = pytest.mark.parametrize("kind", ["memory", "tcp"])


async def text(request):
    return rr.Response.text(TEXT.decode())


async def echo(request):
    return rr.Response(await request.read())


async def app(scope, receive, send):
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message["body"], message["more_body"]
    fields = [(b"content-type", b"text/plain"), (b"etag", b'"v1"')]
    await send({"type": "http.response.start", "status": 200, "headers": fields, "trailers": True})
    await send({"type": "http.response.body", "body": TEXT, "more_body": True})
    await send({"type": "http.response.body", "body": body})
    await send({"type": "http.response.trailers", "headers": [(b"x-sum", b"3")]})


def wing(folder):
    middlewares = [Compress(codings=["gzip"]), Conditional(), CORS([PAGE]), SecurityHeaders()]
    routes = [
        Route("/text", text),
        Route("/echo", echo, methods=["POST"]),
        Mount("/app", asgi(app, lifespan="off")),
        Static(folder).below("/files"),
    ]
    return Router(routes, middlewares=middlewares)


@ENDS
async def test_a_response_through_all_of_them(kind, tmp_path, autojump_clock):
    async with open_http2(wing(tmp_path), kind) as (_, peer):
        answer = await peer.get("/text", fields=ASKED)
        assert (answer.status, gzip.decompress(answer.body)) == (200, TEXT)
        assert answer.header("content-length") == str(len(answer.body))
        assert answer.header("access-control-allow-origin") == PAGE
        assert answer.header("vary") == "origin, accept-encoding"
        assert answer.header("x-frame-options") == "SAMEORIGIN"
        names = [name for name, _ in answer.fields]
        assert len(names) == len(set(names))
        again = await peer.get("/text", fields=[*ASKED, ("if-none-match", answer.header("etag"))])
        assert (again.brief, again.header("etag")) == ((304, b""), answer.header("etag"))


@ENDS
async def test_a_mounted_application_whose_trailers_pass_the_coder(kind, tmp_path, autojump_clock):
    async with open_http2(wing(tmp_path), kind, middlewares=[Inflate()]) as (_, peer):
        fields = [*ASKED, ("content-encoding", "gzip")]
        answer = await peer.get("/app/x", method="POST", body=gzip.compress(b"tail", mtime=0), fields=fields)
        assert (answer.status, gzip.decompress(answer.body)) == (200, TEXT + gzip.compress(b"tail", mtime=0))
        assert (answer.trailers, answer.reset) == ([("x-sum", "3")], None)
        assert answer.header("etag") == 'W/"v1"'
        for path, body in (("/echo", b"q"), ("/echo", b"")):
            coded = gzip.compress(body)
            answer = await peer.get(path, method="POST", body=coded, fields=[("content-encoding", "gzip")])
            assert answer.brief == (200, body)


@ENDS
async def test_files_and_parts_of_them(kind, tmp_path, autojump_clock):
    octets = bytes(range(256)) * 1200
    (tmp_path / "a.bin").write_bytes(octets)
    async with open_http2(wing(tmp_path), kind) as (_, peer):
        assert (await peer.get("/files/a.bin")).brief == (200, octets)
        assert (await peer.get("/files/a.bin", method="HEAD")).header("content-length") == str(len(octets))
        part = await peer.get("/files/a.bin", fields=[*ASKED, ("range", "bytes=-70000")])
        assert part.brief == (206, octets[-70000:])
        assert part.header("content-encoding") is None
        parts = await peer.get("/files/a.bin", fields=[("range", "bytes=5-9,200000-299999")])
        assert parts.status == 206
        assert parts.header("content-length") == str(len(parts.body))
        assert octets[5:10] in parts.body
        assert octets[200000:300000] in parts.body
        beyond = await peer.get("/files/a.bin", fields=[("range", "bytes=900000-")])
        assert (beyond.status, beyond.header("content-range")) == (416, f"bytes */{len(octets)}")


@pytest.mark.parametrize("origin", [None, "http://h", PAGE])
async def test_a_websocket_has_origins_of_its_own_there_too(origin, autojump_clock):
    async def session(asked):
        await asked.accept()
        await trio.sleep_forever()

    rules = [CSRF(), Compress(), Conditional(), SecurityHeaders()]
    async with open_http2(rr.websocket(session, origins=None), middlewares=rules) as (_, peer):
        fields = [("sec-websocket-version", "13"), *([] if origin is None else [("origin", origin)])]
        number = peer.ask("/", method="CONNECT", pseudo=[(":protocol", "websocket")], fields=fields, end=False)
        await peer.flush()
        await peer.until(lambda: bool(peer.streams[number].status))
        assert peer.streams[number].status == 200
