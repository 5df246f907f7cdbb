"""Cookies of a request."""

from __future__ import annotations

import pytest

from roadrunner_trio.protocol.codec.cookies import parse_cookies


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
