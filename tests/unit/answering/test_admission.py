"""Who is let in: the rate of one peer, the number of all, and what those are told who are not."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from story_tools import GET, answer, hello, open_house, post

import roadrunner_trio as rr

PROXIES = rr.ProxyProtocol("memory")


def line(peer: str) -> bytes:
    family = 6 if ":" in peer else 4
    return f"PROXY TCP{family} {peer} {'::1' if family == 6 else '127.0.0.1'} 1 2\r\n".encode()


def too_many(seconds: int, *fields: bytes) -> bytes:
    """429 as it is on the wire."""
    lines = b"".join(field + b"\r\n" for field in fields)
    return b"HTTP/1.1 429 Too Many Requests\r\ndate: D\r\n%bretry-after: %d\r\ncontent-length: 0\r\n\r\n" % (
        lines,
        seconds,
    )


def busy(*fields: bytes) -> bytes:
    lines = b"".join(field + b"\r\n" for field in fields)
    return b"HTTP/1.1 503 Service Unavailable\r\ndate: D\r\n%bretry-after: 1\r\ncontent-length: 0\r\n\r\n" % lines


async def test_e14_above_its_rate_a_peer_is_told_when_to_come_again(autojump_clock: Any) -> None:
    limit = rr.RateLimit(2, period=10, burst=2)
    async with open_house(proxy_protocol=PROXIES, rate_limit=limit) as house:
        peer = house.peer()
        await peer.say(line("192.0.2.7"))
        for _ in range(3):
            await peer.say(GET)
        assert peer.take() == answer(b"hi") * 2 + too_many(5)
        await trio.sleep(4)
        await peer.say(GET)
        assert peer.take() == too_many(1)
        await trio.sleep(1)
        await peer.say(GET)
        assert peer.take() == answer(b"hi"), "the connection lived on"
        info = house.listener.info()
        assert (info.requests, info.rate_limited, info.throttled) == (5, 2, 0)
        events = [event for name, event in house.watch.events if name == "throttled"]
        assert [(event.reason, event.status, event.request.peer) for event in events] == [
            ("rate_limit", 429, ("192.0.2.7", 1))
        ] * 2
        assert house.watch.names().count("start") == 3, "a request that is not let in has neither start nor stop"


async def test_all_connections_of_a_peer_count_together_and_others_do_not(autojump_clock: Any) -> None:
    async with open_house(proxy_protocol=PROXIES, rate_limit=rr.RateLimit(1, period=60)) as house:
        heard: dict[str, bytes] = {}
        for name in ("192.0.2.7", "192.0.2.8", "2001:db8:0:1::7", "2001:db8:0:2::7"):
            peer = house.peer()
            await peer.say(line(name) + GET)
            heard[name] = peer.take()
        assert set(heard.values()) == {answer(b"hi")}
        for again in ("192.0.2.7", "2001:db8:0:1:ffff::8"):
            peer = house.peer()
            await peer.say(line(again) + GET)
            assert peer.take() == too_many(60), again


async def test_the_peer_behind_a_trusted_proxy_is_the_one_that_counts(autojump_clock: Any) -> None:
    settings = {"proxy_headers": rr.ProxyHeaders("memory"), "rate_limit": rr.RateLimit(1, period=60)}
    async with open_house(**settings) as house:
        peer = house.peer()
        for name in ("192.0.2.7", "192.0.2.8"):
            await peer.say(b"GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: %b\r\n\r\n" % name.encode())
            assert peer.take() == answer(b"hi")
        await peer.say(b"GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 192.0.2.7\r\n\r\n")
        assert peer.take() == too_many(60)


async def test_a_peer_without_an_address_has_no_limit(autojump_clock: Any) -> None:
    async with open_house(rate_limit=rr.RateLimit(1, period=60)) as house:
        peer = house.peer()
        for _ in range(3):
            await peer.say(GET)
        assert peer.take() == answer(b"hi") * 3


@pytest.mark.parametrize(
    "request_", [post(b"Content-Length: 5", body=b"hello"), post(b"Content-Length: 5", b"Expect: 100-continue")]
)
async def test_a_body_that_is_not_wanted_is_not_read(autojump_clock: Any, request_: bytes) -> None:
    async with open_house(proxy_protocol=PROXIES, rate_limit=rr.RateLimit(1, period=60)) as house:
        peer = house.peer()
        await peer.say(line("192.0.2.7") + GET)
        peer.take()
        await peer.say(request_)
        assert peer.take() == too_many(60, b"connection: close")
        await peer.end()


async def test_a_pipelining_peer_gets_its_answers_in_order(autojump_clock: Any) -> None:
    async with open_house(proxy_protocol=PROXIES, rate_limit=rr.RateLimit(2, period=60)) as house:
        peer = house.peer()
        await peer.say(line("192.0.2.7") + GET * 4)
        assert peer.take() == answer(b"hi") * 2 + too_many(30) * 2


async def test_with_as_many_in_the_application_as_may_be_one_more_is_turned_away(autojump_clock: Any) -> None:
    inside, leave = 0, trio.Event()

    async def handler(request: rr.Request) -> rr.Response:
        nonlocal inside
        inside += 1
        await leave.wait()
        return rr.Response("hi")

    async with open_house(handler, limits=rr.Limits(max_concurrent_requests=2)) as house:
        peers = [house.peer() for _ in range(3)]
        for peer in peers:
            await peer.say(GET)
        assert inside == 2
        assert [peer.take() for peer in peers] == [b"", b"", busy()]
        leave.set()
        assert await peers[0].until(b"hi") == answer(b"hi")
        await peers[2].say(GET)
        assert peers[2].take() == answer(b"hi"), "its connection lived on"
        event = house.watch.only("throttled")
        assert (event.reason, event.status) == ("max_concurrent_requests", 503)
        info = house.listener.info()
        assert (info.throttled, info.rate_limited, info.requests) == (1, 0, 4)


@pytest.mark.parametrize("how", ["raise", "peer", "time", "stream"])
async def test_a_place_is_given_back_however_a_request_ends(autojump_clock: Any, how: str) -> None:
    async def handler(request: rr.Request) -> rr.Response | rr.StreamResponse:
        if how == "raise":
            raise RuntimeError("boom")
        if how == "peer":
            await request.disconnected()
        if how == "time":
            await trio.sleep_forever()

        async def produce(send: rr.Send) -> None:
            await send(b"x")

        return rr.StreamResponse(produce)

    limits, timeouts = rr.Limits(max_concurrent_requests=1), rr.Timeouts(handler=3)
    async with open_house(handler, limits=limits, timeouts=timeouts) as house:
        for _ in range(3):
            peer = house.peer()
            await peer.say(GET)
            await peer.close() if how == "peer" else await peer.finish()
            await house.empty()
        assert house.listener.info().throttled == 0


async def test_who_sends_its_body_slowly_takes_nobodys_place(autojump_clock: Any) -> None:
    async with open_house(limits=rr.Limits(max_concurrent_requests=1)) as house:
        slow, quick = house.peer(), house.peer()
        await slow.say(post(b"Content-Length: 5", body=b"hell"))
        await quick.say(GET)
        assert quick.take() == answer(b"hi")
        await slow.say(b"o")
        assert slow.take() == answer(b"hi")


async def test_who_has_sent_its_body_finds_the_place_taken_after_all(autojump_clock: Any) -> None:
    leave = trio.Event()

    async def handler(request: rr.Request) -> rr.Response:
        await leave.wait()
        return rr.Response("hi")

    async with open_house(handler, limits=rr.Limits(max_concurrent_requests=1)) as house:
        slow, quick = house.peer(), house.peer()
        await slow.say(post(b"Content-Length: 5", body=b"hell"))
        await quick.say(GET)
        await slow.say(b"o")
        assert slow.take() == busy(), "the body is read, so the connection lives on"
        leave.set()
        await quick.until(b"hi")
        await slow.say(GET)
        assert slow.take() == answer(b"hi")


async def test_a_full_house_costs_a_peer_nothing_of_its_rate(autojump_clock: Any) -> None:
    leave = trio.Event()

    async def handler(request: rr.Request) -> rr.Response:
        await leave.wait()
        return rr.Response("hi")

    settings = {"limits": rr.Limits(max_concurrent_requests=1), "rate_limit": rr.RateLimit(2, period=60)}
    async with open_house(handler, proxy_protocol=PROXIES, **settings) as house:
        one, other = house.peer(), house.peer()
        await one.say(line("192.0.2.7") + GET)
        await other.say(line("192.0.2.7") + GET)
        assert other.take() == busy()
        leave.set()
        await one.until(b"hi")
        await other.say(GET)
        assert other.take() == answer(b"hi")
        await other.say(GET)
        assert other.take() == too_many(30)


async def test_a_drain_sees_those_turned_away_as_any_other(autojump_clock: Any) -> None:
    async with open_house(hello, proxy_protocol=PROXIES, rate_limit=rr.RateLimit(1, period=60)) as house:
        peer = house.peer()
        await peer.say(line("192.0.2.7") + GET + b"GET / HTTP/1.1\r\nHost: h\r\n")
        peer.take()
        house.nursery.start_soon(house.listener.drain, 5)
        await peer.say(b"\r\n")
        assert peer.take() == too_many(60, b"connection: close")
        await peer.end()
