"""Writing HTTP/1.1, byte for byte."""

from __future__ import annotations

import pytest

from roadrunner_trio.fields import encoded
from roadrunner_trio.protocol.http1 import encode
from roadrunner_trio.protocol.http1.encode import BodyFraming, Wishes

SPLITS = [b"a\r\nb: 2", b"a\nb", b"a\rb", b"a\0", b"\r\n", b"a\r\n\r\nbody"]
"""What would end a line, or a head, in the wrong place."""


@pytest.fixture(autouse=True)
def date(monkeypatch):
    monkeypatch.setattr(encode, "date_line", lambda: b"date: today\r\n")


# The status line


@pytest.mark.parametrize(
    ("status", "line"),
    [
        (100, b"HTTP/1.1 100 Continue\r\n"),
        (200, b"HTTP/1.1 200 OK\r\n"),
        (408, b"HTTP/1.1 408 Request Timeout\r\n"),
        (599, b"HTTP/1.1 599 \r\n"),
    ],
)
def test_a_status_line_has_the_registered_phrase_or_none(status, line):
    assert encode.status_line(status) == line


@pytest.mark.parametrize("reason", [b"", b"Fine by me", b"tab\there", b"caf\xe9", b"~ !"])
def test_another_reason_takes_the_place_of_the_phrase(reason):
    assert encode.status_line(200, reason) == b"HTTP/1.1 200 " + reason + b"\r\n"


@pytest.mark.parametrize("reason", [*SPLITS, b"\x1b[31m", b"\x7f"])
def test_a_reason_cannot_split_the_message(reason):
    with pytest.raises(ValueError, match="control character"):
        encode.status_line(200, reason)


@pytest.mark.parametrize("reason", ["Fine", 5, [b"x"]])
def test_a_reason_is_octets(reason):
    with pytest.raises(TypeError, match="a reason phrase is bytes, not"):
        encode.status_line(200, reason)


@pytest.mark.parametrize("status", [-1, 0, 99, 600, "200", None, True])
@pytest.mark.parametrize("reason", [None, b"Fine"])
def test_a_status_is_a_number_from_100_to_599(status, reason):
    with pytest.raises(ValueError, match="100 to 599"):
        encode.status_line(status, reason)


# Heads


def test_a_head_keeps_the_order_of_its_fields():
    line = encode.status_line(200)
    assert encode.head(line, [(b"b", b"1"), (b"a", b""), (b"b", b"2")]) == (
        b"HTTP/1.1 200 OK\r\nb: 1\r\na: \r\nb: 2\r\n\r\n"
    )
    assert encode.head(line, []) == b"HTTP/1.1 200 OK\r\n\r\n"


@pytest.mark.parametrize("bad", SPLITS)
def test_a_field_cannot_split_a_head_however_it_came_there(bad):
    line = encode.status_line(200)
    for field in [(b"x", bad), (bad, b"x")]:
        with pytest.raises(ValueError, match="CR, LF or NUL"):
            encode.head(line, [(b"a", b"1"), field, (b"b", b"2")])


@pytest.mark.parametrize("name", [b"Content-Length", "content-length ", b"x: y", b"transfer-encoding\r\n"])
def test_a_name_is_looked_at_wherever_a_head_is_made(name):
    line = encode.status_line(200)
    for make in (
        lambda: encode.head(line, [(name, b"0")]),
        lambda: encode.sift(((b"a", b"1"), (name, b"0"))),
        lambda: encode.sift_as_written(((b"a", b"1"), (name, b"0"))),
        lambda: encode.and_extra(Wishes(b""), [(name, b"0")]),
        lambda: encode.last_chunk([(name, b"0")]),
    ):
        with pytest.raises(ValueError, match="field"):
            make()


@pytest.mark.parametrize("name", [b"content-length", b"transfer-encoding"])
def test_an_interim_response_has_no_content_and_says_nothing_of_its_end(name):
    with pytest.raises(ValueError, match="what follows this head is no content"):
        encode.head(encode.status_line(103), [(b"link", b"</a>"), (name, b"0")])
    hints = encode.head(encode.status_line(103), [("Link", "</a>")])
    assert hints == b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"


# What an application says about framing


def test_fields_that_say_nothing_of_framing_are_passed_on_as_they_are():
    fields = ((b"content-type", b"text/plain"), (b"x", b"y"))
    assert encode.sift(fields) == Wishes(b"content-type: text/plain\r\nx: y\r\n")
    assert encode.sift(fields) is encode.sift(fields)


