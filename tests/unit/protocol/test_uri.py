"""Percent-encoding and queries."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadrunner_trio.protocol.codec.uri import encode_query, parse_query, percent_decode, percent_encode, to_uri


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
    ("address", "uri"),
    [
        ("/café", "/caf%C3%A9"),
        ("/caf%C3%A9/%e9", "/caf%C3%A9/%e9"),
        ("/100%", "/100%25"),
        ("/100%zz/%4", "/100%25zz/%254"),
        ("/%2541", "/%2541"),
        (
            "https://user@host:80/a;b=c,d/:e?f=g&h[]=i+j#k!$'()*~",
            "https://user@host:80/a;b=c,d/:e?f=g&h[]=i+j#k!$'()*~",
        ),
        ("http://[::1]:80/", "http://[::1]:80/"),
        ("https://bücher.example/", "https://b%C3%BCcher.example/"),
        ('/a b"c<d>e`f{g|h}i^j', "/a%20b%22c%3Cd%3Ee%60f%7Bg%7Ch%7Di%5Ej"),
        ("/\\evil.example", "/%5Cevil.example"),
        ("/\u202e\u00a0\U0001f600", "/%E2%80%AE%C2%A0%F0%9F%98%80"),
        ("", ""),
    ],
)
def test_an_address_becomes_a_uri_and_what_is_encoded_stays(address, uri):
    assert to_uri(address) == uri
    assert to_uri(uri) == uri


@pytest.mark.parametrize("octet", [*range(32), *range(0x7F, 0xA0)])
def test_an_address_has_no_control_character(octet):
    with pytest.raises(ValueError, match="an address has no control character"):
        to_uri(f"/a{chr(octet)}b")


def test_nor_half_a_character():
    with pytest.raises(ValueError, match="surrogates"):
        to_uri("/\ud800")


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"])))
def test_a_uri_says_what_the_address_said(address):
    uri = to_uri(address)
    assert uri.isascii()
    assert to_uri(uri) == uri
    assert not set(uri) & set(' "<>\\^`{|}')
    if "%" not in address:
        assert percent_decode(uri).decode() == address


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
