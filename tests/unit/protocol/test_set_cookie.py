"""Cookies that are written: what browsers keep, and nothing that they would read otherwise or drop."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from http.cookies import SimpleCookie

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadrunner_trio.protocol.codec.cookies import parse_cookies, same_cookie, write_cookie

WHEN = datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC)


@pytest.mark.parametrize(
    ("attributes", "text"),
    [
        ({}, "a=b; Path=/; Secure; HttpOnly; SameSite=Lax"),
        ({"secure": False, "httponly": False, "samesite": None, "path": None}, "a=b"),
        ({"max_age": 60, "path": None, "samesite": "Strict"}, "a=b; Max-Age=60; Secure; HttpOnly; SameSite=Strict"),
        ({"max_age": timedelta(days=1), "path": "/x"}, "a=b; Max-Age=86400; Path=/x; Secure; HttpOnly; SameSite=Lax"),
        (
            {"expires": WHEN, "domain": "example.org"},
            "a=b; Expires=Sun, 06 Nov 1994 08:49:37 GMT; Domain=example.org; Path=/; Secure; HttpOnly; SameSite=Lax",
        ),
        (
            {"samesite": "None", "partitioned": True},
            "a=b; Path=/; Secure; HttpOnly; SameSite=None; Partitioned",
        ),
    ],
)
def test_attributes(attributes, text):
    assert write_cookie("a", "b", **attributes) == text.encode()


@pytest.mark.parametrize(
    ("name", "value", "attributes", "complaint"),
    [
        ("", "b", {}, "no name"),
        ("a b", "b", {}, "no name"),
        ("a=", "b", {}, "no name"),
        ("a;", "b", {}, "no name"),
        ("é", "b", {}, "no name"),
        ("a", "b;c", {}, "quote"),
        ("a", "b c", {}, "quote"),
        ("a", 'b"c', {}, "quote"),
        ("a", "b,c", {}, "quote"),
        ("a", "b\\c", {}, "quote"),
        ("a", "b\r\nset-cookie: x=y", {}, "quote"),
        ("a", "é", {}, "quote"),
        ("a", "b" * 4096, {}, "4096"),
        ("a", "b", {"path": "x"}, "no path"),
        ("a", "b", {"path": "/;Domain=x"}, "no path"),
        ("a", "b", {"path": "/\n"}, "no path"),
        ("a", "b", {"path": "/" * 1025}, "no path"),
        ("a", "b", {"domain": "x;y"}, "no domain"),
        ("a", "b", {"domain": "x y"}, "no domain"),
        ("a", "b", {"domain": ""}, "no domain"),
        ("a", "b", {"samesite": "lax"}, "no samesite"),
        ("a", "b", {"samesite": "None", "secure": False}, "SameSite=None without secure"),
        ("a", "b", {"partitioned": True, "secure": False}, "Partitioned"),
        ("a", "b", {"expires": datetime(2030, 1, 1)}, "time zone"),
        ("__Host-a", "b", {"secure": False}, "without secure"),
        ("__Host-a", "b", {"path": "/x"}, "a path that is not"),
        ("__host-a", "b", {"domain": "example.org"}, "with a domain"),
        ("__Secure-a", "b", {"secure": False}, "without secure"),
        ("a", "b", {"max_age": math.inf}, "no max_age"),
        ("a", "b", {"max_age": math.nan}, "no max_age"),
    ],
)
def test_what_would_be_read_otherwise_or_dropped(name, value, attributes, complaint):
    with pytest.raises(ValueError, match=complaint):
        write_cookie(name, value, **attributes)


def test_what_is_no_text():
    with pytest.raises(TypeError, match="value of a cookie is text"):
        write_cookie("a", 5)
    with pytest.raises(TypeError, match="name of a cookie is text"):
        write_cookie(b"a", "b")


octet = st.characters(min_codepoint=0, max_codepoint=255)


@given(st.text(octet, min_size=1, max_size=8), st.text(octet, max_size=12), st.text(octet, max_size=8))
def test_what_is_written_is_one_cookie_with_that_value_or_an_error(name, value, path):
    try:
        written = write_cookie(name, value, path="/" + path).decode("ascii")
    except ValueError:
        return
    first = written.partition(";")[0]
    assert parse_cookies(first) == [(name, value)]
    jar = SimpleCookie()
    jar.load(written)
    assert [each.value for each in jar.values()] == [value] or not jar
    assert written.count(";") == 4


def test_which_are_the_same_cookie():
    one = write_cookie("a", "1")
    assert same_cookie(one, write_cookie("a", "2", max_age=5, secure=False))
    assert not same_cookie(one, write_cookie("b", "1"))
    assert not same_cookie(one, write_cookie("a", "1", path="/x"))
    assert not same_cookie(one, write_cookie("a", "1", domain="x.org"))