def test_framing_fields_are_wishes_and_never_passed_on():
    wishes = encode.sift(
        (
            (b"a", b"1"),
            (b"transfer-encoding", b"gzip, chunked"),
            (b"connection", b"Close, Upgrade"),
            (b"b", b"2"),
            (b"content-length", b"5"),
            (b"keep-alive", b"timeout=5"),
            (b"proxy-connection", b"keep-alive"),
            (b"connection", b"keep-alive, http2-settings"),
        )
    )
    assert wishes.lines == b"a: 1\r\nb: 2\r\n"
    assert wishes.close
    assert wishes.length == 5
    assert wishes.options == (b"http2-settings", b"upgrade")


def test_without_the_token_close_the_connection_is_kept():
    wishes = encode.sift(((b"connection", b"closed, x-close"),))
    assert not wishes.close
    assert wishes.options == (b"closed", b"x-close")


@pytest.mark.parametrize("values", [[b""], [b"x"], [b"+1"], [b"-1"], [b"1.0"], [b"1,1"], [b"1", b"1"], [b"1", b"2"]])
def test_a_length_is_one_number(values):
    with pytest.raises(ValueError, match="must be one number"):
        encode.sift(tuple((b"content-length", value) for value in values))


def test_a_set_of_known_names_is_looked_at_as_closely_as_one_of_new_ones():
    encode.sift(((b"known", b"1"), (b"other", b"2")))
    assert encode.sift(((b"known", b" \ta b\t "), (b"other", b""))) == Wishes(b"known: a b\r\nother: \r\n")
    for bad in [*SPLITS, b"\x1b[31m", b"\x7f", b"\r", b"\n", b"\n\r", b"\r\n\r\n"]:
        with pytest.raises(ValueError, match="control character"):
            encode.sift(((b"known", b"1"), (b"other", b"a" + bad + b"b")))
    for bad in (5, None, memoryview(b"x")):
        with pytest.raises(TypeError, match="must be str or bytes"):
            encode.sift(((b"known", bad),))
    assert encode.sift(((b"known", "é"),)).lines == b"known: \xe9\r\n"
    with pytest.raises(TypeError, match="a pair of name and value"):
        encode.sift(((b"known", b"1", b"2"),))


def test_a_length_beside_what_is_known_is_parted_out_and_refused_as_beside_what_is_not():
    encode.sift(((b"known", b"1"),))
    length = b"content-length"
    assert encode.sift(((length, b"5"), (b"known", b" new "))) == Wishes(b"known: new\r\n", length=5)
    for wrong in ([b"x"], [b"5", b"5"], [b"5", b"6"], [b""], [b"5\r\n"]):
        for name in (b"known", b"x-never-seen"):
            with pytest.raises(ValueError, match=r"must be one number|control character"):
                encode.sift(((name, b"1"), *[(length, value) for value in wrong]))


def test_names_that_are_known_are_not_kept_without_end():
    for number in range(2 * encode.REMEMBERED + 10):
        name = b"x-%d" % number
        assert encode.sift(((name, b"1"),)).lines == name + b": 1\r\n"
        assert len(encode._begun) <= encode.REMEMBERED
    assert b"content-length" not in encode._begun


def test_names_may_be_written_as_the_application_gave_them():
    given = tuple(encoded([("X-Foo", "1"), ("x-bar", "2"), ("Connection", "close"), ("Content-Length", "3")]))
    wishes = encode.sift_as_written(given)
    assert wishes == Wishes(b"X-Foo: 1\r\nx-bar: 2\r\n", close=True, length=3)
    assert encode.sift_as_written(given) is wishes
    shouted = tuple(encoded([("X-FOO", "1"), ("x-bar", "2"), ("Connection", "close"), ("Content-Length", "3")]))
    assert given == shouted, "the same names, and yet not to be taken for each other"
    assert encode.sift_as_written(shouted).lines == b"X-FOO: 1\r\nx-bar: 2\r\n"
    assert encode.sift(shouted).lines == encode.sift(given).lines == b"x-foo: 1\r\nx-bar: 2\r\n"


def test_what_the_server_adds_is_left_out_where_the_application_has_it_in_whatever_letters():
    written = encode.sift_as_written(tuple(encoded({"X-Request-ID": "mine"})))
    extra = ((b"x-request-id", b"theirs"), (b"server-timing", b"1"))
    assert encode.and_extra(written, extra).lines == b"X-Request-ID: mine\r\nserver-timing: 1\r\n"
    plain = encode.sift(((b"a", b"1"), (b"connection", b"close")))
    assert encode.and_extra(plain, extra) == Wishes(b"a: 1\r\nx-request-id: theirs\r\nserver-timing: 1\r\n", close=True)


