"""Header blocks of responses: what they say to an ordinary decoder, and that they leave nothing in its table."""

from __future__ import annotations

import hpack
import pytest

from roadrunner_trio.date import http_date
from roadrunner_trio.protocol.http2 import blocks
from roadrunner_trio.protocol.http2.blocks import and_extra, encode, final_head, interim_head, sift, trailer_section


def read(block: bytes) -> list[tuple[bytes, bytes]]:
    decoder = hpack.Decoder()
    fields = [tuple(each) for each in decoder.decode(block, raw=True)]
    assert len(decoder.header_table.dynamic_entries) == 0
    return fields


def test_a_head_has_status_date_fields_and_length():
    wishes = sift(((b"content-type", b"text/plain"), (b"x-a", b"1")))
    assert read(final_head(200, wishes, 13)) == [
        (b":status", b"200"),
        (b"date", http_date()),
        (b"content-type", b"text/plain"),
        (b"x-a", b"1"),
        (b"content-length", b"13"),
    ]


def test_a_length_may_be_unknown_and_a_date_the_applications():
    wishes = sift(((b"date", b"today"),))
    assert read(final_head(204, wishes, None)) == [(b":status", b"204"), (b"date", b"today")]


def test_the_date_goes_with_the_second(monkeypatch):
    for date in (b"Sun, 06 Nov 1994 08:49:37 GMT", b"Sun, 06 Nov 1994 08:49:38 GMT"):
        monkeypatch.setattr(blocks, "http_date", lambda date=date: date)
        assert read(final_head(200, sift(()), 0))[1] == (b"date", date)


@pytest.mark.parametrize("status", [*range(200, 600, 7), 304, 404, 500])
def test_every_status(status):
    assert read(final_head(status, sift(()), None))[0] == (b":status", str(status).encode())


@pytest.mark.parametrize("status", [0, 99, 100, 103, 199, 600, 1000])
def test_no_head_with_another_status(status):
    with pytest.raises(ValueError, match="final status"):
        final_head(status, sift(()), 0)


def test_fields_of_one_connection_are_dropped():
    fields = (
        (b"connection", b"close, x"),
        (b"keep-alive", b"5"),
        (b"transfer-encoding", b"chunked"),
        (b"upgrade", b"h2c"),
        (b"proxy-connection", b"close"),
        (b"content-length", b"7"),
        (b"server", b"s"),
    )
    wishes = sift(fields)
    assert read(wishes.block) == [(b"server", b"s")]
    assert (wishes.length, wishes.close, wishes.dated) == (7, True, False)


def test_what_cannot_be_said_raises():
    for fields in (((b"a", b"b\n"),), ((b"a b", b"c"),), ((b":status", b"200"),), ((b"content-length", b"x"),)):
        with pytest.raises(ValueError):
            sift(fields)
    with pytest.raises(TypeError):
        sift((5,))  # type: ignore[arg-type]


def test_extra_fields_give_way():
    wishes = sift(((b"server", b"mine"),))
    more = and_extra(wishes, ((b"server", b"ours"), (b"x-b", b"2"), (b"connection", b"x"), (b"date", b"now")))
    assert read(more.block) == [(b"server", b"mine"), (b"x-b", b"2"), (b"date", b"now")]
    assert more.dated
    assert and_extra(more, ((b"x-b", b"3"),)).block == more.block


def test_secrets_are_never_indexed():
    block = encode([(b"set-cookie", b"id=1"), (b"x", b"y")])
    assert block[0] & 0xF0 == 0x10
    assert read(block) == [(b"set-cookie", b"id=1"), (b"x", b"y")]
    assert encode([(b"x", b"y")])[0] & 0xF0 == 0


def test_an_interim_head():
    assert read(interim_head(103, ((b"link", b"</a>"), (b"upgrade", b"x")))) == [
        (b":status", b"103"),
        (b"link", b"</a>"),
    ]
    for status in (99, 101, 200):
        with pytest.raises(ValueError, match="interim"):
            interim_head(status, ())
    with pytest.raises(ValueError, match="content"):
        interim_head(100, ((b"content-length", b"1"),))


def test_trailers():
    assert read(trailer_section(((b"x-sum", b"1"),))) == [(b"x-sum", b"1")]
    assert trailer_section(()) == b""
    with pytest.raises(ValueError, match="trailer"):
        trailer_section(((b"content-length", b"1"),))


def test_names_go_in_lower_case():
    from roadrunner_trio.fields import encoded

    assert read(sift(tuple(encoded([("X-Some", "v")]))).block) == [(b"x-some", b"v")]
