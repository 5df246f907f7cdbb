"""Certificates change under load: no handshake fails, and soon everybody is shown the new one."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path

import pytest
import trio
from certificate_tools import Authority, serial, serial_of
from process_tools import running
from socket_tools import PATIENCE, eventually

import roadrunner_trio as rr
from roadrunner_trio.transport.certificates import WATCHED


async def shown_by(port: int, authority: Authority, name: str = "localhost") -> int:
    """The serial number of the certificate of whoever listens there, who then answers a request."""
    with trio.fail_after(PATIENCE):
        transport = await trio.open_tcp_stream("127.0.0.1", port)
        stream = trio.SSLStream(transport, authority.client, server_hostname=name, https_compatible=True)
        async with stream:
            await stream.send_all(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 200 ")
            return serial(stream)  # type: ignore[arg-type]  # it has all of the methods


async def hello(request: rr.Request) -> rr.Response:
    return rr.Response.text("hello")


@pytest.mark.parametrize(
    ("handshakes", "renewals"), [(300, 4), pytest.param(5000, 25, marks=[pytest.mark.slow, pytest.mark.timeout(600)])]
)
async def test_no_handshake_fails_while_certificates_change(tmp_path: Path, handshakes: int, renewals: int) -> None:
    authority = Authority()
    pair = authority.write(tmp_path, "localhost")
    written, seen, waits = [serial_of(pair[0])], list[int](), list[float]()
    certificates = rr.Certificates(*pair)
    listener = rr.Listener(hello, bind="127.0.0.1:0", tls=certificates)

    async def connect() -> None:
        while len(seen) < handshakes or len(waits) < renewals:
            seen.append(await shown_by(listener.port, authority))

    async def renew() -> None:
        while len(waits) < renewals:
            goal = (len(waits) + 1) * handshakes // (renewals + 1)
            await eventually(lambda goal=goal: len(seen) >= goal, 300)
            written.append(serial_of(authority.write(tmp_path, "localhost")[0]))
            began = time.monotonic()
            await eventually(lambda: written[-1] in seen)
            waits.append(time.monotonic() - began)

    async with trio.open_nursery() as nursery:
        await nursery.start(listener.serve)
        async with trio.open_nursery() as clients:
            clients.start_soon(renew)
            for _ in range(8):
                clients.start_soon(connect)
        nursery.cancel_scope.cancel()
    print(f"{len(seen)} handshakes, {renewals} renewals, the new one seen after at most {max(waits):.2f} s")
    assert set(seen) == set(written)
    assert (certificates.renewed, certificates.failed) == (renewals, 0)
    assert listener.info().handshakes_failed == 0
    assert WATCHED <= 0.5  # so on a machine that is not busy it is seen within a second


async def test_connections_that_stand_are_left_alone(tmp_path: Path) -> None:
    authority = Authority()
    pair = authority.write(tmp_path, "localhost")
    certificates = rr.Certificates(*pair)
    listener = rr.Listener(hello, bind="127.0.0.1:0", tls=certificates)
    async with trio.open_nursery() as nursery:
        await nursery.start(listener.serve)
        transport = await trio.open_tcp_stream("127.0.0.1", listener.port)
        stream = trio.SSLStream(transport, authority.client, server_hostname="localhost", https_compatible=True)
        for _ in range(3):
            await stream.send_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 200 ")
            authority.write(tmp_path, "localhost")
            await certificates.renew()
        assert listener.info().accepted == 1
        await stream.aclose()
        nursery.cancel_scope.cancel()


async def test_two_listeners_with_the_same_certificates(tmp_path: Path) -> None:
    authority = Authority()
    certificates = rr.Certificates(*authority.write(tmp_path, "localhost"))
    made = [rr.Listener(hello, bind="127.0.0.1:0", tls=certificates, name=name) for name in ("one", "two")]
    async with trio.open_nursery() as nursery:
        for listener in made:
            await nursery.start(listener.serve)
        new = serial_of(authority.write(tmp_path, "localhost")[0])
        await eventually(lambda: certificates.renewed == 1)
        assert [await shown_by(listener.port, authority) for listener in made] == [new, new]
        nursery.cancel_scope.cancel()
    assert certificates.renewed == 1


APP = """
from roadrunner_trio import Response
async def handler(request):
    return Response.text("hello")
"""


async def test_the_command_renews_on_sighup_and_serves_on(tmp_path: Path) -> None:
    authority = Authority()
    cert, key = authority.write(tmp_path, "localhost")
    (tmp_path / "app.py").write_text(APP)
    serve = [sys.executable, "-m", "roadrunner_trio", "serve", "app:handler", "--bind", "127.0.0.1:0"]
    command = [*serve, "--app-dir", str(tmp_path), "--tls-cert", str(cert), "--tls-key", str(key)]
    async with running(command, tmp_path) as server:
        assert await shown_by(server.port, authority) == serial_of(cert)
        cert.write_text("nonsense")
        server.process.send_signal(signal.SIGHUP)
        await eventually(lambda: "the certificates stay as they were" in server.log())
        new = serial_of(authority.write(tmp_path, "localhost")[0])
        server.process.send_signal(signal.SIGHUP)
        await eventually(lambda: "is in use, until" in server.log())
        assert await shown_by(server.port, authority) == new
        server.terminate()
        assert await server.end() == 0
