"""A server process that is stopped for a while, in every phase of its connections; nobody who did its part is cut.

All phases at once, for real time passes: the process is stopped a second into times of four, and for six. What peers
do meanwhile is in the sockets' buffers when it goes on.
"""

from __future__ import annotations

import json
import signal
import ssl
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path

import pytest
import trio
import trustme
from process_tools import Server, script
from socket_tools import PATIENCE, Answer, Peer

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="nothing can be stopped here"),
]

LARGE = 30_000_000
SERVER = f"""
import ssl, sys, trio
from roadrunner_trio import *

tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
tls.load_cert_chain("server.pem")
timeouts = Timeouts(handshake=4, request=4, keep_alive=4, body=4, handler=4, write=4, linger=4, disconnect_grace=2)

async def handler(request):
    match request.path:
        case "/slow":
            await trio.sleep(3)
        case "/deaf":
            return Response.text("deaf")
        case "/large":
            return Response(bytes({LARGE}))
        case "/stream":
            return StreamResponse(lambda send: send(bytes({LARGE})))
        case "/file":
            return FileResponse("large")
        case "/ports":
            return Response.json([each.port for each in listeners])
    return Response.text(str(len(await request.read())))

class Told(Observer):
    def request_exception(self, event):
        print(event.path, event.outcome, repr(event.error), file=sys.stderr, flush=True)

def listener(name, **settings):
    return Listener(handler, name=name, bind="127.0.0.1:0", timeouts=timeouts, observers=[Told()], **settings)

listeners = [
    listener("plain"),
    listener("streaming", body="streaming"),
    listener("tls", tls=tls),
    listener("proxied", proxy_protocol=ProxyProtocol("127.0.0.0/8")),
]

async def main():
    async with trio.open_nursery() as nursery:
        for each in listeners:
            await nursery.start(each.serve)
        print(listeners[0].port, flush=True)

trio.run(main)
"""
GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
POST = b"POST %s HTTP/1.1\r\nHost: h\r\nContent-Length: 50\r\n\r\n"
BODY = b"x" * 50
PROXY = b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 80\r\n"


class Stop:
    """The time at which the process is stopped, and that at which it goes on."""

    def __init__(self) -> None:
        self.ready = 0
        self.stopped = trio.Event()
        self.over = trio.Event()


Play = Callable[[Stop], Awaitable[None]]


def in_parts(port: int, *parts: bytes, expected: bytes = b"") -> Play:
    """A peer that says the first parts while the server runs, and the last one while it is stopped."""

    async def play(stop: Stop) -> None:
        with await Peer.connect(port) as peer:
            for part in parts[:-1]:
                await peer.send(part)
                if part.endswith(GET):
                    await peer.answer()
            stop.ready += 1
            await stop.stopped.wait()
            await peer.send(parts[-1])
            await stop.over.wait()
            answer = await peer.answer()
            assert (answer.status, answer.body) == (200, expected), parts

    return play


def unread(port: int) -> Play:
    """A peer whose handler does not read its body, of which the rest comes while the server is stopped."""

    async def play(stop: Stop) -> None:
        with await Peer.connect(port) as peer:
            await peer.send(POST % b"/deaf" + BODY[:10])
            assert (await peer.answer()).body == b"deaf"
            stop.ready += 1
            await stop.stopped.wait()
            await peer.send(BODY[10:] + GET)
            await stop.over.wait()
            assert (await peer.answer()).body == b"0"

    return play


def waiting(port: int) -> Play:
    """A peer whose handler is done within its limit, by its own time."""

    async def play(stop: Stop) -> None:
        with await Peer.connect(port) as peer:
            await peer.send(GET.replace(b"/ ", b"/slow ", 1))
            stop.ready += 1
            await stop.over.wait()
            assert (await peer.answer()).status == 200

    return play


def half_closed(port: int) -> Play:
    """The same, of a peer that has nothing more to say: it has its grace."""

    async def play(stop: Stop) -> None:
        with await Peer.connect(port) as peer:
            await peer.send(GET.replace(b"/ ", b"/slow ", 1))
            await stop.stopped.wait()
            peer.send_eof()
            await stop.over.wait()
            assert (await peer.answer()).status == 200

    return play


