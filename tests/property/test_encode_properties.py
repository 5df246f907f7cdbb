"""Whatever the encoder lets through, a client reads as it was meant: h11 is that client."""

from __future__ import annotations

import re

import h11
from hypothesis import example, given
from hypothesis import strategies as st

from roadrunner_trio.fields import FORBIDDEN_TRAILERS, encoded
from roadrunner_trio.protocol import wishes as neutral
from roadrunner_trio.protocol.http1.encode import (
    BodyFraming,
    chunk,
    final_head,
    head,
    last_chunk,
    sift,
    status_line,
)
from roadrunner_trio.protocol.wishes import FRAMING_FIELDS

TOKEN = st.from_regex(re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,12}"), fullmatch=True)
TEXT = st.from_regex(re.compile(rb"[\t\x20-\x7e\x80-\xff]{0,20}"), fullmatch=True)
FIELD = st.tuples(TOKEN, TEXT)
FIELDS = st.lists(FIELD.filter(lambda field: field[0].lower() not in FRAMING_FIELDS), max_size=6)
TRAILERS = st.lists(FIELD.filter(lambda field: field[0].lower() not in FORBIDDEN_TRAILERS), max_size=3)
WISHES = st.lists(
    st.sampled_from(
        [
            (b"Connection", b"close"),
            (b"connection", b"keep-alive, x-option"),
            (b"Transfer-Encoding", b"gzip"),
            (b"keep-alive", b"timeout=1"),
        ]
    ),
    max_size=2,
)
LETTERS = st.binary(max_size=5) | st.text(max_size=5).map(str.encode)
NASTY = st.lists(st.sampled_from([b"\r", b"\n", b"\0", b":", b" ", b"a", b"x: y", b"\x0b", b"\x7f"]) | LETTERS)


