"""From which pages a browser may open a WebSocket: an origin is a scheme, a host and a port, however it is written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from story_tools import open_house
from websocket_tools import echo, handshake

from roadrunner_trio import websocket
from roadrunner_trio.protocol.ws.origin import allows, canonical, check_origins

SAME = [
    ("https://example.org", "https://example.org:443", "https://example.org:", "HTTPS://EXAMPLE.org:0443"),
    ("http://example.org", "http://example.org:80", "Http://Example.Org"),
    ("https://example.org:80", "https://EXAMPLE.org:80"),
    ("http://example.org:443", "http://example.org:00443"),
    ("http://192.0.2.1", "http://192.0.2.1:80"),
    ("https://[2001:db8::1]", "https://[2001:DB8:0:0:0:0:0:1]:443", "https://[2001:db8::0001]"),
    ("http://[::ffff:192.0.2.1]:8080", "http://[::FFFF:c000:201]:8080"),
    ("wss://example.org", "wss://example.org:443"),
    ("ws://example.org", "ws://example.org:80"),
    ("chrome-extension://abc", "Chrome-Extension://ABC"),
    ("capacitor://localhost:8080", "capacitor://localhost:8080"),
    ("https://example.org.", "https://example.org.:443"),
]


@pytest.mark.parametrize("written", SAME, ids=lambda forms: forms[0])
def test_one_origin_in_its_forms_and_no_other(written):
    allowed = check_origins(written[:1])
    for forms in SAME:
        for form in forms:
            assert allows(allowed, [form], "") is (forms is written), form
    assert {check_origins([form]) for form in written} == {allowed}


NONE = [
    *["", "example.org", "https://", "://example.org", "https:example.org", "https://example.org/", "https://a/b"],
    *["https://a?b", "https://a#b", "https://user@example.org", "https://a b", "https://a https://b", "https://a,b:1,"],
    *["https://example.org:65536", "https://example.org:123456", "https://example.org:a", "https://example.org:-1"],
    *["https://[::1", "https://::1", "https://[::g]", "https://[1.2.3.4]", "https://[::1]x", "https://[fe80::1%25lo]"],
    *["9p://a", "a_b://c", " https://a", "https://a\n", "https://grün.example"],
]


@pytest.mark.parametrize("origin", NONE)
def test_what_is_no_origin_may_not_be_named_and_never_connects(origin):
    with pytest.raises(ValueError, match="origin"):
        check_origins([origin])
    host = origin.partition("://")[2] or origin
    assert not allows(check_origins(["self", "https://example.org", "null"]), [origin], host)


HOSTS = [
    ("example.org", "https://example.org", True),
    ("example.org", "http://example.org", True),
    ("EXAMPLE.org", "https://example.ORG", True),
    ("example.org:443", "https://example.org", True),
    ("example.org:80", "http://example.org", True),
    ("example.org:", "http://example.org", True),
    ("example.org", "https://example.org:443", True),
    ("example.org", "http://example.org:80", True),
    ("example.org:8443", "https://example.org:8443", True),
    ("[2001:db8::1]:443", "https://[2001:DB8::0:1]", True),
    ("[::1]:8000", "http://[0:0:0:0:0:0:0:1]:8000", True),
    ("localhost:8080", "capacitor://localhost:8080", True),
    ("example.org:8443", "https://example.org", False),
    ("example.org", "https://example.org:8443", False),
    ("example.org:80", "https://example.org", False),
    ("example.org:443", "http://example.org", False),
    ("example.org", "https://example.org:80", False),
    ("example.org", "https://evil.example", False),
    ("example.org", "https://evil.example.org", False),
    ("example.org", "https://example.org.evil.example", False),
    ("example.org", "https://example.org@evil.example", False),
    ("example.org", "null", False),
    ("null", "null", False),
    ("", "null", False),
    ("", "https://", False),
    ("[::2]", "http://[::1]", False),
]


@pytest.mark.parametrize(("host", "origin", "may"), HOSTS)
async def test_case_09_the_pages_of_the_requests_own_host(host, origin, may, autojump_clock):
    assert allows(check_origins(["self"]), [origin], host) is may
    if not host:
        return  # HTTP/1.1 has no request without a host
    async with open_house(websocket(echo, origins=["self"])) as house:
        peer = house.peer()
        await peer.say(handshake(b"Origin: " + origin.encode()).replace(b"Host: h", b"Host: " + host.encode()))
        assert peer.take()[9:12] == (b"101" if may else b"403")


def test_who_names_several_has_to_be_allowed_from_each():
    allowed = check_origins(["https://a.example", "https://b.example"])
    assert allows(allowed, ["https://a.example", "https://b.example"], "")
    assert not allows(allowed, ["https://a.example", "https://evil.example"], "")
    assert allows(allowed, [], ""), "no browser"


def test_null_has_to_be_named():
    assert allows(check_origins(["NULL"]), ["null"], "h")
    assert not allows(check_origins(["self"]), ["null"], "h")


def test_a_list_is_wanted():
    with pytest.raises(ValueError, match=r"origins is a list; write \['https://a'\]"):
        check_origins("https://a")


@given(st.text(max_size=40) | st.text("htps:/[]0123456789abf.@?#", max_size=40).map(lambda end: "http://" + end))
def test_the_one_form_is_its_own(origin):
    form = canonical(origin)
    if form is not None:
        assert canonical(form) == form
        assert allows(check_origins([origin]), [form], "")
        assert allows(check_origins(["self"]), [origin], form.partition("://")[2])
