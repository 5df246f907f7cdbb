"""Media types and parameters."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadrunner_trio.protocol.codec.media import parse_media_type, parse_parameters


@pytest.mark.parametrize(
    ("value", "name", "parameters"),
    [
        (b"text/html", "text/html", {}),
        (b" Text/HTML ; Charset=UTF-8", "text/html", {"charset": "UTF-8"}),
        (b'text/html;charset="utf-8"', "text/html", {"charset": "utf-8"}),
        (b"text/html;;charset=utf-8;", "text/html", {"charset": "utf-8"}),
        (b'multipart/form-data; boundary="a b;c\\"d"', "multipart/form-data", {"boundary": 'a b;c"d'}),
        (b'a/b; c=""', "a/b", {"c": ""}),
    ],
)
def test_what_is_a_media_type(value, name, parameters):
    assert parse_media_type(value) == (name, parameters)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"text",
        b"text/",
        b"/html",
        b"text/html,text/plain",
        b"text/html; charset",
        b"text/html; charset=",
        b"text/html; charset =x",
        b"text/html; a=1; a=2",
        b"text/html; A=1; a=1",
        b'text/html; a="1',
        b'text/html; a="1"x',
        b"text/html" + b";a=1" * 2,
        b"text/html" + b"".join(b";a%d=1" % at for at in range(40)),
    ],
)
def test_what_is_none(value):
    assert parse_media_type(value) is None


@given(st.binary(max_size=60))
def test_octets_of_any_kind_raise_nothing(data):
    parse_media_type(b"a/b" + data)
    parse_parameters(data)


@pytest.mark.parametrize(
    "data", [b";" * 16000 + b"x", b" " * 16000 + b"x", b';a="' + b"\\" * 16000, b';a="' + b"x" * 16000]
)
def test_the_time_it_takes_is_linear(data):
    began = time.process_time()
    assert parse_parameters(data) is None
    assert time.process_time() - began < 1
