"""Percent-encoding and queries."""

from __future__ import annotations

import pytest

from roadrunner_trio.protocol.codec.uri import encode_query, parse_query, percent_decode, percent_encode


@pytest.mark.parametrize(
    ("text", "octets"),
    [
        ("", b""),
        ("a+b", b"a+b"),
        ("%41%7e%7E", b"A~~"),
        (b"%ff\xfe", b"\xff\xfe"),
        ("é", b"\xc3\xa9"),
        ("%2541", b"%41"),
    ],
)
def test_percent_decode(text, octets):
    assert percent_decode(text) == octets


@pytest.mark.parametrize("text", ["%", "%4", "a%zz", "%4g", "%%41", "% 1", "%+1", b"%\xb2\xb2", "\ud800"])
def test_percent_decode_is_strict(text):
    with pytest.raises(ValueError):
        percent_decode(text)


def test_percent_encode():
    assert percent_encode(b"aZ09-._~ /%\xff") == "aZ09-._~%20%2F%25%FF"


@pytest.mark.parametrize(
    ("query", "pairs"),
    [
        ("", []),
        ("a=b", [("a", "b")]),
        ("a=b&a=c", [("a", "b"), ("a", "c")]),
        ("a", [("a", True)]),
        ("a=", [("a", "")]),
        ("=b", [("", "b")]),
        ("=", [("", "")]),
        ("&&a=1&", [("a", "1")]),
        ("a=b=c", [("a", "b=c")]),
        ("a+b=c+d", [("a b", "c d")]),
        ("%61=%C3%A9", [("a", "é")]),
        ("a=%2B%26%3D", [("a", "+&=")]),
        # What cannot be decoded is kept, with its pluses already spaces.
        ("a=x+%zz", [("a", "x %zz")]),
        ("a=x+%ff", [("a", "x %ff")]),
        ("a;b=c", [("a;b", "c")]),
    ],
)
def test_parse_query(query, pairs):
    assert parse_query(query) == pairs


def test_encode_query():
    assert encode_query([("a b", "c&d"), ("é", ""), ("flag", True), ("t~", "/")]) == "a+b=c%26d&%C3%A9=&flag&t~=%2F"
    assert encode_query([]) == ""


def test_a_surrogate_has_no_encoding():
    with pytest.raises(UnicodeEncodeError):
        encode_query([("a", "\ud800")])
