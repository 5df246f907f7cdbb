"""Which responses are compressed, how, and what their heads say then."""

from __future__ import annotations

import gzip
import os
from contextlib import asynccontextmanager

import h11
import pytest
import trio
from story_tools import loud

import roadrunner_trio as rr
from roadrunner_trio.apps import compress
from roadrunner_trio.apps.asgi import Mount, asgi
from roadrunner_trio.apps.compress import Compress
from roadrunner_trio.apps.router import Route, Router
from roadrunner_trio.apps.static import Static
from roadrunner_trio.protocol.codec.coders import codings, open_decoder
from roadrunner_trio.testing import open_server

TEXT = "The quick brown fox jumps over the lazy dog. " * 60
GZIP = {"accept-encoding": "gzip"}


def decoded(response):
    coding = response.header("content-encoding")
    if coding is None:
        return response.body
    decoder, out, data = open_decoder(coding), b"", response.body
    while got := decoder.decode(data):
        out, data = out + got, b""
    assert decoder.finished
    return out


@asynccontextmanager
async def client_of(handler, *middlewares, **settings):
    async with open_server(handler, middlewares=middlewares or [Compress()], **settings) as server:
        yield server.client()


def answering(make):
    async def handler(request):
        return make()

    return handler


async def asked(make, method="GET", fields=GZIP, middleware=None):
    async with client_of(answering(make), middleware or Compress()) as client:
        return await client.request(method, "/", fields=fields)


@pytest.mark.parametrize("coding", codings())
async def test_each_coding(coding):
    response = await asked(lambda: rr.Response.text(TEXT), fields={"accept-encoding": coding})
    assert response.header("content-encoding") == coding
    assert response.header("vary") == "accept-encoding"
    assert len(response.body) < 500
    assert decoded(response) == TEXT.encode()


async def test_the_best_that_there_is():
    response = await asked(lambda: rr.Response.text(TEXT), fields={"accept-encoding": "gzip, deflate, br, zstd"})
    assert response.header("content-encoding") == codings()[0]
    response = await asked(
        lambda: rr.Response.text(TEXT), middleware=Compress(codings=["gzip"]), fields={"accept-encoding": "*"}
    )
    assert response.header("content-encoding") == "gzip"


@pytest.mark.parametrize("accepted", [None, "", "identity", "gzip;q=0", "*;q=0", "deflate", "identity;q=1, gzip;q=0.1"])
async def test_for_those_who_do_not_accept_it_vary_alone_is_said(accepted):
    response = await asked(
        lambda: rr.Response.text(TEXT), fields={} if accepted is None else {"accept-encoding": accepted}
    )
    assert (response.header("content-encoding"), response.header("vary")) == (None, "accept-encoding")
    assert response.text == TEXT


LEFT_ALONE = {
    "small": lambda: rr.Response.text("x" * 999),
    "an image": lambda: rr.Response(TEXT, fields={"content-type": "image/png"}),
    "nobody knows what": lambda: rr.Response(TEXT),
    "coded already": lambda: rr.Response.text(TEXT, fields={"content-encoding": "x"}),
    "a part": lambda: rr.Response.text(TEXT, status=206, fields={"content-range": "bytes 0-1/5"}),
    "not to be changed": lambda: rr.Response.text(TEXT, fields={"cache-control": "private, No-Transform"}),
    "with a digest": lambda: rr.Response.text(TEXT, fields={"content-digest": "sha-256=:x:"}),
}


@pytest.mark.parametrize("make", LEFT_ALONE.values(), ids=LEFT_ALONE)
async def test_what_is_left_alone(make):
    plain = make()
    response = await asked(make)
    assert response.header("content-encoding") == ("x" if (b"content-encoding", b"x") in plain.fields else None)
    assert response.header("vary") is None
    assert response.body == plain.body


@pytest.mark.parametrize("status", [204, 205, 304])
async def test_what_has_no_content(status):
    response = await asked(lambda: rr.Response(TEXT, status, {"content-type": "text/plain", "etag": '"a"'}))
    assert (response.body, response.header("content-encoding")) == (b"", None)


async def test_statuses_that_have_content():
    for status in (200, 201, 404, 422, 500):
        assert (await asked(lambda s=status: rr.Response.text(TEXT, status=s))).header("content-encoding") == "gzip"


