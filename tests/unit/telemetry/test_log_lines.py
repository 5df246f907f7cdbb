"""Lines from names and values: every notation can be read again."""

from __future__ import annotations

import pytest

from roadrunner_trio.telemetry import log_lines
from roadrunner_trio.telemetry.log_lines import json_text, logfmt_text, timestamp


def test_json_is_printable_ascii():
    assert json_text('é"\\\x00\x1b\x7f\u2028') == r'"\u00e9\"\\\u0000\u001b\u007f\u2028"'


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("/a/b?x;y", "/a/b?x;y"),
        ("", '""'),
        ("a b", '"a b"'),
        ("a=b", '"a=b"'),
        ('"', r'"\""'),
        ("a\\b", r'"a\\b"'),
        ("a\nb\x7f", r'"a\nb\u007f"'),
        ("é", r'"\u00e9"'),
    ],
)
def test_logfmt_quotes_where_a_reader_could_be_misled(text, shown):
    assert logfmt_text(text) == shown


def test_lines_of_pairs():
    pairs = [("a", "x y"), ("b", None), ("c", 1), ("d", 0.5), ("e", "")]
    assert log_lines.json_line(pairs) == '{"a":"x y","b":null,"c":1,"d":0.5,"e":""}'
    assert log_lines.logfmt_line(pairs) == 'a="x y" c=1 d=0.5 e=""'


def test_json_has_no_infinity():
    assert log_lines.json_line([("a", float("inf")), ("b", float("nan"))]) == '{"a":null,"b":null}'


@pytest.mark.parametrize(
    ("now", "shown"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (0.9999, "1970-01-01T00:00:00.999Z"),
        (1.0, "1970-01-01T00:00:01.000Z"),
        (951782400.25, "2000-02-29T00:00:00.250Z"),
        (0.5, "1970-01-01T00:00:00.500Z"),
    ],
)
def test_a_timestamp_is_utc_to_the_millisecond(now, shown):
    assert timestamp(now) == shown
