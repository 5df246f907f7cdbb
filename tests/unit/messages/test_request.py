"""A request as an application sees it."""

from __future__ import annotations

import re
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import pytest
import trio
import trio.testing

from roadrunner_trio.messages.request import Params, Request
from roadrunner_trio.protocol.http1.head import judge, request_line
from roadrunner_trio.transport.drain import Drain


class Source:
    """A body that comes in the given pieces."""

    def __init__(self, *pieces):
        self.pieces = list(pieces)
        self.acknowledged = 0
        self.asked = 0

    async def receive_body(self):
        await trio.lowlevel.checkpoint()
        self.asked += 1
        piece = self.pieces.pop(0) if self.pieces else b""
        if isinstance(piece, Exception):
            raise piece
        return piece

    async def disconnected(self):
        await trio.lowlevel.checkpoint()

    def acknowledge_drain(self):
        self.acknowledged += 1


def made(line=b"GET / HTTP/1.1", fields=(), source=None):
    head = judge(request_line(line), ((b"host", b"example.org:8000"), *fields), b"")
    return Request(head, source or Source(), Drain(), peer=("192.0.2.1", 1234), scheme="http", listener_name="main")


async def pieces_of(request):
    return [piece async for piece in request.stream()]


# What was sent


def test_raw_is_bytes():
    request = made(b"GET /a%20b?x=1&y HTTP/1.0", [(b"x-a", b"1"), (b"x-a", b"2")])
    assert request.target == b"/a%20b?x=1&y"
    assert request.version == (1, 0)
    assert request.fields == ((b"host", b"example.org:8000"), (b"x-a", b"1"), (b"x-a", b"2"))


def test_convenient_is_str():
    request = made(b"PATCH /a%20b?x=1&y HTTP/1.1")
    assert request.method == "PATCH"
    assert request.path == "/a%20b"
    assert request.query_string == "x=1&y"
    assert request.host == "example.org:8000"


def test_where_it_came_from():
    request = made()
    assert (request.peer, request.scheme) == (("192.0.2.1", 1234), "http")
    assert request.listener_name == "main"
    assert not request.drain.draining


def test_its_id_is_its_own_and_stays():
    request, other = made(), made()
    assert re.fullmatch("[0-9a-f]{16}", request.request_id)
    assert request.request_id == request.request_id != other.request_id


def test_threads_that_ask_at_once_are_told_the_same_id(monkeypatch):
    request, both, drawn = made(), threading.Barrier(2), iter(["a", "b"])

    def slowly():
        both.wait(5)
        return next(drawn)

    monkeypatch.setattr("roadrunner_trio.messages.request.new_id", slowly)
    get = type(request).request_id.func
    with ThreadPoolExecutor(2) as threads:
        first, second = threads.map(get, [request, request])
    assert first == second


def test_what_others_put_into_it():
    request = made()
    assert (request.bindings, request.state, request.trailers) == ({}, None, ())
    request.state = {"user": 7}
    request.bindings = {"id": "7"}
    assert request.state["user"] == 7
    assert made().bindings == {}


@pytest.mark.parametrize(
    ("line", "path", "query", "host"),
    [
        (b"GET http://other.example/x?y HTTP/1.1", "/x", "y", "other.example"),
        (b"GET http://other.example HTTP/1.1", "/", "", "other.example"),
        (b"OPTIONS * HTTP/1.1", "*", "", "example.org:8000"),
        (b"GET /?a?b HTTP/1.1", "/", "a?b", "example.org:8000"),
        (b"GET /? HTTP/1.1", "/", "", "example.org:8000"),
    ],
)
def test_every_form_of_target_names_a_path_and_a_host(line, path, query, host):
    request = made(line)
    assert (request.path, request.query_string, request.host) == (path, query, host)


def test_it_shows_itself_in_a_log():
    request = made(b"GET /x?secret=1 HTTP/1.1")
    request.request_id = "0123456789abcdef"
    assert repr(request) == "<Request 0123456789abcdef GET /x?secret=1>"


def test_the_query_is_decoded_once():
    request = made(b"GET /?q=a+b%26c&flag&q=2&bad=%zz HTTP/1.1")
    assert request.query["q"] == "a b&c"
    assert request.query["flag"] == ""
    assert request.query["bad"] == "%zz"
    assert request.query.all("q") == ["a b&c", "2"]
    assert request.query is request.query
    assert dict(made().query) == {}


def test_names_come_in_the_order_in_which_they_were_sent():
    cookies = [(b"cookie", b"s=1; a=2"), (b"x", b"no=1"), (b"cookie", "b=ü; s=4; A=5".encode())]
    request = made(b"GET /?z=1&y=2&z=3&a&y=4 HTTP/1.1", cookies)
    assert list(request.query) == list(request.query.keys()) == ["z", "y", "a"]
    assert dict(request.query) == {"z": "1", "y": "2", "a": ""}
    assert list(request.query.items()) == [("z", "1"), ("y", "2"), ("a", "")]
    assert list(request.cookies) == ["s", "a", "b", "A"]
    assert dict(request.cookies) == {**request.cookies} == {"s": "1", "a": "2", "b": "ü", "A": "5"}
    assert (len(request.query), "y" in request.query, request.query.get("no")) == (3, True, None)


