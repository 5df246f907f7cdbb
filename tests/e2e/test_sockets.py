"""Listeners on sockets of every kind, several at once; what they leave behind is nothing."""

from __future__ import annotations

import errno
import os
import socket
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme
from socket_tools import Peer, serving

import roadrunner_trio as rr
from roadrunner_trio.testing import Client


async def who(request: rr.Request) -> rr.Response:
    return rr.Response.json([request.peer, request.scheme])


@asynccontextmanager
async def unix(path: Path) -> AsyncIterator[Client]:
    async with await trio.open_unix_socket(str(path)) as stream:
        yield Client(stream)


async def test_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "s"
    async with serving(who, bind=f"unix:{path}?mode=640") as listener:
        assert listener.addresses == [str(path)]
        assert path.stat().st_mode & 0o777 == 0o640
        async with unix(path) as client:
            assert (await client.get("/")).text == '["unix","http"]'
            [connection] = listener.connections()
            assert connection.peer == "unix"
        with pytest.raises(RuntimeError, match="no TCP port"):
            _ = listener.port
    assert not path.exists()


async def test_a_named_peer_on_a_unix_socket_is_one_of_the_network_unix(tmp_path: Path) -> None:
    path, theirs = tmp_path / "s", tmp_path / "p"
    async with serving(who, bind=f"unix:{path}", proxy_headers=rr.ProxyHeaders("unix")):
        sock = trio.socket.socket(socket.AF_UNIX)
        await sock.bind(str(theirs))
        await sock.connect(str(path))
        async with trio.SocketStream(sock) as stream:
            told = await Client(stream).get("/", fields={"X-Forwarded-For": "192.0.2.7"})
            assert told.text == '[["192.0.2.7",0],"http"]'
            assert (await Client(stream).get("/")).text == f'["{theirs}","http"]'


async def test_case_27_a_peer_of_ipv4_on_a_socket_of_both_is_a_peer_of_ipv4() -> None:
    """As systemd opens it for ``ListenStream=8000``."""
    sock = socket.socket(socket.AF_INET6)
    try:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind(("::", 0))
    except OSError as exc:
        pytest.skip(str(exc))
    sock.listen()

    async with serving(who, bind=sock, proxy_headers=rr.ProxyHeaders("::ffff:127.0.0.0/104")) as listener:
        with await Peer.connect(listener.port) as peer:
            port = peer.socket.getsockname()[1]
            assert (await peer.get()).body.decode() == f'[["127.0.0.1",{port}],"http"]'
            assert [each.peer for each in listener.connections()] == [("127.0.0.1", port)]
            names = [each.task.name for each in listener.connections() if each.task]
            assert names == [f"main: 127.0.0.1:{port}"]
            told = await peer.get(fields="X-Forwarded-For: ::ffff:c000:207\r\n")
            assert told.body == b'[["192.0.2.7",0],"http"]'


async def test_a_drain_takes_the_path_away_and_serves_who_had_come(tmp_path: Path) -> None:
    path = tmp_path / "s"
    async with serving(who, bind=f"unix:{path}") as listener, unix(path) as client:
        assert (await client.get("/")).status == 200
        drained = await listener.drain(5)
        assert (drained.finished, drained.cut) == (1, 0)
        assert not path.exists()


async def test_a_path_in_use_is_refused_by_name_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "s"
    async with serving(who, bind=f"unix:{path}") as listener:
        with pytest.raises(OSError, match="in use") as caught:
            await rr.Listener(who, bind=f"unix:{path}").serve()
        assert (caught.value.errno, caught.value.filename) == (errno.EADDRINUSE, f"unix:{path}")
        async with unix(path) as client:
            assert (await client.get("/")).status == 200
        assert listener.info().accepted == 2, "the other one looked whether anybody is there"


async def test_what_was_bound_before_a_failure_is_given_back(tmp_path: Path) -> None:
    path = tmp_path / "s"
    listener = rr.Listener(who, bind=[f"unix:{path}", f"unix:{tmp_path}/nowhere/s"])
    with pytest.raises(FileNotFoundError, match="nowhere"):
        await listener.serve()
    assert not path.exists()


async def test_an_inherited_descriptor() -> None:
    with socket.create_server(("127.0.0.1", 0)) as parent:
        descriptor = os.dup(parent.fileno())
        os.set_inheritable(descriptor, True)
        async with serving(who, bind=f"fd://{descriptor}") as listener:
            assert listener.port == parent.getsockname()[1]
            assert not os.get_inheritable(descriptor)
            with await Peer.connect(listener.port) as peer:
                assert (await peer.get()).status == 200
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(descriptor)


