"""The body readers, step by step."""

from __future__ import annotations

import tracemalloc

import pytest

from roadrunner_trio.errors import ProtocolError
from roadrunner_trio.protocol.http1.body import (
    FORBIDDEN_TRAILERS,
    MAX_CHUNK_EXTENSIONS,
    MAX_CHUNK_LINE,
    MOST_AT_ONCE,
    ChunkedReader,
    LengthReader,
    body_reader,
)
from roadrunner_trio.protocol.http1.engine import END, NEED_DATA
from roadrunner_trio.protocol.http1.head import judge, request_line
from roadrunner_trio.protocol.http1.scan import ScanEngine
from roadrunner_trio.settings import Limits


def refusal(call, *args):
    with pytest.raises(ProtocolError) as caught:
        call(*args)
    return caught.value.status, caught.value.reason


def chunked(data=b"", **limits):
    buffer = bytearray(data)
    return buffer, ChunkedReader(buffer, Limits(**limits))


def drain(body):
    """All pieces, and the signal behind them."""
    pieces = []
    while isinstance(piece := body.next(), bytes):
        pieces.append(piece)
    return pieces, piece


def end_of(data, **limits):
    return drain(chunked(data, **limits)[1])


@pytest.mark.parametrize(
    ("field", "kind"),
    [(b"transfer-encoding", ChunkedReader), (b"content-length", LengthReader), (b"x", LengthReader)],
)
def test_the_framing_chooses_the_reader(field, kind):
    value = b"chunked" if kind is ChunkedReader else b"3"
    head = judge(request_line(b"POST / HTTP/1.1"), ((b"host", b"h"), (field, value)), b"")
    body = body_reader(head, bytearray(b"3\r\nabc\r\n0\r\n\r\n" if kind is ChunkedReader else b"abc"), Limits())
    assert type(body) is kind
    assert drain(body) == ([b"abc"] if field != b"x" else [], END)


# Content-Length


def test_a_length_is_read_as_it_comes_and_no_further():
    buffer = bytearray()
    body = LengthReader(buffer, 5)
    assert body.next() is NEED_DATA
    buffer += b"ab"
    assert body.next() == b"ab"
    assert body.next() is NEED_DATA
    buffer += b"cdeNEXT"
    assert body.next() == b"cde"
    assert body.next() is END
    assert body.next() is END
    assert buffer == b"NEXT"
    assert body.trailers == ()


def test_no_body_has_ended():
    assert LengthReader(bytearray(b"x"), 0).next() is END


def test_the_cap_of_a_length_is_judged_at_once():
    body = LengthReader(bytearray(), 5)
    body.limit(5)
    body.limit(None)
    assert refusal(body.limit, 4) == (413, "content_length_too_large")


# Chunks


def test_chunks():
    buffer, body = chunked(b"5\r\nhello\r\n06;x\r\n world\r\n000\r\n\r\nNEXT")
    assert drain(body) == ([b"hello", b" world"], END)
    assert body.next() is END
    assert buffer == b"NEXT"


def test_a_chunk_is_given_out_before_it_is_whole():
    buffer, body = chunked(b"a\r\n0123")
    assert drain(body) == ([b"0123"], NEED_DATA)
    buffer += b"456789\r"
    assert drain(body) == ([b"456789"], NEED_DATA)
    buffer += b"\n0\r\n\r"
    assert drain(body) == ([], NEED_DATA)
    buffer += b"\n"
    assert body.next() is END


@pytest.mark.parametrize("size", [b"A", b"a", b"0" * 4000 + b"a"])
def test_sizes(size):
    assert end_of(size + b"\r\n0123456789\r\n0\r\n\r\n") == ([b"0123456789"], END)


@pytest.mark.parametrize(
    "size",
    [
        b"",
        b"g",
        b"0x5",
        b"+5",
        b"-5",
        b"5_0",
        b" 5",
        b"\t5",
        b"5 ",
        b"5\t",
        b"5 5",
        b"5h",
        b"5.",
        b'"5"',
        b"\xef",
        b"5\x85",
        b"10000000000000000",
        b"5 a=b",
        b"5:",
    ],
)
def test_bad_sizes(size):
    assert refusal(end_of, size + b"\r\nhello\r\n0\r\n\r\n") == (400, "bad_chunk_size")


