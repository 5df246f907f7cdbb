"""Requests through trusted proxies: whose word changes what a handler, an observer and a limit see."""

from __future__ import annotations

from typing import Any

import pytest
from story_tools import answer, last_word, open_house

import roadrunner_trio as rr

EVERY = ("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host")


def get(*lines: str) -> bytes:
    return "\r\n".join(["GET / HTTP/1.1", "Host: inner", *lines, "", ""]).encode("latin-1")


async def origin(request: rr.Request) -> rr.Response:
    return rr.Response(f"{request.peer} {request.scheme} {request.host}")


TOLD = get("X-Forwarded-For: 192.0.2.7", "X-Forwarded-Proto: https", "X-Forwarded-Host: example.org")


async def test_off_by_default(autojump_clock: Any) -> None:
    async with open_house(origin) as house:
        peer = house.peer()
        await peer.say(TOLD)
        assert peer.take() == answer(b"memory http inner")


async def test_a_stranger_is_not_believed(autojump_clock: Any) -> None:
    async with open_house(origin, proxy_headers=rr.ProxyHeaders("10.0.0.0/8", EVERY)) as house:
        peer = house.peer()
        await peer.say(TOLD)
        assert peer.take() == answer(b"memory http inner")


async def test_a_trusted_proxy_is(autojump_clock: Any) -> None:
    async with open_house(origin, proxy_headers=rr.ProxyHeaders("memory", EVERY)) as house:
        peer = house.peer()
        await peer.say(TOLD)
        assert peer.take() == answer(b"('192.0.2.7', 0) https example.org")
        assert house.watch.only("stop").request.peer == ("192.0.2.7", 0)
        assert house.watch.only("accept").peer == "memory", "the connection is still the proxy's"


async def test_each_request_of_a_connection_is_its_own(autojump_clock: Any) -> None:
    async with open_house(origin, proxy_headers=rr.ProxyHeaders("memory")) as house:
        peer = house.peer()
        await peer.say(get("X-Forwarded-For: 192.0.2.7", "X-Forwarded-Proto: https"))
        await peer.say(get("X-Forwarded-For: 2001:db8::7"))
        await peer.say(get())
        assert peer.take() == b"".join(
            answer(body)
            for body in (b"('192.0.2.7', 0) https inner", b"('2001:db8::7', 0) http inner", b"memory http inner")
        )


async def test_the_host_is_believed_only_where_it_is_named(autojump_clock: Any) -> None:
    async with open_house(origin, proxy_headers=rr.ProxyHeaders("memory")) as house:
        peer = house.peer()
        await peer.say(TOLD)
        assert peer.take() == answer(b"('192.0.2.7', 0) https inner")


async def test_what_cannot_be_read_is_a_400_for_observers_too(autojump_clock: Any) -> None:
    async with open_house(origin, proxy_headers=rr.ProxyHeaders("memory", ("forwarded",))) as house:
        peer = house.peer()
        await peer.say(get('Forwarded: for="open, for=192.0.2.7'))
        assert peer.take() == last_word(b"400 Bad Request")
        event = house.watch.only("rejected")
        assert (event.reason, event.status) == ("bad_forwarded", 400)


async def test_through_a_load_balancer_and_a_proxy(autojump_clock: Any) -> None:
    """The PROXY header says who the proxy is, the proxy's fields who the peer is."""
    settings = {"proxy_protocol": rr.ProxyProtocol("memory"), "proxy_headers": rr.ProxyHeaders("10.0.0.0/8")}
    async with open_house(origin, **settings) as house:
        trusted, stranger = house.peer(), house.peer()
        await trusted.say(b"PROXY TCP4 10.0.0.9 10.0.0.1 1 2\r\n" + get("X-Forwarded-For: 192.0.2.7"))
        assert trusted.take() == answer(b"('192.0.2.7', 0) http inner")
        await stranger.say(b"PROXY TCP4 203.0.113.9 10.0.0.1 1 2\r\n" + get("X-Forwarded-For: 192.0.2.7"))
        assert stranger.take() == answer(b"('203.0.113.9', 1) http inner")


@pytest.mark.parametrize(("address", "text"), [(("192.0.2.7", 0), "192.0.2.7"), (("2001:db8::7", 0), "2001:db8::7")])
def test_a_peer_whose_port_nobody_knows_is_shown_without(address: tuple[str, int], text: str) -> None:
    from roadrunner_trio.transport.streams import shown

    assert shown(address) == text