async def test_an_inherited_unix_socket_keeps_its_path(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as parent:
        parent.bind(str(path))
        async with serving(who, bind=f"fd://{os.dup(parent.fileno())}"), unix(path) as client:
            assert (await client.get("/")).text == '["unix","http"]'
    assert path.exists()


@pytest.mark.parametrize("kind", ["closed", "file", "datagram", "connected"])
async def test_a_descriptor_that_cannot_listen_is_refused_by_name_and_left_open(tmp_path: Path, kind: str) -> None:
    opened: list[Any] = []
    if kind == "file":
        opened = [(tmp_path / "f").open("w")]
    elif kind == "datagram":
        opened = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM)]
    elif kind == "connected":
        opened = list(socket.socketpair())
    descriptor = opened[0].fileno() if opened else 999_999
    with pytest.raises(OSError) as caught:
        await rr.Listener(who, bind=f"fd://{descriptor}").serve()
    assert caught.value.filename == f"fd://{descriptor}"
    for each in opened:
        os.fstat(each.fileno())
        each.close()


async def test_a_port_is_shared_when_all_say_so() -> None:
    async with serving(who, reuse_port=True) as one:
        address = f"127.0.0.1:{one.port}"
        async with serving(who, bind=address, reuse_port=True) as other:
            assert other.port == one.port
            for _ in range(40):
                with await Peer.connect(one.port) as peer:
                    assert (await peer.get()).status == 200
            assert one.info().requests + other.info().requests == 40
            assert min(one.info().requests, other.info().requests) > 0
        with pytest.raises(OSError, match="in use"):
            await rr.Listener(who, bind=address).serve()


async def test_case_42_an_urgent_octet_stops_nothing() -> None:
    """A read stops short at it, and what is behind it is read all the same. It stays where it was sent."""
    async with serving(who) as listener:
        for _ in range(5):
            with await Peer.connect(listener.port) as peer:
                await peer.send(b"GET / HTTP/1.1\r\nX-Y: ")
                await peer.socket.send(b"z", socket.MSG_OOB)
                await peer.send(b"\r\nHost: a\r\n\r\n")
                assert (await peer.answer()).status == 200
                await peer.socket.send(b"G", socket.MSG_OOB)
                await peer.send(b"ET / HTTP/1.1\r\nHost: a\r\n\r\n")
                assert (await peer.answer()).status == 200


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone has them")
async def test_case_26_an_abstract_unix_socket() -> None:
    name = f"@roadrunner-{os.getpid()}"
    async with serving(who, bind=f"unix:{name}", proxy_headers=rr.ProxyHeaders("unix")) as listener:
        assert listener.addresses == [name]
        sock = trio.socket.socket(socket.AF_UNIX)
        await sock.bind(f"\0{name[1:]}-peer")
        await sock.connect("\0" + name[1:])
        async with trio.SocketStream(sock) as stream:
            assert (await Client(stream).get("/")).text == f'["{name}-peer","http"]'
            told = await Client(stream).get("/", fields={"X-Forwarded-For": "192.0.2.7"})
            assert told.text == '[["192.0.2.7",0],"http"]'


async def test_several_kinds_in_one_serve(tmp_path: Path) -> None:
    authority, path = trustme.CA(), tmp_path / "s"
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "pem"))
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    descriptor = socket.create_server(("127.0.0.1", 0)).detach()
    clear = rr.Listener(who, bind=["127.0.0.1:0", f"unix:{path}", f"fd://{descriptor}"], name="clear")
    secure = rr.Listener(who, bind="127.0.0.1:0", name="secure", tls=rr.server_context(tmp_path / "pem"))
    async with trio.open_nursery() as nursery:
        await nursery.start(rr.serve, clear, secure)
        for address in clear.addresses:
            if isinstance(address, tuple):
                with await Peer.connect(address[1]) as peer:
                    assert b'"http"' in (await peer.get()).body
        assert len(clear.addresses) == 3
        async with unix(path) as client:
            assert (await client.get("/")).text == '["unix","http"]'
        stream = await trio.open_ssl_over_tcp_stream("localhost", secure.port, ssl_context=trusting)
        assert "https" in (await Client(stream).get("/")).text
        await stream.aclose()
        nursery.cancel_scope.cancel()
    assert not path.exists()


async def test_at_the_cap_a_tls_peer_is_closed_without_noise(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "pem"))
    context, limits = rr.server_context(tmp_path / "pem"), rr.Limits(max_connections=1)
    async with serving(who, tls=context, limits=limits) as listener:
        with await Peer.connect(listener.port), await Peer.connect(listener.port) as turned_away:
            assert await turned_away.end()
            assert not turned_away.received
            assert listener.info().rejected == 1