def test_cookies_of_all_lines_are_read_once():
    request = made(fields=[(b"cookie", b"a=1; b=2"), (b"x", b"c=3"), (b"cookie", b'a=4; d="\xe9"')])
    assert request.cookies.pairs == [("a", "1"), ("b", "2"), ("a", "4"), ("d", '"é"')]
    assert request.cookies["a"] == "1"
    assert request.cookies is request.cookies
    assert len(made().cookies) == 0


def test_fields_by_name():
    request = made(fields=[(b"x-a", b"1"), (b"x-b", b"\xe9"), (b"x-a", b"3")])
    assert request.header("X-A") == "1"
    assert request.header("x-b") == "é"
    assert request.header("x-c") is None
    assert request.headers("X-a") == ["1", "3"]
    assert request.headers("x-c") == []


def test_params_are_a_mapping_to_the_first_value():
    params = Params([("a", "1"), ("b", "2"), ("a", "3")])
    assert params["a"] == "1"
    assert dict(params) == {"a": "1", "b": "2"}
    assert len(params) == 2
    assert params.get("c", "0") == "0"
    assert "b" in params
    with pytest.raises(KeyError):
        params["c"]
    assert params.all("a") == ["1", "3"]
    assert params.all("c") == []
    assert params.pairs == [("a", "1"), ("b", "2"), ("a", "3")]
    assert repr(params) == "Params([('a', '1'), ('b', '2'), ('a', '3')])"


# The body, left to the handler


async def test_reading_it_whole():
    source = Source(b"hello", b" ", b"world")
    request = made(source=source)
    assert await request.read() == b"hello world"
    assert await request.read() == b"hello world"
    assert source.asked == 4


async def test_case_36_a_body_in_tiny_pieces_takes_a_little_more_than_itself():
    octets = 200_000

    class Dribble(Source):
        async def receive_body(self):
            self.asked += 1
            return b"xy" if self.asked <= octets // 2 else b""

    request = made(source=Dribble())
    tracemalloc.start()
    try:
        assert len(await request.read()) == octets
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3 * octets


async def test_one_piece_is_the_body_as_it_is():
    piece = b"hello"
    assert await made(source=Source(piece)).read() is piece
    source = Source()
    assert await made(source=source).read() == b""
    assert source.asked == 1


async def test_in_pieces_as_they_come():
    request = made(source=Source(b"hello", b"world"))
    assert await pieces_of(request) == [b"hello", b"world"]
    assert await pieces_of(request) == []


async def test_a_stream_may_be_left_and_taken_up_again():
    request = made(source=Source(b"a", b"b", b"c"))
    async for piece in request.stream():
        assert piece == b"a"
        break
    assert await request.next_piece() == b"b"
    assert await pieces_of(request) == [b"c"]
    assert await request.next_piece() == b""


async def test_what_was_taken_in_pieces_is_not_there_as_a_whole():
    request = made(source=Source(b"a", b"b"))
    await request.next_piece()
    with pytest.raises(RuntimeError, match="already taken"):
        await request.read()


async def test_a_read_that_failed_does_not_give_half_a_body_later():
    request = made(source=Source(b"half", ValueError("bad chunk"), b"more"))
    with pytest.raises(ValueError, match="bad chunk"):
        await request.read()
    with pytest.raises(RuntimeError, match="already taken"):
        await request.read()


async def test_a_middleware_may_read_what_a_handler_streams():
    source = Source(b"hello", b" ", b"world")
    request = made(source=source)
    await request.read()
    assert await pieces_of(request) == [b"hello world"]
    assert await pieces_of(request) == []
    assert await request.read() == b"hello world"
    assert source.asked == 4


# The body, read by the server in advance


async def test_a_kept_body_is_read_any_number_of_times():
    source = Source(b"not this one")
    request = made(source=source)
    request.keep_body(b"hello")
    assert await request.read() == b"hello"
    assert await request.read() == b"hello"
    assert source.asked == 0


async def test_a_kept_body_streams_as_one_piece():
    request = made()
    request.keep_body(b"hello")
    assert await pieces_of(request) == [b"hello"]
    assert await pieces_of(request) == []
    assert await request.read() == b"hello"


async def test_a_kept_body_without_octets_streams_as_nothing():
    request = made()
    request.keep_body(b"")
    assert await pieces_of(request) == []
    assert await request.read() == b""


async def test_the_next_piece_is_a_checkpoint_wherever_it_comes_from():
    request = made()
    request.keep_body(b"hello")
    for _ in range(2):
        with trio.testing.assert_checkpoints():
            await request.next_piece()


# The exchange is over


async def test_a_detached_request_reads_no_more():
    source = Source(b"of the next request")
    request = made(source=source)
    request.detach()
    calls = [request.read, request.next_piece, request.stream().__anext__, request.disconnected]
    for call in calls:
        with pytest.raises(RuntimeError, match="exchange is over"):
            await call()
    with pytest.raises(RuntimeError, match="exchange is over"):
        request.acknowledge_drain()
    assert source.asked == 0


async def test_what_was_read_before_stays():
    request = made(source=Source(b"hello"))
    await request.read()
    request.detach()
    assert await request.read() == b"hello"


async def test_disconnections_and_drains_are_the_sources_affair():
    source = Source()
    request = made(source=source)
    await request.disconnected()
    request.acknowledge_drain()
    assert source.acknowledged == 1