def read(method, wire, *, eof=False):
    """The response that a client sees: status, reason, fields, body, trailers; and what lies behind it."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method=method, target="/", headers=[("host", "h")]))
    client.send(h11.EndOfMessage())
    client.receive_data(wire)
    if eof:
        client.receive_data(b"")
    answer = client.next_event()
    assert isinstance(answer, h11.Response)
    body = b""
    while isinstance(event := client.next_event(), h11.Data):
        body += event.data
    assert isinstance(event, h11.EndOfMessage)
    return answer.status_code, answer.reason, list(answer.headers), body, list(event.headers), client.trailing_data[0]


def plainly(fields):
    return [(name.lower(), value.strip(b" \t")) for name, value in fields]


def framing_of(fields):
    return [(name, value) for name, value in fields if name in FRAMING_FIELDS - {b"connection"}]


def own(fields):
    """Without what the server adds."""
    return [field for field in fields if field[0] not in FRAMING_FIELDS and field != (b"date", DATE)]


DATE = b"Sun, 06 Nov 1994 08:49:37 GMT"


@given(
    status=st.integers(200, 599).filter(lambda status: status not in (204, 304)),
    reason=st.none() | TEXT,
    fields=FIELDS,
    wishes=WISHES,
    pieces=st.lists(st.binary(min_size=1, max_size=50), max_size=4),
    framing=st.sampled_from([BodyFraming.LENGTH, BodyFraming.CHUNKED, BodyFraming.CLOSE]),
    trailers=TRAILERS,
)
def test_a_client_reads_back_what_was_written(status, reason, fields, wishes, pieces, framing, trailers):
    body = b"".join(pieces)
    sifted = sift(tuple(encoded([(b"date", DATE), *fields, *wishes])))
    connection = b"close" if framing is BodyFraming.CLOSE else b""
    length = len(body) if framing is BodyFraming.LENGTH else None
    wire = final_head(status_line(status, reason), sifted, framing, length, connection)
    if framing is BodyFraming.CHUNKED:
        wire += b"".join(map(chunk, pieces)) + last_chunk(encoded(trailers))
    else:
        wire += body
        trailers = []

    seen = read("GET", wire, eof=framing is BodyFraming.CLOSE)
    seen_status, seen_reason, seen_fields, seen_body, seen_trailers, rest = seen
    assert (seen_status, seen_body, rest) == (status, body, b"")
    assert reason is None or seen_reason == reason
    assert own(seen_fields) == plainly([field for field in fields if own([field])])
    assert seen_trailers == plainly(trailers)
    expected = {
        BodyFraming.LENGTH: [(b"content-length", b"%d" % len(body))],
        BodyFraming.CHUNKED: [(b"transfer-encoding", b"chunked")],
        BodyFraming.CLOSE: [],
    }
    assert framing_of(seen_fields) == expected[framing]


@given(
    bodiless=st.sampled_from([("HEAD", 200), ("HEAD", 404), ("GET", 204), ("GET", 304)]),
    fields=FIELDS,
    length=st.none() | st.integers(0, 10**18),
)
def test_nothing_follows_a_response_without_a_body(bodiless, fields, length):
    method, status = bodiless
    told = None if status == 204 else length
    wire = final_head(status_line(status), sift(tuple(encoded(fields))), BodyFraming.NONE, told, b"")
    _, _, seen_fields, body, _, rest = read(method, wire + b"HTTP/1.1 ")
    assert (body, rest) == (b"", b"HTTP/1.1 ")
    assert framing_of(seen_fields) == ([] if told is None else [(b"content-length", b"%d" % told)])


ANY_NAME = st.sampled_from(
    [
        b"Content-Length",
        b"content-length",
        b"Transfer-Encoding",
        b"content-length ",
        b"X-A",
        b"x-a",
        "X-B",
        b"x: y",
        b"Date",
    ]
)
ANY_VALUE = st.sampled_from([b"0", b"chunked", b" 5\t", "text", b"", b"a\r\nb: c", b"\x1b", 5]) | NASTY.map(b"".join)


@given(fields=st.lists(st.tuples(ANY_NAME | NASTY.map(b"".join), ANY_VALUE), max_size=4), times=st.just(2))
@example(fields=[(b"Content-Length", b"0")], times=2)
@example(fields=[(b"x-a", b"1"), (b"x-a", b"a\r\ncontent-length: 0")], times=3)
def test_case_39_a_client_finds_one_length_and_the_fields_that_were_meant_or_there_is_no_head(fields, times):
    """However often it is asked: what is remembered is no laxer, and no stricter."""
    answers = []
    for _ in range(times):
        try:
            answers.append(final_head(status_line(200), sift(tuple(fields)), BodyFraming.LENGTH, 4, b""))
        except (ValueError, TypeError) as error:
            answers.append(str(error))
    assert len(set(answers)) == 1
    try:
        expected = neutral.sift(fields)
    except (ValueError, TypeError):
        assert isinstance(answers[0], str)
        return
    _, _, seen, body, _, rest = read("GET", answers[0] + b"body")
    assert (body, rest) == (b"body", b"")
    assert framing_of(seen) == [(b"content-length", b"4")]
    assert [field for field in seen if field[0] not in (b"content-length", b"date")] == [
        field for field in expected.fields if field[0] != b"date"
    ]


@given(name=NASTY.map(b"".join), value=NASTY.map(b"".join))
@example(name=b"x", value=b"a\r\nset-cookie: b")
@example(name=b"x: 1\r\ny", value=b"2")
def test_a_field_is_refused_or_stays_one_field(name, value):
    try:
        pairs = encoded([(name, value)])
        if pairs[0][0] in FRAMING_FIELDS:
            return
        wire = head(status_line(204), pairs)
    except ValueError:
        return
    assert read("GET", wire)[2] == plainly([(name, value)])


@given(name=NASTY.map(b"".join), value=NASTY.map(b"".join))
@example(name=b"x", value=b"a\r\n\r\nHTTP/1.1 200 OK")
def test_a_trailer_is_refused_or_stays_one_trailer(name, value):
    start = head(status_line(200), [(b"transfer-encoding", b"chunked")])
    try:
        wire = start + last_chunk(encoded([(name, value)]))
    except ValueError:
        return
    seen = read("GET", wire)
    assert (seen[4], seen[5]) == (plainly([(name, value)]), b"")


@given(reason=NASTY.map(b"".join))
@example(reason=b"OK\r\nx: y")
def test_a_reason_is_refused_or_stays_a_reason(reason):
    try:
        wire = head(status_line(204, reason), [])
    except ValueError:
        return
    seen = read("GET", wire)
    assert (seen[1], seen[2]) == (reason, [])
