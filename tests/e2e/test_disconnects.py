"""Peers that leave real sockets, plain, under TLS and on Unix sockets: when their handlers learn of it."""

from __future__ import annotations

import logging
import math
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trustme
from presence_tools import needs_poller
from socket_tools import PATIENCE, eventually, no_connections, serving

from roadrunner_trio import AccessLog, Listener, ProxyProtocol, Request, Response, StreamResponse, Timeouts

pytestmark = needs_poller

GET = b"GET /it HTTP/1.1\r\nHost: test\r\n\r\n"
GRACE = 0.3
SLACK = 0.2
"""How much less than its grace a busy machine may seem to give: what is measured begins before the end arrives."""

Stream = trio.abc.Stream
Connect = Callable[[Listener], Awaitable[Stream]]


@pytest.fixture(scope="module")
def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's, and that of a client who trusts it."""
    authority = trustme.CA()
    server, client = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(server)
    authority.configure_trust(client)
    return server, client


class Place:
    """A listener's settings, and the way to it."""

    def __init__(self, kind: str, contexts: tuple[ssl.SSLContext, ssl.SSLContext], folder: Any) -> None:
        self.kind = kind
        self.server, self.client = contexts
        self.path = str(folder / "socket")

    def settings(self) -> dict[str, Any]:
        match self.kind:
            case "tls":
                return {"tls": self.server}
            case "proxied":
                return {"tls": self.server, "proxy_protocol": ProxyProtocol("127.0.0.1")}
            case "unix":
                return {"bind": f"unix:{self.path}"}
            case _:
                return {}

    async def connect(self, listener: Listener) -> Stream:
        if self.kind == "unix":
            return await trio.open_unix_socket(self.path)
        stream = await trio.open_tcp_stream("127.0.0.1", listener.port)
        if self.kind == "tcp":
            return stream
        if self.kind == "proxied":
            await stream.send_all(b"PROXY TCP4 192.0.2.1 192.0.2.2 1000 443\r\n")
        encrypted = trio.SSLStream(stream, self.client, server_hostname="127.0.0.1")
        await encrypted.do_handshake()
        return encrypted


@pytest.fixture(params=["tcp", "tls", "proxied", "unix"])
def place(request, contexts, tmp_path) -> Place:
    return Place(request.param, contexts, tmp_path)


def transport(stream: Any) -> trio.SocketStream:
    return stream.transport_stream if isinstance(stream, trio.SSLStream) else stream


async def close(stream: Stream) -> None:
    """As a process that ends does: no word of TLS, an end of TCP."""
    transport(stream).socket.close()


async def finish(stream: Stream) -> None:
    await transport(stream).send_eof()


async def reset(stream: Stream) -> None:
    sock = transport(stream).socket
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


class Sleeper:
    """A handler that sleeps, and notes for how long."""

    def __init__(self) -> None:
        self.slept: list[float] = []
        self.began = trio.Event()

    async def __call__(self, request: Request) -> Response:
        began = trio.current_time()
        self.began.set()
        try:
            await trio.sleep(PATIENCE)
        finally:
            self.slept.append(trio.current_time() - began)
        return Response("too late")


@pytest.mark.parametrize("leave", [close, finish, reset])
async def test_who_leaves_takes_the_handler_along(place, leave, caplog):
    caplog.set_level(logging.INFO, "roadrunner_trio.access")
    sleeper = Sleeper()
    timeouts = Timeouts(disconnect_grace=GRACE)
    async with serving(sleeper, timeouts=timeouts, observers=[AccessLog()], **place.settings()) as listener:
        stream = await place.connect(listener)
        await stream.send_all(GET)
        await sleeper.began.wait()
        began = trio.current_time()
        await leave(stream)
        await no_connections(listener)
        took = trio.current_time() - began
        at_once = leave is reset and place.kind != "unix"  # a Unix socket's close is no reset
        assert took < PATIENCE / 2
        assert at_once or took > GRACE - SLACK
        assert len(sleeper.slept) == 1
        assert (listener.info().gone, listener.info().timed_out, listener.info().cancelled) == (1, 0, 0)
        if leave is finish:
            assert await transport(stream).receive_some() == b"", "nothing is said"
        transport(stream).socket.close()
    [line] = [record.getMessage() for record in caplog.records if record.name == "roadrunner_trio.access"]
    assert ' "GET /it HTTP/1.1" 499 0 0 ' in line
    assert line.endswith("gone in handler")
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_a_reset_does_not_wait_for_the_longest_grace(contexts, tmp_path):
    for kind in ("tcp", "tls"):
        place, sleeper = Place(kind, contexts, tmp_path), Sleeper()
        async with serving(sleeper, timeouts=Timeouts(disconnect_grace=1e6), **place.settings()) as listener:
            stream = await place.connect(listener)
            await stream.send_all(GET)
            await sleeper.began.wait()
            await reset(stream)
            await no_connections(listener)
            assert listener.info().gone == 1


