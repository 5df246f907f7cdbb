"""No address has more than its share of the places, and nobody who only sits there keeps others out."""

from __future__ import annotations

import socket
import ssl
from typing import Any

import pytest
import trio
from story_tools import GET, Peer, answer, last_word, open_house
from trio.testing import wait_all_tasks_blocked

import roadrunner_trio as rr
from roadrunner_trio.answering.context import Counters
from roadrunner_trio.protocol.trust import Networks
from roadrunner_trio.server.places import LEAST_SHARE, Places, is_loopback, share
from roadrunner_trio.transport.wire import SocketWire

PROXIES = rr.ProxyProtocol("memory")
"""In memory a peer says by a PROXY header who it is."""
STAY = b"GET /stay HTTP/1.1\r\nHost: h\r\n\r\n"
SLOW_POST = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10000000\r\n\r\n"


async def handler(request: rr.Request) -> rr.Response:
    if request.path == "/stay":
        await trio.sleep_forever()
    return rr.Response("hi")


def house_of(size: int, per_peer: int | None = 0, **settings: Any) -> Any:
    limits = rr.Limits(max_connections=size, max_connections_per_peer=per_peer)
    return open_house(handler, limits=limits, proxy_protocol=PROXIES, **settings)


async def come(house: Any, address: str, data: bytes = b"") -> Peer:
    """A peer from an address."""
    version = 6 if ":" in address else 4
    peer = house.peer()
    await peer.say(f"PROXY TCP{version} {address} {address} 1234 80\r\n".encode() + data)
    return peer


def counts(house: Any) -> dict[str, int]:
    return house.listener._places._counts


# -- the share -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("most", "per_peer", "each"),
    [
        (1000, 0, 250),
        (1003, 0, 250),
        (32, 0, 8),
        (10, 0, LEAST_SHARE),
        (1, 0, LEAST_SHARE),
        (1000, 3, 3),
        (9, None, None),
    ],
)
def test_a_share_is_a_quarter_and_no_less_than_a_browser_needs(most: int, per_peer: int | None, each: int | None):
    assert share(rr.Limits(max_connections=most, max_connections_per_peer=per_peer)) == each


async def test_one_more_is_answered_503_and_the_others_notice_nothing(autojump_clock):
    async with house_of(100, 2) as house:
        inside = [await come(house, "192.0.2.1", GET) for _ in range(2)]
        third = await come(house, "192.0.2.1", GET)
        assert await third.end() == last_word(b"503 Service Unavailable")
        other = await come(house, "192.0.2.2", GET)
        assert other.take() == answer(b"hi")
        assert [peer.ended_at for peer in inside] == [None, None]
        assert house.watch.only("rejected").reason == "max_connections_per_peer"
        await inside[0].close()
        await trio.sleep(10)
        assert (await come(house, "192.0.2.1", GET)).take() == answer(b"hi")


async def test_over_tls_there_is_nothing_to_be_said(autojump_clock, tmp_path):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    async with house_of(100, 1, tls=context) as house:
        await come(house, "192.0.2.1")
        second = await come(house, "192.0.2.1")
        assert await second.end() == b""
        assert house.listener.info().handshakes_failed == 1


async def test_a_network_of_ipv6_is_one_peer_and_ipv4_is_one_however_it_comes(autojump_clock):
    async with house_of(100, 1) as house:
        await come(house, "2001:db8::1", STAY)
        assert await (await come(house, "2001:db8::2:3", GET)).end() == last_word(b"503 Service Unavailable")
        assert (await come(house, "2001:db8:0:1::1", GET)).take() == answer(b"hi")
        await come(house, "192.0.2.1", STAY)
        assert await (await come(house, "::ffff:192.0.2.1", GET)).end() == last_word(b"503 Service Unavailable")


async def test_none_is_no_share(autojump_clock):
    async with house_of(20, None) as house:
        for _ in range(20):
            await come(house, "192.0.2.1", STAY)
        assert house.listener.info().rejected == 0
        assert counts(house) == {}


async def test_whoever_stands_for_others_has_none(autojump_clock):
    """Proxies that are trusted, whichever way; who comes without an address."""
    trusted = [Networks("10.0.0.0/8"), Networks("192.0.2.0/24")]
    limits = rr.Limits(max_connections=100, max_connections_per_peer=1)
    places = Places(limits, trusted, list, evict_idle=False, counters=Counters())
    for peer in (("10.1.2.3", 1), ("192.0.2.9", 1), "unix", "@name", "/run/peer", "memory"):
        for _ in range(3):
            assert places.refusal(peer, 5) is None
            places.enter(object(), peer)
    places.enter(object(), ("198.51.100.1", 1))
    assert places.refusal(("198.51.100.1", 2), 5) == "max_connections_per_peer"
    assert places.refusal("unix", 100) == "max_connections"


