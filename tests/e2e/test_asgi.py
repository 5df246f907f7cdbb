"""Applications of ASGI over TLS and on real sockets without a poller: what the units cannot have in memory."""

from __future__ import annotations

import ssl
from typing import Any

import pytest
import trio
import trustme
from asgi_tools import body, hi, http, start
from socket_tools import PATIENCE, no_connections, serving
from story_tools import loud
from websocket_tools import client as websocket_client

import roadrunner_trio as rr
from roadrunner_trio.apps.asgi import asgi
from roadrunner_trio.testing import Client
from roadrunner_trio.transport import poller


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def server(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    folder = tmp_path_factory.mktemp("tls")
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(folder / "server"))
    authority.cert_pem.write_to_path(str(folder / "ca"))
    return rr.server_context(folder / "server", client_ca=folder / "ca", client_cert="optional")


@pytest.fixture
def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture(params=["polled", "not polled"], autouse=True)
def waits(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "not polled":
        monkeypatch.setattr(poller, "AVAILABLE", False)
    elif not poller.AVAILABLE:
        pytest.skip("this system has no epoll")


async def connect(listener: rr.Listener, context: ssl.SSLContext | None) -> Any:
    if context is None:
        return await trio.open_tcp_stream("127.0.0.1", listener.port)
    stream = await trio.open_ssl_over_tcp_stream("127.0.0.1", listener.port, ssl_context=context)
    await stream.do_handshake()
    return stream


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
async def test_asgi_e7_what_is_told_of_tls(
    server: Any, trusting: Any, authority: Any, known: bool, version: str
) -> None:
    scopes: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(scope)
        await hi(scope, receive, send)

    trusting.minimum_version = trusting.maximum_version = ssl.TLSVersion[version]
    if known:
        authority.issue_cert("client.example", common_name="A client").configure_cert(trusting)
    async with serving(asgi(app, lifespan="off"), tls=server) as listener, await connect(listener, trusting) as stream:
        assert (await Client(stream).get("/")).body == b"hi"
    [scope] = scopes
    tls = scope["extensions"]["tls"]
    assert scope["scheme"] == "https"
    assert tls["tls_version"] == {"TLSv1_2": 0x0303, "TLSv1_3": 0x0304}[version]
    assert tls["cipher_suite"] in {0x1301, 0x1302, 0x1303, 0xC02B, 0xC02C, 0xC02F, 0xC030, 0xCCA8, 0xCCA9}
    assert (tls["server_cert"], tls["client_cert_error"]) == (None, None)
    if known:
        assert tls["client_cert_chain"][0].startswith("-----BEGIN CERTIFICATE-----")
        assert tls["client_cert_name"].startswith("CN=A client,")
    else:
        assert (tls["client_cert_chain"], tls["client_cert_name"]) == ([], None)


@pytest.mark.parametrize("encrypted", [False, True])
async def test_asgi_r4_t15_a_peer_that_leaves_is_told_of(
    server: Any, trusting: Any, encrypted: bool, caplog: Any
) -> None:
    events: list[str] = []

    @http
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["type"] == "http.request"
        await send(start())
        await send(body(b"one", more_body=True))
        events.append((await receive())["type"])
        with pytest.raises(OSError):
            await send_for_ever(send)

    async def send_for_ever(send: Any) -> None:
        while True:
            await send(body(b"x" * 1000, more_body=True))
            await trio.sleep(0.01)

    async with serving(asgi(app), tls=server if encrypted else None) as listener:
        stream = await connect(listener, trusting if encrypted else None)
        await stream.send_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        received = b""
        with trio.fail_after(PATIENCE):
            while b"one" not in received:
                received += await stream.receive_some()
        await trio.aclose_forcefully(stream)
        await no_connections(listener)
    assert events == ["http.disconnect"]
    assert loud(caplog) == []


@pytest.mark.parametrize("encrypted", [False, True])
async def test_asgi_w6_w17_a_session(server: Any, trusting: Any, encrypted: bool) -> None:
    @http
    async def app(scope: Any, receive: Any, send: Any) -> None:
        async def listen() -> None:
            while (event := await receive())["type"] != "websocket.disconnect":
                if "text" in event:
                    await send({"type": "websocket.send", "text": f"{scope['scheme']} {event['text']}"})

        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen)
            await trio.sleep(0.05)
            await send({"type": "websocket.accept"})

    async with serving(asgi(app), tls=server if encrypted else None) as listener:
        scheme = "wss" if encrypted else "ws"
        url = f"{scheme}://127.0.0.1:{listener.port}/"
        async with websocket_client(url, trusting if encrypted else None) as session:
            for number in range(3):
                await session.send_message(str(number))
                assert await session.get_message() == f"{scheme} {number}"
        await no_connections(listener)
