"""What a response may say: which fields pass, which are the server's, and what cannot be said at all."""

from __future__ import annotations

import array
import mmap

import pytest

from roadrunner_trio.fields import FORBIDDEN_TRAILERS, Name, encoded, written
from roadrunner_trio.protocol import wishes
from roadrunner_trio.protocol.wishes import Wishes, checked, content, sift, trailers, undelimited

CONTROLS = [*range(9), *range(10, 32), 127]


# Wishes


def test_what_wishes_nothing_is_passed_on():
    fields = ((b"content-type", b"text/plain"), (b"x", b""))
    assert sift(fields) == Wishes(fields)
    assert sift(()) == Wishes(())


def test_framing_is_wished_for_and_never_passed_on():
    fields = [
        (b"a", b"1"), (b"connection", b"Close, Upgrade"), (b"keep-alive", b"timeout=5"), (b"content-length", b"5"),
        (b"proxy-connection", b"x"), (b"transfer-encoding", b"chunked"), (b"date", b"today"), (b"connection", b"x"),
    ]  # fmt: skip
    assert sift(fields) == Wishes(((b"a", b"1"), (b"date", b"today")), True, True, 5, (b"upgrade", b"x"))


@pytest.mark.parametrize("name", ["Connection", b"CONNECTION", "connection"])
def test_what_is_asked_of_the_connection_may_be_asked_in_any_letters(name):
    assert sift([(name, "close"), (b"Date", b"today")]) == Wishes(((b"date", b"today"),), dated=True, close=True)


@pytest.mark.parametrize("values", [[b""], [b"x"], [b"+1"], [b"1, 1"], [b"1", b"1"], ["1", b"2"], [b"9" * 5000]])
def test_a_length_is_one_number(values):
    with pytest.raises(ValueError, match=r"must be one number|Exceeds the limit"):
        sift([(b"content-length", value) for value in values])


# Fields


def test_names_become_lower_case_and_keep_the_letters_that_were_given():
    ((name, value),) = checked([(b"X-FOO", b" bar\t")])
    assert (name, value) == (b"x-foo", b"bar")
    assert written(name) == b"X-FOO"
    assert written(b"x-foo") == b"x-foo"
    assert type(checked([(b"x-foo", b"")])[0][0]) is bytes


def test_letters_are_kept_through_every_list_that_a_response_makes():
    once = encoded([("X-Foo", "1"), ("x-bar", "2"), (b"x-foo", b"3"), ("X-FOO", "4")])
    again = encoded([*once, ("X-Bar", "5")])
    for fields in (again, checked(again), checked(list(checked(again)))):
        assert [written(name) for name, _ in fields] == [b"X-Foo", b"x-bar", b"x-foo", b"X-FOO", b"X-Bar"]
        assert [name for name, _ in fields] == [b"x-foo", b"x-bar", b"x-foo", b"x-foo", b"x-bar"]


@pytest.mark.parametrize(
    "name", [b"", b"content-length ", b" x", b"x: y", b"x:", b"a\r\nb", b"\xe9", "é", b"a\0", b"(x)"]
)
def test_a_name_is_a_token(name):
    with pytest.raises(ValueError, match="is not a token"):
        checked([(name, b"0")])


@pytest.mark.parametrize("octet", CONTROLS)
def test_a_value_has_no_control_octet_but_the_tab(octet):
    for value in (bytes([octet]), b"a%cb" % octet, b"%c b" % octet, "a" + chr(octet)):
        with pytest.raises(ValueError, match="has a control character in its value"):
            checked([(b"x", value)])


def test_tabs_inside_and_octets_above_ascii_are_said_and_blanks_around_are_not():
    assert checked([(b"x", b"\t a\t \xe9 b \t"), ("y", "é")]) == ((b"x", b"a\t \xe9 b"), (b"y", b"\xe9"))


