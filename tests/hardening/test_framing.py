"""Every framing attack that has a name is refused, on every stream, however cut, and nothing behind it gets in."""

from __future__ import annotations

import logging

import pytest
import trio
from framing_attacks import FRAMING, SMUGGLED, Attack
from siege_tools import besiege, cut_three_ways
from story_tools import GET, answer, open_house

import roadrunner_trio as rr


@pytest.mark.parametrize("attack", FRAMING, ids=str)
async def test_an_attack_with_a_name_is_refused(attack: Attack, tolls, autojump_clock):
    ways = cut_three_ways(attack.data, str(attack))
    for kind in ("memory", "wire", "tcp"):
        fates, toll = await besiege(ways, kinds=[kind])
        for fate in fates:
            assert fate.served == attack.got_in
            refusals = fate.statuses[attack.got_in :]
            assert len(refusals) == bool(attack.statuses)
            assert set(refusals) <= attack.statuses
            assert b"smuggled" not in fate.heard
            assert fate.seconds < 3, "a refusal does not wait for a deadline"
        tolls.take("framing, by advisory", toll)


@pytest.mark.parametrize("attack", [attack for attack in FRAMING if attack.statuses], ids=str)
async def test_what_follows_an_attack_in_the_same_segment_is_not_read(attack: Attack, tolls, autojump_clock):
    fates, toll = await besiege([[GET + attack.data + SMUGGLED]])
    [fate] = fates
    assert fate.served == 1
    assert len(fate.statuses) == 2, (
        "the honest request before it is answered, and the attack is refused, and that is all"
    )
    assert fate.statuses[1] in attack.statuses
    assert b"smuggled" not in fate.heard
    tolls.take("framing, pipelined", toll)


async def test_cve_2023_46137_pipelined_requests_are_answered_in_their_order(autojump_clock):
    async with open_house(_slow_first) as house:
        peer = house.peer()
        asked = [b"/slow", b"/1", b"/2", b"/slow", b"/3"]
        await peer.say(b"".join(b"GET %b HTTP/1.1\r\nHost: h\r\n\r\n" % target for target in asked))
        assert await peer.until(b"/3") == b"".join(answer(target) for target in asked)


async def _slow_first(request: rr.Request) -> rr.Response:
    if request.path == "/slow":
        await trio.sleep(1)
    return rr.Response(request.path)


async def test_cve_2026_39807_the_scheme_is_the_transports(autojump_clock):
    async def scheme(request: rr.Request) -> rr.Response:
        return rr.Response(request.scheme)

    async with open_house(scheme) as house:
        peer = house.peer()
        await peer.say(b"GET https://h/ HTTP/1.1\r\nHost: h\r\n\r\n")
        assert peer.take() == answer(b"http")


async def test_cve_2025_53643_trailers_are_read_and_are_no_request(autojump_clock):
    async def trailers(request: rr.Request) -> rr.Response:
        await request.read()
        return rr.Response(repr(request.trailers))

    async with open_house(trailers) as house:
        peer = house.peer()
        await peer.say(
            b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: GET /smuggled\r\n\r\n" + GET
        )
        assert peer.take() == answer(b"((b'x', b'GET /smuggled'),)") + answer(b"()")


SPLITS = ["a\r\nSet-Cookie: b", "a\nb", "a\rb", "a\x00b"]


@pytest.mark.parametrize("value", SPLITS)
@pytest.mark.parametrize(
    "where", ["CVE-2018-1000164 and CVE-2020-7695: value", "name", "CVE-2026-34519: reason", "location"]
)
async def test_what_would_split_a_response_raises_in_the_handler(where, value, autojump_clock, caplog):
    async def split(request: rr.Request) -> rr.Response:
        match where.rpartition(" ")[2]:
            case "value":
                return rr.Response(fields={"x": value})
            case "name":
                return rr.Response(fields={value: "x"})
            case "reason":
                return rr.Response(reason=value)
            case _:
                return rr.Response.redirect(value)

    async with open_house(split) as house:
        peer = house.peer()
        await peer.say(GET)
        heard = peer.take()
        assert heard.startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
        assert b"Set-Cookie" not in heard
        assert heard.count(b"\r\n\r\n") == 1


@pytest.mark.parametrize("style", ["text", "json", "logfmt", '{path} "{header:user-agent}"'])
async def test_cve_2020_7694_no_control_octet_of_a_request_reaches_a_log(style, autojump_clock, caplog):
    """Percent-encoded escapes stay encoded in a target; what may stand in a field value is escaped."""
    caplog.set_level(logging.INFO)
    async with open_house(observers=[rr.AccessLog(style)]) as house:
        peer = house.peer()
        await peer.say(b"GET /%1b%5d2;x%07%0a HTTP/1.1\r\nHost: h\r\nUser-Agent: a\xff\x85b\tc\r\n\r\n")
    [line] = [record.getMessage() for record in caplog.records if record.name.endswith("access")]
    assert "1b" in line
    assert not [char for char in line if not char.isprintable()]