@pytest.mark.parametrize("extra", [(b"content-length", b"0"), (b"x", b"a\r\nb: c"), (b"x", 5)])
def test_what_the_server_adds_is_looked_at_too(extra):
    with pytest.raises((ValueError, TypeError)):
        encode.and_extra(Wishes(b""), [extra])


# The fields of a response


def lines(wishes, framing, length, connection):
    """The field lines of a final head."""
    wire = encode.final_head(b"HTTP/1.1 200 OK\r\n", wishes, framing, length, connection)
    assert wire.startswith(b"HTTP/1.1 200 OK\r\n")
    assert wire.endswith(b"\r\n\r\n")
    return wire.split(b"\r\n")[1:-2]


def test_a_response_of_known_length():
    told = lines(Wishes(b"a: 1\r\n"), BodyFraming.LENGTH, 12, b"")
    assert told == [b"date: today", b"a: 1", b"content-length: 12"]


def test_a_response_in_chunks_has_no_length():
    told = lines(Wishes(b""), BodyFraming.CHUNKED, None, b"close")
    assert told == [b"date: today", b"connection: close", b"transfer-encoding: chunked"]


def test_a_response_that_ends_with_the_connection_has_neither():
    assert lines(Wishes(b""), BodyFraming.CLOSE, None, b"close") == [b"date: today", b"connection: close"]


def test_a_response_without_a_body_may_tell_its_length():
    assert lines(Wishes(b""), BodyFraming.NONE, 0, b"") == [b"date: today", b"content-length: 0"]
    assert lines(Wishes(b""), BodyFraming.NONE, None, b"") == [b"date: today"]


def test_the_date_of_an_application_stands():
    given = encode.sift(((b"a", b"1"), (b"date", b"yesterday")))
    assert lines(given, BodyFraming.NONE, None, b"") == [b"a: 1", b"date: yesterday"]


def test_connection_names_the_options_and_its_fate():
    wishes = Wishes(b"", options=(b"upgrade", b"x"))
    assert lines(wishes, BodyFraming.NONE, None, b"")[1] == b"connection: upgrade, x"
    assert lines(wishes, BodyFraming.NONE, None, b"close")[1] == b"connection: upgrade, x, close"


@pytest.mark.parametrize("status", [100, 101, 103, 199])
def test_a_response_is_final(status):
    with pytest.raises(ValueError, match=f"needs a final status from 200 to 599, not {status}"):
        encode.final_head(encode.status_line(status), Wishes(b""), BodyFraming.LENGTH, 0, b"")


@pytest.mark.parametrize("bad", [(b"x", b"a\r\nb: c"), (b"content-length", b"5"), (b"x", None), 5])
def test_an_error_response_is_said_without_what_cannot_be(bad):
    assert encode.error_response(500, [(b"x-id", b"1"), bad]) == encode.error_response(500)


def test_error_responses_are_whole():
    assert encode.error_response(503, [(b"retry-after", b"1")]) == (
        b"HTTP/1.1 503 Service Unavailable\r\n"
        b"date: today\r\nconnection: close\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n"
    )


def test_100_continue_is_25_octets():
    assert encode.head(encode.status_line(100), []) == b"HTTP/1.1 100 Continue\r\n\r\n"


# Chunks


@pytest.mark.parametrize(("size", "line"), [(1, b"1\r\n"), (10, b"A\r\n"), (255, b"FF\r\n"), (4096, b"1000\r\n")])
def test_a_chunk_tells_its_size_in_hexadecimal(size, line):
    assert encode.chunk(b"x" * size) == line + b"x" * size + b"\r\n"


def test_the_last_chunk():
    assert encode.last_chunk() == b"0\r\n\r\n"
    assert encode.last_chunk([(b"x", b"1"), (b"y", b"2")]) == b"0\r\nx: 1\r\ny: 2\r\n\r\n"


@pytest.mark.parametrize("bad", SPLITS)
def test_a_trailer_cannot_split_the_message(bad):
    for trailer in [(b"x", bad), (bad, b"x")]:
        with pytest.raises(ValueError, match="CR, LF or NUL"):
            encode.last_chunk([trailer])


@pytest.mark.parametrize(
    "name", [b"content-length", b"transfer-encoding", b"host", b"set-cookie", b"trailer", b"connection", b"te"]
)
def test_what_would_change_the_message_after_the_fact_is_no_trailer(name):
    with pytest.raises(ValueError, match="may not be a trailer"):
        encode.last_chunk([(b"x", b"1"), (name, b"1")])