@pytest.mark.parametrize("name", [b"Content-Length", b"CONTENT-LENGTH", "Content-length", b"Transfer-Encoding"])
def test_a_delimiter_in_other_letters_was_put_there_to_be_sent_and_is_refused(name):
    with pytest.raises(ValueError, match="where a body ends is the server's to say"):
        sift([(b"a", b"1"), (name, b"0")])


def test_a_delimiter_that_came_through_a_response_is_a_wish_in_whatever_letters_it_was_given():
    given = encoded({"Content-Length": "5", "Transfer-Encoding": "chunked"})
    assert all(isinstance(name, Name) for name, _ in given)
    assert sift(given) == Wishes((), length=5)


@pytest.mark.parametrize("field", [5, None, (b"x",), (b"x", b"y", b"z"), b"xyz", {}])
def test_a_field_is_a_pair(field):
    with pytest.raises(TypeError, match="is a pair of name and value, not"):
        checked([field])


@pytest.mark.parametrize("field", [(b"x", 5), (5, b"x"), (None, b"x"), (b"x", None), (b"x", bytearray(b"y"))])
def test_of_text_or_octets(field):
    with pytest.raises(TypeError, match="must be str or bytes"):
        checked([field])


@pytest.mark.parametrize("name", sorted(FORBIDDEN_TRAILERS))
def test_what_had_to_be_known_before_the_body_is_no_trailer(name):
    with pytest.raises(ValueError, match=r"may not be a trailer field|where a body ends"):
        trailers([(b"x", b"1"), (name, b"1")])
    with pytest.raises(ValueError, match=r"may not be a trailer field|where a body ends"):
        trailers([(name.upper(), b"1")])


def test_other_trailers_are_checked_as_fields_are():
    assert trailers([("X-Sum", " 1 ")]) == ((b"x-sum", b"1"),)
    with pytest.raises(ValueError, match="not a token"):
        trailers([(b"x: y", b"1")])


@pytest.mark.parametrize("name", [b"content-length", b"transfer-encoding"])
def test_a_head_without_content_says_nothing_of_its_end(name):
    assert undelimited([(b"Upgrade", b"x"), (b"connection", b"upgrade")])[1] == (b"connection", b"upgrade")
    with pytest.raises(ValueError, match="it has no content-length and no transfer-encoding"):
        undelimited([(name, b"0")])


# Content


@pytest.mark.parametrize(
    ("method", "status", "without", "length"),
    [
        (b"GET", 200, False, 5), (b"HEAD", 200, True, 5), (b"GET", 204, True, None), (b"HEAD", 204, True, None),
        (b"GET", 304, True, 5), (b"GET", 205, True, 0), (b"HEAD", 205, True, 0), (b"POST", 404, False, 5),
        (b"head", 200, False, 5),
    ],
)  # fmt: skip
def test_case_13_some_responses_have_no_content_and_205_says_so(method, status, without, length):
    assert wishes.bodiless(status, method) is without
    assert wishes.declared(status, 5) == length
    assert wishes.declared(status, None) == (0 if status == 205 else None)


def test_content_is_the_octets_of_whatever_has_some():
    octets = b"text"
    assert content(octets) is octets
    numbers = array.array("I", [1, 2, 3])
    for given in (numbers, memoryview(numbers)):
        assert content(given) == numbers.tobytes()
    assert content(memoryview(b"abcdef")[::2]) == b"ace"
    assert content(bytearray(b"x")) == b"x"
    with mmap.mmap(-1, 4) as mapped:
        assert content(mapped) == bytes(4)

    class Octets(bytes):
        pass

    assert type(content(Octets(b"x"))) is bytes


@pytest.mark.parametrize("given", [5, 0, True, None, [1, 2], {"a": 1}, iter(b"x"), 1.5, object()])
def test_what_has_no_octets_is_no_content(given):
    with pytest.raises(TypeError, match="content is bytes, or what has the octets of a buffer, not"):
        content(given)


def test_text_has_to_be_encoded_by_whoever_knows_how():
    with pytest.raises(TypeError, match=r"content is octets, not text; write text\.encode\(\)"):
        content("text")