# -- who makes room ------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"", GET[:1], SLOW_POST, SLOW_POST + b"x" * 500])
async def test_case_48_who_sits_there_makes_room_for_its_own_address(data, autojump_clock):
    """It shuts out itself for a second, and nobody else; without ``evict_idle``, too."""
    async with house_of(100, 3) as house:
        sitting = []
        for _ in range(3):
            sitting.append(await come(house, "192.0.2.1", data))
            await trio.sleep(0.25)
        assert await (await come(house, "192.0.2.1", GET)).end() == last_word(b"503 Service Unavailable")
        await trio.sleep(2)
        for oldest in sitting:
            newcomer = await come(house, "192.0.2.1", STAY)
            assert house.listener.connections()[-1].phase == "in the handler"
            assert newcomer.ended_at is None
            assert await oldest.end() == (last_word(b"408 Request Timeout") if data else b"")
            assert oldest.ended_at == trio.current_time()
        assert house.listener.info().evicted == 3
        assert await (await come(house, "192.0.2.1", GET)).end() == last_word(b"503 Service Unavailable")
        assert counts(house) == {"192.0.2.1": 3}


async def test_a_handshake_that_does_not_go_on_makes_room(autojump_clock):
    async with house_of(100, 1, tls=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)) as house:
        sitting = await come(house, "192.0.2.1")
        await trio.sleep(1)
        newcomer = await come(house, "192.0.2.1")
        assert await sitting.end() == b""
        assert (sitting.ended_at, newcomer.ended_at) == (1, None)


async def test_who_has_been_served_is_left_alone_unless_idle_ones_may_go(autojump_clock):
    for evict_idle in (False, True):
        async with house_of(100, 1, evict_idle=evict_idle) as house:
            idle = await come(house, "192.0.2.1", GET)
            await trio.sleep(5)
            newcomer = await come(house, "192.0.2.1", GET)
            assert (idle.ended_at is not None) == evict_idle
            assert (newcomer.take() == answer(b"hi")) == evict_idle


async def test_a_body_that_comes_is_left_alone(autojump_clock):
    async with house_of(100, 2) as house:
        fast, slow = await come(house, "192.0.2.1", SLOW_POST), await come(house, "192.0.2.1", SLOW_POST)
        for _ in range(5):
            await fast.say(b"x" * 1100)
            await slow.say(b"x" * 1000)
            await trio.sleep(1)
        await come(house, "192.0.2.1", STAY)
        assert slow.ended_at == trio.current_time()
        assert fast.ended_at is None


async def test_another_peers_connections_make_no_room(autojump_clock):
    async with house_of(100, 1) as house:
        other = await come(house, "192.0.2.2")
        await come(house, "192.0.2.1", STAY)
        await trio.sleep(5)
        assert await (await come(house, "192.0.2.1", GET)).end() == last_word(b"503 Service Unavailable")
        assert other.ended_at is None


# -- the loopback --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "ours"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("0" * 16, True),
        ("192.0.2.1", False),
        ("20010db8" * 2, False),
    ],
)
def test_what_is_the_loopback(host: str, ours: bool):
    assert is_loopback(host) is ours


async def test_the_loopback_may_have_all_places_by_the_default(autojump_clock):
    """There may be a proxy of which nobody has told us; and who tries a server with many peers does so from here."""
    async with house_of(40) as house:
        busy = [await come(house, "127.0.0.1", STAY) for _ in range(40)]
        assert [peer.ended_at for peer in busy] == [None] * 40
        assert house.listener.info().evicted == 0


async def test_beyond_its_share_who_sits_there_makes_room_for_everybody_when_none_is_left(autojump_clock):
    async with house_of(40) as house:
        for address in ["192.0.2.1"] * 10 + ["127.0.0.2"] * 29:
            await come(house, address)
        await trio.sleep(5)
        await come(house, "127.0.0.2")
        assert house.listener.info().evicted == 0, "there was a place left"
        for address in ("127.0.0.1", "127.0.0.2", "198.51.100.1"):
            assert house.listener._places.refusal((address, 1), present=40) is None
            await wait_all_tasks_blocked()
        assert house.listener.info().evicted == 3
        assert counts(house) == {"127.0.0.2": 27, "192.0.2.1": 10}, "a share is nobody else's"


async def test_a_number_that_was_set_holds_for_the_loopback_too(autojump_clock):
    async with house_of(40, 2) as house:
        for _ in range(2):
            await come(house, "127.0.0.1", STAY)
        assert await (await come(house, "127.0.0.1", GET)).end() == last_word(b"503 Service Unavailable")


