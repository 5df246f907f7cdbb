"""The reference engine: messages one after another, early verdicts, and h11's own."""

from __future__ import annotations

import pytest

from roadrunner_trio.errors import ProtocolError
from roadrunner_trio.protocol.heads import Framing, RequestHead
from roadrunner_trio.protocol.http1.engine import CLOSED, END, NEED_DATA, Http1Engine
from roadrunner_trio.protocol.http1.h11_engine import H11Engine, confirm
from roadrunner_trio.settings import Limits

GET = b"GET /a?b HTTP/1.1\r\nHost: h\r\nX-A: 1\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"


def engine(data=b"", **limits) -> Http1Engine:
    new = H11Engine(Limits(**limits))
    if data:
        new.receive(data)
    return new


def refusal(call, *args):
    with pytest.raises(ProtocolError) as caught:
        call(*args)
    return caught.value.status, caught.value.reason


def test_a_head():
    head = engine(GET).next_head()
    assert head == RequestHead(
        method=b"GET",
        target=b"/a?b",
        path=b"/a?b",
        version=(1, 1),
        fields=((b"host", b"h"), (b"x-a", b"1")),
        host=b"h",
        framing=Framing.NONE,
        content_length=0,
        keep_alive=True,
        expects_continue=False,
        raw=GET,
    )


