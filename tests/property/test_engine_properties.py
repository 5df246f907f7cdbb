"""Laws of the engine and the codecs, over generated input."""

from __future__ import annotations

import contextlib
import string

import h11
from hypothesis import example, given
from hypothesis import strategies as st
from vector_tools import pieces

from roadrunner_trio.errors import ProtocolError
from roadrunner_trio.fields import tokens
from roadrunner_trio.protocol.codec.cookies import parse_cookies
from roadrunner_trio.protocol.codec.uri import encode_query, parse_query, percent_decode, percent_encode
from roadrunner_trio.protocol.heads import RequestHead
from roadrunner_trio.protocol.http1.engine import END, Signal
from roadrunner_trio.protocol.http1.h11_engine import H11Engine
from roadrunner_trio.protocol.http1.scan import ScanEngine
from roadrunner_trio.settings import Limits

SMALL = Limits(max_request_line=40, max_field_line=40, max_field_section=90, max_fields=4)
"""Small enough for generated input to meet every limit."""

FRAGMENTS = [
    *[b"GET / HTTP/1.1\r\n", b"POST /a?b HTTP/1.1\r\n", b"GET http://h/ HTTP/1.0\r\n", b"CONNECT h:1 HTTP/1.1\r\n"],
    *[b"Host: h\r\n", b"host:\r\n", b"Content-Length: 3\r\n", b"Content-Length: 7\r\n", b"Connection: close\r\n"],
    *[b"Transfer-Encoding: chunked\r\n", b"Expect: 100-continue\r\n", b"X: " + b"y" * 30, b" folded\r\n", b"a:b"],
    *[b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"\x00", b"\xff", b"0\r\n", b"3\r\nabc\r\n", b"3;a=b\r\n", b"5", b"abc"],
]
HEADS = [
    b"GET / HTTP/1.1\r\nHost: h\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n",
]
noise = st.lists(st.sampled_from(FRAGMENTS) | st.binary(max_size=6), max_size=12).map(b"".join)
streams = st.tuples(st.lists(st.sampled_from(HEADS), max_size=2).map(b"".join), noise).map(b"".join)
places = st.lists(st.integers(0, 300), max_size=8)


def events(parts, *, limits=SMALL, cap=6, lane=ScanEngine):
    """What an engine gives, pieces of one body joined; the last event is a verdict or a signal."""
    engine = lane(limits)
    out: list[object] = []
    in_body = False
    for part in [*parts, b""]:
        engine.receive(part)
        try:
            while True:
                got = engine.next_body() if in_body else engine.next_head()
                if isinstance(got, bytes):
                    assert got, "a piece is never empty"
                    out[-1] += got  # type: ignore[operator]
                elif isinstance(got, RequestHead):
                    in_body = True
                    out += [got, b""]
                    engine.limit_body(cap)
                elif got is END:
                    in_body = False
                    out.append(engine.trailers())
                    engine.next_cycle()
                else:
                    break
        except ProtocolError as error:
            return [*out, (error.status, error.reason)]
    return [*out, got]