def test_sixteen_digits_are_understood():
    _, body = chunked(b"0ffffffffffffffff\r\n")
    assert body.next() is NEED_DATA
    assert refusal(body.limit, 10) == (413, "content_length_too_large")


@pytest.mark.parametrize("data", [b"hello", b"\n", b"5\n", b"5\rX", b"5;a\n", b"5\x00", b"5;\x7f"])
def test_a_bad_size_line_is_refused_before_it_is_whole(data):
    assert refusal(end_of, data) == (400, "bad_chunk_size")


@pytest.mark.parametrize(
    "extensions",
    [
        b";a",
        b";a;b=c",
        b';a="b;c"',
        b';a="\\"\\\\ \t\xe9"',
        b" ; a = b ;c",
        b'\t;\ta\t=\t"b"\t;c',
        b';a=""',
    ],
)
def test_extensions(extensions):
    assert end_of(b"3" + extensions + b"\r\nabc\r\n0" + extensions + b"\r\n\r\n") == ([b"abc"], END)


@pytest.mark.parametrize(
    "extensions",
    [
        b";",
        b";;a",
        b";a=",
        b";a@b",
        b';a="',
        b';a="\\"',
        b';a="b"c',
        b";a b",
        b";a;",
        b";a ",
        b";=b",
        b";a==b",
        b";\xe9",
        b";a=b=c",
        b';"a"',
        b"; ",
        b";a= ;b",
    ],
)
def test_bad_extensions(extensions):
    assert refusal(end_of, b"3" + extensions + b"\r\nabc\r\n0\r\n\r\n") == (400, "bad_chunk_size")


def test_a_size_line_has_a_limit():
    fits = b"3;" + b"a" * (MAX_CHUNK_LINE - 2)
    assert end_of(fits + b"\r\nabc\r\n0\r\n\r\n") == ([b"abc"], END)
    assert refusal(end_of, fits + b"a") == (400, "bad_chunk")


