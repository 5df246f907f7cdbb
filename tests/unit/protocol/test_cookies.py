"""Cookies of a request."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadrunner_trio.protocol.codec.cookies import parse_cookies, read_cookies

TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters=";")).map(lambda text: text.strip(" "))
NAME = TEXT.map(lambda text: text.replace("=", "").strip(" ")).filter(bool)


@pytest.mark.parametrize(
    ("value", "cookies"),
    [
        ("", []),
        ("a=1", [("a", "1")]),
        ("a=1; b=2", [("a", "1"), ("b", "2")]),
        ("a=1;b=2;", [("a", "1"), ("b", "2")]),
        (" \ta\t = \t1 2\t ;", [("a", "1 2")]),
        ("a=1; a=2", [("a", "1"), ("a", "2")]),
        ("a=b=c", [("a", "b=c")]),
        ("a=", [("a", "")]),
        ('a="x y"', [("a", '"x y"')]),
        ("a; b=1", [("b", "1")]),
        ("=x; \t =y; b=1", [("b", "1")]),
        (";;;", []),
        ("a=\x0b1\xa0", [("a", "\x0b1\xa0")]),
    ],
)
def test_parse_cookies(value, cookies):
    assert parse_cookies(value) == cookies
    assert read_cookies([value.encode("latin-1")]) == cookies


@pytest.mark.parametrize(
    ("value", "cookies"),
    [
        ("a=grüße; ☃=snow; b=1".encode(), [("a", "grüße"), ("☃", "snow"), ("b", "1")]),
        (b"a=gr\xfc\xdfe; b=\xc3\xbc; \xfc=\xc3", [("a", "grüße"), ("b", "ü"), ("ü", "Ã")]),  # each by itself
        (b"a=\xc3\xbc\xff", [("a", "Ã¼ÿ")]),
        (b"a=\xed\xa0\x80", [("a", "\xed\xa0\x80")]),  # a surrogate is no UTF-8
        (b"a=\xc0\xaf; b=%C3%BC", [("a", "\xc0\xaf"), ("b", "%C3%BC")]),  # nor a slash too long; nothing is decoded
    ],
)
def test_cookies_are_utf_8_where_they_can_be(value, cookies):
    assert read_cookies([value]) == cookies


def test_the_cookies_of_all_fields_are_one_list():
    assert read_cookies([b"a=1; b", b"", b"a=2;", "b=ü".encode()]) == [("a", "1"), ("a", "2"), ("b", "ü")]
    assert read_cookies([]) == []


@given(st.lists(st.binary()))
def test_whatever_comes_is_read(lines):
    for pair in read_cookies(lines):
        assert all(isinstance(text, str) for text in pair)


@given(st.lists(st.tuples(NAME, TEXT), max_size=5))
def test_what_a_browser_sends_is_what_was_set(cookies):
    assert read_cookies(["; ".join(f"{name}={text}" for name, text in cookies).encode()]) == cookies
