"""Whom to believe, and how far back: networks, chains of proxies, and what a peer may invent."""

from __future__ import annotations

import pytest

from roadrunner_trio import ProtocolError
from roadrunner_trio.protocol.trust import Networks, Origin, ProxyHeaders, ProxyProtocol

EVERY = ("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host")


@pytest.mark.parametrize(
    ("networks", "peer", "held"),
    [
        ("10.0.0.0/8", ("10.255.0.1", 1), True),
        ("10.0.0.0/8", ("11.0.0.1", 1), False),
        ("10.0.0.0/8", ("::ffff:10.0.0.1", 1), True),
        ("::ffff:10.0.0.0/104", ("10.255.0.1", 1), True),
        ("::ffff:10.0.0.0/104", ("::ffff:10.255.0.1", 1), True),
        ("::ffff:10.0.0.0/104", ("11.0.0.1", 1), False),
        ("::ffff:0:0/96", ("192.0.2.1", 1), True),
        ("::ffff:192.0.2.1", ("192.0.2.1", 1), True),
        ("::/64", ("192.0.2.1", 1), False),
        ("192.0.2.1", ("192.0.2.1", 0), True),
        ("192.0.2.1", ("192.0.2.2", 0), False),
        ("2001:db8::/32", ("2001:db8:1::1", 1), True),
        ("2001:db8::/32", ("192.0.2.1", 1), False),
        ("fe80::/10", ("fe80::1%eth0", 1), True),
        ("::/0", ("192.0.2.1", 1), False),
        (["192.0.2.1", "10.0.0.0/8"], ("10.0.0.1", 1), True),
        ("10.0.0.0/8", ("no address", 1), False),
        ("10.0.0.0/8", "10.0.0.1", False),
        ("unix", "unix", True),
        ("unix", "/run/peer.sock", True),
        ("unix", "@abstract", True),
        ("unix", "unknown", False),
        ("unix", "memory", False),
        ("unix", ("127.0.0.1", 1), False),
        ("127.0.0.1", "unix", False),
        ("memory", "memory", True),
    ],
)
def test_networks(networks: str | list[str], peer: tuple[str, int] | str, held: bool) -> None:
    assert Networks(networks).holds(peer) is held
    assert ProxyProtocol(networks).trusts(peer) is held
    assert ProxyHeaders(networks).trusts(peer) is held


@pytest.mark.parametrize("networks", ["10.0.0.1/8", "10.0.0.0/33", "localhost", "", "*", ["10.0.0.0/8", "x"]])
def test_a_bad_network_is_refused(networks: str | list[str]) -> None:
    with pytest.raises(ValueError, match=r"write 10\.0\.0\.0/8, 2001:db8::/32, 192\.0\.2\.1 or unix"):
        Networks(networks)


def test_trusting_nobody_is_a_mistake():
    with pytest.raises(ValueError, match="at least one"):
        ProxyProtocol([])


@pytest.mark.parametrize(
    "fields", [(), ("x-real-ip",), ("forwarded", "x-forwarded-for"), ("x-forwarded-for", "cookie")]
)
def test_only_known_fields_and_not_both_kinds(fields: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="forwarded"):
        ProxyHeaders("10.0.0.0/8", fields)


def origin(*lines: str, fields: tuple[str, ...] = EVERY) -> Origin:
    pairs = [line.partition(": ") for line in lines]
    told = ProxyHeaders(["10.0.0.0/8", "unix"], fields)
    return told.origin(tuple((name.lower().encode(), value.encode("latin-1")) for name, _, value in pairs))


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([], Origin()),
        (["X-Forwarded-For: 192.0.2.1"], Origin(("192.0.2.1", 0))),
        (["X-Forwarded-For: 6.6.6.6, 192.0.2.1"], Origin(("192.0.2.1", 0))),
        (["X-Forwarded-For: 6.6.6.6, 192.0.2.1, 10.0.0.2, 10.0.0.3"], Origin(("192.0.2.1", 0))),
        (
            ["X-Forwarded-For: 6.6.6.6", "X-Forwarded-For: 192.0.2.1", "X-Forwarded-For: 10.0.0.2"],
            Origin(("192.0.2.1", 0)),
        ),
        (["X-Forwarded-For: 10.0.0.9, 10.0.0.2"], Origin(("10.0.0.9", 0))),
        (["X-Forwarded-For: ::ffff:192.0.2.1, ::ffff:10.0.0.2"], Origin(("192.0.2.1", 0))),
        (["X-Forwarded-For: 6.6.6.6, unknown"], Origin("unknown")),
        (["X-Forwarded-For: 6.6.6.6, unix"], Origin("unknown")),
        (["X-Forwarded-For: "], Origin()),
        (["X-Forwarded-Proto: https"], Origin(scheme="https")),
        (["X-Forwarded-Proto: WSS"], Origin(scheme="https")),
        (["X-Forwarded-Proto: ws"], Origin(scheme="http")),
        (["X-Forwarded-Host: example.org:8443"], Origin(host=b"example.org:8443")),
        (["Forwarded: for=6.6.6.6"], Origin()),
    ],
)
def test_x_forwarded(lines: list[str], expected: Origin) -> None:
    assert origin(*lines) == expected