# -- what is counted -----------------------------------------------------------------------------


async def test_a_connection_is_counted_once_under_the_address_it_has(autojump_clock):
    async with house_of(100, 5) as house:
        peer = house.peer()
        await wait_all_tasks_blocked()
        assert counts(house) == {}, "the proxy's own are not counted"
        await peer.say(b"PROXY TCP4 192.0.2.1 192.0.2.1 1234 80\r\n")
        assert counts(house) == {"192.0.2.1": 1}
        local = house.peer()
        await local.say(b"PROXY UNKNOWN\r\n" + GET)
        assert local.take() == answer(b"hi")
        assert counts(house) == {"192.0.2.1": 1}
        await peer.close()
        assert counts(house) == {}


async def test_whatever_ends_a_connection_it_is_counted_no_more(autojump_clock):
    async with house_of(100, 5, timeouts=rr.Timeouts(handler=3)) as house:
        first = b"PROXY TCP4 192.0.2.1 192.0.2.1 1234 80\r\n"
        for data in (b"", b"nonsense\r\n", GET, GET[:5], SLOW_POST, STAY):
            peer = await come(house, "192.0.2.1", data)
            await trio.sleep(4)
            await peer.close()
            await house.empty()
        for data in (first[:10], b"PROXY nonsense\r\n", first + GET[:-2] + b"Connection: close\r\n\r\n"):
            peer = house.peer()
            await peer.say(data)
            await peer.close()
            await house.empty()
        for _ in range(3):
            await come(house, "192.0.2.1", STAY)
        house.listener.notify(1)
        await come(house, "192.0.2.1", STAY)
        assert counts(house) == {"192.0.2.1": 4}
        await house.listener.drain(1)
        places = house.listener._places
        assert (places._counts, places._keys, places._own) == ({}, {}, {})


async def test_to_leave_is_harmless_when_one_is_not_there():
    places = Places(rr.Limits(), [], list, evict_idle=False, counters=Counters())
    one = object()
    places.leave(one)
    places.enter(one, ("192.0.2.1", 1))
    assert places.move(one, ("192.0.2.1", 2)), "it is its own"
    places.leave(one)
    places.leave(one)
    assert places._counts == {}


async def test_closed_ones_are_not_kept_for_eviction(autojump_clock):
    async with house_of(100, 2) as house:
        peers = [await come(house, "192.0.2.1") for _ in range(2)]
        await come(house, "192.0.2.1")  # looks for somebody, and finds nobody who has been there for long enough
        own = house.listener._places._own["192.0.2.1"]
        assert len(own._waiting) == 2
        await peers[0].close()
        assert len(own._waiting) == 1
        await peers[1].close()
        assert house.listener._places._own == {}


# -- on sockets ----------------------------------------------------------------------------------


def from_address(house: Any, address: str) -> Peer:
    sock = socket.socket()
    sock.bind((address, 0))
    sock.connect(("127.0.0.1", house.listener.port))
    peer = Peer(SocketWire(sock))
    house.nursery.start_soon(house._attend, peer)
    return peer


async def test_the_accept_loop_turns_away_and_makes_room(autojump_clock):
    limits = rr.Limits(max_connections=100, max_connections_per_peer=2)
    async with open_house(handler, tcp=True, limits=limits) as house:
        sitting = from_address(house, "127.0.0.1")
        await sitting.say(GET[:5])
        await from_address(house, "127.0.0.1").say(STAY)
        third = from_address(house, "127.0.0.1")
        assert (await third.end()).startswith(b"HTTP/1.1 503 ")
        assert house.watch.only("conn_rejected").reason == "max_connections_per_peer"
        other = from_address(house, "127.0.0.2")
        await other.say(GET)
        assert await other.until(b"hi") == answer(b"hi")
        await trio.sleep(1)
        newcomer = from_address(house, "127.0.0.1")
        await newcomer.say(GET)
        assert await newcomer.until(b"hi") == answer(b"hi")
        assert await sitting.end() == last_word(b"408 Request Timeout")
        info = house.listener.info()
        assert (info.rejected, info.evicted) == (1, 1)


async def test_a_request_that_is_in_the_socket_is_not_evicted(autojump_clock):
    limits = rr.Limits(max_connections=100, max_connections_per_peer=1, min_bytes_per_second=0)
    async with open_house(handler, tcp=True, limits=limits) as house:
        peer = from_address(house, "127.0.0.1")
        await peer.say(GET[:5])
        await trio.sleep(2)
        peer.slip(GET[5:])
        assert house.listener._places.refusal(("127.0.0.1", 1), 1) == "max_connections_per_peer"
        assert await peer.until(b"hi") == answer(b"hi")