@pytest.mark.parametrize(
    ("kind", "coded"),
    [
        ("text/html; charset=utf-8", True),
        ("TEXT/CSV", True),
        ("application/json", True),
        ("application/vnd.api+json", True),
        ("image/svg+xml", True),
        ("application/wasm", True),
        ("video/mp4", False),
        ("font/woff2", False),
        ("application/zip", False),
    ],
)
async def test_media_types(kind, coded):
    response = await asked(lambda: rr.Response(TEXT, fields={"content-type": kind}))
    assert (response.header("content-encoding") is not None) is coded


async def test_head_says_what_get_would():
    get = await asked(lambda: rr.Response.text(TEXT))
    head = await asked(lambda: rr.Response.text(TEXT), "HEAD")
    undated = [[field for field in each.fields if field[0] != b"date"] for each in (get, head)]
    assert undated[0] == undated[1]
    assert head.body == b""


async def test_a_strong_tag_becomes_weak_and_ranges_are_not_offered():
    fields = {"content-type": "text/plain", "etag": '"a"', "accept-ranges": "bytes", "vary": "origin"}
    response = await asked(lambda: rr.Response(TEXT, fields=fields))
    assert (response.header("etag"), response.header("accept-ranges")) == ('W/"a"', None)
    assert response.header("vary") == "origin, accept-encoding"
    response = await asked(lambda: rr.Response(TEXT, fields={**fields, "etag": 'W/"b"'}))
    assert response.header("etag") == 'W/"b"'
    response = await asked(lambda: rr.Response(TEXT, fields=fields), fields={})
    assert response.header("etag") == '"a"'


async def test_twice_is_once():
    async with client_of(answering(lambda: rr.Response.text(TEXT)), Compress(), Compress()) as client:
        response = await client.get("/", fields=GZIP)
    assert gzip.decompress(response.body).decode() == TEXT


async def test_it_may_be_left_out():
    rule = Compress(unless=lambda request: request.path == "/secret")
    async with client_of(answering(lambda: rr.Response.text(TEXT)), rule) as client:
        assert (await client.get("/secret", fields=GZIP)).header("content-encoding") is None
        assert (await client.get("/", fields=GZIP)).header("content-encoding") == "gzip"


async def test_much_of_it_is_compressed_in_a_thread(monkeypatch):
    threads = []
    run_sync = trio.to_thread.run_sync

    def spy(*args, **settings):
        threads.append(args)
        return run_sync(*args, **settings)

    monkeypatch.setattr(trio.to_thread, "run_sync", spy)
    assert len(decoded(await asked(lambda: rr.Response.text("x" * 60_000)))) == 60_000
    assert threads == []
    assert len(decoded(await asked(lambda: rr.Response.text("x" * 70_000)))) == 70_000
    assert len(threads) == 1


# Streams


@pytest.mark.parametrize("coding", codings())
async def test_events_arrive_when_they_happen(coding, autojump_clock):
    async def events():
        for at in range(5):
            yield rr.ServerSentEvent(f"event {at}")
            await trio.sleep(10)

    async def handler(request):
        return rr.EventStream(request, events())

    async with client_of(handler) as client:
        await client.stream.send_all(b"GET / HTTP/1.1\r\nHost: h\r\nAccept-Encoding: %b\r\n\r\n" % coding.encode())
        decoder, said, times = open_decoder(coding), b"", []
        peer = h11.Connection(h11.CLIENT)
        peer.send(h11.Request(method="GET", target="/", headers=[("host", "h")]))
        peer.send(h11.EndOfMessage())
        while not isinstance(event := peer.next_event(), h11.EndOfMessage):
            if event is h11.NEED_DATA:
                peer.receive_data(await client.stream.receive_some())
            elif isinstance(event, h11.Response):
                assert dict(event.headers)[b"content-encoding"] == coding.encode()
            else:
                said += decoder.decode(bytes(event.data))
                times += [trio.current_time()] * (said.count(b"event ") - len(times))
    assert [round(later - times[0]) for later in times] == [0, 10, 20, 30, 40]


async def test_a_stream_and_its_trailers():
    async def produce(send):
        for _ in range(10):
            await send(TEXT.encode())
        await send(b"x" * 200_000)
        return {"x-sum": "1"}

    length = str(len(TEXT) * 10 + 200_000)
    make = lambda: rr.StreamResponse(produce, fields={"content-type": "text/plain", "content-length": length})  # noqa: E731
    response = await asked(make)
    assert decoded(response) == TEXT.encode() * 10 + b"x" * 200_000
    assert (response.header("content-length"), response.trailers) == (None, [(b"x-sum", b"1")])
    assert (await asked(make, "HEAD")).body == b""