def test_a_list_of_schemes_is_read_where_the_chain_ends():
    two = "X-Forwarded-For: 192.0.2.1, 10.0.0.2"
    assert origin(two, "X-Forwarded-Proto: https, http").scheme == "https"
    assert origin(two, "X-Forwarded-Proto: https").scheme == "https", "one that every proxy replaces"
    assert origin("X-Forwarded-For: 6.6.6.6, 192.0.2.1", "X-Forwarded-Proto: https, http").scheme == "http"
    assert origin(two, "X-Forwarded-Host: evil, a.example, b.example").host == b"a.example"


def test_a_field_that_is_not_named_is_not_read():
    lines = ("X-Forwarded-For: 192.0.2.1", "X-Forwarded-Proto: https", "X-Forwarded-Host: evil.example")
    assert origin(*lines, fields=("X-Forwarded-For", "x-forwarded-proto")) == Origin(("192.0.2.1", 0), "https")
    assert origin(*lines, fields=("x-forwarded-proto",)) == Origin(scheme="https")
    assert origin(*lines, fields=("forwarded",)) == Origin()


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["Forwarded: for=192.0.2.1;proto=https;host=example.org"], Origin(("192.0.2.1", 0), "https", b"example.org")),
        (["Forwarded: for=6.6.6.6;host=evil, for=192.0.2.1;host=a"], Origin(("192.0.2.1", 0), None, b"a")),
        (
            ["Forwarded: for=192.0.2.1;proto=https;host=a, for=10.0.0.2;proto=http;host=b"],
            Origin(("192.0.2.1", 0), "https", b"a"),
        ),
        (["Forwarded: for=192.0.2.1, for=10.0.0.2;proto=http;host=b"], Origin(("192.0.2.1", 0), "http", b"b")),
        (["Forwarded: for=6.6.6.6", "Forwarded: for=192.0.2.1", "Forwarded: for=10.0.0.2"], Origin(("192.0.2.1", 0))),
        (['Forwarded: for="open', "Forwarded: for=192.0.2.1"], Origin(("192.0.2.1", 0))),
        (["Forwarded: for=6.6.6.6, for=_secret"], Origin("_secret")),
        (["Forwarded: for=6.6.6.6, proto=https"], Origin(None, "https")),
        (["Forwarded: for=10.0.0.9"], Origin(("10.0.0.9", 0))),
        (["X-Forwarded-For: 6.6.6.6"], Origin()),
    ],
)
def test_forwarded(lines: list[str], expected: Origin) -> None:
    assert origin(*lines, fields=("forwarded",)) == expected


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        ('Forwarded: for="evil, for=192.0.2.1', ("forwarded",)),
        ("Forwarded: for=192.0.2.1;proto=gopher", ("forwarded",)),
        ('Forwarded: for=192.0.2.1;host="a b"', ("forwarded",)),
        ('Forwarded: for=192.0.2.1;host="a/b"', ("forwarded",)),
        ("X-Forwarded-Proto: gopher", EVERY),
        ("X-Forwarded-Host: a b", EVERY),
        ("X-Forwarded-Host: \xe4", EVERY),
    ],
)
def test_what_cannot_be_read_is_a_bad_request(line: str, fields: tuple[str, ...]) -> None:
    with pytest.raises(ProtocolError) as caught:
        origin(line, fields=fields)
    assert (caught.value.status, caught.value.reason) == (400, "bad_forwarded")
