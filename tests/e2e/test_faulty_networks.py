"""Networks that delay, drop, reset and break: the server lives, and holds nothing."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import AsyncIterator

import pytest
import trio
from network_tools import THEIRS, linked, proxied
from process_tools import Server, running
from script_tools import errors_logged
from socket_tools import Cut, Peer, no_connections, serving
from websocket_tools import TEXT, frame, handshake

import roadrunner_trio as rr
from roadrunner_trio.apps.router import Route, Router

pytestmark = pytest.mark.slow

BODY = bytes(range(256)) * 1200


async def hello(request: rr.Request) -> rr.Response:
    return rr.Response("hello")


async def echo(request: rr.Request) -> rr.Response:
    return rr.Response(await request.read())


async def wait(request: rr.Request) -> rr.Response:
    await trio.sleep_forever()
    raise AssertionError


async def large(request: rr.Request) -> rr.Response:
    return rr.Response(BODY)


async def ticks(request: rr.Request) -> rr.EventStream:
    async def tick() -> AsyncIterator[str]:
        while True:
            yield "tick"
            await trio.sleep(0.01)

    return rr.EventStream(request, tick())


async def chat(request: rr.WebSocketRequest) -> None:
    async with await request.accept() as session:
        async for message in session:
            await session.send_message(message)


APP = Router(
    [
        Route("/", hello),
        Route("/echo", echo),
        Route("/wait", wait),
        Route("/large", large),
        Route("/ticks", ticks),
        Route("/chat", rr.websocket(chat)),
    ]
)

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
POST = b"POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n"

PHASES = {
    "before a word": (b"", 0, 0),
    "inside a head": (GET[:20], 20, 0),
    "between requests": (GET, len(GET), 1),
    "inside a body": (POST + bytes(5000), len(POST) + 5000, 0),
    "in the handler": (b"GET /wait HTTP/1.1\r\nHost: h\r\n\r\n", 30, 0),
    "inside a response": (b"GET /large HTTP/1.1\r\nHost: h\r\n\r\n", 0, 70_000),
    "inside a stream of events": (b"GET /ticks HTTP/1.1\r\nHost: h\r\n\r\n", 0, 500),
    "inside a WebSocket": (handshake(target=b"/chat") + frame(TEXT, "hello"), 0, 130),
    "inside a frame": (handshake(target=b"/chat") + frame(TEXT, "hello")[:4], 100, 129),
}
"""What the peer sends, and the octets up and down after which the connection is reset."""


@pytest.mark.parametrize("phase", PHASES)
async def test_a_reset_at_every_phase_leaves_nothing(phase):
    said, up, down = PHASES[phase]
    with errors_logged() as logged:
        async with serving(APP) as listener, proxied(listener.port) as proxy:
            proxy.piece = 4096
            proxy.cut_when = lambda: proxy.up >= up and proxy.down >= down
            for _ in range(5):
                proxy.up = proxy.down = 0
                with await Peer.connect(proxy.port) as peer, pytest.raises(OSError):  # noqa: PT012
                    await peer.send(said)
                    await peer.end(10)
                    await peer.send(b"x")
                    await peer.send(b"x")
            await no_connections(listener)
            with await Peer.connect(listener.port) as peer:
                assert (await peer.get()).status == 200
    assert logged == []


async def test_a_slow_line_that_brings_everything_in_small_pieces():
    async with serving(APP) as listener, proxied(listener.port) as proxy:
        proxy.delay, proxy.piece = 0.001, 1000
        with await Peer.connect(proxy.port) as peer:
            await peer.send(b"POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 50000\r\n\r\n" + BODY[:50000])
            assert (await peer.answer()).body == BODY[:50000]
            assert (await peer.get("/large")).body == BODY


# -- a link that is narrow, lossy, cut -----------------------------------------------------------

LINKED = f"""
import json, trio, roadrunner_trio as rr

async def handler(request):
    if request.path == "/large":
        return rr.Response(bytes(range(256)) * 1200)
    if request.path == "/soon":
        await trio.sleep(0.5)
    if request.path == "/info":
        return rr.Response.json({{"active": listener.info().active}})
    return rr.Response("hello")

times = rr.Timeouts(request=1.5, keep_alive=1.5, write=1.5, linger=1)
listener = rr.Listener(handler, bind="{THEIRS}:0", timeouts=times)

async def main():
    async with trio.open_nursery() as nursery:
        await nursery.start(listener.serve)
        print(listener.port, flush=True)

trio.run(main)
"""


async def active(server: Server) -> int:
    with await Peer.connect(server.port, THEIRS) as peer:
        return int(json.loads((await peer.get("/info")).body)["active"]) - 1


async def emptied(server: Server) -> None:
    """Waits until the server has no connections but ours."""
    with trio.fail_after(20):
        while await active(server):  # noqa: ASYNC110 - it can only be asked
            await trio.sleep(0.1)


@pytest.fixture
async def link():
    with linked() as link:
        yield link


@pytest.fixture
async def far(link, tmp_path):
    """A server at the other end of the link."""
    path = tmp_path / "server.py"
    path.write_text(LINKED)
    async with running(link.inside(sys.executable, str(path)), tmp_path) as server:
        yield server
        assert "Traceback" not in server.log()


async def test_a_narrow_link_takes_its_time(far, link):
    link.narrow("2mbit")
    with await Peer.connect(far.port, THEIRS) as peer:
        began = time.monotonic()
        assert (await peer.get("/large")).body == BODY
        assert time.monotonic() - began > 0.8, "307 kB at 250 kB/s"
        assert (await peer.get()).status == 200


async def test_a_lossy_link_loses_nothing(far, link):
    link.filter("numgen random mod 100 < 10 drop")
    for _ in range(3):
        with await Peer.connect(far.port, THEIRS) as peer:
            assert (await peer.get("/large")).body == BODY


async def test_a_cable_that_is_out_for_a_moment_is_no_end(far, link):
    with await Peer.connect(far.port, THEIRS) as peer:
        await peer.send(b"GET /soon HTTP/1.1\r\nHost: h\r\n\r\n")
        link.plug("down")
        await trio.sleep(1)
        link.plug("up")
        assert (await peer.answer()).body == b"hello"


async def test_peers_behind_a_black_hole_fall_to_their_deadlines(far, link):
    """Half-open: for the server they are there, and nothing comes of them, not even an acknowledgement."""
    peers = [await Peer.connect(far.port, THEIRS) for _ in range(20)]
    for peer in peers[:10]:
        assert (await peer.get()).status == 200
    for peer in peers[10:15]:
        await peer.send(GET[:10])
    link.filter("drop")
    await trio.sleep(3)
    link.clear()
    assert await active(far) == 0
    for peer in peers:
        peer.socket.close()


async def test_a_response_into_a_black_hole_is_given_up(far, link):
    peers = [await Peer.connect(far.port, THEIRS) for _ in range(5)]
    for peer in peers:
        await peer.send(b"GET /large HTTP/1.1\r\nHost: h\r\n\r\n" * 20)
    await trio.sleep(0.2)
    link.filter("drop")
    await trio.sleep(3)
    link.clear()
    assert await active(far) == 0
    for peer in peers:
        peer.socket.close()


async def test_a_firewall_that_resets(far, link):
    peers = [await Peer.connect(far.port, THEIRS) for _ in range(10)]
    for peer in peers:
        await peer.send(GET)
        await peer.answer()
    link.filter("reject with tcp reset")
    for peer in peers:
        await peer.send(GET)
        with pytest.raises((OSError, Cut)):
            await peer.answer()
        peer.socket.close()
    link.clear()
    await emptied(far)