async def test_requests_sent_ahead_of_a_half_close_are_all_answered(place):
    async def slow(request: Request) -> Response:
        await trio.sleep(GRACE / 4)
        return Response("x" * 1000)

    async with serving(slow, timeouts=Timeouts(disconnect_grace=GRACE), **place.settings()) as listener:
        stream = await place.connect(listener)
        await stream.send_all(GET * 5)
        await finish(stream)
        received = b""
        with trio.fail_after(PATIENCE):
            while received.count(b"x" * 1000) < 5:
                received += await stream.receive_some()
        assert received.count(b" 200 OK\r\n") == 5
        assert listener.info().gone == 0
        transport(stream).socket.close()


async def test_an_end_behind_a_body_that_nobody_reads(place):
    left = trio.Event()

    async def handler(request: Request) -> Response:
        await request.disconnected()
        left.set()
        await trio.sleep_forever()
        raise AssertionError

    timeouts = Timeouts(disconnect_grace=GRACE)
    async with serving(handler, body="streaming", timeouts=timeouts, **place.settings()) as listener:
        stream = await place.connect(listener)
        await stream.send_all(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5000000\r\n\r\n" + bytes(100_000))
        await trio.sleep(0.05)
        assert not left.is_set()
        await finish(stream)
        with trio.fail_after(PATIENCE):
            await left.wait()
        await no_connections(listener)
        assert listener.info().gone == 1
        transport(stream).socket.close()


@pytest.mark.parametrize("leave", [close, reset])
async def test_who_leaves_a_stream_that_is_written(place, leave):
    async def produce(send: Any) -> None:
        while True:
            await send(b"x" * 1000)
            await trio.sleep(0.01)

    async def handler(request: Request) -> StreamResponse:
        return StreamResponse(produce)

    async with serving(handler, timeouts=Timeouts(disconnect_grace=GRACE), **place.settings()) as listener:
        stream = await place.connect(listener)
        await stream.send_all(GET)
        await stream.receive_some()
        await leave(stream)
        await no_connections(listener)
        assert listener.info().gone == 1


async def test_a_download_to_who_half_closed_may_take_longer_than_the_grace(place):
    pieces = 40

    async def produce(send: Any) -> None:
        for _ in range(pieces):
            await send(b"x" * 1000)
            await trio.sleep(0.02)

    async def handler(request: Request) -> StreamResponse:
        return StreamResponse(produce, fields={"content-length": str(pieces * 1000)})

    async with serving(handler, timeouts=Timeouts(disconnect_grace=0.2), **place.settings()) as listener:
        stream = await place.connect(listener)
        await stream.send_all(GET)
        await finish(stream)
        received = b""
        with trio.fail_after(PATIENCE):
            while received.count(b"x") < pieces * 1000:
                received += await stream.receive_some()
        assert listener.info().gone == 0
        transport(stream).socket.close()


async def test_nobody_is_cancelled_without_a_grace(place):
    go = trio.Event()
    finished = trio.Event()

    async def handler(request: Request) -> Response:
        await go.wait()
        finished.set()
        return Response("done")

    async with serving(handler, timeouts=Timeouts(disconnect_grace=math.inf), **place.settings()) as listener:
        for leave in (close, reset):
            stream = await place.connect(listener)
            await stream.send_all(GET)
            await eventually(lambda: [each.phase for each in listener.connections()] == ["in the handler"])
            await leave(stream)
            await trio.sleep(0.1)
            assert [each.phase for each in listener.connections()] == ["in the handler"]
            go.set()
            with trio.fail_after(PATIENCE):
                await finished.wait()
            await no_connections(listener)
            go, finished = trio.Event(), trio.Event()
