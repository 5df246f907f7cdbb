"""TLS by the listener itself, over TCP: in the versions there are, with a poller and without."""

from __future__ import annotations

import ssl
from typing import Any

import pytest
import trio
import trustme
from socket_tools import PATIENCE, eventually, no_connections, serving

import roadrunner_trio as rr
from roadrunner_trio.testing import Client
from roadrunner_trio.transport import poller

BIG = bytes(range(256)) * 20_000  # 5 MB: slices, records, and more than the sockets between take


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def server(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    file = tmp_path_factory.mktemp("tls") / "server.pem"
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(file))
    return rr.server_context(file)


@pytest.fixture(params=["TLSv1_2", "TLSv1_3"])
def trusting(request: pytest.FixtureRequest, authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    context.minimum_version = context.maximum_version = ssl.TLSVersion[request.param]
    return context


@pytest.fixture(params=["polled", "not polled"], autouse=True)
def waits(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "not polled":
        monkeypatch.setattr(poller, "AVAILABLE", False)
    elif not poller.AVAILABLE:
        pytest.skip("this system has no epoll")


async def read_to_end(stream: trio.abc.Stream) -> bytes:
    data = b""
    with trio.fail_after(PATIENCE):
        while piece := await stream.receive_some():
            data += piece
    return data


async def connect(listener: rr.Listener, context: ssl.SSLContext) -> trio.SSLStream[trio.SocketStream]:
    stream = await trio.open_ssl_over_tcp_stream("127.0.0.1", listener.port, ssl_context=context)
    await stream.do_handshake()
    return stream


async def test_what_is_large_goes_both_ways(server: Any, trusting: Any, tmp_path: Any) -> None:
    (tmp_path / "file").write_bytes(BIG)

    async def handler(request: rr.Request) -> rr.AnyResponse:
        async def pieces(send: rr.Send) -> None:
            for at in range(0, len(BIG), 50_000):
                await send(BIG[at : at + 50_000])

        match request.path:
            case "/whole":
                return rr.Response(BIG)
            case "/file":
                return rr.FileResponse(tmp_path / "file")
            case "/pieces":
                return rr.StreamResponse(pieces)
            case _:
                return rr.Response(await request.read())

    async with serving(handler, tls=server) as listener:
        stream = await connect(listener, trusting)
        client = Client(stream)
        for path in ("/whole", "/file", "/pieces"):
            assert (await client.get(path)).body == BIG
        assert (await client.post("/", BIG)).body == BIG
        assert listener.info().requests == 4
        await stream.aclose()
        await no_connections(listener)


async def test_many_small_pieces_and_requests_sent_ahead(server: Any, trusting: Any) -> None:
    async def handler(request: rr.Request) -> rr.StreamResponse:
        async def pieces(send: rr.Send) -> None:
            for number in range(40):
                await send(b"%d " % number)

        return rr.StreamResponse(pieces)

    whole = b"".join(b"%d " % number for number in range(40))
    async with serving(handler, tls=server) as listener:
        stream = await connect(listener, trusting)
        client = Client(stream)
        for _ in range(3):
            assert (await client.get("/")).body == whole
        ask = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"
        await stream.send_all(ask * 4 + ask.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        received = await read_to_end(stream)  # an end that was said: a cut would raise
        assert received.count(b"HTTP/1.1 200 OK") == 5
        assert received.count(b"39 \r\n") == 5
        await stream.aclose()


async def test_a_drain_says_goodbye_to_who_is_idle(server: Any, trusting: Any) -> None:
    async def handler(request: rr.Request) -> rr.Response:
        return rr.Response("hello")

    async with serving(handler, tls=server, timeouts=rr.Timeouts(linger=0.5)) as listener:
        streams = [await connect(listener, trusting) for _ in range(3)]
        for stream in streams:
            assert (await Client(stream).get("/")).body == b"hello"
        drained = await listener.drain(PATIENCE)
        assert (drained.finished, drained.cut, drained.stuck) == (3, 0, 0)
        for stream in streams:
            assert await stream.receive_some() == b"", "close_notify, then the end"
            await trio.aclose_forcefully(stream)


async def test_a_peer_that_does_not_read_is_cut(server: Any, trusting: Any) -> None:
    async def handler(request: rr.Request) -> rr.Response:
        return rr.Response(BIG * 3)

    async with serving(handler, tls=server, timeouts=rr.Timeouts(write=0.3)) as listener:
        stream = await connect(listener, trusting)
        await stream.send_all(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
        await eventually(lambda: listener.info().requests == 1)
        await no_connections(listener)
        assert listener.info().send_failed == 1
        with pytest.raises(trio.BrokenResourceError):
            await read_to_end(stream)
        await trio.aclose_forcefully(stream)


async def test_a_stream_that_is_handed_over(server: Any, trusting: Any) -> None:
    async def shout(request: rr.Request, stream: trio.abc.Stream) -> None:
        while data := await stream.receive_some():
            await stream.send_all(data.upper())

    async def handler(request: rr.Request) -> rr.Handoff:
        return rr.Handoff(shout, status=101, fields=[("upgrade", "shout"), ("connection", "upgrade")])

    async with serving(handler, tls=server) as listener:
        stream = await connect(listener, trusting)
        await stream.send_all(b"GET / HTTP/1.1\r\nHost: test\r\nUpgrade: shout\r\nConnection: upgrade\r\n\r\nearly ")
        received = b""
        with trio.fail_after(PATIENCE):
            while b"EARLY " not in received:
                received += await stream.receive_some()
            await stream.send_all(b"late " * 100_000)
            late = b""
            while len(late) < 500_000:
                late += await stream.receive_some()
        assert received.startswith(b"HTTP/1.1 101 ")
        assert late == b"LATE " * 100_000
        transport, rest = await stream.unwrap()  # raises unless our end is answered by theirs
        assert rest == b""
        await transport.aclose()
        await no_connections(listener)


async def test_who_says_goodbye_and_stays_has_the_answer_first(server: Any, trusting: Any) -> None:
    async def handler(request: rr.Request) -> rr.Response:
        return rr.Response("the last")

    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trusting.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
    async with serving(handler, tls=server) as listener:
        stream = await trio.open_tcp_stream("127.0.0.1", listener.port)
        with trio.fail_after(PATIENCE):
            while True:
                try:
                    client.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    await stream.send_all(outgoing.read())
                    incoming.write(await stream.receive_some())
            client.write(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
            with pytest.raises(ssl.SSLWantReadError):
                client.unwrap()
            await stream.send_all(outgoing.read())  # the request and close_notify at once, and TCP stays open
            while data := await stream.receive_some():
                incoming.write(data)
        await stream.aclose()
        await no_connections(listener)
    assert listener.info().requests == 1
