"""TLS by way of Trio's own streams and listeners: the server makes no difference, but for the end of a connection."""

from __future__ import annotations

import ssl
import time

import pytest
import trio
import trio.testing
import trustme
from socket_tools import PATIENCE, Peer, eventually, serving

from roadrunner_trio import FileResponse, Limits, Request, Response, StreamResponse, Timeouts, serve_connection
from roadrunner_trio.testing import Client


@pytest.fixture(scope="module")
def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's, and that of a client who trusts it."""
    authority = trustme.CA()
    server, client = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(server)
    authority.configure_trust(client)
    return server, client


async def scheme(request: Request) -> Response:
    return Response.text(f"{request.scheme} {request.path}")


async def tls_listeners(context: ssl.SSLContext, **settings: bool) -> list[trio.SSLListener[trio.SocketStream]]:
    return [trio.SSLListener(each, context, **settings) for each in await trio.open_tcp_listeners(0, host="127.0.0.1")]


def port_of(listeners: list[trio.SSLListener[trio.SocketStream]]) -> int:
    return listeners[0].transport_listener.socket.getsockname()[1]


async def connect(port: int, context: ssl.SSLContext) -> trio.SSLStream[trio.SocketStream]:
    stream = await trio.open_ssl_over_tcp_stream("127.0.0.1", port, ssl_context=context)
    await stream.do_handshake()
    return stream


async def test_an_ssl_listener(contexts, tmp_path):
    big = bytes(range(256)) * 4000
    (tmp_path / "file").write_bytes(big)

    async def handler(request: Request) -> Response | FileResponse:
        return FileResponse(tmp_path / "file") if request.path == "/file" else await scheme(request)

    listeners = await tls_listeners(contexts[0])
    async with serving(handler, bind=listeners) as listener:
        stream = await connect(port_of(listeners), contexts[1])
        client = Client(stream)
        assert (await client.get("/a")).text == "https /a"
        assert (await client.get("/file")).body == big
        ours = stream.transport_stream.socket.getsockname()
        assert [(each.peer, each.phase) for each in listener.connections()] == [(ours, "idle")]
        await stream.aclose()


@pytest.mark.parametrize("compatible", [False, True])
async def test_a_drain_does_not_wait_long_for_a_peer_that_never_says_close_notify(contexts, compatible):
    listeners = await tls_listeners(contexts[0], https_compatible=compatible)
    async with serving(scheme, bind=listeners, timeouts=Timeouts(linger=0.5)) as listener:
        stream = await connect(port_of(listeners), contexts[1])
        assert (await Client(stream).get("/")).status == 200
        began = time.monotonic()
        drained = await listener.drain(PATIENCE)
        assert time.monotonic() - began < 0.5 + 1.0
        assert (drained.finished, drained.cut, drained.stuck) == (1, 0, 0)
        assert await stream.receive_some() == b""  # close_notify had come: a truncation would raise
        await trio.aclose_forcefully(stream)


async def test_a_drain_lets_a_busy_tls_connection_finish(contexts):
    started = trio.Event()

    async def handler(request: Request) -> Response:
        started.set()
        await request.drain.started.wait()
        return await scheme(request)

    listeners = await tls_listeners(contexts[0])
    async with serving(handler, bind=listeners) as listener, trio.open_nursery() as nursery:
        client = Client(await connect(port_of(listeners), contexts[1]))

        async def ask() -> None:
            response = await client.get("/last")
            assert (response.text, response.header("connection")) == ("https /last", "close")
            assert await client.stream.receive_some() == b""
            await client.stream.aclose()

        nursery.start_soon(ask)
        await started.wait()
        drained = await listener.drain(PATIENCE)
        assert (drained.finished, drained.cut, drained.stuck) == (1, 0, 0)


async def test_a_close_is_said_at_once_and_a_truncation_is_not_a_close(contexts):
    async def handler(request: Request) -> Response | StreamResponse:
        async def produce(send):
            await send(b"begun")
            raise RuntimeError("half-way")

        return StreamResponse(produce) if request.version == (1, 0) else await scheme(request)

    listeners = await tls_listeners(contexts[0])
    async with serving(handler, bind=listeners):
        began = time.monotonic()
        stream = await connect(port_of(listeners), contexts[1])
        assert (await Client(stream).get("/", fields={"connection": "close"})).status == 200
        assert await stream.receive_some() == b""
        assert time.monotonic() - began < 1.0
        await stream.aclose()

        stream = await connect(port_of(listeners), contexts[1])
        await stream.send_all(b"GET / HTTP/1.0\r\n\r\n")
        with pytest.raises(trio.BrokenResourceError):  # an end without close_notify (RFC 9112 section 9.8)
            await read_to_end(stream)
        await trio.aclose_forcefully(stream)


async def test_an_early_answer_survives_what_the_peer_still_sends(contexts):
    listeners = await tls_listeners(contexts[0])
    async with serving(scheme, bind=listeners, limits=Limits(max_body=1000)):
        stream = await connect(port_of(listeners), contexts[1])
        await stream.send_all(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 4000000\r\n\r\n")
        for _ in range(40):
            await stream.send_all(bytes(100_000))
        assert (await read_to_end(stream)).startswith(b"HTTP/1.1 413 ")
        await stream.aclose()


async def read_to_end(stream: trio.abc.Stream) -> bytes:
    data = b""
    with trio.fail_after(PATIENCE):
        while piece := await stream.receive_some():
            data += piece
    return data


async def test_a_slow_handshake_holds_nobody_up_and_is_bounded(contexts):
    listeners = await tls_listeners(contexts[0])
    async with serving(scheme, bind=listeners, timeouts=Timeouts(handshake=0.5)) as listener:
        with await Peer.connect(port_of(listeners)) as slow, await Peer.connect(port_of(listeners)) as plain:
            began = time.monotonic()
            client = Client(await connect(port_of(listeners), contexts[1]))
            assert (await client.get("/")).status == 200
            await eventually(lambda: {each.phase for each in listener.connections()} == {"handshake", "idle"})
            await plain.send(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
            assert await plain.end()  # an alert perhaps, never a response
            assert not plain.received.startswith(b"HTTP")
            assert await slow.end()
            assert not slow.received
            assert 0.4 < time.monotonic() - began < 0.5 + PATIENCE
            assert (await client.get("/")).status == 200
            await client.stream.aclose()


async def test_serve_connection_on_a_tls_stream(contexts):
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_connection, trio.SSLStream(theirs, contexts[0], server_side=True), scheme)
        client = Client(trio.SSLStream(ours, contexts[1], server_hostname="127.0.0.1"))
        assert (await client.get("/")).text == "https /"
        await client.stream.aclose()
