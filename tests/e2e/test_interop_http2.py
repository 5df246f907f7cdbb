"""Other people's programs that speak HTTP/2: curl, nghttp, h2load, httpx, Node, HAProxy. Those not here are skipped."""

from __future__ import annotations

import json
import re
import ssl
from pathlib import Path

import pytest
import trio
from program_tools import Files, ask, haproxy, needs
from socket_tools import PATIENCE, serving

import roadrunner_trio as rr


async def echo(request: rr.Request) -> rr.Response:
    body = await request.read()
    told = {"version": request.version, "scheme": request.scheme, "host": request.host, "body": len(body)}
    return rr.Response.json({**told, "trailers": [name.decode() for name, _ in request.trailers]})


async def hello(request: rr.Request) -> rr.Response:
    return rr.Response("hello")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Files(tmp_path_factory.mktemp("tls"))


@needs("curl")
async def test_curl_chooses_it_over_tls(files: Files) -> None:
    async with serving(echo, tls=rr.server_context(files.server)) as listener:
        url = f"https://localhost:{listener.port}/"
        said = await ask("curl", "-sS", "--cacert", files.authority, "-w", " %{http_version}", url)
        told, version = said.rsplit(" ", 1)
        assert (json.loads(told)["version"], version) == ([2, 0], "2")
        said = await ask("curl", "-sS", "--http1.1", "--cacert", files.authority, "-w", " %{http_version}", url)
        assert said.endswith(" 1.1")


@needs("curl")
async def test_curl_knows_it_beforehand_and_asks_before_it_sends(tmp_path: Path) -> None:
    upload = tmp_path / "upload"
    upload.write_bytes(b"x" * 2_000_000)
    async with serving(echo) as listener:
        url = f"http://127.0.0.1:{listener.port}/"
        told = json.loads(
            await ask("curl", "-sS", "--http2-prior-knowledge", "-H", "Expect: 100-continue", "-T", upload, url)
        )
        assert (told["version"], told["body"]) == ([2, 0], 2_000_000)


@needs("curl")
async def test_curl_offers_an_upgrade_and_is_answered_in_http1() -> None:
    async with serving(hello) as listener:
        url = f"http://127.0.0.1:{listener.port}/"
        assert await ask("curl", "-sS", "--http2", "-w", " %{http_version}", url) == "hello 1.1"


@needs("nghttp")
async def test_nghttp_with_continuations_and_trailers(tmp_path: Path) -> None:
    upload = tmp_path / "upload"
    upload.write_bytes(b"x" * 100_000)
    async with serving(echo) as listener:
        url = f"http://127.0.0.1:{listener.port}/"
        command = ("nghttp", "--continuation", "--trailer", "x-sum: 1", "-d", upload, url)
        told = json.loads(await ask(*command))
        assert (told["body"], told["trailers"]) == (100_000, ["x-sum"])


@needs("h2load")
@pytest.mark.parametrize(
    "arguments",
    [("-c10", "-m10"), ("-c2", "-m100"), ("-c4", "-m4", "-w16", "-W16"), ("-c1", "-m1", "-w10")],
    ids=" ".join,
)
async def test_h2load_loses_nothing(arguments: tuple[str, ...]) -> None:
    async def large(request: rr.Request) -> rr.Response:
        return rr.Response(b"x" * 50_000)

    async with serving(large) as listener:
        said = await ask("h2load", "-n", 400, *arguments, f"http://127.0.0.1:{listener.port}/")
        assert re.search(r"400 succeeded, 0 failed, 0 errored", said), said


@needs("h2load")
async def test_what_is_too_much_before_the_peer_knows_is_refused_and_costs_nobody_else() -> None:
    async with serving(echo) as listener:
        said = await ask("h2load", "-n", 400, "-c2", "-m200", f"http://127.0.0.1:{listener.port}/")
        found = re.search(r"400 done, (\d+) succeeded, (\d+) failed", said)
        assert found is not None, said
        good, refused = map(int, found.groups())
        assert good >= 200
        assert good + refused == 400
        assert listener.info().streams_refused == refused


@needs("h2load")
async def test_a_connection_that_has_had_its_requests_loses_none() -> None:
    async with serving(hello, limits=rr.Limits(max_requests_http2=100)) as listener:
        said = await ask("h2load", "-n", 100, "-c1", "-m20", f"http://127.0.0.1:{listener.port}/")
        assert "100 succeeded, 0 failed" in said, said


async def test_httpx(files: Files) -> None:
    httpx = pytest.importorskip("httpx")
    pytest.importorskip("h2")
    async with serving(echo, tls=rr.server_context(files.server)) as listener:
        trusted = ssl.create_default_context(cafile=str(files.authority))
        async with httpx.AsyncClient(http2=True, verify=trusted) as client:
            with trio.fail_after(PATIENCE):
                answers = [
                    await client.post(f"https://localhost:{listener.port}/", content=b"x" * size)
                    for size in (0, 1, 100_000, 1_000_000)
                ]
        assert [answer.http_version for answer in answers] == ["HTTP/2"] * 4
        assert [answer.json()["body"] for answer in answers] == [0, 1, 100_000, 1_000_000]


NODE = """
const client = require("http2").connect(process.argv[1]);
const asked = [];
for (let n = 0; n < 20; n++) {
  asked.push(new Promise((done, failed) => {
    const stream = client.request({":method": "POST", ":path": "/" + n});
    let heard = "";
    stream.on("data", piece => heard += piece);
    stream.on("end", () => done(JSON.parse(heard).body));
    stream.on("error", failed);
    stream.end(Buffer.alloc(n * 10000));
  }));
}
Promise.all(asked).then(sizes => { console.log(JSON.stringify(sizes)); client.close(); });
"""


@needs("node")
async def test_node() -> None:
    async with serving(echo) as listener:
        said = await ask("node", "-e", NODE, f"http://127.0.0.1:{listener.port}")
        assert json.loads(said) == [n * 10_000 for n in range(20)]


@needs("curl")
@needs("haproxy")
async def test_haproxy_in_front_speaks_it_in_clear(tmp_path: Path) -> None:
    async with (
        serving(echo) as listener,
        haproxy(tmp_path, f" server s 127.0.0.1:{listener.port} proto h2", mode="http") as port,
    ):
        for size in (0, 10, 300_000):
            upload = tmp_path / "upload"
            upload.write_bytes(b"x" * size)
            told = json.loads(await ask("curl", "-sS", "--data-binary", f"@{upload}", f"http://127.0.0.1:{port}/"))
            assert (told["version"], told["body"]) == ([2, 0], size)
