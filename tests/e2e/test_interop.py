"""Other people's programs against the server: curl, openssl, HAProxy, sslscan, wscat. Those not here are left out."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import trio
from program_tools import Files, ask, haproxy, needs
from socket_tools import PATIENCE, eventually, serving

import roadrunner_trio as rr
from roadrunner_trio.apps.static import Static


async def echo(request: rr.Request) -> rr.Response:
    """What the handler knows of who asked and how."""
    proxy, tls = request.proxy, request.tls
    return rr.Response.json(
        {
            "peer": request.peer,
            "scheme": request.scheme,
            "host": request.host,
            "tls": tls and tls.version,
            "proxy": proxy and proxy.version,
            "name": (proxy.tlv(0x02) or b"").decode() if proxy else None,
            "body": len(await request.read()),
        }
    )


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Files(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def context(files: Files) -> ssl.SSLContext:
    return rr.server_context(files.server)


async def curl(*arguments: object) -> Any:
    return json.loads(await ask("curl", "-sS", "--max-time", 20, *arguments))


# -- downloads that go on ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "program", [pytest.param("curl", marks=needs("curl")), pytest.param("wget", marks=needs("wget"))]
)
async def test_a_download_goes_on_where_it_was(program: str, tmp_path: Path) -> None:
    (tmp_path / "public").mkdir()
    content = os.urandom(3_000_000)
    (tmp_path / "public" / "film.mp4").write_bytes(content)
    got = tmp_path / "got.mp4"
    got.write_bytes(content[:1_000_000])
    asked: list[tuple[str | None, int | None]] = []

    class Watch:
        def request_stop(self, event: rr.RequestEnded) -> None:
            asked.append((event.request.header("range"), event.status))

    async with serving(Static(tmp_path / "public"), observers=[Watch()]) as listener:
        url = f"http://127.0.0.1:{listener.port}/film.mp4"
        if program == "curl":
            await ask("curl", "-sS", "-C", "-", "-o", got, url)
        else:
            await ask("wget", "-q", "-c", "-O", got, url)
        await eventually(lambda: bool(asked))
    assert got.read_bytes() == content
    assert asked == [("bytes=1000000-", 206)]


# -- curl ----------------------------------------------------------------------------------------


@needs("curl")
@pytest.mark.parametrize(("most", "version"), [("1.2", "TLSv1.2"), ("1.3", "TLSv1.3")])
async def test_curl_over_tls(files: Files, context: ssl.SSLContext, tmp_path: Path, most: str, version: str) -> None:
    async with serving(echo, tls=context) as listener:
        url = f"https://localhost:{listener.port}/"
        (tmp_path / "body").write_bytes(bytes(300_000))
        body = f"@{tmp_path / 'body'}"
        told = await curl("--cacert", files.authority, "--tls-max", most, "--data-binary", body, url)
        assert (told["tls"], told["scheme"], told["body"]) == (version, "https", 300_000)


@needs("curl")
async def test_curl_keeps_a_tls_connection(files: Files, context: ssl.SSLContext) -> None:
    async with serving(echo, tls=context) as listener:
        url = f"https://localhost:{listener.port}/"
        await ask("curl", "-sS", "--cacert", files.authority, url, url, url)
        assert (listener.info().accepted, listener.info().requests) == (1, 3)


@needs("curl")
async def test_curl_with_a_client_certificate(files: Files) -> None:
    wanted = rr.server_context(files.server, client_ca=files.authority)
    async with serving(echo, tls=wanted) as listener:
        url = f"https://localhost:{listener.port}/"
        trusting = ("--cacert", files.authority)
        assert (await curl(*trusting, "--cert", files.client, url))["scheme"] == "https"
        assert "certificate required" in await ask("curl", "-sS", *trusting, url, check=False)


@needs("curl")
async def test_curl_in_clear_on_a_tls_port(context: ssl.SSLContext) -> None:
    async with serving(echo, tls=context) as listener:
        said = await ask("curl", "-sS", "-i", f"http://localhost:{listener.port}/")
        assert said.startswith("HTTP/1.1 400 ")
        assert "Use https://" in said


@needs("curl")
async def test_curl_with_a_proxy_header_on_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "s"
    async with serving(echo, bind=f"unix:{path}", proxy_protocol=rr.ProxyProtocol("unix")) as listener:
        told = await curl("--haproxy-protocol", "--unix-socket", path, "http://localhost/")
        assert (told["peer"], told["proxy"], listener.info().handshakes_failed) == ("unix", 1, 0)
        assert "Empty reply" in await ask("curl", "-sS", "--unix-socket", path, "http://localhost/", check=False)
        assert listener.info().handshakes_failed == 1


@needs("curl")
async def test_curl_with_a_proxy_header_over_tcp() -> None:
    async with serving(echo, proxy_protocol=rr.ProxyProtocol("127.0.0.1")) as listener:
        told = await curl("--haproxy-protocol", f"http://127.0.0.1:{listener.port}/")
        assert (told["peer"][0], told["proxy"]) == ("127.0.0.1", 1)


# -- openssl -------------------------------------------------------------------------------------

GET = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


async def s_client(port: int, files: Files, *arguments: object, check: bool = True) -> str:
    command = ("openssl", "s_client", "-connect", f"localhost:{port}", "-CAfile", files.authority)
    return await ask(*command, "-ign_eof", *arguments, stdin=GET, check=check)


@needs("openssl")
async def test_s_client(files: Files, context: ssl.SSLContext) -> None:
    async with serving(echo, tls=context) as listener:
        said = await s_client(listener.port, files, "-alpn", "http/1.1", "-verify_return_error")
        assert "Verify return code: 0 (ok)" in said
        assert "ALPN protocol: http/1.1" in said
        assert "No client certificate CA names sent" in said
        assert '"tls":"TLSv1.3"' in said
        assert said.rstrip().endswith("closed"), "the end was announced: a truncation would be an error"


@needs("openssl")
@pytest.mark.parametrize("version", ["tls1", "tls1_1"])
async def test_s_client_with_an_old_version(files: Files, context: ssl.SSLContext, version: str) -> None:
    async with serving(echo, tls=context) as listener:
        said = await s_client(listener.port, files, f"-{version}", "-cipher", "ALL:@SECLEVEL=0", check=False)
        assert "HTTP/1.1" not in said
        assert listener.info().handshakes_failed == 1


@needs("openssl")
async def test_s_client_resumes_its_session(files: Files, context: ssl.SSLContext, tmp_path: Path) -> None:
    session = tmp_path / "session"
    async with serving(echo, tls=context) as listener:
        assert "New, TLSv1.2" in await s_client(listener.port, files, "-tls1_2", "-sess_out", session)
        assert "Reused, TLSv1.2" in await s_client(listener.port, files, "-tls1_2", "-sess_in", session)


@needs("openssl")
async def test_s_client_may_not_renegotiate(files: Files, context: ssl.SSLContext) -> None:
    async with serving(echo, tls=context) as listener:
        command = (
            "openssl",
            "s_client",
            "-connect",
            f"localhost:{listener.port}",
            "-tls1_2",
            "-CAfile",
            files.authority,
        )
        said = await ask(*command, stdin=b"R\n", check=False)
        assert "no renegotiation" in said
        assert "verify return:1" in said


async def until(stream: trio.abc.ReceiveStream, words: bytes) -> None:
    """Reads until ``words`` have come."""
    heard = b""
    while words not in heard:
        piece = await stream.receive_some()
        assert piece, heard
        heard += piece


@needs("openssl")
async def test_s_client_asks_for_new_keys(files: Files, context: ssl.SSLContext) -> None:
    async with serving(echo, tls=context) as listener:
        command = ["openssl", "s_client", "-connect", f"localhost:{listener.port}", "-CAfile", str(files.authority)]
        pipe = subprocess.PIPE
        process = await trio.lowlevel.open_process(command, stdin=pipe, stdout=pipe, stderr=pipe)
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            with trio.fail_after(PATIENCE):
                for _ in range(3):
                    await process.stdin.send_all(b"K\n")
                    await until(process.stderr, b"KEYUPDATE")
                    await process.stdin.send_all(GET.replace(b"close", b"keep-alive"))
                    await until(process.stdout, b'"tls":"TLSv1.3"')
            assert listener.info().requests == 3
        finally:
            process.kill()
            with trio.CancelScope(shield=True, deadline=trio.current_time() + PATIENCE):
                await process.wait()
            for stream in (process.stdin, process.stdout, process.stderr):
                await stream.aclose()


# -- HAProxy -------------------------------------------------------------------------------------


PROXIED = rr.ProxyProtocol(["127.0.0.1", "unix"])


@needs("curl")
@needs("haproxy")
@pytest.mark.parametrize(("how", "version"), [("send-proxy", 1), ("send-proxy-v2", 2)])
async def test_haproxy_says_who_it_is(tmp_path: Path, how: str, version: int) -> None:
    async with (
        serving(echo, proxy_protocol=PROXIED) as listener,
        haproxy(tmp_path, f" server s 127.0.0.1:{listener.port} {how}") as port,
    ):
        told = await curl("--local-port", "20000-60000", "--interface", "127.0.0.2", f"http://127.0.0.1:{port}/")
        assert (told["peer"][0], told["proxy"]) == ("127.0.0.2", version)


@needs("curl")
@needs("haproxy")
@pytest.mark.parametrize(("how", "version"), [("send-proxy", 1), ("send-proxy-v2", 2)])
async def test_haproxy_passes_tls_on(
    tmp_path: Path, files: Files, context: ssl.SSLContext, how: str, version: int
) -> None:
    """The header is in clear, and in front of the handshake."""
    async with (
        serving(echo, tls=context, proxy_protocol=PROXIED) as listener,
        haproxy(tmp_path, f" server s 127.0.0.1:{listener.port} {how}") as port,
    ):
        told = await curl("--cacert", files.authority, "--interface", "127.0.0.2", f"https://localhost:{port}/")
        assert (told["peer"][0], told["proxy"], told["tls"]) == ("127.0.0.2", version, "TLSv1.3")


@needs("curl")
@needs("haproxy")
async def test_haproxy_speaks_tls_and_tells_of_it_on_a_unix_socket(tmp_path: Path, files: Files) -> None:
    path = tmp_path / "s"
    options = "send-proxy-v2 proxy-v2-options ssl,authority,crc32c,unique-id"
    async with (
        serving(echo, bind=f"unix:{path}", proxy_protocol=PROXIED),
        haproxy(tmp_path, f" server s unix@{path} {options}", bind=f"ssl crt {files.server}") as port,
    ):
        told = await curl("--cacert", files.authority, "--interface", "127.0.0.2", f"https://localhost:{port}/")
        assert (told["peer"][0], told["proxy"], told["name"]) == ("127.0.0.2", 2, "localhost")
        assert (told["scheme"], told["tls"]) == ("https", None)


@needs("haproxy")
async def test_haproxys_health_checks_are_no_errors(tmp_path: Path) -> None:
    async with serving(echo, proxy_protocol=PROXIED) as listener:
        check = f" server s 127.0.0.1:{listener.port} send-proxy-v2 check inter 50ms check-send-proxy"
        async with haproxy(tmp_path, " option httpchk GET /", check, mode="http"):
            await eventually(lambda: listener.info().requests >= 3)
            info = listener.info()
            assert (info.handshakes_failed, info.refused) == (0, 0)


@needs("curl")
@needs("haproxy")
async def test_haproxy_speaks_http_and_tells_in_fields(tmp_path: Path, files: Files) -> None:
    proxies = rr.ProxyHeaders("127.0.0.1", ("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"))
    lines = [
        " option forwardfor",
        " http-request set-header X-Forwarded-Proto https if { ssl_fc }",
        " http-request set-header X-Forwarded-Host %[req.hdr(host)]",
        " http-request set-header Host inner",
    ]
    async with serving(echo, proxy_headers=proxies) as listener:
        server = f" server s 127.0.0.1:{listener.port}"
        async with haproxy(tmp_path, *lines, server, mode="http", bind=f"ssl crt {files.server}") as port:
            lie = ("-H", "X-Forwarded-For: 6.6.6.6", "-H", "X-Forwarded-Host: evil")
            url = f"https://localhost:{port}/"
            told = await curl("--cacert", files.authority, "--interface", "127.0.0.2", *lie, url)
            # 127.0.0.2 is no proxy of ours: the chain ends there, whatever it claims.
            assert (told["peer"], told["scheme"], told["host"]) == (["127.0.0.2", 0], "https", f"localhost:{port}")


# -- sslscan -------------------------------------------------------------------------------------


@needs("sslscan")
async def test_sslscan_finds_nothing_that_is_less_than_good(context: ssl.SSLContext) -> None:
    async with serving(echo, tls=context) as listener:
        said = await ask("sslscan", "--xml=-", "--no-colour", f"127.0.0.1:{listener.port}")
    scan = ElementTree.fromstring(said[said.index("<document") :]).find("ssltest")
    assert scan is not None
    enabled = {
        f"{each.get('type')} {each.get('version')}" for each in scan.iter("protocol") if each.get("enabled") == "1"
    }
    assert enabled == {"tls 1.2", "tls 1.3"}
    ciphers = {(each.get("sslversion"), each.get("cipher") or ""): each.get("strength") for each in scan.iter("cipher")}
    older = {name: strength for (version, name), strength in ciphers.items() if version == "TLSv1.2"}
    assert len(older) == 3
    assert set(older.values()) == {"strong"}
    # It does not grade the suites of TLS 1.3, of which there are no weak ones.
    assert {name for version, name in ciphers if version != "TLSv1.2"} == {
        "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_128_GCM_SHA256"
    }  # fmt: skip
    assert all(each.get("vulnerable") == "0" for each in scan.iter("heartbleed"))
    assert all(each.get("supported") == "0" for each in scan.iter("compression"))
    assert [each.get("supported") for each in scan.iter("renegotiation")] == ["0"]
    assert all(int(each.get("bits") or 0) >= 112 for each in scan.iter("group"))


# -- wscat ---------------------------------------------------------------------------------------


@needs("wscat")
@pytest.mark.parametrize("compression", [False, True])
@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "tls"])
async def test_wscat(files: Files, context: ssl.SSLContext, encrypted: bool, compression: bool) -> None:
    async def answer(request: Any) -> None:
        session = await request.accept()
        await session.ping()
        async for message in session:
            await session.send_message(f"{session.subprotocol}: {message}")
        closed.append(session.closed.code)

    closed: list[int] = []
    handler = rr.websocket(answer, subprotocols=["chat"], compression=compression)
    async with serving(handler, tls=context if encrypted else None) as listener:
        url = f"ws{'s' if encrypted else ''}://localhost:{listener.port}"
        lines = ("--no-color", "-c", url, "--ca", files.authority, "-s", "chat", "-x", "one", "-x", "ä" * 5000, "-w", 1)
        with trio.fail_after(PATIENCE):
            # It leaves when its standard input ends, so that has to last.
            wscat = await trio.lowlevel.open_process(
                ["wscat", *map(str, lines)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
            async with wscat.stdin, wscat.stdout:
                said = b"".join([piece async for piece in wscat.stdout]).decode()
                assert await wscat.wait() == 0
    assert said == f"chat: one\nchat: {'ä' * 5000}\n"
    assert closed == [1005]