async def test_a_loop():
    async def handler(request):
        send, receive = trio.open_memory_channel(5)
        for at in range(3):
            send.send_nowait(at)
        send.close()

        async def on_message(message, send):
            if isinstance(message, int):
                await send(b"%d\n" % message)

        return rr.LoopResponse(receive, on_message, fields={"content-type": "text/plain"})

    async with client_of(handler) as client:
        assert decoded(await client.get("/", fields=GZIP)) == b"0\n1\n2\n"


async def test_a_stream_that_fails_is_cut_as_ever(caplog):
    async def produce(send):
        await send(b"begun")
        raise KeyError

    make = answering(lambda: rr.StreamResponse(produce, fields={"content-type": "text/plain"}))
    async with client_of(make) as client:
        with pytest.raises(h11.RemoteProtocolError):
            await client.get("/", fields=GZIP)
    assert len(loud(caplog)) == 1


# Files


@pytest.fixture
def public(tmp_path):
    (tmp_path / "big.js").write_text(TEXT * 100)
    (tmp_path / "small.js").write_text("x")
    (tmp_path / "film.mp4").write_bytes(os.urandom(5000))
    (tmp_path / "there.js").write_text(TEXT)
    (tmp_path / "there.js.gz").write_bytes(gzip.compress(b"beforehand"))
    for each in tmp_path.iterdir():
        os.utime(each, (1_700_000_000, 1_700_000_000))
    return tmp_path


async def test_files(public):
    async with client_of(Static(public)) as client:
        response = await client.get("/big.js", fields=GZIP)
        assert decoded(response).decode() == TEXT * 100
        tag = response.header("etag")
        assert (tag[:3], response.header("accept-ranges")) == ('W/"', None)
        again = await client.get("/big.js", fields={**GZIP, "if-none-match": tag})
        assert (again.status, again.header("etag"), again.header("vary")) == (304, tag, "accept-encoding")
        plain = await client.get("/big.js")
        assert (plain.text, plain.header("etag"), plain.header("vary")) == (TEXT * 100, tag[2:], "accept-encoding")
        part = await client.get("/big.js", fields={**GZIP, "range": "bytes=0-4"})
        assert (part.status, part.header("content-encoding"), part.text) == (206, None, TEXT[:5])
        assert (await client.get("/small.js", fields=GZIP)).header("content-encoding") is None
        assert (await client.get("/film.mp4", fields=GZIP)).header("content-encoding") is None
        response = await client.get("/there.js", fields=GZIP)
        assert gzip.decompress(response.body) == b"beforehand"
        assert (await client.request("HEAD", "/big.js", fields=GZIP)).header("content-encoding") == "gzip"


# Applications of ASGI


async def app(scope, receive, send):
    path = scope["path"]
    headers = [(b"content-type", b"text/plain"), (b"etag", b'"a"')]
    if path == "/whole":
        headers.append((b"content-length", b"%d" % len(TEXT)))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    if path == "/whole":
        await send({"type": "http.response.body", "body": TEXT.encode()})
    else:
        for _ in range(3):
            await send({"type": "http.response.body", "body": TEXT.encode(), "more_body": True})
        await send({"type": "http.response.body"})


async def test_an_application_of_asgi():
    router = Router([Mount("/", asgi(app, lifespan="off"))])
    async with client_of(router) as client:
        for path, times in (("/whole", 1), ("/pieces", 3), ("/whole", 1)):
            response = await client.get(path, fields=GZIP)
            assert decoded(response).decode() == TEXT * times
            assert (response.header("etag"), response.header("vary")) == ('W/"a"', "accept-encoding")
            assert (await client.get(path)).text == TEXT * times
            head = await client.request("HEAD", path, fields=GZIP)
            assert (head.header("content-encoding"), head.body) == ("gzip", b"")


async def test_a_websocket_is_left_alone():
    async def echo(offer):
        async with await offer.accept() as ws:
            await ws.send_message(await ws.get_message())

    async with open_server(Router([Route("/", rr.websocket(echo))]), middlewares=[Compress()]) as server:
        client = server.client()
        fields = {
            "upgrade": "websocket",
            "connection": "upgrade",
            "sec-websocket-version": "13",
            "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
            **GZIP,
        }
        assert (await client.request("GET", "/", fields=fields)).status == 101


def test_what_cannot_be_meant():
    for settings in ({"minimum": -1}, {"codings": "gzip"}, {"codings": ["deflate"]}):
        with pytest.raises(ValueError):
            Compress(**settings)
    assert "text/html" not in compress.COMPRESSIBLE