def test_fields_are_given_as_they_came_where_h11_would_change_them():
    head = engine(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: ChunKed\r\n\r\n").next_head()
    assert isinstance(head, RequestHead)
    assert head.fields[1] == (b"transfer-encoding", b"ChunKed")


def test_messages_come_one_after_another():
    peer = engine(GET + POST + b"hello" + CHUNKED + b"2\r\nhi\r\n0\r\nt: v\r\n\r\n" + GET)
    seen = []
    for _ in range(4):
        head = peer.next_head()
        assert isinstance(head, RequestHead)
        body = b""
        while isinstance(piece := peer.next_body(), bytes):
            body += piece
        assert piece is END
        seen.append((head.method, body, peer.trailers()))
        peer.next_cycle()
    assert seen == [(b"GET", b"", ()), (b"POST", b"hello", ()), (b"POST", b"hi", ((b"t", b"v"),)), (b"GET", b"", ())]
    assert peer.next_head() is NEED_DATA
    assert peer.buffered == 0


def test_octet_by_octet():
    peer = engine()
    for octet in POST[:-1]:
        peer.receive(bytes([octet]))
        assert peer.next_head() is NEED_DATA
    peer.receive(POST[-1:])
    assert isinstance(head := peer.next_head(), RequestHead)
    assert head.raw == POST


def test_buffered_counts_what_was_not_given_out():
    peer = engine(b"GET / HT")
    assert peer.buffered == 8
    peer.next_head()
    assert peer.buffered == 8
    peer = engine(POST + b"hel")
    peer.next_head()
    assert peer.buffered == 3
    peer.next_body()
    assert peer.buffered == 0


# The empty line that may come first (RFC 9112 section 2.2)


def test_one_empty_line_is_skipped_and_does_not_count():
    peer = engine(b"\r\n")
    assert peer.buffered == 0
    assert peer.next_head() is NEED_DATA
    peer.receive(GET)
    head = peer.next_head()
    assert isinstance(head, RequestHead)
    assert head.raw == GET


def test_it_is_skipped_before_every_head_and_in_two_pieces():
    peer = engine(GET + b"\r\n" + GET + b"\r")
    peer.next_head()
    peer.next_cycle()
    assert peer.buffered == len(GET) + 1
    assert isinstance(peer.next_head(), RequestHead)
    peer.next_cycle()
    assert peer.next_head() is NEED_DATA
    peer.receive(b"\n" + GET)
    assert isinstance(peer.next_head(), RequestHead)


def test_half_of_it_does_not_count_either():
    peer = engine(b"\r")
    assert peer.next_head() is NEED_DATA
    assert peer.buffered == 0
    peer.receive(b"\n\r")
    assert peer.buffered == 1, "a second one would be refused"


@pytest.mark.parametrize("pieces", [[b"\r\n\r\n"], [b"\r\n", b"\r\n"], [b"\r", b"\n", b"\r", b"\n"]])
def test_a_second_is_refused(pieces):
    peer = engine()
    for piece in pieces:
        peer.receive(piece)
    assert refusal(peer.next_head) == (400, "bad_request_line")


def test_an_empty_line_behind_a_head_belongs_to_what_follows():
    # Bytes for a hand-off are nobody's empty line.
    peer = engine(b"\r\nCONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n\r\n")
    peer.next_head()
    peer.receive(b"\r\ntunnel")
    assert peer.buffered == 8
    assert peer.release() == b"\r\ntunnel"
    assert peer.buffered == 0


# Verdicts as soon as they are certain


@pytest.mark.parametrize(
    ("data", "status", "reason"),
    [
        (b"SSH-2.0-x\r\n", 400, "bad_request_line"),
        (b"\x16", 400, "tls_on_a_plain_port"),
        (b"G\x16", 400, "bad_request_line"),
        (b"GET / HTTP/1.1\n", 400, "bad_request_line"),
        (b"GET / HTTP/1.1\rH", 400, "bad_request_line"),
        (b"GET / HTTP/1\r\n", 400, "bad_version"),
        (b"PRI * HTTP/2.0\r\n", 505, "bad_version"),
        (b"GET h HTTP/1.1\r\n", 400, "bad_target"),
        (b"GET /" + b"a" * 8188, 414, "request_line_too_long"),
        (b"GET / HTTP/1.1\r\nHost: h\n", 400, "bad_header"),
        (b"GET / HTTP/1.1\r\nHost: h\r\n x\r\n", 400, "bad_header"),
        (b"GET / HTTP/1.1\r\nHost : h\r\n", 400, "bad_header"),
        (b"GET / HTTP/1.1\r\nHost: h\x00", 400, "bad_header"),
        (b"GET / HTTP/1.1\r\nA: " + b"a" * 16382, 431, "header_too_long"),
        (b"GET / HTTP/1.1\r\n" + (b"A: " + b"a" * 16378 + b"\r\n") * 2 + b"A", 431, "header_block_too_long"),
        (b"GET / HTTP/1.1\r\n" + b"A: a\r\n" * 200 + b"A", 431, "too_many_headers"),
        (b"GET / HTTP/1.1\r\n\r\n", 400, "missing_host"),
    ],
)
def test_early_verdicts(data, status, reason):
    assert refusal(engine(data).next_head) == (status, reason)
    # Without its last octet nothing is certain yet.
    peer = engine(data[:-1])
    assert peer.next_head() is NEED_DATA
    peer.receive(data[-1:])
    assert refusal(peer.next_head) == (status, reason)


def test_a_request_line_of_the_limit_passes():
    line = b"GET /" + b"a" * 8178 + b" HTTP/1.1"
    assert len(line) == 8192
    assert isinstance(engine(line + b"\r\nHost: h\r\n\r\n").next_head(), RequestHead)


# Bodies


def test_no_body_ends_at_once():
    peer = engine(GET)
    peer.next_head()
    assert peer.next_body() is END
    assert peer.trailers() == ()


def test_the_body_cap():
    peer = engine(POST)
    peer.next_head()
    assert refusal(peer.limit_body, 4) == (413, "content_length_too_large")
    peer = engine(POST + b"hello")
    peer.next_head()
    peer.limit_body(5)
    peer.limit_body(None)
    assert peer.next_body() == b"hello"
    peer = engine(CHUNKED + b"5\r\n")
    peer.next_head()
    peer.limit_body(4)
    assert refusal(peer.next_body) == (413, "content_length_too_large")


def test_the_cap_is_of_one_message():
    peer = engine(CHUNKED + b"0\r\n\r\n" + CHUNKED + b"5\r\nhello\r\n")
    peer.next_head()
    peer.limit_body(1)
    assert peer.next_body() is END
    peer.next_cycle()
    peer.next_head()
    assert peer.next_body() == b"hello"


# The end of the peer


def test_closed_between_messages():
    peer = engine(GET)
    assert not peer.ended
    peer.receive(b"")
    assert peer.ended
    assert isinstance(peer.next_head(), RequestHead)
    assert peer.next_body() is END
    peer.next_cycle()
    assert peer.next_head() is CLOSED


@pytest.mark.parametrize("data", [b"", b"\r", b"\r\n", b"G", GET[:-1]])
def test_closed_before_a_whole_head(data):
    peer = engine(data)
    peer.receive(b"")
    assert peer.next_head() is CLOSED


@pytest.mark.parametrize("data", [POST + b"hell", CHUNKED + b"5\r\nhello\r\n0\r\n\r", CHUNKED, CHUNKED + b"5\r\nhell"])
def test_closed_inside_a_body(data):
    peer = engine(data)
    peer.receive(b"")
    peer.next_head()
    while isinstance(piece := peer.next_body(), bytes):
        pass
    assert piece is CLOSED


def test_a_bad_head_is_refused_even_when_the_peer_has_gone():
    peer = engine(b"BAD\r\n")
    peer.receive(b"")
    assert refusal(peer.next_head) == (400, "bad_request_line")


# h11's own verdict. The house refuses first what h11 would, so heads that pass here are made up.


@pytest.mark.parametrize(
    "raw",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\r\n" + GET,
        b"",
        b"GET /other HTTP/1.1\r\nHost: h\r\n\r\n",
        b"PUT /a?b HTTP/1.1\r\nHost: h\r\n\r\n",
    ],
    ids=["refused", "illegal", "unfinished", "other target", "other method"],
)
def test_h11_has_to_agree(raw):
    head = engine(GET).next_head()
    assert isinstance(head, RequestHead)
    confirm(head)
    assert refusal(confirm, head._replace(raw=raw)) == (400, "bad_request")