def reading_slowly(port: int, path: bytes) -> Play:
    """A peer that takes some of a large response all the time."""

    async def play(stop: Stop) -> None:
        with await Peer.connect(port) as peer:
            await peer.send(GET.replace(b"/ ", path + b" ", 1))
            stop.ready += 1
            while not stop.over.is_set():
                await peer.receive()
                await trio.sleep(0.05)
            answer = await peer.answer()
            assert (answer.status, len(answer.body)) == (200, LARGE)

    return play


def under_tls(port: int, context: ssl.SSLContext, stall_at: str) -> Play:
    """A peer that says its part of TLS at ``stall_at`` while the server is stopped."""

    async def play(stop: Stop) -> None:
        with await Peer.connect(port) as peer:
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            tls = context.wrap_bio(incoming, outgoing, server_hostname="test.example")

            async def say(place: str) -> None:
                said = outgoing.read()
                if place == stall_at:
                    await peer.send(said[:9])
                    stop.ready += 1
                    await stop.stopped.wait()
                    await peer.send(said[9:])
                    await stop.over.wait()
                else:
                    await peer.send(said)

            async def hear() -> None:
                await peer.until(lambda: bool(peer.received))
                incoming.write(bytes(peer.received))
                peer.received.clear()

            with suppress(ssl.SSLWantReadError):
                tls.do_handshake()
            await say("hello")
            shaken = False
            while not shaken:
                await hear()
                with suppress(ssl.SSLWantReadError):
                    tls.do_handshake()
                    shaken = True
            await say("finished")
            tls.write(GET)
            await say("request")
            heard = b""
            while not heard:
                await hear()
                with suppress(ssl.SSLWantReadError):
                    heard = tls.read(65536)
            assert heard.startswith(b"HTTP/1.1 200 OK\r\n")

    return play


def plays(ports: Sequence[int], trusting: ssl.SSLContext) -> list[Play]:
    """A peer, or several, in every phase."""
    plain, streaming, tls, proxied = ports
    head = POST % b"/"
    return [
        in_parts(plain, GET, expected=b"0"),
        in_parts(plain, GET, GET, expected=b"0"),
        in_parts(plain, GET[:9], GET[9:], expected=b"0"),
        in_parts(plain, GET, GET[:9], GET[9:], expected=b"0"),
        *(in_parts(port, head, BODY, expected=b"50") for port in (plain, streaming)),
        *(in_parts(port, head + BODY[:10], BODY[10:], expected=b"50") for port in (plain, streaming)),
        *(in_parts(port, head + BODY[:10], BODY[10:] + GET, expected=b"50") for port in (plain, streaming)),
        in_parts(proxied, PROXY + GET, expected=b"0"),
        in_parts(proxied, PROXY[:9], PROXY[9:] + GET, expected=b"0"),
        unread(streaming),
        waiting(plain),
        half_closed(plain),
        *(reading_slowly(plain, path) for path in (b"/large", b"/stream", b"/file")),
        *(under_tls(tls, trusting, place) for place in ("hello", "finished", "request")),
    ]


async def stop_and_go_on(server: Server, all_plays: Sequence[Play]) -> None:
    """Plays them all, and stops the server in the middle."""
    stop = Stop()
    async with trio.open_nursery() as nursery:
        for play in all_plays:
            nursery.start_soon(play, stop)
        await trio.sleep(1)
        assert stop.ready >= len(all_plays) - 1, "but for the one that half-closes"
        server.process.send_signal(signal.SIGSTOP)
        try:
            await trio.sleep(0.1)
            stop.stopped.set()
            await trio.sleep(6)
        finally:
            server.process.send_signal(signal.SIGCONT)
        stop.over.set()


async def test_case_01_case_02_nobody_who_did_its_part_while_the_server_was_stopped_is_cut(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.issue_cert("test.example").private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    (tmp_path / "large").write_bytes(bytes(LARGE))
    async with script(SERVER, tmp_path) as server:
        with await Peer.connect(server.port) as peer:
            answer: Answer = await peer.get("/ports")
        with trio.fail_after(PATIENCE + 10):
            await stop_and_go_on(server, plays(json.loads(answer.body), trusting))
        assert server.log() == "", "nobody was told of, either"
