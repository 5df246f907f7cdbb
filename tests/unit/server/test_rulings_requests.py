"""Rulings on requests: heads, framing, bodies, Expect, trailers, limits."""

from __future__ import annotations

import pytest
import trio
from story_tools import CONTINUE, GET, answer, last_word, open_house, post

import roadrunner_trio as rr

ERROR_400 = last_word(b"400 Bad Request")
ERROR_413 = last_word(b"413 Content Too Large")
CHUNKED = b"Transfer-Encoding: chunked"
EXPECT = b"Expect: 100-continue"


async def echo(request: rr.Request) -> rr.Response:
    """Answers with what it understood."""
    body = await request.read()
    return rr.Response(f"{request.method} {request.path} {request.host} {body.decode()}")


async def ask(head: bytes, handler=echo, **settings) -> bytes:
    """What one peer hears that says all of ``head``."""
    async with open_house(handler, **settings) as house:
        peer = house.peer()
        await peer.say(head)
        return peer.take()


@pytest.mark.parametrize("option", [b"enclosed", b"close-ish", b"x-close"])
async def test_n04_connection_options_are_whole_tokens(option, autojump_clock):
    heard = await ask(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: %b\r\n\r\n" % option + GET)
    assert heard == answer(b"GET / h ") * 2


async def test_n07_a_chunk_is_measured_before_it_is_read(autojump_clock):
    heard = await ask(post(CHUNKED, body=b"FFFFFFFF\r\n"))
    assert heard == ERROR_413


FRAMINGS = [
    [b"Transfer-Encoding: gzip", CHUNKED],
    [CHUNKED, b"Transfer-Encoding: identity"],
    [CHUNKED, CHUNKED],
    [b"Transfer-Encoding: chunked, chunked"],
    [b"Transfer-Encoding: chunked", b"Content-Length: 0"],
]


@pytest.mark.parametrize("fields", FRAMINGS, ids=lambda fields: b" + ".join(fields).decode())
async def test_n09_a_body_is_chunked_exactly_once_or_not_at_all(fields, autojump_clock):
    heard = await ask(post(*fields, body=b"0\r\n\r\n") + GET)
    refused = {ERROR_400, last_word(b"501 Not Implemented")}
    assert heard in refused, "one answer: nothing behind such a head is a request"


async def test_n09_an_http_10_peer_has_no_chunked_bodies(autojump_clock):
    assert await ask(post(CHUNKED, body=b"0\r\n\r\n", version=b"1.0")) == ERROR_400


@pytest.mark.parametrize("length", [b"+5", b"-0", b"0x5", b"5,5", b"5 5", b"1_0", b"\xb2"])
async def test_n10_a_content_length_is_digits_only(length, autojump_clock):
    assert await ask(post(b"Content-Length: " + length, body=b"12345")) == ERROR_400


@pytest.mark.parametrize("lines", [[b"close", b"te"], [b"te", b"close"], [b"te, Close"]])
async def test_n11_connection_is_one_list_over_all_its_lines(lines, autojump_clock):
    fields = b"".join(b"Connection: %b\r\n" % line for line in lines)
    assert await ask(b"GET / HTTP/1.1\r\nHost: h\r\n%b\r\n" % fields) == answer(b"GET / h ", b"connection: close")


@pytest.mark.parametrize("method", [b"M-SEARCH", b"get", b"PURGE", b"!#$%&'*+-.^_`|~1"])
async def test_n13_any_token_is_a_method(method, autojump_clock):
    assert await ask(method + b" / HTTP/1.1\r\nHost: h\r\n\r\n") == answer(method + b" / h ")


async def test_n14_an_absolute_target_says_path_and_host(autojump_clock):
    heard = await ask(b"GET http://example.com:80/a?b HTTP/1.1\r\nHost: other\r\n\r\n")
    assert heard == answer(b"GET /a example.com:80 ")


async def test_n14_options_of_the_server_reach_the_application(autojump_clock):
    assert await ask(b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n") == answer(b"OPTIONS * h ")


@pytest.mark.parametrize("target", [b"/a#b", b"/\xc3\xa9", b"/a\x7f", b"*", b"a", b"ftp://h/"])
async def test_n14_other_targets_are_refused(target, autojump_clock):
    assert await ask(b"GET %b HTTP/1.1\r\nHost: h\r\n\r\n" % target) == ERROR_400


@pytest.mark.parametrize("fields", [b"Host: a\r\nHost: a\r\n", b"Host: a b\r\n", b"Host: a/b\r\n", b""])
async def test_n15_a_request_has_one_sound_host(fields, autojump_clock):
    assert await ask(b"GET / HTTP/1.1\r\n%b\r\n" % fields) == ERROR_400


@pytest.mark.parametrize("extension", [b";a\n", b";a\x00", b";" + b"a" * 5000, b" ;=b", b";a;"])
async def test_n16_chunk_extensions_are_checked_and_bounded(extension, autojump_clock):
    assert await ask(post(CHUNKED, body=b"1%b\r\nx\r\n0\r\n\r\n" % extension)) == ERROR_400


async def test_n16_a_sound_chunk_extension_is_no_matter(autojump_clock):
    heard = await ask(post(CHUNKED, body=b'1;a=b;c="d\\""\r\nx\r\n0\r\n\r\n'))
    assert heard == answer(b"POST / h x")


async def test_n17_continue_comes_after_the_checks(autojump_clock):
    async with open_house(echo, limits=rr.Limits(max_body=10)) as house:
        peer = house.peer()
        await peer.say(post(EXPECT, b"Content-Length: 5"))
        assert peer.take() == CONTINUE
        await peer.say(b"12345")
        assert peer.take() == answer(b"POST / h 12345")
        await peer.say(post(EXPECT, b"Content-Length: 11"))
        assert peer.take() == ERROR_413


async def test_n17_continue_is_for_11_with_a_body(autojump_clock):
    assert await ask(post(EXPECT)) == answer(b"POST / h ")
    assert await ask(post(EXPECT, b"Content-Length: 5", version=b"1.0")) == b""


@pytest.mark.parametrize("mode", ["buffered", "streaming"])
@pytest.mark.parametrize("framing", [b"Content-Length: 11", CHUNKED], ids=["length", "chunked"])
async def test_n18_one_cap_for_a_whole_body_in_both_modes(mode, framing, autojump_clock):
    async def handler(request):
        return rr.Response(str([len(piece) async for piece in request.stream()]))

    body = b"01234567890" if framing is not CHUNKED else b"6\r\n012345\r\n5\r\n67890\r\n0\r\n\r\n"
    heard = await ask(post(framing, body=body), handler, body=mode, limits=rr.Limits(max_body=10))
    assert heard == ERROR_413


async def test_n18_a_streaming_server_may_lift_the_cap(autojump_clock):
    async def handler(request):
        return rr.Response(str(sum([len(piece) async for piece in request.stream()])))

    body = b"x" * 20_000_000
    limits = rr.Limits(max_body=None)
    heard = await ask(post(b"Content-Length: 20000000", body=body), handler, body="streaming", limits=limits)
    assert heard == answer(b"20000000")


async def test_n18_a_buffering_one_may_not(autojump_clock):
    with pytest.raises(ValueError, match="max_body"):
        rr.Listener(echo, limits=rr.Limits(max_body=None))


async def test_n18_an_app_has_a_cap_for_each_request(autojump_clock):
    class App:
        def plan(self, request: rr.Request) -> rr.Plan:
            return rr.Plan(max_body=20 if request.path == "/upload" else 0)

        async def __call__(self, exchange: rr.Exchange) -> None:
            await exchange.respond(200, [], b"%d" % len(await exchange.request.read()))

    ten = [b"Host: h", b"Content-Length: 10", b"", b"0123456789"]
    assert await ask(b"\r\n".join([b"POST /upload HTTP/1.1", *ten]), App()) == answer(b"10")
    assert await ask(b"\r\n".join([b"POST /other HTTP/1.1", *ten]), App()) == ERROR_413


async def test_n50_target_and_path_are_two_things(autojump_clock):
    async with open_house() as house:
        peer = house.peer()
        await peer.say(b"GET /a%20b?c=d HTTP/1.1\r\nHost: h\r\n\r\n")
    event = house.watch.only("start")
    assert (event.target, event.path) == ("/a%20b?c=d", "/a%20b")
    assert (event.request.target, event.request.path, event.request.query_string) == (b"/a%20b?c=d", "/a%20b", "c=d")
    assert house.watch.only("stop").request is event.request


async def test_n64_what_is_too_long_has_a_status_of_its_own(autojump_clock):
    line = await ask(b"GET /" + b"a" * 8192)
    field = await ask(b"GET / HTTP/1.1\r\nHost: h\r\nA:" + b"a" * 16383)
    section = await ask(b"GET / HTTP/1.1\r\nHost: h\r\n" + (b"A:" + b"a" * 11000 + b"\r\n") * 3)
    assert line == last_word(b"414 URI Too Long")
    assert field == section == last_word(b"431 Request Header Fields Too Large")


@pytest.mark.parametrize("mode", ["buffered", "streaming"])
async def test_n67_a_peer_that_vanishes_inside_a_body_is_gone_not_refused(mode, autojump_clock):
    async with open_house(echo, body=mode) as house:
        peer, stream = house.slow_peer(0)
        await peer.say(post(b"Content-Length: 5", body=b"1"))
        stream.reset()
        await house.empty()
        assert (trio.current_time(), peer.heard) == (0, b"")
    assert "rejected" not in house.watch.names()
    if mode == "streaming":
        event = house.watch.only("exception")
        assert (event.outcome, event.status) == ("gone", None)
        assert isinstance(event.error, rr.PeerGone)


@pytest.mark.parametrize("mode", ["buffered", "streaming"])
async def test_n68_trailers_are_given_to_the_handler_after_the_body(mode, autojump_clock):
    async def handler(request):
        before = request.trailers
        await request.read()
        return rr.Response(repr((before if mode == "streaming" else (), request.trailers)))

    heard = await ask(post(CHUNKED, body=b"1\r\nx\r\n0\r\nDigest: abc\r\nA: b\r\n\r\n"), handler, body=mode)
    assert heard == answer(b"((), ((b'digest', b'abc'), (b'a', b'b')))")