@given(streams, places)
@example(b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"y" * 37 + b"\r\n", [])
@example(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\na:b\r\n\r\n", [])
def test_the_cut_changes_nothing_and_nothing_but_a_verdict_is_raised(stream, places):
    whole = events([stream])
    assert events(pieces(stream, places)) == whole
    assert events([stream[i : i + 1] for i in range(len(stream))]) == whole
    assert isinstance(whole[-1], tuple | Signal)


line_ends = st.sampled_from([b"\r\n"] * 8 + [b"\n", b"\r", b" \r\n"])
field_lines = st.tuples(
    st.sampled_from([b"Host", b"host", b"X-A", b"a", b"Content-Length", b"Connection", b"Expect", b"X A", b""]),
    st.sampled_from([b":", b": ", b":\t", b" :", b": \t "]),
    st.sampled_from([b"h", b"", b"3", b"close", b"100-continue", b"a b", b"\x80", b"\x7f", b"y" * 40, b"v "]),
    line_ends,
).map(b"".join)
plain_heads = st.tuples(
    st.sampled_from([b"GET", b"get", b"OPTIONS", b"CONNECT", b"", b"G T"]),
    st.sampled_from([b" ", b"  "]),
    st.sampled_from([b"/", b"/a?b=c", b"*", b"h:1", b"http://h/", b"/#", b"/\xff", b"/" + b"a" * 40]),
    st.sampled_from([b" HTTP/1.1", b" HTTP/1.0", b" HTTP/1.2", b" HTTP/2.0", b""]),
    line_ends,
    st.lists(field_lines, max_size=6).map(b"".join),
    line_ends,
).map(b"".join)


@given(st.lists(plain_heads | st.just(HEADS[0]), min_size=1, max_size=3).map(b"".join), places)
@example(b"GET / HTTP/1.1\r\nHost: h\r\nX-A: \t \r\n\r\n", [])
@example(b"CONNECT / HTTP/1.1\r\nHost: h\r\n\r\n", [])
@example(b"GET / HTTP/1.1\r\nHost: h\r\n" + b"a:b\r\n" * 4 + b"\r\n", [])
@example(b"GET / HTTP/1.1\r\nHost: h\r\nX-A: " + b"y" * 40 + b"\r\n\r\n", [])
def test_the_fast_lane_gives_what_h11_gives(stream, places):
    parts = pieces(stream, places)
    assert events(parts, lane=ScanEngine) == events(parts, lane=H11Engine)


@given(st.binary(max_size=200), places)
def test_any_octets_get_a_verdict_or_a_wait(stream, places):
    assert events(pieces(stream, places)) == events([stream])


# h11 as the oracle


def as_h11(head: RequestHead) -> h11.Request:
    reader = h11.Connection(h11.SERVER)
    reader.receive_data(head.raw)
    request = reader.next_event()
    assert isinstance(request, h11.Request)
    return request


@given(streams)
def test_h11_reads_every_head_that_we_accept_the_same(stream):
    for head in events([stream]):
        if isinstance(head, RequestHead):
            request = as_h11(head)
            assert (request.method, request.target) == (head.method, head.target)
            coded = b"transfer-encoding"  # whose value h11 gives in lower case
            ours = [(name, value.lower() if name == coded else value) for name, value in head.fields]
            assert list(request.headers) == ours


token = st.text(string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~", min_size=1, max_size=8)
quoted = st.text(string.ascii_letters + ' ;=\t"\\é', max_size=6).map(
    lambda text: '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
)
blank = st.sampled_from(["", " ", "\t"])


def extensions(before):
    """Chunk extensions; ``before`` is what may stand before their semicolons."""
    extension = st.builds(
        lambda b1, b2, name, b3, b4, value: f"{b1};{b2}{name}" + (f"{b3}={b4}{value}" if value is not None else ""),
        *(before, blank, token, blank, blank, st.none() | token | quoted),
    )
    return st.lists(extension, max_size=2).map("".join)


values = st.text(string.ascii_letters + string.digits + '!"#$%&()*+,/:;<=>?@[]{} \té', max_size=10).map(
    lambda text: text.strip(" \t").encode("latin-1")
)
names = token.map(lambda name: b"x-" + name.encode().lower())
fields = st.lists(st.tuples(names, values), max_size=4)


@st.composite
def chunked_bodies(draw, before=blank):
    """Data, trailers, and both as octets."""
    extension = extensions(before)
    data = draw(st.lists(st.binary(min_size=1, max_size=40), max_size=5))
    out = b""
    for chunk in data:
        zeros = "0" * draw(st.integers(0, 3))
        size = format(len(chunk), draw(st.sampled_from("xX")))
        out += f"{zeros}{size}{draw(extension)}\r\n".encode("latin-1") + chunk + b"\r\n"
    trailers = draw(fields)
    out += f"0{draw(extension)}\r\n".encode("latin-1")
    out += b"".join(name + b":" + value + b"\r\n" for name, value in trailers) + b"\r\n"
    return b"".join(data), tuple(trailers), out


CHUNKED_HEAD = HEADS[2]


def h11_body(octets):
    """Data and trailers as h11 reads them behind a chunked head."""
    reader = h11.Connection(h11.SERVER)
    reader.receive_data(CHUNKED_HEAD + octets)
    reader.next_event()
    data = b""
    while not isinstance(event := reader.next_event(), h11.EndOfMessage):
        assert isinstance(event, h11.Data), event
        data += event.data
    return data, tuple(event.headers)


@given(chunked_bodies(), places)
def test_chunked_bodies_are_read_as_they_were_written(body, places):
    data, trailers, octets = body
    got = events(pieces(CHUNKED_HEAD + octets, places), limits=Limits(), cap=None)
    assert got[1:3] == [data, trailers]


# h11 refuses the blank that RFC 9112 section 7.1.1 allows before the semicolon of an extension, and more than
# twenty digits. Apart from that it has to read what we accept.
plain_bodies = chunked_bodies(before=st.just(""))


@given(plain_bodies, st.integers(0, 400), st.sampled_from([b"", b"\r", b"\n", b";", b"0", b"x", b"\x00"]))
def test_h11_reads_every_body_that_we_accept_the_same(body, place, change):
    # A valid body, and the same with one octet changed or lost.
    data, trailers, valid = body
    assert h11_body(valid) == (data, trailers)
    place %= len(valid)
    octets = valid[:place] + change + valid[place + 1 :]
    got = events([CHUNKED_HEAD + octets], limits=Limits(), cap=None)
    if len(got) > 3:
        assert h11_body(octets) == tuple(got[1:3])


# What is valid arrives

paths = st.text(string.ascii_letters + string.digits + "-._~!$&'()*+,;=:@/?%", max_size=20).map(
    lambda text: b"/" + text.encode()
)


@given(token, paths, fields, st.none() | st.binary(max_size=60), chunked_bodies(), places)
def test_a_valid_request_arrives_whole(method, path, fields, content, chunked, places):
    if method == "CONNECT":
        method = "connect"
    framing = b"Transfer-Encoding: chunked" if content is None else b"Content-Length: %d" % len(content)
    data, trailers, octets = chunked if content is None else (content, (), content)
    stream = b"%s %s HTTP/1.1\r\nHost: example.com\r\n%s\r\n" % (method.encode(), path, framing)
    stream += b"".join(name + b": " + value + b" \r\n" for name, value in fields) + b"\r\n" + octets
    head, body, got, *rest = events(pieces(stream + HEADS[0], places), limits=Limits(), cap=None)
    assert isinstance(head, RequestHead)
    assert (head.method, head.target, head.path) == (method.encode(), path, path)
    assert list(head.fields[2:]) == fields
    assert (body, got) == (data, trailers)
    assert isinstance(rest[0], RequestHead), "the next request is read where this one ended"


@given(st.lists(st.sampled_from([b"close", b"Keep-Alive", b"x", b"upgrade", b" close ", b"closed", b""]), max_size=5))
def test_connection_is_one_list_over_all_lines(members):
    lines = b"".join(b"Connection: " + member + b"\r\n" for member in members)
    separate = events([HEADS[0][:-2] + lines + b"\r\n"], limits=Limits())[0]
    joined = events([HEADS[0][:-2] + b"Connection: " + b",".join(members) + b"\r\n\r\n"], limits=Limits())[0]
    assert isinstance(separate, RequestHead)
    assert isinstance(joined, RequestHead)
    assert separate.keep_alive is joined.keep_alive is (b"close" not in tokens(joined.fields, b"connection"))


# Codecs


@given(st.binary())
def test_percent_round_trip(data):
    text = percent_encode(data)
    assert percent_decode(text) == data
    assert set(text) <= set(string.ascii_letters + string.digits + "-._~%")


@given(st.text() | st.binary())
def test_percent_decode_gives_octets_or_value_error(text):
    with contextlib.suppress(ValueError):
        assert isinstance(percent_decode(text), bytes)


pairs = st.tuples(st.text(), st.text() | st.just(True)).filter(lambda pair: pair != ("", True))


@given(st.lists(pairs))
def test_query_round_trip(pairs):
    assert parse_query(encode_query(pairs)) == pairs


@given(st.text(string.printable) | st.text())
def test_any_text_is_a_query(text):
    parsed = parse_query(text)
    assert len(parsed) == sum(1 for pair in text.split("&") if pair)


@given(st.text('ab=; \t"\x0b\xa0') | st.text())
def test_any_text_is_a_cookie_field(text):
    for name, value in parse_cookies(text):
        assert name
        assert name == name.strip(" \t")
        assert value == value.strip(" \t")
        assert ";" not in name + value
        assert "=" not in name


cookie_text = st.text(string.ascii_letters + string.digits + '-"./').filter(bool)


@given(st.lists(st.tuples(cookie_text, cookie_text | st.just("") | st.just("a=b"))))
def test_cookies_round_trip(cookies):
    assert parse_cookies("; ".join(f"{name}={value}" for name, value in cookies)) == cookies
