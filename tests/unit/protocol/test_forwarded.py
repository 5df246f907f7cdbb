"""``Forwarded`` as RFC 7239 has it, and ``X-Forwarded-For`` as proxies write it."""

from __future__ import annotations

import pytest

from roadrunner_trio.protocol.codec.forwarded import (
    Forwarded,
    members,
    parse_forwarded,
    parse_node,
    parse_x_forwarded_for,
)


@pytest.mark.parametrize(
    ("value", "elements"),
    [
        # The examples of RFC 7239, sections 4 and 7.1.
        ('for="_gazonk"', [Forwarded("_gazonk")]),
        ('For="[2001:db8:cafe::17]:4711"', [Forwarded(("2001:db8:cafe::17", 4711))]),
        (
            "for=192.0.2.60;proto=http;by=203.0.113.43",
            [Forwarded(("192.0.2.60", 0), ("203.0.113.43", 0), None, "http")],
        ),
        ("for=192.0.2.43, for=198.51.100.17", [Forwarded(("192.0.2.43", 0)), Forwarded(("198.51.100.17", 0))]),
        (
            'for=192.0.2.43,for="[2001:db8:cafe::17]",for=unknown',
            [Forwarded(("192.0.2.43", 0)), Forwarded(("2001:db8:cafe::17", 0)), Forwarded("unknown")],
        ),
        ("for=_hidden, for=_SEVKISEK", [Forwarded("_hidden"), Forwarded("_SEVKISEK")]),
        # Names in any case, quoted pairs, unknown parameters, an empty list member, space where proxies put it.
        ("HOST=Example.ORG;PROTO=https", [Forwarded(host="Example.ORG", proto="https")]),
        (r'host="a\"b\\c,;d"', [Forwarded(host='a"b\\c,;d')]),
        ("secret=x;for=192.0.2.1", [Forwarded(("192.0.2.1", 0))]),
        ("for=192.0.2.1,, ,for=192.0.2.2", [Forwarded(("192.0.2.1", 0)), Forwarded(("192.0.2.2", 0))]),
        ("for=192.0.2.1 ; proto=https \t", [Forwarded(("192.0.2.1", 0), proto="https")]),
        ("for=192.0.2.1;;proto=https;", [Forwarded(("192.0.2.1", 0), proto="https")]),
        ("", []),
        (" , ", []),
    ],
)
def test_elements(value: str, elements: list[Forwarded]) -> None:
    assert parse_forwarded(value) == elements


@pytest.mark.parametrize(
    "value",
    [
        "for",
        "for=",
        "for =192.0.2.1",
        "for= 192.0.2.1",
        "=192.0.2.1",
        "for=192.0.2.1 proto=http",
        "for=192.0.2.1:80",  # a colon has to be quoted
        "for=[2001:db8::1]",
        'for="2001:db8::1"',  # an IPv6 address has to be in brackets
        'for="[192.0.2.1]"',
        'for="192.0.2.1',
        'for="192.0.2.1\\"',
        'for="192.0.2.1"x',
        "for=192.0.2.1;for=192.0.2.2",
        "for=192.0.2.1;FOR=192.0.2.1",
        "for=192.0.2.300",
        "for=example.org",
        'for="192.0.2.1:65536"',
        'for="192.0.2.1:"',
        "for=_",
        "by=localhost",
    ],
)
def test_what_does_not_follow_the_grammar_is_refused_whole(value: str) -> None:
    with pytest.raises(ValueError):
        parse_forwarded(f"for=198.51.100.1, {value}")


def test_an_open_quote_does_not_hide_what_a_proxy_appended():
    with pytest.raises(ValueError):
        parse_forwarded('for="evil, for=192.0.2.1')


@pytest.mark.parametrize(
    ("text", "node"),
    [
        ("192.0.2.1", ("192.0.2.1", 0)),
        ("192.0.2.1:4711", ("192.0.2.1", 4711)),
        ("192.0.2.1:_port", ("192.0.2.1", 0)),
        ("[2001:DB8::1]:0", ("2001:db8::1", 0)),
        ("[::ffff:192.0.2.1]:4711", ("192.0.2.1", 4711)),
        ("[::FFFF:C000:201]", ("192.0.2.1", 0)),
        ("Unknown", "unknown"),
        ("_a.b-c_d", "_a.b-c_d"),
    ],
)
def test_nodes(text: str, node: object) -> None:
    assert parse_node(text) == node


def test_x_forwarded_for_over_several_lines():
    lines = [
        "192.0.2.1, 2001:db8::1",
        " [2001:db8::2]:443 ,192.0.2.2:80,",
        "unknown, _hidden, 1.2.3, unix:, 1.2.3.4:99999",
    ]
    assert parse_x_forwarded_for(lines) == [
        ("192.0.2.1", 0),
        ("2001:db8::1", 0),
        ("2001:db8::2", 443),
        ("192.0.2.2", 80),
        *["unknown"] * 5,
    ]


def test_members():
    assert members([]) == []
    assert members(["a,, b ", "\tc"]) == ["a", "b", "c"]
