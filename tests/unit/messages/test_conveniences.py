"""What spares a handler a line: JSON bodies, addresses, preferences; cookies, problems, files."""

from __future__ import annotations

import json

import pytest

import roadrunner_trio as rr
from roadrunner_trio.messages.response import FileResponse, LoopResponse, Response, StreamResponse
from roadrunner_trio.testing import open_server

# -- requests


async def answered(method, target, *, handler, body=b"", fields=(), mode="buffered"):
    async with open_server(handler, body=mode) as server:
        return await server.client().request(method, target, fields=list(fields), body=body)


async def echo_json(request):
    return Response.json(await request.json(max=100))


both = pytest.mark.parametrize("mode", ["buffered", "streaming"])


@both
async def test_a_body_as_json(mode):
    for value in ({"a": [1, 2.5, None, "é"]}, [], "x", 0, None):
        response = await answered("POST", "/", handler=echo_json, body=json.dumps(value).encode(), mode=mode)
        assert (response.status, json.loads(response.body)) == (200, value)
    assert (await answered("POST", "/", handler=echo_json, body=b"\xef\xbb\xbf5", mode=mode)).body == b"5"


@both
@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b"", "line 1 column 1"),
        (b'{"a": 1,\n"b": }', "line 2 column 6"),
        (b"[1, 2", "line 1 column 6"),
        (b"{} {}", "line 1 column 4"),
        (b"\xff", "no UTF-8: octet 0"),
        (b'"\xe9"', "no UTF-8: octet 1"),
        (b"NaN", "NaN is no number"),
        (b"-Infinity", "-Infinity is no number"),
    ],
)
async def test_what_is_no_json_is_a_400_that_says_where(mode, body, complaint):
    response = await answered("POST", "/", handler=echo_json, body=body, mode=mode)
    assert response.status == 400
    assert complaint in response.text


async def test_what_is_nested_without_end_or_counts_without_end():
    async def handler(request):
        return Response.json(await request.json())

    for body in (b"[" * 500_000, b"1" * 100_000):
        response = await answered("POST", "/", handler=handler, body=body)
        assert response.status == 400
        assert "no JSON" in response.text


@both
async def test_more_than_is_wanted_is_413(mode):
    body = json.dumps("x" * 99).encode()
    assert (await answered("POST", "/", handler=echo_json, body=body, mode=mode)).status == 413
    assert (await answered("POST", "/", handler=echo_json, body=b'"%b"' % (b"x" * 98), mode=mode)).status == 200


@both
async def test_chunks_are_counted_too(mode):
    async with open_server(echo_json, body=mode) as server:
        client = server.client()
        head = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
        await client.stream.send_all(head + b'1\r\n"\r\n' + b"32\r\n" + b"x" * 50 + b'\r\n1\r\n"\r\n0\r\n\r\n')
        assert b"200 OK" in await client.stream.receive_some()
        await client.stream.send_all(
            head + b"32\r\n" + b"x" * 50 + b"\r\n32\r\n" + b"x" * 50 + b"\r\n1\r\nx\r\n0\r\n\r\n"
        )
        assert b"413 Content Too Large" in await client.stream.receive_some()


async def test_it_may_be_asked_for_twice_but_not_after_a_part_was_taken():
    async def twice(request):
        return Response.json([await request.json(max="1K"), await request.json(), len(await request.read(max=5))])

    assert (await answered("POST", "/", handler=twice, body=b"[1]", mode="streaming")).body == b"[[1],[1],3]"

    async def late(request):
        await request.next_piece()
        with pytest.raises(RuntimeError, match="already taken"):
            await request.read(max=5)
        return Response("late")

    async with open_server(late, body="streaming") as server:
        client = server.client()
        await client.stream.send_all(
            b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"
        )
        assert b"late" in await client.stream.receive_some()