def test_all_extensions_of_a_body_have_a_limit():
    line = b"1;" + b"a" * 1023 + b"\r\nx\r\n"
    fits = line * (MAX_CHUNK_EXTENSIONS // 1024)
    pieces, end = end_of(fits + b"0\r\n\r\n")
    assert (b"".join(pieces), end) == (b"x" * 16, END)
    assert refusal(end_of, fits + b"1;a\r\n") == (400, "bad_chunk")


@pytest.mark.parametrize("behind", [b"X", b"\n", b"\rX", b"\r\r", b"0\r\n"])
def test_data_ends_with_crlf(behind):
    _, body = chunked(b"3\r\nabc" + behind)
    assert body.next() == b"abc"
    assert refusal(body.next) == (400, "bad_chunk")


def test_the_cap_is_judged_on_the_size_line():
    _, body = chunked(b"5\r\nhello\r\n6\r\nworld!")
    body.limit(10)
    assert body.next() == b"hello"
    assert refusal(body.next) == (413, "content_length_too_large")


def test_a_body_may_reach_its_cap():
    _, body = chunked(b"5\r\nhello\r\n5\r\nworld\r\n0\r\n\r\n")
    body.limit(10)
    assert drain(body) == ([b"helloworld"], END)


def test_small_chunks_that_are_there_come_as_one_piece():
    buffer, body = chunked(b"1\r\na\r\n" + b"2\r\nbc\r\n" * 1000 + b"3\r\nd")
    assert drain(body) == ([b"a" + b"bc" * 1000, b"d"], NEED_DATA)
    assert body.taken == 2002
    buffer += b"ef\r\n1\r\ng\r\n1;x\r\nh\r\n00001\r\ni\r\n0\r\nt: v\r\n\r\nNEXT"
    assert drain(body) == ([b"efg", b"h", b"i"], END)
    assert (body.trailers, bytes(buffer)) == (((b"t", b"v"),), b"NEXT")


def test_case_36_very_many_small_chunks_come_as_pieces_that_are_never_long_in_the_making():
    _, body = chunked(b"1\r\na\r\n" * 5000 + b"0\r\n\r\n")
    pieces, end = drain(body)
    assert (b"".join(pieces), end) == (b"a" * 5000, END)
    assert [len(piece) for piece in pieces] == [MOST_AT_ONCE + 1] * 4 + [5000 - 4 * (MOST_AT_ONCE + 1)]


@pytest.mark.parametrize("size", [1, 2, 50])
def test_case_36_small_chunks_take_no_more_than_they_came_with(size):
    data = (b"%X\r\n" % size + b"a" * size + b"\r\n") * (65536 // (size + 6))
    _, body = chunked(data)
    tracemalloc.start()
    try:
        assert body.next()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2 * len(data), "among them the buffer, cut anew"


@pytest.mark.parametrize("framing", [b"content-length: 200000", b"transfer-encoding: chunked"])
def test_case_36_a_reader_holds_nothing_of_what_it_has_given_out(framing):
    engine = ScanEngine(Limits())
    engine.receive(b"POST / HTTP/1.1\r\nhost: h\r\n%b\r\n\r\n" % framing)
    engine.next_head()
    piece = b"xy" if b"length" in framing else b"2\r\nxy\r\n"
    engine.receive(piece)
    assert engine.next_body() == b"xy"
    tracemalloc.start()
    try:
        for _ in range(20000):
            engine.receive(piece)
            assert engine.next_body() == b"xy"
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 4096
    assert engine.body_taken == 40002


def test_small_chunks_come_up_to_the_cap():
    _, body = chunked(b"1\r\na\r\n" * 9)
    body.limit(8)
    assert body.next() == b"a" * 8
    assert refusal(body.next) == (413, "content_length_too_large")


@pytest.mark.parametrize("behind", [b"0\n", b"1\n", b"g\r\n", b"-1\r\n", b"1\r\nax"])
def test_what_is_wrong_behind_small_chunks_is_refused_after_them(behind):
    _, body = chunked(b"1\r\na\r\n1\r\nb\r\n" + behind)
    good = b"aba" if behind.startswith(b"1\r\n") else b"ab"
    assert body.next() == good
    assert refusal(body.next)[0] == 400


def test_a_cap_counts_what_was_declared_before_it_was_set():
    buffer, body = chunked(b"8\r\nab")
    assert body.next() == b"ab"
    assert refusal(body.limit, 7) == (413, "content_length_too_large")
    body.limit(None)
    buffer += b"cdefgh\r\nffff\r\n"
    assert drain(body) == ([b"cdefgh"], NEED_DATA)


# Trailers


def test_trailers():
    _, body = chunked(b"0\r\nX-A: 1\r\nx-a:\t2 \r\nY:\r\n\r\n")
    assert body.trailers == ()
    assert body.next() is END
    assert body.trailers == ((b"x-a", b"1"), (b"x-a", b"2"), (b"y", b""))


@pytest.mark.parametrize("name", sorted(FORBIDDEN_TRAILERS))
def test_forbidden_trailers(name):
    assert refusal(end_of, b"0\r\nA: b\r\n" + name.upper() + b": 1\r\n\r\n") == (400, "bad_trailer")


@pytest.mark.parametrize("name", [b"x-checksum", b"content-md5", b"server-timing", b"etag"])
def test_other_trailers_pass(name):
    assert end_of(b"0\r\n" + name + b": 1\r\n\r\n") == ([], END)


@pytest.mark.parametrize(
    "data", [b"a\r\n", b"a :b\r\n", b" a:b\r\n", b":b\r\n", b"a:b\n", b"a:b\x07", b"a:b\rc", b"\n"]
)
def test_bad_trailer_lines(data):
    assert refusal(end_of, b"0\r\n" + data) == (400, "bad_header")


@pytest.mark.parametrize(
    ("limits", "data", "reason"),
    [
        ({"max_fields": 1}, b"a:b\r\na", "too_many_headers"),
        ({"max_field_line": 16}, b"a:" + b"b" * 15, "header_too_long"),
        ({"max_field_section": 16}, b"a:" + b"b" * 13, "header_block_too_long"),
    ],
)
def test_trailers_have_the_limits_of_heads(limits, data, reason):
    assert refusal(lambda: end_of(b"0\r\n" + data, **limits)) == (431, reason)
