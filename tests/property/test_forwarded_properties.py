"""Laws of Forwarded: what its grammar can write is read as it was meant, and of anything else comes a ValueError."""

from __future__ import annotations

import re
from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from roadrunner_trio.addresses import unmapped
from roadrunner_trio.fields import Fields
from roadrunner_trio.protocol.codec.forwarded import Forwarded, Node, parse_forwarded, parse_x_forwarded_for
from roadrunner_trio.protocol.trust import ProxyHeaders

words = st.from_regex(r"_[A-Za-z0-9._-]{1,8}", fullmatch=True)
nodes: st.SearchStrategy[Node] = (
    st.just("unknown") | words | st.tuples(st.ip_addresses().map(str), st.integers(0, 65535))
)
visible = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=12)
elements = st.builds(Forwarded, st.none() | nodes, st.none() | nodes, st.none() | visible, st.none() | visible)


def written(node: Node) -> str:
    if isinstance(node, str):
        return node
    host, port = node
    return (f"[{host}]" if ":" in host else host) + (f":{port}" if port else "")


def plain(element: Forwarded) -> Forwarded:
    """The same, with IPv4 addresses that were mapped into IPv6 as what they are."""
    nodes = [node if isinstance(node, str | None) else (unmapped(node[0]), node[1]) for node in element[:2]]
    return Forwarded(*nodes, *element[2:])


@st.composite
def texts(draw: st.DrawFn, element: Forwarded) -> str:
    """An element as some proxy may write it: any order and case, quoted where it must be and sometimes where not."""
    values = {name.rstrip("_"): value for name, value in element._asdict().items() if value is not None}
    pairs = []
    for name in draw(st.permutations(sorted(values))):
        value = values[name]
        text = value if name in ("host", "proto") else written(value)
        if not re.fullmatch(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+", text) or draw(st.booleans()):
            text = '"' + "".join("\\" + c if c in '"\\' or draw(st.booleans()) else c for c in text) + '"'
        pairs.append(f"{draw(st.sampled_from([name, name.upper(), name.title()]))}={text}")
    return ";".join(pairs)


@given(st.data(), st.lists(elements, max_size=4))
def test_what_was_written_is_read(data: st.DataObject, meant: list[Forwarded]) -> None:
    value = ", ".join(data.draw(texts(each)) for each in meant)
    assert parse_forwarded(value) == [plain(each) for each in meant if any(part is not None for part in each)]


@given(st.text(st.sampled_from('for=";,\\ 192.0[:]_h\tx'), max_size=40) | st.text(max_size=40))
def test_anything_is_read_or_refused(value: str) -> None:
    with suppress(ValueError):
        parse_forwarded(value)
    parse_x_forwarded_for([value])


proxies = st.integers(1, 254).map("10.0.0.{}".format)
strangers = st.ip_addresses(v=4).map(str).filter(lambda host: not host.startswith("10."))
inventions = st.lists(st.ip_addresses(v=4).map(str) | st.sampled_from(["unknown", "10.0.0.1", "x", "_x"]), max_size=4)


@given(inventions, strangers, st.lists(proxies, max_size=3))
def test_what_a_peer_invents_does_not_change_who_it_is(invented: list[str], peer: str, relays: list[str]) -> None:
    """Every proxy appends whom it was asked by, so the chain to the right of the peer is the proxies' own."""
    told = ProxyHeaders("10.0.0.0/8")
    fields: Fields = ((b"x-forwarded-for", ", ".join([*invented, peer, *relays]).encode()),)
    assert told.origin(fields).peer == (peer, 0)
    split: Fields = tuple((b"x-forwarded-for", each.encode()) for each in [*invented, peer, *relays])
    assert told.origin(split).peer == (peer, 0)


@given(st.text(st.characters(max_codepoint=255), max_size=30), strangers, st.lists(proxies, max_size=3))
def test_a_line_that_a_peer_invents_is_not_even_read(invented: str, peer: str, relays: list[str]) -> None:
    line = ", ".join(f"for={each}" for each in [peer, *relays])
    fields: Fields = ((b"forwarded", invented.encode("latin-1")), (b"forwarded", line.encode()))
    assert ProxyHeaders("10.0.0.0/8", ("forwarded",)).origin(fields).peer == (peer, 0)