@pytest.mark.parametrize(
    ("target", "fields", "url"),
    [
        ("/a%20b?c=d", (), "http://test/a%20b?c=d"),
        ("/", (("host", "example.org:8080"),), "http://example.org:8080/"),
        ("http://other.example/x?y", (("host", "other.example"),), "http://other.example/x?y"),
        ("/x", (("host", ""),), "/x"),
    ],
)
async def test_the_address_of_a_request(target, fields, url):
    async def handler(request):
        return Response(request.url)

    assert (await answered("GET", target, handler=handler, fields=fields)).text == url


async def test_the_address_of_the_server_itself():
    async def handler(request):
        return Response(request.url)

    assert (await answered("OPTIONS", "*", handler=handler)).text == "http://test"


async def test_what_a_peer_would_rather_have():
    async def handler(request):
        return Response(str(request.accepts("text/html", "application/json")))

    for accept, chosen in (("*/*", "text/html"), ("application/json", "application/json"), ("image/png", "None")):
        assert (await answered("GET", "/", handler=handler, fields=[("accept", accept)])).text == chosen
    assert (await answered("GET", "/", handler=handler)).text == "text/html"


async def test_what_a_body_is_and_a_field_that_is_not_there():
    async def handler(request):
        return Response.json([request.media_type, request.header("x", "none"), request.header("X-There", "none")])

    fields = [("content-type", "Text/Plain; charset=x"), ("x-there", "yes")]
    assert (await answered("GET", "/", handler=handler, fields=fields)).body == b'["text/plain","none","yes"]'
    assert (await answered("GET", "/", handler=handler)).body == b'["","none","none"]'


# -- responses


async def produce(send):
    """Nothing."""


def cookies(response):
    return [value for name, value in response.fields if name == b"set-cookie"]


@pytest.mark.parametrize("make", [Response, lambda: StreamResponse(produce), lambda: FileResponse("x")])
def test_every_kind_of_response_has_cookies(make):
    response = make()
    response.set_cookie("a", "1")
    response.set_cookie("b", "2", max_age=60)
    response.set_cookie("a", "3")
    response.set_cookie("a", "4", path="/x")
    assert cookies(response) == [
        b"b=2; Max-Age=60; Path=/; Secure; HttpOnly; SameSite=Lax",
        b"a=3; Path=/; Secure; HttpOnly; SameSite=Lax",
        b"a=4; Path=/x; Secure; HttpOnly; SameSite=Lax",
    ]
    response.delete_cookie("a", path="/x")
    assert cookies(response)[-1] == (
        b"a=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Path=/x; Secure; HttpOnly; SameSite=Lax"
    )
    assert len(cookies(response)) == 3


def test_a_cookie_that_is_none_changes_nothing():
    response = Response()
    with pytest.raises(ValueError, match="quote"):
        response.set_cookie("a", "b\r\nx: y")
    assert response.fields == []


def test_a_response_that_is_shared_by_mistake_keeps_its_own_fields():
    fields = Response(fields={"x-a": "1"}).fields
    one, other = Response(fields=fields), Response(fields=fields)
    one.set_cookie("a", "1")
    assert cookies(other) == []


def test_a_problem():
    response = Response.problem(404)
    assert (response.status, json.loads(response.body)) == (404, {"title": "Not Found", "status": 404})
    assert response.fields == [(b"content-type", b"application/problem+json")]
    response = Response.problem(
        422, type="https://example.org/p", detail="too late", instance="/x", fields={"x-a": "1"}, due="yesterday"
    )
    assert json.loads(response.body) == {
        "type": "https://example.org/p",
        "status": 422,
        "detail": "too late",
        "instance": "/x",
        "due": "yesterday",
    }
    with pytest.raises(ValueError, match="final status"):
        Response.problem(100)


def test_a_file():
    response = rr.Response.file("a/b.txt", filename="c.txt", fields={"x-a": "1"})
    assert isinstance(response, FileResponse)
    assert (response.path, response.fields[-1][0]) == ("a/b.txt", b"content-disposition")


def test_a_loop_has_cookies_too():
    import trio

    async def on_message(message, send):
        """Nothing."""

    send, receive = trio.open_memory_channel(0)
    with send, receive:
        response = LoopResponse(receive, on_message)
        response.set_cookie("a", "1")
        assert len(cookies(response)) == 1
