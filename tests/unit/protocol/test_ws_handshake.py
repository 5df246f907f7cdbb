"""Opening handshakes as a server judges them."""

from __future__ import annotations

import pytest
from story_tools import open_house
from websocket_tools import ACCEPT, KEY, echo, handshake, switched

from roadrunner_trio import websocket
from roadrunner_trio.protocol.ws.origin import allows, check_origins

WANTED = (b"upgrade: websocket\r\n", b"connection: upgrade\r\n", b"sec-websocket-version: 13\r\n")


async def answer(data: bytes, **settings) -> bytes:
    async with open_house(websocket(echo, **settings)) as house:
        peer = house.peer()
        await peer.say(data)
        return peer.take()


async def test_the_handshake_of_the_rfc(autojump_clock):
    assert await answer(handshake()) == switched()
    assert ACCEPT in switched()


@pytest.mark.parametrize(
    "change",
    [
        (b"GET", b"get"),
        (b"GET", b"POST"),
        (b"GET", b"HEAD"),
    ],
)
async def test_other_methods(change, autojump_clock):
    response = await answer(handshake().replace(*change))
    assert response.startswith(b"HTTP/1.1 405 ")
    assert b"\r\nallow: GET\r\n" in response


@pytest.mark.parametrize(
    "change",
    [
        (b"Upgrade: websocket\r\n", b""),
        (b"Upgrade: websocket", b"Upgrade: websockets, h2c"),
        (b"Connection: Upgrade", b"Connection: keep-alive"),
        (b"HTTP/1.1", b"HTTP/1.0"),
        (b"Version: 13", b"Version: 8"),
        (b"Version: 13", b"Version: 13, 8"),
        (b"Version: 13", b"Version: 013"),
        (b"Version: 13", b"Version: 13\r\nSec-WebSocket-Version: 13"),
    ],
)
async def test_what_needs_an_upgrade(change, autojump_clock):
    response = await answer(handshake().replace(*change))
    assert response.startswith(b"HTTP/1.1 426 Upgrade Required\r\n")
    for line in WANTED:
        assert line.split(b"\r\n")[0].replace(b"upgrade\r\n", b"") in response.lower()


@pytest.mark.parametrize(
    "change",
    [
        (KEY, KEY[:-1]),
        (KEY, b""),
        (KEY, KEY + b"\r\nSec-WebSocket-Key: " + KEY),
        (b"Sec-WebSocket-Key: " + KEY + b"\r\n", b""),
        (KEY, KEY + b"\r\nSec-WebSocket-Protocol: a b"),
        (KEY, KEY + b"\r\nSec-WebSocket-Extensions: a b"),
        (KEY, KEY + b"\r\nSec-WebSocket-Extensions: \xe4"),
        (KEY, KEY + b"\r\nSec-WebSocket-Protocol: \x80\xff"),
        (KEY, KEY + b"\r\nSec-WebSocket-Whatever: \xff"),
        (b"\r\n\r\n", b"\r\nContent-Length: 1\r\n\r\nx"),
    ],
)
async def test_what_is_wrong(change, autojump_clock):
    response = await answer(handshake().replace(*change))
    assert response.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"connection: close" not in response, "the connection goes on"


async def test_tokens_over_several_lines(autojump_clock):
    data = handshake().replace(b"Connection: Upgrade", b"Connection: keep-alive\r\nConnection: x, UPGRADE")
    assert await answer(data.replace(b"Upgrade: websocket", b"Upgrade: h2c\r\nUpgrade: WebSocket")) == switched()


async def test_no_content_is_no_error(autojump_clock):
    assert await answer(handshake(b"Content-Length: 0")) == switched()


@pytest.mark.parametrize(
    ("origins", "origin", "status"),
    [
        (None, b"https://evil.example", b"101"),
        (["https://a.example"], b"https://a.example", b"101"),
        (["HTTPS://A.example"], b"https://A.Example", b"101"),
        (["https://a.example"], b"http://a.example", b"403"),
        (["https://a.example"], b"https://a.example.evil.example", b"403"),
        (["https://a.example"], b"null", b"403"),
        (["null"], b"null", b"101"),
        (["https://a.example"], None, b"101"),
        (["self"], b"https://h", b"101"),
        (["self"], b"https://h:8443", b"403"),
        ([], b"https://h", b"403"),
    ],
)
async def test_origins(origins, origin, status, autojump_clock):
    fields = [] if origin is None else [b"Origin: " + origin]
    assert (await answer(handshake(*fields), origins=origins)).startswith(b"HTTP/1.1 " + status)


@pytest.mark.parametrize("origins", ["https://a.example", ["a.example"], ["https://a.example/"], ["https://"], [""]])
def test_origins_that_are_none(origins):
    with pytest.raises(ValueError, match="origin"):
        check_origins(origins)


def test_no_host_is_not_ourselves():
    assert not allows(frozenset({"self"}), ["null"], "")
